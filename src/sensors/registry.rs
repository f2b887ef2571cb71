//! Every sensor, by id: samples in, readings and snapshots out. Sans-IO: the time comes in with each sample.
//!
//! What the configuration names is there from the beginning; others are made by their first sample, as many as
//! `limits.sensors` allows, and go after a week of silence. Readings wait here for whoever keeps and judges them; when
//! they are not fetched the oldest go, and are counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    formats::Sample,
    sensor::{Arrival, Fault, Refused, Sensor, SensorSnapshot, Taken},
};
use crate::{
    base::{Monotonic, PathName, SensorId, WallTime},
    config::{SensorConfig, SensorKind, Unit},
    events::payload::ReadingValue,
};

/// Readings that wait to be fetched.
const WAITING: usize = 10_000;
/// A sensor that nobody configured goes after this long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// The longest message of a fault that is kept, in characters.
const FAULT_MAX: usize = 300;

/// All sensors at one moment, sorted by id.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts changes: two snapshots of one version are the same.
    pub version: u64,
    /// The sensors.
    pub sensors: Vec<Arc<SensorSnapshot>>,
}

impl Snapshot {
    /// The sensor of this id.
    pub fn sensor(&self, id: &SensorId) -> Option<&Arc<SensorSnapshot>> {
        let found = self.sensors.binary_search_by(|sensor| sensor.id.cmp(id)).ok()?;
        self.sensors.get(found)
    }
}

/// A reading that was taken, for the history and for rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Of which sensor.
    pub sensor: SensorId,
    /// What that measures.
    pub kind: Option<SensorKind>,
    /// What was read.
    pub value: ReadingValue,
    /// The unit of a number.
    pub unit: Option<Unit>,
    /// When.
    pub time: WallTime,
    /// The path it belongs to.
    pub path: Option<PathName>,
    /// It is the newest of its sensor; a late one is no news.
    pub newest: bool,
    /// A broker had kept it: it may be of any age.
    pub retained: bool,
}

/// What happened since the last time it was asked.
#[derive(Debug, Default)]
pub struct Changes {
    /// The sensors that changed, as they are now.
    pub changed: Vec<Arc<SensorSnapshot>>,
    /// The sensors that are gone.
    pub gone: Vec<SensorId>,
    /// The readings taken, in order.
    pub accepted: Vec<Accepted>,
    /// Readings that were taken and lost, because nobody fetched them.
    pub lost: u64,
}

/// The sensors.
#[derive(Debug)]
pub struct Registry {
    sensors: BTreeMap<SensorId, Sensor>,
    made: usize,
    made_max: usize,
    version: u64,
    dirty: BTreeSet<SensorId>,
    gone: Vec<SensorId>,
    accepted: VecDeque<Accepted>,
    lost: u64,
    snapshot: Arc<Snapshot>,
}

