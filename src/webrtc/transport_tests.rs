//! A WebRTC client that is not ours (`str0m`) against a transport, in process: connect, report, go silent, restart,
//! leave. It is long by the stage that client, transport and link stand on.

use std::{collections::HashMap, time::Instant};

use str0m::{
    Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc,
    config::{DtlsVersion, Fingerprint as TheirFingerprint},
    media::{KeyframeRequestKind, MediaKind},
    net::{Protocol, Receive},
    rtp::Ssrc,
};

use super::*;
use crate::{
    base::{Secret, WallTime},
    rtp::rtcp as ours,
    webrtc::srtp::{Profile, Sealer},
};

const US: &str = "203.0.113.1:8189";
const THEM: [&str; 2] = ["192.0.2.1:5000", "192.0.2.2:5001"];

fn identity() -> Arc<Identity> {
    Arc::new(Identity::generate(WallTime::from_unix_nanos(1_795_000_000_000_000_000)).unwrap().0)
}

/// Both ends and the link between them, on a clock of their own.
struct Stage {
    now: Monotonic,
    /// `str0m` reads the standard library's clock: this is its time when ours was zero.
    zero: Instant,
    client: Rtc,
    transport: Transport,
    /// The client's addresses that the link lets through.
    open: Vec<SocketAddr>,
    /// The link loses datagrams, each direction, by their number.
    lost: fn(usize) -> bool,
    carried: usize,
    /// The link lets DTLS through.
    carries_dtls: bool,
    /// On their way to the client.
    down: VecDeque<(SocketAddr, Vec<u8>)>,
    events: Vec<String>,
    keys: Option<MediaKeys>,
    reports: Vec<Bytes>,
    client_states: Vec<IceConnectionState>,
    client_connected: bool,
    client_got: HashMap<u32, Vec<Vec<u8>>>,
    route: Option<Route>,
}

fn credentials(name: &str) -> Credentials {
    Credentials { ufrag: name.into(), pwd: Secret::new(format!("password-of-{name}-that-is-long")) }
}

fn theirs(credentials: &Credentials) -> IceCreds {
    IceCreds { ufrag: credentials.ufrag.clone(), pass: credentials.pwd.reveal().into() }
}

fn host(address: &str) -> Candidate {
    Candidate::host(address.parse().unwrap(), "udp").unwrap()
}

impl Stage {
    fn new() -> Self {
        Self::with(DtlsVersion::Dtls12, |fingerprint| fingerprint)
    }

    /// `claim` changes the fingerprint in the client's offer.
    fn with(version: DtlsVersion, claim: impl FnOnce(Fingerprint) -> Fingerprint) -> Self {
        let now = Monotonic::from_nanos(100_000_000_000);
        let zero = now.to_std() - Duration::from_nanos(now.as_nanos());
        let (identity, local) = (identity(), credentials("us"));
        let mut client = Rtc::builder().set_rtp_mode(true).set_dtls_version(version).build(now.to_std());
        client.add_local_candidate(host(THEM[0]));
        client.add_remote_candidate(host(US));
        let mut direct = client.direct_api();
        direct.set_ice_controlling(true);
        direct.set_remote_ice_credentials(theirs(&local));
        let shown = identity.fingerprint().to_string();
        let bytes = shown[8..].split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        direct.set_remote_fingerprint(TheirFingerprint { hash_func: "sha-256".into(), bytes });
        let offered = direct.local_dtls_fingerprint().clone();
        let hex: Vec<_> = offered.bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = Fingerprint::parse(&format!("{} {}", offered.hash_func, hex.join(":"))).unwrap();
        let creds = direct.local_ice_credentials();
        direct.start_dtls(true).unwrap();
        direct.declare_media("vid".into(), MediaKind::Video);
        direct.expect_stream_rx(Ssrc::from(77), None, "vid".into(), None);
        let credentials = Credentials { ufrag: creds.ufrag, pwd: Secret::new(creds.pass) };
        let remote = Remote { credentials, fingerprint: claim(fingerprint) };
        Self {
            now,
            zero,
            client,
            transport: Transport::new(identity, local, remote, now),
            open: vec![THEM[0].parse().unwrap()],
            lost: |_| false,
            carried: 0,
            carries_dtls: true,
            down: VecDeque::new(),
            events: Vec::new(),
            keys: None,
            reports: Vec::new(),
            client_states: Vec::new(),
            client_connected: false,
            client_got: HashMap::new(),
            route: None,
        }
    }

