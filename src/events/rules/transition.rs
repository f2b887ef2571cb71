//! What comes out of the rules: the alarm of one rule about one subject changed.

use std::sync::Arc;

use super::input::{Finding, Subject};
use crate::{
    base::{PathName, WallTime},
    config::Rule,
};

/// The alarm of a rule about a subject changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Whose.
    pub rule: Arc<Rule>,
    /// What it is about.
    pub subject: Subject,
    /// The name people know that by.
    pub device: String,
    /// The camera it belongs to.
    pub path: Option<PathName>,
    /// What happened.
    pub change: Change,
    /// When.
    pub at: WallTime,
}

/// What happened to an alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It began.
    Raised(Finding),
    /// It goes on, and rests on something else.
    Changed(Finding),
    /// It is over.
    Cleared,
}
