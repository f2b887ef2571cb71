//! Shelly. Generation 2 and later: `{device}/events/rpc` with `NotifyStatus` (only what changed) and `NotifyFullStatus`,
//! `{device}/status/{component}:{id}`, `{device}/online`. Generation 1: `shellies/{device}/sensor/{what}` and the like,
//! plain values. Devices with batteries sleep: that they are silent says nothing.

use serde_json::{Map, Value};

use super::{FormatError, REPORTS_MAX, Report, Sample, document, part, text, value};
use crate::{events::payload::ReadingValue, sensors::time::Stated};

/// Reads a message; `topic` is the whole topic.
///
/// # Errors
/// [`FormatError`], if it is none of this system's.
pub fn read(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    if let Some(rest) = topic.strip_prefix("shellies/") {
        return generation_1(rest, payload);
    }
    let levels: Vec<&str> = topic.split('/').collect();
    let device = |below: usize| levels[..levels.len() - below].join("/");
    match levels.as_slice() {
        [_, .., "events", "rpc"] => events(&device(2), payload),
        [_, .., "status", component] if component.contains(':') => {
            let Value::Object(status) = document(payload)? else { return Err(FormatError::Shape("an object")) };
            let mut reports = Vec::new();
            component_of(&device(2), component, &status, None, &mut reports);
            Ok(reports)
        }
        [_, .., "online"] => online(&device(1), payload),
        _ => Ok(Vec::new()),
    }
}

fn online(device: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    match text(payload)? {
        "true" => Ok(vec![Report::Availability { device: device.to_owned(), online: true }]),
        "false" => Ok(vec![Report::Availability { device: device.to_owned(), online: false }]),
        _ => Ok(Vec::new()),
    }
}

fn events(device: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let document = document(payload)?;
    let Some(method) = document.get("method").and_then(Value::as_str) else {
        return Err(FormatError::Shape("a notification with `method`"));
    };
    if !matches!(method, "NotifyStatus" | "NotifyFullStatus") {
        return Ok(Vec::new());
    }
    let Some(Value::Object(parameters)) = document.get("params") else {
        return Err(FormatError::Shape("`params` to be an object"));
    };
    let time = parameters.get("ts").and_then(Stated::of_json);
    let mut reports = Vec::new();
    for (component, status) in parameters {
        if let Value::Object(status) = status {
            component_of(device, component, status, time, &mut reports);
        }
        if reports.len() > REPORTS_MAX {
            return Err(FormatError::TooMany);
        }
    }
    Ok(reports)
}

/// What a component's status holds: where, the kind, the unit.
type Properties = &'static [(&'static str, &'static str, &'static str)];

const PROPERTIES: &[(&str, Properties)] = &[
    ("temperature", &[("/tC", "temperature", "°C")]),
    ("humidity", &[("/rh", "humidity", "%")]),
    ("illuminance", &[("/lux", "illuminance", "lx")]),
    ("devicepower", &[("/battery/percent", "battery", "%")]),
    ("smoke", &[("/alarm", "smoke", "")]),
    ("flood", &[("/alarm", "water", "")]),
    ("motion", &[("/motion", "motion", "")]),
    ("presence", &[("/state", "occupancy", "")]),
    ("input", &[("/state", "input", ""), ("/percent", "input", "%")]),
    ("voltmeter", &[("/voltage", "voltage", "V")]),
    ("pm1", METER),
    ("switch", METER),
    ("cover", METER),
    ("em1", &[("/act_power", "power", "W"), ("/voltage", "voltage", "V"), ("/current", "current", "A")]),
    ("em", &[("/total_act_power", "power", "W"), ("/total_current", "current", "A")]),
];

const METER: Properties = &[
    ("/apower", "power", "W"),
    ("/voltage", "voltage", "V"),
    ("/current", "current", "A"),
    ("/aenergy/total", "energy", "Wh"),
    ("/temperature/tC", "temperature", "°C"),
    ("/output", "output", ""),
];

