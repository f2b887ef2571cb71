//! Alarms as people meet them: raised, updated, acknowledged, cleared; kept quiet, repeated, bundled, escalated.
//!
//! [`Alarms`] is sans-IO: [`Transition`](super::rules::Transition)s, what people do, and time come in; facts for the
//! log, notices for the ways out and documents to keep come out. It runs on the wall clock, for what people say
//! ("until six") is meant so; nothing here is faster than a second.

mod adopted;
mod draft;
mod groups;
mod machine;
mod quiet;
mod record;
mod silence;
mod telling;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(super) use self::{draft::of_deed, machine::FOREIGN};
pub use self::{
    machine::{AlarmError, Alarms, Output},
    record::{Alarm, Muted},
    silence::{Matcher, Silence},
};
use super::payload::{AlertRecord, Evidence};
use crate::base::{PathName, Severity, WallTime};

/// Whoever can show what an alert is about: the rooms of pictures and clips.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Where pictures and clips of a camera around a moment are, or will be. It answers at once and fetches nothing.
    fn evidence(&self, path: &PathName, at: WallTime) -> Vec<Evidence>;
}

/// Nobody saw anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn evidence(&self, _: &PathName, _: WallTime) -> Vec<Evidence> {
        Vec::new()
    }
}

/// Something that people should be told now. Ways out take it from here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// No other one has it; in the order of their times.
    pub id: String,
    /// When it was made.
    pub at: String,
    /// Why.
    pub reason: Reason,
    /// How many further levels were told of its alerts by now.
    pub level: u8,
    /// The text its alerts are bundled by, if their rule has one.
    pub group: Option<String>,
    /// The worst of its alerts, as bad as it ever was.
    pub severity: Severity,
    /// The title of the first one.
    pub title: String,
    /// Its alerts as they were then, the oldest first; [`Notice::ALERTS_MAX`] of them at most.
    pub alerts: Vec<AlertRecord>,
    /// How many there are.
    pub count: usize,
}

impl Notice {
    /// The most alerts that one carries.
    pub const ALERTS_MAX: usize = 50;
}

/// Why people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An alert began.
    Raised,
    /// It is worse than it was.
    Worsened,
    /// It goes on, and nobody took note.
    Reminder,
    /// The same, for so long that the next level is told, counted from one.
    Escalated(u8),
    /// Somebody took note: those who were told need not look any more.
    Acknowledged,
    /// It is over.
    Cleared,
    /// How things stand, for a way out that wants to be told again and again.
    Standing,
    /// Somebody tries a way out.
    Test,
}

impl Reason {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worsened => "worsened",
            Self::Reminder => "reminder",
            Self::Escalated(_) => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Standing => "standing",
            Self::Test => "test",
        }
    }
}
