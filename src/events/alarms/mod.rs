//! Alarms as people meet them: raised, updated, acknowledged, cleared; kept quiet, repeated, bundled, escalated.
//!
//! [`Alarms`] is sans-IO: [`Transition`](super::rules::Transition)s, what people do, and time come in; facts for the
//! log, notices for the ways out and documents to keep come out. It runs on the wall clock, for what people say
//! ("until six") is meant so; nothing here is faster than a second.

mod draft;
mod groups;
mod machine;
mod quiet;
mod record;
mod silence;
#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use self::{draft::of_deed, machine::FOREIGN};
pub use self::{
    machine::{AlarmError, Alarms, Output},
    record::{Alarm, Muted},
    silence::{Matcher, Silence},
};
use super::payload::Evidence;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub reason: Reason,
    /// The text its alerts are bundled by, if their rule has one.
    pub group: Option<String>,
    /// The worst of its alerts.
    pub severity: Severity,
    /// The fingerprints of its alerts, the oldest first.
    pub alerts: Vec<String>,
    /// The title of the first one.
    pub title: String,
}

/// Why people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An alert began.
    Raised,
    /// It goes on, and nobody took note.
    Reminder,
    /// The same, for so long that the next level is told, counted from one.
    Escalated(u8),
}
