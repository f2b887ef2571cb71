//! What devices and systems send, one file per dialect: pure functions from a topic and a payload to [`Report`]s.
//!
//! They know no registry: what a sensor is called, what it is in, and whether its time can be believed is judged
//! elsewhere. Whatever comes in, they come back with at most [`REPORTS_MAX`] reports or an error of one line.

pub mod esphome;
pub mod frigate;
pub mod home_assistant;
pub mod json;
pub mod line_protocol;
pub mod pointer;
pub mod shelly;
pub mod tasmota;
pub mod value;
pub mod zigbee2mqtt;

use serde_json::{Map, Value};

use super::time::Stated;
use crate::{
    config::{SensorKind, Unit},
    events::payload::ReadingValue,
};

/// Reports of one message, at most.
pub const REPORTS_MAX: usize = 1_000;

/// What one message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A sensor was read.
    Sample(Sample),
    /// A device came or went.
    Availability {
        /// The device, as samples name it.
        device: String,
        /// It is there.
        online: bool,
    },
    /// Something happened at a camera.
    Camera(CameraReport),
}

/// A reading as a device tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The sensor, by the device's words; an id once it has passed the ids' own alphabet.
    pub sensor: String,
    /// The device it is part of.
    pub device: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// What it measures.
    pub kind: Option<SensorKind>,
    /// What was read.
    pub value: ReadingValue,
    /// The unit the number is in.
    pub unit: Option<Unit>,
    /// When, by the device's clock.
    pub time: Option<Stated>,
}

impl Sample {
    /// A value of a sensor, and nothing more.
    pub fn new(sensor: impl Into<String>, value: ReadingValue) -> Self {
        Self { sensor: sensor.into(), device: None, name: None, kind: None, value, unit: None, time: None }
    }
}

/// What a system that watches cameras says of one.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraReport {
    /// The camera, by that system's name.
    pub camera: String,
    /// `motion`, `person_detected`, …
    pub kind: String,
    /// Whatever else it says.
    pub details: Map<String, Value>,
}

/// Why a payload says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not UTF-8.
    #[error("not a text in UTF-8")]
    NotText,
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}")]
    NotJson {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// JSON of another shape.
    #[error("expected {0}")]
    Shape(&'static str),
    /// Nothing stands where the value should.
    #[error("nothing stands at `{0}`")]
    Missing(String),
    /// Neither a number, nor yes or no, nor a short text.
    #[error("`{0}` holds no value")]
    NoValue(String),
    /// A time that is none.
    #[error("`{0}` is no time")]
    NoTime(String),
    /// A kind or a unit that is none.
    #[error("`{0}`: {1}")]
    Word(&'static str, String),
    /// More than is taken at once.
    #[error("more than {REPORTS_MAX} readings in one message")]
    TooMany,
    /// A line that is none.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl From<&serde_json::Error> for FormatError {
    fn from(error: &serde_json::Error) -> Self {
        Self::NotJson { line: error.line(), column: error.column() }
    }
}

/// A payload as JSON.
///
/// # Errors
/// [`FormatError::NotJson`].
pub fn document(payload: &[u8]) -> Result<Value, FormatError> {
    serde_json::from_slice(payload).map_err(|error| FormatError::from(&error))
}

/// A payload as text without the blanks around it.
///
/// # Errors
/// [`FormatError::NotText`].
pub fn text(payload: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(payload).map(str::trim).map_err(|_| FormatError::NotText)
}

/// A device's word as a part of an id.
fn part(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
