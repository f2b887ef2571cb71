//! One entry of the section `sensors`: what a sensor is called, what it measures, where it belongs, where it is fetched.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpUrl, HumanDuration, JsonPointer, SensorKind, ServiceTlsConfig, Unit};
use crate::base::{PathName, Secret};

/// One sensor. Its readings come over MQTT, over HTTP, or by `pull`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// The name people see; the id if there is none.
    pub name: Option<String>,
    /// What it measures: `temperature`, `humidity`, `motion`, `smoke`, `water`, `door`, `power`, `air`, or another word.
    pub kind: Option<SensorKind>,
    /// The unit its numbers are kept and shown in; the kind's own if absent. Readings in others are converted.
    pub unit: Option<Unit>,
    /// How often it reports. Three times as long without a reading, and it is stale; never, if absent.
    pub expected_interval: Option<HumanDuration>,
    /// The path it belongs to.
    #[schemars(with = "Option<String>")]
    pub path: Option<PathName>,
    /// Fetch its readings from a URL.
    pub pull: Option<PullConfig>,
}

/// Where a sensor's readings are fetched, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullConfig {
    /// The URL: JSON, or a plain number or word.
    pub url: HttpUrl,
    /// How often.
    #[serde(default = "interval")]
    pub interval: HumanDuration,
    /// Where in the JSON the value stands; without it the answer is a value or one of our readings.
    #[serde(default)]
    pub value: Option<JsonPointer>,
    /// Where in the JSON the time of the reading stands.
    #[serde(default)]
    pub time: Option<JsonPointer>,
    /// The unit the answer is in, if that is not the sensor's.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// The user, for HTTP's Basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password. `${VARIABLE}` takes it from the environment.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// How the server's certificate is judged, and our own.
    #[serde(default)]
    pub tls: ServiceTlsConfig,
}

const fn interval() -> HumanDuration {
    HumanDuration::from_secs(30)
}