    fn instant(&self) -> Instant {
        self.zero + Duration::from_nanos(self.now.as_nanos())
    }

    fn lets_through(&mut self, address: SocketAddr) -> bool {
        self.carried += 1;
        self.open.contains(&address) && !(self.lost)(self.carried - 1)
    }

    /// Delivers what is under way, both directions, once; whether there was anything.
    fn carry(&mut self) -> bool {
        let mut busy = self.drain_client();
        while let Some((to, datagram)) = self.transport.poll_transmit() {
            self.send(to.peer, &datagram);
        }
        while let Some((to, datagram)) = self.down.pop_front() {
            busy = true;
            if let Ok(receive) = Receive::new(Protocol::Udp, US.parse().unwrap(), to, &datagram) {
                // A fatal alert is an error there.
                let _ = self.client.handle_input(Input::Receive(self.instant(), receive));
                self.drain_client();
            }
        }
        while let Some(event) = self.transport.poll_event() {
            let name = format!("{event:?}").split(['(', ' ']).next().unwrap().to_owned();
            match event {
                TransportEvent::Rtcp(report) => self.reports.push(report),
                TransportEvent::Ended(why) => self.events.push(format!("{why:?}")),
                TransportEvent::Connected(keys) => {
                    self.events.push(name);
                    self.keys = Some(keys);
                }
                TransportEvent::Route(route) => {
                    self.events.push(name);
                    self.route = Some(route);
                }
                _ => self.events.push(name),
            }
        }
        busy
    }

    fn drain_client(&mut self) -> bool {
        let mut busy = false;
        loop {
            match self.client.poll_output() {
                Ok(Output::Timeout(_)) | Err(_) => return busy,
                Ok(Output::Transmit(datagram)) => {
                    busy = true;
                    if self.lets_through(datagram.source) && (self.carries_dtls || datagram.contents[0] < 4) {
                        let from = Route { link: Link::Udp { socket: 0, local: None }, peer: datagram.source };
                        self.transport.handle_datagram(self.now, from, &mut datagram.contents.to_vec());
                    }
                }
                Ok(Output::Event(event)) => self.client_event(event),
            }
        }
    }

    fn client_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.client_connected = true,
            Event::IceConnectionStateChange(state) => self.client_states.push(state),
            Event::RtpPacket(packet) => {
                self.client_got.entry(*packet.header.ssrc).or_default().push(packet.payload.to_vec());
            }
            _ => {}
        }
    }

    /// From us to the client.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        if self.lets_through(to) {
            self.down.push_back((to, datagram.to_vec()));
        }
    }

    /// Lets time pass in steps of 20 ms, until `done` or `seconds` are over; how long it took.
    fn run(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        loop {
            while self.carry() {}
            if done(self) || self.now.since(start) >= Duration::from_secs(seconds) {
                return self.now.since(start);
            }
            self.now = self.now + Duration::from_millis(20);
            let instant = self.instant();
            if self.client.is_alive() {
                let _ = self.client.handle_input(Input::Timeout(instant));
            }
            if self.transport.poll_timeout().is_some_and(|at| at <= self.now) {
                self.transport.handle_timeout(self.now);
            }
        }
    }

    fn connect(&mut self) -> Duration {
        let took = self.run(20, |stage| stage.client_connected && stage.keys.is_some());
        assert!(self.client_connected && self.keys.is_some(), "{:?} {:?}", self.events, self.client_states);
        took
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }
}

