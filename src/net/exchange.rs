//! One HTTP request and its answer, on a connection of its own: what everybody here does who asks a server. Who may be
//! asked, how long it may take and how much of the answer is read is for the caller.

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};

use super::{
    dial::{self, Stream},
    trust,
};
use crate::{
    base::{Error, Kind, Result, Secret},
    config::ServiceTlsConfig,
};

/// The host of a URL as it is looked up: an address of IPv6 without its brackets.
pub fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// Looks the host of a URL up.
///
/// # Errors
/// As [`dial::look_up`].
pub async fn look_up(url: &Url) -> Result<Vec<SocketAddr>> {
    dial::look_up(host(url), url.port_or_known_default().unwrap_or(80)).await
}

/// The TLS that a URL asks for, if it does.
///
/// # Errors
/// As [`trust::client_config`].
pub fn tls(url: &Url, config: &ServiceTlsConfig) -> Result<Option<Arc<ClientConfig>>> {
    (url.scheme() == "https").then(|| trust::client_config(config)).transpose()
}

/// A request for a URL: these headers, and those of every request.
///
/// # Errors
/// [`Kind::InvalidArgument`]: it cannot be written as one.
pub fn request<B>(method: Method, url: &Url, mut headers: HeaderMap, body: B) -> Result<Request<B>> {
    let unfit = || Error::new(Kind::InvalidArgument, "the URL makes no request");
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| unfit())?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("campanile/", env!("CARGO_PKG_VERSION"))));
    // RFC 9112 §3.2.1: a server is asked for a path.
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(target).map_err(|_| unfit())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sends a request to the first of the addresses that answers, and reads what comes back.
///
/// # Errors
/// Those of [`dial`] and of `read`; [`Kind::Unavailable`]: the connection broke. They name the host, and no secret.
pub async fn exchange<B, T, F>(
    host: &str,
    addresses: &[SocketAddr],
    tls: Option<Arc<ClientConfig>>,
    request: Request<B>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Result<T>>,
{
    let tcp = dial::connect(addresses).await?;
    let stream: Box<dyn Stream> = match tls {
        Some(tls) => dial::secure(tcp, host, tls).await?,
        None => Box::new(tcp),
    };
    let broken = |error: hyper::Error| Error::new(Kind::Unavailable, format!("{host}: http")).caused_by(error);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut answer = pin!(async move { read(sender.send_request(request).await.map_err(broken)?).await });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may close as soon as it has answered: what is there is still read. An error of it is one of the exchange.
        _ended = connection => answer.await,
    }
}

/// A value that is not shown in logs.
///
/// # Errors
/// [`Kind::FailedPrecondition`]: it fits into no header.
pub fn secret_header(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| Error::new(Kind::FailedPrecondition, "a token or a user is no header value"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 7617 §2.
///
/// # Errors
/// As [`secret_header`].
pub fn basic(user: &str, password: &Secret) -> Result<HeaderValue> {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.reveal()));
    secret_header(&format!("Basic {text}"))
}

/// RFC 6750 §2.1.
///
/// # Errors
/// As [`secret_header`].
pub fn bearer(token: &Secret) -> Result<HeaderValue> {
    secret_header(&format!("Bearer {}", token.reveal()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_the_authority_of_its_url_for_the_path_and_no_login_of_it_is_sent() {
        for (url, host, target) in [
            ("http://hook.example/", "hook.example", "/"),
            ("https://hook.example:443", "hook.example", "/"),
            ("http://me:hunter2@hook.example:8123/a/b?x=1&y=%20#part", "hook.example:8123", "/a/b?x=1&y=%20"),
            ("http://[::1]:9/?", "[::1]:9", "/?"),
        ] {
            let made = request(Method::GET, &Url::parse(url).unwrap(), HeaderMap::new(), ()).unwrap();
            assert_eq!(made.headers()[header::HOST], host, "{url}");
            assert_eq!(made.uri(), target, "{url}");
            assert!(made.headers()[header::USER_AGENT].to_str().unwrap().starts_with("campanile/"));
        }
    }
}
