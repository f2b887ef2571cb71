//! An RTSP answer as a client keeps it, and the requests it sends.

use std::fmt::Write as _;

use super::frames::{header, headers};

/// An answer taken off the connection.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) sequence: Option<u32>,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// `None` for a message that is no answer (a server's own request).
    pub(super) fn parse(head: &str, body: &[u8]) -> Option<Self> {
        let mut words = head.lines().next()?.splitn(3, ' ');
        if !words.next()?.starts_with("RTSP/") {
            return None;
        }
        let status = words.next()?.parse().ok()?;
        let reason = words.next().unwrap_or_default().to_owned();
        let sequence = header(head, "cseq").and_then(|value| value.parse().ok());
        Some(Self { status, reason, sequence, head: head.to_owned(), body: body.to_vec() })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(super) fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        headers(&self.head, name)
    }

    /// RFC 2326 §12.37: the id, and after how many seconds of silence the session ends.
    pub(super) fn session(&self) -> Option<(String, u64)> {
        let mut parts = self.header("session")?.split(';').map(str::trim);
        let id = parts.next()?.to_owned();
        let timeout = parts.find_map(|part| part.strip_prefix("timeout=")?.parse().ok());
        Some((id, timeout.unwrap_or(60)))
    }

    /// A value out of the `Transport` header: `interleaved`, `server_port` …
    pub(super) fn transport(&self, name: &str) -> Option<(u16, u16)> {
        let value = self.header("transport")?.split(';').find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })?;
        let (first, second) = value.split_once('-').unwrap_or((value, value));
        let first: u16 = first.trim().parse().ok()?;
        Some((first, second.trim().parse().unwrap_or_else(|_| first.saturating_add(1))))
    }
}

/// The text of a request.
pub(super) fn request(method: &str, url: &str, sequence: u32, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\nUser-Agent: campanile-load\r\n");
    for (name, value) in headers {
        // Writing to a String does not fail.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_session_and_transport() {
        let head = "RTSP/1.0 200 OK\r\ncseq: 3\r\nSession: 12ab;timeout=30\r\n\
                    Transport: RTP/AVP/TCP;unicast;interleaved=2-3;ssrc= 1F\r\n\r\n";
        let answer = Answer::parse(head, b"x").unwrap();
        assert_eq!((answer.status, answer.sequence, answer.body.as_slice()), (200, Some(3), &b"x"[..]));
        assert_eq!(answer.session(), Some(("12ab".to_owned(), 30)));
        assert_eq!(answer.transport("interleaved"), Some((2, 3)));
        assert_eq!(answer.transport("server_port"), None);
    }

    #[test]
    fn a_single_port_means_the_next_one_for_rtcp() {
        let answer = Answer::parse("RTSP/1.0 200 OK\r\nTransport: RTP/AVP;server_port=8000\r\n\r\n", b"").unwrap();
        assert_eq!(answer.transport("server_port"), Some((8000, 8000)));
        assert_eq!(answer.session(), None);
    }

    #[test]
    fn a_servers_own_request_is_no_answer() {
        assert!(Answer::parse("OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"").is_none());
        assert!(Answer::parse("RTSP/1.0\r\n\r\n", b"").is_none());
    }
}
