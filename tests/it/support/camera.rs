//! The camera made of GStreamer (`tests/cameras/gst_camera.py`) on a port of its own.

use std::{path::Path, process::Command};

use super::{process::Process, samples};

/// A running camera; login is `admin` / `secret` where one is asked for.
pub struct Camera {
    process: Process,
    port: u16,
    scheme: &'static str,
}

impl Camera {
    /// A camera whose mounts use these samples; `options` as the script explains.
    pub async fn start(samples: &[&str], options: &[String]) -> Self {
        for name in samples {
            samples::sample(name);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cameras/gst_camera.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args(options).env("SAMPLES", samples::folder());
        let mut process = Process::spawn("gst_camera", &mut command);
        let line = process.line(|line| line.starts_with("port ")).await;
        let port = line["port ".len()..].parse().unwrap();
        let scheme = if options.iter().any(|option| option.starts_with("tls=")) { "rtsps" } else { "rtsp" };
        Self { process, port, scheme }
    }

    /// The URL of a mount, which begins with a slash.
    pub fn url(&self, mount: &str) -> String {
        format!("{}://127.0.0.1:{}{mount}", self.scheme, self.port)
    }

    /// Sends a signal: `STOP` makes a camera that hangs, `KILL` one that lost its power.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }
}
