//! A receiver of webhooks: it writes down what it is sent and answers as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::process::PATIENCE;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Letter {
    pub target: String,
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
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    letters: Arc<Mutex<Vec<Letter>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// One that answers with these statuses, then with the last one.
    pub async fn answering(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (then, next) = statuses.split_last().unwrap();
        let script = Arc::new(Mutex::new(Script { next: next.iter().copied().collect(), then: *then }));
        let letters = Arc::<Mutex<Vec<Letter>>>::default();
        let (told, kept) = (script.clone(), letters.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (told, kept) = (told.clone(), kept.clone());
                tokio::spawn(async move { serve(stream, &told, &kept).await });
            }
        });
        Self { address, script, letters, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
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

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: &Mutex<Script>, letters: &Mutex<Vec<Letter>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let status = {
        let mut script = script.lock().unwrap();
        script.next.pop_front().unwrap_or(script.then)
    };
    letters.lock().unwrap().push(Letter { target, headers, body, status });
    if status == 0 {
        // As long as the other side is there.
        let _ = stream.read(&mut byte).await;
        return;
    }
    let more = if status == 302 { "Location: http://127.0.0.1:1/\r\n" } else { "" };
    let answer = format!("HTTP/1.1 {status} So\r\n{more}Content-Length: 4\r\n\r\nso\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}
