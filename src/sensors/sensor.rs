//! One sensor: what is known of it, what it read last, and how a sample becomes a reading. Sans-IO.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    formats::{Sample, value},
    time::TimeFlaw,
};
use crate::{
    base::{Monotonic, PathName, SensorId, WallTime},
    config::{SensorConfig, SensorKind, Unit, sensor_kind::Measure, unit::Incompatible},
    events::payload::ReadingValue,
};

/// A sensor that has been silent for this many of its intervals is stale.
pub const STALE_AFTER: u32 = 3;
/// Times of past readings that are remembered, to know repetitions by.
const TIMES: usize = 32;

/// Why a sample is no reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Nothing in the name fits an id.
    #[error("`{0}` makes no id of a sensor")]
    NoId(String),
    /// There are as many sensors as there may be.
    #[error("`limits.sensors` allows no further sensor")]
    Full,
    /// The unit measures something else.
    #[error(transparent)]
    Unit(#[from] Incompatible),
    /// A number was wanted.
    #[error("expected a number, found `{0}`")]
    NotNumber(String),
    /// Yes or no was wanted.
    #[error("expected yes or no, found `{0}`")]
    NotFlag(String),
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest reading of its sensor.
    Newest,
    /// It is older than the newest one, and counts for the history.
    Older,
    /// It was there before.
    Duplicate,
}

/// What a sensor read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// In the sensor's unit.
    pub value: ReadingValue,
    /// When it was read: by the device's clock, or by ours if that cannot be.
    pub time: WallTime,
    /// When it came.
    pub received: WallTime,
    /// What was wrong with the device's time.
    pub flaw: Option<TimeFlaw>,
    /// The broker had kept it: it may be of any age.
    pub retained: bool,
}

/// A payload that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub message: String,
    /// When it came.
    pub at: WallTime,
}

/// A sensor as others see it: a copy that does not change.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorSnapshot {
    /// Its id.
    pub id: SensorId,
    /// The name people see.
    pub name: String,
    /// What it measures; nothing is known of a generic one.
    pub kind: Option<SensorKind>,
    /// The unit of its numbers.
    pub unit: Option<Unit>,
    /// The path it belongs to.
    pub path: Option<PathName>,
    /// How often it reports.
    pub expected_interval: Option<Duration>,
    /// What it read last.
    pub reading: Option<Reading>,
    /// Its reading is older than its interval allows, or it said that it goes.
    pub stale: bool,
    /// What it said itself: it is there, or it is gone.
    pub available: Option<bool>,
    /// What is wrong on the way to it: a broker that is away, a URL that does not answer.
    pub source_error: Option<String>,
    /// The last payload that could not be read.
    pub last_error: Option<Fault>,
    /// Readings, repetitions and bad payloads since the start.
    pub counts: Counts,
    /// Where its readings come from: `http`, `pull`, `demo`, `mqtt:` and a broker.
    pub origin: Option<Arc<str>>,
    /// It stands in the configuration.
    pub configured: bool,
    /// Counts its changes, of all sensors together.
    pub version: u64,
}

/// What came of a sensor since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings that were taken.
    pub readings: u64,
    /// Readings that were there before.
    pub duplicates: u64,
    /// Payloads that could not be read.
    pub bad: u64,
}

/// What a message brought with it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Where it came from.
    pub origin: Arc<str>,
    /// The broker had kept it.
    pub retained: bool,
    /// By the wall clock.
    pub wall: WallTime,
    /// By the clock that does not step.
    pub now: Monotonic,
}

/// A sensor at work.
#[derive(Debug)]
pub(super) struct Sensor {
    /// What others see.
    pub(super) seen: SensorSnapshot,
    pub(super) device: Option<String>,
    times: VecDeque<i64>,
    /// When it was last heard of.
    pub(super) heard: Monotonic,
    /// A copy of `seen`, until it changes.
    pub(super) copy: Option<Arc<SensorSnapshot>>,
}

impl Sensor {
    /// A sensor of which only the id is known.
    pub(super) fn new(id: SensorId, now: Monotonic) -> Self {
        let seen = SensorSnapshot {
            name: id.to_string(),
            id,
            kind: None,
            unit: None,
            path: None,
            expected_interval: None,
            reading: None,
            stale: false,
            available: None,
            source_error: None,
            last_error: None,
            counts: Counts::default(),
            origin: None,
            configured: false,
            version: 0,
        };
        Self { seen, device: None, times: VecDeque::new(), heard: now, copy: None }
    }

