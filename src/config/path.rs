//! One entry of `paths`: where a camera is, how it is kept connected, how much of it is remembered, who may watch.

use std::{fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    ByteSize, CameraTlsConfig, HumanDuration, OnDemandConfig, QuirksConfig, RtspTransport, Source, SourceTransport,
};
use crate::base::{Secret, backoff::BackoffPolicy};

/// One path, or all paths whose name a regular expression matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathConfig {
    /// What feeds the path: `rtsp://…`, `rtsps://…`, or `demo` for the built-in camera. In a path that is a regular
    /// expression, `$1` and `${name}` stand for its groups.
    pub source: Option<Source>,
    /// The camera's user.
    pub username: Option<String>,
    /// The user's password. `${VARIABLE}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    pub password_file: Option<PathBuf>,
    /// The smaller rendition of the same camera, for tiles and thin lines: its URL, or an object with the same keys as
    /// here for what differs (`source`, `username`, `password`, `password_file`, `transport`, `tls`, `quirks`).
    #[schemars(schema_with = "sub_schema")]
    pub sub: Option<SubConfig>,
    /// The name people see; the path's name if there is none.
    pub title: Option<String>,
    /// The heading under which the dashboard lists the path.
    pub group: Option<String>,
    /// What the camera sends its media over: `tcp`, `udp`, or `auto` (UDP only when the camera refuses TCP).
    pub transport: SourceTransport,
    /// How the certificate of an `rtsps://` camera is judged; by default it must be valid.
    pub tls: CameraTlsConfig,
    /// Allowances for cameras that break the protocol.
    pub quirks: QuirksConfig,
    /// `true`: connect only while somebody watches; or an object with `start_timeout` and `close_after`.
    pub on_demand: OnDemandConfig,
    /// How long the camera may take to answer one request, or to accept the connection.
    pub request_timeout: HumanDuration,
    /// A camera that has sent nothing for this long counts as stalled.
    pub stalled_after: HumanDuration,
    /// A camera that has sent nothing for this long is connected anew.
    pub reconnect_after: HumanDuration,
    /// How long viewers are kept while the camera is away.
    pub hold_readers: HumanDuration,
    /// The waits between attempts to connect.
    pub backoff: BackoffConfig,
    /// How much of the stream is kept in memory, for instant starts and slow viewers.
    pub history: HistoryConfig,
    /// What RTSP readers of this path may use; what `rtsp.transports` allows if absent.
    pub rtsp_transports: Option<Vec<RtspTransport>>,
    /// Viewers of this path at once; absent: `limits.sessions_per_path`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_readers: Option<u32>,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            source: None,
            username: None,
            password: None,
            password_file: None,
            sub: None,
            title: None,
            group: None,
            transport: SourceTransport::Auto,
            tls: CameraTlsConfig::default(),
            quirks: QuirksConfig::default(),
            on_demand: OnDemandConfig::default(),
            request_timeout: HumanDuration::from_secs(10),
            stalled_after: HumanDuration::from_secs(5),
            reconnect_after: HumanDuration::from_secs(10),
            hold_readers: HumanDuration::from_secs(30),
            backoff: BackoffConfig::default(),
            history: HistoryConfig::default(),
            rtsp_transports: None,
            max_readers: None,
        }
    }
}

/// The waits between attempts to connect: each is drawn from zero to a ceiling that doubles from `first` to `most`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffConfig {
    /// The ceiling of the first wait.
    pub first: HumanDuration,
    /// The ceiling that later waits grow to.
    pub most: HumanDuration,
    /// After being connected for this long, the next loss starts again from `first`.
    pub stable_after: HumanDuration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        let policy = BackoffPolicy::default();
        let human = |span: std::time::Duration| HumanDuration::from_secs(span.as_secs());
        Self { first: human(policy.first), most: human(policy.most), stable_after: human(policy.stable_after) }
    }
}

impl BackoffConfig {
    /// The policy these numbers make.
    pub const fn policy(&self) -> BackoffPolicy {
        BackoffPolicy {
            first: self.first.duration(),
            most: self.most.duration(),
            stable_after: self.stable_after.duration(),
        }
    }
}

/// How much of a stream its ring keeps, for each rendition. It never holds less than `least`, then the current GOP
/// and `beyond_gop`, within `duration` and `size`; when one GOP alone breaks a bound, the bound wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// Kept whatever the GOP and its size.
    pub least: HumanDuration,
    /// Kept besides the current GOP, for those who start further back.
    pub beyond_gop: HumanDuration,
    /// The most that is kept, in time.
    pub duration: HumanDuration,
    /// The most that is kept, in memory.
    pub size: ByteSize,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            least: HumanDuration::from_secs(2),
            beyond_gop: HumanDuration::from_secs(0),
            duration: HumanDuration::from_secs(30),
            size: ByteSize::from_mib(16),
        }
    }
}

/// The smaller rendition of a camera. What is absent is as for the main one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct SubConfig {
    /// The URL of the smaller rendition.
    pub source: Option<Source>,
    /// The camera's user.
    pub username: Option<String>,
    /// The user's password.
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    pub password_file: Option<PathBuf>,
    /// What the camera sends its media over.
    pub transport: Option<SourceTransport>,
    /// How the certificate of an `rtsps://` camera is judged.
    pub tls: Option<CameraTlsConfig>,
    /// Allowances for cameras that break the protocol.
    pub quirks: Option<QuirksConfig>,
}

impl Serialize for SubConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.source {
            Some(source) if *self == (Self { source: Some(source.clone()), ..Self::default() }) => {
                source.serialize(serializer)
            }
            _ => Self::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SubConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlOrObject;
        impl<'de> Visitor<'de> for UrlOrObject {
            type Value = SubConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or an object with `source` and what differs from the main rendition")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SubConfig, E> {
                Ok(SubConfig { source: Some(text.parse().map_err(E::custom)?), ..SubConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SubConfig, A::Error> {
                SubConfig::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(UrlOrObject)
    }
}

/// The schema of [`SubConfig`]: a URL or the object.
pub(super) fn sub_schema(generator: &mut SchemaGenerator) -> Schema {
    let (url, object) = (generator.subschema_for::<Source>(), generator.subschema_for::<SubConfig>());
    schemars::json_schema!({ "anyOf": [url, object, { "type": "null" }] })
}
