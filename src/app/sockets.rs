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
    /// Where the authority asks over plain HTTP.
    pub(super) challenges: Vec<TcpListener>,
    pub(super) rtsp: Listeners,
    pub(super) webrtc: whep::Listeners,
}

impl Sockets {
    /// Binds what the configuration asks for.
    pub(super) fn bind(config: &Config) -> Result<Self> {
        let of = |option, tls: &Option<TlsConfig>| Kept::start(option, tls.as_ref(), config);
        let of_http = of("http.tls", &config.http.tls)?;
        // One authority, one certificate.
        let of_rtsp = match &of_http {
            Some(kept) if kept.is_of_acme() && config.rtsp.tls == Some(TlsConfig::Acme) => of_http.clone(),
            _ => of("rtsp.tls", &config.rtsp.tls)?,
        };
        let certificates = [of_http, of_rtsp];
        let [of_http, of_rtsp] = &certificates;
        let http_tls = of_http.as_ref().map(|kept| kept.shown().server_config(kept.is_of_acme())).transpose()?;
        let http = listen::bind_tcp("http.address", config.http.address.as_slice())?;
        let challenges = listen::bind_tcp("acme.http_address", config.acme.http_address.as_slice())?;
        let (rtsp, webrtc) = (rtsp::bind(config, of_rtsp.as_ref())?, webrtc::bind(config)?);
        Ok(Self { http, http_tls, certificates, challenges, rtsp, webrtc })
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
