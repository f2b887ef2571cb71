//! What the server's own log says of alerts.

use tracing::{info, warn};

use crate::events::alarms::{Notice, Reason};

/// The one way out that is always there.
pub(super) fn log(notice: &Notice) {
    let Notice { reason, group, severity, count, title, .. } = notice;
    let (group, severity) = (group.as_deref().unwrap_or_default(), severity.name());
    match reason {
        Reason::Raised => info!(severity, group, count, "alert: {title}"),
        Reason::Worsened => info!(severity, group, count, "alert is worse: {title}"),
        Reason::Escalated(level) => warn!(severity, group, count, level, "alert that nobody took note of: {title}"),
        Reason::Acknowledged => info!(severity, group, count, "somebody took note of an alert: {title}"),
        Reason::Cleared => info!(severity, group, count, "alert is over: {title}"),
        Reason::Reminder | Reason::Standing | Reason::Test => {
            info!(severity, group, count, "alert goes on: {title}");
        }
    }
}
