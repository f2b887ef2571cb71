//! Our own form: a bare value, one reading, or a batch.
//!
//! ```json
//! 21.5
//! {"value": 21.5, "unit": "°C", "time": "2026-11-20T10:15:00Z", "kind": "temperature", "name": "Cellar"}
//! [{"value": 21.5, "time": 1795169700}, {"value": 21.6, "time": 1795169705}]
//! {"readings": [{"value": 21.5}]}
//! ```

use serde_json::{Map, Value};

use super::{FormatError, REPORTS_MAX, Sample, value};
use crate::sensors::time::Stated;

/// One reading of a message, or why it is none. The others of the message count.
pub type Entry = Result<Sample, FormatError>;

/// Reads a message about the sensor `sensor`.
///
/// # Errors
/// [`FormatError`], if it is none at all.
pub fn read(sensor: &str, payload: &[u8]) -> Result<Vec<Entry>, FormatError> {
    let document = super::document(payload)?;
    let list = match &document {
        Value::Array(list) => list,
        Value::Object(object) if object.contains_key("readings") => match &object["readings"] {
            Value::Array(list) => list,
            _ => return Err(FormatError::Shape("`readings` to be a list")),
        },
        one => return Ok(vec![entry(sensor, one)]),
    };
    if list.len() > REPORTS_MAX {
        return Err(FormatError::TooMany);
    }
    Ok(list.iter().map(|one| entry(sensor, one)).collect())
}

/// Reads a message that is a value, or JSON in our form.
///
/// # Errors
/// [`FormatError`], if it is neither.
pub fn read_any(sensor: &str, payload: &[u8]) -> Result<Vec<Entry>, FormatError> {
    if payload.trim_ascii_start().starts_with(b"{") || payload.trim_ascii_start().starts_with(b"[") {
        return read(sensor, payload);
    }
    let text = super::text(payload)?.trim_matches('"');
    match value::of_text(text) {
        Some(value) => Ok(vec![Ok(Sample::new(sensor, value))]),
        None if value::is_nothing(text) => Ok(Vec::new()),
        None => Err(FormatError::Shape("a short text")),
    }
}

fn entry(sensor: &str, one: &Value) -> Entry {
    let Value::Object(object) = one else {
        let value = value::of_json(one).ok_or(FormatError::Shape("a number, a word, true, false, or a reading"))?;
        return Ok(Sample::new(sensor, value));
    };
    let found = object.get("value").ok_or_else(|| FormatError::Missing("/value".into()))?;
    let value = value::of_json(found).ok_or_else(|| FormatError::NoValue("/value".into()))?;
    let time = match object.get("time") {
        None | Some(Value::Null) => None,
        Some(time) => Some(Stated::of_json(time).ok_or_else(|| FormatError::NoTime("/time".into()))?),
    };
    Ok(Sample {
        name: word(object, "name")?.map(|name| name.chars().take(100).collect()),
        kind: parsed(object, "kind")?,
        unit: parsed(object, "unit")?,
        time,
        ..Sample::new(sensor, value)
    })
}

fn word<'v>(object: &'v Map<String, Value>, key: &'static str) -> Result<Option<&'v str>, FormatError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(FormatError::Word(key, "expected a text".into())),
    }
}

fn parsed<T>(object: &Map<String, Value>, key: &'static str) -> Result<Option<T>, FormatError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    match word(object, key)? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error: T::Err| FormatError::Word(key, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payload::ReadingValue::{Flag, Number, Text};

    fn values(payload: &str) -> Vec<Result<crate::events::payload::ReadingValue, String>> {
        let entries = read("s", payload.as_bytes()).unwrap();
        entries.into_iter().map(|entry| entry.map(|sample| sample.value).map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn values_readings_and_batches_are_read() {
        assert_eq!(values("21.5"), [Ok(Number(21.5))]);
        assert_eq!(values("\"open\""), [Ok(Text("open".into()))]);
        assert_eq!(values(r#"{"value": true}"#), [Ok(Flag(true))]);
        assert_eq!(values(r#"[1, {"value": "2"}]"#), [Ok(Number(1.0)), Ok(Number(2.0))]);
        assert_eq!(values(r#"{"readings": []}"#), []);
        let whole = r#"{"value":70,"unit":"°F","kind":"temperature","name":"Cellar","time":"2026-11-20T10:15:00Z"}"#;
        let sample = read("s", whole.as_bytes()).unwrap().remove(0).unwrap();
        assert_eq!((sample.unit, sample.kind), ("°F".parse().ok(), "temperature".parse().ok()));
        assert_eq!((sample.name.as_deref(), sample.time), (Some("Cellar"), Stated::of_text("2026-11-20T10:15:00Z")));
    }

    #[test]
    fn a_bad_entry_says_why_and_leaves_the_others() {
        let table = [
            ("[1, {}]", "nothing stands at `/value`"),
            (r#"[1, {"value": null}]"#, "`/value` holds no value"),
            (r#"[1, {"value": 1, "time": "noon"}]"#, "`/time` is no time"),
            (r#"[1, {"value": 1, "unit": 7}]"#, "`unit`: expected a text"),
            (r#"[1, []]"#, "expected a number, a word, true, false, or a reading"),
        ];
        for (payload, message) in table {
            assert_eq!(values(payload), [Ok(Number(1.0)), Err(message.to_owned())], "{payload}");
        }
        let kind = values(r#"{"value": 1, "kind": "Big Heat"}"#).remove(0).unwrap_err();
        assert!(kind.starts_with("`kind`: expected a kind such as"), "{kind}");
    }

    #[test]
    fn what_is_no_message_is_refused_as_a_whole() {
        let refused = |payload: &str| read("s", payload.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused("{\n \"value\": }"), "not JSON: line 2, column 11");
        assert_eq!(refused(r#"{"readings": 1}"#), "expected `readings` to be a list");
        assert_eq!(refused(&format!("[{}1]", "1,".repeat(1000))), "more than 1000 readings in one message");
        assert_eq!(refused(&"[".repeat(1000)), "not JSON: line 1, column 128");
        assert_eq!(read_any("s", b"\xff"), Err(FormatError::NotText));
        assert_eq!(read_any("s", b"unavailable"), Ok(Vec::new()));
    }
}
