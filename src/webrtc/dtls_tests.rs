//! Handshakes with a client, over links that lose and reorder, and what a hostile client gets.

use std::cell::Cell;

use proptest::prelude::*;
use rtc_dtls::crypto::Certificate;
use rtc_srtp::{config::Config, protection_profile::ProtectionProfile};

use super::*;
use crate::base::WallTime;

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);
const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;
const CM_80: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const CM_32: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32;

fn identity() -> Arc<Identity> {
    Arc::new(Identity::generate(WallTime::from_unix_nanos(1_795_000_000_000_000_000)).unwrap().0)
}

struct ClientOptions {
    profiles: Vec<SrtpProtectionProfile>,
    extended_master_secret: ExtendedMasterSecretType,
    certificates: Vec<Certificate>,
    mtu: usize,
}

/// A viewer's side of DTLS.
struct Client {
    endpoint: Endpoint,
    options: ClientOptions,
    connected: bool,
    closed: bool,
    errors: Vec<LibraryError>,
}

impl Client {
    fn new(identity: &Identity) -> Self {
        Self {
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            options: ClientOptions {
                profiles: vec![CM_80, GCM_256, GCM],
                extended_master_secret: ExtendedMasterSecretType::Require,
                certificates: vec![identity.certificate().clone()],
                mtu: 1200,
            },
            connected: false,
            closed: false,
            errors: Vec::new(),
        }
    }

    fn start(&mut self, now: Monotonic) {
        let config = ConfigBuilder::default()
            .with_crypto_provider(identity().provider().clone())
            .with_certificates(self.options.certificates.clone())
            .with_srtp_protection_profiles(self.options.profiles.clone())
            .with_extended_master_secret(self.options.extended_master_secret)
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(400))
            .with_mtu(self.options.mtu)
            .build(true, None)
            .unwrap();
        self.endpoint.connect(now.to_std(), SERVER, Arc::new(config), None).unwrap();
    }

    fn read(&mut self, now: Monotonic, datagram: &[u8]) {
        match self.endpoint.read(now.to_std(), SERVER, None, BytesMut::from(datagram)) {
            Ok(events) => events.into_iter().for_each(|event| match event {
                EndpointEvent::HandshakeComplete => self.connected = true,
                EndpointEvent::PeerClosed => self.closed = true,
                _ => {}
            }),
            Err(error) => self.errors.push(error),
        }
    }

    fn keys(&self, profile: Profile) -> Vec<u8> {
        let profile = match profile {
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let mut config = Config { profile, ..Default::default() };
        let state = self.endpoint.get_connection_state(SERVER).unwrap();
        let exported = state.export_keying_material(EXPORTER, &[], config.keying_material_len()).unwrap();
        config.set_session_keys_from_keying_material(exported.as_ref(), true).unwrap();
        let keys = &config.keys;
        let all = [&keys.local_master_key, &keys.local_master_salt, &keys.remote_master_key, &keys.remote_master_salt];
        all.map(|part| AsRef::<[u8]>::as_ref(part).to_vec()).concat()
    }
}

/// What a link does with the datagrams of one direction, by their number.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Arrives,
    IsLost,
    ComesTwice,
    ComesAfterTheNext,
}

struct Link<F> {
    fate: F,
    count: usize,
    held: Option<Vec<u8>>,
}

impl<F: FnMut(usize) -> Fate> Link<F> {
    fn new(fate: F) -> Self {
        Self { fate, count: 0, held: None }
    }

    fn carry(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        self.count += 1;
        assert!(datagram.len() <= MTU, "{} bytes", datagram.len());
        let mut out = match (self.fate)(self.count - 1) {
            Fate::Arrives => vec![datagram],
            Fate::IsLost => vec![],
            Fate::ComesTwice => vec![datagram.clone(), datagram],
            Fate::ComesAfterTheNext if self.held.is_none() => {
                self.held = Some(datagram);
                return vec![];
            }
            Fate::ComesAfterTheNext => vec![datagram],
        };
        out.extend(self.held.take());
        out
    }
}

/// Lets both talk until both are through or `seconds` have passed; gives what the server told and when it ended.
fn talk(
    server: &mut Dtls,
    client: &mut Client,
    seconds: u64,
    up: impl FnMut(usize) -> Fate,
    down: impl FnMut(usize) -> Fate,
) -> (Vec<DtlsEvent>, Duration) {
    let (mut up, mut down) = (Link::new(up), Link::new(down));
    let start = Monotonic::from_nanos(1_000_000_000);
    let (mut now, mut events) = (start, Vec::new());
    client.start(now);
    while now.since(start) < Duration::from_secs(seconds) {
        while let Some(transmit) = client.endpoint.poll_transmit() {
            for datagram in up.carry(transmit.message.to_vec()) {
                server.handle_datagram(now, &datagram);
            }
        }
        while let Some(datagram) = server.poll_transmit() {
            for datagram in down.carry(datagram.to_vec()) {
                client.read(now, &datagram);
            }
        }
        events.extend(std::iter::from_fn(|| server.poll_event()));
        let over = events.iter().any(|event| matches!(event, DtlsEvent::Failed(_) | DtlsEvent::Closed));
        if over || (server.is_connected() && client.connected) {
            break;
        }
        now = now + Duration::from_millis(10);
        if server.poll_timeout().is_some_and(|at| at <= now) {
            server.handle_timeout(now);
        }
        let _ = client.endpoint.handle_timeout(SERVER, now.to_std());
    }
    (events, now.since(start))
}

