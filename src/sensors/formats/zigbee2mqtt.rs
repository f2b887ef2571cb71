//! Zigbee2MQTT: `{prefix}/{friendly name}` with flat JSON, `{prefix}/{friendly name}/availability`. A friendly name may
//! hold slashes.

use serde_json::Value;

use super::{FormatError, Report, Sample, document, part, value};
use crate::{config::SensorKind, events::payload::ReadingValue, sensors::time::Stated};

/// Reads a message; `topic` begins after the prefix.
///
/// # Errors
/// [`FormatError`], if it is none of this system's.
pub fn read(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    if topic == "bridge" || topic.starts_with("bridge/") {
        return Ok(Vec::new());
    }
    if let Some(device) = topic.strip_suffix("/availability") {
        return availability(device, payload);
    }
    // What is asked of devices, not what they say.
    if topic.ends_with("/set") || topic.ends_with("/get") || payload.is_empty() {
        return Ok(Vec::new());
    }
    let Value::Object(object) = document(payload)? else { return Err(FormatError::Shape("an object")) };
    let time = object.get("last_seen").and_then(Stated::of_json);
    let device = topic.to_owned();
    let id = topic.split('/').map(part).collect::<Vec<_>>().join(".");
    let samples = object.iter().filter_map(|(key, found)| {
        let (name, kind, inverted) = property(key)?;
        let value = match value::of_json(found)? {
            ReadingValue::Flag(flag) if inverted => ReadingValue::Flag(!flag),
            // An `action` goes back to an empty text after each press.
            ReadingValue::Text(text) if text.is_empty() => return None,
            value => value,
        };
        let unit = unit(key, &value).and_then(|unit| unit.parse().ok());
        let kind: Option<SensorKind> = kind.parse().ok();
        let sample = Sample {
            device: Some(device.clone()),
            name: Some(format!("{topic} {}", name.replace('_', " "))),
            kind,
            unit,
            time,
            ..Sample::new(format!("{id}.{name}"), value)
        };
        Some(Report::Sample(sample))
    });
    Ok(samples.collect())
}

/// `online`, or `{"state": "online"}` since version 1.24.
fn availability(device: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let state = match document(payload) {
        Ok(Value::Object(object)) => object.get("state").and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => super::text(payload)?.to_owned(),
    };
    match state.as_str() {
        "online" | "offline" => Ok(vec![Report::Availability { device: device.to_owned(), online: state == "online" }]),
        "" => Ok(Vec::new()),
        _ => Err(FormatError::Shape("`online` or `offline`")),
    }
}

/// The properties that are sensors: what the part of the id is, the kind, and whether yes means no. (`contact` is true
/// while a door is closed.) Settings and the radio's own figures are none.
fn property(key: &str) -> Option<(&'static str, &'static str, bool)> {
    Some(match key {
        "action" => ("action", "action", false),
        "alarm" => ("alarm", "safety", false),
        "battery" => ("battery", "battery", false),
        "battery_low" => ("battery_low", "battery_low", false),
        "carbon_monoxide" => ("carbon_monoxide", "carbon_monoxide", false),
        "co2" => ("co2", "carbon_dioxide", false),
        "contact" => ("contact", "opening", true),
        "current" => ("current", "current", false),
        "device_temperature" => ("device_temperature", "temperature", false),
        "energy" => ("energy", "energy", false),
        "gas" => ("gas", "gas", false),
        "humidity" => ("humidity", "humidity", false),
        "illuminance" => ("illuminance", "illuminance", false),
        "illuminance_lux" => ("illuminance", "illuminance", false),
        "local_temperature" => ("temperature", "temperature", false),
        "motion" => ("motion", "motion", false),
        "occupancy" => ("occupancy", "occupancy", false),
        "pm10" => ("pm10", "pm10", false),
        "pm25" => ("pm25", "pm25", false),
        "power" => ("power", "power", false),
        "presence" => ("presence", "occupancy", false),
        "pressure" => ("pressure", "pressure", false),
        "smoke" => ("smoke", "smoke", false),
        "soil_moisture" => ("soil_moisture", "humidity", false),
        "tamper" => ("tamper", "tamper", false),
        "temperature" => ("temperature", "temperature", false),
        "vibration" => ("vibration", "vibration", false),
        "voc" => ("voc", "volatile_organic_compounds", false),
        "voltage" => ("voltage", "voltage", false),
        "water_leak" => ("water_leak", "water", false),
        _ => return None,
    })
}

/// A battery's voltage is in millivolts, the mains' in volts, under one name.
fn unit(key: &str, value: &ReadingValue) -> Option<&'static str> {
    match (key, value) {
        ("voltage", ReadingValue::Number(number)) if *number > 1000.0 => Some("mV"),
        _ => None,
    }
}
