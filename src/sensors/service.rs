//! The room at work: it owns the tasks of brokers, URLs and the demo, hands every change on, and answers questions.
//!
//! One task hands on, whatever number of readings came since it last looked: values to the board, readings to those who
//! judge them, and to the history in one write a second. A store that is away costs the history of that time, and
//! nothing else.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::value::to_raw_value;
use tokio::{sync::watch, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info_span, warn};

use super::{
    brokers::BrokerSnapshot,
    demo,
    formats::{FormatError, json::Entry},
    inlet::{Inlet, Outcome},
    mqtt::{
        announce::{House, HouseState},
        connection::Broker,
        publisher::Publisher,
    },
    pull::Puller,
    registry::{Accepted, Changes, Registry, Snapshot},
    sensor::SensorSnapshot,
};
use crate::{
    base::{Clock, Monotonic, PathName, Result, SensorId, Tasks, WallTime, complaints::Complaints, id::SessionId},
    config::{MqttConfig, SensorConfig},
    events::{
        Draft, EventType, Events,
        payload::{ReadingValue, SensorReading},
    },
    store::{Bucket, ReadingRow, Readings},
};

/// Between two writes to the history.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at what is stale.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at what is too old in the store.
const RETAIN_EVERY: Duration = Duration::from_secs(600);
/// Readings that wait for the history; when the store is away for longer the oldest go.
const ROWS_MAX: usize = 20_000;
/// Where the ids that we drew for ourselves at brokers are kept, in the state directory.
const CLIENT_FILE: &str = "mqtt-client-id";

/// What the room is told at its start.
#[derive(Clone, Debug, Default)]
pub struct SensorsOptions {
    /// The section `mqtt`.
    pub mqtt: MqttConfig,
    /// The section `sensors`.
    pub sensors: BTreeMap<SensorId, SensorConfig>,
    /// Sensors that may come by themselves.
    pub made_max: usize,
    /// What outlives a restart.
    pub state_dir: PathBuf,
    /// The demo's sensors, belonging to this path.
    pub demo: Option<Option<PathName>>,
}

/// Somebody who is told.
pub type Listener<T> = Box<dyn Fn(&[T]) + Send + Sync>;

/// Who is told of readings, and what there is to announce.
pub struct Outlets {
    /// Every reading that was taken, in order; late and repeated ones are marked. It must not block.
    pub readings: Listener<Accepted>,
    /// Every sensor that changed: it was read, went stale, or cannot be reached. It must not block.
    pub changed: Listener<Arc<SensorSnapshot>>,
    /// How cameras and alerts are, for Home Assistant.
    pub house: Arc<dyn House>,
}

impl Outlets {
    /// Nobody is told.
    pub fn nobody() -> Self {
        struct Empty;
        impl House for Empty {
            fn state(&self, sensors: &Snapshot) -> HouseState {
                HouseState { sensors: sensors.clone(), ..HouseState::default() }
            }
        }
        Self { readings: Box::new(|_| {}), changed: Box::new(|_| {}), house: Arc::new(Empty) }
    }
}

impl fmt::Debug for Outlets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlets")
    }
}

/// The sensors. Clones share them.
#[derive(Clone, Debug)]
pub struct Sensors {
    inlet: Inlet,
    readings: Readings,
    version: Arc<watch::Sender<u64>>,
    /// By the names of the brokers.
    publishers: Arc<BTreeMap<String, Publisher>>,
    http: Arc<str>,
    clock: Clock,
}

/// The history of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// How long a stretch is, in milliseconds: what was asked for, or more.
    pub step_ms: i64,
    /// The stretches that have readings.
    pub buckets: Vec<Bucket>,
}

