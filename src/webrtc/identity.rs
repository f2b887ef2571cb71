//! Who we are to a viewer: the certificate of our DTLS, and fingerprints (RFC 8122 §5), ours and theirs.
//!
//! It does not read the state directory: [`super`]'s owner hands it texts.

use std::fmt;

use sha2::{Digest, Sha256, Sha384, Sha512};

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

/// The certificate of our DTLS and its key, made once and kept.
#[derive(Debug)]
pub struct Identity {
    fingerprint: Fingerprint,
}

impl Identity {
    /// Our fingerprint, for the answer.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}
