//! The section `http`: the listener of dashboard, API, playlists and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AllowedOrigins, ByteSize, Hsts, HumanDuration, ListenAddresses, Networks, TlsConfig};

/// The HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to listen: an IP address with a port, or a list of them. `:8080` is every interface, port 0 any free port.
    pub address: ListenAddresses,
    /// With a certificate the listener speaks TLS, and with it HTTP/2.
    pub tls: Option<TlsConfig>,
    /// Whether browsers are told to come back over TLS alone (`Strict-Transport-Security`): `auto` for a year, if the
    /// certificate is not self-signed and the server stands on port 443; for so long, wherever they speak TLS; `off`.
    pub hsts: Hsts,
    /// Web pages of other sites that may use the API, the playlists and the sockets: origins such as
    /// `https://example.org`, or `*` for all of them (then without credentials).
    pub allowed_origins: AllowedOrigins,
    /// Proxies that are believed when they say for whom they speak (`Forwarded`, `X-Forwarded-For`, `X-Forwarded-Proto`):
    /// addresses and networks.
    pub trusted_proxies: Networks,
    /// Where cameras may stand that are added over the API, beside public and private networks: addresses and networks of
    /// this machine (`127.0.0.0/8`) or of the link (`169.254.0.0/16`). This server's own listeners are no cameras.
    pub allowed_sources: Networks,
    /// Connections at once; further ones wait until one ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// How long a client may take to send the head of a request.
    pub header_timeout: HumanDuration,
    /// The largest head of a request.
    pub max_header_size: ByteSize,
    /// The largest body of a request.
    pub max_body_size: ByteSize,
    /// How long a connection may stay open without a request.
    pub idle_timeout: HumanDuration,
    /// A client whose socket takes no byte for this long is gone.
    pub write_timeout: HumanDuration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: ListenAddresses::loopback(8080),
            tls: None,
            hsts: Hsts::Auto,
            allowed_origins: AllowedOrigins::None,
            trusted_proxies: Networks::default(),
            allowed_sources: Networks::default(),
            max_connections: 10_000,
            header_timeout: HumanDuration::from_secs(10),
            max_header_size: ByteSize::from_kib(32),
            max_body_size: ByteSize::from_mib(1),
            idle_timeout: HumanDuration::from_secs(60),
            write_timeout: HumanDuration::from_secs(10),
        }
    }
}
