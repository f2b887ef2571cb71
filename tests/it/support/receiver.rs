//! A receiver of webhooks: it writes down what it is sent and answers as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    process::PATIENCE,
    small_server::{SmallServer, answer},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Letter {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// What it was answered with; 0: nothing.
    pub status: u16,
}

impl Letter {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it answers: statuses in order, then one for ever; 0 is no answer at all.
#[derive(Debug)]
struct Script {
    next: VecDeque<u16>,
    then: u16,
}

/// The receiver. It ends with its test.
pub struct Receiver {
    server: SmallServer,
    script: Arc<Mutex<Script>>,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl Receiver {
    /// One that answers with these statuses, then with the last one.
    pub async fn answering(statuses: &[u16]) -> Self {
        let (then, next) = statuses.split_last().unwrap();
        let script = Arc::new(Mutex::new(Script { next: next.iter().copied().collect(), then: *then }));
        let letters = Arc::<Mutex<Vec<Letter>>>::default();
        let (told, kept) = (script.clone(), letters.clone());
        let server = SmallServer::answering(move |asked| {
            let status = {
                let mut script = told.lock().unwrap();
                script.next.pop_front().unwrap_or(script.then)
            };
            let letter = Letter { line: asked.line, headers: asked.headers, body: asked.body, status };
            kept.lock().unwrap().push(letter);
            let more = if status == 302 { "Location: http://127.0.0.1:1/\r\n" } else { "" };
            if status == 0 { None } else { answer(status, more, "so\r\n") }
        });
        Self { server: server.await, script, letters }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.server.address)
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// From now on it answers so.
    pub fn answer(&self, status: u16) {
        *self.script.lock().unwrap() = Script { next: VecDeque::new(), then: status };
    }

    /// Everything it was sent.
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }

    /// What it was sent, once there is so much.
    pub async fn until(&self, count: usize) -> Vec<Letter> {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let letters = self.letters();
            if letters.len() >= count {
                return letters;
            }
            assert!(Instant::now() < deadline, "{} of {count} letters came: {letters:?}", letters.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
