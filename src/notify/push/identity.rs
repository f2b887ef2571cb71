//! The key of VAPID in its file: made once and kept, for every subscription belongs to it.

use std::{fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::vapid::Vapid;
use crate::base::{Error, Kind, Result, private_file};

/// The file in the state directory.
pub(super) const FILE: &str = "push.pem";

/// The key kept in the state directory, or a new one that is kept there from now on. A file that holds no key stays as it
/// is: to replace it would end every subscription.
///
/// # Errors
/// [`Kind::FailedPrecondition`]: the file cannot be read or written, or holds no key.
pub fn kept(state_dir: &Path) -> Result<Vapid> {
    let file = state_dir.join(FILE);
    let wrong = |what: &str| Error::new(Kind::FailedPrecondition, format!("push key {}: {what}", file.display()));
    match fs::read(&file) {
        Ok(pem) => {
            // The parser's words could quote the key: they are left out.
            let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| {
                wrong("holds no private key").with_hint("restore the file, or remove it: browsers then subscribe anew")
            })?;
            Vapid::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| error.context(file.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let der = Vapid::generate()?;
            private_file::write(state_dir, FILE, &pem(&der))
                .map_err(|error| wrong("cannot be written").caused_by(error))?;
            Vapid::from_pkcs8(&der)
        }
        Err(error) => Err(wrong("cannot be read").caused_by(error)),
    }
}

/// RFC 7468 §10.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (place, c) in text.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_outlives_a_restart_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let public = kept(&state).unwrap().public().to_owned();
        assert_eq!(kept(&state).unwrap().public(), public);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "hunter2").unwrap();
        let error = kept(folder.path()).unwrap_err();
        assert!(error.chain().contains("holds no private key") && !error.chain().contains("hunter2"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "hunter2");
    }
}
