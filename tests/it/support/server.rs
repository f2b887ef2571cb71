//! The real binary with a configuration of its own, every port chosen by the system, in a folder that goes with it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{PATIENCE, Process};

/// A running server. Dropping it kills it; a panic in its log fails the test.
pub struct Server {
    process: Process,
    addresses: Value,
    folder: TempDir,
    client: reqwest::Client,
}

impl Server {
    /// Starts a server whose configuration is `overrides` (sections as in the file) over a base with ports of its own.
    pub async fn start(overrides: Value) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), overrides, &[]).await
    }

    /// The same in a folder that exists (so that a restart finds its state), with more environment.
    pub async fn start_in(folder: TempDir, overrides: Value, environment: &[(&str, &str)]) -> Self {
        let addresses_file = folder.path().join("state/addresses.json");
        let _ = fs::remove_file(&addresses_file);
        let mut process = Process::spawn("campanile", &mut command(folder.path(), &overrides, environment));
        let deadline = Instant::now() + PATIENCE;
        let addresses = loop {
            let read = fs::read(&addresses_file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if let Some(addresses) = read {
                break addresses;
            }
            let ended = process.ended(Duration::from_millis(10)).await;
            let output = process.output().join("\n");
            assert!(ended.is_none() && Instant::now() < deadline, "the server did not start: {ended:?}\n{output}");
        };
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { process, addresses, folder, client }
    }

    /// Restarts it with another configuration over the same state. Ports change.
    pub async fn restart(mut self, overrides: Value) -> Self {
        self.terminate().await;
        Self::start_in(self.into_folder(), overrides, &[]).await
    }

    /// The folder of a server that ended, or ends with this.
    pub fn into_folder(mut self) -> TempDir {
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// The first bound address of a listener: `http`, `rtsp`, `rtsps`.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let address = self.addresses[listener][0].as_str();
        address.unwrap_or_else(|| panic!("no listener {listener} in {}", self.addresses)).parse().unwrap()
    }

    /// `http://127.0.0.1:port` and the path, which begins with a slash.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address("http"))
    }

    /// `rtsp://127.0.0.1:port/` and the name.
    pub fn rtsp(&self, name: &str) -> String {
        format!("rtsp://{}/{name}", self.address("rtsp"))
    }

    /// An HTTP client without a proxy and with a time-out.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// GETs a URL of this server.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.http(path)).send().await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Waits until it says that it takes requests: it writes its addresses down a moment before.
    pub async fn serving(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/readyz").await.status() != 200 {
            assert!(Instant::now() < deadline, "the server is not ready after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// GETs a URL of this server that must answer 200 with JSON.
    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "GET {path}");
        response.json().await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// What the API says about a path.
    pub async fn path(&self, name: &str) -> Value {
        self.json(&format!("/api/v1/paths/{name}")).await
    }

    /// Waits until the API says of a path what `wanted` asks for.
    pub async fn path_until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = self.path(name).await;
            if wanted(&path) {
                return path;
            }
            assert!(Instant::now() < deadline, "path {name} is not {what} after {PATIENCE:?}: {path:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a path is in a state: `idle`, `waiting`, `ready`, `stalled`, `lost`.
    pub async fn state(&self, name: &str, state: &str) -> Value {
        self.path_until(name, state, |path| path["state"] == state).await
    }

    /// The log so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.process.output()
    }

    /// The first line of the log that `wanted` accepts, waited for.
    pub async fn log_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.process.line(wanted).await
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The folder it runs in; `state/` and `campanile.yaml` are there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Its exit status, if it ends in time.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        self.process.ended(within).await
    }

    /// SIGTERM, and the exit it leads to.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let status = self.ended(PATIENCE).await;
        status.unwrap_or_else(|| panic!("did not end on SIGTERM:\n{}", self.log().join("\n")))
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// How many file descriptors it holds.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let log = self.process.output();
        if thread::panicking() {
            let tail = &log[log.len().saturating_sub(60)..];
            eprintln!("--- the server's log, last {} lines\n{}", tail.len(), tail.join("\n"));
        }
        // One panic is another's and is caught: retina's reader of SDP has an assertion that cameras can fail.
        let ours = |line: &&String| {
            line.contains("ended in a panic") || line.contains("panicked at") && !line.contains("/sdp-types-0.1.8/")
        };
        if let Some(line) = log.iter().find(ours).filter(|_| !thread::panicking()) {
            panic!("the server panicked: {line}\n{}", log.join("\n"));
        }
    }
}

/// The command that serves `overrides` in `folder`: for tests in which it must not start.
pub fn command(folder: &Path, overrides: &Value, environment: &[(&str, &str)]) -> Command {
    let file = config_file(folder, overrides);
    let mut command = campanile(folder);
    command.args(["serve", "--config"]).arg(file).envs(environment.iter().copied());
    command
}

/// The binary in `folder`, in an environment that holds nothing of the machine's.
pub fn campanile(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Writes a configuration: `overrides` over a base with a state folder and ports of its own.
pub fn config_file(folder: &Path, overrides: &Value) -> PathBuf {
    let mut config = json!({
        "state_dir": folder.join("state"),
        "log": { "level": "debug" },
        "http": { "address": "127.0.0.1:0" },
        "rtsp": { "address": "127.0.0.1:0", "udp_ports": [0, 0] },
        "webrtc": { "address": "127.0.0.1:0" },
        // Most tests are about something else; those of users set this section.
        "auth": "off",
    });
    merge(&mut config, overrides);
    let file = folder.join("campanile.yaml");
    // JSON is YAML.
    fs::write(&file, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    file
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
