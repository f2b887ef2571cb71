//! Every socket the configuration asks for, bound before anything runs: a taken port is one line that names the option.

use std::{net::TcpListener, sync::Arc};

use rustls::ServerConfig;

use super::{addresses::Addresses, certificates::Kept, rtsp, webrtc};
use crate::{
    base::Result,
    config::{Config, TlsConfig},
    net::listen,
    rtsp::Listeners,
    webrtc as whep,
};

/// Bound sockets and the certificates they show.
pub(super) struct Sockets {
    pub(super) http: Vec<TcpListener>,
    pub(super) http_tls: Option<Arc<ServerConfig>>,
    /// What the listeners of TLS show: that of HTTP, and that of RTSP.
    pub(super) certificates: [Option<Kept>; 2],
    pub(super) rtsp: Listeners,
    pub(super) webrtc: whep::Listeners,
}

impl Sockets {
    /// Binds what the configuration asks for.
    pub(super) fn bind(config: &Config) -> Result<Self> {
        let of = |option, tls: &Option<TlsConfig>| Kept::start(option, tls.as_ref(), &config.state_dir);
        let certificates = [of("http.tls", &config.http.tls)?, of("rtsp.tls", &config.rtsp.tls)?];
        let [of_http, of_rtsp] = &certificates;
        let http_tls = of_http.as_ref().map(|kept| kept.shown().server_config()).transpose()?;
        let http = listen::bind_tcp("http.address", config.http.address.as_slice())?;
        let (rtsp, webrtc) = (rtsp::bind(config, of_rtsp.as_ref())?, webrtc::bind(config)?);
        Ok(Self { http, http_tls, certificates, rtsp, webrtc })
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Addresses {
        let mut addresses = Addresses::default();
        let http = if self.http_tls.is_some() { "https" } else { "http" };
        addresses.insert(http, listen::addresses(&self.http));
        rtsp::note(&self.rtsp, &mut addresses);
        webrtc::note(&self.webrtc, &mut addresses);
        addresses
    }
}
