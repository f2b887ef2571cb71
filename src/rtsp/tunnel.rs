//! RTSP tunnelled over HTTP, as QuickTime does it and ONVIF demands (RT-12): a `GET` whose answer never ends carries
//! what the server says, a `POST` whose body never ends carries what the client says in base64; both name the same
//! `x-sessioncookie`.
//!
//! The connection of the `GET` owns the session; the connection of a `POST` is handed over to it and ends.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::framing::HttpHead;
use crate::{auth::is_forwarding, net::stream::Stream};

/// The longest cookie that is kept.
const COOKIE_MAX: usize = 256;
/// Tunnels that wait for clients' posts at the same time.
const TUNNELS_MAX: usize = 4096;
/// Posts on their way to the connection of their `GET`; further ones are refused. A client has one at a time.
const POSTS: usize = 2;

/// The answer to the `GET`: a body without end.
pub(super) const GET_ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nServer: campanile\r\nConnection: close\r\n\
    Cache-Control: no-store\r\nPragma: no-cache\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n";

/// What a request in HTTP wants of an RTSP port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To hear the server.
    Down(String),
    /// To speak to the server.
    Up(String),
    /// Nothing that is here: the status line of the refusal.
    Other(&'static str),
}

impl Wish {
    pub(super) fn of(head: &HttpHead) -> Self {
        let cookie = head.header("x-sessioncookie").filter(|cookie| !cookie.is_empty() && cookie.len() <= COOKIE_MAX);
        match (head.method.as_str(), cookie) {
            ("GET", Some(cookie)) => Self::Down(cookie.to_owned()),
            ("POST", Some(cookie)) => Self::Up(cookie.to_owned()),
            ("GET" | "POST" | "HEAD", None) => Self::Other("404 Not Found"),
            _ => Self::Other("405 Method Not Allowed"),
        }
    }
}

/// A refusal in HTTP.
pub(super) fn refusal(status: &str) -> Vec<u8> {
    let words = "This port speaks RTSP.\n";
    format!(
        "HTTP/1.0 {status}\r\nServer: campanile\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{words}",
        words.len()
    )
    .into_bytes()
}

/// Whether a request came through somebody else: it carries a forwarding header, or names a host that is not this
/// machine although it comes from it.
pub(super) fn is_relayed(head: &HttpHead, peer: IpAddr) -> bool {
    if head.names().any(|name| is_forwarding(&name.to_ascii_lowercase())) {
        return true;
    }
    let Some(host) = head.header("host") else { return false };
    peer.to_canonical().is_loopback() && !is_own_host(host)
}

fn is_own_host(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The client's way to the server: a connection and what of its body has come already.
#[derive(Debug)]
pub(super) struct Post {
    /// Between two runtimes.
    pub(super) stream: Stream,
    pub(super) rest: Bytes,
}

/// The tunnels whose `GET` is connected.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    /// Held for an insert, a removal or a look.
    waiting: Mutex<HashMap<String, (IpAddr, mpsc::Sender<Post>)>>,
}

impl Tunnels {
    /// Enters the `GET` of a tunnel; `None` if its cookie is in use or there are too many.
    pub(super) fn enter(self: &Arc<Self>, cookie: String, peer: IpAddr) -> Option<(Entry, mpsc::Receiver<Post>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= TUNNELS_MAX || waiting.contains_key(&cookie) {
            return None;
        }
        let (posts_tx, posts) = mpsc::channel(POSTS);
        waiting.insert(cookie.clone(), (peer, posts_tx));
        Some((Entry { tunnels: self.clone(), cookie }, posts))
    }

    /// Hands a `POST` over to its `GET`. It comes back if there is none from the same address (RT-10).
    pub(super) fn hand_over(&self, cookie: &str, peer: IpAddr, post: Post) -> Result<(), Box<Post>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get(cookie) {
            Some((owner, posts)) if *owner == peer => {
                posts.try_send(post).map_err(|error| Box::new(error.into_inner()))
            }
            _ => Err(Box::new(post)),
        }
    }
}

/// The entry of a tunnel; dropping it strikes the tunnel out.
#[derive(Debug)]
pub(super) struct Entry {
    tunnels: Arc<Tunnels>,
    cookie: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tunnels.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.cookie);
    }
}

/// What came in is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what a tunnel carries is no base64")]
pub(super) struct TunnelError;

/// Base64 in pieces of any size. Every message of a client may end with padding of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decoder {
    held: [u8; 4],
    len: usize,
}

