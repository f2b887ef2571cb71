//! Answers a 401: Basic (RFC 7617) and Digest with MD5 (RFC 2069, RFC 7616), as cameras and servers ask for them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};

/// Name and password out of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// A challenge that was accepted; makes the header of every further request.
#[derive(Clone, Debug)]
pub(super) enum Scheme {
    Basic,
    Digest { realm: String, nonce: String, opaque: Option<String>, qop: bool, count: u32 },
}

impl Scheme {
    /// Chooses among the `WWW-Authenticate` headers: Digest before Basic.
    pub(super) fn choose<'a>(challenges: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for challenge in challenges {
            let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
            let algorithm = parameter(rest, "algorithm").unwrap_or("MD5");
            if scheme.eq_ignore_ascii_case("digest") && algorithm.eq_ignore_ascii_case("md5") {
                return Some(Self::Digest {
                    realm: parameter(rest, "realm")?.to_owned(),
                    nonce: parameter(rest, "nonce")?.to_owned(),
                    opaque: parameter(rest, "opaque").map(str::to_owned),
                    qop: parameter(rest, "qop").is_some_and(|qop| qop.split(',').any(|qop| qop.trim() == "auth")),
                    count: 0,
                });
            }
        }
        basic
    }

    /// The value of `Authorization` for one request.
    pub(super) fn authorize(&mut self, who: &Credentials, method: &str, url: &str) -> String {
        let Credentials { user, password } = who;
        match self {
            Self::Basic => format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            Self::Digest { realm, nonce, opaque, qop, count } => {
                let secret = md5(&format!("{user}:{realm}:{password}"));
                let what = md5(&format!("{method}:{url}"));
                *count += 1;
                let cnonce = format!("{count:08x}");
                let (response, tail) = if *qop {
                    let response = md5(&format!("{secret}:{nonce}:{count:08x}:{cnonce}:auth:{what}"));
                    (response, format!(", qop=auth, nc={count:08x}, cnonce=\"{cnonce}\""))
                } else {
                    (md5(&format!("{secret}:{nonce}:{what}")), String::new())
                };
                let opaque = opaque.as_ref().map(|opaque| format!(", opaque=\"{opaque}\"")).unwrap_or_default();
                format!(
                    "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{url}\", \
                     response=\"{response}\"{tail}{opaque}"
                )
            }
        }
    }
}

/// A parameter of a challenge, its quotes taken off; commas within quotes do not end it.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = challenge.trim_start();
    loop {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let value = tail.split(',').next().unwrap_or_default();
                (value.trim(), &tail[value.len()..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = tail.trim_start_matches([',', ' ', '\t']);
    }
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa() -> Credentials {
        Credentials { user: "Mufasa".to_owned(), password: "CircleOfLife".to_owned() }
    }

    #[test]
    fn parameters_are_found_with_and_without_quotes() {
        let challenge = "realm=\"a, b\" , nonce=\"n=1\",algorithm=MD5, qop=\"auth,auth-int\", stale=false";
        let table =
            [("realm", "a, b"), ("NONCE", "n=1"), ("algorithm", "MD5"), ("qop", "auth,auth-int"), ("stale", "false")];
        for (name, value) in table {
            assert_eq!(parameter(challenge, name), Some(value), "{name}");
        }
        assert_eq!(parameter(challenge, "opaque"), None);
    }

    #[test]
    fn digest_without_qop_is_that_of_rfc_2069() {
        let challenge = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut scheme = Scheme::choose(["Basic realm=\"x\"", challenge].into_iter()).unwrap();
        let value = scheme.authorize(&mufasa(), "GET", "/dir/index.html");
        assert!(value.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{value}");
    }

    #[test]
    fn digest_with_qop_counts_its_requests() {
        let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", opaque=\"o\"";
        let mut scheme = Scheme::choose([challenge].into_iter()).unwrap();
        let first = scheme.authorize(&mufasa(), "DESCRIBE", "rtsp://x/");
        let second = scheme.authorize(&mufasa(), "DESCRIBE", "rtsp://x/");
        assert!(first.contains("nc=00000001") && first.contains("opaque=\"o\""), "{first}");
        assert!(second.contains("nc=00000002"), "{second}");
        assert_ne!(first, second);
    }

    #[test]
    fn basic_is_taken_when_nothing_better_is_known() {
        let digest = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256";
        let mut scheme = Scheme::choose([digest, "Basic realm=\"x\""].into_iter()).unwrap();
        assert_eq!(scheme.authorize(&mufasa(), "OPTIONS", "*"), "Basic TXVmYXNhOkNpcmNsZU9mTGlmZQ==");
        assert!(Scheme::choose(["Bearer"].into_iter()).is_none());
    }
}
