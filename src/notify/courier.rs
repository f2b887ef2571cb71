//! Carries one HTTP request to a receiver: a look-up, a guard, a connection of its own, a bounded answer, no redirect.
//!
//! The guard looks at addresses after the look-up and connects to those it looked at, so that a name cannot lead into the
//! network behind us: what a name stands for has to be public, unless the channel says `allow_private`. An address that
//! is written in the URL itself was meant. What is link-local (where clouds hand out credentials) has to be written so.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rustls::ClientConfig;
use tokio::time::timeout;
use url::{Host, Url};

use super::Outcome;
use crate::{
    base::{Error, Kind, Result, WallTime},
    config::ServiceTlsConfig,
    net::{
        exchange::{self, exchange},
        reach::Reach,
    },
};

/// As much of an answer is read; the rest is nobody's concern.
const BODY_MAX: usize = 4096;
/// How long its next piece may take.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// As much of it stands in an error.
const EXCERPT_MAX: usize = 120;

/// The way to one receiver.
#[derive(Debug)]
pub struct Courier {
    tls: Option<Arc<ClientConfig>>,
    allow_private: bool,
}

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// For how long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, fit for a line of text.
    pub excerpt: String,
}

impl Courier {
    /// A courier to the host of a URL.
    ///
    /// # Errors
    /// A file that `tls` names cannot be read, or holds nothing of its kind.
    pub fn new(url: &Url, tls: &ServiceTlsConfig, allow_private: bool) -> Result<Self> {
        Ok(Self { tls: exchange::tls(url, tls)?, allow_private })
    }

    /// POSTs a letter to a receiver whose answers mean what their status says. The caller bounds the time.
    pub async fn deliver(&self, url: &Url, headers: HeaderMap, body: Bytes, now: WallTime) -> Outcome {
        judge(url.host_str().unwrap_or_default(), self.post(url, headers, body, now).await)
    }

    /// POSTs a body. The caller bounds the time.
    ///
    /// # Errors
    /// The receiver could not be reached, or may not be; it is named, and no secret.
    pub async fn post(&self, url: &Url, mut headers: HeaderMap, body: Bytes, now: WallTime) -> Result<Answer> {
        let addresses = allowed(url, &exchange::look_up(url).await?, self.allow_private)?;
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let request = exchange::request(Method::POST, url, headers, Full::new(body))?;
        exchange(exchange::host(url), &addresses, self.tls.clone(), request, |answer| read(answer, now)).await
    }
}

async fn read(answer: Response<Incoming>, now: WallTime) -> Result<Answer> {
    let (parts, body) = answer.into_parts();
    let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value, now));
    // What it says to a letter it took is nobody's concern.
    let said = if parts.status.is_success() { String::new() } else { excerpt(body).await };
    Ok(Answer { status: parts.status, retry_after, excerpt: said })
}

/// Those of the addresses that a letter may go to.
fn allowed(url: &Url, found: &[SocketAddr], allow_private: bool) -> Result<Vec<SocketAddr>> {
    let written = match url.host() {
        Some(Host::Domain(name)) => {
            // RFC 6761 §6.3: this name is this machine.
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    };
    let name = url.host_str().unwrap_or_default();
    let may = |reach| match reach {
        Reach::Public => true,
        Reach::Private | Reach::Loopback => written || allow_private,
        Reach::Link => written && !matches!(url.host(), Some(Host::Domain(_))),
        Reach::Nowhere => false,
    };
    let (may, not): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().copied().partition(|address| may(Reach::of(address.ip())));
    if may.is_empty() {
        let (whither, hint) = match not.first().map(|address| Reach::of(address.ip())) {
            Some(Reach::Private) => ("a private network", true),
            Some(Reach::Loopback) => ("this machine", true),
            Some(Reach::Link) => ("a link-local address", false),
            _ => ("an address of no host", false),
        };
        let hint = if hint { "; write `allow_private: true` if that is meant" } else { "" };
        return Err(Error::new(Kind::PermissionDenied, format!("{name}: the name leads to {whither}{hint}")));
    }
    Ok(may)
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(value: &HeaderValue, now: WallTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
    Some(Duration::from_secs(u64::try_from(at.saturating_sub(now.unix_millis() / 1000)).unwrap_or(0)))
}

async fn excerpt(mut body: Incoming) -> String {
    let mut read = Vec::new();
    while read.len() < BODY_MAX
        && let Ok(Some(Ok(frame))) = timeout(BODY_WITHIN, body.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(&data[..data.len().min(BODY_MAX - read.len())]);
        }
    }
    let text = String::from_utf8_lossy(&read);
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT_MAX).collect();
    plain.trim().to_owned()
}

