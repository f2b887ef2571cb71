//! A small HTTP server of a test: it hands each request to a function and says what that answers, a connection for each.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as it came.
pub struct Asked {
    /// The first line.
    pub line: String,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What to say, if anything: whoever gets no answer waits as long as it likes to.
pub type Said = Option<String>;

/// An answer: a status, more lines of its head, a body.
pub fn answer(status: u16, more: &str, body: &str) -> Said {
    let length = body.len();
    Some(format!("HTTP/1.1 {status} So\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
}

/// The server. It ends with its test.
pub struct SmallServer {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl SmallServer {
    pub async fn answering(answer: impl Fn(Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        Self { address, task }
    }
}

impl Drop for SmallServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: &(impl Fn(Asked) -> Said + Sync)) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    match answer(Asked { line, headers, body }) {
        Some(said) => drop(stream.write_all(said.as_bytes()).await),
        // As long as the other side is there.
        None => drop(stream.read(&mut byte).await),
    }
}
