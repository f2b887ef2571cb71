//! Who may tend an alert: take note of it, or keep it quiet. What somebody may not see they do not learn of by trying.

use super::super::front::Front;
use crate::{
    auth::{Ack, Alerts, Caller, Grant},
    base::{Error, Kind},
    events::alarms::AlarmError,
};

/// The right to tend an alert. Who may tend none is told so whatever they name; to others an alert that they may not see is
/// as one that there is not.
///
/// # Errors
/// [`Kind::Unauthenticated`]; [`Kind::PermissionDenied`]; [`Kind::NotFound`].
pub(in crate::http) fn tended(front: &Front, caller: &Caller, fingerprint: &str) -> Result<Grant<Ack>, Error> {
    let gate = &front.rooms.gate;
    gate.check_somewhere::<Ack>(caller)?;
    let snapshot = front.rooms.alerts.snapshot();
    let alarm = snapshot.alarms.iter().find(|alarm| alarm.record.fingerprint == fingerprint);
    let (grant, seen) = match alarm.map(|alarm| alarm.record.path.as_ref()) {
        Some(Some(path)) => (gate.check(caller, path), gate.check::<Alerts>(caller, path).is_ok()),
        Some(None) => (gate.check_server(caller), gate.check_server::<Alerts>(caller).is_ok()),
        None => (gate.check_server(caller), false),
    };
    grant.map_err(|_| if seen { not_allowed() } else { AlarmError::UnknownAlert.into() })
}

fn not_allowed() -> Error {
    Error::new(Kind::PermissionDenied, "this needs the permission `ack` on what the alert is about")
        .with_code("not_allowed")
}
