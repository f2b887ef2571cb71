//! TLS to cameras (RTSPS): whom to trust.
//!
//! By default a certificate must be valid for the host and signed by somebody this machine trusts. Most cameras sign
//! their own: then one certificate is trusted by its SHA-256 fingerprint, or, with a warning, any.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;

use super::failure::{Failure, Step};
use crate::config::{CameraTlsConfig, Fingerprint};

/// What is trusted.
#[derive(Debug)]
enum Trust {
    Signed(Arc<WebPkiServerVerifier>),
    Fingerprint(Fingerprint),
    Anybody,
}

/// Judges a certificate and remembers whose it was.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// Of the certificate shown last. Held for a write or a read.
    shown: Arc<Mutex<Option<Fingerprint>>>,
}

/// Shakes hands over a connection to the host of a URL.
pub(super) async fn secure(
    stream: TcpStream,
    url: &Url,
    config: &CameraTlsConfig,
    limit: std::time::Duration,
) -> Result<TlsStream<TcpStream>, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = match config {
        CameraTlsConfig { fingerprint: Some(fingerprint), .. } => Trust::Fingerprint(*fingerprint),
        CameraTlsConfig { insecure: true, .. } => Trust::Anybody,
        _ => Trust::Signed(signed(&provider)?),
    };
    let shown = Arc::new(Mutex::new(None));
    let judge = Arc::new(Judge { trust, provider: provider.clone(), shown: shown.clone() });
    let broken = |error: rustls::Error| Failure::Tls(error.to_string());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(judge)
        .with_no_client_auth();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| Failure::Tls("the host is no name".to_owned()))?;
    match timeout(limit, TlsConnector::from(Arc::new(client)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let fingerprint = shown.lock().unwrap_or_else(PoisonError::into_inner).map(|shown| shown.to_string());
            Err(failed(&error, fingerprint))
        }
        Err(_) => Err(Failure::Timeout(Step::Secure, limit)),
    }
}

fn failed(error: &std::io::Error, fingerprint: Option<String>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Failure::Certificate { reason: reason.to_string(), fingerprint }
        }
        Some(error) => Failure::Tls(error.to_string()),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => Failure::Closed(Step::Secure),
        None => Failure::Tls(error.to_string()),
    }
}

/// The verifier of this machine's roots, which are read once.
fn signed(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Failure> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|_| Failure::Tls("this machine has no trusted certificates; install ca-certificates".to_owned()))
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint(Sha256::digest(certificate).into());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        match &self.trust {
            Trust::Signed(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            Trust::Fingerprint(trusted) if *trusted == fingerprint => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(_) => {
                Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
            }
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
        }
    }

    // Whatever is trusted, the peer must hold the key of the certificate it shows.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