    /// What the file says of it.
    pub(super) fn configure(&mut self, config: &SensorConfig) {
        let seen = &mut self.seen;
        seen.configured = true;
        seen.name = config.name.clone().unwrap_or_else(|| seen.id.to_string());
        seen.kind.clone_from(&config.kind);
        seen.unit = config.unit.clone().or_else(|| config.kind.as_ref().and_then(SensorKind::unit));
        seen.path.clone_from(&config.path);
        seen.expected_interval = config
            .expected_interval
            .map(|interval| interval.duration())
            .or_else(|| config.pull.as_ref().map(|pull| pull.interval.duration()));
    }

    /// Learns from a sample what the file does not say.
    pub(super) fn learn(&mut self, sample: &Sample) {
        let seen = &mut self.seen;
        if let Some(device) = &sample.device {
            self.device.get_or_insert_with(|| device.clone());
        }
        if seen.configured {
            if seen.kind.is_none() && seen.unit.is_none() {
                seen.kind.clone_from(&sample.kind);
            }
        } else {
            if let Some(name) = &sample.name {
                seen.name.clone_from(name);
            }
            if seen.kind.is_none() {
                seen.kind.clone_from(&sample.kind);
            }
        }
        if seen.unit.is_none() {
            seen.unit = seen.kind.as_ref().and_then(SensorKind::unit).or_else(|| match seen.kind.as_ref() {
                Some(kind) if kind.is_flag() => None,
                _ => sample.unit.clone(),
            });
        }
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// [`Refused`], if its value is none of this sensor's.
    pub(super) fn take(&mut self, sample: &Sample, arrival: &Arrival) -> Result<Taken, Refused> {
        let value = self.convert(sample)?;
        let (mut time, flaw) = sample.time.map_or((arrival.wall, None), |stated| stated.judge(arrival.wall));
        let before = self.seen.reading.as_ref();
        // What a broker kept says nothing new when it comes again after a reconnect.
        let again = arrival.retained && sample.time.is_none() && before.is_some_and(|before| before.value == value);
        if sample.time.is_none() || flaw.is_some() {
            // The time is ours: several in one message are no repetitions, and stay in their order.
            while self.times.contains(&time.unix_millis()) {
                time = time.plus_nanos(1_000_000);
            }
        }
        let millis = time.unix_millis();
        if again || self.times.contains(&millis) {
            self.seen.counts.duplicates += 1;
            return Ok(Taken::Duplicate);
        }
        if self.times.len() == TIMES {
            self.times.pop_front();
        }
        self.times.push_back(millis);
        self.seen.counts.readings += 1;
        if before.is_some_and(|before| before.time > time) {
            return Ok(Taken::Older);
        }
        let retained = arrival.retained;
        self.seen.reading = Some(Reading { value, time, received: arrival.wall, flaw, retained });
        if !retained {
            self.heard = arrival.now;
            self.seen.stale = false;
            // Whoever speaks is there.
            self.seen.available = self.seen.available.map(|_| true);
        }
        Ok(Taken::Newest)
    }

    /// The sample's value as this sensor keeps it.
    fn convert(&self, sample: &Sample) -> Result<ReadingValue, Refused> {
        let measure = self.seen.kind.as_ref().and_then(SensorKind::measure);
        let number_wanted = matches!(measure, Some(Measure::Number(_)));
        match &sample.value {
            value if measure == Some(Measure::Flag) => {
                value::flag(value).map(ReadingValue::Flag).ok_or_else(|| Refused::NotFlag(value.to_string()))
            }
            ReadingValue::Number(number) => {
                let number = match (&sample.unit, &self.seen.unit) {
                    (Some(from), Some(to)) => from.convert(*number, to)?,
                    _ => *number,
                };
                // JSON has no other numbers, and nothing measures those.
                if number.is_finite() {
                    Ok(ReadingValue::Number(number))
                } else {
                    Err(Refused::NotNumber("∞".into()))
                }
            }
            value if number_wanted => Err(Refused::NotNumber(value.to_string())),
            value => Ok(value.clone()),
        }
    }

    /// The value and the time of a sample that was just taken, and is not the newest.
    pub(super) fn late(&self, sample: &Sample) -> Option<(ReadingValue, WallTime)> {
        let millis = *self.times.back()?;
        Some((self.convert(sample).ok()?, WallTime::from_unix_nanos(millis.saturating_mul(1_000_000))))
    }

    /// When it will be stale, if nothing comes.
    pub(super) fn stale_at(&self) -> Option<Monotonic> {
        let interval = self.seen.expected_interval.filter(|_| !self.seen.stale)?;
        Some(self.heard + interval * STALE_AFTER)
    }
}
