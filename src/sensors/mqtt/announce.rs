//! What Home Assistant is told of us: our cameras, sensors and alerts, by its MQTT discovery. A machine: how the house
//! is goes in, the messages that say what is new come out. Sans-IO.
//!
//! Each camera, and each sensor, is an entity of one device; the broker keeps the announcements and the states. Whether
//! we are there stands on one topic, which is also our last will. `tests/data/home_assistant/discovery.schema.json` says
//! what Home Assistant's documentation allows.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    config::{AnnounceConfig, sensor_kind::Measure},
    events::payload::ReadingValue,
    sensors::{registry::Snapshot, sensor::SensorSnapshot},
};

/// A message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// The broker keeps it.
    pub retain: bool,
}

/// How everything is that is announced.
#[derive(Clone, Debug, Default)]
pub struct HouseState {
    /// The cameras.
    pub cameras: Vec<CameraState>,
    /// The alerts that go on.
    pub alerts: Vec<AlertState>,
    /// The sensors.
    pub sensors: Snapshot,
}

/// A camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraState {
    /// The path's name.
    pub path: String,
    /// What people call it.
    pub title: Option<String>,
    /// `idle`, `waiting`, `ready`, `stalled` or `lost`.
    pub state: String,
}

/// An alert that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertState {
    /// What distinguishes it.
    pub fingerprint: String,
    /// One line for people.
    pub title: String,
    /// `info`, `warning`, `critical`.
    pub severity: String,
}

/// Who knows how everything is.
pub trait House: Send + Sync {
    /// How everything is; the sensors are given.
    fn state(&self, sensors: &Snapshot) -> HouseState;
}

/// Entities that are announced, at most.
const ENTITIES: usize = 2_000;

/// What was told already.
#[derive(Debug)]
pub struct Announcer {
    discovery: String,
    prefix: String,
    told: BTreeMap<String, Bytes>,
}

impl Announcer {
    /// Nothing was told yet.
    pub fn new(config: &AnnounceConfig) -> Self {
        Self {
            discovery: config.discovery_prefix.as_str().to_owned(),
            prefix: config.prefix.as_str().to_owned(),
            told: BTreeMap::new(),
        }
    }

