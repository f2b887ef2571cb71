//! The section `rtsp` as the server takes it: its sockets, and its options.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{addresses::Addresses, certificates::Kept, path_book::PathBook};
use crate::{
    base::{PathName, Result},
    config::{Config, rtsp::RtspStart, rtsp::RtspTransport},
    net::listen,
    rtsp::{Listeners, RtspOptions, StartChoice, Transports},
    stats::Places,
};

/// Binds what the section asks for.
pub(super) fn bind(config: &Config, certificate: Option<&Kept>) -> Result<Listeners> {
    let rtsp = &config.rtsp;
    let tcp = listen::bind_tcp("rtsp.address", rtsp.address.as_slice())?;
    let tls = match certificate {
        Some(kept) => {
            let shown = kept.shown().server_config(false)?;
            Some((listen::bind_tcp("rtsp.tls_address", rtsp.tls_address.as_slice())?, shown))
        }
        None => None,
    };
    // Nothing leaves a TLS connection in the clear, so datagrams belong to the plain listener.
    let ips: BTreeSet<IpAddr> = rtsp.address.as_slice().iter().map(|address| address.ip()).collect();
    let udp = if uses_udp(config) { ips.iter().copied().collect() } else { Vec::new() };
    let all = udp.iter().flat_map(|ip| rtsp.udp_ports.0.map(|port| (*ip, port).into())).collect::<Vec<_>>();
    let pair = |ip: &IpAddr| listen::bind_udp_pair("rtsp.udp_ports", *ip, rtsp.udp_ports.0, &all);
    let udp = udp.iter().map(pair).collect::<Result<_>>()?;
    Ok(Listeners { tcp, tls, udp })
}

/// Whether any path may be read over UDP.
fn uses_udp(config: &Config) -> bool {
    config.rtsp.transports.contains(&RtspTransport::Udp)
}

/// Where the listeners listen.
pub(super) fn note(listeners: &Listeners, addresses: &mut Addresses) {
    addresses.insert("rtsp", listen::addresses(&listeners.tcp));
    if let Some((tls, _)) = &listeners.tls {
        addresses.insert("rtsps", listen::addresses(tls));
    }
    addresses.insert("rtp", listeners.udp.iter().filter_map(|pair| pair.rtp.local_addr().ok()));
}

/// How the server behaves.
pub(super) fn options(config: &Config, book: Arc<PathBook>, connections: Arc<Places<IpAddr>>) -> RtspOptions {
    let rtsp = &config.rtsp;
    RtspOptions {
        transports: transports(rtsp.transports.iter().copied()),
        path_transports: Arc::new(move |path: &PathName| {
            book.resolve(path)?.0.config.rtsp_transports.as_ref().map(|list| transports(list.iter().copied()))
        }),
        http_tunnel: rtsp.http_tunnel,
        session_timeout: rtsp.session_timeout.duration(),
        write_timeout: rtsp.write_timeout.duration(),
        request_timeout: rtsp.request_timeout.duration(),
        max_lag: rtsp.max_lag.duration(),
        start: match rtsp.start {
            RtspStart::Instant => StartChoice::Instant,
            RtspStart::Live => StartChoice::Live,
        },
        start_burst: rtsp.start_burst.as_usize(),
        allow_basic: rtsp.allow_basic,
        max_connections: rtsp.max_connections as usize,
        connections,
        ..RtspOptions::default()
    }
}

fn transports(list: impl Iterator<Item = RtspTransport>) -> Transports {
    list.fold(Transports { tcp: false, udp: false }, |allowed, transport| match transport {
        RtspTransport::Tcp => Transports { tcp: true, ..allowed },
        RtspTransport::Udp => Transports { udp: true, ..allowed },
    })
}
