//! One viewer's transport as one machine, sans-IO: ICE-lite, DTLS and SRTCP, told apart by the first byte (RFC 7983).
//!
//! It owns what a viewer and we agreed on below media, and when that ends. It knows no socket: datagrams come in and go
//! out with their route. It sends no media: keys and the route leave as events, and whoever sends takes them.
//!
//! After every call but `poll_*`: [`Transport::poll_transmit`] and [`Transport::poll_event`] until there is nothing, then
//! [`Transport::poll_timeout`].

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    dtls::{Dtls, DtlsEvent},
    ice::{Agent, Credentials, IceEvent},
    identity::{Fingerprint, Identity},
    srtp::{MediaKeys, RtcpOpener},
};
use crate::base::Monotonic;

/// From the first check to the end of the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(20);
/// Reports of the viewer that wait for [`Transport::poll_event`]; a caller that keeps to the order never has two.
const EVENTS_MAX: usize = 64;

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
        local: Option<IpAddr>,
    },
    /// The ICE-TCP connection of this number.
    Tcp(u64),
}

/// What a viewer's offer says of its end.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its ICE credentials. A lite agent sends no checks and has no use for them but to tell a restart.
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
pub struct Transport {
    ice: Agent,
    dtls: Dtls,
    opener: Option<RtcpOpener>,
    /// Until the handshake is done, or there was no check yet.
    handshake_by: Option<Monotonic>,
    /// Where the newest DTLS datagram came from: where the answer goes while nothing is chosen.
    dtls_from: Option<Route>,
    ended: bool,
    transmits: VecDeque<(Route, Bytes)>,
    events: VecDeque<TransportEvent>,
}

impl Transport {
    /// A transport that waits for the viewer's first check.
    pub fn new(identity: Arc<Identity>, local: Credentials, remote: Remote, now: Monotonic) -> Self {
        Self {
            ice: Agent::new(local, now),
            dtls: Dtls::new(identity, remote.fingerprint),
            opener: None,
            handshake_by: None,
            dtls_from: None,
            ended: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram: STUN, DTLS or SRTCP. Anything else, and anything forged, changes nothing.
    pub fn handle_datagram(&mut self, now: Monotonic, from: Route, datagram: &mut [u8]) {
        if self.ended {
            return;
        }
        // RFC 7983 §7.
        match datagram.first() {
            Some(0..=3) => self.handle_stun(now, from, datagram),
            // Who has not proven itself by a check gets no arithmetic.
            Some(20..=63) if self.ice.is_proven(from) => {
                self.dtls_from = Some(from);
                self.dtls.handle_datagram(now, datagram);
                self.drain_dtls();
            }
            Some(128..=191) if self.ice.is_proven(from) => self.handle_rtcp(now, from, datagram),
            _ => {}
        }
        self.drain_ice();
    }

    fn handle_stun(&mut self, now: Monotonic, from: Route, datagram: &[u8]) {
        if let Some(answer) = self.ice.handle_stun(now, from, datagram) {
            // RFC 8445 §7.3.1: to where the check came from, whatever is chosen.
            self.transmits.push_back((from, answer));
        }
        if self.handshake_by.is_none() && !self.dtls.is_connected() && self.ice.is_proven(from) {
            self.handshake_by = Some(now + HANDSHAKE_WITHIN);
        }
    }

    fn handle_rtcp(&mut self, now: Monotonic, from: Route, datagram: &mut [u8]) {
        // RFC 5761 §4: by the packet type. A viewer sends no RTP.
        if !matches!(datagram.get(1), Some(192..=223)) {
            return;
        }
        let Some(opener) = &mut self.opener else { return };
        if let Ok(compound) = opener.open(datagram) {
            if self.events.len() < EVENTS_MAX {
                self.events.push_back(TransportEvent::Rtcp(Bytes::copy_from_slice(compound)));
            }
            self.ice.handle_authentic(now, from);
        }
    }

    fn drain_dtls(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            if let Some(to) = self.ice.selected().or(self.dtls_from) {
                self.transmits.push_back((to, datagram));
            }
        }
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Connected { ours, theirs } => {
                    self.handshake_by = None;
                    self.opener = Some(RtcpOpener::new(&theirs));
                    self.events.push_back(TransportEvent::Connected(ours));
                }
                DtlsEvent::Closed => self.end(TransportEnd::CloseNotify),
                DtlsEvent::Failed(why) => self.end(TransportEnd::Handshake(why)),
            }
        }
    }

    fn drain_ice(&mut self) {
        while let Some(event) = self.ice.poll_event() {
            match event {
                _ if self.ended => {}
                IceEvent::Selected(route) => self.events.push_back(TransportEvent::Route(route)),
                IceEvent::Silent => self.events.push_back(TransportEvent::Silent),
                IceEvent::Heard => self.events.push_back(TransportEvent::Heard),
                IceEvent::Ended => self.end(TransportEnd::Silence),
            }
        }
    }

    fn end(&mut self, why: TransportEnd) {
        if !std::mem::replace(&mut self.ended, true) {
            self.events.push_back(TransportEvent::Ended(why));
        }
    }

    /// Nobody is at home there: ICMP said so, or the TCP connection is gone.
    pub fn handle_unreachable(&mut self, _now: Monotonic, route: Route) {
        self.ice.handle_unreachable(route);
        self.drain_ice();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.ended {
            return;
        }
        self.dtls.handle_timeout(now);
        self.drain_dtls();
        self.ice.handle_timeout(now);
        self.drain_ice();
        if self.handshake_by.is_some_and(|by| by <= now) {
            self.handshake_by = None;
            let seconds = HANDSHAKE_WITHIN.as_secs();
            self.end(TransportEnd::Handshake(format!("not done within {seconds} s of the first check")));
        }
    }

    /// When [`Transport::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let due = [self.dtls.poll_timeout(), self.ice.poll_timeout(), self.handshake_by];
        due.into_iter().flatten().min().filter(|_| !self.ended)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(Route, Bytes)> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// Whether a DTLS datagram may still cost a handshake's arithmetic, a third of a millisecond, not microseconds: what a
    /// driver counts when it bounds how many handshakes it serves in a second.
    pub fn is_handshaking(&self) -> bool {
        !self.ended && !self.dtls.is_connected()
    }

    /// The way media go, once the viewer chose one.
    pub fn route(&self) -> Option<Route> {
        self.ice.selected()
    }

    /// ICE restart (RFC 8445 §9). The old way, and the old credentials, go on until the first check with the new ones.
    /// DTLS goes on as it is.
    pub fn restart(&mut self, local: Credentials) {
        self.ice.restart(local);
    }

    /// Says good-bye: queues a DTLS close_notify.
    pub fn close(&mut self, now: Monotonic) {
        if !self.ended {
            self.dtls.close(now);
            self.drain_dtls();
            self.end(TransportEnd::Closed);
        }
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
