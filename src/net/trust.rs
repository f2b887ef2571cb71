//! Whom to trust when we dial: the one judge of certificates, for cameras, brokers, mail servers and receivers of alerts.
//!
//! By default a certificate must be valid for the host and signed by somebody this machine trusts. A configuration may
//! name another authority, one certificate by its SHA-256, or, with a warning in its documentation, any.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

use crate::{
    base::{Error, Kind, Result},
    config::{Fingerprint, ServiceTlsConfig},
};

/// What is trusted.
#[derive(Debug)]
pub enum Trust {
    /// What an authority signed for the host.
    Signed(Arc<WebPkiServerVerifier>),
    /// One certificate.
    Fingerprint(Fingerprint),
    /// Any certificate.
    Anybody,
}

impl Trust {
    /// One authority's signature, or that of one of this machine's, which are read once.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: the file cannot be read, or there is no certificate to trust.
    pub fn signed(ca: Option<&Path>) -> Result<Self> {
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
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|_| {
            Error::new(Kind::FailedPrecondition, "tls: there is no certificate to trust")
                .with_hint("install ca-certificates, or name the authority in `tls.ca_file`")
        })?;
        Ok(Self::Signed(verifier))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What TLS to a server needs, by the configuration; its defaults fit any server of the web.
///
/// # Errors
/// [`Kind::FailedPrecondition`]: a file cannot be read or holds nothing of its kind.
pub fn client_config(config: &ServiceTlsConfig) -> Result<Arc<ClientConfig>> {
    let trust = if let Some(fingerprint) = config.fingerprint {
        Trust::Fingerprint(fingerprint)
    } else if config.insecure {
        Trust::Anybody
    } else {
        Trust::signed(config.ca_file.as_deref())?
    };
    let builder = Judge::new(trust).builder()?;
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

/// Why a certificate is not trusted, in words. Those of `rustls` are names of its own, some in the names of others.
pub fn why(reason: &CertificateError) -> String {
    let words = match reason {
        CertificateError::UnknownIssuer => "nobody whom this machine trusts has signed it",
        CertificateError::Expired => "it has expired",
        CertificateError::NotValidYet => "it is not valid yet: is the clock right?",
        CertificateError::Revoked => "it was revoked",
        CertificateError::NotValidForName => "it is not for this host",
        CertificateError::BadEncoding => "it is garbled",
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "it is not for servers",
        CertificateError::ApplicationVerificationFailure => "it is not the one whose fingerprint is trusted",
        CertificateError::Other(other) => return by_webpki(&other.to_string()),
        told => return told.to_string(),
    };
    words.to_owned()
}

/// What the verifier says by its own names alone.
fn by_webpki(name: &str) -> String {
    match name {
        "CaUsedAsEndEntity" => "it is an authority's, which signed it itself, and not a server's".to_owned(),
        name => name.to_owned(),
    }
}

fn broken(error: rustls::Error) -> Error {
    Error::new(Kind::FailedPrecondition, format!("tls: {error}"))
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

/// Judges a certificate and remembers whose it was.
#[derive(Debug)]
pub struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// Of the certificate shown last. Held for a write or a read.
    shown: Mutex<Option<Fingerprint>>,
}

impl Judge {
    /// A judge that goes by this.
    pub fn new(trust: Trust) -> Arc<Self> {
        Arc::new(Self { trust, provider: provider(), shown: Mutex::default() })
    }

    /// The certificate that was shown last.
    pub fn shown(&self) -> Option<Fingerprint> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beginning of a client whose peers are judged so.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: the provider of ciphers offers no protocol version.
    pub fn builder(self: &Arc<Self>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(broken)?;
        Ok(builder.dangerous().with_custom_certificate_verifier(self.clone()))
    }
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
        let fingerprint = Fingerprint(Sha256::digest(certificate).into());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        match &self.trust {
            Trust::Signed(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            Trust::Fingerprint(trusted) if *trusted == fingerprint => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(_) => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a machine that trusts `roots` says of a certificate shown as that of `host`.
    fn judged(
        roots: &[&CertificateDer<'static>],
        shown: &CertificateDer<'static>,
        host: &'static str,
        now: UnixTime,
    ) -> String {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|&root| root.clone()));
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build().unwrap();
        let judge = Judge::new(Trust::Signed(verifier));
        let name = ServerName::try_from(host).unwrap();
        match judge.verify_server_cert(shown, &[], &name, &[], now) {
            Ok(_) => "trusted".to_owned(),
            Err(rustls::Error::InvalidCertificate(reason)) => why(&reason),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_spoken_of_in_words() {
        let own = |names: &[&str], authority: bool| {
            let mut wanted =
                rcgen::CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
            wanted.distinguished_name.push(rcgen::DnType::CommonName, format!("{names:?} {authority}"));
            if authority {
                wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
            (wanted.not_before, wanted.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2030, 1, 1));
            wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let (camera, authority, other) = (own(&["cam.lan"], false), own(&["cam.lan"], true), own(&["other.lan"], true));
        let day = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400));
        let (early, now, late) = (day(18_000), day(20_000), day(30_000));
        let table = [
            (&camera, &camera, "cam.lan", now, "trusted"),
            (&other, &camera, "cam.lan", now, "nobody whom this machine trusts has signed it"),
            (&other, &authority, "cam.lan", now, "it is an authority's, which signed it itself, and not a server's"),
            (&camera, &camera, "cam.lan", late, "certificate expired"),
            (&camera, &camera, "cam.lan", early, "certificate not valid yet"),
            (&camera, &camera, "other.lan", now, "certificate not valid for name \"other.lan\""),
        ];
        for (root, shown, host, now, words) in table {
            let said = judged(&[root], shown, host, now);
            assert!(said.starts_with(words), "{said} is not {words}");
        }
    }
}
