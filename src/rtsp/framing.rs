//! What comes in on an RTSP connection, cut into messages: requests, responses, `$` frames (RFC 2326 §10.12) and the
//! HTTP heads that open a tunnel. Sans-IO: bytes are pushed in pieces of any size, messages are taken out whole.
//!
//! It owns the bounds of what a peer may send before it is understood; beyond them the connection ends.

use bytes::{Buf, Bytes, BytesMut};
use rtsp_types::{Message, Request};

/// The first line of a message, at most.
pub const LINE_MAX: usize = 4096;
/// A message without its body, at most.
pub const HEAD_MAX: usize = 16 << 10;
/// Header lines, at most.
pub const HEADERS_MAX: usize = 255;
/// The body of a message, at most.
pub const BODY_MAX: usize = 64 << 10;
/// The payload of a `$` frame that is kept; a longer one is no RTCP and is passed over.
pub const DATA_MAX: usize = 2048;

/// One thing that came in.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A request.
    Request(Request<Vec<u8>>),
    /// An answer; nothing was asked, so nobody reads it.
    Response,
    /// A `$` frame.
    Data {
        /// Its channel.
        channel: u8,
        /// What it carries.
        payload: Bytes,
    },
    /// A request in HTTP; what follows is no longer cut here, see [`Framing::take_rest`].
    Http(HttpHead),
}

/// The head of an HTTP request, as far as a tunnel needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpHead {
    /// `GET`, `POST` or else.
    pub method: String,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl HttpHead {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The names of the headers, as they were sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// Reads a head that ends with an empty line; `None` if the first line is not of HTTP.
    fn parse(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
        Some(Self { method: method.to_owned(), target: target.to_owned(), headers })
    }
}

/// Why a connection cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The first line is longer than [`LINE_MAX`].
    #[error("the first line of a message has more than {LINE_MAX} bytes")]
    LineTooLong,
    /// The head is longer than [`HEAD_MAX`] or has more than [`HEADERS_MAX`] headers.
    #[error("a message has more than {HEAD_MAX} bytes or {HEADERS_MAX} lines of headers")]
    HeadTooLong,
    /// The body is longer than [`BODY_MAX`].
    #[error("a message has a body of more than {BODY_MAX} bytes")]
    BodyTooLong,
    /// It is no RTSP message.
    #[error("what came at byte {offset} is no RTSP message")]
    Malformed {
        /// Bytes of the connection before it.
        offset: u64,
    },
    /// It is a request in a version that nobody wrote down yet.
    #[error("a request came in a version of RTSP other than 1.0")]
    OtherVersion,
}

/// The incoming side of one connection.
#[derive(Debug, Default)]
pub struct Framing {
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a head.
    searched: usize,
    /// Bytes of a frame that is passed over which have not come yet.
    passing_over: usize,
    /// Bytes taken out of the buffer so far.
    consumed: u64,
}

impl Framing {
    /// Takes bytes that came in.
    pub fn push(&mut self, bytes: &[u8]) {
        let over = self.passing_over.min(bytes.len());
        self.passing_over -= over;
        self.consumed += over as u64;
        self.buffer.extend_from_slice(&bytes[over..]);
    }

    /// Bytes held.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message; `None` until more bytes come.
    ///
    /// # Errors
    /// A bound was passed or the bytes are no message; nothing more can be read.
    pub fn next_message(&mut self) -> Result<Option<Incoming>, FramingError> {
        loop {
            // RFC 2326 §4: a server ignores empty lines before a message.
            let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.consume(blank);
            let message = match self.buffer.first() {
                None => None,
                Some(b'$') => self.data(),
                Some(_) => return self.message(),
            };
            match message {
                Some(Some(data)) => return Ok(Some(data)),
                Some(None) => {}
                None => {
                    self.give_back();
                    return Ok(None);
                }
            }
        }
    }

    /// Everything that came and was not taken out.
    pub fn take_rest(&mut self) -> Bytes {
        self.searched = 0;
        std::mem::take(&mut self.buffer).freeze()
    }

