//! What stands between `retina` and a camera that is not spoken to directly: requests and answers pass through and are
//! put right, media passes as it is. A machine without sockets; `bridge` drives it.
//!
//! It is used for cameras behind TLS, which `retina` does not speak, and for those whose answers it cannot read:
//! it numbers answers as asked (`CSeq`, RFC 2326 §12.17), reads SDP however broken and writes it anew, takes parameters
//! off `Session` that are not understood, answers requests of the camera, which nobody else does, and finds the next
//! frame after garbage (§10.12). It logs in by itself, also where the nonce changes within a session. Where media comes
//! over UDP, `retina` is told of a session over TCP ([`super::datagrams`]).
//!
//! It is long since both directions work on one state.

use std::fmt::Write;

use bytes::{Buf, BytesMut};
use url::Url;

use super::{
    datagrams::Datagrams,
    head::{HEAD_MAX, end, find, header, headers, reason},
    inquiry::Answer,
    sdp,
};
use crate::config::Credentials;

/// A body longer than this ends the conversation.
pub(super) const BODY_MAX: usize = 256 * 1024;

/// Nonces that one request takes.
const RENEWALS_MAX: u8 = 2;

/// Requests under way at a time; `retina` has one.
const PENDING_MAX: usize = 8;

/// Bytes between frames that are passed over before the conversation is given up.
const GARBAGE_MAX: usize = 1 << 20;

/// Why a conversation cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MendError {
    #[error("an answer's head is longer than {HEAD_MAX} bytes")]
    Head,
    #[error("an answer's body is longer than {BODY_MAX} bytes")]
    Body,
    #[error("{GARBAGE_MAX} bytes of garbage")]
    Garbage,
    #[error("a request that is none")]
    Request,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    sequence: String,
    method: String,
    /// The request as it goes to the camera, without a login and the empty line at its end.
    head: String,
    uri: String,
    /// It went out with a login already, and so often with a new nonce.
    answered: bool,
    renewed: u8,
}

/// The conversation between `retina` at one side and a camera at the other.
pub(super) struct Mender {
    /// How the camera is called: scheme, host and port.
    camera: String,
    /// How `retina` calls it.
    bridge: String,
    credentials: Option<Credentials>,
    client: Option<http_auth::PasswordClient>,
    pending: Vec<Pending>,
    garbage: usize,
    /// Where media comes over UDP.
    datagrams: Option<Datagrams>,
    to_camera: Vec<u8>,
    to_client: BytesMut,
}

impl Mender {
    /// Between a camera and whoever calls it `bridge`: both as `scheme://host:port`, without a path.
    pub(super) fn new(camera: &Url, bridge: String, credentials: Option<Credentials>) -> Self {
        Self {
            camera: origin(camera),
            bridge,
            credentials,
            client: None,
            pending: Vec::new(),
            garbage: 0,
            datagrams: None,
            to_camera: Vec::new(),
            to_client: BytesMut::new(),
        }
    }

    /// Media is asked for over UDP, and handed on as `retina` asked for it.
    pub(super) fn over_udp(mut self, datagrams: Datagrams) -> Self {
        self.datagrams = Some(datagrams);
        self
    }

    pub(super) const fn datagrams(&mut self) -> Option<&mut Datagrams> {
        self.datagrams.as_mut()
    }

    /// Bytes of `retina`, as far as they are whole requests.
    pub(super) fn handle_client(&mut self, input: &mut BytesMut) -> Result<(), MendError> {
        while let Some(end) = find(input, b"\r\n\r\n") {
            let head = input.split_to(end + 4);
            let text = std::str::from_utf8(&head[..end]).map_err(|_| MendError::Request)?;
            self.request(text)?;
        }
        if input.len() > HEAD_MAX { Err(MendError::Head) } else { Ok(()) }
    }

