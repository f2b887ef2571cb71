//! What Home Assistant is told of us: our cameras, sensors and alerts, by its MQTT discovery. A machine: how the house
//! is goes in, the messages that say what is new come out. Sans-IO.
//!
//! Each camera, and each sensor, is an entity of one device; the broker keeps the announcements and the states. Whether
//! we are there stands on one topic, which is also our last will.

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
            "object_id": unique,
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
        let class = match kind {
            Some("water") => Some("moisture"),
            Some("air") => Some("aqi"),
            Some("battery_low") => Some("battery"),
            Some(known) if flag || numeric => Some(known),
            _ => None,
        };
        let unit = sensor.unit.as_ref().filter(|_| !flag).map(|unit| unit.symbol());
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

/// A name as a part of a topic and of an entity's id: Home Assistant takes letters, digits, `_` and `-`.
fn object_id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Monotonic, SensorId},
        config::SensorConfig,
        sensors::{
            formats::{Sample, home_assistant},
            registry::Registry,
            sensor::Arrival,
        },
    };

    fn house() -> HouseState {
        let id: SensorId = "cellar.t".parse().unwrap();
        let config = SensorConfig { kind: "temperature".parse().ok(), ..SensorConfig::default() };
        let mut registry = Registry::new([(&id, &config)], 4, Monotonic::default());
        let arrival = Arrival {
            origin: "http".into(),
            retained: false,
            wall: crate::base::WallTime::from_unix_nanos(1),
            now: Monotonic::default(),
        };
        registry.take(&Sample::new("cellar.t", ReadingValue::Number(21.5)), &arrival).unwrap();
        let wet = Sample { kind: "water".parse().ok(), ..Sample::new("leak", ReadingValue::Flag(true)) };
        registry.take(&wet, &arrival).unwrap();
        let camera = CameraState { path: "site/gate".into(), title: None, state: "lost".into() };
        HouseState { cameras: vec![camera], alerts: Vec::new(), sensors: (*registry.snapshot()).clone() }
    }

    fn told(messages: &[Message]) -> BTreeMap<String, String> {
        messages.iter().map(|m| (m.topic.clone(), String::from_utf8(m.payload.to_vec()).unwrap())).collect()
    }

    #[test]
    fn cameras_sensors_and_alerts_are_announced_once() {
        let mut announcer = Announcer::new(&AnnounceConfig::default());
        let first = announcer.messages(&house());
        assert!(first.iter().all(|message| message.retain));
        let position = |end: &str| first.iter().position(|message| message.topic.ends_with(end)).unwrap();
        assert!(position("/sensor_cellar_t/config") < position("campanile/sensor/sensor_cellar_t"));
        let said = told(&first);
        assert_eq!(said["campanile/status"], "online");
        assert_eq!(said["campanile/camera/camera_site_gate"], "offline");
        assert_eq!(said["campanile/sensor/sensor_cellar_t"], "21.5");
        assert_eq!(said["campanile/sensor/sensor_leak"], "ON");
        assert!(announcer.messages(&house()).is_empty(), "what was told is not told again");
        let mut without = house();
        without.cameras.clear();
        let gone = told(&announcer.messages(&without));
        assert_eq!(gone["homeassistant/binary_sensor/campanile/camera_site_gate/config"], "");
        announcer.forget();
        assert!(announcer.messages(&house()).len() > 5);
        assert!(announcer.is_birth("homeassistant/status", b"online"));
        assert!(!announcer.is_birth("homeassistant/status", b"offline"));
    }

    /// The required keys, and what each may hold, by Home Assistant's documentation of MQTT discovery.
    #[test]
    fn announcements_have_the_documented_shape_and_read_back() {
        let mut announcer = Announcer::new(&AnnounceConfig::default());
        let mut read = 0;
        for message in announcer.messages(&house()) {
            let Some(below) = message.topic.strip_prefix("homeassistant/") else { continue };
            assert!(below.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b)), "{below}");
            let config: Value = serde_json::from_slice(&message.payload).unwrap();
            for key in ["name", "unique_id", "state_topic", "availability_topic"] {
                assert!(config[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {config}");
            }
            assert!(config["device"]["identifiers"].is_array() && config["origin"]["name"] == "Campanile");
            if config["unit_of_measurement"].is_string() {
                assert!(config["state_class"].is_string(), "{config}");
            }
            let announcement = home_assistant::read(below, &message.payload).unwrap().unwrap();
            assert_eq!((announcement.sensors.len(), announcement.refused.len()), (1, 0), "{announcement:?}");
            read += 1;
        }
        assert_eq!(read, 5);
    }
}
