//! What is known of a broker: whether we are connected, what came, what could not be read. Values only.

use std::time::Duration;

use super::sensor::Fault;
use crate::base::{Monotonic, WallTime};

/// Whether a broker can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// We try.
    #[default]
    Connecting,
    /// It takes us.
    Connected,
    /// It is away, or does not take us; we try again.
    Lost,
}

impl Link {
    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Lost => "lost",
        }
    }
}

/// A broker as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSnapshot {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Whether it can be reached.
    pub link: Link,
    /// Since when.
    pub since: Option<WallTime>,
    /// What is wrong.
    pub error: Option<String>,
    /// Connections since the start.
    pub connections: u64,
    /// Messages since the start.
    pub messages: u64,
    /// Messages that could not be read.
    pub bad: u64,
    /// The last one of them.
    pub last_error: Option<Fault>,
    /// Messages of ours it did not take.
    pub dropped: u64,
}

/// What is known of a broker.
#[derive(Debug)]
pub(super) struct BrokerState {
    pub(super) seen: BrokerSnapshot,
    pub(super) messages: u64,
    /// Camera events in the second that began then.
    reported: u32,
    second: Monotonic,
}

impl BrokerState {
    pub(super) fn new(name: &str) -> Self {
        let seen = BrokerSnapshot {
            name: name.to_owned(),
            url: String::new(),
            link: Link::Connecting,
            since: None,
            error: None,
            connections: 0,
            messages: 0,
            bad: 0,
            last_error: None,
            dropped: 0,
        };
        Self { seen, messages: 0, reported: 0, second: Monotonic::default() }
    }

    pub(super) fn snapshot(&self) -> BrokerSnapshot {
        BrokerSnapshot { messages: self.messages, ..self.seen.clone() }
    }

    pub(super) fn link(&mut self, link: Link, error: Option<String>, at: WallTime) {
        if link == Link::Connected {
            self.seen.connections += 1;
        }
        if link != self.seen.link || self.seen.since.is_none() {
            self.seen.since = Some(at);
        }
        self.seen.link = link;
        self.seen.error = error;
    }

    pub(super) fn fault(&mut self, message: String, at: WallTime) {
        self.seen.bad += 1;
        self.seen.last_error = Some(Fault { message: message.chars().take(300).collect(), at });
    }

    /// Whether one more camera event is within what a second may bring; what is not counts as bad.
    pub(super) fn may_report(&mut self, most: u32, now: Monotonic) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.reported) = (now, 0);
        }
        self.reported += 1;
        self.seen.bad += u64::from(self.reported > most);
        self.reported <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_reports_is_cut_and_counted() {
        let mut state = BrokerState::new("home");
        let at = |seconds: u64| Monotonic::from_nanos(seconds * 1_000_000_000);
        let let_through = (0..120).filter(|_| state.may_report(50, at(5))).count();
        assert_eq!((let_through, state.snapshot().bad), (50, 70));
        assert!(state.may_report(50, at(6)));
    }
}
