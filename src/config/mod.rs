//! The types of the configuration file, loading and validation.
//!
//! Each section is a type with its default; each kind of value is a type that parses. No service takes the whole
//! [`Config`]: each takes its own section. This room reads files and the environment; it watches nothing and owns no
//! running state.

pub mod address;
pub mod camera;
pub mod duration;
pub mod hls;
pub mod http;
pub mod limits;
pub mod log;
pub mod on_demand;
pub mod origins;
pub mod path;
pub mod paths;
pub mod rtsp;
pub mod size;
pub mod source;
mod text;
pub mod threads;
pub mod tls;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use address::ListenAddresses;
pub use camera::{
    CameraTlsConfig, Fingerprint, QuirksConfig, SessionIdQuirk, SourceTransport, StrayDataQuirk, UnknownSenderQuirk,
};
pub use duration::HumanDuration;
pub use hls::HlsConfig;
pub use http::HttpConfig;
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat, LogLevel};
pub use on_demand::OnDemandConfig;
pub use origins::AllowedOrigins;
pub use path::{BackoffConfig, HistoryConfig, PathConfig, SubConfig};
pub use paths::{CameraOptions, PathKey, PathPattern, PathsConfig, ResolvedPath, ResolvedSource};
pub use rtsp::{RtspConfig, RtspStart, RtspTransport, UdpPorts};
pub use size::ByteSize;
pub use source::{CameraUrl, Credentials, Source};
pub use threads::MediaThreads;
pub use tls::TlsConfig;

use crate::base::PathName;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Campanile")]
pub struct Config {
    /// The directory of what outlives a restart. It is made if it is not there.
    pub state_dir: PathBuf,
    /// The path that URLs without a camera's name mean; the first one if absent.
    #[schemars(with = "Option<String>")]
    pub default_path: Option<PathName>,
    /// Threads that move media, or `auto`: one per two cores.
    pub media_threads: MediaThreads,
    /// How long sessions may take to end when the server stops.
    pub drain: HumanDuration,
    /// What is written to the log.
    pub log: LogConfig,
    /// The HTTP listener: pages, API, HLS, metrics.
    pub http: HttpConfig,
    /// The RTSP listeners.
    pub rtsp: RtspConfig,
    /// How streams are cut for HLS players.
    pub hls: HlsConfig,
    /// How much is served at once.
    pub limits: LimitsConfig,
    /// The cameras: by name, or by a regular expression that begins with `~`.
    pub paths: PathsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("./state"),
            default_path: None,
            media_threads: MediaThreads::AUTO,
            drain: HumanDuration::from_secs(5),
            log: LogConfig::default(),
            http: HttpConfig::default(),
            rtsp: RtspConfig::default(),
            hls: HlsConfig::default(),
            limits: LimitsConfig::default(),
            paths: PathsConfig::default(),
        }
    }
}

impl Config {
    /// What a name stands for: see [`PathsConfig::resolve`].
    pub fn resolve(&self, name: &PathName) -> Option<ResolvedPath> {
        self.paths.resolve(name)
    }
}
