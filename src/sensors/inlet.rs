//! The way in that MQTT, HTTP, the puller and the demo share: what they bring is put into the registry, and whoever hands
//! readings on is woken. It holds the registry's lock, for as long as one message takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::value::to_raw_value;
use tokio::sync::Notify;

use super::{
    brokers::{BrokerSnapshot, BrokerState},
    formats::{CameraReport, FormatError, Report, Sample, json::Entry},
    mqtt::routes::Heard,
    registry::{Registry, Snapshot},
    sensor::{Arrival, Refused, Taken},
};
use crate::{
    base::{Clock, Monotonic, SensorId},
    events::{Draft, EventType, Events, payload::CameraEvent},
};

/// What became of a message of many readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Readings that were taken.
    pub accepted: usize,
    /// Readings that were there before.
    pub duplicates: usize,
    /// Readings that were refused: their place in the message, and why. Only the first ones are told.
    pub errors: Vec<(usize, String)>,
    /// How many were refused.
    pub refused: usize,
}

/// Errors of one message that are told.
const ERRORS_TOLD: usize = 10;
/// Camera events of one broker in a second, at most: they are facts, and stay.
const CAMERA_EVENTS: u32 = 50;

/// The way in. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Inlet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Mutex<Registry>,
    brokers: Mutex<BTreeMap<String, BrokerState>>,
    wake: Notify,
    events: Events,
    clock: Clock,
}

impl Inlet {
    pub(super) fn new(registry: Registry, events: Events, clock: Clock) -> Self {
        let shared =
            Shared { registry: Mutex::new(registry), brokers: Mutex::default(), wake: Notify::new(), events, clock };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn brokers(&self) -> MutexGuard<'_, BTreeMap<String, BrokerState>> {
        self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something came in.
    pub(super) async fn woken(&self) {
        self.shared.wake.notified().await;
    }

    pub(super) fn clock(&self) -> Clock {
        self.shared.clock
    }

    pub(super) fn now(&self) -> Monotonic {
        self.shared.clock.now()
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.registry().snapshot()
    }

    pub(super) fn broker_snapshots(&self) -> Vec<BrokerSnapshot> {
        self.brokers().values().map(BrokerState::snapshot).collect()
    }

    /// Changes what is known of a broker.
    pub(super) fn broker(&self, name: &str, change: impl FnOnce(&mut BrokerState)) {
        change(self.brokers().entry(name.to_owned()).or_insert_with(|| BrokerState::new(name)));
    }

    /// What came of a broker or a server: whether it can be reached.
    pub(super) fn source_error(&self, origin: &str, error: Option<&str>) {
        self.registry().source_error(origin, error);
        self.shared.wake.notify_one();
    }

    /// The same for one sensor.
    pub(super) fn sensor_error(&self, id: &SensorId, error: Option<&str>) {
        self.registry().sensor_error(id, error);
        self.shared.wake.notify_one();
    }

    fn arrival(&self, origin: &Arc<str>, retained: bool) -> Arrival {
        Arrival { origin: origin.clone(), retained, wall: self.shared.clock.wall(), now: self.now() }
    }

    /// Takes the readings of one message.
    pub(super) fn take(&self, origin: &Arc<str>, entries: Vec<Entry>) -> Outcome {
        let arrival = self.arrival(origin, false);
        let mut outcome = Outcome::default();
        let mut registry = self.registry();
        for (place, entry) in entries.into_iter().enumerate() {
            let taken = match &entry {
                Ok(sample) => registry.take(sample, &arrival).map_err(|refused: Refused| refused.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match taken {
                Ok(Taken::Duplicate) => outcome.duplicates += 1,
                Ok(_) => outcome.accepted += 1,
                Err(why) => {
                    outcome.refused += 1;
                    if outcome.errors.len() < ERRORS_TOLD {
                        outcome.errors.push((place, why));
                    }
                }
            }
        }
        drop(registry);
        self.shared.wake.notify_one();
        outcome
    }

    /// A message about this sensor could not be read at all.
    pub(super) fn fault(&self, sensor: &str, error: &FormatError) {
        self.registry().fault(sensor, &error.to_string(), self.shared.clock.wall());
        self.shared.wake.notify_one();
    }

    /// Takes what a broker's message means. What else is to be done comes back: topics to ask for, and not to.
    pub(super) fn hear(&self, broker: &str, origin: &Arc<str>, retained: bool, heard: Vec<Heard>) -> Vec<Heard> {
        let arrival = self.arrival(origin, retained);
        let mut left = Vec::new();
        let mut faults = Vec::new();
        let mut cameras = Vec::new();
        let mut registry = self.registry();
        for one in heard {
            match one {
                Heard::Report(Report::Sample(sample)) => {
                    if let Err(refused) = registry.take(&sample, &arrival) {
                        faults.push(told(&sample, &refused));
                    }
                }
                Heard::Report(Report::Availability { device, online }) => {
                    registry.availability(origin, &device, online);
                }
                // What a broker kept happened some time ago, nobody knows when.
                Heard::Report(Report::Camera(report)) if !retained => cameras.push(report),
                Heard::Report(Report::Camera(_)) => {}
                Heard::Announced(sample, expected) => {
                    if let Err(refused) = registry.announce(&sample, expected, origin, arrival.now) {
                        faults.push(told(&sample, &refused));
                    }
                }
                Heard::Withdrawn(sensor) => registry.withdraw(&sensor),
                Heard::Fault(sensor, message) => {
                    if let Some(sensor) = &sensor {
                        registry.fault(sensor, &message, arrival.wall);
                    }
                    faults.push(message);
                }
                topics @ (Heard::Subscribe(_) | Heard::Unsubscribe(_)) => left.push(topics),
            }
        }
        drop(registry);
        self.broker(broker, |state| {
            state.messages += 1;
            for fault in faults {
                state.fault(fault, arrival.wall);
            }
            cameras.retain(|_| state.may_report(CAMERA_EVENTS, arrival.now));
        });
        for report in cameras {
            self.camera(report);
        }
        self.shared.wake.notify_one();
        left
    }

    /// A camera's report becomes a fact.
    fn camera(&self, report: CameraReport) {
        let CameraReport { camera, kind, mut details } = report;
        let path = camera.parse().ok();
        if path.is_none() {
            details.insert("camera".into(), camera.into());
        }
        let event = CameraEvent { kind: kind.clone(), details: details.into_iter().collect() };
        let Ok(data) = to_raw_value(&event) else { return };
        let time = self.shared.clock.wall();
        let draft =
            Draft { kind: EventType::CameraEvent, name: kind.into(), time, path, sensor: None, severity: None, data };
        if let Err(error) = self.shared.events.enqueue(draft) {
            tracing::warn!("camera event: {}", error.chain());
        }
    }

    pub(super) fn events(&self) -> &Events {
        &self.shared.events
    }
}

fn told(sample: &Sample, refused: &Refused) -> String {
    format!("sensor {}: {refused}", sample.sensor.chars().take(100).collect::<String>())
}