#[test]
fn a_client_connects_at_once_and_opens_what_is_sealed_for_it() {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Auto] {
        let mut stage = Stage::with(version, |fingerprint| fingerprint);
        assert!(stage.transport.is_handshaking());
        let took = stage.connect();
        assert!(took <= Duration::from_millis(60), "{took:?}");
        assert_eq!(stage.take_events(), ["Route", "Connected"]);
        assert!(!stage.transport.is_handshaking());
        let keys = stage.keys.take().unwrap();
        assert_eq!(keys.profile, Profile::AeadAes128Gcm);
        let (mut sealer, to) = (Sealer::new(&keys), stage.route.unwrap().peer);
        for number in 0..50_u8 {
            let mut packet = vec![0x80, 96, 0, number, 0, 0, 0, number, 0, 0, 0, 77];
            packet.extend_from_slice(&[number; 100]);
            sealer.seal(&mut packet, 0, 12, 77, u64::from(number));
            stage.send(to, &packet);
        }
        stage.run(1, |_| false);
        let got = &stage.client_got[&77];
        assert_eq!(got.len(), 50);
        assert!(got.iter().enumerate().all(|(number, payload)| payload[..] == [number as u8; 100]));
    }
}

#[test]
fn reports_of_the_client_come_out_opened() {
    let mut stage = Stage::new();
    stage.connect();
    let mut direct = stage.client.direct_api();
    direct.stream_rx(&Ssrc::from(77)).unwrap().request_keyframe(KeyframeRequestKind::Pli);
    stage.run(3, |_| false);
    // A packet that says payload-specific feedback, picture loss, about source 77 (RFC 4585 §6.3.1).
    let asked = stage.reports.iter().any(|report| {
        let mut rest = &report[..];
        while rest.len() >= 12 {
            if rest[1] == 206 && rest[0] & 31 == 1 && rest[8..12] == [0, 0, 0, 77] {
                return true;
            }
            rest = &rest[(usize::from(u16::from_be_bytes([rest[2], rest[3]])) * 4 + 4).min(rest.len())..];
        }
        false
    });
    assert!(asked, "{:?}", stage.reports);
    // And ours reach the client.
    let mut sealer = Sealer::new(&stage.keys.take().unwrap());
    let mut report = Vec::new();
    let sent = ours::SenderReport { ssrc: 77, ntp: 1 << 40, rtp_timestamp: 5, packets: 6, octets: 7 };
    ours::write_sender_report(&mut report, &sent, &[], "us");
    sealer.seal_rtcp(&mut report, 0);
    let to = stage.route.unwrap().peer;
    stage.send(to, &report);
    stage.run(1, |_| false);
}

#[test]
fn a_client_connects_over_a_link_that_loses_a_tenth() {
    // Spread out: in turn, the same datagram of a flight would be lost again and again.
    fn tenth(count: usize) -> u32 {
        ((count as u32).wrapping_add(1).wrapping_mul(0x9e37_79b1) >> 16) % 10
    }
    for lost in [(|count| tenth(count) == 0) as fn(usize) -> bool, |count| tenth(count) == 1, |count| tenth(count) == 2]
    {
        let mut stage = Stage::new();
        stage.lost = lost;
        stage.run(60, |stage| stage.client_connected && stage.keys.is_some());
        assert!(stage.client_connected && stage.keys.is_some(), "{:?} {:?}", stage.events, stage.client_states);
    }
}

#[test]
fn a_certificate_other_than_the_offered_one_ends_it() {
    let mut stage = Stage::with(DtlsVersion::Dtls12, |_| Fingerprint::of(b"somebody else"));
    stage.run(5, |stage| stage.events.len() > 1);
    let why = "certificate is another than the fingerprint in the offer says";
    assert_eq!(stage.take_events(), ["Route".to_owned(), format!("Handshake({why:?})")]);
    assert!(stage.keys.is_none() && !stage.client_connected && stage.transport.poll_timeout().is_none());
}

