//! How brokers and HTTP servers are reached: a name looked up, a TCP connection, TLS over it. Every step has a time-out.
//!
//! By default a certificate must be valid for the host and signed by somebody this machine trusts; a configuration may
//! name another authority, one certificate by its SHA-256, or, with a warning in its documentation, any.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    base::{Error, Kind, Result},
    config::{Fingerprint, ServiceTlsConfig},
};

/// How long each step may take: the look-up, each attempt to connect, the handshake.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Looks a host up.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`].
pub(super) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let found = timeout(STEP, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| Error::new(Kind::DeadlineExceeded, format!("{host}: not looked up in time")))?;
    let unknown = |error| Error::new(Kind::Unavailable, format!("{host}: no such host")).caused_by(error);
    let addresses: Vec<_> = found.map_err(unknown)?.take(ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("{host}: no such host")));
    }
    Ok(addresses)
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`], of the last one.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut last = Error::new(Kind::Unavailable, "there is no address");
    for address in addresses {
        last = match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small packets, each of which somebody waits for.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Error::new(Kind::Unavailable, format!("{address}: {}", in_words(&error))),
            Err(_) => Error::new(Kind::DeadlineExceeded, format!("{address}: does not answer")),
        };
    }
    Err(last)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Shakes hands.
///
/// # Errors
/// [`Kind::Unavailable`] with what TLS says; [`Kind::DeadlineExceeded`].
pub(super) async fn secure(stream: TcpStream, host: &str, config: Arc<ClientConfig>) -> Result<Box<dyn Stream>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::new(Kind::InvalidArgument, format!("{host}: no name for a certificate")))?;
    match timeout(STEP, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Error::new(Kind::Unavailable, format!("{host}: tls: {error}"))),
        Err(_) => Err(Error::new(Kind::DeadlineExceeded, format!("{host}: tls: not done in time"))),
    }
}

/// What TLS needs, by the configuration of a broker; its defaults fit any server of the web.
///
/// # Errors
/// [`Kind::FailedPrecondition`]: a file cannot be read or holds nothing of its kind.
pub(super) fn tls(config: &ServiceTlsConfig) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = if let Some(fingerprint) = config.fingerprint {
        Trust::Fingerprint(fingerprint)
    } else if config.insecure {
        Trust::Anybody
    } else {
        Trust::Signed(signed(config.ca_file.as_deref(), &provider)?)
    };
    let broken = |error: rustls::Error| Error::new(Kind::FailedPrecondition, format!("tls: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge { trust, provider }));
    let client = match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            // The parser's words could quote the key: they are left out.
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| holds_no(key, "private key"))?;
            builder.with_client_auth_cert(chain, key).map_err(broken)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(client))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| {
        Error::new(Kind::FailedPrecondition, format!("{}: cannot be read", file.display())).caused_by(error)
    })
}

fn holds_no(file: &Path, what: &str) -> Error {
    Error::new(Kind::FailedPrecondition, format!("{}: holds no {what}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(file)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| holds_no(file, "certificate"))
}

/// The verifier of one authority, or of this machine's, which are read once.
fn signed(ca: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = match ca {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            Arc::new(roots)
        }
        None => ROOTS
            .get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                Arc::new(roots)
            })
            .clone(),
    };
    WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().map_err(|_| {
        Error::new(Kind::FailedPrecondition, "tls: there is no certificate to trust")
            .with_hint("install ca-certificates, or name the authority in `tls.ca_file`")
    })
}

/// What is trusted.
#[derive(Debug)]
enum Trust {
    Signed(Arc<WebPkiServerVerifier>),
    Fingerprint(Fingerprint),
    Anybody,
}

/// Judges a certificate.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Signed(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            Trust::Fingerprint(trusted) if trusted.0[..] == Sha256::digest(certificate)[..] => {
                Ok(ServerCertVerified::assertion())
            }
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
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
