//! The facts that alarms and those who tend them put into the log.

use super::record::Alarm;
use crate::{
    base::{PathName, WallTime},
    events::{
        disk::data,
        envelope::{Draft, EventType},
        payload::{AlertChange, AlertEvent, AuditEvent},
    },
};

/// The fact of an alert's change.
pub(super) fn of_alarm(alarm: &Alarm, change: AlertChange, reminder: bool, at: WallTime) -> Draft {
    let event = AlertEvent {
        change,
        alert: alarm.record.clone(),
        group: alarm.group.clone(),
        escalation: (alarm.level > 0).then_some(alarm.level),
        reminder: reminder.then_some(true),
    };
    Draft {
        kind: EventType::Alert,
        name: change.name().into(),
        time: at,
        path: alarm.record.path.clone(),
        sensor: alarm.record.sensor.clone(),
        severity: Some(alarm.record.severity),
        data: data(&event),
    }
}

/// The fact that somebody did something.
pub(in crate::events) fn of_deed(event: &AuditEvent, path: Option<PathName>, at: WallTime) -> Draft {
    Draft {
        kind: EventType::Audit,
        name: event.action.as_str().into(),
        time: at,
        path,
        sensor: None,
        severity: None,
        data: data(event),
    }
}