impl Registry {
    /// The configured sensors, and room for `made_max` others.
    pub fn new<'a>(
        configured: impl IntoIterator<Item = (&'a SensorId, &'a SensorConfig)>,
        made_max: usize,
        now: Monotonic,
    ) -> Self {
        let mut registry = Self {
            sensors: BTreeMap::new(),
            made: 0,
            made_max,
            version: 0,
            dirty: BTreeSet::new(),
            gone: Vec::new(),
            accepted: VecDeque::new(),
            lost: 0,
            snapshot: Arc::default(),
        };
        for (id, config) in configured {
            let mut sensor = Sensor::new(id.clone(), now);
            sensor.configure(config);
            registry.sensors.insert(id.clone(), sensor);
            registry.touch(id);
        }
        registry
    }

    /// Takes a sample. The sensor's id is its name in the id's alphabet.
    ///
    /// # Errors
    /// [`Refused`]. A sensor that exists remembers it.
    pub fn take(&mut self, sample: &Sample, arrival: &Arrival) -> Result<Taken, Refused> {
        let id = id_of(&sample.sensor).ok_or_else(|| Refused::NoId(sample.sensor.chars().take(100).collect()))?;
        let fresh = !self.sensors.contains_key(&id);
        if fresh && self.made >= self.made_max {
            return Err(Refused::Full);
        }
        let mut new = fresh.then(|| Sensor::new(id.clone(), arrival.now));
        let sensor = match &mut new {
            Some(new) => new,
            None => self.sensors.get_mut(&id).ok_or(Refused::Full)?,
        };
        sensor.learn(sample);
        let taken = sensor.take(sample, arrival);
        if sensor.seen.origin.as_ref() != Some(&arrival.origin) {
            sensor.seen.origin = Some(arrival.origin.clone());
        }
        match &taken {
            Ok(Taken::Duplicate) => {}
            Ok(taken) => {
                let accepted = accepted(sensor, sample, *taken, arrival);
                if let Some(new) = new {
                    self.made += 1;
                    self.sensors.insert(id.clone(), new);
                }
                if self.accepted.len() == WAITING {
                    self.accepted.pop_front();
                    self.lost += 1;
                }
                self.accepted.extend(accepted);
            }
            Err(refused) if !fresh => sensor.fault(&refused.to_string(), arrival.wall),
            // What never gave a reading is no sensor.
            Err(_) => return taken,
        }
        self.touch(&id);
        taken
    }

    /// A payload of this sensor could not be read. `false` if there is no such sensor.
    pub fn fault(&mut self, sensor: &str, message: &str, at: WallTime) -> bool {
        let Some(id) = id_of(sensor) else { return false };
        let Some(sensor) = self.sensors.get_mut(&id) else { return false };
        sensor.fault(message, at);
        self.touch(&id);
        true
    }

    /// A device came or went.
    pub fn availability(&mut self, origin: &str, device: &str, online: bool) {
        self.each(origin, |sensor| {
            if sensor.device.as_deref() != Some(device) || sensor.seen.available == Some(online) {
                return false;
            }
            sensor.seen.available = Some(online);
            sensor.seen.stale |= !online;
            true
        });
    }

    /// What is wrong on the way to all sensors of this origin; nothing, if nothing is.
    pub fn source_error(&mut self, origin: &str, error: Option<&str>) {
        self.each(origin, |sensor| set_source_error(sensor, error));
    }

    /// The same for one sensor.
    pub fn sensor_error(&mut self, id: &SensorId, error: Option<&str>) {
        if self.sensors.get_mut(id).is_some_and(|sensor| set_source_error(sensor, error)) {
            self.touch(id);
        }
    }

    /// Other words for what is known of a sensor that announced itself; it is made if there is room.
    ///
    /// # Errors
    /// [`Refused::NoId`], [`Refused::Full`].
    pub fn announce(
        &mut self,
        sample: &Sample,
        expected: Option<Duration>,
        origin: &Arc<str>,
        now: Monotonic,
    ) -> Result<(), Refused> {
        let id = id_of(&sample.sensor).ok_or_else(|| Refused::NoId(sample.sensor.chars().take(100).collect()))?;
        if !self.sensors.contains_key(&id) {
            if self.made >= self.made_max {
                return Err(Refused::Full);
            }
            self.made += 1;
            self.sensors.insert(id.clone(), Sensor::new(id.clone(), now));
        }
        if let Some(sensor) = self.sensors.get_mut(&id) {
            sensor.learn(sample);
            if !sensor.seen.configured {
                sensor.seen.expected_interval = expected;
            }
            sensor.seen.origin = Some(origin.clone());
        }
        self.touch(&id);
        Ok(())
    }

    /// Takes back what announced itself. Configured sensors stay.
    pub fn withdraw(&mut self, sensor: &str) {
        let Some(id) = id_of(sensor) else { return };
        if self.sensors.get(&id).is_some_and(|sensor| !sensor.seen.configured) {
            self.forget(&id);
        }
    }

    /// Time has passed: what is silent for too long is stale, what nobody misses is forgotten.
    pub fn handle_time(&mut self, now: Monotonic) {
        let (mut stale, mut forgotten) = (Vec::new(), Vec::new());
        for (id, sensor) in &self.sensors {
            if sensor.stale_at().is_some_and(|at| now >= at) {
                stale.push(id.clone());
            }
            if !sensor.seen.configured && now.since(sensor.heard) >= FORGOTTEN_AFTER {
                forgotten.push(id.clone());
            }
        }
        for id in stale {
            if let Some(sensor) = self.sensors.get_mut(&id) {
                sensor.seen.stale = true;
            }
            self.touch(&id);
        }
        forgotten.iter().for_each(|id| self.forget(id));
    }

    /// What happened since the last call.
    pub fn changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.dirty);
        Changes {
            changed: changed.iter().filter_map(|id| self.sensors.get_mut(id).map(Sensor::copy)).collect(),
            gone: std::mem::take(&mut self.gone),
            accepted: self.accepted.drain(..).collect(),
            lost: std::mem::take(&mut self.lost),
        }
    }

    /// All sensors. The same copy until something changes.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if self.snapshot.version != self.version {
            let sensors = self.sensors.values_mut().map(Sensor::copy).collect();
            self.snapshot = Arc::new(Snapshot { version: self.version, sensors });
        }
        self.snapshot.clone()
    }

    fn each(&mut self, origin: &str, mut change: impl FnMut(&mut Sensor) -> bool) {
        let mut touched = Vec::new();
        for (id, sensor) in &mut self.sensors {
            if sensor.seen.origin.as_deref() == Some(origin) && change(sensor) {
                touched.push(id.clone());
            }
        }
        touched.iter().for_each(|id| self.touch(id));
    }

    fn forget(&mut self, id: &SensorId) {
        if self.sensors.remove(id).is_some() {
            self.made = self.made.saturating_sub(1);
            self.version += 1;
            self.dirty.remove(id);
            self.gone.push(id.clone());
        }
    }

    fn touch(&mut self, id: &SensorId) {
        let Some(sensor) = self.sensors.get_mut(id) else { return };
        self.version += 1;
        sensor.seen.version = self.version;
        sensor.copy = None;
        self.dirty.insert(id.clone());
    }
}