impl Sensors {
    /// Starts the room. Brokers and URLs that are away are none of its errors.
    pub fn start(
        options: SensorsOptions,
        events: Events,
        readings: Readings,
        outlets: Outlets,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let tasks = tasks.child();
        let mut configured = options.sensors.clone();
        if let Some(path) = &options.demo {
            configured.extend(demo::configured(path.as_ref()));
        }
        let registry = Registry::new(&configured, options.made_max, clock.now());
        let inlet = Inlet::new(registry, events, clock);
        let house = outlets.house.clone();
        let (version, changed) = watch::channel(0_u64);
        let version = Arc::new(version);
        let outlet = Outlet {
            inlet: inlet.clone(),
            readings: readings.clone(),
            outlets,
            version: version.clone(),
            rows: Vec::new(),
            clock,
        };
        let stopping = tasks.stopping().clone();
        tasks.spawn("sensors", info_span!("sensors"), outlet.run(stopping));
        let mut publishers = BTreeMap::new();
        let drawn = client_id(&options.state_dir, !options.mqtt.brokers.is_empty());
        for (name, config) in options.mqtt.brokers {
            let Some(url) = config.url.clone() else { continue };
            let (publisher, publications) = Publisher::new(&name);
            publishers.insert(name.clone(), publisher);
            let broker = Broker {
                origin: format!("mqtt:{name}").into(),
                client_id: config.client_id.clone().unwrap_or_else(|| format!("{drawn}-{name}")),
                url,
                config,
                inlet: inlet.clone(),
                house: house.clone(),
                changed: changed.clone(),
                publications,
                clock,
                name: name.clone(),
            };
            let stopping = tasks.stopping().clone();
            tasks.spawn(format!("mqtt/{name}"), info_span!("mqtt", broker = %name), broker.run(stopping));
        }
        for (id, sensor) in options.sensors {
            let Some(config) = sensor.pull else { continue };
            let puller = Puller { id: id.clone(), origin: "pull".into(), config, inlet: inlet.clone() };
            let stopping = tasks.stopping().clone();
            tasks.spawn(format!("pull/{id}"), info_span!("pull", sensor = %id), puller.run(stopping));
        }
        if options.demo.is_some() {
            let (inlet, stopping) = (inlet.clone(), tasks.stopping().clone());
            tasks.spawn("sensors/demo", info_span!("sensors"), run_demo(inlet, stopping));
        }
        Self { inlet, readings, version, publishers: Arc::new(publishers), http: "http".into(), clock }
    }

    /// All sensors, as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inlet.snapshot()
    }

    /// The brokers, as they are now.
    pub fn brokers(&self) -> Vec<BrokerSnapshot> {
        self.inlet.broker_snapshots()
    }

    /// The way to a broker for messages of the rest of the house, by its name in the configuration.
    pub fn publisher(&self, broker: &str) -> Option<Publisher> {
        self.publishers.get(broker).cloned()
    }

    /// Takes readings that came over HTTP.
    pub fn take(&self, entries: Vec<Entry>) -> Outcome {
        self.inlet.take(&self.http, entries)
    }

    /// A message about this sensor could not be read at all.
    pub fn fault(&self, sensor: &SensorId, error: &FormatError) {
        self.inlet.fault(sensor.as_str(), error);
    }

    /// A camera or an alert changed: whoever announces it looks again.
    pub fn house_changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// What a sensor read between two moments, summed up by at least this step; at most `most` stretches.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn history(
        &self,
        sensor: &SensorId,
        (from, to): (WallTime, WallTime),
        step: Duration,
        most: usize,
    ) -> Result<Series> {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let now_ms = self.clock.wall().unix_millis();
        let span = (from.unix_millis(), to.unix_millis());
        let (step_ms, buckets) = self.readings.summed_up(sensor.to_string(), span, step_ms, now_ms, most).await?;
        Ok(Series { step_ms, buckets })
    }
}

/// Hands on what came in.
struct Outlet {
    inlet: Inlet,
    readings: Readings,
    outlets: Outlets,
    version: Arc<watch::Sender<u64>>,
    rows: Vec<ReadingRow>,
    clock: Clock,
}

impl Outlet {
    async fn run(mut self, stopping: CancellationToken) {
        let (mut keep_at, mut look_at) = (self.clock.now() + KEEP_EVERY, self.clock.now() + LOOK_EVERY);
        let mut retain_at = self.clock.now() + LOOK_EVERY;
        let mut complaints = Complaints::new(Duration::from_secs(60));
        loop {
            let next = keep_at.min(look_at);
            let stop = tokio::select! {
                biased;
                () = stopping.cancelled() => true,
                () = self.inlet.woken() => false,
                () = sleep_until(self.clock.instant(next)) => false,
            };
            let now = self.clock.now();
            if now >= look_at {
                look_at = now + LOOK_EVERY;
                self.inlet.registry().handle_time(now);
            }
            self.hand_on();
            if (now >= keep_at || stop) && !self.rows.is_empty() {
                self.keep(now, &mut complaints).await;
            }
            if now >= keep_at {
                keep_at = now + KEEP_EVERY;
            }
            if stop {
                return;
            }
            if now >= retain_at {
                retain_at = now + RETAIN_EVERY;
                if let Err(error) = self.readings.retain(self.clock.wall().unix_millis()).await {
                    self.complain(&mut complaints, now, &error);
                }
            }
        }
    }

