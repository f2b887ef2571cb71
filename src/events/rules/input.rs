//! What rules look at, and what they find.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    base::{PathName, SensorId, Severity, WallTime},
    events::payload::ReadingValue,
};

/// What a rule's alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// This server.
    Server,
    /// A sensor.
    Sensor(SensorId),
    /// A camera, or a label that came with an event.
    Path(PathName),
}

impl Subject {
    /// The first one in their order.
    pub(super) const fn lowest() -> Self {
        Self::Server
    }
}

/// A sensor that is known, whether it has shown something or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub sensor: SensorId,
    /// The name people know it by.
    pub name: String,
    /// `temperature`, `motion`, …
    pub kind: String,
    /// Of its numbers.
    pub unit: Option<String>,
    /// The camera it belongs to.
    pub path: Option<PathName>,
    /// How often it should show something.
    pub every: Option<Duration>,
}

/// What a sensor showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which.
    pub sensor: SensorId,
    /// What.
    pub value: ReadingValue,
    /// When it was read, by its own account.
    pub time: WallTime,
}

/// Something that happened at a camera, or was said to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// `motion`, `doorbell_pressed`, …
    pub kind: String,
    /// The server says it of its own security. What others say never is, whatever their words.
    pub security: bool,
    /// Where. Without it, it is about the server.
    pub path: Option<PathName>,
    /// When, by its sender's account.
    pub time: WallTime,
}

impl Occurrence {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.path.clone().map_or(Subject::Server, Subject::Path)
    }
}

/// The room on the disk of the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// What is left, in bytes.
    pub free: u64,
    /// All of it, in bytes.
    pub total: u64,
}

/// What an alarm rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was read.
    pub value: Option<ReadingValue>,
    /// Of the value and the threshold.
    pub unit: Option<String>,
    /// What the value was compared with.
    pub threshold: Option<f64>,
    /// When it was read, by its own account; nanoseconds since the Unix epoch on disk.
    #[serde(with = "super::saved::wall")]
    pub time: WallTime,
}

impl Finding {
    /// Whether both say the same, whenever that was read.
    pub(super) fn says(&self, other: &Self) -> bool {
        let Self { severity, value, unit, threshold, time: _ } = self;
        (severity, value, unit, threshold) == (&other.severity, &other.value, &other.unit, &other.threshold)
    }
}
