//! DTLS 1.2 (RFC 6347, RFC 5764), the server's side, sans-IO, over `rtc-dtls`.
//!
//! It owns one handshake: which SRTP profile it agrees on, whether the viewer is who its offer said (RFC 8827 §6.5), when
//! to send again, and the keys that come out. What may reach the library at all is [`super::records`]'s business, and
//! which way its datagrams go the transport's. It carries no data: data channels are not spoken here.
//!
//! A handshake costs about a third of a millisecond of arithmetic, in [`Dtls::handle_datagram`].

use std::{
    collections::VecDeque,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rtc_dtls::{
    cipher_suite::CipherSuiteId,
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType},
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_shared::{TransportProtocol, error::Error as LibraryError};

use super::{
    identity::{Fingerprint, Identity},
    records::Screen,
    srtp::{MediaKeys, Profile},
};
use crate::base::Monotonic;

/// RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// A flight without an answer is sent again after this, then after twice as long (RFC 6347 §4.2.4.1 says a second;
/// RFC 8261 and every browser say less, for the way is known to work).
const FIRST_RESEND: Duration = Duration::from_millis(100);
const LAST_RESEND: Duration = Duration::from_secs(3);
/// How often. Silence is the transport's business.
const RESENDS: u32 = 8;
/// Datagrams kept for a second try with another SRTP profile: a Chromium ClientHello has two.
const KEPT: usize = 4;
/// What fits in the smallest path IPv6 knows, with room for tunnels.
const MTU: usize = 1200;
/// The library tells peers apart by address. Ours may move, and there is one.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);

const NO_PROFILE: &str = "no srtp profile in common: we speak AEAD_AES_128_GCM and AES128_CM_HMAC_SHA1_80";
const WRONG_CERTIFICATE: &str = "certificate is another than the fingerprint in the offer says";

/// What a [`Dtls`] tells.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The handshake is done.
    Connected {
        /// Of what we send.
        ours: MediaKeys,
        /// Of what the viewer sends.
        theirs: MediaKeys,
    },
    /// The viewer said good-bye. Nothing follows.
    Closed,
    /// There will be no connection; the words say why. Nothing follows.
    Failed(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Handshaking,
    Connected,
    Over,
}

/// The DTLS connection of one viewer.
pub struct Dtls {
    identity: Arc<Identity>,
    fingerprint: Arc<Fingerprint>,
    /// Whether the viewer's certificate was seen and fits: the library calls back for it.
    verified: Arc<AtomicBool>,
    /// Made with the first datagram: many offers never send one.
    endpoint: Option<Endpoint>,
    profile: Profile,
    stage: Stage,
    screen: Screen,
    /// The first datagrams, until the profile is settled.
    kept: Vec<Bytes>,
    /// The last flight. It is sent again as it was: the library stops its own clock when the viewer repeats itself. What
    /// of it arrived is dropped by its record numbers (RFC 6347 §4.1.2.6), what did not is news.
    flight: Vec<Bytes>,
    /// When to send it again, and how often that was done.
    resend: Option<(Monotonic, u32)>,
    /// How often the very last flight was sent again.
    repeated: u32,
    transmits: VecDeque<Bytes>,
    events: VecDeque<DtlsEvent>,
}

impl fmt::Debug for Dtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls").field("stage", &self.stage).field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Dtls {
    /// Waits for the ClientHello of a viewer whose certificate has this fingerprint.
    pub fn new(identity: Arc<Identity>, fingerprint: Fingerprint) -> Self {
        Self {
            identity,
            fingerprint: Arc::new(fingerprint),
            verified: Arc::default(),
            endpoint: None,
            // Half the work of the other one, on processors of this decade.
            profile: Profile::AeadAes128Gcm,
            stage: Stage::Handshaking,
            screen: Screen::default(),
            kept: Vec::new(),
            flight: Vec::new(),
            resend: None,
            repeated: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn open_endpoint(&self) -> Result<Endpoint, LibraryError> {
        let (fingerprint, verified) = (self.fingerprint.clone(), self.verified.clone());
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            // RFC 8827 §6.5: the certificate itself is what the fingerprint in the offer was made of.
            if !chain.first().is_some_and(|certificate| fingerprint.matches(certificate)) {
                return Err(LibraryError::Other(WRONG_CERTIFICATE.into()));
            }
            verified.store(true, Ordering::Relaxed);
            Ok(())
        };
        let profile = match self.profile {
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Aes128CmHmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.identity.provider().clone())
            .with_certificates(vec![self.identity.certificate().clone()])
            // RFC 8827 §6.5 wants the first of them.
            .with_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            ])
            .with_srtp_protection_profiles(vec![profile])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_mtu(MTU)
            .build(false, None)?;
        Ok(Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::new(config))))
    }

    /// Takes a datagram of the viewer.
    pub fn handle_datagram(&mut self, now: Monotonic, datagram: &[u8]) {
        // RFC 6347 §4.2.4: a viewer that repeats its last flight has not seen ours.
        if self.is_connected() && matches!(datagram.first(), Some(20 | 22)) && self.repeated < 3 * RESENDS {
            self.repeated += 1;
            self.transmits.extend(self.flight.iter().cloned());
        }
        if self.stage == Stage::Over || !self.screen.admits(datagram, self.is_connected()) {
            return;
        }
        let may_retry = self.stage == Stage::Handshaking && self.profile == Profile::AeadAes128Gcm;
        if may_retry && self.kept.len() < KEPT {
            self.kept.push(Bytes::copy_from_slice(datagram));
        }
        match self.feed(now, datagram) {
            // Only the profile is missing: once more from the beginning, with the other one. The alert stays unsent.
            Err(LibraryError::ErrServerNoMatchingSrtpProfile) if may_retry => {
                self.profile = Profile::Aes128CmHmacSha1_80;
                self.endpoint = None;
                for kept in std::mem::take(&mut self.kept) {
                    if let Err(error) = self.feed(now, &kept) {
                        self.fail(&error);
                        break;
                    }
                }
            }
            Err(error) => self.fail(&error),
            Ok(()) => {}
        }
        self.drain(now);
    }

    fn feed(&mut self, now: Monotonic, datagram: &[u8]) -> Result<(), LibraryError> {
        let mut endpoint = match self.endpoint.take() {
            Some(endpoint) => endpoint,
            None => self.open_endpoint()?,
        };
        let read = endpoint.read(now.to_std(), PEER, None, BytesMut::from(datagram));
        let endpoint = self.endpoint.insert(endpoint);
        for event in read? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let keys = keys(endpoint, self.profile)?;
                    // The library asks for a certificate and checks it; that it did is too dear to be taken on trust.
                    if !self.verified.load(Ordering::Relaxed) {
                        return Err(LibraryError::Other(WRONG_CERTIFICATE.into()));
                    }
                    self.stage = Stage::Connected;
                    self.kept = Vec::new();
                    self.events.push_back(DtlsEvent::Connected { ours: keys.0, theirs: keys.1 });
                }
                EndpointEvent::PeerClosed => {
                    self.stage = Stage::Over;
                    self.events.push_back(DtlsEvent::Closed);
                }
                // Data channels are not spoken.
                _ => {}
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: &LibraryError) {
        match self.stage {
            Stage::Handshaking => {
                self.stage = Stage::Over;
                self.events.push_back(DtlsEvent::Failed(words(error)));
            }
            // RFC 5246 §7.2.2: a fatal alert, which was authentic.
            Stage::Connected if *error == LibraryError::ErrAlertFatalOrClose => {
                self.stage = Stage::Over;
                self.events.push_back(DtlsEvent::Closed);
            }
            // RFC 6347 §4.1.2.7: what is invalid is dropped.
            Stage::Connected | Stage::Over => {}
        }
    }

    /// Takes what the library wants sent, and sets the clock of the next repetition.
    fn drain(&mut self, now: Monotonic) {
        let Some(endpoint) = &mut self.endpoint else { return };
        let flight: Vec<Bytes> =
            std::iter::from_fn(|| endpoint.poll_transmit()).map(|transmit| transmit.message.freeze()).collect();
        self.transmits.extend(flight.iter().cloned());
        if self.stage != Stage::Handshaking {
            self.resend = None;
            if self.repeated == 0 && !flight.is_empty() {
                self.flight = flight;
            }
        } else if !flight.is_empty() {
            (self.flight, self.resend) = (flight, Some((now + FIRST_RESEND, 0)));
        }
        if self.stage == Stage::Over {
            self.endpoint = None;
        }
    }

    /// Sends the last flight again if it is time.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        let Some((_, count)) = self.resend.filter(|(at, _)| *at <= now) else { return };
        self.transmits.extend(self.flight.iter().cloned());
        let delay = FIRST_RESEND.saturating_mul(2 << count).min(LAST_RESEND);
        self.resend = (count + 1 < RESENDS).then_some((now + delay, count + 1));
    }

    /// When [`Dtls::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.resend.map(|(at, _)| at)
    }

    /// The next datagram for the viewer.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Whether the handshake is done.
    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// Says good-bye (RFC 5246 §7.2.1).
    pub fn close(&mut self, now: Monotonic) {
        if let Some(endpoint) = &mut self.endpoint
            && self.stage == Stage::Connected
        {
            // Closing only queues an alert.
            let _ = endpoint.close(now.to_std());
        }
        self.stage = Stage::Over;
        self.drain(now);
    }
}

