//! The sections `mqtt` and `sensors` as the room takes them, and what Home Assistant is told of the other rooms.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::sleep;
use tracing::info_span;

use super::watchers::RuleWatcher;
use crate::{
    auth::Grant,
    base::{Clock, PathName, Tasks},
    config::{Config, ConfigOrigin, Source},
    events::{
        Delivery, EventType, Events, Filter, From, Scope, Types,
        payload::{AlertEvent, AlertState as Standing},
    },
    hub::{Hub, StreamState},
    sensors::{AlertState, CameraState, House, HouseState, Outlets, Sensors, SensorsOptions, Snapshot},
    store::Store,
};

/// What the room is told at its start. Without a configuration the demo camera has sensors beside it.
pub(super) fn options(config: &Config, origin: &ConfigOrigin) -> SensorsOptions {
    let mut paths = config.paths.iter();
    let demo =
        paths.find(|(_, path)| path.source == Some(Source::Demo)).and_then(|(key, _)| key.to_string().parse().ok());
    SensorsOptions {
        mqtt: config.mqtt.clone(),
        sensors: config.sensors.clone(),
        made_max: config.limits.sensors as usize,
        state_dir: config.state_dir.clone(),
        demo: matches!(origin, ConfigOrigin::Demo).then_some(demo),
    }
}

/// How cameras and alerts are, for Home Assistant.
struct Announced {
    hub: Hub,
    config: Arc<Config>,
    /// By fingerprint. Held for a change, or for a copy.
    alerts: Arc<Mutex<BTreeMap<String, AlertState>>>,
}

impl House for Announced {
    fn state(&self, sensors: &Snapshot) -> HouseState {
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        HouseState { cameras: cameras(&self.hub, &self.config), alerts, sensors: sensors.clone() }
    }
}

/// The cameras of the configuration; those a pattern made come and go, and are nobody's furniture.
fn cameras(hub: &Hub, config: &Config) -> Vec<CameraState> {
    let camera = |name: &PathName| {
        let path = hub.path(&Grant::house("announcements", name.clone())).ok()?;
        let state = match path.main().snapshot().state {
            StreamState::Idle => "idle",
            StreamState::Waiting => "waiting",
            StreamState::Ready => "ready",
            StreamState::Stalled => "stalled",
            StreamState::Lost => "lost",
        };
        Some(CameraState { path: name.to_string(), title: path.spec().title.clone(), state: state.to_owned() })
    };
    config.paths.names().filter_map(camera).collect()
}

/// How often cameras are looked at for Home Assistant.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);
/// Alerts of the past that are looked through for those that go on.
const ALERTS_BACK: usize = 1_000;

/// Starts the room, and what tells Home Assistant of the others if a broker is to.
pub(super) fn start(
    config: &Arc<Config>,
    origin: &ConfigOrigin,
    hub: Hub,
    (events, store): (&Events, &Store),
    rules: Arc<RuleWatcher>,
    clock: Clock,
    tasks: &Tasks,
) -> Sensors {
    let alerts = Arc::<Mutex<BTreeMap<String, AlertState>>>::default();
    let house = Announced { hub: hub.clone(), config: config.clone(), alerts: alerts.clone() };
    let told = rules.clone();
    let outlets = Outlets {
        readings: Box::new(move |taken| taken.iter().for_each(|reading| rules.handle_reading(reading))),
        changed: Box::new(move |changed| changed.iter().for_each(|sensor| told.handle_change(sensor))),
        house: Arc::new(house),
    };
    let sensors = Sensors::start(options(config, origin), events.clone(), store.readings(), outlets, clock, tasks);
    if config.mqtt.brokers.values().any(|broker| broker.announce.is_some()) {
        watch_house(config.clone(), hub, events.clone(), alerts, sensors.clone(), tasks);
    }
    sensors
}

/// Follows cameras and alerts, and says when there is something new to announce.
fn watch_house(
    config: Arc<Config>,
    hub: Hub,
    events: Events,
    alerts: Arc<Mutex<BTreeMap<String, AlertState>>>,
    sensors: Sensors,
    tasks: &Tasks,
) {
    let (stopping, told) = (tasks.stopping().clone(), sensors.clone());
    tasks.spawn("announce/cameras", info_span!("sensors"), async move {
        let mut before = Vec::new();
        loop {
            let now = cameras(&hub, &config);
            if now != before {
                before = now;
                told.house_changed();
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    });
    let stopping = tasks.stopping().clone();
    tasks.spawn("announce/alerts", info_span!("sensors"), async move {
        let filter = Filter::everything().event_types([EventType::Alert.name()]).unwrap_or_default();
        let scope = || Scope::house().within(Types::of(&[EventType::Alert]));
        let mut follower = events.follow(scope(), filter.clone(), From::Now);
        for fact in events.recent(&scope(), &filter, ALERTS_BACK).await {
            take_note(&alerts, &fact.body);
        }
        loop {
            let delivery = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                delivery = follower.next() => delivery,
            };
            match delivery {
                Delivery::Facts(facts) => facts.iter().for_each(|fact| take_note(&alerts, &fact.body)),
                Delivery::Over => return,
                Delivery::Values(_) | Delivery::Gap { .. } => {}
            }
            sensors.house_changed();
        }
    });
}

/// The part of an alert's envelope that is of interest here.
#[derive(serde::Deserialize)]
struct Envelope {
    data: AlertEvent,
}

fn take_note(alerts: &Mutex<BTreeMap<String, AlertState>>, body: &[u8]) {
    let Ok(Envelope { data: AlertEvent { alert, .. } }) = serde_json::from_slice(body) else { return };
    let mut alerts = alerts.lock().unwrap_or_else(PoisonError::into_inner);
    if alert.state == Standing::Cleared {
        alerts.remove(&alert.fingerprint);
        return;
    }
    let severity = alert.severity.name().to_owned();
    let state = AlertState { fingerprint: alert.fingerprint.clone(), title: alert.title, severity };
    alerts.insert(alert.fingerprint, state);
}
