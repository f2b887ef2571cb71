//! What tests of this and of other rooms share: the client's side of a WebSocket.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{deflate::inflate, frame::mask, message_pack};

/// Ten times what is expected of a slow machine, and more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A frame as a client sends it: the first byte as given, the length in its shortest form, masked.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => out.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        len => out.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    out.extend(key);
    let body = out.len();
    out.extend(payload);
    mask(&mut out[body..], key);
    out
}

/// A client on a stream that was upgraded.
#[derive(Debug)]
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Opens a WebSocket over HTTP/1.1; the head of the answer comes too.
    pub(crate) async fn open(stream: S, target: &str, headers: &str) -> (String, Self) {
        let mut client = Self::new(stream);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        client.stream.write_all(head.as_bytes()).await.unwrap();
        let end = loop {
            if let Some(end) = client.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            client.more().await;
        };
        let head = String::from_utf8(client.buffer.drain(..end).collect()).unwrap();
        (head, client)
    }

    async fn more(&mut self) {
        let count = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("something should come");
        assert!(count.unwrap_or(0) > 0, "the stream ended after {:?}", String::from_utf8_lossy(&self.buffer));
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_raw(&masked(0x81, message.to_string().as_bytes())).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame: its first byte, and its payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((first, head, len)) = header(&self.buffer)
                && self.buffer.len() >= head + len
            {
                let payload = self.buffer[head..head + len].to_vec();
                self.buffer.drain(..head + len);
                return (first, payload);
            }
            self.more().await;
        }
    }

    /// The next message, whatever its form. Pings are passed over.
    pub(crate) async fn message(&mut self) -> Value {
        self.next().await.expect("the connection should go on")
    }

    /// The same; nothing when the server closes.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let (first, payload) = self.frame().await;
            let payload = if first & 0x40 != 0 { inflate(&payload, 1 << 20).unwrap() } else { payload };
            match first & 0x0f {
                1 => return Some(serde_json::from_slice(&payload).unwrap()),
                2 => return Some(message_pack::decode(&payload).unwrap()),
                8 => return None,
                9 => {}
                _ => panic!("{first:x}: {payload:?}"),
            }
        }
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code and the reason of the close frame that comes sooner or later.
    pub(crate) async fn close(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.frame().await;
            if first == 0x88 {
                let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                return (code, String::from_utf8(payload[2.min(payload.len())..].to_vec()).unwrap());
            }
        }
    }

    /// Waits until the server has hung up.
    pub(crate) async fn end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the server should hang up");
    }
}

/// The first byte of a server's frame, the length of its header and of its payload.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert!(second & 0x80 == 0, "a server masks nothing");
    let wide = |from: usize, to: usize| Some(bytes.get(from..to)?.iter().fold(0, |len, b| len << 8 | usize::from(*b)));
    Some(match second {
        126 => (first, 4, wide(2, 4)?),
        127 => (first, 10, wide(2, 10)?),
        len => (first, 2, usize::from(len)),
    })
}