/// The keys of both directions, ours first (RFC 5764 §4.2: client's key, server's key, client's salt, server's salt).
fn keys(endpoint: &Endpoint, profile: Profile) -> Result<(MediaKeys, MediaKeys), LibraryError> {
    let state = endpoint.get_connection_state(PEER).ok_or(LibraryError::HandshakeInProgress)?;
    if state.srtp_protection_profile() == SrtpProtectionProfile::Unsupported {
        return Err(LibraryError::Other(NO_PROFILE.into()));
    }
    let salt_len = profile.salt_len();
    let exported = state.export_keying_material(EXPORTER, &[], 2 * (16 + salt_len))?;
    let exported = exported.as_ref();
    let side = |number: usize| {
        let mut side = MediaKeys { profile, key: [0; 16], salt: [0; 14] };
        side.key.copy_from_slice(&exported[16 * number..16 * (number + 1)]);
        side.salt[..salt_len].copy_from_slice(&exported[32 + salt_len * number..32 + salt_len * (number + 1)]);
        side
    };
    Ok((side(1), side(0)))
}

/// What went wrong, for people.
fn words(error: &LibraryError) -> String {
    match error {
        LibraryError::ErrServerNoMatchingSrtpProfile => NO_PROFILE.into(),
        LibraryError::ErrCipherSuiteNoIntersection => "no cipher suite in common".into(),
        LibraryError::ErrServerRequiredButNoClientEms => "client lacks the extended master secret".into(),
        LibraryError::ErrAlertFatalOrClose => "client refused with an alert".into(),
        LibraryError::ErrKeySignatureMismatch => "client's signature does not fit its certificate".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "dtls_tests.rs"]
mod tests;
