//! Which pages of other sites may speak to this server: the Fetch standard's CORS protocol, by allow list.
//!
//! `*` lets every page read, never change anything: what this server knows of a caller without being told — that it is
//! on this machine — is a credential as good as a cookie, and `*` goes without credentials.

use http::{HeaderMap, HeaderValue, Method, header};

use crate::config::AllowedOrigins;

/// The page behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// None that a browser names, or one of this server's own.
    Own,
    /// One of the list.
    Listed,
    /// A foreign one, where every page may read.
    Anyone,
    /// A foreign one that is not let in.
    Foreign,
}

/// The policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Cors {
    origins: AllowedOrigins,
}

const METHODS_OF_LISTED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const METHODS_OF_ANYONE: HeaderValue = HeaderValue::from_static("GET, HEAD");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, if-range, last-event-id, range, \
     x-csrf-token",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-patch, accept-ranges, age, campanile-cursor, campanile-left-out, campanile-notice, campanile-rendition, content-range, \
         date, etag, link, location, retry-after",
);

impl Cors {
    pub(super) const fn new(origins: AllowedOrigins) -> Self {
        Self { origins }
    }

    /// Whose page sent these headers to `authority`.
    pub(super) fn page(&self, headers: &HeaderMap, authority: Option<&str>) -> Page {
        let Some(origin) = headers.get(header::ORIGIN) else { return Page::Own };
        let Ok(origin) = origin.to_str() else { return Page::Foreign };
        // The scheme is left out: behind a proxy that ends TLS this server does not know its own.
        let own = origin.split_once("://").zip(authority).is_some_and(|((_, host), us)| host.eq_ignore_ascii_case(us));
        match &self.origins {
            _ if own => Page::Own,
            AllowedOrigins::Any => Page::Anyone,
            origins if origins.allows(origin) => Page::Listed,
            _ => Page::Foreign,
        }
    }

    /// Whether a request of this page goes on to its handler. What only reads always does: without the headers of
    /// [`Cors::stamp`] the browser keeps the answer from the page.
    pub(super) fn lets_in(&self, page: Page, method: &Method) -> bool {
        method.is_safe() || matches!(page, Page::Own | Page::Listed)
    }

    /// Whether a request asks in advance (Fetch §3.2.2).
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers that answer a preflight, besides those of [`Cors::stamp`].
    /// `viewing` says that the door does nothing but show, whatever the method: then every page that may read may use
    /// them all.
    pub(super) fn stamp_preflight(&self, page: Page, viewing: bool, answer: &mut HeaderMap) {
        let methods = if page == Page::Listed || viewing { METHODS_OF_LISTED } else { METHODS_OF_ANYONE };
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }

    /// The headers of every answer; `origin` is the request's.
    pub(super) fn stamp(&self, page: Page, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        match &self.origins {
            AllowedOrigins::None => {
                answer.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
            }
            AllowedOrigins::Any => {
                // The same for everybody, so that a cache may keep one copy.
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
            AllowedOrigins::List(_) => {
                answer.append(header::VARY, HeaderValue::from_static("origin"));
                if let (Page::Listed, Some(origin)) = (page, origin) {
                    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                    answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(origins: AllowedOrigins, origin: Option<&'static str>) -> (Page, HeaderMap) {
        let cors = Cors::new(origins);
        let mut request = HeaderMap::new();
        let origin = origin.map(HeaderValue::from_static);
        request.extend(origin.clone().map(|origin| (header::ORIGIN, origin)));
        let page = cors.page(&request, Some("cams.example:8080"));
        let mut answer = HeaderMap::new();
        cors.stamp(page, origin.as_ref(), &mut answer);
        (page, answer)
    }

    fn list() -> AllowedOrigins {
        AllowedOrigins::List(vec!["https://a.example".into()])
    }

    #[test]
    fn credentials_go_to_listed_pages_alone_and_never_with_a_star() {
        let table = [
            (AllowedOrigins::None, Some("https://a.example"), Page::Foreign, None),
            (list(), Some("https://a.example"), Page::Listed, Some("https://a.example")),
            (list(), Some("https://b.example"), Page::Foreign, None),
            (list(), Some("null"), Page::Foreign, None),
            (list(), None, Page::Own, None),
            (list(), Some("http://cams.example:8080"), Page::Own, None),
            (AllowedOrigins::Any, Some("https://b.example"), Page::Anyone, Some("*")),
            (AllowedOrigins::Any, Some("null"), Page::Anyone, Some("*")),
            (AllowedOrigins::Any, None, Page::Own, Some("*")),
        ];
        for (origins, origin, page, allowed) in table {
            let listed = matches!(origins, AllowedOrigins::List(_));
            let (found, answer) = stamped(origins, origin);
            assert_eq!(found, page, "{origin:?}");
            let header = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
            assert_eq!(header, allowed, "{origin:?}");
            let credentials = answer.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            assert_eq!(credentials, page == Page::Listed, "{origin:?}");
            assert_eq!(answer.contains_key(header::VARY), listed, "answers that differ say so to caches");
        }
    }

    #[test]
    fn a_foreign_page_changes_nothing_even_where_every_page_may_read() {
        let cors = Cors::new(AllowedOrigins::Any);
        for (page, may_change) in
            [(Page::Own, true), (Page::Listed, true), (Page::Anyone, false), (Page::Foreign, false)]
        {
            assert!(cors.lets_in(page, &Method::GET));
            assert_eq!(cors.lets_in(page, &Method::DELETE), may_change, "{page:?}");
        }
        let mut answer = HeaderMap::new();
        cors.stamp_preflight(Page::Anyone, false, &mut answer);
        assert!(!answer[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap().contains("DELETE"));
    }
}
