//! What went wrong, as clients of HTTP read it: RFC 9457 `application/problem+json`, and the one table from kind to
//! status.
//!
//! A client gets the message, the code and the hint of an error, never its causes; those go to the log with the
//! request's id, which is the problem's `instance`.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::{Error, Kind};

/// The one table from kind to status.
const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::FailedPrecondition => StatusCode::CONFLICT,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        // The server is full, not the caller too fast: RFC 9110 §15.6.4.
        Kind::ResourceExhausted | Kind::Unavailable | Kind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Seconds after which asking again makes sense.
const fn retry_after(kind: Kind) -> Option<HeaderValue> {
    match kind {
        Kind::ResourceExhausted => Some(HeaderValue::from_static("5")),
        Kind::Unavailable | Kind::Cancelled | Kind::DeadlineExceeded => Some(HeaderValue::from_static("2")),
        _ => None,
    }
}

/// An error on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    error: Error,
    status: StatusCode,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut headers = Vec::new();
        if let Some(seconds) = retry_after(error.kind()) {
            headers.push((header::RETRY_AFTER, seconds));
        }
        if error.kind() == Kind::Unauthenticated {
            // RFC 9110 §15.5.2. Not Basic: a browser would ask for a password that nothing here takes.
            headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"campanile\"")));
        }
        let status = status(error.kind());
        Self { error, status, headers }
    }
}

impl Problem {
    /// A status that HTTP itself asks for, and that no service knows of.
    pub(super) fn of_http(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let kind = if status.is_server_error() { Kind::Unavailable } else { Kind::InvalidArgument };
        Self { error: Error::new(kind, message).with_code(code), status, headers: Vec::new() }
    }

    /// Nothing is at this URL.
    pub(super) fn not_found() -> Self {
        Error::new(Kind::NotFound, "there is nothing at this URL").with_code("not_found").into()
    }

    /// The method is not one of `allow`.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self::of_http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this URL takes {allow}"))
            .with_header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// The error, for doors that have no status.
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// The same problem with a status that only its door has.
    #[must_use]
    pub(super) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same problem with one more header.
    #[must_use]
    pub(super) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }
}

/// A problem as the client reads it (RFC 9457 §3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Identifies the sort of problem; the readable API page explains it there.
    #[serde(rename = "type")]
    #[schema(example = "/api/docs#path_not_found")]
    kind: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// The stable word that programs branch on.
    #[schema(example = "path_not_found")]
    code: String,
    /// One sentence on what went wrong here.
    detail: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// This occurrence; the server's log knows it by the same id.
    #[schema(example = "urn:uuid:5d2b1c1e-7b0a-4f0e-9d52-0c1f4f6f1a2b")]
    instance: String,
}

/// What the front writes to the log, carried as an extension of the response.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) id: String,
    pub(super) code: &'static str,
    pub(super) chain: String,
    /// A fault of this program.
    pub(super) ours: bool,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { error, status, headers } = self;
        let instance = random_urn();
        let body = ProblemBody {
            kind: format!("/api/docs#{}", error.code()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: error.code().to_owned(),
            detail: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
            instance: instance.clone(),
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = status;
        let known = response.headers_mut();
        known.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        known.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in headers {
            known.insert(name, value);
        }
        let ours = error.kind() == Kind::Internal;
        response.extensions_mut().insert(Failure { id: instance, code: error.code(), chain: error.chain(), ours });
        response
    }
}

/// RFC 9562 §5.4.
fn random_urn() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const ALL: [Kind; 12] = [
        Kind::InvalidArgument,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::FailedPrecondition,
        Kind::Unauthenticated,
        Kind::PermissionDenied,
        Kind::ResourceExhausted,
        Kind::Unavailable,
        Kind::DeadlineExceeded,
        Kind::Cancelled,
        Kind::Unsupported,
        Kind::Internal,
    ];

    #[tokio::test]
    async fn every_kind_has_its_status_and_every_body_its_code() {
        for (kind, status) in ALL.into_iter().zip([400, 404, 409, 409, 401, 403, 503, 503, 504, 503, 422, 500]) {
            let response = Problem::from(Error::new(kind, "the noun failed").with_hint("mend it")).into_response();
            assert_eq!(response.status().as_u16(), status, "{kind:?}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), matches!(status, 503 | 504), "{kind:?}");
            assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401, "{kind:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], kind.code());
            assert_eq!(body["type"], format!("/api/docs#{}", kind.code()));
            assert_eq!((&body["status"], &body["hint"]), (&status.into(), &"mend it".into()));
        }
    }

    #[tokio::test]
    async fn causes_go_to_the_log_and_never_to_the_client() {
        let error = Error::new(Kind::Internal, "store").caused_by(std::io::Error::other("/secret/place"));
        let response = Problem::from(error).into_response();
        let failure = response.extensions().get::<Failure>().unwrap().clone();
        assert!(failure.ours && failure.chain.contains("/secret/place"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("secret") && text.contains(&failure.id), "{text}");
    }

    #[test]
    fn an_instance_is_a_random_uuid() {
        let urn = random_urn();
        let uuid = urn.strip_prefix("urn:uuid:").unwrap();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        assert_ne!(urn, random_urn());
    }
}
