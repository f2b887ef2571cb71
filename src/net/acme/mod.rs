//! A certificate from an authority that speaks ACME (RFC 8555), got and got again before it ends. The authority's questions
//! are answered over TLS (TLS-ALPN-01, RFC 8737) or over plain HTTP (HTTP-01); what is said to it, and signed, is
//! `instant-acme`'s. Owns two files in the state directory: the account, and the certificate with its key.

mod client;
mod order;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tracing::{error, info, warn};

use self::order::{Authority, Refused};
use super::tls::{Certificate, Shown};
use crate::base::{
    Clock, WallTime,
    backoff::{Backoff, BackoffPolicy},
    private_file,
};

/// The certificate and its key, in the state directory.
pub const FILE: &str = "acme.pem";
/// Where questions over plain HTTP ask (RFC 8555 §8.3).
pub const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// An authority that cannot be reached is asked again soon; one that refuses counts refusals.
const UNREACHABLE: BackoffPolicy =
    BackoffPolicy { first: Duration::from_secs(10), most: Duration::from_secs(1800), stable_after: Duration::ZERO };
const REFUSED: BackoffPolicy = BackoffPolicy {
    first: Duration::from_secs(600),
    most: Duration::from_secs(12 * 3600),
    stable_after: Duration::ZERO,
};
/// How long is slept at most: clocks step, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// What is asked for, and of whom.
#[derive(Clone, Debug)]
pub struct AcmeOptions {
    /// The names.
    pub domains: Vec<String>,
    /// Whom the authority writes to.
    pub email: Option<String>,
    /// Its directory.
    pub directory: String,
    /// Who vouches for it, if not the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Its questions come over plain HTTP.
    pub over_http: bool,
    /// Where files are kept.
    pub state_dir: PathBuf,
}

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The answers to questions over plain HTTP that are open now, by token. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<HashMap<String, String>>>);

impl Answers {
    /// The answer to a token.
    pub fn to(&self, token: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn insert(&self, token: String, answer: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A certificate that was got, and when it is good.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    begins: WallTime,
    ends: WallTime,
}

impl Issued {
    /// Reads a key and the chain behind it, if it is for these names.
    fn read(pem: &str, domains: &[String]) -> Option<Self> {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let own = chain.first()?.clone();
        let (_, parsed) = x509_parser::parse_x509_certificate(&own).ok()?;
        let names = parsed.subject_alternative_name().ok()??.value.general_names.iter().filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some(*name),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        if domains.iter().any(|domain| !names.contains(&domain.as_str())) {
            return None;
        }
        let at = |seconds: i64| WallTime::from_unix_nanos(seconds.saturating_mul(1_000_000_000));
        let validity = parsed.validity();
        let (begins, ends) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        Some(Self { certificate: Certificate::new(chain, key).ok()?, begins, ends })
    }

    /// When another one should be got: with a third of its time to go.
    fn due(&self) -> WallTime {
        self.ends.plus_nanos(-(self.ends.nanos_since(self.begins) / 3))
    }
}

/// The one that is kept in the state directory, if it is for these names and has not ended.
pub fn kept(state_dir: &Path, domains: &[String], now: WallTime) -> Option<Issued> {
    let issued = Issued::read(&fs::read_to_string(state_dir.join(FILE)).ok()?, domains)?;
    (issued.ends > now).then_some(issued)
}

/// Gets a certificate whenever one is due, and shows it. What goes wrong is said and tried again; what is shown stays.
pub async fn run(options: AcmeOptions, mut issued: Option<Issued>, shown: Shown, answers: Answers, clock: Clock) {
    let (mut unreachable, mut refused) = (Backoff::new(UNREACHABLE), Backoff::new(REFUSED));
    let names = options.domains.join(", ");
    loop {
        if let Some(issued) = &issued {
            let left = issued.due().nanos_since(clock.wall());
            if left > 0 {
                tokio::time::sleep(Duration::from_nanos(left.unsigned_abs()).min(LOOK_EVERY)).await;
                continue;
            }
        }
        let authority = Authority { options: &options, shown: &shown, answers: &answers };
        let got = authority.obtain().await;
        answers.clear();
        shown.answer_nothing();
        let pem = got.and_then(|pem| {
            let read = Issued::read(&pem, &options.domains);
            read.map(|issued| (pem, issued))
                .ok_or_else(|| Refused::unfit("what came is no certificate for these names"))
        });
        match pem {
            Ok((pem, new)) => {
                if let Err(error) = private_file::write(&options.state_dir, FILE, &pem) {
                    // It is shown all the same; a restart will ask for another one.
                    error!("acme: {}: cannot be written: {error}", options.state_dir.join(FILE).display());
                }
                info!("acme: a certificate for {names}, SHA-256 {}, until {}", new.certificate.fingerprint(), new.ends);
                shown.show(new.certificate.clone());
                issued = Some(new);
                (unreachable, refused) = (Backoff::new(UNREACHABLE), Backoff::new(REFUSED));
            }
            Err(why) => {
                let backoff = if why.of_authority { &mut refused } else { &mut unreachable };
                let wait = backoff.failed(clock.now(), rand::random());
                warn!("acme: no certificate for {names}: {}; tried again in {} s", why.message, wait.as_secs());
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(names: &[&str], from: i32, to: i32) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())
    }

    fn at(year: i16) -> WallTime {
        let day = jiff::civil::date(year, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        WallTime::from_unix_nanos(day.timestamp().as_second() * 1_000_000_000)
    }

    #[test]
    fn what_is_kept_counts_for_its_names_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let domains = ["a.example".to_owned(), "b.example".to_owned()];
        let is_kept = |domains: &[String], year| kept(directory.path(), domains, at(year)).is_some();
        assert!(!is_kept(&domains, 2026));
        private_file::write(directory.path(), FILE, &pem(&["a.example", "b.example"], 2025, 2028)).unwrap();
        assert!(is_kept(&domains, 2026) && is_kept(&domains[..1], 2026));
        assert!(!is_kept(&domains, 2029), "it has ended");
        assert!(!is_kept(&["c.example".to_owned()], 2026), "it is for other names");
        private_file::write(directory.path(), FILE, "rubbish").unwrap();
        assert!(!is_kept(&domains, 2026));
    }

    #[test]
    fn another_one_is_due_with_a_third_of_the_time_to_go() {
        let domains = ["a.example".to_owned()];
        let issued = Issued::read(&pem(&["a.example"], 2025, 2028), &domains).unwrap();
        assert_eq!(issued.due().to_string()[..10], *"2027-01-01");
    }
}
