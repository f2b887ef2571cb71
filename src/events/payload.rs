//! What stands in `data`, by type of event: every shape in one place, as it goes over the wire.
//!
//! Times are RFC 3339 with milliseconds, durations and rates are numbers with the unit in their name.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::envelope::{SensorId, Severity};
use crate::{
    base::PathName,
    config::{UserName, rules::SecurityKind},
};

/// What a sensor showed: a number in its unit, yes or no, or a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReadingValue {
    /// Something happens or does not: motion, smoke, an open door.
    Flag(bool),
    /// In the sensor's unit; always finite.
    Number(f64),
    /// A state with a name.
    Text(String),
}

impl fmt::Display for ReadingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => fmt::Display::fmt(flag, f),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `data` of an `alert`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// What changed.
    pub change: AlertChange,
    /// The alert as it stands after that.
    pub alert: AlertRecord,
    /// What bundles it with others, if its rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many further levels were told because nobody took note; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<u8>,
    /// Nothing changed; it only goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder: Option<bool>,
}

/// What changed of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertChange {
    /// It began.
    Raised,
    /// It goes on, with another value or severity, or as a reminder.
    Updated,
    /// Somebody took note.
    Acknowledged,
    /// It is over.
    Cleared,
}

impl AlertChange {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Updated => "updated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
        }
    }
}

/// `data` of an `audit`: somebody did something to this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// What: `alert.acknowledged`, `silence.added`, `rule.changed`, `command`, …
    pub action: String,
    /// Who.
    pub by: String,
    /// To what: a fingerprint, an id, a name.
    pub target: String,
    /// What they said of it.
    pub note: Option<String>,
    /// Of a `command`: what was asked for, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandDeed>,
}

/// A command that somebody had done, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandDeed {
    /// What it was given.
    pub params: serde_json::Value,
    /// Whether it was done.
    pub success: bool,
    /// Why not: a stable code.
    pub error: Option<String>,
}

/// One alert, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// The same for every alert of the same rule about the same thing; 16 hexadecimal digits.
    pub fingerprint: String,
    /// The rule that raised it.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it goes on.
    pub state: AlertState,
    /// One line for people, from the rule's template: device, value and the reading's own time.
    pub title: String,
    /// A sentence for people.
    pub message: String,
    /// The camera it is about.
    pub path: Option<PathName>,
    /// The sensor it is about.
    pub sensor: Option<SensorId>,
    /// What was read.
    pub value: Option<ReadingValue>,
    /// The unit of the value and the threshold.
    pub unit: Option<String>,
    /// What the value was compared with.
    pub threshold: Option<f64>,
    /// When it began: the time of the reading.
    pub started_at: String,
    /// When it last changed.
    pub updated_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Who took note.
    pub ack: Option<Acknowledgement>,
    /// Pictures and clips.
    pub evidence: Vec<Evidence>,
}

/// Whether an alert goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It goes on.
    Active,
    /// It is over.
    Cleared,
}

/// Somebody took note of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
    /// What they said.
    pub note: Option<String>,
    /// Until when it holds; for the rest of the alert if absent.
    pub until: Option<String>,
}

/// A picture or a clip that shows what an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `picture` or `clip`.
    pub kind: String,
    /// `before`, `at` or `after` the moment.
    pub moment: String,
    /// Where it is, relative to the server.
    pub url: String,
}

/// `data` of a `security` event: somebody may be trying to get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityEvent {
    /// What.
    pub kind: SecurityKind,
    /// From where; of IPv6 the /64.
    pub address: IpAddr,
    /// The name that was tried last, if it is one that a user could have.
    pub name: Option<UserName>,
    /// How often, since that was told last.
    pub count: u32,
}

/// `data` of a `camera_event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraEvent {
    /// `online`, `offline`, `stalled`, `recovered`, `motion`, `doorbell_pressed`, `face_detected`, or what a sender says.
    pub kind: String,
    /// Whatever else belongs to it.
    #[serde(flatten)]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// `data` of a `sensor_reading`; the envelope names the sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensorReading {
    /// The name people see.
    pub name: String,
    /// `temperature`, `motion`, …
    pub kind: String,
    /// What it shows; nothing before the first reading.
    pub value: Option<ReadingValue>,
    /// Of a number.
    pub unit: Option<String>,
    /// When it was read.
    pub time: Option<String>,
    /// It is older than the sensor's interval allows.
    pub stale: bool,
    /// What is wrong on the way to it, which is another thing than silence: its broker is away, its URL does not answer.
    pub source_error: Option<String>,
}

/// `data` of a `statistics_update`. What moves all the time (uptime, memory, processor, rates within a quarter) is no
/// change by itself: it comes along with the next one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// How long the server has been running.
    pub uptime_s: u64,
    /// Memory in use.
    pub memory_bytes: u64,
    /// Of one core.
    pub cpu_percent: f64,
    /// What is free where the state is kept.
    pub disk_free_bytes: Option<u64>,
    /// Paths.
    pub cameras: u64,
    /// Paths that show something.
    pub cameras_active: u64,
    /// Who watches, on all protocols.
    pub viewers: u64,
    /// Who watches, by protocol.
    pub viewers_by_protocol: BTreeMap<String, u64>,
    /// What comes from all cameras.
    pub received_bps: u64,
    /// What goes to all viewers.
    pub sent_bps: u64,
    /// Alerts that were raised today, by severity.
    pub alerts_today: BTreeMap<String, u64>,
    /// Facts in the last minute.
    pub events_per_minute: u64,
    /// What a `people` event said last, else how many names were recognised.
    pub total_people: u64,
    /// Faces recognised today.
    pub recognitions_today: u64,
    /// When the last one was.
    pub last_recognition: Option<String>,
    /// By camera.
    pub paths: Vec<PathStatistics>,
}

/// One camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathStatistics {
    /// Its name.
    pub path: String,
    /// `idle`, `waiting`, `ready`, `stalled` or `lost`.
    pub state: String,
    /// Who watches it.
    pub viewers: u64,
    /// What comes from it.
    pub received_bps: u64,
    /// What goes to its viewers.
    pub sent_bps: u64,
    /// Packets of it that did not arrive.
    pub packets_lost: u64,
    /// Connections to it beyond the first.
    pub reconnects: u64,
}