#[test]
fn good_byes_are_heard_on_both_sides() {
    let mut stage = Stage::new();
    stage.connect();
    stage.take_events();
    stage.transport.close(stage.now);
    stage.run(2, |stage| !stage.client.is_alive());
    assert_eq!(stage.take_events(), ["Closed"]);
    assert!(stage.transport.poll_timeout().is_none());

    let mut stage = Stage::new();
    stage.connect();
    stage.take_events();
    stage.client.close().unwrap();
    stage.run(2, |stage| !stage.events.is_empty());
    assert_eq!(stage.take_events(), ["CloseNotify"]);
}

#[test]
fn a_viewer_that_vanishes_is_silent_after_ten_seconds_and_gone_after_thirty() {
    let mut stage = Stage::new();
    stage.connect();
    stage.run(15, |_| false);
    stage.take_events();
    stage.open.clear();
    let silent = stage.run(40, |stage| !stage.events.is_empty());
    assert!((8..=10).contains(&silent.as_secs()), "{silent:?}");
    let ended = stage.run(40, |stage| stage.events.len() > 1);
    assert!((19..=21).contains(&ended.as_secs()), "{ended:?}");
    assert_eq!(stage.take_events(), ["Silent", "Silence"]);
}

#[test]
fn a_client_that_keeps_playing_keeps_consenting() {
    let mut stage = Stage::new();
    stage.connect();
    stage.take_events();
    stage.run(120, |stage| !stage.events.is_empty());
    assert_eq!(stage.take_events(), [] as [&str; 0]);
}

#[test]
fn a_closed_port_silences_at_once() {
    let mut stage = Stage::new();
    stage.connect();
    stage.take_events();
    stage.open.clear();
    let route = stage.route.unwrap();
    stage.transport.handle_unreachable(stage.now, route);
    while stage.carry() {}
    assert_eq!(stage.take_events(), ["Silent"]);
    stage.open = vec![route.peer];
    stage.run(10, |stage| !stage.events.is_empty());
    assert_eq!(stage.take_events(), ["Heard"]);
}

#[test]
fn an_ice_restart_moves_the_viewer_and_dtls_goes_on() {
    let mut stage = Stage::new();
    stage.connect();
    let mut sealer = Sealer::new(&stage.keys.take().unwrap());
    stage.take_events();
    // The network is gone long enough for silence.
    stage.open.clear();
    stage.run(12, |_| false);
    assert_eq!(stage.take_events(), ["Silent"]);
    // The page restarts ICE from another address.
    let new = credentials("new");
    stage.transport.restart(new.clone());
    stage.client.add_local_candidate(host(THEM[1]));
    let mut direct = stage.client.direct_api();
    let fresh = direct.local_ice_credentials();
    direct.set_local_ice_credentials(fresh);
    direct.set_remote_ice_credentials(theirs(&new));
    stage.open = vec![THEM[1].parse().unwrap()];
    stage.run(15, |stage| stage.events.len() > 1);
    assert_eq!(stage.take_events(), ["Route", "Heard"]);
    assert_eq!(stage.route.unwrap().peer.to_string(), THEM[1]);
    let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 77, 1, 2, 3];
    sealer.seal(&mut packet, 0, 12, 77, 1);
    stage.send(THEM[1].parse().unwrap(), &packet);
    stage.run(1, |_| false);
    assert_eq!(stage.client_got[&77], [[1, 2, 3]]);
}

#[test]
fn only_proven_ways_cost_arithmetic() {
    let mut stage = Stage::new();
    let stranger = Route { link: Link::Udp { socket: 0, local: None }, peer: "198.51.100.1:1".parse().unwrap() };
    // A ClientHello, or reports, from nowhere.
    for first in [22_u8, 128, 200, 255, 64] {
        stage.transport.handle_datagram(stage.now, stranger, &mut [first, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        stage.transport.handle_datagram(stage.now, stranger, &mut []);
    }
    assert!(stage.transport.poll_transmit().is_none() && stage.transport.poll_event().is_none());
    stage.connect();
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let mut stage = Stage::new();
    stage.carries_dtls = false;
    let took = stage.run(60, |stage| stage.events.len() > 1);
    assert_eq!(took.as_secs(), 20);
    assert_eq!(stage.take_events()[1], "Handshake(\"not done within 20 s of the first check\")");
}