fn arrives(_: usize) -> Fate {
    Fate::Arrives
}

struct Stage2 {
    server: Dtls,
    client: Client,
}

fn pair() -> Stage2 {
    let theirs = identity();
    Stage2 { server: Dtls::new(identity(), theirs.fingerprint().clone()), client: Client::new(&theirs) }
}

fn assert_connected(stage: &Stage2, events: &[DtlsEvent], profile: Profile) {
    let [DtlsEvent::Connected { ours, theirs }] = events else { panic!("{events:?} {:?}", stage.client.errors) };
    assert_eq!((ours.profile, theirs.profile), (profile, profile));
    let side = |keys: &MediaKeys| [&keys.key[..], &keys.salt[..profile.salt_len()]].concat();
    assert_eq!([side(theirs), side(ours)].concat(), stage.client.keys(profile));
}

#[test]
fn gcm_is_agreed_on_wherever_it_stands_in_the_offer() {
    for profiles in [vec![GCM], vec![CM_80, GCM_256, GCM], vec![GCM, CM_80]] {
        let mut stage = pair();
        stage.client.options.profiles = profiles;
        let (events, took) = talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
        assert_connected(&stage, &events, Profile::AeadAes128Gcm);
        assert!(took < Duration::from_millis(100), "{took:?}");
        assert_eq!(stage.server.poll_timeout(), None);
    }
}

#[test]
fn a_client_without_gcm_gets_counter_mode_without_delay() {
    for profiles in [vec![CM_80], vec![CM_32, GCM_256, CM_80]] {
        let mut stage = pair();
        stage.client.options.profiles = profiles;
        let (events, took) = talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
        assert_connected(&stage, &events, Profile::Aes128CmHmacSha1_80);
        assert!(took < Duration::from_millis(100), "{took:?}");
        assert!(stage.client.errors.is_empty());
    }
}

#[test]
fn a_client_that_lacks_what_we_need_fails_and_hears_why() {
    for (profiles, extended_master_secret, certified, why) in [
        (vec![CM_32, GCM_256], ExtendedMasterSecretType::Require, true, "no srtp profile in common"),
        (vec![], ExtendedMasterSecretType::Require, true, "no srtp profile in common"),
        (vec![GCM], ExtendedMasterSecretType::Disable, true, "extended master secret"),
        (vec![GCM], ExtendedMasterSecretType::Require, false, ""),
    ] {
        let mut stage = pair();
        stage.client.options.profiles = profiles;
        stage.client.options.extended_master_secret = extended_master_secret;
        if !certified {
            stage.client.options.certificates.clear();
        }
        let (events, took) = talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
        let [DtlsEvent::Failed(said)] = &events[..] else { panic!("{events:?}") };
        assert!(said.contains(why) && took < Duration::from_secs(1), "{said}");
        assert!(!stage.server.is_connected());
    }
}

