//! Who we are to a viewer: the certificate of our DTLS, and fingerprints (RFC 8122 §5), ours and theirs.
//!
//! It owns the file the certificate is kept in. It checks no chain and no name: in WebRTC a certificate is as good as its
//! fingerprint in the signalling (RFC 8827 §6.5).

use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};

use rtc_crypto::{RTCCryptoProvider, SignatureScheme, providers::AwsLcRsProvider};
use rtc_dtls::crypto::Certificate;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::base::{Error, Kind, Result, WallTime, private_file};

/// The hash of a certificate (RFC 8122 §5), as it stands behind `a=fingerprint:`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    algorithm: HashAlgorithm,
    bytes: Vec<u8>,
}

/// The hashes we take. RFC 8122 §5 leaves out MD5; SHA-1 is left out by us: no browser has sent it for ten years.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HashAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl HashAlgorithm {
    const ALL: [(Self, &str, usize); 3] =
        [(Self::Sha256, "sha-256", 32), (Self::Sha384, "sha-384", 48), (Self::Sha512, "sha-512", 64)];

    fn digest(self, der: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(der).to_vec(),
            Self::Sha384 => Sha384::digest(der).to_vec(),
            Self::Sha512 => Sha512::digest(der).to_vec(),
        }
    }
}

/// Why a text is no fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Another hash than SHA-256, SHA-384 or SHA-512.
    #[error("hash is none of sha-256, sha-384, sha-512")]
    Algorithm,
    /// Not as many pairs of hexadecimal digits, between colons, as the hash has bytes.
    #[error("digits are not those of the hash")]
    Digits,
}

