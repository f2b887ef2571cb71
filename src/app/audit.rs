//! What administrators hear of those who are refused: facts for the audit, and for a matter of security one with a severity.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{info_span, warn};

use crate::{
    auth::{Gate, Sighting},
    base::{Clock, Severity, Tasks, WallTime},
    events::Events,
};

/// How often is looked whether somebody was refused.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes down whom the gate refuses.
pub(super) fn start(gate: Gate, events: Events, clock: Clock, tasks: &Tasks) {
    let stopping = tasks.stopping().clone();
    tasks.spawn("audit", info_span!("audit"), async move {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            for sighting in gate.sightings(clock.now()) {
                write_down(&events, &sighting, clock.wall());
            }
        }
    });
}

fn write_down(events: &Events, sighting: &Sighting, now: WallTime) {
    let Sighting { from, name, count, repeated } = sighting;
    let by = name.as_ref().map_or("guest", |name| name.as_str()).to_owned();
    let note = format!("refused {count} times");
    let (action, severity) = match repeated {
        true => {
            warn!(%from, count, "many logins from one address are refused");
            ("security.refusals", Some(Severity::Warning))
        }
        false => ("login.refused", None),
    };
    events.write_down_with(action, by, from.to_string(), Some(note), severity, now);
}
