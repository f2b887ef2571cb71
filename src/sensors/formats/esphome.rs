//! ESPHome: `{node}/{domain}/{object}/state` with a plain value, `{node}/status`. It tells no unit and no kind here (its
//! announcements to Home Assistant do): a kind is guessed from the object's name, and the unit is the kind's own.

use super::{FormatError, Report, Sample, part, text, value};
use crate::{config::SensorKind, events::payload::ReadingValue};

/// Reads a message; `topic` is the whole topic below the prefix.
///
/// # Errors
/// [`FormatError`], if it is none of this system's.
pub fn read(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let levels: Vec<&str> = topic.split('/').collect();
    match levels.as_slice() {
        [node, "status"] => match text(payload)? {
            "online" => Ok(vec![Report::Availability { device: (*node).to_owned(), online: true }]),
            "offline" => Ok(vec![Report::Availability { device: (*node).to_owned(), online: false }]),
            // `status` is a common word: others use it for other things.
            _ => Ok(Vec::new()),
        },
        [node, domain @ ("sensor" | "binary_sensor" | "text_sensor"), object, "state"] => {
            let text = text(payload)?;
            if value::is_nothing(text) {
                return Ok(Vec::new());
            }
            let value = match (*domain, value::of_text(text)) {
                ("text_sensor", Some(_)) => ReadingValue::Text(text.to_owned()),
                ("binary_sensor", Some(value)) => {
                    ReadingValue::Flag(value::flag(&value).ok_or(FormatError::Shape("`ON` or `OFF`"))?)
                }
                ("sensor", Some(value @ ReadingValue::Number(_))) => value,
                ("sensor", _) => return Err(FormatError::Shape("a number")),
                _ => return Err(FormatError::Shape("a short text")),
            };
            let kind = guess(object).filter(|kind| kind.is_flag() == matches!(value, ReadingValue::Flag(_)));
            Ok(vec![Report::Sample(Sample {
                device: Some((*node).to_owned()),
                name: Some(format!("{node} {}", object.replace('_', " "))),
                kind,
                ..Sample::new(format!("{}.{}", part(node), part(object)), value)
            })])
        }
        _ => Ok(Vec::new()),
    }
}

/// The longest end of the object's name that is a kind: `living_room_temperature`, `co2`.
fn guess(object: &str) -> Option<SensorKind> {
    let mut rest = object;
    loop {
        if let Some(kind) = SensorKind::known(rest) {
            return Some(kind);
        }
        rest = rest.split_once('_')?.1;
    }
}