impl Fingerprint {
    /// The SHA-256 fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Self {
        Self { algorithm: HashAlgorithm::Sha256, bytes: HashAlgorithm::Sha256.digest(der) }
    }

    /// Reads what stands behind `a=fingerprint:`, such as `sha-256 AB:CD:…`.
    ///
    /// # Errors
    /// [`FingerprintError`].
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let (name, digits) = text.trim().split_once(' ').ok_or(FingerprintError::Digits)?;
        // RFC 8122 §5: the name is compared whatever its case, and so are digits by those who are generous.
        let known = HashAlgorithm::ALL.into_iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        let (algorithm, _, length) = known.ok_or(FingerprintError::Algorithm)?;
        let pair = |pair: &str| match pair.as_bytes() {
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.trim().split(':').take(length + 1).map(pair).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == length).ok_or(FingerprintError::Digits)?;
        Ok(Self { algorithm, bytes })
    }

    /// Whether it is the fingerprint of this certificate.
    pub fn matches(&self, der: &[u8]) -> bool {
        self.algorithm.digest(der) == self.bytes
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = HashAlgorithm::ALL.iter().find(|known| known.0 == self.algorithm).map_or("", |known| known.1);
        f.write_str(name)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

/// The file in the state directory.
pub const FILE: &str = "webrtc.pem";
/// How long a certificate is good for, in years. Viewers compare its fingerprint and look at nothing else.
const YEARS: i16 = 5;
/// One that ends sooner than this is replaced at the start.
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// The certificate of our DTLS and its key, made once and kept over restarts, so that its fingerprint is too.
pub struct Identity {
    certificate: Certificate,
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: Fingerprint,
    expires: WallTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// The one kept in the state directory, or a new one that is kept there from now on.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: it cannot be written there.
    pub fn kept(state_dir: &Path, now: WallTime) -> Result<Self> {
        let file = state_dir.join(FILE);
        match fs::read_to_string(&file) {
            Ok(pem) => match Self::from_pem(&pem) {
                Ok(identity) if identity.expires.nanos_since(now) > RENEWED_BEFORE.as_nanos() as i64 => {
                    return Ok(identity);
                }
                Ok(identity) => {
                    tracing::warn!(file = %file.display(), expires = %identity.expires, "webrtc certificate ends soon; a new one takes its place");
                }
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "webrtc certificate cannot be used; a new one takes its place");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "webrtc certificate cannot be read; a new one takes its place");
            }
        }
        let (identity, pem) = Self::generate(now)?;
        private_file::write(state_dir, FILE, &pem).map_err(|error| {
            Error::new(Kind::FailedPrecondition, format!("webrtc certificate {}: cannot be written", file.display()))
                .with_hint("state_dir in the configuration names the directory; the server needs to write there")
                .caused_by(error)
        })?;
        Ok(identity)
    }

    /// A new one, and its PEM text: a secret.
    ///
    /// # Errors
    /// [`Kind::Internal`]: the cipher provider makes no keys.
    pub fn generate(now: WallTime) -> Result<(Self, String)> {
        let failed = |error: rcgen::Error| Error::new(Kind::Internal, "webrtc certificate").caused_by(error);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "campanile");
        // By the day before: a viewer's clock may be behind ours.
        let day = |time: WallTime, years: i16| {
            let second = jiff::Timestamp::from_second(time.unix_millis() / 1000).unwrap_or_default();
            let date = second.to_zoned(jiff::tz::TimeZone::UTC).date();
            // Months of 28 days, whatever the year.
            rcgen::date_time_ymd(i32::from(date.year() + years), date.month() as u8, (date.day() as u8).min(28))
        };
        params.not_before = day(now.plus_nanos(-86_400_000_000_000), 0);
        params.not_after = day(now, YEARS);
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// Reads a key and its certificate.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: one is missing, or they do not belong together.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let refused = |what: &'static str| Error::new(Kind::FailedPrecondition, what);
        // The parsers' words could quote the key: they are left out.
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused("holds no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused("holds no private key"))?;
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let key = provider.crypto().import_signing_key(SignatureScheme::EcdsaP256Sha256, key.secret_der());
        let key = key.map_err(|_| refused("holds a private key of another kind"))?;
        let parsed = x509_parser::parse_x509_certificate(&certificate);
        let (_, parsed) = parsed.map_err(|_| refused("holds a certificate that cannot be read"))?;
        if parsed.public_key().subject_public_key.data != key.public_key().bytes {
            return Err(refused("holds a certificate and the key of another one"));
        }
        let expires = WallTime::from_unix_nanos(parsed.validity().not_after.timestamp().saturating_mul(1_000_000_000));
        let fingerprint = Fingerprint::of(&certificate);
        let certificate = Certificate::from_signing_key(vec![certificate], key);
        Ok(Self { certificate, provider, fingerprint, expires })
    }

    /// Our fingerprint, for the answer.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The certificate as DTLS takes it.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The ciphers DTLS works with.
    pub(super) fn provider(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> WallTime {
        WallTime::from_unix_nanos(1_795_000_000_000_000_000)
    }

    #[test]
    fn a_fingerprint_survives_a_restart_and_its_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("deep");
        let first = Identity::kept(&deep, now()).unwrap();
        let second = Identity::kept(&deep, now().plus_nanos(86_400_000_000_000)).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert!(first.fingerprint.matches(&first.certificate.certificate[0]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(deep.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_cannot_be_used_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let kept =
            |years: i64| Identity::kept(directory.path(), now().plus_nanos(years * 366 * 86_400_000_000_000)).unwrap();
        let first = kept(0);
        // Near its end.
        let second = kept(5);
        assert_ne!(first.fingerprint, second.fingerprint);
        assert_eq!(kept(6).fingerprint, second.fingerprint);
        // Rubbish, half a file, two that do not belong together.
        let (_, one) = Identity::generate(now()).unwrap();
        let (_, other) = Identity::generate(now()).unwrap();
        let key = one.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap();
        for text in [
            "rubbish",
            key,
            &format!("{key}{}", other.split_once("KEY-----\n-----BEGIN C").map_or("", |_| &other[key.len()..])),
        ] {
            fs::write(directory.path().join(FILE), text).unwrap();
            let error = Identity::from_pem(text).unwrap_err();
            assert!(!error.to_string().contains(key.lines().nth(1).unwrap()), "{error}");
            assert_eq!(kept(0).fingerprint, kept(0).fingerprint);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = Identity::kept(&directory.path().join("file"), now()).unwrap_err();
        assert!(error.message().ends_with("webrtc.pem: cannot be written"), "{error}");
    }

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        let shown = Fingerprint::of(b"certificate").to_string();
        assert!(shown.starts_with("sha-256 ") && shown.len() == 8 + 32 * 3 - 1);
        let read = Fingerprint::parse(&shown).unwrap();
        assert!(read.matches(b"certificate") && !read.matches(b"another"));
        assert_eq!(Fingerprint::parse(&shown.to_lowercase()), Ok(read));
        let longer = format!("SHA-384 {}", ["AB"; 48].join(":"));
        assert_eq!(Fingerprint::parse(&longer).unwrap().to_string(), longer.replace("SHA", "sha"));
        for (text, error) in [
            ("", FingerprintError::Digits),
            ("sha-256", FingerprintError::Digits),
            ("md5 AB:CD", FingerprintError::Algorithm),
            ("sha-256 AB:CD", FingerprintError::Digits),
            (&shown[..shown.len() - 1], FingerprintError::Digits),
            (&format!("{shown}:00"), FingerprintError::Digits),
            (&shown.replacen(&shown[8..10], "+1", 1), FingerprintError::Digits),
            (&shown.replacen(&shown[8..10], "é", 1), FingerprintError::Digits),
        ] {
            assert_eq!(Fingerprint::parse(text), Err(error), "{text}");
        }
    }
}
