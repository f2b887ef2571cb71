//! TLS to cameras (RTSPS): whom to trust.
//!
//! By default a certificate must be valid for the host and signed by somebody this machine trusts. Most cameras sign
//! their own: then one certificate is trusted by its SHA-256 fingerprint, or, with a warning, any.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;

use super::failure::{Failure, Step};
use crate::{
    config::CameraTlsConfig,
    net::trust::{self, Judge, Trust},
};

/// Shakes hands over a connection to the host of a URL.
pub(super) async fn secure(
    stream: TcpStream,
    url: &Url,
    config: &CameraTlsConfig,
    limit: std::time::Duration,
) -> Result<TlsStream<TcpStream>, Failure> {
    let trust = match config {
        CameraTlsConfig { fingerprint: Some(fingerprint), .. } => Trust::Fingerprint(*fingerprint),
        CameraTlsConfig { insecure: true, .. } => Trust::Anybody,
        _ => Trust::signed(None).map_err(|_| {
            Failure::Tls("this machine has no trusted certificates; install ca-certificates".to_owned())
        })?,
    };
    let judge = Judge::new(trust);
    let client = judge.builder().map_err(|error| Failure::Tls(error.message().to_owned()))?.with_no_client_auth();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| Failure::Tls("the host is no name".to_owned()))?;
    match timeout(limit, TlsConnector::from(Arc::new(client)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(&error, judge.shown().map(|shown| shown.to_string()))),
        Err(_) => Err(Failure::Timeout(Step::Secure, limit)),
    }
}

fn failed(error: &std::io::Error, fingerprint: Option<String>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Failure::Certificate { reason: trust::why(reason), fingerprint }
        }
        Some(error) => Failure::Tls(error.to_string()),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => Failure::Closed(Step::Secure),
        None => Failure::Tls(error.to_string()),
    }
}