    fn status(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// What the broker says when we are gone.
    pub fn will(&self) -> (String, Bytes) {
        (self.status(), Bytes::from_static(b"offline"))
    }

    /// Where Home Assistant says that it is there.
    pub fn birth(&self) -> String {
        format!("{}/status", self.discovery)
    }

    /// Whether this message says so.
    pub fn is_birth(&self, topic: &str, payload: &[u8]) -> bool {
        payload == b"online" && topic.strip_prefix(self.discovery.as_str()) == Some("/status")
    }

    /// Everything is to be told again.
    pub fn forget(&mut self) {
        self.told.clear();
    }

    /// What is new, announcements before states. What is gone is taken back by an empty announcement.
    pub fn messages(&mut self, house: &HouseState) -> Vec<Message> {
        let mut wanted: Vec<(String, Bytes)> = Vec::new();
        for camera in house.cameras.iter().take(ENTITIES) {
            self.camera(camera, &mut wanted);
        }
        for sensor in house.sensors.sensors.iter().take(ENTITIES) {
            self.sensor(sensor, &mut wanted);
        }
        self.alerts(&house.alerts, &mut wanted);
        wanted.push((self.status(), Bytes::from_static(b"online")));
        wanted.sort_by_key(|(topic, _)| !topic.ends_with("/config"));
        let mut messages = Vec::new();
        let gone = |topic: &&String| topic.ends_with("/config") && wanted.iter().all(|(wanted, _)| wanted != *topic);
        let gone: Vec<String> = self.told.keys().filter(gone).cloned().collect();
        for topic in gone {
            self.told.remove(&topic);
            messages.push(Message { topic, payload: Bytes::new(), retain: true });
        }
        for (topic, payload) in wanted {
            if self.told.get(&topic) != Some(&payload) {
                self.told.insert(topic.clone(), payload.clone());
                messages.push(Message { topic, payload, retain: true });
            }
        }
        messages
    }

    /// An entity's announcement: what all of them have in common, and its own.
    fn entity(
        &self,
        component: &str,
        id: &str,
        name: &str,
        state: &str,
        own: Value,
        wanted: &mut Vec<(String, Bytes)>,
    ) {
        let unique = format!("{}_{id}", object_id(&self.prefix));
        let mut config = json!({
            "name": name,
            "unique_id": unique,
            // `object_id` did this until 2026.4, and does nothing any more.
            "default_entity_id": format!("{component}.{}", unique.to_ascii_lowercase().replace('-', "_")),
            "state_topic": state,
            "availability_topic": self.status(),
            "origin": { "name": "Campanile", "sw_version": env!("CARGO_PKG_VERSION") },
            "device": {
                "identifiers": [object_id(&self.prefix)],
                "name": "Campanile",
                "manufacturer": "Campanile",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
        });
        if let (Some(config), Value::Object(own)) = (config.as_object_mut(), own) {
            config.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let topic = format!("{}/{component}/{}/{id}/config", self.discovery, object_id(&self.prefix));
        wanted.push((topic, Bytes::from(config.to_string())));
    }

    fn camera(&self, camera: &CameraState, wanted: &mut Vec<(String, Bytes)>) {
        let id = format!("camera_{}", object_id(&camera.path));
        let state = format!("{}/camera/{id}", self.prefix);
        let name = camera.title.as_deref().unwrap_or(&camera.path);
        let own = json!({
            "device_class": "connectivity",
            "payload_on": "online",
            "payload_off": "offline",
            "json_attributes_topic": format!("{state}/attributes"),
        });
        self.entity("binary_sensor", &id, name, &state, own, wanted);
        // A camera that nobody watches is not away.
        let online = matches!(camera.state.as_str(), "ready" | "idle" | "waiting");
        wanted.push((state.clone(), Bytes::from_static(if online { b"online" } else { b"offline" })));
        let attributes = json!({ "path": camera.path, "state": camera.state }).to_string();
        wanted.push((format!("{state}/attributes"), Bytes::from(attributes)));
    }

    fn sensor(&self, sensor: &SensorSnapshot, wanted: &mut Vec<(String, Bytes)>) {
        // What came from Home Assistant's own brokers is known there already.
        if sensor.origin.as_deref().is_some_and(|origin| origin.starts_with("mqtt:")) {
            return;
        }
        let id = format!("sensor_{}", object_id(sensor.id.as_str()));
        let state = format!("{}/sensor/{id}", self.prefix);
        let kind = sensor.kind.as_ref().map(|kind| kind.as_str());
        let flag = sensor.kind.as_ref().is_some_and(|kind| kind.is_flag());
        let numeric = matches!(sensor.kind.as_ref().and_then(|kind| kind.measure()), Some(Measure::Number(_)));
        let unit = sensor.unit.as_ref().filter(|_| !flag).map(|unit| unit.symbol());
        let class = match kind {
            Some("water") => Some("moisture"),
            // An index has no unit.
            Some("air") => Some("aqi").filter(|_| unit.is_none()),
            Some("battery_low") => Some("battery"),
            // What a tank holds; its `volume` is what has run through a meter.
            Some("volume") => Some("volume_storage"),
            Some(known) if flag || numeric => Some(known).filter(|class| class_takes(class, unit)),
            _ => None,
        };
        let expire = sensor.expected_interval.map(|interval| (interval * 3).as_secs().max(1));
        let own = json!({
            "device_class": class,
            "unit_of_measurement": unit,
            "state_class": unit.map(|_| if kind == Some("energy") { "total_increasing" } else { "measurement" }),
            "expire_after": expire,
        });
        self.entity(if flag { "binary_sensor" } else { "sensor" }, &id, &sensor.name, &state, own, wanted);
        let value = match sensor.reading.as_ref().filter(|_| !sensor.stale).map(|reading| &reading.value) {
            Some(ReadingValue::Flag(true)) => "ON".to_owned(),
            Some(ReadingValue::Flag(false)) => "OFF".to_owned(),
            Some(value) => value.to_string(),
            // Home Assistant's word for a state that is not known.
            None => "None".to_owned(),
        };
        wanted.push((state, Bytes::from(value)));
    }

    fn alerts(&self, alerts: &[AlertState], wanted: &mut Vec<(String, Bytes)>) {
        let state = format!("{}/alerts", self.prefix);
        let own = json!({
            "icon": "mdi:alert",
            "value_template": "{{ value_json.active }}",
            "json_attributes_topic": state,
        });
        self.entity("sensor", "alerts", "Alerts", &state, own, wanted);
        let own = json!({ "device_class": "problem", "value_template": "{{ value_json.problem }}" });
        self.entity("binary_sensor", "alert", "Alert", &state, own, wanted);
        let list: Vec<Value> = alerts
            .iter()
            .take(50)
            .map(|alert| json!({ "fingerprint": alert.fingerprint, "title": alert.title, "severity": alert.severity }))
            .collect();
        let problem = if alerts.is_empty() { "OFF" } else { "ON" };
        let said = json!({ "active": alerts.len(), "problem": problem, "alerts": list });
        wanted.push((state, Bytes::from(said.to_string())));
    }
}

/// Whether a class of Home Assistant's takes this unit, of those that ours converts to: its table knows fewer for some.
fn class_takes(class: &str, unit: Option<&str>) -> bool {
    match (class, unit) {
        ("precipitation", Some(unit)) => matches!(unit, "mm" | "cm" | "in"),
        ("pm1" | "pm10" | "pm25", Some(unit)) => unit == "µg/m³",
        ("carbon_dioxide", Some(unit)) => unit == "ppm",
        _ => true,
    }
}

/// A name as a part of a topic and of an entity's id: Home Assistant takes letters, digits, `_` and `-`.
fn object_id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
