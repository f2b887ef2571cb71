//! Sensors on their way to the rules: every new reading, and what changed of the sensor itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::warn;

use crate::{
    base::{Clock, SensorId, complaints::Complaints},
    events::{
        alerts::{Alerts, SensorReport},
        rules::{Device, Reading},
    },
    sensors::{Accepted, SensorSnapshot},
};

/// Sensors that are remembered; more than there can be at once. Ids that a sender makes up come and go, so what is beyond
/// this is learned anew with its next change.
const KNOWN_MOST: usize = 20_000;

/// What the rules know of sensors. The room of sensors tells it a reading first, and then what changed.
#[derive(Debug)]
pub(super) struct RuleWatcher {
    alerts: Alerts,
    clock: Clock,
    /// Held for a look-up or an insert.
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    devices: HashMap<SensorId, (Device, bool)>,
    complaints: Complaints,
}

impl RuleWatcher {
    pub(super) fn new(alerts: Alerts, clock: Clock) -> Arc<Self> {
        let known = Known { devices: HashMap::new(), complaints: Complaints::new(Duration::from_secs(60)) };
        Arc::new(Self { alerts, clock, known: Mutex::new(known) })
    }

    /// A reading was taken. The first one of a sensor comes with what the sensor is.
    pub(super) fn handle_reading(&self, accepted: &Accepted) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !accepted.newest {
            return;
        }
        let Some((device, _)) = known.devices.get(&accepted.sensor).cloned() else { return };
        let reading = Reading { sensor: accepted.sensor.clone(), value: accepted.value.clone(), time: accepted.time };
        self.tell(&mut known, SensorReport { device, reading: Some(reading), broken: false });
    }

    /// A sensor changed.
    pub(super) fn handle_change(&self, sensor: &SensorSnapshot) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let device = Device {
            sensor: sensor.id.clone(),
            name: sensor.name.clone(),
            kind: sensor.kind.as_ref().map_or_else(|| "generic".to_owned(), ToString::to_string),
            unit: sensor.unit.as_ref().map(ToString::to_string),
            path: sensor.path.clone(),
            every: sensor.expected_interval,
        };
        let broken = sensor.source_error.is_some();
        if known.devices.len() >= KNOWN_MOST && !known.devices.contains_key(&sensor.id) {
            known.devices.clear();
        }
        let before = known.devices.insert(sensor.id.clone(), (device.clone(), broken));
        if before.as_ref() == Some(&(device.clone(), broken)) {
            return;
        }
        let first = sensor.reading.as_ref().filter(|_| before.is_none());
        let reading = first.map(|reading| Reading {
            sensor: sensor.id.clone(),
            value: reading.value.clone(),
            time: reading.time,
        });
        self.tell(&mut known, SensorReport { device, reading, broken });
    }

    fn tell(&self, known: &mut Known, report: SensorReport) {
        if let Err(error) = self.alerts.observe(report)
            && let Some(times) = known.complaints.note(self.clock.now())
        {
            warn!(times, "{}", error.chain());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_a_sender_makes_up_run_into_a_bound() {
        let watcher = RuleWatcher::new(Alerts::fixed(Clock), Clock);
        for number in 0..=KNOWN_MOST {
            watcher.handle_change(&SensorSnapshot {
                id: format!("s{number}").parse().unwrap(),
                name: "made up".into(),
                kind: None,
                unit: None,
                path: None,
                expected_interval: None,
                reading: None,
                stale: false,
                available: None,
                source_error: None,
                last_error: None,
                counts: Default::default(),
                origin: None,
                configured: false,
                version: 0,
            });
        }
        let known = watcher.known.lock().unwrap();
        assert_eq!(known.devices.len(), 1, "the last one; the others are learned anew");
    }
}
