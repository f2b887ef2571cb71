//! Every socket the configuration asks for, bound before anything runs: a taken port is one line that names the option.

use std::{net::TcpListener, sync::Arc};

use rustls::ServerConfig;

use super::{addresses::Addresses, rtsp, webrtc};
use crate::{
    base::Result,
    config::Config,
    net::{listen, tls},
    rtsp::Listeners,
    webrtc as whep,
};

/// Bound sockets and the certificates they show.
pub(super) struct Sockets {
    pub(super) http: Vec<TcpListener>,
    pub(super) http_tls: Option<Arc<ServerConfig>>,
    pub(super) rtsp: Listeners,
    pub(super) webrtc: whep::Listeners,
}

impl Sockets {
    /// Binds what the configuration asks for.
    pub(super) fn bind(config: &Config) -> Result<Self> {
        let http_tls = match &config.http.tls {
            Some(tls) => Some(tls::server_config("http.tls", &tls.certificate_file, &tls.key_file)?),
            None => None,
        };
        let http = listen::bind_tcp("http.address", config.http.address.as_slice())?;
        Ok(Self { http, http_tls, rtsp: rtsp::bind(config)?, webrtc: webrtc::bind(config)? })
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
