//! How a client of one connection says who it is: the challenges, and what it shows (RFC 2326 §12.44, RFC 7616, RFC 7617).
//! Sans-IO.
//!
//! The number of a challenge is this connection's alone and lasts as long as it: what was overheard is of no use on
//! another. A client that comes back with the number of an older connection is told so (`stale`), and answers anew without
//! asking anybody for the password.

use rtsp_types::{Request, headers};

use super::answer::text;
use crate::auth::{Credential, DigestAnswer, Malformed, REALM, Way};

/// The challenges of one connection.
#[derive(Debug)]
pub(super) struct Login {
    nonce: String,
    /// Passwords may be sent as they are: the connection is encrypted, or the configuration says so.
    basic: bool,
    /// Somebody may come who is known by the password itself alone: where it may be sent, nothing else is asked for.
    plain: bool,
    stale: bool,
}

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing.
    Nothing,
    /// An answer to our number.
    Digest(DigestAnswer),
    /// A name and a password.
    Password(Credential),
    /// What is not taken here, or cannot be read.
    Wrong,
}

impl Login {
    /// `number` is one that nobody may guess.
    pub(super) fn new(number: u128, basic: bool, plain: bool) -> Self {
        Self { nonce: format!("{number:032x}"), basic, plain, stale: false }
    }

    /// What a request shows.
    pub(super) fn read(&mut self, request: &Request<Vec<u8>>) -> Shown {
        self.stale = false;
        let Some(header) = text(request, &headers::AUTHORIZATION) else {
            return match link_token(request) {
                Some(token) => Credential::of_token(token, Way::Link).map_or(Shown::Wrong, Shown::Password),
                None => Shown::Nothing,
            };
        };
        let (scheme, rest) = header.split_once(' ').unwrap_or((&header, ""));
        if !scheme.eq_ignore_ascii_case("Digest") {
            return match Credential::of_header(header.as_bytes()) {
                // A token can be withdrawn: it may come where a password may not.
                Ok(credential @ Credential::Token { .. }) => Shown::Password(credential),
                Ok(credential) if self.basic => Shown::Password(credential),
                _ => Shown::Wrong,
            };
        }
        match DigestAnswer::parse(rest) {
            Ok(answer) if answer.nonce == self.nonce => Shown::Digest(answer),
            Ok(_) => {
                self.stale = true;
                Shown::Nothing
            }
            Err(Malformed) => Shown::Wrong,
        }
    }

    /// The value of `WWW-Authenticate`. Players read one challenge a line and take the last one they know, which is MD5 for
    /// most (live555, ffmpeg, GStreamer); the lines stand in one value because a header has one in `rtsp-types`.
    pub(super) fn challenge(&self) -> String {
        let digest = |algorithm: &&str| {
            let stale = if self.stale { ", stale=true" } else { "" };
            format!("Digest realm=\"{REALM}\", nonce=\"{}\", algorithm={algorithm}{stale}", self.nonce)
        };
        let basic = self.basic.then(|| format!("Basic realm=\"{REALM}\""));
        // A player answers the strongest it knows, and asks nobody for another when that is refused (ffmpeg, GStreamer).
        let algorithms: &[&str] = if self.basic && self.plain { &[] } else { &["SHA-256", "MD5"] };
        let lines: Vec<_> = basic.into_iter().chain(algorithms.iter().map(digest)).collect();
        lines.join("\r\nWWW-Authenticate: ")
    }
}

/// The token in a URL: for whoever has a link. Players put the name of a track behind the query.
fn link_token(request: &Request<Vec<u8>>) -> Option<&str> {
    let query = request.request_uri()?.query()?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    value.split('/').next()
}

#[cfg(test)]
mod tests {
    use rtsp_types::{Method, Version};

    use super::*;

    fn request(authorization: Option<&str>) -> Request<Vec<u8>> {
        let mut request = Request::builder(Method::Describe, Version::V1_0).build(Vec::new());
        if let Some(value) = authorization {
            request.insert_header(headers::AUTHORIZATION, value);
        }
        request
    }

    #[test]
    fn basic_is_taken_and_asked_for_only_where_it_may_be_sent() {
        let basic = "Basic YW5uYTpwYXNz";
        for (allowed, lines) in [(false, 2), (true, 3)] {
            let mut login = Login::new(7, allowed, false);
            let shown = login.read(&request(Some(basic)));
            assert_eq!(matches!(shown, Shown::Password(_)), allowed, "{shown:?}");
            assert_eq!(login.challenge().lines().count(), lines);
            assert!(login.challenge().ends_with("algorithm=MD5"), "{}", login.challenge());
        }
        assert_eq!(Login::new(7, false, true).challenge().lines().count(), 2, "a password never in the clear");
        assert_eq!(Login::new(7, true, true).challenge(), "Basic realm=\"campanile\"");
        assert_eq!(Login::new(7, false, false).read(&request(None)), Shown::Nothing);
        assert_eq!(Login::new(7, true, false).read(&request(Some("Negotiate x"))), Shown::Wrong);
    }

    #[test]
    fn the_number_of_another_connection_is_stale_and_not_wrong() {
        let mut login = Login::new(7, false, false);
        let with = |nonce: &str| {
            request(Some(&format!(
                r#"Digest username="a", realm="campanile", nonce="{nonce}", uri="rtsp://h/cam", response="r""#
            )))
        };
        assert!(matches!(login.read(&with(&format!("{:032x}", 7))), Shown::Digest(_)));
        assert!(!login.challenge().contains("stale"));
        assert_eq!(login.read(&with("8")), Shown::Nothing);
        assert!(login.challenge().contains("stale=true"));
        assert_eq!(login.read(&request(Some("Digest username=\"a\""))), Shown::Wrong);
        assert!(!login.challenge().contains("stale"));
    }
}
