//! A key of this server for tokens of its own: HS256 (RFC 7518 §3.2), or EdDSA with Ed25519 (RFC 8037 §3.1). What
//! algorithm it is for stands with the key, and never in a token. A value.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};

use super::user::{hexadecimal, of_hexadecimal};
use crate::config::TokenAlgorithm;

/// The length of a key's secret, in bytes: what RFC 7518 §3.2 asks for, and a seed of RFC 8032 §5.1.5.
const SECRET: usize = 32;

/// A key of this server, by the name that stands in tokens.
#[derive(Clone)]
pub struct TokenKey {
    /// `kid`.
    pub id: String,
    secret: [u8; SECRET],
    works: Works,
}

#[derive(Clone)]
enum Works {
    Hs256(Arc<hmac::Key>),
    EdDsa(Arc<Ed25519KeyPair>),
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

impl TokenKey {
    /// A new one, for HS256: it cannot fail.
    pub fn random() -> Self {
        let secret = rand::random();
        Self { id: random_id(), secret, works: Works::hs256(&secret) }
    }

    /// A new one; nothing if the library makes none.
    pub fn new(algorithm: TokenAlgorithm) -> Option<Self> {
        Self::of(random_id(), algorithm, rand::random())
    }

    /// One that was kept; nothing if that is none.
    pub fn of_stored(id: &str, algorithm: TokenAlgorithm, secret: &str) -> Option<Self> {
        Self::of(id.to_owned(), algorithm, of_hexadecimal(secret)?.try_into().ok()?)
    }

    fn of(id: String, algorithm: TokenAlgorithm, secret: [u8; SECRET]) -> Option<Self> {
        let works = match algorithm {
            TokenAlgorithm::Hs256 => Works::hs256(&secret),
            TokenAlgorithm::EdDsa => Works::EdDsa(Arc::new(Ed25519KeyPair::from_seed_unchecked(&secret).ok()?)),
        };
        Some(Self { id, secret, works })
    }

    /// What is to be kept of it. It holds the secret: it goes nowhere else.
    pub fn to_stored(&self) -> String {
        hexadecimal(&self.secret)
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> TokenAlgorithm {
        match self.works {
            Works::Hs256(_) => TokenAlgorithm::Hs256,
            Works::EdDsa(_) => TokenAlgorithm::EdDsa,
        }
    }

    /// The signature of a message.
    pub(super) fn seal(&self, message: &[u8]) -> Vec<u8> {
        match &self.works {
            Works::Hs256(key) => hmac::sign(key, message).as_ref().to_vec(),
            Works::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Whether a signature of a message is this key's.
    pub(super) fn sealed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.works {
            Works::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
            Works::EdDsa(pair) => {
                UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).verify(message, signature).is_ok()
            }
        }
    }
}

impl Works {
    fn hs256(secret: &[u8; SECRET]) -> Self {
        Self::Hs256(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

fn random_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_proves_what_it_signed_and_shows_nothing() {
        for algorithm in [TokenAlgorithm::Hs256, TokenAlgorithm::EdDsa] {
            let key = TokenKey::new(algorithm).unwrap();
            let kept = TokenKey::of_stored(&key.id, algorithm, &key.to_stored()).unwrap();
            assert_eq!((kept.id.as_str(), kept.algorithm()), (key.id.as_str(), algorithm));
            let signature = key.seal(b"message");
            assert!(kept.sealed(b"message", &signature) && !kept.sealed(b"massage", &signature));
            assert!(!kept.sealed(b"message", &signature[1..]) && !kept.sealed(b"message", b""));
            assert!(!TokenKey::new(algorithm).unwrap().sealed(b"message", &signature));
            assert!(!format!("{key:?}").contains(&key.to_stored()));
            for none in ["", "abc", &key.to_stored()[2..]] {
                assert!(TokenKey::of_stored("a", algorithm, none).is_none(), "{none}");
            }
        }
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = TokenKey::of_stored("rfc8032", TokenAlgorithm::EdDsa, secret).unwrap();
        // RFC 8032 §7.1, test 1.
        assert!(hexadecimal(&key.seal(b"")).starts_with("e5564300c360ac729086e2cc806e828a"));
    }
}
