//! Announcements against what Home Assistant's documentation allows.

use super::*;
use crate::{
    base::{Monotonic, SensorId},
    config::{SensorConfig, SensorKind, Unit},
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

/// What Home Assistant's documentation says of discovery, as a JSON Schema (draft 2020-12).
const SCHEMA: &str = include_str!("../../../../tests/data/home_assistant/discovery.schema.json");

/// The complaints of a schema about a value: as much of JSON Schema as that file uses. Any other keyword is an error.
fn complaints(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let rules = match schema {
        Value::Bool(true) => return,
        Value::Bool(false) => return found.push(format!("{at}: may not be there")),
        Value::Object(rules) => rules,
        other => panic!("no schema: {other}"),
    };
    let holds = |schema: &Value| {
        let mut found = Vec::new();
        complaints(root, schema, value, at, &mut found);
        found.is_empty()
    };
    for (keyword, rule) in rules {
        let list = rule.as_array().map(Vec::as_slice).unwrap_or_default();
        let good = match (keyword.as_str(), value) {
            ("$comment" | "then", _) => true,
            ("$ref", _) => {
                let place = rule.as_str().unwrap().strip_prefix('#').unwrap();
                complaints(root, root.pointer(place).unwrap(), value, at, found);
                true
            }
            ("type", _) => {
                let names = if rule.is_array() { list } else { std::slice::from_ref(rule) };
                names.iter().any(|name| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                })
            }
            ("const", _) => rule == value,
            ("enum", _) => list.contains(value),
            ("anyOf", _) => list.iter().any(holds),
            ("allOf", _) => {
                list.iter().for_each(|schema| complaints(root, schema, value, at, found));
                true
            }
            ("not", _) => !holds(rule),
            ("if", _) => {
                if holds(rule) {
                    complaints(root, &rules["then"], value, at, found);
                }
                true
            }
            ("required", Value::Object(value)) => list.iter().all(|key| value.contains_key(key.as_str().unwrap())),
            ("dependentRequired", Value::Object(value)) => rule.as_object().unwrap().iter().all(|(key, needed)| {
                let needed = needed.as_array().unwrap();
                !value.contains_key(key) || needed.iter().all(|key| value.contains_key(key.as_str().unwrap()))
            }),
            ("properties", Value::Object(value)) => {
                for (key, value) in value {
                    let at = format!("{at}.{key}");
                    match (rule.get(key), rules.get("additionalProperties")) {
                        (Some(schema), _) | (None, Some(schema)) => complaints(root, schema, value, &at, found),
                        (None, None) => {}
                    }
                }
                true
            }
            ("additionalProperties", Value::Object(value)) if !rules.contains_key("properties") => {
                value.iter().for_each(|(key, value)| complaints(root, rule, value, &format!("{at}.{key}"), found));
                true
            }
            ("items", Value::Array(items)) => {
                items.iter().for_each(|item| complaints(root, rule, item, &format!("{at}[]"), found));
                true
            }
            ("minItems", Value::Array(items)) => items.len() as u64 >= rule.as_u64().unwrap(),
            ("maxItems", Value::Array(items)) => items.len() as u64 <= rule.as_u64().unwrap(),
            ("minimum", Value::Number(number)) => number.as_f64() >= rule.as_f64(),
            ("minLength", Value::String(text)) => text.chars().count() as u64 >= rule.as_u64().unwrap(),
            ("pattern", Value::String(text)) => regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text),
            (
                "required"
                | "dependentRequired"
                | "properties"
                | "additionalProperties"
                | "items"
                | "minItems"
                | "maxItems"
                | "minimum"
                | "minLength"
                | "pattern",
                _,
            ) => true,
            (other, _) => panic!("the keyword {other} is not known here"),
        };
        if !good {
            found.push(format!("{at}: {value} breaks {keyword} {rule}"));
        }
    }
}

/// What the documentation has against an announcement, whatever it abbreviates.
fn judge(schema: &Value, topic: &str, announcement: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if !regex::Regex::new(schema["x-topic"].as_str().unwrap()).unwrap().is_match(topic) {
        found.push(format!("{topic}: no topic of an announcement"));
    }
    let component = topic.split('/').next().unwrap();
    let component = if component == "device" { "device_discovery" } else { component };
    let spelled = spell_out(schema, announcement);
    complaints(schema, &schema["$defs"][component], &spelled, component, &mut found);
    found
}

