//! An issuer of tokens: it publishes its keys over HTTP, signs with the newest (ES256), and can be out of reach.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The issuer. It ends with its test.
pub struct Issuer {
    address: SocketAddr,
    key: EcdsaKeyPair,
    kid: u32,
    answer: Arc<Mutex<(u16, String, u32)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((200, String::new(), 0)));
        let told = answer.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let answer = {
                    let mut told = told.lock().unwrap();
                    told.2 += 1;
                    let (status, body, _) = &*told;
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let mut issuer = Self { address, key: new_key(), kid: 0, answer, task };
        issuer.rotate();
        issuer
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("http://{}/keys", self.address)
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
        self.answer.lock().unwrap().1 = json!({ "keys": [key] }).to_string();
    }

    /// From now on it answers with this status.
    pub fn set_status(&self, status: u16) {
        self.answer.lock().unwrap().0 = status;
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.answer.lock().unwrap().2
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

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}
