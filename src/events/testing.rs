//! What tests of this and of other rooms share: a log on a disk of its own, drafts, and a thermometer.

use std::path::Path;

use tempfile::TempDir;

pub(crate) use super::event::testing::draft;
use super::{
    Events, Retention,
    alerts::SensorReport,
    payload::ReadingValue,
    rules::{Device, Reading},
};
use crate::{
    base::{Clock, SensorId, Tasks},
    store::Store,
};

/// Events on a store of their own, which goes with the value.
pub(crate) struct Desk {
    pub(crate) events: Events,
    pub(crate) store: Store,
    pub(crate) tasks: Tasks,
    pub(crate) directory: TempDir,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (store, events) = open(directory.path(), &tasks).await;
        Self { events, store, tasks, directory }
    }

    /// Ends everything and begins again on what is on the disk.
    pub(crate) async fn restart(self) -> Self {
        self.tasks.stop();
        assert_eq!(self.tasks.drained(std::time::Duration::from_secs(20)).await, Vec::<String>::new());
        let tasks = Tasks::new();
        let (store, events) = open(self.directory.path(), &tasks).await;
        Self { events, store, tasks, directory: self.directory }
    }
}

/// Opens the store of a directory and starts the log on it.
pub(crate) async fn open(state_dir: &Path, tasks: &Tasks) -> (Store, Events) {
    let (store, incidents) = Store::open(state_dir, Clock).await;
    let events = Events::start(&store, &incidents, Retention::default(), Clock, tasks).await;
    (store, events)
}

/// The thermometer in the attic shows so many degrees.
pub(crate) fn attic(celsius: f64) -> SensorReport {
    let sensor: SensorId = "attic".parse().unwrap();
    SensorReport {
        device: Device {
            sensor: sensor.clone(),
            name: "Attic".into(),
            kind: "temperature".into(),
            unit: Some("°C".into()),
            path: None,
            every: None,
        },
        reading: Some(Reading { sensor, value: ReadingValue::Number(celsius), time: Clock.wall() }),
        broken: false,
    }
}