fn spell_out(schema: &Value, value: &Value) -> Value {
    let long = |key: &String| {
        schema["x-abbreviations"].get(key).map_or(key.as_str(), |long| long.as_str().unwrap()).to_owned()
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (long(key), spell_out(schema, value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| spell_out(schema, item)).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// A sensor of every kind there is, in every unit that one may have, and some that no kind knows.
fn every_sensor() -> Snapshot {
    let mut sensors = Vec::new();
    for kind in SensorKind::all() {
        let units: Vec<Option<Unit>> = match kind.measure() {
            Some(Measure::Number(own)) => {
                let own: Unit = own.parse().unwrap();
                Unit::all().filter(|unit| unit.converts_to(&own)).map(Some).collect()
            }
            Some(Measure::Plain) => vec![None, "µg/m³".parse().ok()],
            _ => vec![None],
        };
        sensors.extend(units.into_iter().map(|unit| (Some(kind.clone()), unit)));
    }
    assert!(sensors.len() > 80, "{}", sensors.len());
    sensors.push((None, "widgets".parse().ok()));
    sensors.push(("cheese".parse().ok(), None));
    let interval = Some("5s".parse().unwrap());
    let configs: Vec<(SensorId, SensorConfig)> = (0..)
        .zip(sensors)
        .map(|(n, (kind, unit))| {
            let id: SensorId = format!("Odd.One-{n}:x").parse().unwrap();
            (id, SensorConfig { kind, unit, expected_interval: interval, ..SensorConfig::default() })
        })
        .collect();
    let mut registry = Registry::new(configs.iter().map(|(id, config)| (id, config)), 4, Monotonic::default());
    (*registry.snapshot()).clone()
}

#[test]
fn every_announcement_is_what_home_assistants_documentation_allows() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut announcer = Announcer::new(&AnnounceConfig::default());
    let camera = |path: &str, title: Option<&str>| CameraState {
        path: path.into(),
        title: title.map(str::to_owned),
        state: "ready".into(),
    };
    let alert = AlertState { fingerprint: "ab".into(), title: "Too \"warm\"".into(), severity: "warning".into() };
    let state = HouseState {
        cameras: vec![camera("site/Gate-1", Some("Gate")), camera("x", None)],
        alerts: vec![alert],
        sensors: every_sensor(),
    };
    let (mut judged, mut found) = (0, Vec::new());
    for message in announcer.messages(&state) {
        let Some(topic) = message.topic.strip_prefix("homeassistant/") else { continue };
        let announcement: Value = serde_json::from_slice(&message.payload).unwrap();
        found.extend(judge(&schema, topic, &announcement).into_iter().map(|why| format!("{topic}: {why}")));
        // What we say we understand ourselves, if it came from somebody else.
        let read = home_assistant::read(topic, &message.payload).unwrap().unwrap();
        assert_eq!((read.sensors.len(), read.refused.len()), (1, 0), "{read:?}");
        judged += 1;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(judged > 80, "{judged}");
}

/// The examples of the documentation pass, and what it forbids does not.
#[test]
fn the_schema_tells_good_announcements_from_bad_ones() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let bad = |topic: &str, announcement: Value| judge(&schema, topic, &announcement);
    let none: &[String] = &[];
    let garden = json!({
        "name": null, "device_class": "motion", "state_topic": "homeassistant/binary_sensor/garden/state",
        "unique_id": "motion01ad", "device": { "identifiers": ["01ad"], "name": "Garden" },
    });
    assert_eq!(bad("binary_sensor/garden/config", garden.clone()), none);
    let short = json!({
        "dev_cla": "temperature", "stat_t": "a/b", "unit_of_meas": "°C", "val_tpl": "{{ value_json.t }}",
        "uniq_id": "temp01ae", "dev": { "ids": ["bedroom01ae"], "mf": "Example" }, "o": { "name": "x", "sw": "1" },
    });
    assert_eq!(bad("sensor/bedroom/t/config", short.clone()), none);
    let device = json!({
        "dev": { "ids": "ea3", "name": "Kitchen" }, "o": { "name": "bla2mqtt", "url": "https://bla2mqtt.example" },
        "cmps": { "t": { "p": "sensor", "unique_id": "t", "state_topic": "a" } },
    });
    assert_eq!(bad("device/ea3/config", device.clone()), none);
    let without = |whole: &Value, key: &str| {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(key).unwrap();
        part
    };
    let with = |whole: &Value, key: &str, value: Value| {
        let mut changed = whole.clone();
        changed[key] = value;
        changed
    };
    for (topic, announcement) in [
        ("binary_sensor/garden/config", without(&garden, "state_topic")),
        ("binary_sensor/garden/config", without(&garden, "unique_id")),
        ("binary_sensor/garden/config", with(&garden, "device", json!({ "name": "Garden" }))),
        ("binary_sensor/garden/config", with(&garden, "device_class", json!("cheese"))),
        ("binary_sensor/garden/config", with(&garden, "object_id", json!("garden"))),
        ("binary_sensor/garden/config", with(&garden, "state_topic", json!("a/+"))),
        ("binary_sensor/gar den/config", garden.clone()),
        ("sensor/garden/config", with(&garden, "device_class", json!("motion"))),
        ("sensor/bedroom/t/config", with(&short, "unit_of_meas", json!("W"))),
        ("sensor/bedroom/t/config", without(&short, "unit_of_meas")),
        ("sensor/bedroom/t/config", with(&short, "default_entity_id", json!("bedroom"))),
        ("sensor/bedroom/t/config", with(&short, "exp_aft", json!("60"))),
        ("sensor/bedroom/t/config", with(&short, "o", json!({ "sw": "1" }))),
        ("device/ea3/config", without(&device, "o")),
        ("device/ea3/config", with(&device, "cmps", json!({ "t": { "state_topic": "a" } }))),
    ] {
        assert_ne!(bad(topic, announcement.clone()), none, "{topic} {announcement}");
    }
}