    /// A `$` frame (§10.12): `Some(None)` if it was passed over.
    fn data(&mut self) -> Option<Option<Incoming>> {
        let &[_, channel, high, low] = self.buffer.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > DATA_MAX {
            let here = self.buffer.len().min(4 + len);
            self.passing_over = 4 + len - here;
            self.consume(here);
            return Some(None);
        }
        if self.buffer.len() < 4 + len {
            return None;
        }
        self.consume(4);
        let payload = self.buffer.split_to(len).freeze();
        self.consumed += len as u64;
        Some(Some(Incoming::Data { channel, payload }))
    }

    fn message(&mut self) -> Result<Option<Incoming>, FramingError> {
        let malformed = FramingError::Malformed { offset: self.consumed };
        if !self.buffer[0].is_ascii_alphabetic() {
            return Err(malformed);
        }
        let Some(end) = self.head_end() else {
            let line = self.buffer.iter().position(|byte| *byte == b'\n').unwrap_or(self.buffer.len());
            return match (line > LINE_MAX, self.buffer.len() > HEAD_MAX) {
                (true, _) => Err(FramingError::LineTooLong),
                (false, true) => Err(FramingError::HeadTooLong),
                (false, false) => Ok(None),
            };
        };
        let head = &self.buffer[..end];
        let first_line = head.iter().position(|byte| *byte == b'\n').unwrap_or(end);
        if first_line > LINE_MAX {
            return Err(FramingError::LineTooLong);
        }
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        if end > HEAD_MAX || lines > HEADERS_MAX + 2 {
            return Err(FramingError::HeadTooLong);
        }
        if let Some(http) = HttpHead::parse(head) {
            self.consume(end);
            return Ok(Some(Incoming::Http(http)));
        }
        let body = content_length(head).ok_or(malformed)?;
        if body > BODY_MAX {
            return Err(FramingError::BodyTooLong);
        }
        let total = end + body;
        if self.buffer.len() < total {
            return Ok(None);
        }
        // Bytes outside ASCII stand in header texts of careless clients, never in what is read here.
        self.buffer[..end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        let mended = with_whole_line_ends(&self.buffer[..end]);
        let parsed = match &mended {
            None => Message::<Vec<u8>>::parse(&self.buffer[..total]),
            Some(head) => Message::<Vec<u8>>::parse(&[head, &self.buffer[end..total]].concat()),
        };
        let incoming = match parsed {
            Ok((Message::Request(request), _)) => Incoming::Request(request),
            Ok((Message::Response(_), _)) => Incoming::Response,
            Ok((Message::Data(_), _)) | Err(_) if is_of_other_version(&self.buffer[..first_line]) => {
                return Err(FramingError::OtherVersion);
            }
            Ok((Message::Data(_), _)) | Err(_) => return Err(malformed),
        };
        self.consume(total);
        self.give_back();
        Ok(Some(incoming))
    }

    /// Where the head ends, its empty line included. What was searched is not searched again.
    fn head_end(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let window = &self.buffer[from..self.buffer.len().min(HEAD_MAX + 4)];
        for (at, _) in window.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            match &window[at + 1..] {
                [b'\n', ..] => return Some(from + at + 2),
                [b'\r', b'\n', ..] => return Some(from + at + 3),
                _ => {}
            }
        }
        self.searched = self.buffer.len();
        None
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.consumed += bytes as u64;
        self.searched = 0;
    }

    /// An idle connection holds no buffer.
    fn give_back(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = BytesMut::new();
        }
    }
}

/// Whether a request line ends with a version (§3.1) that `rtsp-types` does not read; 2.0 it reads.
fn is_of_other_version(line: &[u8]) -> bool {
    let last = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let number = |text: &[u8]| (1..=4).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    last.strip_prefix(b"RTSP/").is_some_and(|version| {
        let mut parts = version.split(|byte| *byte == b'.');
        let (major, minor, none) = (parts.next(), parts.next(), parts.next());
        version != b"1.0" && major.is_some_and(number) && minor.is_some_and(number) && none.is_none()
    })
}

