//! A server that decides about callers (`auth.http`): it writes down what it is asked and answers by it, at once or after
//! it was let.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What it says to a question: a status, or nothing at all.
pub type Judgement = Box<dyn Fn(&Value) -> Option<u16> + Send + Sync>;

/// The server. It ends with its test.
pub struct Decider {
    address: SocketAddr,
    judgement: Arc<Mutex<Judgement>>,
    asked: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Decider {
    pub async fn judging(judgement: impl Fn(&Value) -> Option<u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let judgement: Arc<Mutex<Judgement>> = Arc::new(Mutex::new(Box::new(judgement)));
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let (judges, noted) = (judgement.clone(), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (judges, noted) = (judges.clone(), noted.clone());
                tokio::spawn(async move { serve(stream, &judges, &noted).await });
            }
        });
        Self { address, judgement, asked, task }
    }

    /// The section `auth.http` that names it, with more keys.
    pub fn config(&self, more: &Value) -> Value {
        let mut config = json!({ "url": format!("http://{}/ask", self.address) });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }

    /// From now on it judges so.
    pub fn judge(&self, judgement: impl Fn(&Value) -> Option<u16> + Send + Sync + 'static) {
        *self.judgement.lock().unwrap() = Box::new(judgement);
    }

    /// Everything it was asked.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// What it was asked of an action on a path.
    pub fn asked_of(&self, action: &str, path: &str) -> Vec<Value> {
        let mut asked = self.asked();
        asked.retain(|one| one["action"] == action && one["path"] == path);
        asked
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, judgement: &Mutex<Judgement>, asked: &Mutex<Vec<Value>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("post /ask ") && head.contains("content-type: application/json"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let question: Value = serde_json::from_slice(&body).unwrap();
    let status = (judgement.lock().unwrap())(&question);
    asked.lock().unwrap().push(question);
    match status {
        Some(status) => {
            let _ = stream.write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        }
        // As long as the other side is there.
        None => drop(stream.read(&mut byte).await),
    }
}
