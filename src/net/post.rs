//! One POST of JSON to a URL of the configuration, on a connection of its own, in a bounded time. What counts is the status
//! of the answer: no redirect is followed, and no body is read.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use tokio::time::timeout;
use url::Url;

use super::exchange::{self, exchange};
use crate::{
    base::{Error, Kind, Result},
    config::ServiceTlsConfig,
};

/// POSTs a body; the status comes back.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`]. They name the host, never what was sent.
pub async fn post_json(url: &Url, tls: &ServiceTlsConfig, body: Bytes, limit: Duration) -> Result<StatusCode> {
    let host = exchange::host(url);
    let late = |_| Error::new(Kind::DeadlineExceeded, format!("{host}: no answer within {} ms", limit.as_millis()));
    timeout(limit, post(url, tls, body)).await.map_err(late)?
}

async fn post(url: &Url, tls: &ServiceTlsConfig, body: Bytes) -> Result<StatusCode> {
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONNECTION, HeaderValue::from_static("close")),
    ]);
    let request = exchange::request(Method::POST, url, headers, Full::new(body))?;
    let addresses = exchange::look_up(url).await?;
    let status = async |answer: http::Response<_>| Ok(answer.status());
    exchange(exchange::host(url), &addresses, exchange::tls(url, tls)?, request, status).await
}
