//! The certificates of the listeners: got at the start, and again when another one stands in their files, while
//! connections go on. What cannot be used takes nobody's place.

use std::{path::Path, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::{error, info, info_span};

use crate::{
    base::{Clock, Result, Tasks},
    config::{Config, TlsConfig, TlsFiles},
    net::{
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
}

impl Kept {
    /// What a section asks for; nothing if that is no TLS.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn start(option: &'static str, source: Option<&TlsConfig>, state_dir: &Path) -> Result<Option<Self>> {
        let Some(source) = source else { return Ok(None) };
        let certificate = match source {
            TlsConfig::Files(files) => Certificate::read(option, &files.certificate_file, &files.key_file)?,
            TlsConfig::SelfSigned => self_signed::kept(state_dir, Clock.wall())?,
        };
        Ok(Some(Self { option, source: source.clone(), shown: Shown::new(certificate) }))
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The line that people compare with what their browser shows, of a certificate that nobody vouches for.
    pub(super) fn announce(&self) {
        if self.source == TlsConfig::SelfSigned {
            let fingerprint = self.shown.current().fingerprint();
            info!("{}: self-signed certificate, SHA-256 {fingerprint}", self.option);
        }
    }

    /// Looks for another one from now on.
    pub(super) fn watch(self, config: &Arc<Config>, tasks: &Tasks) {
        let (config, stopping) = (config.clone(), tasks.stopping().clone());
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
                    TlsConfig::SelfSigned => self_signed::kept(&config.state_dir, Clock.wall()),
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

/// What tells one content of the files from another: whatever they are called by, a link or a mount, and whenever they were
/// written. Nothing while one of them cannot be read.
async fn look(files: &TlsFiles) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    for file in [&files.certificate_file, &files.key_file] {
        hash.update(tokio::fs::read(file).await.ok()?);
    }
    Some(hash.finalize().into())
}