    /// Bytes of the camera, as far as they are whole.
    pub(super) fn handle_camera(&mut self, input: &mut BytesMut) -> Result<(), MendError> {
        loop {
            match input.first().copied() {
                None => return Ok(()),
                Some(b'\r' | b'\n') => input.advance(1),
                Some(b'$') if self.pass_frame(input)? => {}
                Some(b'$') => return Ok(()),
                Some(_) if is_message(input) => {
                    if !self.pass_message(input)? {
                        return Ok(());
                    }
                }
                // Too little to tell.
                Some(_) if input.len() < LONGEST_START && could_be_message(input) => return Ok(()),
                Some(_) => self.pass_over(input)?,
            }
        }
    }

    /// What goes to the camera.
    pub(super) fn take_for_camera(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_camera)
    }

    /// What goes to `retina`.
    pub(super) fn take_for_client(&mut self) -> BytesMut {
        if let Some(datagrams) = &mut self.datagrams {
            self.to_client.unsplit(datagrams.take_for_client());
        }
        self.to_client.split()
    }

    fn request(&mut self, text: &str) -> Result<(), MendError> {
        let (line, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        let mut words = line.split(' ');
        let (Some(method), Some(uri)) = (words.next(), words.next()) else { return Err(MendError::Request) };
        let uri = uri.replacen(&self.bridge, &self.camera, 1);
        let sequence = header(headers, "CSeq").unwrap_or_default().to_owned();
        let mut head = format!("{method} {uri} RTSP/1.0\r\n{headers}");
        let transport = header(headers, "Transport").filter(|_| method == "SETUP");
        if let (Some(datagrams), Some(transport)) = (&mut self.datagrams, transport)
            && let Some(instead) = datagrams.request(transport)
        {
            head = head.replace(transport, &instead);
        }
        let mut pending = Pending { sequence, method: method.to_owned(), head, uri, answered: false, renewed: 0 };
        self.send(&mut pending);
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(pending);
        Ok(())
    }

    fn send(&mut self, pending: &mut Pending) {
        let login = self.login(&pending.method, &pending.uri);
        pending.answered = login.is_some();
        self.to_camera.extend_from_slice(pending.head.as_bytes());
        if let Some(login) = login {
            self.to_camera.extend_from_slice(b"\r\nAuthorization: ");
            self.to_camera.extend_from_slice(login.as_bytes());
        }
        self.to_camera.extend_from_slice(b"\r\n\r\n");
    }

    fn login(&mut self, method: &str, uri: &str) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        let params = http_auth::PasswordParams {
            username: &credentials.username,
            password: credentials.password.reveal(),
            uri,
            method,
            body: Some(&[]),
        };
        self.client.as_mut()?.respond(&params).ok()
    }

    /// A frame of media as it is; `false` if it is not whole yet.
    fn pass_frame(&mut self, input: &mut BytesMut) -> Result<bool, MendError> {
        let Some(header) = input.first_chunk::<4>() else { return Ok(false) };
        let length = 4 + usize::from(u16::from_be_bytes([header[2], header[3]]));
        if input.get(4).is_some_and(|first| first >> 6 != 2) {
            // Neither RTP nor RTCP (RFC 3550 §5.1): a `$` within garbage.
            self.pass_over(input)?;
            return Ok(true);
        }
        if input.len() < length {
            return Ok(false);
        }
        self.garbage = 0;
        self.to_client.unsplit(input.split_to(length));
        Ok(true)
    }

    /// A message put right; `false` if it is not whole yet.
    fn pass_message(&mut self, input: &mut BytesMut) -> Result<bool, MendError> {
        let Some((head_len, break_len)) = end(input) else {
            return if input.len() > HEAD_MAX { Err(MendError::Head) } else { Ok(false) };
        };
        if head_len > HEAD_MAX {
            return Err(MendError::Head);
        }
        let head = String::from_utf8_lossy(&input[..head_len]).into_owned();
        let body_len = header(&head, "Content-Length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
        if body_len > BODY_MAX {
            return Err(MendError::Body);
        }
        if input.len() < head_len + break_len + body_len {
            return Ok(false);
        }
        self.garbage = 0;
        input.advance(head_len + break_len);
        let body = input.split_to(body_len);
        match Answer::parse(&head) {
            Some(answer) => self.answer(&answer, &head, &body),
            None => self.request_of_camera(&head),
        }
        Ok(true)
    }

    fn answer(&mut self, answer: &Answer, head: &str, body: &[u8]) {
        let sequence = header(head, "CSeq").unwrap_or_default();
        // The one it names, else the oldest that waits: there is only one.
        let place = self.pending.iter().position(|pending| pending.sequence == sequence).unwrap_or(0);
        if place >= self.pending.len() {
            return;
        }
        let mut pending = self.pending.remove(place);
        if answer.status == 401 && self.may_answer(&pending, head) {
            let challenges: Vec<&str> = headers(head)
                .filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"))
                .map(|(_, value)| value)
                .collect();
            if let Ok(client) = http_auth::PasswordClient::try_from(challenges.join(", ").as_str()) {
                self.client = Some(client);
                pending.renewed += u8::from(pending.answered);
                self.send(&mut pending);
                self.pending.insert(0, pending);
                return;
            }
        }
        self.write_answer(answer.status, head, body, &pending);
    }

    /// A login was not shown yet, or the camera says that only its nonce is stale (RFC 7616 §3.3), which it may not say
    /// for ever.
    fn may_answer(&self, pending: &Pending, head: &str) -> bool {
        let stale = headers(head).any(|(name, value)| {
            name.eq_ignore_ascii_case("WWW-Authenticate") && value.to_ascii_lowercase().contains("stale=true")
        });
        self.credentials.is_some() && (!pending.answered || stale && pending.renewed < RENEWALS_MAX)
    }

    fn write_answer(&mut self, mut status: u16, head: &str, body: &[u8], pending: &Pending) {
        let is_granted = pending.method == "SETUP" && (200..300).contains(&status);
        let mut transport = header(head, "Transport").unwrap_or_default().to_owned();
        if let Some(datagrams) = self.datagrams.as_mut().filter(|_| is_granted) {
            match datagrams.answer(&transport) {
                Some(instead) => transport = instead,
                None => status = 461,
            }
        }
        let is_description = pending.method == "DESCRIBE" && (200..300).contains(&status);
        let body = if is_description { self.mend_sdp(body).into_bytes() } else { body.to_vec() };
        let mut out = format!("RTSP/1.0 {status} {}\r\nCSeq: {}\r\n", reason(head), pending.sequence);
        for (name, value) in headers(head) {
            match name.to_ascii_lowercase().as_str() {
                "cseq" | "content-length" | "transport" => {}
                "content-type" | "content-base" | "content-location" if is_description => {}
                "session" => {
                    let _ = write!(out, "Session: {}\r\n", mend_session(value));
                }
                "rtp-info" => {
                    let _ = write!(out, "RTP-Info: {}\r\n", self.call_us(value));
                }
                _ => {
                    let _ = write!(out, "{name}: {value}\r\n");
                }
            }
        }
        if !transport.is_empty() {
            let _ = write!(out, "Transport: {transport}\r\n");
        }
        if is_description {
            let base = header(head, "Content-Base").or_else(|| header(head, "Content-Location"));
            let base = self.call_us(base.unwrap_or(&pending.uri));
            let _ = write!(out, "Content-Type: application/sdp\r\nContent-Base: {base}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(out, "Content-Length: {}\r\n", body.len());
        }
        out.push_str("\r\n");
        self.to_client.extend_from_slice(out.as_bytes());
        self.to_client.extend_from_slice(&body);
    }

    /// A camera's request wants an answer; some end the session without one (RFC 2326 §10.1, §10.8).
    fn request_of_camera(&mut self, head: &str) {
        let sequence = header(head, "CSeq").unwrap_or("0");
        let sequence: String = sequence.chars().filter(char::is_ascii_digit).take(10).collect();
        self.to_camera.extend_from_slice(format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n\r\n").as_bytes());
    }

    /// Passes over what is neither a frame nor a message, up to what may be one.
    fn pass_over(&mut self, input: &mut BytesMut) -> Result<(), MendError> {
        let starts = |at: usize| input[at] == b'$' || input[at..].starts_with(b"RTSP/");
        let next = (1..input.len()).find(|at| starts(*at)).unwrap_or(input.len());
        input.advance(next);
        self.garbage += next;
        if self.garbage > GARBAGE_MAX { Err(MendError::Garbage) } else { Ok(()) }
    }

    /// A URL of the camera as `retina` has to call it: whatever host it names, we are the way there.
    fn call_us(&self, value: &str) -> String {
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(at) = rest.find("://") {
            let scheme = rest[..at].rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
            if !rest[scheme..at].to_ascii_lowercase().starts_with("rtsp") {
                out.push_str(&rest[..at + 3]);
                rest = &rest[at + 3..];
                continue;
            }
            let authority = rest[at + 3..].find(['/', '?', ';', ',', ' ']).map_or(rest.len(), |end| at + 3 + end);
            out.push_str(&rest[..scheme]);
            out.push_str(&self.bridge);
            rest = &rest[authority..];
        }
        out + rest
    }

    /// The description written anew from what could be read of it.
    fn mend_sdp(&self, body: &[u8]) -> String {
        let mut out = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n".to_owned();
        let text = String::from_utf8_lossy(body);
        let session = text.split(['\r', '\n']).take_while(|line| !line.trim_start().starts_with("m="));
        for line in session.filter_map(|line| line.trim().strip_prefix("a=")) {
            if let Some((name @ ("control" | "tool" | "range"), value)) = line.split_once(':') {
                let _ = write!(out, "a={name}:{}\r\n", self.call_us(value.trim()));
            }
        }
        for section in sdp::parse(body) {
            let formats: Vec<&str> =
                section.formats.iter().map(String::as_str).filter(|f| f.parse::<u8>().is_ok()).collect();
            if formats.is_empty() || section.media.is_empty() {
                continue;
            }
            let _ = write!(out, "m={} 0 RTP/AVP {}\r\n", section.media, formats.join(" "));
            for (name, value) in &section.attributes {
                let value = if name == "control" { self.call_us(value) } else { value.clone() };
                let sane = !name.is_empty() && !name.contains(char::is_whitespace);
                match (sane, value.is_empty()) {
                    (false, _) => {}
                    (true, true) => drop(write!(out, "a={name}\r\n")),
                    (true, false) => drop(write!(out, "a={name}:{value}\r\n")),
                }
            }
        }
        out
    }
}

/// `scheme://host:port` of a URL, as it was written.
pub(super) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// `id;timeout=N`: RFC 2326 §12.37 knows no other parameter, and zero is none.
fn mend_session(value: &str) -> String {
    let mut parts = value.split(';').map(str::trim);
    let id = parts.next().unwrap_or_default();
    let timeout =
        parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout")));
    match timeout.and_then(|(_, seconds)| seconds.trim().parse::<u32>().ok()).filter(|seconds| *seconds > 0) {
        Some(seconds) => format!("{id};timeout={seconds}"),
        None => id.to_owned(),
    }
}

/// Methods that a camera may ask us by.
const METHODS: [&[u8]; 6] =
    [b"OPTIONS ", b"ANNOUNCE ", b"REDIRECT ", b"TEARDOWN ", b"GET_PARAMETER ", b"SET_PARAMETER "];

const LONGEST_START: usize = b"GET_PARAMETER ".len();

fn is_message(input: &[u8]) -> bool {
    input.starts_with(b"RTSP/") || METHODS.iter().any(|method| input.starts_with(method))
}

fn could_be_message(input: &[u8]) -> bool {
    b"RTSP/".starts_with(input) || METHODS.iter().any(|method| method.starts_with(input))
}

#[cfg(test)]
mod tests;
