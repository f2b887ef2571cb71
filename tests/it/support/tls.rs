//! A certificate of our own for 127.0.0.1, in files, as cameras and servers want them.

use std::{fs, path::PathBuf};

use sha2::Digest as _;
use tempfile::TempDir;

/// A self-signed certificate and its key.
pub struct Identity {
    _folder: TempDir,
    pub certificate: PathBuf,
    pub key: PathBuf,
    der: Vec<u8>,
}

impl Identity {
    /// Makes one.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { certificate, key, der: made.cert.der().to_vec(), _folder: folder }
    }

    /// The SHA-256 of the certificate, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        sha2::Sha256::digest(&self.der).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
