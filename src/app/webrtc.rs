//! The section `webrtc` as the room takes it: its sockets, and its options.

use super::addresses::Addresses;
use crate::{
    base::Result,
    config::Config,
    net::listen,
    webrtc::{Listeners, WebRtcOptions},
};

/// Attempts to find a port that is free for UDP and for TCP, where the system may choose.
const PORT_ATTEMPTS: usize = 16;

/// Binds what the section asks for: TCP listens on the port that UDP has.
pub(super) fn bind(config: &Config) -> Result<Listeners> {
    let section = &config.webrtc;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let udp = listen::bind_udp_each("webrtc.address", section.address.as_slice())?;
        if !section.tcp {
            return Ok(Listeners { udp, tcp: Vec::new() });
        }
        let bound: Vec<_> = udp.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        match listen::bind_tcp("webrtc.address", &bound) {
            Ok(tcp) => return Ok(Listeners { udp, tcp }),
            Err(error) => {
                let chosen = section.address.as_slice().iter().any(|address| address.port() == 0);
                if !chosen || attempts >= PORT_ATTEMPTS {
                    return Err(error.with_hint("free the TCP port too, or set webrtc.tcp to false"));
                }
            }
        }
    }
}

/// Where the sockets are.
pub(super) fn note(listeners: &Listeners, addresses: &mut Addresses) {
    addresses.insert("webrtc", listeners.udp.iter().filter_map(|socket| socket.local_addr().ok()));
    addresses.insert("webrtc_tcp", listen::addresses(&listeners.tcp));
}

/// How the room serves.
pub(super) fn options(config: &Config, cores: usize) -> WebRtcOptions {
    let section = &config.webrtc;
    WebRtcOptions {
        state_dir: config.state_dir.clone(),
        public_ips: section.public_ips.clone(),
        ice_servers: section.ice_servers.clone(),
        threads: section.threads.count(cores),
        start_pace: section.start_pace.bits_per_second(),
        start_burst: section.start_burst.as_usize(),
        max_lag: section.max_lag.duration(),
    }
}
