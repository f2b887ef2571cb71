//! Who we are to push services: the key and the tokens of VAPID (RFC 8292).
//!
//! A token names one push service (`aud`) and holds for half a day; it is signed once and used until an hour before its
//! end (§4.3 allows it, and bounds it at a day: §2). Sans-IO.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use url::Url;

use crate::base::{Error, Kind, Result, WallTime};

/// How long a token holds. RFC 8292 §2: a day at most.
const HOLDS_S: i64 = 12 * 3600;
/// One that ends sooner than this is signed anew: clocks differ.
const RENEWED_BEFORE_S: i64 = 3600;
/// Push services there are tokens for. There are four or five in the world.
const SERVICES: usize = 64;

/// Our key, and the tokens signed with it.
pub struct Vapid {
    key: EcdsaKeyPair,
    public: String,
    contact: Option<String>,
    /// By the origin of the push service; the second of its end.
    tokens: BTreeMap<String, (String, i64)>,
}

impl fmt::Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Vapid {
    /// Reads a key.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: it is no key of P-256 in PKCS #8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        // The parser's words could quote the key: they are left out.
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| Error::new(Kind::FailedPrecondition, "holds no private key of P-256"))?;
        let public = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        Ok(Self { key, public, contact: None, tokens: BTreeMap::new() })
    }

    /// A new key in PKCS #8: a secret.
    ///
    /// # Errors
    /// [`Kind::Internal`]: the cipher provider makes no keys.
    pub fn generate() -> Result<Vec<u8>> {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|key| key.to_pkcs8v1());
        let made = made.map_err(|_| Error::new(Kind::Internal, "key of web push: the cipher provider makes none"))?;
        Ok(made.as_ref().to_vec())
    }

    /// Where the push service can reach who runs this server (§2.1): `mailto:` or `https:`.
    #[must_use]
    pub fn with_contact(mut self, contact: Option<String>) -> Self {
        self.contact = contact;
        self
    }

    /// The public key, as a browser's `applicationServerKey` takes it: base64url.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The value of `Authorization` for a push to this endpoint (§3).
    ///
    /// # Errors
    /// [`Kind::Internal`]: the cipher provider does not sign.
    pub fn authorization(&mut self, endpoint: &Url, now: WallTime) -> Result<String> {
        let (origin, second) = (endpoint.origin().ascii_serialization(), now.unix_millis() / 1000);
        if self.tokens.get(&origin).is_none_or(|(_, ends)| second >= ends - RENEWED_BEFORE_S) {
            let ends = second + HOLDS_S;
            let token = self.sign(&origin, ends)?;
            if self.tokens.len() >= SERVICES {
                self.tokens.clear();
            }
            self.tokens.insert(origin.clone(), (token, ends));
        }
        let token = self.tokens.get(&origin).map_or("", |(token, _)| token);
        Ok(format!("vapid t={token}, k={}", self.public))
    }

    /// RFC 7515 §3.1, with the one algorithm of RFC 8292 §2.
    fn sign(&self, origin: &str, ends: i64) -> Result<String> {
        let mut claims = json!({ "aud": origin, "exp": ends });
        if let Some(contact) = &self.contact {
            claims["sub"] = json!(contact);
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature
            .map_err(|_| Error::new(Kind::Internal, "token of web push: the cipher provider does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    /// The header's value taken apart as RFC 8292 §3 and RFC 7515 §5.2 say; the claims, if the signature holds.
    fn verify(authorization: &str) -> Option<serde_json::Value> {
        let (token, key) = authorization.strip_prefix("vapid t=")?.split_once(", k=")?;
        let (signed, signature) = token.rsplit_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(key)?);
        key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        let (header, claims) = signed.split_once('.')?;
        let header: serde_json::Value = serde_json::from_slice(&decode(header)?).ok()?;
        assert_eq!(header, json!({ "typ": "JWT", "alg": "ES256" }));
        serde_json::from_slice(&decode(claims)?).ok()
    }

    #[test]
    fn the_example_of_rfc_8292_verifies() {
        // §2.4.
        let example = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3\
                       B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1ha\
                       Wx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_H\
                       LGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, \
                       k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dR\
                       uU_RCPCfA5aq9ojSwk5Y2EmClBPs";
        let claims = verify(example).unwrap();
        let told = json!({ "aud": "https://push.example.net", "exp": 1_453_523_768, "sub": "mailto:push@example.com" });
        assert_eq!(claims, told);
        assert_eq!(verify(&example.replace("i3CY", "i3CZ")), None);
    }

    fn at(second: i64) -> WallTime {
        WallTime::from_unix_nanos(second * 1_000_000_000)
    }

    #[test]
    fn a_token_names_the_service_and_holds_for_half_a_day() {
        let mut vapid = Vapid::from_pkcs8(&Vapid::generate().unwrap()).unwrap();
        let endpoint = Url::parse("https://push.example.net:8443/p/secret").unwrap();
        let claims = verify(&vapid.authorization(&endpoint, at(1_000_000)).unwrap()).unwrap();
        assert_eq!(claims, json!({ "aud": "https://push.example.net:8443", "exp": 1_043_200 }), "no path, no contact");
        let mut vapid = vapid.with_contact(Some("mailto:me@example.org".into()));
        let other = Url::parse("https://other.example/").unwrap();
        let claims = verify(&vapid.authorization(&other, at(1_000_000)).unwrap()).unwrap();
        assert_eq!(
            (&claims["aud"], &claims["sub"]),
            (&json!("https://other.example"), &json!("mailto:me@example.org"))
        );
    }

    #[test]
    fn a_token_is_signed_once_and_again_before_its_end() {
        let mut vapid = Vapid::from_pkcs8(&Vapid::generate().unwrap()).unwrap();
        let endpoint = Url::parse("https://push.example.net/p").unwrap();
        let first = vapid.authorization(&endpoint, at(0)).unwrap();
        assert_eq!(vapid.authorization(&endpoint, at(11 * 3600 - 1)).unwrap(), first);
        let second = vapid.authorization(&endpoint, at(11 * 3600)).unwrap();
        assert_eq!(verify(&second).unwrap()["exp"], json!(23 * 3600));
        for n in 0..200 {
            vapid.authorization(&Url::parse(&format!("https://{n}.example/")).unwrap(), at(0)).unwrap();
        }
        assert!(vapid.tokens.len() <= SERVICES);
    }

    #[test]
    fn the_same_key_comes_back_and_nothing_shows_it() {
        let der = Vapid::generate().unwrap();
        let (one, two) = (Vapid::from_pkcs8(&der).unwrap(), Vapid::from_pkcs8(&der).unwrap());
        assert_eq!((one.public(), one.public().len()), (two.public(), 87));
        assert!(!format!("{one:?}").contains("key:"));
        assert!(Vapid::from_pkcs8(&der[1..]).is_err());
    }
}
