//! The types of the configuration file, loading and validation.
//!
//! Each section is a type with its default; each kind of value is a type that parses. No service takes the whole
//! [`Config`]: each takes its own section. This room reads files and the environment; it watches nothing and owns no
//! running state.

pub mod acme;
pub mod address;
pub mod alert_topic;
mod amount;
pub mod auth;
pub mod auth_http;
pub mod bit_rate;
pub mod camera;
pub mod check;
mod decode;
pub mod duration;
pub mod environment;
pub mod events;
mod expression;
pub mod files;
pub mod hls;
pub mod hsts;
pub mod http;
pub mod ice_servers;
pub mod json_pointer;
pub mod jwt;
pub mod limits;
pub mod load;
pub mod log;
pub mod mqtt;
pub mod mqtt_topic;
pub mod networks;
pub mod notify;
pub mod on_demand;
pub mod origins;
pub mod path;
pub mod path_key;
pub mod path_secrets;
mod paths;
pub mod permission;
pub mod problem;
pub mod push;
pub mod rtsp;
pub mod rules;
pub mod sensor_kind;
pub mod sensors;
pub mod service_url;
pub mod size;
pub mod small_name;
pub mod source;
mod substitute;
mod template;
mod text;
pub mod threads;
pub mod tls;
pub mod tokens;
mod tree;
pub mod unit;
pub mod webrtc;
mod yaml;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use acme::{AcmeConfig, DomainName};
pub use address::ListenAddresses;
pub use alert_topic::{AlertTopic, MqttChannelConfig};
pub use auth::{AuthConfig, PasswordHash, UserConfig, UserName, UsersConfig};
pub use auth_http::AuthHttpConfig;
pub use bit_rate::BitRate;
pub use camera::{
    CameraTlsConfig, Fingerprint, QuirksConfig, SessionIdQuirk, SourceTransport, StrayDataQuirk, UnknownSenderQuirk,
};
pub use check::Complaint;
pub use duration::HumanDuration;
pub use environment::Environment;
pub use events::EventsConfig;
pub use files::{ConfigError, ConfigOrigin};
pub use hls::HlsConfig;
pub use hsts::Hsts;
pub use http::HttpConfig;
pub use ice_servers::{IceServerConfig, IceServerUrl, IceServerUrls};
pub use json_pointer::JsonPointer;
pub use jwt::JwtConfig;
pub use limits::LimitsConfig;
pub use load::{Files, Input, load};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use mqtt::{
    AnnounceConfig, BrokerConfig, MqttConfig, MqttPreset, MqttVersion, ServiceTlsConfig, TopicConfig, TopicFormat,
};
pub use mqtt_topic::{SensorTemplate, TopicPrefix, TopicTemplate};
pub use networks::{Network, NetworkError, Networks};
pub use notify::{
    AlertmanagerConfig, ChannelConfig, ChannelName, EmailConfig, MailEncryption, NotifyConfig, WebhookConfig,
};
pub use on_demand::OnDemandConfig;
pub use origins::AllowedOrigins;
pub use path::{BackoffConfig, HistoryConfig, PathConfig, SubConfig};
pub use path_key::{PathKey, PathPattern};
pub use paths::{CameraOptions, PathsConfig, ResolvedPath, ResolvedSource};
pub use permission::{Action, PathMatcher, PathMatcherError, PermissionConfig};
pub use problem::{Problem, Problems};
pub use push::PushConfig;
pub use rtsp::{RtspConfig, RtspStart, RtspTransport, UdpPorts};
pub use rules::{Rule, RuleConfig, RuleId};
pub use sensor_kind::SensorKind;
pub use sensors::{PullConfig, SensorConfig};
pub use service_url::{BrokerUrl, HttpUrl};
pub use size::ByteSize;
pub use source::{CameraUrl, Credentials, Source};
pub use threads::MediaThreads;
pub use tls::{TlsConfig, TlsFiles};
pub use tokens::{TokenAlgorithm, TokensConfig};
pub use unit::Unit;
pub use webrtc::WebRtcConfig;