    fn hand_on(&mut self) {
        let Changes { changed, gone, accepted, lost } = self.inlet.registry().changes();
        if lost > 0 {
            warn!("{lost} readings came faster than they could be handed on");
        }
        let events = self.inlet.events();
        if !gone.is_empty() {
            let gone: Vec<_> = gone.into_iter().map(Some).collect();
            events.remove(|topic| topic.kind == EventType::SensorReading && gone.contains(&topic.sensor));
        }
        for sensor in &changed {
            if let Some(draft) = draft(sensor, self.clock.wall())
                && let Err(error) = events.set(draft)
            {
                tracing::debug!("sensor {}: {}", sensor.id, error.chain());
            }
        }
        if !accepted.is_empty() {
            (self.outlets.readings)(&accepted);
            self.rows.extend(accepted.iter().filter_map(row));
            let over = self.rows.len().saturating_sub(ROWS_MAX);
            self.rows.drain(..over);
        }
        if !changed.is_empty() {
            (self.outlets.changed)(&changed);
            self.version.send_modify(|version| *version += 1);
        }
    }

    async fn keep(&mut self, now: Monotonic, complaints: &mut Complaints) {
        let rows = std::mem::take(&mut self.rows);
        if let Err(error) = self.readings.record(rows.clone(), self.clock.wall().unix_millis()).await {
            self.complain(complaints, now, &error);
            self.rows = rows;
        }
    }

    fn complain(&self, complaints: &mut Complaints, now: Monotonic, error: &crate::base::Error) {
        if let Some(times) = complaints.note(now) {
            warn!("history of sensors: {} ({times} times)", error.chain());
        }
    }
}

/// A sensor as the board shows it.
fn draft(sensor: &SensorSnapshot, now: WallTime) -> Option<Draft> {
    let kind = sensor.kind.as_ref().map_or("generic", |kind| kind.as_str());
    let data = SensorReading {
        name: sensor.name.clone(),
        kind: kind.to_owned(),
        value: sensor.reading.as_ref().map(|reading| reading.value.clone()),
        unit: sensor.unit.as_ref().map(ToString::to_string),
        time: sensor.reading.as_ref().map(|reading| reading.time.to_string()),
        stale: sensor.stale,
        source_error: sensor.source_error.clone(),
    };
    Some(Draft {
        kind: EventType::SensorReading,
        name: kind.into(),
        time: sensor.reading.as_ref().map_or(now, |reading| reading.time),
        path: sensor.path.clone(),
        sensor: Some(sensor.id.clone()),
        severity: None,
        data: to_raw_value(&data).ok()?,
    })
}

/// A reading as the history keeps it; words are not kept.
fn row(reading: &Accepted) -> Option<ReadingRow> {
    let value = match reading.value {
        ReadingValue::Number(number) => number,
        ReadingValue::Flag(flag) => f64::from(u8::from(flag)),
        ReadingValue::Text(_) => return None,
    };
    Some(ReadingRow { sensor: reading.sensor.to_string(), time_ms: reading.time.unix_millis(), value })
}

async fn run_demo(inlet: Inlet, stopping: CancellationToken) {
    let (begin, origin) = (inlet.now(), Arc::from("demo"));
    loop {
        let seconds = inlet.now().since(begin).as_secs();
        inlet.take(&origin, demo::samples(seconds).into_iter().map(Ok).collect());
        let next = inlet.clock().instant(inlet.now() + demo::INTERVAL);
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = sleep_until(next) => {}
        }
    }
}

/// Our name at brokers: drawn once, and kept, so that a broker knows us again. One that cannot be kept is drawn anew.
fn client_id(state_dir: &Path, wanted: bool) -> String {
    let file = state_dir.join(CLIENT_FILE);
    let known = fs::read_to_string(&file).ok().map(|text| text.trim().to_owned());
    let plain = |id: &String| id.len() == 18 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if let Some(known) = known.filter(plain) {
        return known;
    }
    let drawn = format!("campanile-{}", &SessionId::random().to_string()[..8]);
    if wanted {
        let kept = fs::create_dir_all(state_dir).and_then(|()| fs::write(&file, format!("{drawn}\n")));
        if let Err(error) = kept {
            warn!("{}: the client id cannot be kept: {}", file.display(), cannot(&error));
        }
    }
    drawn
}

fn cannot(error: &io::Error) -> String {
    error.kind().to_string()
}
