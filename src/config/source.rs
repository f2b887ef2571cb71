//! What feeds a path: a camera's URL, the built-in demo camera, or a publisher.
//!
//! A camera's URL may be a template: in a path that is a regular expression, `$1` and `${name}` stand for what its
//! groups matched. Credentials written before its host are taken out of it when it is read; those that a camera wants as
//! parameters stay, and are masked wherever it is shown.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use regex::Captures;
use url::Url;

use super::template;
use crate::base::{
    Secret,
    secret::{MASK, without_passwords},
};

/// What feeds a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An RTSP camera or server we dial.
    Camera(CameraUrl),
    /// The built-in camera.
    Demo,
    /// A peer that pushes to us.
    Publisher,
}

/// A user name and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password; may be empty.
    pub password: Secret,
}

/// The address of an RTSP camera, perhaps with places for a regular expression's groups.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    /// `rtsp` or `rtsps`.
    scheme: &'static str,
    /// What follows `://`, without credentials.
    rest: String,
    /// What stood before the `@`, percent-decoded.
    credentials: Option<Credentials>,
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Neither a known word nor a URL.
    #[error("expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`")]
    Unknown,
    /// A URL of another kind.
    #[error("sources of the scheme `{0}` are not supported; expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`")]
    Scheme(String),
    /// A URL that is none.
    #[error("the URL is not valid: {0}")]
    Url(String),
    /// Credentials that are not UTF-8 once decoded.
    #[error("the credentials in the URL are not UTF-8 once their `%` escapes are decoded")]
    Credentials,
}

impl CameraUrl {
    /// The credentials that stood in the URL, taken out of it.
    pub(super) fn take_credentials(&mut self) -> Option<Credentials> {
        self.credentials.take()
    }

    /// The credentials that stood in the URL.
    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The groups this template names, as written: `1`, `name`.
    pub(super) fn groups(&self) -> Vec<String> {
        template::groups(&self.rest)
    }

    /// The URL to dial: of a plain path, or with the groups of a regular expression filled in.
    /// Nothing if what comes out is no URL.
    pub fn url(&self, captures: Option<&Captures<'_>>) -> Option<Url> {
        let rest = captures.map_or_else(|| self.rest.clone(), |captures| template::fill(&self.rest, captures));
        parse_url(self.scheme, &rest).ok()
    }

    /// It with the secrets among its parameters: for a store.
    pub(super) fn written_out(&self) -> String {
        format!("{}://{}", self.scheme, self.rest)
    }

    /// Whether the media travel inside TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == "rtsps"
    }

    /// Whether some groups make a URL of this template. A digit fits wherever a group may stand.
    pub(super) fn could_be_one(&self) -> bool {
        parse_url(self.scheme, &template::expand(&self.rest, |_| Some("1".to_owned()))).is_ok()
    }

    /// Whether a plain path could dial this.
    pub(super) fn check_plain(&self) -> Result<(), SourceError> {
        parse_url(self.scheme, &self.rest).map(drop)
    }
}

fn parse_url(scheme: &str, rest: &str) -> Result<Url, SourceError> {
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| SourceError::Url(error.to_string()))?;
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(SourceError::Url("the host is missing".into())),
    }
}

impl Source {
    /// Whether it came back from somebody to whom a secret in it was not shown.
    pub(super) fn is_masked(&self) -> bool {
        matches!(self, Self::Camera(url) if url.rest.contains(MASK))
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        match text {
            "demo" => return Ok(Self::Demo),
            "publisher" => return Ok(Self::Publisher),
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or(SourceError::Unknown)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "rtsp" => "rtsp",
            "rtsps" => "rtsps",
            // `user:pass@host://` and the like would show a password here.
            other if other.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
                return Err(SourceError::Scheme(other.to_owned()));
            }
            _ => return Err(SourceError::Unknown),
        };
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (credentials, rest) = match rest[..authority_len].rfind('@') {
            None => (None, rest),
            Some(at) => (Some(decode(&rest[..at])?), &rest[at + 1..]),
        };
        let url = CameraUrl { scheme, rest: rest.to_owned(), credentials };
        if !rest.contains('$') {
            url.check_plain()?;
        }
        Ok(Self::Camera(url))
    }
}

