//! HTTP/1.1 for one host over one keep-alive connection: GET, redirects left to the caller, bodies kept or only counted.

use std::{io, io::Read as _, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use url::Url;

use crate::shared::Scratch;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection within an answer")]
    Cut,
    #[error("an answer that is not HTTP/1.1")]
    Odd,
    #[error("no answer in {WAIT_S} s")]
    Silent,
    #[error("only http:// URLs are measured")]
    Scheme,
}

/// An answer; the body is empty when it was only counted.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body on the wire, whether kept or not.
    pub(crate) length: u64,
}

/// What to do with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Keep,
    Count,
}

/// One connection; opened when first needed, and again when the server closed it between two requests.
#[derive(Debug)]
pub(crate) struct Connection {
    host: String,
    port: u16,
    authority: String,
    stream: Option<TcpStream>,
    /// Bytes read beyond the last answer, or the beginning of the next.
    carry: Vec<u8>,
    request: String,
    scratch: Scratch,
    gzip: bool,
    /// The entity tag that goes along with a request.
    pub(crate) known: Option<String>,
}

impl Connection {
    /// # Errors
    /// When the URL is not plain HTTP.
    pub(crate) fn new(url: &Url, scratch: &Scratch, gzip: bool) -> Result<Self, HttpError> {
        let host = url.host_str().filter(|_| url.scheme() == "http").ok_or(HttpError::Scheme)?;
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: format!("{host}:{port}"),
            stream: None,
            carry: Vec::new(),
            request: String::new(),
            scratch: scratch.clone(),
            gzip,
            known: None,
        })
    }

    /// # Errors
    /// When there is no whole answer; its status is the caller's business.
    pub(crate) async fn get(&mut self, url: &Url, cookies: &str, body: Body) -> Result<Response, HttpError> {
        self.write_request(url, cookies, body);
        let answer = timeout(WAIT, async {
            let reused = self.stream.is_some();
            match self.attempt(body).await {
                // The server was free to close a connection that lay idle: RFC 9112 §9.3.1.
                Err(HttpError::Io(_) | HttpError::Cut) if reused && self.carry.is_empty() => self.attempt(body).await,
                other => other,
            }
        });
        let answer = answer.await.unwrap_or(Err(HttpError::Silent));
        if answer.is_err() {
            self.stream = None;
            self.carry.clear();
        }
        answer
    }

    fn write_request(&mut self, url: &Url, cookies: &str, body: Body) {
        let text = &mut self.request;
        text.clear();
        text.push_str("GET ");
        text.push_str(url.path());
        if let Some(query) = url.query() {
            text.push('?');
            text.push_str(query);
        }
        text.push_str(" HTTP/1.1\r\nHost: ");
        text.push_str(&self.authority);
        text.push_str("\r\nUser-Agent: campanile-load\r\nAccept: */*\r\n");
        if self.gzip && body == Body::Keep {
            text.push_str("Accept-Encoding: gzip\r\n");
        }
        if !cookies.is_empty() {
            text.push_str("Cookie: ");
            text.push_str(cookies);
            text.push_str("\r\n");
        }
        if let Some(known) = &self.known {
            text.push_str("If-None-Match: ");
            text.push_str(known);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
    }

    async fn attempt(&mut self, body: Body) -> Result<Response, HttpError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.carry.clear();
                let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(HttpError::Connect)?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(self.request.as_bytes()).await?;
        let head_end = loop {
            if let Some(at) = self.carry.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.carry.len() > HEAD_MAX {
                return Err(HttpError::Odd);
            }
            let carry = &mut self.carry;
            read_some(&stream, &self.scratch, |bytes| carry.extend_from_slice(bytes)).await?;
        };
        let head = Head::parse(&self.carry[..head_end]).ok_or(HttpError::Odd)?;
        self.carry.drain(..head_end);
        let mut response = Response {
            status: head.status,
            location: head.location,
            cookies: head.cookies,
            etag: head.etag,
            ..Response::default()
        };
        let mut taker =
            Taker { keep: body == Body::Keep, gunzip: head.gzip, framing: head.framing, response: &mut response };
        let early = std::mem::take(&mut self.carry);
        let taken = taker.take(&early)?;
        let mut rest = early[taken..].to_vec();
        while !taker.is_done() {
            let mut taken = Ok(0);
            let read = read_some(&stream, &self.scratch, |bytes| {
                taken = taker.take(bytes);
                if let Ok(taken) = taken {
                    rest.extend_from_slice(&bytes[taken..]);
                }
            });
            match read.await {
                Err(HttpError::Cut) if taker.ends_with_connection() => break,
                other => other?,
            }
            taken?;
        }
        taker.finish()?;
        self.carry = rest;
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

/// Waits for bytes and hands them on from the buffer all clients of the thread share.
async fn read_some(stream: &TcpStream, scratch: &Scratch, on: impl FnOnce(&[u8])) -> Result<(), HttpError> {
    loop {
        stream.readable().await?;
        let mut buffer = scratch.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(HttpError::Cut),
            Ok(length) => {
                on(&buffer[..length]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    gzip: bool,
    close: bool,
    location: Option<String>,
    cookies: Vec<String>,
    etag: Option<String>,
}

/// RFC 9112 §6.3: how the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let version = words.next().filter(|version| version.starts_with("HTTP/1."))?;
        let status = words.next()?.parse().ok()?;
        let mut head = Self {
            status,
            framing: Framing::UntilClose,
            gzip: false,
            close: version == "HTTP/1.0",
            location: None,
            cookies: Vec::new(),
            etag: None,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") && !matches!(head.framing, Framing::Chunked(_)) {
                head.framing = Framing::Length(value.parse().ok()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
                head.framing = Framing::Chunked(Chunks::default());
            } else if name.eq_ignore_ascii_case("content-encoding") {
                head.gzip = value.eq_ignore_ascii_case("gzip");
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("location") {
                head.location = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("etag") {
                head.etag = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("set-cookie") {
                head.cookies.extend(value.split(';').next().map(str::to_owned));
            }
        }
        if status == 204 || status == 304 {
            head.framing = Framing::Length(0);
        }
        head.close |= head.framing == Framing::UntilClose;
        Some(head)
    }
}

/// Takes a body off the connection.
struct Taker<'a> {
    keep: bool,
    gunzip: bool,
    framing: Framing,
    response: &'a mut Response,
}

impl Taker<'_> {
    fn is_done(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunks) => chunks.state == ChunkState::End,
            Framing::UntilClose => false,
        }
    }

    fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Returns how many bytes belonged to this body.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, HttpError> {
        let Self { keep, framing, response, .. } = self;
        let mut on = |data: &[u8]| {
            response.length += data.len() as u64;
            if *keep && response.body.len() + data.len() <= BODY_MAX {
                response.body.extend_from_slice(data);
            }
        };
        match framing {
            Framing::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                on(&bytes[..taken]);
                *left -= taken as u64;
                Ok(taken)
            }
            Framing::Chunked(chunks) => chunks.handle_bytes(bytes, &mut on).ok_or(HttpError::Odd),
            Framing::UntilClose => {
                on(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn finish(self) -> Result<(), HttpError> {
        if self.gunzip && self.keep {
            let mut plain = Vec::with_capacity(self.response.body.len() * 4);
            let limited = flate2::read::GzDecoder::new(self.response.body.as_slice());
            limited.take(BODY_MAX as u64).read_to_end(&mut plain)?;
            self.response.body = plain;
        }
        Ok(())
    }
}

/// RFC 9112 §7.1, as a machine over pieces of any size.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chunks {
    state: ChunkState,
    left: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    /// Behind the size: an extension nobody reads, up to the line's end.
    Extension,
    Data,
    /// The line end behind the data.
    DataEnd,
    /// Trailer fields up to an empty line; `true` at the beginning of a line.
    Trailer(bool),
    End,
}

impl Chunks {
    /// Returns how many bytes were taken; `None` when the framing is broken.
    fn handle_bytes(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() && self.state != ChunkState::End {
            if self.state == ChunkState::Data {
                let now = (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                on(&bytes[at..at + now]);
                at += now;
                self.left -= now as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataEnd;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            self.state = match (self.state, byte) {
                (ChunkState::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    let digit = char::from(byte).to_digit(16)?;
                    self.left = self.left.checked_mul(16)?.checked_add(u64::from(digit))?;
                    ChunkState::Size
                }
                (ChunkState::Size | ChunkState::Extension, b'\n') if self.left == 0 => ChunkState::Trailer(true),
                (ChunkState::Size | ChunkState::Extension, b'\n') => ChunkState::Data,
                (ChunkState::Size, b'\r' | b';' | b' ') | (ChunkState::Extension, _) => ChunkState::Extension,
                (ChunkState::DataEnd, b'\r') => ChunkState::DataEnd,
                (ChunkState::DataEnd, b'\n') => ChunkState::Size,
                (ChunkState::Trailer(true), b'\r') => ChunkState::Trailer(true),
                (ChunkState::Trailer(true), b'\n') => ChunkState::End,
                (ChunkState::Trailer(_), byte) => ChunkState::Trailer(byte == b'\n'),
                _ => return None,
            };
        }
        Some(at)
    }
}

const WAIT_S: u64 = 30;
const WAIT: Duration = Duration::from_secs(WAIT_S);
const HEAD_MAX: usize = 32 * 1024;
const BODY_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    /// Plays a server that answers each connection with the given answers, then closes it. Returns the requests.
    async fn serve(listener: TcpListener, connections: Vec<Vec<Vec<u8>>>) -> Vec<String> {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                requests.push(String::from_utf8(request).unwrap());
                stream.write_all(&answer).await.unwrap();
            }
        }
        requests
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_opened_again_when_the_server_closed_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/a.m3u8?x=1", listener.local_addr().unwrap())).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, b"#EXTM3U").unwrap();
        let packed = packed.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len());
        let gzipped = [head.as_bytes(), &packed].concat();
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec();
        let plain = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_vec();
        let client = async {
            let mut connection = Connection::new(&url, &crate::shared::scratch(), true).unwrap();
            let first = connection.get(&url, "", Body::Keep).await.unwrap();
            let second = connection.get(&url, "a=b", Body::Count).await.unwrap();
            let third = connection.get(&url, "", Body::Keep).await.unwrap();
            (first, second, third)
        };
        let server = serve(listener, vec![vec![gzipped, chunked], vec![plain]]);
        let (requests, (first, second, third)) = tokio::join!(server, client);
        assert_eq!((first.status, first.body.as_slice()), (200, &b"#EXTM3U"[..]));
        assert_eq!((second.status, second.length, second.body.len()), (200, 3, 0));
        assert_eq!((third.status, third.body.as_slice()), (404, &b"no"[..]));
        assert!(requests[0].starts_with("GET /a.m3u8?x=1 HTTP/1.1\r\n") && requests[0].contains("gzip"));
        assert!(requests[1].contains("Cookie: a=b") && !requests[1].contains("gzip"));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec();
        let client = async {
            let mut connection = Connection::new(&url, &crate::shared::scratch(), true).unwrap();
            connection.get(&url, "", Body::Keep).await
        };
        let (_, answer) = tokio::join!(serve(listener, vec![vec![cut]]), client);
        assert!(matches!(answer, Err(HttpError::Cut | HttpError::Io(_))), "{answer:?}");
    }

    #[test]
    fn heads_tell_how_the_body_ends() {
        let parse = |text: &str| Head::parse(text.as_bytes()).unwrap();
        let plain = parse("HTTP/1.1 200 OK\r\ncontent-length: 12\r\nContent-Encoding: gzip\r\n\r\n");
        assert_eq!((plain.framing, plain.gzip, plain.close), (Framing::Length(12), true, false));
        let chunked = parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(chunked.framing, Framing::Chunked(Chunks::default()));
        let old = parse("HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!((old.framing, old.close), (Framing::UntilClose, true));
        let moved = parse("HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((moved.location.as_deref(), moved.cookies.as_slice()), (Some("/x"), &["a=b".to_owned()][..]));
        assert_eq!(parse("HTTP/1.1 204 No Content\r\n\r\n").framing, Framing::Length(0));
        assert_eq!(Head::parse(b"SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn chunks_are_taken_apart_wherever_they_are_cut() {
        let wire = b"5;x=1\r\nhello\r\n10\r\n, chunked world!\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1 ";
        for size in 1..wire.len() {
            let mut chunks = Chunks::default();
            let (mut body, mut taken) = (Vec::new(), 0);
            for piece in wire.chunks(size) {
                taken += chunks.handle_bytes(piece, &mut |data: &[u8]| body.extend_from_slice(data)).unwrap();
            }
            assert_eq!(body, b"hello, chunked world!", "in pieces of {size}");
            assert_eq!((chunks.state, taken), (ChunkState::End, wire.len() - 9));
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [&b"x\r\n"[..], b"fffffffffffffffff\r\n", b"2\r\nabc"] {
            assert_eq!(Chunks::default().handle_bytes(wire, &mut |_: &[u8]| {}), None, "{wire:?}");
        }
    }
}
