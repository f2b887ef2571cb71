//! A DESCRIBE of our own, asked after `retina` failed: its errors are sentences, and a viewer deserves to know whether the
//! name was wrong, nobody listened, which login is asked for, or where the camera sends us. Also what `probe` asks about.
//!
//! It reads the head of an answer, bounded, and nothing of its body.

use std::{fmt, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use super::{
    failure::{Failure, Step},
    guard::SourceGuard,
    head::HEAD_MAX,
};
use crate::{config::Credentials, net::interfaces};

/// What the camera calls us by; some answer 401 to those that have no name.
pub(super) const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// A way to log in that a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    algorithm: Option<String>,
}

impl Challenge {
    pub(super) fn new(scheme: &str, algorithm: Option<&str>) -> Self {
        let short = |text: &str| text.chars().filter(char::is_ascii_graphic).take(32).collect();
        Self { scheme: short(scheme), algorithm: algorithm.map(short) }
    }

    /// Whether it can be answered.
    pub(super) fn is_known(&self) -> bool {
        let known = |algorithm: &String| {
            ["MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS", "SHA-512-256"]
                .contains(&algorithm.to_ascii_uppercase().as_str())
        };
        match self.scheme.to_ascii_lowercase().as_str() {
            "basic" => true,
            "digest" => self.algorithm.as_ref().is_none_or(known),
            _ => false,
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.algorithm {
            Some(algorithm) => write!(f, "{} {algorithm}", self.scheme),
            None => f.write_str(&self.scheme),
        }
    }
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// Reads a head; `None` if it is not one.
    pub(super) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n").flat_map(|line| line.split('\n'));
        let mut words = lines.next()?.split_ascii_whitespace();
        if !words.next()?.starts_with("RTSP/") {
            return None;
        }
        let status = words.next()?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Some(Self { status, headers: lines.filter_map(header).collect() })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long the body is that it announces.
    pub(super) fn body_len(&self) -> u64 {
        self.all("Content-Length").find_map(|length| length.parse().ok()).unwrap_or(0)
    }

    /// Where it sends us, relative to where we asked.
    pub(super) fn location(&self, asked: &Url) -> Option<Url> {
        self.all("Location").find_map(|location| asked.join(location).ok())
    }

    /// The ways to log in that it offers.
    pub(super) fn challenges(&self) -> Vec<Challenge> {
        let one = |text: &str| {
            let parsed = http_auth::parse_challenges(text).ok()?;
            let known = parsed.iter().map(|challenge| {
                let algorithm = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case("algorithm"));
                let algorithm = algorithm.map(|(_, value)| value.to_unescaped());
                let algorithm =
                    algorithm.or_else(|| challenge.scheme.eq_ignore_ascii_case("digest").then(|| "MD5".into()));
                Challenge::new(challenge.scheme, algorithm.as_deref())
            });
            Some(known.collect::<Vec<_>>())
        };
        self.all("WWW-Authenticate").filter_map(one).flatten().collect()
    }
}

/// The addresses of a URL's host, one at least; where there is a guard, all of them are such that it lets us call.
pub(super) async fn look_up(
    url: &Url,
    default_port: u16,
    guard: Option<&SourceGuard>,
    limit: Duration,
) -> Result<Vec<SocketAddr>, Failure> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port().unwrap_or(default_port);
    let resolve = timeout(limit, tokio::net::lookup_host((host, port))).await;
    let addresses = resolve.map_err(|_| Failure::Timeout(Step::Resolve, limit))?.map_err(Failure::Name)?;
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return Err(Failure::Name(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    if let Some(guard) = guard {
        let here = interfaces::addresses();
        for address in &addresses {
            guard.judge(*address, &here).map_err(Failure::NotAllowed)?;
        }
    }
    Ok(addresses)
}

/// Opens a connection to the host of a URL.
pub(super) async fn connect(
    url: &Url,
    default_port: u16,
    guard: Option<&SourceGuard>,
    limit: Duration,
) -> Result<TcpStream, Failure> {
    let mut last = Failure::Refused;
    for address in look_up(url, default_port, guard, limit).await? {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Failure::of_io(error, Step::Connect),
            Err(_) => last = Failure::Timeout(Step::Connect, limit),
        }
    }
    Err(last)
}

