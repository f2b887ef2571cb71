//! A certificate without an authority, for a network of one's own: made once, kept in the state directory, so that what
//! people accepted or wrote down, its fingerprint, stays.

use std::{fs, io, path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{interfaces, tls::Certificate};
use crate::base::{Error, Kind, Result, WallTime, private_file};

/// The file in the state directory.
pub const FILE: &str = "tls.pem";
/// How long it is good for, in days. Apple's systems take none that lasts longer than 825 days.
const DAYS: i64 = 820;
/// One that ends sooner than this is replaced.
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 86_400);
const DAY_NS: i64 = 86_400_000_000_000;

/// The one that is kept in the state directory, or a new one for the names of this machine that is kept from now on.
///
/// # Errors
/// [`Kind::FailedPrecondition`]: it cannot be written there.
pub fn kept(state_dir: &Path, now: WallTime) -> Result<Certificate> {
    let file = state_dir.join(FILE);
    let why = match fs::read_to_string(&file) {
        Ok(pem) => match read(&pem) {
            Some((certificate, ends)) if ends.nanos_since(now) > RENEWED_BEFORE.as_nanos() as i64 => {
                return Ok(certificate);
            }
            Some(_) => Some("ends soon"),
            None => Some("cannot be used"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some("cannot be read"),
    };
    if let Some(why) = why {
        tracing::warn!(file = %file.display(), "the self-signed certificate {why}; a new one takes its place");
    }
    let failed = || Error::new(Kind::Internal, "a self-signed certificate cannot be made");
    let pem = generate(&names(), now).map_err(|error| failed().caused_by(error))?;
    private_file::write(state_dir, FILE, &pem).map_err(|error| {
        Error::new(Kind::FailedPrecondition, format!("self-signed certificate {}: cannot be written", file.display()))
            .with_hint("state_dir in the configuration names the directory; the server needs to write there")
            .caused_by(error)
    })?;
    read(&pem).map(|(certificate, _)| certificate).ok_or_else(failed)
}

/// A certificate and its end.
fn read(pem: &str) -> Option<(Certificate, WallTime)> {
    let own = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&own).ok()?;
    let ends = WallTime::from_unix_nanos(parsed.validity().not_after.timestamp().saturating_mul(1_000_000_000));
    Certificate::new(vec![own.clone()], key).ok().map(|certificate| (certificate, ends))
}

/// What this machine is called: every address, and its host name, alone and as multicast DNS has it.
fn names() -> Vec<String> {
    let addresses = interfaces::addresses();
    let mut names: Vec<String> = addresses.iter().map(|address| address.to_canonical().to_string()).collect();
    names.push("localhost".to_owned());
    if let Some(host) = interfaces::host_name() {
        if !host.contains('.') {
            names.push(format!("{host}.local"));
        }
        names.push(host);
    }
    names.dedup();
    names
}

/// A new certificate and its key, PEM: a secret.
fn generate(names: &[String], now: WallTime) -> Result<String, rcgen::Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "campanile");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let day = |time: WallTime| {
        let second = jiff::Timestamp::from_second(time.unix_millis() / 1000).unwrap_or_default();
        let date = second.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    // By the day before: a client's clock may be behind ours.
    params.not_before = day(now.plus_nanos(-DAY_NS));
    params.not_after = day(now.plus_nanos(DAYS * DAY_NS));
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> WallTime {
        WallTime::from_unix_nanos(1_795_000_000_000_000_000).plus_nanos(days * DAY_NS)
    }

    #[test]
    fn a_fingerprint_stays_until_the_certificate_ends_or_cannot_be_used() {
        let directory = tempfile::tempdir().unwrap();
        let kept = |days| kept(&directory.path().join("deep"), at(days)).unwrap().fingerprint();
        let first = kept(0);
        assert_eq!((kept(1), kept(DAYS - 31)), (first, first));
        let second = kept(DAYS - 29);
        assert_ne!(first, second);
        fs::write(directory.path().join("deep").join(FILE), "rubbish").unwrap();
        assert_ne!(kept(DAYS - 29), second);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(directory.path().join("deep").join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn it_is_for_the_addresses_and_names_of_this_machine() {
        let names = names();
        assert!(["127.0.0.1", "localhost"].iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
        let pem = generate(&names, at(0)).unwrap();
        let own = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&own).unwrap();
        let said = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(said, names.len());
        assert!(parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp() <= 825 * 86_400);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = kept(&directory.path().join("file"), at(0)).unwrap_err();
        assert!(error.message().ends_with("tls.pem: cannot be written"), "{error}");
    }
}
