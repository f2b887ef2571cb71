//! The alert about the disk itself: raised when commits are late or fail, cleared when they have gone well for a while.
//! Sans-IO.

use std::{collections::BTreeMap, time::Duration};

use super::{
    envelope::{Draft, EventType, Severity},
    payload::{AlertChange, AlertEvent, AlertRecord, AlertState},
};
use crate::base::{Monotonic, WallTime};

/// How long commits have to go well before it is over.
const WELL_FOR: Duration = Duration::from_secs(30);

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A commit takes too long.
    Late,
    /// It fails, with this said of it.
    Failing(String),
}

/// Whether there is an alert, and which.
#[derive(Debug, Default)]
pub(super) struct DiskAlert {
    raised: Option<AlertRecord>,
    well_since: Option<Monotonic>,
}

impl DiskAlert {
    /// The disk does so now: what there is to tell, if anything.
    pub(super) fn handle_disk(&mut self, trouble: Option<&Trouble>, now: Monotonic, wall: WallTime) -> Option<Draft> {
        let Some(trouble) = trouble else {
            let since = *self.well_since.get_or_insert(now);
            if self.raised.is_none() || now.since(since) < WELL_FOR {
                return None;
            }
            let mut alert = self.raised.take()?;
            (alert.state, alert.ended_at) = (AlertState::Cleared, Some(wall.to_string()));
            alert.updated_at = wall.to_string();
            return Some(draft(AlertChange::Cleared, &alert, wall));
        };
        self.well_since = None;
        let (severity, message) = match trouble {
            Trouble::Late => {
                (Severity::Warning, "the disk takes long: events are given out before they are saved".to_owned())
            }
            Trouble::Failing(why) => (Severity::Critical, format!("events are not saved: {why}")),
        };
        let (change, alert) = match &mut self.raised {
            Some(alert) if alert.severity >= severity => return None,
            Some(alert) => {
                (alert.severity, alert.message, alert.updated_at) = (severity, message, wall.to_string());
                (AlertChange::Updated, &*alert)
            }
            empty => {
                let alert = record(severity, "The disk does not keep up".into(), message, "disk", wall);
                (AlertChange::Raised, &*empty.insert(alert))
            }
        };
        Some(draft(change, alert, wall))
    }

    /// When to ask again although nothing changed.
    pub(super) fn poll_deadline(&self) -> Option<Monotonic> {
        self.raised.as_ref().and(self.well_since).map(|since| since + WELL_FOR)
    }
}

/// The alert about a file that was set aside: raised once, nothing ends it but taking note.
pub(super) fn set_aside(file: &str, now: &str, wall: WallTime) -> Draft {
    let title = format!("{file} was damaged");
    let message = format!("it is kept as {now}; a new file began, and what the old one held is not served any more");
    draft(AlertChange::Raised, &record(Severity::Critical, title, message, "store", wall), wall)
}

fn record(severity: Severity, title: String, message: String, rule: &str, wall: WallTime) -> AlertRecord {
    AlertRecord {
        fingerprint: fingerprint(rule, &title),
        rule: rule.to_owned(),
        severity,
        state: AlertState::Active,
        title,
        message,
        path: None,
        sensor: None,
        value: None,
        unit: None,
        threshold: None,
        started_at: wall.to_string(),
        updated_at: wall.to_string(),
        ended_at: None,
        ack: None,
        evidence: Vec::new(),
    }
}

/// The same for the same rule about the same thing.
fn fingerprint(rule: &str, about: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(format!("{rule}\0{about}"));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn draft(change: AlertChange, alert: &AlertRecord, wall: WallTime) -> Draft {
    let name = change.name();
    let event = AlertEvent { change, alert: alert.clone(), group: None, escalation: None, reminder: None };
    Draft {
        kind: EventType::Alert,
        name: name.into(),
        time: wall,
        path: None,
        sensor: None,
        severity: Some(alert.severity),
        data: data(&event),
    }
}

/// A payload as the `data` of an envelope.
pub(super) fn data<T: serde::Serialize>(payload: &T) -> Box<serde_json::value::RawValue> {
    // Payloads are structs with names for keys: they always are JSON.
    serde_json::value::to_raw_value(payload)
        .or_else(|_| serde_json::value::to_raw_value(&BTreeMap::<&str, &str>::new()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_an_alert_that_worsens_once_and_ends_after_a_while() {
        let wall = WallTime::from_unix_nanos(0);
        let at = |seconds: u64| Monotonic::from_nanos((100 + seconds) * 1_000_000_000);
        let failing = Trouble::Failing("facts.db: the disk is full".into());
        let mut alert = DiskAlert::default();
        let table: [(Option<&Trouble>, u64, Option<&str>); 9] = [
            (None, 0, None),
            (Some(&Trouble::Late), 1, Some("raised")),
            (Some(&Trouble::Late), 2, None),
            (Some(&failing), 3, Some("updated")),
            (Some(&Trouble::Late), 4, None),
            (None, 5, None),
            (Some(&Trouble::Late), 20, None),
            (None, 21, None),
            (None, 51, Some("cleared")),
        ];
        for (trouble, second, told) in table {
            let draft = alert.handle_disk(trouble, at(second), wall);
            assert_eq!(draft.as_ref().map(|draft| &*draft.name), told, "{trouble:?} at {second}");
            if let Some(draft) = draft {
                let event: AlertEvent = serde_json::from_str(draft.data.get()).unwrap();
                assert_eq!((event.alert.rule.as_str(), event.alert.fingerprint.len()), ("disk", 16));
            }
        }
        assert_eq!(alert.poll_deadline(), None);
        assert!(alert.handle_disk(Some(&failing), at(60), wall).is_some_and(|draft| &*draft.name == "raised"));
    }
}