impl Decoder {
    /// Decodes what came in and hands the bytes to `out`.
    ///
    /// # Errors
    /// It is no base64.
    pub(super) fn decode(&mut self, encoded: &[u8], mut out: impl FnMut(&[u8])) -> Result<(), TunnelError> {
        for byte in encoded.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            self.held[self.len] = *byte;
            self.len += 1;
            if self.len == self.held.len() {
                self.len = 0;
                let mut decoded = [0; 3];
                let len = STANDARD.decode_slice(self.held, &mut decoded).map_err(|_| TunnelError)?;
                out(&decoded[..len]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtsp::framing::{Framing, Incoming};

    fn head(text: &str) -> HttpHead {
        let mut framing = Framing::default();
        framing.push(text.as_bytes());
        let Some(Incoming::Http(head)) = framing.next_message().unwrap() else { panic!("no head in {text:?}") };
        head
    }

    #[test]
    fn requests_without_a_cookie_are_told_that_this_is_rtsp() {
        let table = [
            ("GET /cam HTTP/1.0\r\nx-sessioncookie: a\r\n\r\n", Wish::Down("a".into())),
            ("POST /cam HTTP/1.1\r\nX-SessionCookie: a\r\n\r\n", Wish::Up("a".into())),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Wish::Other("404 Not Found")),
            ("DELETE / HTTP/1.1\r\n\r\n", Wish::Other("405 Method Not Allowed")),
        ];
        for (text, wish) in table {
            assert_eq!(Wish::of(&head(text)), wish, "{text}");
        }
        let long = format!("GET / HTTP/1.0\r\nx-sessioncookie: {}\r\n\r\n", "c".repeat(COOKIE_MAX + 1));
        assert_eq!(Wish::of(&head(&long)), Wish::Other("404 Not Found"));
    }

    #[test]
    fn a_request_for_another_host_is_no_local_caller() {
        let local = "127.0.0.1".parse().unwrap();
        let table = [
            ("Host: localhost:8554", false),
            ("Host: 127.0.0.1", false),
            ("Host: [::1]:8554", false),
            ("X: y", false),
            ("Host: cameras.example:8554", true),
            ("Via: 1.1 proxy", true),
            ("X-Forwarded-For: 10.0.0.9", true),
            ("X-Forwarded-Host: cameras.example", true),
            ("CF-Connecting-IP: 10.0.0.9", true),
            ("True-Client-IP: 10.0.0.9", true),
        ];
        for (header, relayed) in table {
            let head = head(&format!("GET / HTTP/1.1\r\n{header}\r\n\r\n"));
            assert_eq!(is_relayed(&head, local), relayed, "{header}");
        }
        assert!(!is_relayed(&head("GET / HTTP/1.1\r\nHost: cameras.example\r\n\r\n"), "10.0.0.9".parse().unwrap()));
    }

    #[test]
    fn messages_with_padding_of_their_own_are_joined() {
        let mut encoded = STANDARD.encode("OPTIONS * RTSP/1.0\r\n").into_bytes();
        encoded.extend_from_slice(b"\r\n");
        encoded.extend_from_slice(STANDARD.encode("CSeq: 1\r\n\r\n").as_bytes());
        let (mut decoder, mut text) = (Decoder::default(), Vec::new());
        for piece in encoded.chunks(3) {
            decoder.decode(piece, |bytes| text.extend_from_slice(bytes)).unwrap();
        }
        assert_eq!(text, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert_eq!(Decoder::default().decode(b"T1B!", |_| ()), Err(TunnelError));
    }

    #[test]
    fn a_cookie_is_taken_once_and_free_again_afterwards() {
        let tunnels = Arc::new(Tunnels::default());
        let peer = "10.0.0.1".parse().unwrap();
        let (entry, _posts) = tunnels.enter("a".into(), peer).unwrap();
        assert!(tunnels.enter("a".into(), peer).is_none());
        drop(entry);
        assert!(tunnels.enter("a".into(), peer).is_some());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_however_it_is_split(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5),
            cut in 1_usize..20,
        ) {
            let encoded: String = messages.iter().map(|message| STANDARD.encode(message)).collect();
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for piece in encoded.as_bytes().chunks(cut) {
                decoder.decode(piece, |bytes| out.extend_from_slice(bytes)).unwrap();
            }
            prop_assert_eq!(out, messages.concat());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Decoder::default().decode(&bytes, |_| ());
        }
    }
}
