//! The body of a request, read whole: as it is, with a bound on its bytes and one on its time. What somebody sends drop by
//! drop, or packed so that it grows, is given up. Nobody else in this room reads bodies.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::problem::Problem;

/// How long a body may take once the head is there.
const TIME: Duration = Duration::from_secs(10);

/// The whole body, which has at most `most` bytes.
///
/// # Errors
/// 415, it is packed; 413, it is too large; 408, it takes too long; 400, it broke off.
pub(super) async fn whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    // RFC 9110 §15.5.16: a coding that is not taken is told by those that are.
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        let problem = Problem::of_http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "a body comes as it is, in no `Content-Encoding`",
        );
        return Err(problem.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    match timeout(TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("a body has at most {most} bytes here");
            Err(Problem::of_http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        }
        Ok(Err(_)) => Err(Problem::of_http(StatusCode::BAD_REQUEST, "body_unreadable", "the body broke off")),
        Err(_elapsed) => {
            let message = "the body did not come to its end in time";
            Err(Problem::of_http(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;

    async fn status(coding: Option<&'static str>, body: Body) -> u16 {
        let mut headers = HeaderMap::new();
        headers.extend(coding.map(|coding| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
        whole(&headers, body, 8).await.map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        assert_eq!(status(None, Body::from("12345678")).await, 200);
        assert_eq!(status(None, Body::from("123456789")).await, 413);
        let broken = stream::iter([Ok(Bytes::from("1")), Err(std::io::Error::other("gone"))]);
        assert_eq!(status(None, Body::from_stream(broken)).await, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_post_is_given_up() {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from("1")), ()))
        });
        assert_eq!(status(None, Body::from_stream(drops)).await, 408);
    }

    #[tokio::test]
    async fn decompression_bomb_is_not_unpacked() {
        for coding in ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, identity", ""] {
            assert_eq!(status(Some(coding), Body::from("1")).await, 415, "{coding}");
        }
        assert_eq!(status(Some("identity"), Body::from("1")).await, 200);
    }
}
