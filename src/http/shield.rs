//! What browsers are told that they may not do: for pages what they may load, run and be shown in (CSP), and for the whole
//! host to come back over TLS alone (HSTS, RFC 6797).

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::AllowedOrigins;

/// What the pages need to be allowed; everything comes from this server. `blob:` is how a browser names its own media
/// buffer. Who may show a page in a frame stands behind it.
const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-src 'self'; frame-ancestors 'self'";

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// The pages show; they ask for nothing of the machine they are shown on.
const PERMISSIONS: HeaderValue =
    HeaderValue::from_static("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()");

/// Whether browsers are told to come back over TLS alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HstsPolicy {
    /// They are not.
    #[default]
    Never,
    /// For so long, where this server stands on port 443: on another one it would speak for every program of that host.
    OnStandardPort(Duration),
    /// For so long, wherever they speak TLS.
    Everywhere(Duration),
}

/// Who may show a page in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// This server, and the origins that the configuration lists.
    Known,
    /// Everybody: an embedded page shows what anybody may open who has its link. A browser sends no cookie of ours from
    /// a foreign frame (`SameSite`).
    All,
}

/// The headers.
#[derive(Debug)]
pub(super) struct Shield {
    page: HeaderValue,
    embedded: HeaderValue,
    hsts: Option<HeaderValue>,
    any_port: bool,
}

impl Shield {
    pub(super) fn new(origins: &AllowedOrigins, hsts: HstsPolicy) -> Self {
        let mut page = PAGE.to_owned();
        if let AllowedOrigins::List(origins) = origins {
            origins.iter().for_each(|origin| {
                let _ = write!(page, " {origin}");
            });
        }
        // An origin is written in what a header may hold; without the list the pages are shown nowhere else.
        let page = HeaderValue::try_from(page).unwrap_or(HeaderValue::from_static(PAGE));
        let embedded = HeaderValue::try_from(PAGE.replace("frame-ancestors 'self'", "frame-ancestors *"));
        let embedded = embedded.unwrap_or(HeaderValue::from_static(PAGE));
        let (lasts, any_port) = match hsts {
            HstsPolicy::Never => (None, false),
            HstsPolicy::OnStandardPort(lasts) => (Some(lasts), false),
            HstsPolicy::Everywhere(lasts) => (Some(lasts), true),
        };
        let hsts = lasts.and_then(|lasts| HeaderValue::try_from(format!("max-age={}", lasts.as_secs())).ok());
        Self { page, embedded, hsts, any_port }
    }

    /// What every answer says. From a `secret` URL, one with a token, nothing leads back, not even to this server.
    pub(super) fn stamp(answer: &mut HeaderMap, secret: bool) {
        let referrer = if secret { "no-referrer" } else { "same-origin" };
        answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    }

    /// What an answer over TLS says; `authority` is the request's. RFC 6797 §7.2: never without TLS.
    pub(super) fn stamp_tls(&self, authority: Option<&str>, answer: &mut HeaderMap) {
        let Some(hsts) = &self.hsts else { return };
        if self.any_port || authority.is_some_and(is_on_standard_port) {
            answer.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// What a page says.
    pub(super) fn stamp_page(&self, answer: &mut HeaderMap, frames: Frames) {
        let page = match frames {
            Frames::Known => &self.page,
            Frames::All => &self.embedded,
        };
        answer.insert(header::CONTENT_SECURITY_POLICY, page.clone());
        answer.insert(PERMISSIONS_POLICY, PERMISSIONS);
    }
}

/// Browsers leave the port of the scheme out.
fn is_on_standard_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    // An address of IPv6 stands in brackets.
    port.is_none_or(|port| port == "443" || port.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hsts(policy: HstsPolicy, authority: &str) -> Option<String> {
        let mut answer = HeaderMap::new();
        Shield::new(&AllowedOrigins::None, policy).stamp_tls(Some(authority), &mut answer);
        answer.get(header::STRICT_TRANSPORT_SECURITY).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn browsers_insist_on_tls_where_no_other_program_of_the_host_is_meant() {
        let day = Duration::from_secs(86_400);
        let said = Some("max-age=86400".to_owned());
        for authority in ["cams.example", "cams.example:443", "[2001:db8::1]", "[2001:db8::1]:443"] {
            assert_eq!(hsts(HstsPolicy::OnStandardPort(day), authority), said, "{authority}");
            assert_eq!(hsts(HstsPolicy::Never, authority), None);
        }
        for authority in ["cams.example:8443", "[2001:db8::1]:8443"] {
            assert_eq!(hsts(HstsPolicy::OnStandardPort(day), authority), None, "{authority}");
            assert_eq!(hsts(HstsPolicy::Everywhere(day), authority), said, "{authority}");
        }
    }

    #[test]
    fn pages_are_shown_in_frames_of_this_server_and_of_listed_origins() {
        let ancestors = |origins: &AllowedOrigins, frames| {
            let mut answer = HeaderMap::new();
            Shield::new(origins, HstsPolicy::Never).stamp_page(&mut answer, frames);
            let policy = answer[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'; script-src 'self'; "));
            policy.split("frame-ancestors ").nth(1).unwrap().to_owned()
        };
        assert_eq!(ancestors(&AllowedOrigins::None, Frames::Known), "'self'");
        // `*` lets every page read without a login, which a frame is not.
        assert_eq!(ancestors(&AllowedOrigins::Any, Frames::Known), "'self'");
        let list = AllowedOrigins::List(vec!["https://home.example".into(), "http://10.0.0.2:8123".into()]);
        assert_eq!(ancestors(&list, Frames::Known), "'self' https://home.example http://10.0.0.2:8123");
        assert_eq!(ancestors(&list, Frames::All), "*");
    }
}