fn component_of(
    device: &str,
    component: &str,
    status: &Map<String, Value>,
    time: Option<Stated>,
    reports: &mut Vec<Report>,
) {
    let name = component.split(':').next().unwrap_or(component);
    let Some((_, properties)) = PROPERTIES.iter().find(|(known, _)| *known == name) else { return };
    let device_id = device.split('/').map(part).collect::<Vec<_>>().join(".");
    for (pointer, kind, unit) in *properties {
        let mut steps = pointer[1..].split('/');
        let found = steps.next().and_then(|first| status.get(first));
        let found = steps.fold(found, |found, step| found.and_then(|found| found.get(step)));
        // A sensor that fails says `null`, and which errors it has beside it.
        let Some(value) = found.and_then(value::of_json) else { continue };
        let alone = properties.len() == 1;
        let id = part(component);
        let id = if alone { id } else { format!("{id}.{kind}") };
        reports.push(Report::Sample(Sample {
            device: Some(device.to_owned()),
            name: Some(format!("{device} {}", id.replace(['.', '_'], " "))),
            kind: kind.parse().ok(),
            unit: unit.parse().ok().filter(|_| matches!(value, ReadingValue::Number(_))),
            time,
            ..Sample::new(format!("{device_id}.{id}"), value)
        }));
    }
}

/// `{device}/sensor/temperature`, `{device}/relay/0/power`, `{device}/emeter/0/total`, `{device}/ext_temperature/0`.
fn generation_1(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let (device, rest) = (levels[0], &levels[1..]);
    let (kind, unit, in_minutes) = match rest {
        ["online"] => return online(device, payload),
        ["sensor", "temperature"] | ["temperature"] | ["ext_temperature", _] => ("temperature", "°C", false),
        ["sensor", "humidity"] | ["ext_humidity", _] => ("humidity", "%", false),
        ["sensor", "lux"] => ("illuminance", "lx", false),
        ["sensor", "battery"] => ("battery", "%", false),
        ["sensor", "motion"] => ("motion", "", false),
        ["sensor", "smoke"] => ("smoke", "", false),
        ["sensor", "gas"] => ("gas", "", false),
        ["sensor", "flood"] => ("water", "", false),
        ["sensor", "vibration"] => ("vibration", "", false),
        ["sensor", "state"] => ("opening", "", false),
        ["relay" | "emeter" | "light", _, "power"] => ("power", "W", false),
        ["emeter", _, "voltage"] => ("voltage", "V", false),
        ["emeter", _, "current"] => ("current", "A", false),
        ["emeter", _, "total"] => ("energy", "Wh", false),
        // Watt-minutes (the API of generation 1, `/meter/0`).
        ["relay" | "light", _, "energy"] => ("energy", "Wh", true),
        _ => return Ok(Vec::new()),
    };
    let text = text(payload)?;
    // A sensor that is not there is 999 degrees hot.
    if value::is_nothing(text) || (kind == "temperature" && matches!(text, "999" | "999.0" | "999.00")) {
        return Ok(Vec::new());
    }
    let value = value::of_text(text).ok_or(FormatError::Shape("a short text"))?;
    let value = match value {
        ReadingValue::Number(minutes) if in_minutes => ReadingValue::Number(minutes / 60.0),
        value => value,
    };
    let id = rest.iter().filter(|level| **level != "sensor").map(|level| part(level)).collect::<Vec<_>>().join(".");
    Ok(vec![Report::Sample(Sample {
        device: Some(device.to_owned()),
        name: Some(format!("{device} {}", id.replace(['.', '_'], " "))),
        kind: kind.parse().ok(),
        unit: unit.parse().ok().filter(|_| matches!(value, ReadingValue::Number(_))),
        ..Sample::new(format!("{}.{id}", part(device)), value)
    })])
}
