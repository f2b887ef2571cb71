//! The proxies of `docs/proxies.md`, as they stand there, in front of a server: names, ports and folders are put in, and
//! the certificate is left out.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::Instant};

use super::{
    ports::free_port,
    process::{PATIENCE, Process},
};

/// A proxy. Dropping it kills it.
pub struct Proxy {
    _process: Process,
    _folder: TempDir,
    pub address: SocketAddr,
}

impl Proxy {
    /// nginx, with its cache.
    pub async fn nginx(server: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let recipe = recipe("nginx");
        let tls = |line: &&str| line.trim_start().starts_with("ssl_certificate");
        let clear = recipe.lines().filter(|line| !tls(line)).collect::<Vec<_>>().join("\n");
        let here = folder.path().display();
        let recipe = put(&clear, "listen 443 ssl", &format!("listen {address}"));
        let recipe = put(&recipe, "127.0.0.1:8080", &server.to_string());
        let recipe = put(&recipe, "/var/cache/nginx/campanile", &format!("{here}/cache"));
        let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let bodies: String = bodies.iter().map(|kind| format!("{kind}_temp_path {here}/{kind};\n")).collect();
        let main = format!("pid {here}/pid;\nerror_log stderr;\ndaemon off;\nevents {{}}\n");
        let config = folder.path().join("nginx.conf");
        fs::write(&config, format!("{main}http {{\naccess_log off;\n{bodies}{recipe}\n}}\n")).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(config);
        Self::start(command, folder, address).await
    }

    /// Caddy.
    pub async fn caddy(server: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let recipe = put(&recipe("caddyfile"), "cameras.example.org", &format!("http://:{}", address.port()));
        let recipe = put(&recipe, "127.0.0.1:8080", &server.to_string());
        let config = folder.path().join("Caddyfile");
        fs::write(&config, format!("{{\n    admin off\n}}\n{recipe}\n")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        command.env("HOME", folder.path()).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        Self::start(command, folder, address).await
    }

    async fn start(mut command: Command, folder: TempDir, address: SocketAddr) -> Self {
        let mut process = Process::spawn("proxy", command.current_dir(folder.path()));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            let ended = process.ended(Duration::from_millis(50)).await;
            let output = || process.output().join("\n");
            assert!(ended.is_none() && Instant::now() < deadline, "the proxy did not start: {ended:?}\n{}", output());
        }
        Self { _process: process, _folder: folder, address }
    }

    pub fn http(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }
}

/// The first block of a language in the page.
fn recipe(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn put(recipe: &str, from: &str, to: &str) -> String {
    assert!(recipe.contains(from), "the recipe says {from}:\n{recipe}");
    recipe.replace(from, to)
}
