//! Clients of events that are as small as can be, so that thousands of them fit in a test: a WebSocket, and a stream of
//! server-sent events, each a socket and what came of it.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Ten times what thousands of clients take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets this process hold as many sockets as the system allows; how many that are.
pub fn descriptors() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    usize::try_from(hard).unwrap_or(usize::MAX)
}

/// What came on a socket and was not looked at yet.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Opens a connection, asks, and reads the head of the answer.
    async fn open(stream: TcpStream, target: &str, headers: &str) -> (String, Self) {
        let mut line = Self { stream, buffer: Vec::new() };
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        line.stream.write_all(head.as_bytes()).await.unwrap();
        let end = loop {
            if let Some(end) = line.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(line.more().await, "{target}: the server hung up");
        };
        let head = String::from_utf8(line.buffer.drain(..end).collect()).unwrap();
        (head, line)
    }

    /// Whether more came.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("something should come");
        // A reset is an end as well.
        read.unwrap_or(0) > 0
    }
}

/// A WebSocket.
pub struct Socket(Line);

/// What a server says on it.
#[derive(Debug)]
pub enum Said {
    /// A message.
    Message(Value),
    /// It closes, with this code and reason.
    Close(u16, String),
}

impl Socket {
    /// Opens it and hears the greeting; its `connected` message comes too.
    pub async fn open(address: SocketAddr, target: &str) -> (Value, Self) {
        Self::on(TcpStream::connect(address).await.unwrap(), target).await
    }

    /// The same with a small buffer in the kernel, so that what is not read is soon felt by the server.
    pub async fn narrow(address: SocketAddr, target: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        Self::on(socket.connect(address).await.unwrap(), target).await.1
    }

    /// Opens it with more headers, and hears nothing yet.
    pub async fn knock(address: SocketAddr, target: &str, headers: &str) -> Self {
        Self::upgrade(TcpStream::connect(address).await.unwrap(), target, headers).await
    }

    async fn upgrade(stream: TcpStream, target: &str, headers: &str) -> Self {
        let headers = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}"
        );
        let (head, line) = Line::open(stream, target, &headers).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(line)
    }

    async fn on(stream: TcpStream, target: &str) -> (Value, Self) {
        let mut socket = Self::upgrade(stream, target, "").await;
        let connected = socket.message().await;
        assert_eq!(connected["type"], "connected");
        assert_eq!(socket.message().await["type"], "connection_status");
        (connected, socket)
    }

    /// The next thing the server says; nothing when it hung up. Pings are passed over.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            let Some((opcode, payload)) = self.frame() else {
                if self.0.more().await {
                    continue;
                }
                return None;
            };
            match opcode {
                0x81 => return Some(Said::Message(serde_json::from_slice(&payload).unwrap())),
                0x88 => {
                    let (code, reason) = payload.split_at(2);
                    let code = u16::from_be_bytes(code.try_into().unwrap());
                    return Some(Said::Close(code, String::from_utf8(reason.to_vec()).unwrap()));
                }
                0x89 => {}
                other => panic!("an opcode that a server does not send here: {other:x}"),
            }
        }
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        match self.next().await {
            Some(Said::Message(message)) => message,
            other => panic!("a message should come: {other:?}"),
        }
    }

    /// A whole frame, if it is there (RFC 6455 §5.2).
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = &self.0.buffer;
        let (first, short) = (*bytes.first()?, *bytes.get(1)?);
        let wide = |to: usize| Some(bytes.get(2..to)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)));
        let (head, len) = match short {
            126 => (4, wide(4)?),
            127 => (10, wide(10)?),
            len => (2, usize::from(len)),
        };
        let payload = bytes.get(head..head + len)?.to_vec();
        self.0.buffer.drain(..head + len);
        Some((first, payload))
    }

    /// Says something, with a key of zeros for a mask.
    pub async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        // A length in its shortest form, RFC 6455 §5.2.
        let mut frame = match u8::try_from(text.len()) {
            Ok(len @ ..126) => vec![0x81, 0x80 | len],
            _ => [&[0x81, 0xFE][..], &u16::try_from(text.len()).unwrap().to_be_bytes()].concat(),
        };
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        // The server may have closed already.
        let _ = self.0.stream.write_all(&frame).await;
    }

    /// Says goodbye as a client has to, with a key of zeros for a mask.
    pub async fn answer_close(&mut self, code: u16) {
        let [high, low] = code.to_be_bytes();
        // The server may not wait for it.
        let _ = self.0.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, high, low]).await;
    }
}

/// A stream of server-sent events, with the chunks of HTTP around them.
pub struct Stream {
    line: Line,
    /// An event that came while the stream began.
    early: Option<Value>,
    /// The last chunk came.
    ended: bool,
    /// Where to go on.
    pub last_id: Option<String>,
    /// When to come back, in milliseconds.
    pub retry: Option<u64>,
}

impl Stream {
    /// Opens it after a fact, or at the newest one.
    pub async fn open(address: SocketAddr, target: &str, last_id: Option<&str>) -> Self {
        let headers = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        // Else the connection outlives the stream, and its end would be no news.
        let headers = format!("Connection: close\r\n{headers}");
        let (head, line) = Line::open(TcpStream::connect(address).await.unwrap(), target, &headers).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut stream = Self { line, early: None, ended: false, last_id: None, retry: None };
        // The place and the time to come back are said before everything else.
        while stream.last_id.is_none() || stream.retry.is_none() {
            assert!(stream.line.more().await, "the stream should begin");
            stream.early = stream.records();
        }
        stream
    }

    /// The next event that is none of the stream's own; nothing at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.early.take().or_else(|| self.records()) {
                return Some(event);
            }
            if self.ended || !self.line.more().await {
                return None;
            }
        }
    }

    /// Takes whole lines; the sizes of chunks are lines that mean nothing here, but for that of the last (RFC 9112 §7.1).
    fn records(&mut self) -> Option<Value> {
        while let Some(end) = self.line.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.buffer.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            self.ended |= line.trim_end() == "0";
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("retry", retry)) => self.retry = Some(retry.parse().unwrap()),
                Some(("data", data)) => return Some(serde_json::from_str(data).unwrap()),
                _ => {}
            }
        }
        None
    }
}
