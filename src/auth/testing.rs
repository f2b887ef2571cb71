//! Users for tests, whose passwords cost next to nothing to verify; keys of issuers; and a place for tokens.

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::{TokenShelf, User};
use crate::{base::Result, config::PermissionConfig};

/// Permissions by word and paths.
pub(crate) fn permissions(list: &[(&str, &str)]) -> Vec<PermissionConfig> {
    let one = |(action, path): &(&str, &str)| PermissionConfig {
        action: action.parse().unwrap(),
        path: path.parse().unwrap(),
    };
    list.iter().map(one).collect()
}

/// A shelf from which nothing is ever taken.
#[derive(Debug)]
pub(crate) struct NoShelf;

impl TokenShelf for NoShelf {
    fn put(&self, _: String, _: Option<String>) -> BoxFuture<'static, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// A user with a hash that is no good anywhere else.
pub(crate) fn cheap_user(name: &str, password: &str, list: &[(&str, &str)]) -> User {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let hash = cheap.hash_password_with_salt(password.as_bytes(), b"salt for a test").unwrap();
    User {
        name: name.parse().unwrap(),
        password: hash.to_string().parse().unwrap(),
        digest: None,
        groups: Vec::new(),
        permissions: permissions(list),
    }
}

/// A key that signs tokens as an issuer does.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl Signer {
    /// A new one of each kind.
    pub(crate) fn one_of_each() -> [Self; 3] {
        [Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())), Self::ec(), Self::ed()]
    }

    /// For ES256.
    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// For EdDSA.
    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// Its public half (RFC 7517).
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Self::Rsa(pair) => {
                // RFC 8017 §A.1.1: the modulus of 2048 bits behind its tag and length, then the exponent 65537.
                json!({ "kty": "RSA", "n": text(&pair.public_key().as_ref()[9..265]), "e": "AQAB" })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
        };
        key["kid"] = id.into();
        key
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this head and this body, as they stand there.
    pub(crate) fn token(&self, head: &str, body: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(body));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())))
    }
}
