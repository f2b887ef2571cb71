//! What administrators hear of those who are refused: facts for the audit, and, when an address is refused again and again,
//! facts of the type `security` beside them, which rules may look at.

use std::time::Duration;

use serde_json::value::to_raw_value;
use tokio::time::sleep;
use tracing::{info_span, warn};

use crate::{
    auth::{Gate, Sighting},
    base::{Clock, Severity, Tasks, WallTime},
    config::rules::SecurityKind,
    events::{Draft, EventType, Events, payload::SecurityEvent},
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
    events.write_down_with("login.refused", by, from.to_string(), Some(format!("refused {count} times")), now);
    if !repeated {
        return;
    }
    warn!(%from, count, "many logins from one address are refused");
    let kind = SecurityKind::Refusals;
    let data = SecurityEvent { kind, address: *from, name: name.clone(), count: *count };
    let Ok(data) = to_raw_value(&data) else { return };
    let (name, severity) = (kind.name().into(), Some(Severity::Warning));
    let draft = Draft { kind: EventType::Security, name, time: now, path: None, sensor: None, severity, data };
    if let Err(error) = events.enqueue(draft) {
        warn!("that is not in the log: {}", error.chain());
    }
}