/// §4: a line may end with a line feed alone, as scripts write it; `None` if every line is whole.
fn with_whole_line_ends(head: &[u8]) -> Option<Vec<u8>> {
    let is_bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    (0..head.len()).any(is_bare).then(|| {
        let mended = (0..head.len()).flat_map(|at| if is_bare(at) { vec![b'\r', b'\n'] } else { vec![head[at]] });
        mended.collect()
    })
}

/// The length of the body (§12.14); `None` if it is no number, or two: what a proxy and we read otherwise would hide a
/// request in a body (RFC 9112 §11.2).
fn content_length(head: &[u8]) -> Option<usize> {
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if line[..colon].trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(line[colon + 1..].trim_ascii()).ok()?;
            let value = value.parse().ok().filter(|_| value.bytes().all(|digit| digit.is_ascii_digit()))?;
            if *length.get_or_insert(value) != value {
                return None;
            }
        }
    }
    Some(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtsp_types::{Method, headers};

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";

    fn all(framing: &mut Framing) -> Result<Vec<Incoming>, FramingError> {
        std::iter::from_fn(|| framing.next_message().transpose()).collect()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Incoming>, FramingError> {
        let mut framing = Framing::default();
        framing.push(bytes);
        all(&mut framing)
    }

    /// A conversation with everything in it: pipelined requests, blank lines, frames kept and passed over, a body.
    fn conversation() -> Vec<u8> {
        let mut bytes = OPTIONS.to_vec();
        bytes.extend_from_slice(b"$\x01\x00\x04RTCP\r\n\r\n");
        bytes.extend_from_slice(b"SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\ncontent-length: 5\r\n\r\n$o\r\n:");
        bytes.extend_from_slice(&[b'$', 0, 0xff, 0xff]);
        bytes.extend_from_slice(&[b'R'; 0xffff]);
        bytes.extend_from_slice(b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n");
        bytes.extend_from_slice(b"TEARDOWN rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: caf\xe9\r\n\r\n");
        bytes
    }

    fn check_conversation(messages: &[Incoming]) {
        let [
            Incoming::Request(options),
            Incoming::Data { channel: 1, payload },
            Incoming::Request(set),
            Incoming::Response,
            Incoming::Request(teardown),
        ] = messages
        else {
            panic!("{messages:?}");
        };
        assert_eq!((options.method(), options.request_uri()), (&Method::Options, None));
        assert_eq!((&payload[..], set.body().as_slice()), (&b"RTCP"[..], &b"$o\r\n:"[..]));
        assert_eq!(teardown.header(&headers::CSEQ).unwrap().as_str(), "3");
        assert_eq!(teardown.header(&headers::USER_AGENT).unwrap().as_str(), "caf?");
    }

    #[test]
    fn requests_and_frames_may_follow_each_other_in_any_order_rt_09() {
        check_conversation(&read(&conversation()).unwrap());
    }

    #[test]
    fn an_idle_connection_holds_no_buffer() {
        let mut framing = Framing::default();
        framing.push(&conversation());
        all(&mut framing).unwrap();
        assert_eq!((framing.pending(), framing.buffer.capacity()), (0, 0));
    }

    #[test]
    fn what_passes_the_bounds_ends_the_connection_rt_16() {
        let long = "a".repeat(LINE_MAX);
        let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
        let table = [
            (format!("OPTIONS rtsp://h/{long} RTSP/1.0\r\n\r\n"), FramingError::LineTooLong),
            (format!("OPTIONS rtsp://h/{long}"), FramingError::LineTooLong),
            (format!("OPTIONS * RTSP/1.0\r\n{many}\r\n"), FramingError::HeadTooLong),
            (format!("OPTIONS * RTSP/1.0\r\nA: {}", "b".repeat(HEAD_MAX)), FramingError::HeadTooLong),
            (format!("OPTIONS * RTSP/1.0\r\nContent-Length: {}\r\n\r\n", BODY_MAX + 1), FramingError::BodyTooLong),
            (
                "OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n".into(),
                FramingError::Malformed { offset: 0 },
            ),
            ("OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n".into(), FramingError::Malformed { offset: 0 }),
            ("OPTIONS * RTSP/1.0\r\nContent-Length: +5\r\n\r\n".into(), FramingError::Malformed { offset: 0 }),
            (
                "OPTIONS * RTSP/1.0\r\nContent-Length: 5\r\ncontent-length: 50\r\n\r\n".into(),
                FramingError::Malformed { offset: 0 },
            ),
            ("OPTIONS * RTSP/3.0\r\n\r\n".into(), FramingError::OtherVersion),
            ("OPTIONS * RTSP/1.10\nCSeq: 1\n\n".into(), FramingError::OtherVersion),
            ("OPTIONS * RTSP/1\r\n\r\n".into(), FramingError::Malformed { offset: 0 }),
            ("OPTIONS /relative RTSP/1.0\r\n\r\n".into(), FramingError::Malformed { offset: 0 }),
            ("\r\n\u{1}garbage".into(), FramingError::Malformed { offset: 2 }),
        ];
        for (bytes, error) in table {
            assert_eq!(read(bytes.as_bytes()), Err(error), "{}", &bytes[..bytes.len().min(60)]);
        }
    }

    #[test]
    fn a_line_may_end_with_a_line_feed_alone() {
        let messages =
            read(b"OPTIONS * RTSP/1.0\nCSeq: 1\n\nSET_PARAMETER * RTSP/1.0\r\nCSeq: 2\nContent-Length: 2\n\r\n\n!");
        let [Incoming::Request(first), Incoming::Request(second)] = &messages.unwrap()[..] else { panic!("two") };
        assert_eq!(first.header(&headers::CSEQ).unwrap().as_str(), "1");
        assert_eq!((second.header(&headers::CSEQ).unwrap().as_str(), &second.body()[..]), ("2", &b"\n!"[..]));
    }

    #[test]
    fn a_head_in_http_is_told_from_rtsp() {
        let mut framing = Framing::default();
        framing.push(b"POST /cam?x HTTP/1.0\r\nX-SessionCookie: abc\r\nContent-Length: 32767\r\n\r\nT1BUSU9OUw==");
        let Some(Incoming::Http(head)) = framing.next_message().unwrap() else { panic!("no head") };
        assert_eq!((head.method.as_str(), head.target.as_str()), ("POST", "/cam?x"));
        assert_eq!(head.header("x-sessioncookie"), Some("abc"));
        assert_eq!(&framing.take_rest()[..], b"T1BUSU9OUw==");
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_bytes_are_split(cuts in proptest::collection::vec(1_usize..9000, 1..40)) {
            let bytes = conversation();
            let (mut framing, mut messages, mut at) = (Framing::default(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                framing.push(&bytes[at..end]);
                messages.extend(all(&mut framing).unwrap());
                prop_assert!(framing.pending() <= HEAD_MAX + BODY_MAX);
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            check_conversation(&messages);
        }

        #[test]
        fn arbitrary_bytes_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let mut framing = Framing::default();
            for piece in pieces {
                framing.push(&piece);
                if all(&mut framing).is_err() {
                    break;
                }
            }
        }

        #[test]
        fn bytes_like_rtsp_never_panic(text in "(OPTIONS|\\$|RTSP/1.0|GET) (\\*|rtsp://[a-z]?/[%./?a]{0,4}) (RTSP|HTTP)/1.[01](\r\n|\n)((CSeq|Content-Length|A|): ?[0-9a-z\u{e9}]{0,3}\r\n){0,3}(\r\n)?[a-z]{0,9}") {
            let _ = read(text.as_bytes());
        }
    }
}
