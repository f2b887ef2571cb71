//! An issuer of tokens: it publishes its keys over HTTP, signs with the newest (ES256), and can be out of reach.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::small_server::{SmallServer, answer};

/// What it answers, and how often it was asked.
#[derive(Default)]
struct Published {
    status: u16,
    keys: String,
    asked: u32,
}

/// The issuer. It ends with its test.
pub struct Issuer {
    server: SmallServer,
    key: EcdsaKeyPair,
    kid: u32,
    published: Arc<Mutex<Published>>,
}

impl Issuer {
    pub async fn start() -> Self {
        let published = Arc::new(Mutex::new(Published { status: 200, ..Published::default() }));
        let told = published.clone();
        let server = SmallServer::answering(move |_| {
            let mut told = told.lock().unwrap();
            told.asked += 1;
            answer(told.status, "", &told.keys)
        });
        let mut issuer = Self { server: server.await, key: new_key(), kid: 0, published };
        issuer.rotate();
        issuer
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("http://{}/keys", self.server.address)
    }

    /// The section `auth.jwt` that names it.
    pub fn config(&self) -> Value {
        json!({ "jwks_url": self.jwks_url(), "issuer": "https://id.test", "audience": "campanile" })
    }

    /// It signs with another key from now on, and publishes that one alone.
    pub fn rotate(&mut self) {
        (self.key, self.kid) = (new_key(), self.kid + 1);
        let point = self.key.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": self.kid.to_string(), "x": text(&point[1..33]), "y": text(&point[33..]),
        });
        self.published.lock().unwrap().keys = json!({ "keys": [key] }).to_string();
    }

    /// From now on it answers with this status.
    pub fn set_status(&self, status: u16) {
        self.published.lock().unwrap().status = status;
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.published.lock().unwrap().asked
    }

    /// A token for somebody, for so many seconds.
    pub fn token(&self, name: &str, lasts: i64, permissions: Value) -> String {
        self.token_for("campanile", name, lasts, permissions)
    }

    /// The same, for another audience.
    pub fn token_for(&self, audience: &str, name: &str, lasts: i64, permissions: Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        self.sign(json!({
            "iss": "https://id.test", "aud": [audience], "sub": name, "iat": now, "exp": now + lasts,
            "campanile": permissions,
        }))
    }

    /// A token that says this.
    pub fn sign(&self, body: Value) -> String {
        let head = json!({ "alg": "ES256", "kid": self.kid.to_string(), "typ": "at+jwt" });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(head), part(body));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}
