//! One notice on its way to one recipient, as the outbox keeps it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{base::WallTime, config::ChannelName, events::alarms::Notice};

/// What was given up, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
}

/// A notice for one recipient of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Its place in the outbox; the order within a lane.
    pub number: u64,
    /// By which channel.
    pub channel: ChannelName,
    /// To whom, if the channel has several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recipient: String,
    /// What is to be told.
    pub notice: Arc<Notice>,
    /// When it was put into the outbox, in nanoseconds since 1970; its age counts from here.
    pub since: i64,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts that the receiver answered and failed over.
    #[serde(default)]
    pub failures: u32,
    /// What was wrong the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// It was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<Dead>,
    /// It is not worth keeping: the next one of its kind says more.
    #[serde(skip)]
    pub passing: bool,
}

impl Letter {
    /// One that was not tried yet; the outbox gives it its number.
    pub fn new(channel: ChannelName, recipient: String, notice: Arc<Notice>, now: WallTime) -> Self {
        Self {
            number: 0,
            channel,
            recipient,
            notice,
            since: now.unix_nanos(),
            attempts: 0,
            failures: 0,
            last_error: None,
            dead: None,
            passing: false,
        }
    }
}
