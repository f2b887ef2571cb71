//! Mosquitto, the broker of the distribution, with users and TLS, on ports of its own that a restart keeps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    ports::free_port,
    process::{PATIENCE, Process, run},
    tls::Identity,
};

/// A user, and the password.
pub const USER: (&str, &str) = ("campanile", "hunter2");

/// A broker. Dropping it kills it.
pub struct Mosquitto {
    folder: TempDir,
    process: Option<Process>,
    pub port: u16,
    pub tls_port: u16,
    pub identity: Identity,
}

impl Mosquitto {
    /// Starts one that takes [`USER`] alone.
    pub async fn start() -> Self {
        let (folder, identity) = (tempfile::tempdir().unwrap(), Identity::new());
        let (port, tls_port) = (free_port(), free_port());
        let passwords = folder.path().join("passwords");
        run(Command::new("mosquitto_passwd").arg("-b").arg("-c").arg(&passwords).args([USER.0, USER.1]))
            .await
            .success();
        let config = format!(
            "per_listener_settings false\nallow_anonymous false\npassword_file {}\nuser root\nlog_dest stderr\n\
             listener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
            passwords.display(),
            identity.certificate.display(),
            identity.key.display(),
        );
        fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { folder, process: None, port, tls_port, identity };
        broker.restart().await;
        broker
    }

    /// Starts it anew, after [`Mosquitto::kill`].
    pub async fn restart(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.config());
        let mut process = Process::spawn("mosquitto", &mut command);
        process.line(|line| line.contains(" running")).await;
        self.process = Some(process);
    }

    /// As when the machine loses its power: nobody is told.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal("KILL");
        process.ended(PATIENCE).await.unwrap();
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("mosquitto.conf")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-u", USER.0, "-P", USER.1]);
        command
    }

    /// Publishes a message.
    pub async fn publish(&self, topic: &str, payload: &str) {
        run(self.client("mosquitto_pub").args(["-t", topic, "-m", payload])).await.success();
    }

    /// Publishes a message that the broker keeps.
    pub async fn publish_retained(&self, topic: &str, payload: &str) {
        run(self.client("mosquitto_pub").args(["-r", "-t", topic, "-m", payload])).await.success();
    }

    /// The next message of a topic, one that is kept among them.
    pub async fn message(&self, topic: &str) -> String {
        let ran = run(self.client("mosquitto_sub").args(["-t", topic, "-C", "1", "-W", "30"])).await.success();
        ran.text().trim_end().to_owned()
    }

    /// Waits until the kept message of a topic is `wanted`.
    pub async fn kept(&self, topic: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.message(topic).await;
            if wanted(&message) {
                return message;
            }
            assert!(Instant::now() < deadline, "{topic}: {message}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its certificate, which is its own authority.
    pub fn certificate(&self) -> &Path {
        &self.identity.certificate
    }
}
