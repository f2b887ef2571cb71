//! What the tests of this room share.

use crate::{
    base::{Severity, WallTime},
    events::{
        alarms::{Notice, Reason},
        payload::{AlertRecord, AlertState},
    },
};

/// A notice of alerts, each a rule and a path that may be empty.
pub(super) fn notice(reason: Reason, level: u8, alerts: &[(&str, &str)], severity: Severity) -> Notice {
    let at = WallTime::from_unix_nanos(1_800_000_000_000_000_000).to_string();
    let over = reason == Reason::Cleared;
    let record = |(rule, path): &(&str, &str)| AlertRecord {
        fingerprint: format!("{:016x}", rule.len() * 256 + path.len()),
        rule: (*rule).to_owned(),
        severity,
        state: if over { AlertState::Cleared } else { AlertState::Active },
        title: format!("{rule} at {path}"),
        message: format!("There is {rule} at {path}."),
        path: path.parse().ok(),
        sensor: None,
        value: None,
        unit: None,
        threshold: None,
        started_at: at.clone(),
        updated_at: at.clone(),
        ended_at: over.then(|| at.clone()),
        ack: None,
        evidence: Vec::new(),
    };
    let alerts: Vec<_> = alerts.iter().map(record).collect();
    Notice {
        id: format!("{}-{}", reason.name(), alerts[0].fingerprint),
        at,
        reason,
        level,
        group: None,
        severity,
        title: alerts[0].title.clone(),
        count: alerts.len(),
        alerts,
    }
}