/// RFC 3986 §3.2.1 user information.
fn decode(userinfo: &str) -> Result<Credentials, SourceError> {
    let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let plain = |text| percent_decode_str(text).decode_utf8().map_err(|_| SourceError::Credentials);
    Ok(Credentials { username: plain(username)?.into_owned(), password: Secret::new(plain(password)?) })
}

impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, without_passwords(&self.rest))
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Camera(url) => fmt::Display::fmt(url, f),
            Self::Demo => f.write_str("demo"),
            Self::Publisher => f.write_str("publisher"),
        }
    }
}

super::text::text_value!(Source, name: "Source",
expects: "`rtsp://…`, `rtsps://…`, `demo` or `publisher`",
schema: {
    "description": "The URL of a camera, `demo` for the built-in camera, or `publisher`.",
    "type": "string",
    "pattern": r"^\s*([rR][tT][sS][pP][sS]?://.+|demo|publisher)\s*$",
    "examples": ["rtsp://10.0.0.5/stream1", "rtsps://10.0.0.5:322/stream1", "demo"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(text: &str) -> CameraUrl {
        match text.parse() {
            Ok(Source::Camera(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn credentials_leave_the_url_decoded() {
        let mut url = camera("RTSP://ad%40min:p%3Aa%2Fs@s@10.0.0.5:554/a?b=c#d");
        assert_eq!(url.to_string(), "rtsp://10.0.0.5:554/a?b=c#d");
        let credentials = url.take_credentials().unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.reveal()), ("ad@min", "p:a/s@s"));
        assert_eq!(camera("rtsp://viewer@cam/").take_credentials().unwrap().password.reveal(), "");
        assert_eq!(camera("rtsp://cam/a@b").take_credentials(), None);
    }

    #[test]
    fn a_source_shown_holds_no_credentials() {
        let source: Source = "rtsp://admin:hunter2@10.0.0.5/".parse().unwrap();
        let shown = format!("{source} {source:?} {}", serde_json::to_string(&source).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("admin"), "{shown}");
        let source: Source = "rtsp://10.0.0.5/live?user=a&password=hunter2".parse().unwrap();
        let shown = format!("{source} {source:?} {}", serde_json::to_string(&source).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        let Source::Camera(url) = source else { panic!("{source}") };
        assert_eq!(url.url(None).unwrap().query(), Some("user=a&password=hunter2"), "dialled as written");
    }

    #[test]
    fn groups_of_a_regular_expression_are_filled_in() {
        let regex = regex::Regex::new("^(?<site>[a-z]+)-([0-9]+)$").unwrap();
        let captures = regex.captures("north-7").unwrap();
        let table = [
            ("rtsp://10.0.0.$2/${site}", "rtsp://10.0.0.7/north"),
            ("rtsp://${site}.lan:55${2}4/$2x", "rtsp://north.lan:5574/7x"),
            ("rtsp://cam/$$1", "rtsp://cam/$1"),
            ("rtsp://cam/$/${", "rtsp://cam/$/$%7B"),
        ];
        for (template, url) in table {
            assert_eq!(camera(template).url(Some(&captures)).unwrap().as_str(), url, "{template}");
        }
        assert_eq!(camera("rtsp://cam:$1/").url(Some(&captures)), None, "a port of letters is no URL");
        assert_eq!(camera("rtsp://10.0.0.$2/${site}$1").groups(), ["2", "site", "1"]);
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let table = [
            ("10.0.0.5", SourceError::Unknown),
            ("http://10.0.0.5/", SourceError::Scheme("http".into())),
            ("user:secret@10.0.0.5://x", SourceError::Unknown),
            ("rtsp://", SourceError::Url("empty host".into())),
            ("rtsp:///a", SourceError::Url("the host is missing".into())),
            ("rtsp://cam:port/", SourceError::Url("invalid port number".into())),
            ("rtsp://%ff:x@cam/", SourceError::Credentials),
        ];
        for (text, error) in table {
            match (text.parse::<Source>(), error) {
                (Err(SourceError::Url(_)), SourceError::Url(_)) => {}
                (got, error) => assert_eq!(got, Err(error), "{text}"),
            }
        }
    }
}
