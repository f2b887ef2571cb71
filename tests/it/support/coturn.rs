//! coturn, the TURN server of the distribution, on loopback, with the secret of the TURN REST API.

use std::process::Command;

use tempfile::TempDir;

use super::{ports::free_port, process::Process};

/// What it shares with the server under test.
pub const SECRET: &str = "north-by-northwest";

/// A TURN server. Dropping it kills it.
pub struct Coturn {
    process: Process,
    _folder: TempDir,
    pub port: u16,
}

impl Coturn {
    /// Starts one that relays to peers on loopback.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("turnserver");
        command.args(["-n", "--log-file=stdout", "--simple-log", "--verbose", "--no-cli", "--no-tls", "--no-dtls"]);
        command.args([
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--allow-loopback-peers",
            "--realm=campanile",
        ]);
        command.args([
            "--use-auth-secret",
            &format!("--static-auth-secret={SECRET}"),
            &format!("--listening-port={port}"),
        ]);
        command.arg(format!("--pidfile={}", folder.path().join("pid").display()));
        command.arg(format!("--userdb={}", folder.path().join("users").display()));
        let mut process = Process::spawn("turnserver", command.current_dir(folder.path()));
        process.line(|line| line.contains("IPv4. UDP listener opened on")).await;
        Self { process, _folder: folder, port }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    /// What it has said so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.process.output()
    }
}
