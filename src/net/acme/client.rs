//! How the authority is asked: one request at a time, on a connection of its own, with a time-out and a bound on what
//! comes back.

use std::{future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::ClientConfig;

use crate::{
    base::{Error, Kind, Result},
    config::ServiceTlsConfig,
    net::{dial, exchange::exchange, trust},
};

/// What one request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The largest answer: chains are a few kilobytes.
const ANSWER_MAX: usize = 256 * 1024;

pub(super) struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self> {
        let config = ServiceTlsConfig { ca_file: ca_file.map(Path::to_owned), ..ServiceTlsConfig::default() };
        Ok(Self { tls: trust::client_config(&config)? })
    }
}

type Answer = std::result::Result<BytesResponse, instant_acme::Error>;

impl HttpClient for Client {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            let late = || Error::new(Kind::DeadlineExceeded, "the authority does not answer in time");
            let answer = tokio::time::timeout(LIMIT, ask(tls, request)).await.unwrap_or_else(|_| Err(late()));
            let other = |error: Error| instant_acme::Error::Other(Box::new(io::Error::other(error.chain())));
            answer.map(BytesResponse::from).map_err(other)
        })
    }
}

async fn ask(tls: Arc<ClientConfig>, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>> {
    let unusable = || Error::new(Kind::InvalidArgument, "the authority names no URL of the web");
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.host().ok_or_else(unusable)?.to_owned();
    let secure = parts.uri.scheme_str() != Some("http");
    let port = parts.uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let authority = parts.uri.authority().ok_or_else(unusable)?.as_str();
    parts.headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| unusable())?);
    // RFC 9112 §3.2.1: a server is asked for a path.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::try_from(path).map_err(|_| unusable())?;

    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = dial::look_up(bare, port).await?;
    let whole = async |answer: Response<Incoming>| {
        let (parts, body) = answer.into_parts();
        let whole = Limited::new(body, ANSWER_MAX).collect().await;
        let whole = whole.map_err(|_| Error::new(Kind::Unavailable, format!("{host}: the answer is not whole")))?;
        Ok(Response::from_parts(parts, Full::new(whole.to_bytes())))
    };
    exchange(bare, &addresses, secure.then_some(tls), Request::from_parts(parts, body), whole).await
}
