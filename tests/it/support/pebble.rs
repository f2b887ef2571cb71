//! Pebble, the ACME authority that Let's Encrypt tests clients with, and the DNS of the test beside it: every name leads to
//! 127.0.0.1.

use std::{fs, path::PathBuf, process::Command};

use serde_json::json;
use tempfile::TempDir;

use super::{
    ports::free_port,
    process::{PATIENCE, Process},
    tls::Identity,
};

/// An authority that asks `tls_port` and `http_port`. Dropping it kills it.
pub struct Pebble {
    folder: TempDir,
    identity: Identity,
    dns: u16,
    port: u16,
    pub http_port: u16,
    pub tls_port: u16,
    processes: Vec<Process>,
}

impl Pebble {
    /// One that is not running yet; what it issues is good for so many seconds.
    pub fn new(seconds: u64) -> Self {
        let (folder, identity) = (tempfile::tempdir().unwrap(), Identity::new());
        let [dns, port, http_port, tls_port] = [(); 4].map(|()| free_port());
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{}", free_port()),
            "certificate": identity.certificate,
            "privateKey": identity.key,
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        fs::write(folder.path().join("pebble.json"), config.to_string()).unwrap();
        Self { folder, identity, dns, port, http_port, tls_port, processes: Vec::new() }
    }

    /// Starts it.
    pub async fn start(&mut self) {
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        dns.args(["-dns01", &format!("127.0.0.1:{}", self.dns), "-management", &format!("127.0.0.1:{}", free_port())]);
        let mut dns = Process::spawn("dns", &mut dns);
        dns.line(|line| line.contains("Starting management server")).await;
        let mut pebble = Command::new("pebble");
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        pebble.arg("-config").arg(self.folder.path().join("pebble.json"));
        pebble.args(["-dnsserver", &format!("127.0.0.1:{}", self.dns)]);
        let mut pebble = Process::spawn("pebble", &mut pebble);
        pebble.line(|line| line.contains("ACME directory available at")).await;
        self.processes = vec![dns, pebble];
    }

    /// Ends it.
    pub async fn kill(&mut self) {
        for mut process in std::mem::take(&mut self.processes) {
            process.signal("KILL");
            process.ended(PATIENCE).await.unwrap();
        }
    }

    /// The section `acme` for it.
    pub fn section(&self) -> serde_json::Value {
        json!({
            "domains": ["cams.example"],
            "directory": format!("https://127.0.0.1:{}/dir", self.port),
            "ca_file": self.ca(),
        })
    }

    fn ca(&self) -> PathBuf {
        self.identity.certificate.clone()
    }
}
