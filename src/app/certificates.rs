//! The certificates of the listeners: got at the start, and again when another one stands in their files, while
//! connections go on. What cannot be used takes nobody's place.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::{error, info, info_span};

use crate::{
    base::{Clock, Result, Tasks},
    config::{Config, TlsConfig, TlsFiles},
    net::{
        acme::{self, AcmeOptions, Answers, Issued, LETS_ENCRYPT},
        self_signed,
        tls::{Certificate, Shown},
    },
};

/// How often is looked whether a file changed.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How often is looked whether a certificate of our own comes to its end.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// A certificate that is shown, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    option: &'static str,
    source: TlsConfig,
    shown: Shown,
    /// What an authority gave, and what it is answered.
    issued: Option<Issued>,
    answers: Answers,
}

impl Kept {
    /// What a section asks for; nothing if that is no TLS.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn start(option: &'static str, source: Option<&TlsConfig>, config: &Config) -> Result<Option<Self>> {
        let Some(source) = source else { return Ok(None) };
        let (mut issued, now) = (None, Clock.wall());
        let certificate = match source {
            TlsConfig::Files(files) => Certificate::read(option, &files.certificate_file, &files.key_file)?,
            TlsConfig::SelfSigned => self_signed::kept(&config.state_dir, now)?,
            TlsConfig::Acme => {
                issued = acme::kept(&config.state_dir, &domains(config), now);
                match &issued {
                    Some(issued) => issued.certificate.clone(),
                    // Until the authority has given one.
                    None => self_signed::kept(&config.state_dir, now)?,
                }
            }
        };
        let (shown, answers) = (Shown::new(certificate), Answers::default());
        Ok(Some(Self { option, source: source.clone(), shown, issued, answers }))
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// What an authority that asks over plain HTTP is answered.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Whether it comes from the authority of the section `acme`.
    pub(super) fn is_of_acme(&self) -> bool {
        self.source == TlsConfig::Acme
    }

    /// Whether somebody vouches for it, or will.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.is_of_acme() || !self.shown.current().is_self_issued()
    }

    /// The line that people compare with what their browser shows, of a certificate that nobody vouches for.
    pub(super) fn announce(&self) {
        if self.is_of_acme() && self.issued.is_none() {
            info!("{}: a self-signed certificate is shown until the authority gives one", self.option);
        }
        if self.source == TlsConfig::SelfSigned {
            let fingerprint = self.shown.current().fingerprint();
            info!("{}: self-signed certificate, SHA-256 {fingerprint}", self.option);
        }
    }

    /// Looks for another one from now on.
    pub(super) fn watch(self, config: &Arc<Config>, tasks: &Tasks) {
        let (config, stopping) = (config.clone(), tasks.stopping().clone());
        if self.is_of_acme() {
            let getting = acme::run(options(&config), self.issued, self.shown, self.answers, Clock);
            tasks.spawn("certificates/acme", info_span!("certificates"), async move {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => {}
                    () = getting => {}
                }
            });
            return;
        }
        tasks.spawn(format!("certificates/{}", self.option), info_span!("certificates"), async move {
            let every = if self.source == TlsConfig::SelfSigned { RENEW_EVERY } else { LOOK_EVERY };
            let mut seen = None;
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = sleep(every) => {}
                }
                let certificate = match &self.source {
                    TlsConfig::Files(files) => {
                        let now = look(files).await;
                        if now == seen {
                            continue;
                        }
                        seen = now;
                        Certificate::read(self.option, &files.certificate_file, &files.key_file)
                    }
                    TlsConfig::SelfSigned | TlsConfig::Acme => self_signed::kept(&config.state_dir, Clock.wall()),
                };
                match certificate {
                    Ok(certificate) => {
                        let fingerprint = certificate.fingerprint();
                        if fingerprint != self.shown.current().fingerprint() {
                            info!("{}: another certificate, SHA-256 {fingerprint}", self.option);
                        }
                        // Also with the same one: those that vouch for it may be others.
                        self.shown.show(certificate);
                    }
                    Err(error) => error!("{}; the certificate of before stays", error.chain()),
                }
            }
        });
    }
}

fn domains(config: &Config) -> Vec<String> {
    config.acme.domains.iter().map(|domain| domain.as_str().to_owned()).collect()
}

fn options(config: &Config) -> AcmeOptions {
    let acme = &config.acme;
    AcmeOptions {
        domains: domains(config),
        email: acme.email.clone(),
        directory: acme.directory.as_ref().map_or_else(|| LETS_ENCRYPT.to_owned(), ToString::to_string),
        ca_file: acme.ca_file.clone(),
        over_http: !acme.http_address.is_off(),
        state_dir: config.state_dir.clone(),
    }
}

/// What tells one content of the files from another: whatever they are called by, a link or a mount, and whenever they were
/// written. Nothing while one of them cannot be read.
async fn look(files: &TlsFiles) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    for file in [&files.certificate_file, &files.key_file] {
        hash.update(tokio::fs::read(file).await.ok()?);
    }
    Some(hash.finalize().into())
}
