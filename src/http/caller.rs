//! Who asks, as this door sees it: the peer's address, and whether somebody else stands in between. Whom a trusted proxy
//! speaks for was found before, in [`super::forwarded`]; such a request is relayed all the same.
//!
//! A request with a forwarding header came through a proxy; one that names a host other than this machine may be a page
//! of that host speaking through the visitor's browser (DNS rebinding). Neither is this machine speaking for itself.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use url::form_urlencoded;

use super::problem::Problem;
use crate::{
    auth::{Caller, Credential, Malformed, TryLater, is_forwarding},
    base::{Error, Kind},
};

/// The host a request is meant for, with its port, as the client wrote it.
///
/// # Errors
/// RFC 9112 §3.2: a request of HTTP/1.1 without `Host`, or with more than one, is a bad request.
pub(super) fn authority<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Error> {
    let bad = |message| Error::new(Kind::InvalidArgument, message).with_code("invalid_host");
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("a request names one host"));
    }
    // RFC 9112 §3.2.2: in the absolute form, and in HTTP/2, the authority of the target stands before `Host`.
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    match host {
        Some(host) => host.to_str().map(Some).map_err(|_| bad("the host is not ASCII")),
        None if version == Version::HTTP_11 => Err(bad("a request names its host")),
        None => Ok(None),
    }
}

/// What a request shows of who sent it.
///
/// # Errors
/// It shows something that cannot be read, or more than one thing.
pub(super) fn credential(headers: &HeaderMap) -> Result<Option<Credential>, Malformed> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Credential::of_header(value.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

/// The cookie of a browser that logged in.
pub(super) const COOKIE: &str = "campanile_session";

/// The token in our cookie (RFC 6265 §5.4). A browser sends one; with two, somebody else put one of them there.
pub fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value);
    ours.next().filter(|_| ours.next().is_none())
}

/// The token in a URL.
pub(super) fn query_token(uri: &Uri) -> Option<String> {
    let mut tokens = form_urlencoded::parse(uri.query()?.as_bytes()).filter(|(name, _)| name == "token");
    let token = tokens.next()?.1;
    tokens.next().is_none().then(|| token.into_owned())
}

/// Whoever tries to log in has to wait.
pub(super) fn too_many_attempts(late: TryLater) -> Problem {
    let seconds = late.after.as_millis().div_ceil(1000).max(1);
    let message = "too many logins failed, or are tried at once";
    Problem::of_http(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message)
        .with_header(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)))
}

/// The caller of a request from `peer` that is meant for `authority`, before it showed who it is.
pub(super) fn caller(peer: SocketAddr, authority: Option<&str>, headers: &HeaderMap) -> Caller {
    // Only a caller on this machine gains anything by speaking for itself.
    let relayed = Caller::direct(peer).is_local()
        && (!authority.is_none_or(is_this_machine) || headers.keys().any(|name| is_forwarding(name.as_str())));
    Caller { relayed, ..Caller::direct(peer) }
}

/// Whether a `host[:port]` means the machine the client runs on.
fn is_this_machine(authority: &str) -> bool {
    let host = host(authority);
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip.is_loopback();
    }
    // RFC 6761 §6.3. A trailing dot is the root.
    let name = host.strip_suffix('.').unwrap_or(host);
    let bytes = name.as_bytes();
    let ends = bytes.len() > 10 && bytes[bytes.len() - 10..].eq_ignore_ascii_case(b".localhost");
    name.eq_ignore_ascii_case("localhost") || ends
}

/// The host of `host[:port]`.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The caller, put into the request by the front.
#[derive(Clone, Debug)]
pub(super) struct Asking(pub(super) Caller);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Error::new(Kind::Internal, "a request should carry its caller");
        parts.extensions.get::<Self>().cloned().ok_or_else(|| missing().into())
    }
}

/// Whether the client speaks TLS, to this server or to a proxy that is trusted; put into the request by the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secure(pub(super) bool);

impl<S: Sync> FromRequestParts<S> for Secure {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self(false)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What stands in `Host` is anybody's choice.
        #[test]
        fn only_loopback_names_and_addresses_mean_this_machine(host in "[a-z0-9.:\\[\\]%@ -]{0,24}") {
            if is_this_machine(&host) {
                prop_assert!(host.contains("localhost") || host.contains("127.") || host.contains(':'), "{}", host);
            }
        }
    }

    fn local(host: Option<&str>, extra: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(name) = extra {
            headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "x".parse().unwrap());
        }
        caller("127.0.0.1:5000".parse().unwrap(), host, &headers).is_local()
    }

    #[test]
    fn a_request_for_this_machine_is_local_and_one_for_a_foreign_host_is_not() {
        for host in ["localhost", "localhost:8080", "LOCALHOST.", "cam.localhost:80", "127.0.0.1:8080", "127.9.9.9"] {
            assert!(local(Some(host), None), "{host}");
        }
        assert!(local(Some("[::1]:8080"), None) && local(Some("[::ffff:127.0.0.1]"), None) && local(None, None));
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "0.0.0.0:8080", "10.0.0.1", "", "[::]"]
        {
            assert!(!local(Some(host), None), "{host}");
        }
        assert!(!local(Some("notlocalhost"), None) && !local(Some("127.0.0.1.evil.example"), None));
    }

    #[test]
    fn any_forwarding_header_makes_a_request_relayed() {
        for name in ["forwarded", "via", "x-real-ip", "cf-connecting-ip", "x-forwarded-for", "x-forwarded-new"] {
            assert!(!local(Some("localhost"), Some(name)), "{name}");
        }
        assert!(local(Some("localhost"), Some("user-agent")));
    }

    #[test]
    fn a_request_names_one_host_and_the_target_comes_first() {
        let mut headers = HeaderMap::new();
        let plain: Uri = "/cam/".parse().unwrap();
        assert_eq!(authority(Version::HTTP_10, &plain, &headers).unwrap(), None);
        assert_eq!(authority(Version::HTTP_11, &plain, &headers).unwrap_err().code(), "invalid_host");
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(authority(Version::HTTP_11, &plain, &headers).unwrap(), Some("localhost"));
        let absolute: Uri = "http://evil.example/cam/".parse().unwrap();
        assert_eq!(authority(Version::HTTP_11, &absolute, &headers).unwrap(), Some("evil.example"));
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(authority(Version::HTTP_11, &plain, &headers).is_err());
    }

    #[test]
    fn one_session_cookie_counts_and_two_are_somebody_elses() {
        let with = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            session_cookie(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["a=b; campanile_session=x.y.z; c=d"]), Some("x.y.z".into()));
        assert_eq!(with(&["a=b", "campanile_session=x"]), Some("x".into()));
        for none in
            [&["campanile_session=x; campanile_session=y"][..], &["xcampanile_session=x"], &["campanile_session="], &[]]
        {
            assert_eq!(with(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_token_in_the_url_is_read_once_and_decoded() {
        let of = |text: &str| query_token(&text.parse().unwrap());
        assert_eq!(of("/ws/events?after=1&token=a.b%2Dc"), Some("a.b-c".into()));
        assert_eq!((of("/ws/events"), of("/ws/events?token=a&token=b")), (None, None));
    }
}