#[test]
fn another_certificate_than_the_offer_named_is_refused() {
    for profiles in [vec![GCM], vec![CM_80]] {
        let mut stage = pair();
        stage.client.options.profiles = profiles;
        stage.client.options.certificates = vec![identity().certificate().clone()];
        let (events, _) = talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
        let [DtlsEvent::Failed(said)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(said, WRONG_CERTIFICATE);
        // The client hears it as an alert.
        assert!(stage.client.errors.contains(&LibraryError::ErrAlertFatalOrClose));
        assert!(!stage.client.connected);
    }
}

#[test]
fn lost_repeated_and_reordered_flights_delay_and_never_fail() {
    let fates = [Fate::IsLost, Fate::ComesTwice, Fate::ComesAfterTheNext];
    for fate in fates {
        for number in 0..6 {
            for upwards in [true, false] {
                let mut stage = pair();
                let bend =
                    |up: bool| move |count: usize| if up == upwards && count == number { fate } else { Fate::Arrives };
                let (events, took) = talk(&mut stage.server, &mut stage.client, 10, bend(true), bend(false));
                assert_connected(&stage, &events, Profile::AeadAes128Gcm);
                assert!(stage.client.connected && took < Duration::from_millis(1500), "{number} {upwards} {took:?}");
            }
        }
    }
}

#[test]
fn every_other_datagram_lost_still_connects() {
    let mut stage = pair();
    let even = |count: usize| if count.is_multiple_of(2) { Fate::IsLost } else { Fate::Arrives };
    let (events, took) = talk(&mut stage.server, &mut stage.client, 10, even, even);
    assert_connected(&stage, &events, Profile::AeadAes128Gcm);
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_hello_in_small_pieces_is_put_together_for_either_profile() {
    for (profiles, profile) in [(vec![CM_80], Profile::Aes128CmHmacSha1_80), (vec![GCM], Profile::AeadAes128Gcm)] {
        let mut stage = pair();
        stage.client.options.profiles = profiles;
        stage.client.options.mtu = 120;
        let (events, _) = talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
        assert_connected(&stage, &events, profile);
    }
}

#[test]
fn an_unanswered_flight_is_sent_again_with_growing_pauses_and_not_for_ever() {
    let mut stage = pair();
    // The flight with the certificate never arrives.
    let sent = Cell::new(0);
    let down = |count: usize| {
        sent.set(count + 1);
        if count == 0 { Fate::Arrives } else { Fate::IsLost }
    };
    talk(&mut stage.server, &mut stage.client, 60, arrives, down);
    assert!((8..40).contains(&sent.get()), "{}", sent.get());
    assert!(!stage.server.is_connected() && stage.server.poll_timeout().is_none());
}

#[test]
fn either_side_says_good_bye() {
    let now = Monotonic::from_nanos(9_000_000_000);
    let mut stage = pair();
    talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
    stage.client.endpoint.close(now.to_std()).unwrap();
    let bye = stage.client.endpoint.poll_transmit().unwrap();
    stage.server.handle_datagram(now, &bye.message);
    assert!(matches!(stage.server.poll_event(), Some(DtlsEvent::Closed)));
    assert!(stage.server.poll_transmit().is_some());

    let mut stage = pair();
    talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
    stage.server.close(now);
    let bye = stage.server.poll_transmit().unwrap();
    stage.client.read(now, &bye);
    assert!(stage.client.closed);
}

#[test]
fn a_connection_outlives_everything_nobody_has_signed() {
    let now = Monotonic::from_nanos(9_000_000_000);
    let mut stage = pair();
    talk(&mut stage.server, &mut stage.client, 5, arrives, arrives);
    let record = |kind: u8, epoch: u8, body: &[u8]| {
        [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 1, 0, 9, 0, body.len() as u8][..], body].concat()
    };
    for forged in [
        record(21, 0, &[1, 0]),
        record(21, 0, &[2, 40]),
        record(21, 1, &[9; 26]),
        record(20, 0, &[1]),
        record(22, 0, &[0; 12]),
        record(22, 2, &[0; 40]),
        record(23, 1, &[0; 60]),
        vec![22; 40],
    ] {
        stage.server.handle_datagram(now, &forged);
        assert!(stage.server.poll_event().is_none() && stage.server.is_connected(), "{forged:?}");
    }
    stage.client.endpoint.close(now.to_std()).unwrap();
    let bye = stage.client.endpoint.poll_transmit().unwrap();
    stage.server.handle_datagram(now, &bye.message);
    assert!(matches!(stage.server.poll_event(), Some(DtlsEvent::Closed)));
}

/// A handshake while somebody on the way bends what the client sends: `(datagram, place, byte)`.
fn bent_handshake(bends: &[(usize, usize, u8)]) -> (Dtls, bool) {
    let mut stage = pair();
    stage.client.options.profiles = if bends.len().is_multiple_of(2) { vec![GCM] } else { vec![CM_80] };
    let now = Monotonic::from_nanos(1_000_000_000);
    stage.client.start(now);
    let (mut number, mut touched) = (0, false);
    for _ in 0..8 {
        while let Some(transmit) = stage.client.endpoint.poll_transmit() {
            let mut datagram = transmit.message.to_vec();
            for (_, at, to) in bends.iter().filter(|(which, ..)| *which == number) {
                // Towards the front, where the lengths stand.
                let at = at % if at % 3 == 0 { datagram.len().min(60) } else { datagram.len() };
                touched |= datagram[at] != *to;
                datagram[at] = *to;
            }
            number += 1;
            stage.server.handle_datagram(now, &datagram);
        }
        while let Some(datagram) = stage.server.poll_transmit() {
            stage.client.read(now, &datagram);
        }
    }
    (stage.server, touched)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bent_handshakes_do_no_harm(
        bends in proptest::collection::vec((0..4_usize, 0..2000_usize, any::<u8>()), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let (mut server, touched) = bent_handshake(&bends);
        prop_assert!(touched || server.is_connected());
        let now = Monotonic::from_nanos(2_000_000_000);
        server.handle_datagram(now, &noise);
        server.handle_timeout(now);
        server.close(now);
    }
}
