//! TLS on our listeners: the certificate they show, which another may replace while connections go on, and handshakes with
//! a time-out.

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::stream::{Socket, Stream};
use crate::{
    base::{Error, Kind, Result},
    config::Fingerprint,
};

/// Makes `aws-lc-rs` the cipher provider of this process. Further calls change nothing.
pub fn install_provider() {
    // The error says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A certificate with its key and those that vouch for it.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.fingerprint()).finish()
    }
}

impl Certificate {
    /// From a chain and its key, both PEM; `option` names them in errors.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: a file cannot be read, holds nothing of its kind, or key and certificate do not fit.
    pub fn read(option: &str, certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let refused = |key: &str, file: &Path, what: &str| {
            Error::new(Kind::FailedPrecondition, format!("{option}.{key}: {}: {what}", file.display()))
        };
        let read = |key: &str, file: &Path| {
            fs::read(file).map_err(|error| refused(key, file, "cannot be read").caused_by(error))
        };
        let pem = read("certificate_file", certificate_file)?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| {
            refused("certificate_file", certificate_file, "is not a PEM file").caused_by(error.to_string())
        })?;
        if chain.is_empty() {
            return Err(refused("certificate_file", certificate_file, "holds no certificate")
                .with_hint("it should begin with -----BEGIN CERTIFICATE-----, the server's own certificate first"));
        }
        let pem = read("key_file", key_file)?;
        // The parser's words could quote the key: they are left out.
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            refused("key_file", key_file, "holds no private key")
                .with_hint("it should begin with -----BEGIN PRIVATE KEY-----, without a passphrase")
        })?;
        Self::new(chain, key).map_err(|error| {
            refused("key_file", key_file, "does not belong to the certificate")
                .with_hint("key_file should be the key that certificate_file was issued for")
                .caused_by(error)
        })
    }

    /// From a chain, the server's own certificate first, and its key.
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, rustls::Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(|certified| Self(Arc::new(certified)))
    }

    /// An answer to an authority. Its extension is critical and known to authorities alone: that the key fits is not looked
    /// at.
    pub(super) fn answering(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Option<Self> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).ok()?;
        Some(Self(Arc::new(CertifiedKey::new(vec![certificate], key))))
    }

    fn own(&self) -> &[u8] {
        self.0.cert.first().map_or(&[], |own| own)
    }

    /// The SHA-256 of the server's own certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.own()).into())
    }

    /// Whether it vouches for itself.
    pub fn is_self_issued(&self) -> bool {
        let parsed = x509_parser::parse_x509_certificate(self.own());
        parsed.is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
    }
}

/// The certificate that listeners show. Clones show the same.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Held for a copy or a swap.
    current: Arc<RwLock<Certificate>>,
    /// Answers to an authority that asks whether a name leads here, by name. Held as `current`.
    answers: Arc<RwLock<HashMap<String, Certificate>>>,
}

/// RFC 8737 §4: what a client speaks that asks whether a name leads here.
const ACME_TLS: &[u8] = b"acme-tls/1";

impl Shown {
    /// Shows this one.
    pub fn new(certificate: Certificate) -> Self {
        Self { current: Arc::new(RwLock::new(certificate)), answers: Arc::default() }
    }

    /// The one that is shown now.
    pub fn current(&self) -> Certificate {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows another one from the next handshake on.
    pub fn show(&self, certificate: Certificate) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// Answers an authority that asks about a name.
    pub(super) fn answer(&self, name: String, certificate: Certificate) {
        self.answers.write().unwrap_or_else(PoisonError::into_inner).insert(name, certificate);
    }

    /// Answers no authority any more.
    pub(super) fn answer_nothing(&self) {
        self.answers.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What a TLS listener needs. One that is `asked` lets authorities in; a listener that does so is no place for clients
    /// that name protocols it does not know.
    ///
    /// # Errors
    /// [`Kind::Internal`]: the cipher provider offers no protocol version.
    pub fn server_config(&self, asked: bool) -> Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| {
            Error::new(Kind::Internal, "the cipher provider offers no protocol version").caused_by(error)
        })?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols.extend(asked.then(|| ACME_TLS.to_vec()));
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 §3: whoever asks speaks nothing else, and gets nothing but the answer.
        if hello.alpn().is_some_and(|mut spoken| spoken.any(|protocol| protocol == ACME_TLS)) {
            let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
            return answers.get(hello.server_name()?).map(|certificate| certificate.0.clone());
        }
        Some(self.current().0)
    }
}

/// Shakes hands on an accepted connection. Not for threads that move media: it computes for milliseconds.
///
/// # Errors
/// [`Kind::DeadlineExceeded`]; [`Kind::InvalidArgument`] for a client that does not speak TLS as it should.
pub async fn accept(config: &Arc<ServerConfig>, tcp: TcpStream, limit: Duration) -> Result<Stream> {
    match tokio::time::timeout(limit, TlsAcceptor::from(config.clone()).accept(Socket::accepted(tcp))).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => Err(Error::new(Kind::InvalidArgument, "tls handshake").caused_by(error)),
        Err(_) => Err(Error::new(Kind::DeadlineExceeded, format!("tls handshake: not done within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_make_a_listener_and_others_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            let (cert, key) =
                (directory.path().join(format!("{name}.crt")), directory.path().join(format!("{name}.key")));
            fs::write(&cert, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            (cert, key)
        };
        let ((cert, key), (_, other)) = (make("a"), make("b"));
        let read = Certificate::read("http.tls", &cert, &key).unwrap();
        assert!(read.is_self_issued() && Shown::new(read).server_config(true).is_ok());
        let message =
            |cert: &Path, key: &Path| Certificate::read("http.tls", cert, key).unwrap_err().message().to_owned();
        let absent = directory.path().join("absent");
        assert!(message(&absent, &key).starts_with("http.tls.certificate_file: "));
        assert!(message(&key, &key).ends_with("holds no certificate"));
        assert!(message(&cert, &cert).ends_with("holds no private key"));
        assert!(message(&cert, &other).ends_with("does not belong to the certificate"));
    }
}
