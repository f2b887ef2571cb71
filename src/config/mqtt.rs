//! The section `mqtt`: the brokers that sensors report to, what is read there, and what is told there.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BrokerUrl, ByteSize, Fingerprint, HumanDuration, JsonPointer, SensorKind, SensorTemplate, TopicPrefix,
    TopicTemplate, Unit,
};
use crate::base::Secret;

/// The connections to MQTT brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// The brokers, by a name of your choice.
    pub brokers: BTreeMap<String, BrokerConfig>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// Where it is: `mqtt://host`, or `mqtts://host` for TLS.
    pub url: Option<BrokerUrl>,
    /// The protocol: `3.1.1` or `5`.
    pub version: MqttVersion,
    /// Our name at the broker. No two clients may have the same; by default one is drawn and kept.
    pub client_id: Option<String>,
    /// The user.
    pub username: Option<String>,
    /// The user's password. `${VARIABLE}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    pub password_file: Option<PathBuf>,
    /// How the broker's certificate is judged, and our own.
    pub tls: ServiceTlsConfig,
    /// How long the connection may be silent before it is tested.
    pub keep_alive: HumanDuration,
    /// The largest message that is taken.
    pub max_packet_size: ByteSize,
    /// Which systems report there.
    pub presets: Vec<MqttPreset>,
    /// The first levels of a system's topics, where they are not its usual ones.
    pub prefixes: BTreeMap<MqttPreset, TopicPrefix>,
    /// Further topics, one by one.
    pub topics: Vec<TopicConfig>,
    /// Tell Home Assistant of our cameras, sensors and alerts through this broker.
    pub announce: Option<AnnounceConfig>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            url: None,
            version: MqttVersion::V311,
            client_id: None,
            username: None,
            password: None,
            password_file: None,
            tls: ServiceTlsConfig::default(),
            keep_alive: HumanDuration::from_secs(30),
            max_packet_size: ByteSize::from_kib(256),
            presets: Vec::new(),
            prefixes: BTreeMap::new(),
            topics: Vec::new(),
            announce: None,
        }
    }
}

/// How the certificate of a server that we dial is judged. Without any key it must be valid for the host, by the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceTlsConfig {
    /// The authority that signed it, PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Accept exactly the certificate with this SHA-256 fingerprint, whoever signed it and whatever its names.
    pub fingerprint: Option<Fingerprint>,
    /// Accept any certificate. Whoever stands between can then read and change everything; prefer `fingerprint`.
    pub insecure: bool,
    /// Our own certificate, PEM, for servers that ask for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MqttVersion {
    /// MQTT 3.1.1, which every broker speaks.
    #[default]
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5, which says why something is refused.
    #[serde(rename = "5")]
    V5,
}

impl fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// A system whose messages are understood as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MqttPreset {
    /// Zigbee2MQTT, below `zigbee2mqtt`.
    Zigbee2mqtt,
    /// Tasmota, below `tele` and `stat`.
    Tasmota,
    /// ESPHome, below each node's name.
    Esphome,
    /// Shelly of both generations, below `shellies` and each device's name.
    Shelly,
    /// Whatever announces itself to Home Assistant, below `homeassistant`.
    HomeAssistant,
    /// Frigate's reviews, events and motion, below `frigate`. They become camera events, not sensors.
    Frigate,
}

impl MqttPreset {
    /// The first levels of its topics, where it has any in common.
    pub const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Zigbee2mqtt => Some("zigbee2mqtt"),
            Self::HomeAssistant => Some("homeassistant"),
            Self::Frigate => Some("frigate"),
            Self::Tasmota | Self::Esphome | Self::Shelly => None,
        }
    }

    /// The word of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zigbee2mqtt => "zigbee2mqtt",
            Self::Tasmota => "tasmota",
            Self::Esphome => "esphome",
            Self::Shelly => "shelly",
            Self::HomeAssistant => "home_assistant",
            Self::Frigate => "frigate",
        }
    }
}

/// A topic, and the sensor its messages are readings of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// The topic; `{name}` stands for one level and may be used in `sensor`.
    pub topic: TopicTemplate,
    /// The sensor's id. One that is not among `sensors` is made with the first message.
    pub sensor: SensorTemplate,
    /// How a message is read.
    #[serde(default)]
    pub format: TopicFormat,
    /// Where in the JSON the value stands; without it the message is a value or one of our readings.
    #[serde(default)]
    pub value: Option<JsonPointer>,
    /// Where in the JSON the time of the reading stands.
    #[serde(default)]
    pub time: Option<JsonPointer>,
    /// What the sensor measures, if it is not among `sensors`.
    #[serde(default)]
    pub kind: Option<SensorKind>,
    /// The unit the messages are in.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// How a message is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopicFormat {
    /// A plain number or word, or JSON.
    #[default]
    Reading,
    /// InfluxDB's line protocol.
    LineProtocol,
}

/// What is told to Home Assistant, and below which topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnnounceConfig {
    /// Where Home Assistant looks for announcements.
    pub discovery_prefix: TopicPrefix,
    /// Where our own topics begin.
    pub prefix: TopicPrefix,
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        let prefix = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("a plain word is a prefix"));
        Self { discovery_prefix: prefix("homeassistant"), prefix: prefix("campanile") }
    }
}
