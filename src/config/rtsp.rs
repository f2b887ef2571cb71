//! The section `rtsp`: the listeners for RTSP readers.

use std::{collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration, ListenAddresses, TlsConfig};

/// The RTSP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RtspConfig {
    /// Where to listen: an IP address with a port, or a list of them; `off` for no RTSP.
    pub address: ListenAddresses,
    /// Where to listen for RTSP over TLS (`rtsps://`). Used only with `tls`.
    pub tls_address: ListenAddresses,
    /// The certificate of `tls_address`; without one nothing listens there.
    pub tls: Option<TlsConfig>,
    /// What readers may ask their media to travel over; a path may allow less with `rtsp_transports`.
    pub transports: BTreeSet<RtspTransport>,
    /// The UDP ports media and reports leave from, shared by all readers: an even one and the next, or `[0, 0]` for any
    /// free pair.
    pub udp_ports: UdpPorts,
    /// Whether RTSP wrapped in HTTP (GET and POST on the RTSP port) is answered, for players behind HTTP-only firewalls.
    pub http_tunnel: bool,
    /// A session that shows no sign of life for this long ends (announced to the client in `Session`).
    pub session_timeout: HumanDuration,
    /// A reader whose socket takes no byte for this long is gone.
    pub write_timeout: HumanDuration,
    /// How long a client may take to send a whole request.
    pub request_timeout: HumanDuration,
    /// A reader that falls further behind is moved to a newer picture; it is never disconnected for being slow.
    pub max_lag: HumanDuration,
    /// Where a new reader starts unless its URL says otherwise (`?start=live`).
    pub start: RtspStart,
    /// The most a new reader gets at once to begin with; beyond it a still picture comes first.
    pub start_burst: ByteSize,
    /// Take passwords in the clear (`Basic`), also without TLS: for users whose digest keys are not kept.
    pub allow_basic: bool,
    /// Connections at once, all addresses together; further ones are refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
}

impl Default for RtspConfig {
    fn default() -> Self {
        Self {
            address: ListenAddresses::loopback(8554),
            tls_address: ListenAddresses::loopback(8322),
            tls: None,
            transports: RtspTransport::ALL.into(),
            udp_ports: UdpPorts([8000, 8001]),
            http_tunnel: true,
            session_timeout: HumanDuration::from_secs(60),
            write_timeout: HumanDuration::from_secs(10),
            request_timeout: HumanDuration::from_secs(10),
            max_lag: HumanDuration::from_secs(2),
            start: RtspStart::Instant,
            start_burst: ByteSize::from_bytes(8_000_000),
            allow_basic: false,
            max_connections: 10_000,
        }
    }
}

/// What media travels over between us and an RTSP reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RtspTransport {
    /// Interleaved in the RTSP connection: nothing is lost, passes every firewall.
    Tcp,
    /// RTP over UDP, unicast.
    Udp,
}

impl RtspTransport {
    /// Every transport.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The word of the file and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for RtspTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a new RTSP reader starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RtspStart {
    /// At the newest random access point, sent at once: a picture within a blink.
    #[default]
    Instant,
    /// At the live edge: the first picture comes with the next random access point.
    Live,
}

/// The UDP port of RTP and that of RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct UdpPorts(pub [u16; 2]);

impl UdpPorts {
    /// The port of RTP; 0 lets the system choose.
    pub const fn rtp(self) -> u16 {
        self.0[0]
    }

    /// The port of RTCP; 0 lets the system choose.
    pub const fn rtcp(self) -> u16 {
        self.0[1]
    }
}
