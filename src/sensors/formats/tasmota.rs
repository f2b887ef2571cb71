//! Tasmota: `tele/{device}/SENSOR` with a JSON object per chip, `tele/{device}/LWT`, `stat/{device}/STATUS10` for the
//! same on demand. Its `Time` is the wall clock of a zone it does not tell.

use serde_json::{Map, Value};

use super::{FormatError, REPORTS_MAX, Report, Sample, document, part, text, value};
use crate::{
    config::{SensorKind, Unit},
    events::payload::ReadingValue,
    sensors::time::Stated,
};

/// Reads a message; `topic` is the whole topic below the prefix.
///
/// # Errors
/// [`FormatError`], if it is none of this system's.
pub fn read(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let mut levels = topic.split('/');
    let (Some(class), Some(device), Some(what), None) = (levels.next(), levels.next(), levels.next(), levels.next())
    else {
        return Ok(Vec::new());
    };
    match (class, what) {
        ("tele", "LWT") => match text(payload)? {
            "Online" => Ok(vec![Report::Availability { device: device.to_owned(), online: true }]),
            "Offline" => Ok(vec![Report::Availability { device: device.to_owned(), online: false }]),
            "" => Ok(Vec::new()),
            _ => Err(FormatError::Shape("`Online` or `Offline`")),
        },
        ("tele", "SENSOR") => sensors(device, &document(payload)?),
        ("stat", "STATUS10" | "STATUS8") => {
            let document = document(payload)?;
            sensors(device, document.get("StatusSNS").ok_or(FormatError::Shape("`StatusSNS`"))?)
        }
        _ => Ok(Vec::new()),
    }
}

fn sensors(device: &str, status: &Value) -> Result<Vec<Report>, FormatError> {
    let Value::Object(status) = status else { return Err(FormatError::Shape("an object")) };
    let word = |key: &str, usual: &'static str| status.get(key).and_then(Value::as_str).unwrap_or(usual).to_owned();
    let message = Message {
        device,
        time: status.get("Time").and_then(Stated::of_json),
        // `TempUnit` stands beside the chips and holds for all of them.
        temperature: word("TempUnit", "C"),
        pressure: word("PressureUnit", "hPa"),
        speed: word("SpeedUnit", "km/h"),
    };
    let mut reports = Vec::new();
    for (key, found) in status {
        match found {
            Value::Object(chip) => message.chip(key, chip, 0, &mut reports),
            // `Switch1`, `Button1`: inputs without a chip.
            Value::String(_) if key.starts_with("Switch") => message.sample(&part(key), key, found, &mut reports),
            _ => {}
        }
        if reports.len() > REPORTS_MAX {
            return Err(FormatError::TooMany);
        }
    }
    Ok(reports)
}

struct Message<'a> {
    device: &'a str,
    time: Option<Stated>,
    temperature: String,
    pressure: String,
    speed: String,
}

impl Message<'_> {
    /// One chip, and what may be nested in it once (`"DS18x20": {"DS1": {…}}`, before version 6).
    fn chip(&self, name: &str, chip: &Map<String, Value>, depth: usize, reports: &mut Vec<Report>) {
        for (key, found) in chip {
            let id = format!("{}.{}", part(name), part(key));
            match found {
                Value::Object(inner) if depth == 0 => self.chip(&format!("{name}.{key}"), inner, 1, reports),
                _ if kind(key).is_some() => self.sample(&id, key, found, reports),
                _ => {}
            }
        }
    }

    fn sample(&self, id: &str, key: &str, found: &Value, reports: &mut Vec<Report>) {
        // Channels of an energy meter come as a list: the first is the one.
        let found = found.as_array().and_then(|list| list.first()).unwrap_or(found);
        let Some(value) = value::of_json(found) else { return };
        let kind = kind(key);
        let unit: Option<Unit> = match (&value, kind.map(|(_, unit)| unit)) {
            (ReadingValue::Number(_), Some(unit)) => match unit {
                "°C" => self.temperature.parse().ok(),
                "hPa" => self.pressure.parse().ok(),
                "km/h" => self.speed.parse().ok(),
                "" => None,
                unit => unit.parse().ok(),
            },
            _ => None,
        };
        let kind: Option<SensorKind> = kind.and_then(|(kind, _)| kind.parse().ok());
        reports.push(Report::Sample(Sample {
            device: Some(self.device.to_owned()),
            name: Some(format!("{} {}", self.device, id.replace(['.', '_'], " "))),
            kind,
            unit,
            time: self.time,
            ..Sample::new(format!("{}.{id}", part(self.device)), value)
        }));
    }
}

/// The kind of a chip's property, and the unit it has unless the message says otherwise.
fn kind(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "Temperature" | "DewPoint" => ("temperature", "°C"),
        "Humidity" => ("humidity", "%"),
        "Pressure" | "SeaPressure" => ("pressure", "hPa"),
        "Illuminance" => ("illuminance", "lx"),
        "CarbonDioxide" | "eCO2" => ("carbon_dioxide", "ppm"),
        "TVOC" => ("voc_share", "ppb"),
        "PM1" => ("pm1", "µg/m³"),
        "PM2.5" => ("pm25", "µg/m³"),
        "PM10" => ("pm10", "µg/m³"),
        "Distance" => ("distance", "cm"),
        "Power" => ("power", "W"),
        "ApparentPower" => ("apparent_power", "VA"),
        "ReactivePower" => ("reactive_power", "var"),
        "Factor" => ("power_factor", ""),
        "Voltage" => ("voltage", "V"),
        "Current" => ("current", "A"),
        "Frequency" => ("frequency", "Hz"),
        "Total" | "Today" | "Yesterday" => ("energy", "kWh"),
        "Speed" => ("speed", "km/h"),
        "Moisture" => ("humidity", "%"),
        _ => return None,
    })
}