impl Sensor {
    fn fault(&mut self, message: &str, at: WallTime) {
        self.seen.counts.bad += 1;
        self.seen.last_error = Some(Fault { message: message.chars().take(FAULT_MAX).collect(), at });
    }

    fn copy(&mut self) -> Arc<SensorSnapshot> {
        let seen = &self.seen;
        self.copy.get_or_insert_with(|| Arc::new(seen.clone())).clone()
    }
}

fn set_source_error(sensor: &mut Sensor, error: Option<&str>) -> bool {
    let changes = sensor.seen.source_error.as_deref() != error;
    if changes {
        sensor.seen.source_error = error.map(|error| error.chars().take(FAULT_MAX).collect());
    }
    changes
}

/// The reading that a sample became.
fn accepted(sensor: &Sensor, sample: &Sample, taken: Taken, arrival: &Arrival) -> Option<Accepted> {
    let seen = &sensor.seen;
    let newest = taken == Taken::Newest;
    let (value, time) = match (&seen.reading, newest) {
        (Some(reading), true) => (reading.value.clone(), reading.time),
        // A late one is kept nowhere but in the history: it is made out once more.
        _ => sensor.late(sample)?,
    };
    Some(Accepted {
        sensor: seen.id.clone(),
        kind: seen.kind.clone(),
        value,
        unit: seen.unit.clone(),
        time,
        path: seen.path.clone(),
        newest,
        retained: arrival.retained,
    })
}

/// A device's words as an id: what is not in the alphabet becomes `_`, and what is too long ends in its own hash.
pub fn id_of(text: &str) -> Option<SensorId> {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '_' }).collect();
    if plain.len() <= SensorId::LONGEST {
        return plain.parse().ok();
    }
    // FNV-1a: it keeps long names apart, and need not do more.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{}-{hash:016x}", &plain[..SensorId::LONGEST - 17]).parse().ok()
}

#[cfg(test)]
mod tests;
