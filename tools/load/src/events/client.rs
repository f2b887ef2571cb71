//! One follower: a WebSocket that counts what comes in and answers pings. RFC 6455, the client's side.

use std::{io, rc::Rc};

use flate2::{Decompress, FlushDecompress};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::{
    EventsOptions,
    poster::{NUMBER, SENT},
};
use crate::{
    clock,
    shared::{Scratch, Shared},
};

/// Why a follower ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("only ws:// URLs are measured")]
    Scheme,
    #[error("the handshake was answered with `{0}`")]
    Refused(String),
    #[error("the server hung up")]
    Cut,
    #[error("the server closed with {0}")]
    Closed(u16),
    #[error("a frame that no server sends")]
    Odd,
}

/// Follows until told to stop.
///
/// # Errors
/// Why it ended before.
pub(crate) async fn run(
    options: &EventsOptions,
    shared: &Rc<Shared>,
    scratch: &Scratch,
    mut stop: watch::Receiver<bool>,
) -> Result<(), FollowError> {
    let url = &options.url;
    let host = url.host_str().filter(|_| url.scheme() == "ws").ok_or(FollowError::Scheme)?;
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(FollowError::Connect)?;
    stream.set_nodelay(true)?;
    let mut follower = Follower { options, shared, stream, carry: Vec::new(), last: None, inflater: None };
    follower.handshake(host, port).await?;
    shared.counters.playing_us.mark(shared.began);
    shared.counters.first_media_us.mark(shared.began);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            ready = follower.stream.readable() => ready?,
        }
        follower.read(scratch).await?;
    }
    // 1000, masked with zeros.
    let _ = follower.stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await;
    Ok(())
}

struct Follower<'a> {
    options: &'a EventsOptions,
    shared: &'a Rc<Shared>,
    stream: TcpStream,
    /// The beginning of a frame.
    carry: Vec<u8>,
    /// The number of the last event.
    last: Option<u64>,
    inflater: Option<Decompress>,
}

impl Follower<'_> {
    async fn handshake(&mut self, host: &str, port: u16) -> Result<(), FollowError> {
        let url = &self.options.url;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let deflate = if self.options.deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{deflate}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut head).await? == 0 {
                return Err(FollowError::Cut);
            }
        };
        let text = String::from_utf8_lossy(&head[..end]);
        if !text.starts_with("HTTP/1.1 101") {
            return Err(FollowError::Refused(text.lines().next().unwrap_or_default().to_owned()));
        }
        self.carry = head[end..].to_vec();
        Ok(())
    }

    /// Takes what is there.
    async fn read(&mut self, scratch: &Scratch) -> Result<(), FollowError> {
        let mut pongs = Vec::new();
        {
            let scratch = &mut *scratch.borrow_mut();
            let kept = self.carry.len();
            scratch[..kept].copy_from_slice(&self.carry);
            let count = match self.stream.try_read(&mut scratch[kept..]) {
                Ok(0) => return Err(FollowError::Cut),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let now = clock::micros_since(clock::zero());
            let bytes = &scratch[..kept + count];
            self.shared.counters.bytes.add(count as u64);
            let mut at = 0;
            while let Some((first, head, len)) = header(&bytes[at..])? {
                let Some(payload) = bytes.get(at + head..at + head + len) else { break };
                match first & 0x0f {
                    8 => {
                        return Err(FollowError::Closed(
                            payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code)),
                        ));
                    }
                    9 => pongs.extend([&[0x8a, 0x80 | len as u8, 0, 0, 0, 0], payload].concat()),
                    1 | 2 if first & 0x40 != 0 => {
                        let inflated = self.inflate(payload)?;
                        self.count(&inflated, now);
                    }
                    1 | 2 => self.count(payload, now),
                    _ => {}
                }
                at += head + len;
            }
            self.carry.clear();
            self.carry.extend_from_slice(&bytes[at..]);
        }
        if !pongs.is_empty() {
            self.stream.write_all(&pongs).await?;
        }
        Ok(())
    }

    fn count(&mut self, message: &[u8], now: u64) {
        let Some((number, sent)) = value(message, NUMBER).zip(value(message, SENT)) else { return };
        let counters = &self.shared.counters;
        match self.last {
            Some(last) if number <= last => return counters.late.add(1),
            Some(last) if number > last + 1 => {
                counters.gaps.add(1);
                counters.lost.add(number - last - 1);
            }
            _ => {}
        }
        self.last = Some(number);
        counters.packets.add(1);
        self.options.latencies.add(now.saturating_sub(sent));
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, FollowError> {
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        let mut out = Vec::with_capacity(payload.len() * 20 + 1024);
        for input in [payload, &[0, 0, 0xff, 0xff]] {
            inflater.decompress_vec(input, &mut out, FlushDecompress::Sync).map_err(|_| FollowError::Odd)?;
        }
        Ok(out)
    }
}

/// The first byte of a frame, the lengths of its header and of its payload; `None` while they are not there.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, FollowError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let wide =
        |count: usize| rest.get(..count).map(|len| len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)));
    let (head, len) = match second {
        len @ 0..=125 => (2, Some(usize::from(*len))),
        126 => (4, wide(2)),
        127 => (10, wide(8)),
        _ => return Err(FollowError::Odd),
    };
    match len {
        Some(len) if len > FRAME_MAX => Err(FollowError::Odd),
        len => Ok(len.map(|len| (*first, head, len))),
    }
}

/// Half of the thread's buffer.
const FRAME_MAX: usize = 128 * 1024;

/// The number behind a mark.
fn value(message: &[u8], mark: &[u8]) -> Option<u64> {
    let at = message.windows(mark.len()).position(|bytes| bytes == mark)? + mark.len();
    let digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|digit| u64::from(digit - b'0')).reduce(|number, digit| number * 10 + digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_and_marks_are_found() {
        assert!(matches!(header(b"\x81\x05hello"), Ok(Some((0x81, 2, 5)))));
        assert!(matches!(header(b"\x81\x7e\x01"), Ok(None)));
        assert!(matches!(header(b"\x82\x7e\x01\x00"), Ok(Some((0x82, 4, 256)))));
        assert!(header(b"\x81\x85").is_err() && header(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        let message = br#"{"data":{"load_n":17,"load_sent_us":123456}}"#;
        assert_eq!((value(message, NUMBER), value(message, SENT)), (Some(17), Some(123_456)));
        assert_eq!(value(b"{}", NUMBER), None);
    }
}