/// Asks for a description on a connection of its own, with a login if one is asked for and given.
pub(super) async fn describe(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    url: &Url,
    credentials: Option<&Credentials>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let ask = async {
        let answer = exchange(stream, url, 1, None).await?;
        let Some(authorization) =
            credentials.filter(|_| answer.status == 401).and_then(|login| authorize(&answer, url, login))
        else {
            return Ok(answer);
        };
        exchange(stream, url, 2, Some(&authorization)).await
    };
    timeout(limit, ask).await.map_err(|_| Failure::Timeout(Step::Describe, limit))?
}

fn authorize(answer: &Answer, url: &Url, login: &Credentials) -> Option<String> {
    let challenges = answer.all("WWW-Authenticate").collect::<Vec<_>>().join(", ");
    let mut client = http_auth::PasswordClient::try_from(challenges.as_str()).ok()?;
    let params = http_auth::PasswordParams {
        username: &login.username,
        password: login.password.reveal(),
        uri: url.as_str(),
        method: "DESCRIBE",
        body: Some(&[]),
    };
    client.respond(&params).ok()
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    url: &Url,
    sequence: u32,
    authorization: Option<&str>,
) -> Result<Answer, Failure> {
    let closed = |_| Failure::Closed(Step::Describe);
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!(
        "DESCRIBE {url} RTSP/1.0\r\nCSeq: {sequence}\r\nUser-Agent: {USER_AGENT}\r\nAccept: application/sdp\r\n{authorization}\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(closed)?;
    let mut head: Vec<u8> = Vec::new();
    loop {
        let mut chunk = [0; 2048];
        let len = stream.read(&mut chunk).await.map_err(closed)?;
        if len == 0 {
            return Err(Failure::Closed(Step::Describe));
        }
        let looked_at = head.len().saturating_sub(3);
        head.extend_from_slice(&chunk[..len]);
        let end = head[looked_at..].windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let text = String::from_utf8_lossy(&head[..looked_at + end]);
            return Answer::parse(&text).ok_or_else(|| Failure::Stranger(spoken(&head)));
        }
        if head.len() > HEAD_MAX {
            return Err(Failure::Protocol(Step::Describe, format!("its head is longer than {HEAD_MAX} bytes")));
        }
        if !b"RTSP/".starts_with(&head[..head.len().min(5)]) && !head.starts_with(b"RTSP/") {
            return Err(Failure::Stranger(spoken(&head)));
        }
    }
}

/// What speaks so, by its first bytes.
fn spoken(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', ..] => Some("HTTP"),
        [b'S', b'S', b'H', b'-', ..] => Some("SSH"),
        // RFC 8446 §5.1: an alert, as an answer to what is no handshake.
        [0x15, 3, ..] => Some("TLS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::parse(text).unwrap()
    }

    #[test]
    fn ways_to_log_in_are_named_with_their_algorithm() {
        let names = |text: &str| {
            answer(text)
                .challenges()
                .iter()
                .map(|c| format!("{c}{}", if c.is_known() { "" } else { "?" }))
                .collect::<Vec<_>>()
        };
        let two = "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1\"\r\nwww-authenticate: Basic realm=\"x\"";
        assert_eq!(names(two), ["Digest MD5", "Basic"]);
        let sha = "RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1\", algorithm=SHA-256";
        assert_eq!(names(sha), ["Digest SHA-256"]);
        assert_eq!(names("RTSP/1.0 401 No\r\nWWW-Authenticate: NTLM"), ["NTLM?"]);
        assert_eq!(
            names("RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"\", nonce=\"\", algorithm=X"),
            ["Digest X?"]
        );
        assert_eq!(names("RTSP/1.0 401 No"), Vec::<String>::new());
    }

    #[test]
    fn a_location_is_relative_to_where_was_asked() {
        let asked = Url::parse("rtsp://cam/old?x=1").unwrap();
        let to = |location: &str| {
            answer(&format!("RTSP/1.0 302 Found\r\nLocation: {location}")).location(&asked).map(String::from)
        };
        assert_eq!(to("rtsp://other:8554/new").as_deref(), Some("rtsp://other:8554/new"));
        assert_eq!(to("/new").as_deref(), Some("rtsp://cam/new"));
        assert_eq!(answer("RTSP/1.0 302 Found").location(&asked), None);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for text in ["", "HTTP/1.1 200 OK", "RTSP/1.0", "RTSP/1.0 abc", "RTSP/1.0 99999999 X"] {
            assert_eq!(Answer::parse(text), None, "{text}");
        }
    }
}