use crate::base::{PathName, SensorId};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Campanile")]
pub struct Config {
    /// The directory of what outlives a restart. It is made if it is not there.
    pub state_dir: PathBuf,
    /// The path that the first page shows, and that commands without a camera's name mean; the first one if absent.
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
    /// A certificate from an authority, for listeners that say `tls: acme`.
    pub acme: AcmeConfig,
    /// WebRTC viewers (WHEP).
    pub webrtc: WebRtcConfig,
    /// How streams are cut for HLS players.
    pub hls: HlsConfig,
    /// Who may do what; `off` lets everybody do everything.
    pub auth: AuthConfig,
    /// Alerts and what happens at cameras: how long they are kept, and who gets them how.
    pub events: EventsConfig,
    /// How much is served at once.
    pub limits: LimitsConfig,
    /// The MQTT brokers that sensors report to.
    pub mqtt: MqttConfig,
    /// The sensors, by id. Those that come over MQTT and HTTP need no entry; one gives them a name, a unit, a path.
    #[schemars(with = "BTreeMap<String, SensorConfig>")]
    pub sensors: BTreeMap<SensorId, SensorConfig>,
    /// What raises an alert.
    pub rules: Vec<RuleConfig>,
    /// Who is told of alerts, and how.
    pub notify: NotifyConfig,
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
            acme: AcmeConfig::default(),
            webrtc: WebRtcConfig::default(),
            hls: HlsConfig::default(),
            auth: AuthConfig::default(),
            events: EventsConfig::default(),
            limits: LimitsConfig::default(),
            mqtt: MqttConfig::default(),
            sensors: BTreeMap::new(),
            rules: Vec::new(),
            notify: NotifyConfig::default(),
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

impl Config {
    /// The JSON Schema of the file, for editors and for the pages that edit it.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_at_the_top_are_those_the_environment_knows() {
        let shown = serde_json::to_value(Config::default()).unwrap();
        let mut keys: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = load::TOP.to_vec();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn the_schema_in_the_repository_is_that_of_the_types() {
        let committed: serde_json::Value = serde_json::from_str(include_str!("../../config/schema.json")).unwrap();
        assert!(committed == Config::schema(), "run: cargo run -- config schema > config/schema.json");
    }

    #[test]
    fn ranges_of_the_schema_are_those_that_are_checked() {
        let schema = Config::schema();
        let ranges = [
            ("/$defs/HttpConfig/properties/max_connections", check::CONNECTIONS),
            ("/$defs/RtspConfig/properties/max_connections", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/sessions", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/sessions_per_path", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/sessions_per_address", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/followers_per_user", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/followers_per_address", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/connections_per_address", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/requests_per_address", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/requests_per_user", check::CONNECTIONS),
            ("/$defs/LimitsConfig/properties/dynamic_paths", check::DYNAMIC_PATHS),
            ("/$defs/LimitsConfig/properties/sensors", check::SENSORS),
            ("/$defs/EventsConfig/properties/max_followers", check::CONNECTIONS),
            ("/$defs/EventsConfig/properties/graphql_max_depth", check::GRAPHQL_DEPTH),
            ("/$defs/EventsConfig/properties/graphql_max_complexity", check::CONNECTIONS),
            ("/$defs/EventsConfig/properties/max_posts_per_second", check::CONNECTIONS),
            ("/$defs/HlsConfig/properties/segments", check::SEGMENTS),
            ("/$defs/PathConfig/properties/max_readers", check::CONNECTIONS),
            ("/$defs/PushConfig/properties/max_subscriptions", check::notify::SUBSCRIPTIONS),
            ("/$defs/ChannelConfig/properties/level", 0..=u32::from(check::notify::LEVEL_MAX)),
            ("/$defs/AbsentCondition/properties/times", check::rules::TIMES),
        ];
        for (place, range) in ranges {
            let property = schema.pointer(place).unwrap_or_else(|| panic!("{place}"));
            assert_eq!(property["minimum"], *range.start(), "{place}");
            assert_eq!(property["maximum"], *range.end(), "{place}");
        }
    }

    #[test]
    fn a_configuration_shown_reads_back() {
        let json = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), Config::default());
    }
}
