//! The keys of an issuer (RFC 7517; RFC 7518 §6; RFC 8037 §2), and what they prove. What algorithm a key is for follows
//! from the key, never from a token. Sans-IO.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The largest key set that is read, in bytes, and the most keys of it.
const LARGEST: usize = 256 << 10;
const KEYS_MAX: usize = 64;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A digest of a key: the same key under another name is the same.
pub(super) type KeyPrint = [u8; 32];

/// A public key of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerKey {
    /// `kid`.
    pub(super) id: Option<String>,
    pub(super) print: KeyPrint,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, as bytes from the greatest.
    Rsa(Vec<u8>, Vec<u8>),
    /// An uncompressed point (SEC 1 §2.3.3).
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A text is no set of keys that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not what RFC 7517 §5 says.
    #[error("it is no JWK set")]
    Unreadable,
    /// More than there is a reason for.
    #[error("it has more than {KEYS_MAX} keys, or more than {} KiB", LARGEST >> 10)]
    TooLarge,
    /// None of its keys is one for RS256, ES256 or EdDSA.
    #[error("it has no key for RS256, ES256 or EdDSA")]
    Empty,
}

#[derive(Deserialize)]
struct KeySet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// RFC 7517 §4; what is not read here may be anything.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a set of keys. Those that are for something else are left out (RFC 7517 §5).
pub(super) fn read(set: &[u8]) -> Result<Vec<IssuerKey>, KeySetError> {
    if set.len() > LARGEST {
        return Err(KeySetError::TooLarge);
    }
    let set: KeySet<'_> = serde_json::from_slice(set).map_err(|_| KeySetError::Unreadable)?;
    if set.keys.len() > KEYS_MAX {
        return Err(KeySetError::TooLarge);
    }
    let keys: Vec<IssuerKey> =
        set.keys.iter().filter_map(|key| serde_json::from_str(key.get()).ok()).filter_map(IssuerKey::of_jwk).collect();
    if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(keys) }
}

impl IssuerKey {
    fn of_jwk(key: Jwk) -> Option<Self> {
        let signs = key.r#use.as_deref().is_none_or(|usage| usage == "sig")
            && key.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let bytes = |text: Option<String>| text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let material = match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => {
                let whole = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let (n, e) = (whole(bytes(key.n)?), whole(bytes(key.e)?));
                // RFC 7518 §3.3: 2048 bits or more.
                ((256..=1024).contains(&n.len()) && (1..=4).contains(&e.len())).then_some(Material::Rsa(n, e))?
            }
            ("EC", Some("P-256")) => {
                // RFC 7518 §6.2.1.2: of the length of the field.
                let (x, y) = (bytes(key.x)?, bytes(key.y)?);
                (x.len() == 32 && y.len() == 32).then(|| Material::P256([&[4][..], &x, &y].concat()))?
            }
            ("OKP", Some("Ed25519")) => bytes(key.x).filter(|x| x.len() == 32).map(Material::Ed25519)?,
            _ => return None,
        };
        let key = Self { id: key.kid, print: material.print(), material }.filtered(key.alg.as_deref())?;
        signs.then_some(key)
    }

    /// RFC 7517 §4.4: a key that says its algorithm is for that one.
    fn filtered(self, said: Option<&str>) -> Option<Self> {
        let own = match self.algorithm() {
            Algorithm::Rs256 => &["RS256"][..],
            Algorithm::Es256 => &["ES256"],
            // RFC 9864 §2.2 gives the curve a name of its own.
            Algorithm::EdDsa => &["EdDSA", "Ed25519"],
        };
        said.is_none_or(|said| own.contains(&said)).then_some(self)
    }

    /// The one algorithm this key is for.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa(..) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether the owner of this key signed a message.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(n, e) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Material::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
        }
    }
}

impl Material {
    fn print(&self) -> KeyPrint {
        let mut context = digest::Context::new(&digest::SHA256);
        let (kind, parts): (u8, [&[u8]; 2]) = match self {
            Self::Rsa(n, e) => (1, [n, e]),
            Self::P256(point) => (2, [point, &[]]),
            Self::Ed25519(point) => (3, [point, &[]]),
        };
        context.update(&[kind]);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut print = [0; 32];
        print.copy_from_slice(context.finish().as_ref());
        print
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::testing::Signer;

    fn usable(key: Value) -> bool {
        read(json!({ "keys": [key] }).to_string().as_bytes()).is_ok()
    }

    #[test]
    fn a_key_proves_what_it_signed_and_nothing_else() {
        let signers = Signer::one_of_each();
        for signer in &signers {
            let set = json!({ "keys": [signer.jwk("a")] }).to_string();
            let key = read(set.as_bytes()).unwrap().remove(0);
            let signature = signer.sign(b"message");
            assert!(key.signed(b"message", &signature), "{signer:?}");
            assert!(!key.signed(b"massage", &signature) && !key.signed(b"message", &signature[1..]));
            assert!(!key.signed(b"message", &[]) && !key.signed(b"message", &vec![0; signature.len()]));
            for other in signers.iter().filter(|other| !std::ptr::eq(*other, signer)) {
                assert!(!key.signed(b"message", &other.sign(b"message")));
            }
        }
    }

    #[test]
    fn keys_for_something_else_and_weak_ones_are_left_out() {
        for signer in Signer::one_of_each() {
            let with = |name: &str, value: Value| {
                let mut key = signer.jwk("a");
                key[name] = value;
                usable(key)
            };
            assert!(usable(signer.jwk("a")) && with("use", json!("sig")) && with("key_ops", json!(["verify"])));
            assert!(with("x5c", json!(["…"])) && with("kid", Value::Null));
            for (name, value) in [
                ("use", json!("enc")),
                ("key_ops", json!(["encrypt"])),
                ("alg", json!("HS256")),
                ("alg", json!("none")),
                ("alg", json!("RS512")),
                ("kty", json!("oct")),
                ("kty", json!(7)),
            ] {
                assert!(!with(name, value.clone()), "{name} {value}: {signer:?}");
            }
        }
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        assert!(!usable(json!({ "kty": "RSA", "n": short, "e": "AQAB" })));
        assert!(!usable(json!({ "kty": "EC", "crv": "P-384", "x": short, "y": short })));
        assert!(!usable(json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" })));
        assert!(!usable(json!({ "kty": "oct", "k": "c2VjcmV0" })));
        assert_eq!(read(b"[]").unwrap_err(), KeySetError::Unreadable);
        assert_eq!(read(br#"{"keys":[]}"#).unwrap_err(), KeySetError::Empty);
        let many = json!({ "keys": vec![json!({}); KEYS_MAX + 1] }).to_string();
        assert_eq!(read(many.as_bytes()).unwrap_err(), KeySetError::TooLarge);
        assert_eq!(read(&vec![b' '; LARGEST + 1]).unwrap_err(), KeySetError::TooLarge);
    }

    proptest! {
        #[test]
        fn any_set_is_read_or_refused(set in proptest::collection::vec(any::<u8>(), 0..64), x in "[A-Za-z0-9_-]{0,90}") {
            let _ = read(&set);
            for kind in [json!({ "kty": "RSA", "n": x, "e": x }), json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x })] {
                if let Ok(keys) = read(json!({ "keys": [kind] }).to_string().as_bytes()) {
                    prop_assert!(!keys[0].signed(b"message", x.as_bytes()));
                }
            }
        }
    }
}