/// What an answer, or its absence, means for a letter.
pub fn judge(host: &str, answer: Result<Answer>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Outcome::Away { after: None, why: error.chain() },
    };
    let Answer { status, retry_after, excerpt } = answer;
    let why = match excerpt.as_str() {
        "" => format!("{host}: http status {}", status.as_u16()),
        excerpt => format!("{host}: http status {}: {excerpt}", status.as_u16()),
    };
    match status {
        status if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone { why },
        // It is not the letter that is wrong: nobody is there to read it, or not now (RFC 9110 §15.6, RFC 6585 §4).
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Outcome::Away { after: retry_after, why },
        status if status.is_server_error() && retry_after.is_some() => Outcome::Away { after: retry_after, why },
        status if status.is_server_error() => Outcome::Failed { why },
        status if status.is_redirection() => {
            let why = format!("{host}: http status {}: redirects are not followed", status.as_u16());
            Outcome::Refused { why }
        }
        _ => Outcome::Refused { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_becomes_of_a_letter() {
        let outcome = |status: u16, retry_after: Option<u64>| {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, retry_after: retry_after.map(Duration::from_secs), excerpt: "so".into() };
            judge("hook.example", Ok(answer))
        };
        let why = |status: u16| format!("hook.example: http status {status}: so");
        for status in [200, 201, 202, 204] {
            assert_eq!(outcome(status, None), Outcome::Delivered, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 413, 422] {
            assert_eq!(outcome(status, Some(5)), Outcome::Refused { why: why(status) }, "{status}");
        }
        assert!(matches!(outcome(302, None), Outcome::Refused { why } if why.ends_with("redirects are not followed")));
        assert_eq!(outcome(410, None), Outcome::Gone { why: why(410) });
        for status in [408, 425, 429, 502, 503, 504] {
            let after = Some(Duration::from_secs(7));
            assert_eq!(outcome(status, Some(7)), Outcome::Away { after, why: why(status) }, "{status}");
        }
        assert_eq!(outcome(500, None), Outcome::Failed { why: why(500) });
        assert_eq!(outcome(500, Some(1)), Outcome::Away { after: Some(Duration::from_secs(1)), why: why(500) });
        let away = judge("hook.example", Err(Error::new(Kind::Unavailable, "10.0.0.1:1: connection refused")));
        assert_eq!(away, Outcome::Away { after: None, why: "10.0.0.1:1: connection refused".into() });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: WallTime = "2026-11-20T10:15:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            ("Fri, 20 Nov 2026 10:16:30 GMT", Some(90)),
            ("Fri, 20 Nov 2026 10:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let found = retry_after(&HeaderValue::from_static(text), now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_name_leads_out_and_nowhere_else_unless_that_is_written() {
        // The URL, what its host stands for, and to how many of these a letter may go: as it is, and with allow_private.
        let table: [(&str, &[&str], usize, usize); 14] = [
            ("http://hook.example/", &["1.1.1.1", "2606:4700::1111"], 2, 2),
            ("http://hook.example/", &["192.168.1.2"], 0, 1),
            ("http://hook.example/", &["127.0.0.1"], 0, 1),
            ("http://hook.example/", &["::ffff:10.0.0.1"], 0, 1),
            ("http://hook.example/", &["1.1.1.1", "10.0.0.1"], 1, 2),
            ("http://hook.example/", &["169.254.169.254"], 0, 0),
            ("http://hook.example/", &["fd00:ec2::254", "fe80::1"], 0, 0),
            ("http://hook.example/", &["0.0.0.0", "224.0.0.1"], 0, 0),
            ("http://localhost:8123/", &["127.0.0.1", "::1"], 2, 2),
            ("http://localhost/", &["169.254.169.254"], 0, 0),
            ("http://192.168.1.2/", &["192.168.1.2"], 1, 1),
            ("http://[::1]:9/", &["::1"], 1, 1),
            ("http://169.254.169.254/", &["169.254.169.254"], 1, 1),
            ("http://0.0.0.0/", &["0.0.0.0"], 0, 0),
        ];
        for (url, found, plain, private) in table {
            let found: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect();
            let url = Url::parse(url).unwrap();
            let count = |allow| allowed(&url, &found, allow).map_or(0, |addresses| addresses.len());
            assert_eq!((count(false), count(true)), (plain, private), "{url} {found:?}");
        }
        let private = allowed(&Url::parse("http://ha.lan/").unwrap(), &["10.0.0.2:80".parse().unwrap()], false);
        let message = private.unwrap_err();
        let expected = "ha.lan: the name leads to a private network; write `allow_private: true` if that is meant";
        assert_eq!(message.message(), expected);
    }
}
