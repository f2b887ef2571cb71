//! One viewer's transport as one machine, sans-IO: ICE-lite, DTLS and SRTCP by the first byte (RFC 7983).

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;

use super::{
    ice::Credentials,
    identity::{Fingerprint, Identity},
    srtp::MediaKeys,
};
use crate::base::{Monotonic, Secret};

/// Where a viewer's datagrams come from and go to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Route {
    /// Our end.
    pub link: Link,
    /// The viewer's end.
    pub peer: SocketAddr,
}

/// Our end of a way to a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// The UDP socket of this number.
    Udp {
        /// Which of our sockets, one per address family.
        socket: u8,
        /// The address it came to, where that is known; answers leave from it.
        local: Option<std::net::IpAddr>,
    },
    /// The ICE-TCP connection of this number.
    Tcp(u64),
}

/// What a viewer's offer says of its end.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its ICE credentials.
    pub credentials: Credentials,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
}

/// What a [`Transport`] tells its owner.
#[derive(Debug)]
pub enum TransportEvent {
    /// Media go this way from now on.
    Route(Route),
    /// DTLS is done; these are the keys of our sending side.
    Connected(MediaKeys),
    /// A compound RTCP packet of the viewer, opened and authentic.
    Rtcp(Bytes),
    /// Consent is gone (RFC 7675): send nothing.
    Silent,
    /// Consent is back.
    Heard,
    /// It is over. Nothing follows.
    Ended(TransportEnd),
}

/// Why a transport ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransportEnd {
    /// The viewer said good-bye.
    CloseNotify,
    /// Nothing was heard for 30 s.
    Silence,
    /// DTLS failed; the words say how.
    Handshake(String),
    /// We closed it.
    Closed,
}

/// One viewer's ICE, DTLS and SRTCP.
#[derive(Debug)]
pub struct Transport {}

impl Transport {
    /// A transport that waits for the viewer's first check.
    pub fn new(identity: Arc<Identity>, local: Credentials, remote: Remote, now: Monotonic) -> Self {
        let _ = (identity, local, remote, now);
        Self {}
    }

    /// Takes a datagram: STUN, DTLS or SRTCP. Anything else, and anything forged, changes nothing.
    pub fn handle_datagram(&mut self, now: Monotonic, from: Route, datagram: &mut [u8]) {
        let _ = (now, from, datagram);
    }

    /// Nobody is at home there: ICMP said so, or the TCP connection is gone.
    pub fn handle_unreachable(&mut self, now: Monotonic, route: Route) {
        let _ = (now, route);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        let _ = now;
    }

    /// When [`Transport::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(Route, Bytes)> {
        None
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    /// Whether a datagram may cost a handshake's arithmetic (about a third of a millisecond), not microseconds.
    pub fn is_handshaking(&self) -> bool {
        false
    }

    /// ICE restart (RFC 8445 §9): new credentials on both sides. The old way, and the old credentials, go on until the
    /// first check with the new ones.
    pub fn restart(&mut self, local: Credentials, remote: Credentials, now: Monotonic) {
        let _ = (local, remote, now, Secret::default());
    }

    /// Says good-bye: queues a DTLS close_notify.
    pub fn close(&mut self, now: Monotonic) {
        let _ = now;
    }
}
