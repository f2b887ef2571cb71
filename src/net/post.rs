//! One POST of JSON to a URL of the configuration, on a connection of its own, in a bounded time. What counts is the status
//! of the answer: no redirect is followed, and no body is read.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::Url;

use super::{
    dial::{self, Stream},
    trust,
};
use crate::{
    base::{Error, Kind, Result},
    config::ServiceTlsConfig,
};

/// POSTs a body; the status comes back.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`]. They name the host, never what was sent.
pub async fn post_json(url: &Url, tls: &ServiceTlsConfig, body: Bytes, limit: Duration) -> Result<StatusCode> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let late = |_| Error::new(Kind::DeadlineExceeded, format!("{host}: no answer within {} ms", limit.as_millis()));
    timeout(limit, exchange(url, host, tls, body)).await.map_err(late)?
}

async fn exchange(url: &Url, host: &str, tls: &ServiceTlsConfig, body: Bytes) -> Result<StatusCode> {
    let addresses = dial::look_up(host, url.port_or_known_default().unwrap_or(80)).await?;
    let tcp = dial::connect(&addresses).await?;
    let stream: Box<dyn Stream> = if url.scheme() == "https" {
        dial::secure(tcp, host, trust::client_config(tls)?).await?
    } else {
        Box::new(tcp)
    };
    let broken = |error: hyper::Error| Error::new(Kind::Unavailable, format!("{host}: http")).caused_by(error);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = request(url, body)?;
    let mut answer = pin!(sender.send_request(request));
    // It may close as soon as it has answered: what is there is still read. An error of it is one of the exchange.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = connection => answer.await,
    };
    Ok(answer.map_err(broken)?.status())
}

fn request(url: &Url, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let name = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    Request::post(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("campanile/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Full::new(body))
        .map_err(|error| Error::new(Kind::InvalidArgument, "the URL makes no request").caused_by(error))
}
