//! One value out of somebody else's JSON, at a JSON pointer (RFC 6901).

use super::{FormatError, Sample, json, value};
use crate::{config::JsonPointer, sensors::time::Stated};

/// Reads the value at `at`, and the time at `when`. Without `at` the payload is a value, or our own form.
///
/// # Errors
/// [`FormatError`], if nothing of use stands there.
pub fn read(
    sensor: &str,
    at: Option<&JsonPointer>,
    when: Option<&JsonPointer>,
    payload: &[u8],
) -> Result<Vec<json::Entry>, FormatError> {
    let Some(at) = at else { return json::read_any(sensor, payload) };
    let document = super::document(payload)?;
    let found = at.find(&document).ok_or_else(|| FormatError::Missing(at.to_string()))?;
    if found.is_null() || found.as_str().is_some_and(value::is_nothing) {
        return Ok(Vec::new());
    }
    let value = value::of_json(found).ok_or_else(|| FormatError::NoValue(at.to_string()))?;
    let time = match when.map(|when| (when, when.find(&document))) {
        None | Some((_, None)) => None,
        Some((when, Some(found))) => Some(Stated::of_json(found).ok_or_else(|| FormatError::NoTime(when.to_string()))?),
    };
    Ok(vec![Ok(Sample { time, ..Sample::new(sensor, value) })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payload::ReadingValue;

    fn pointer(text: &str) -> JsonPointer {
        text.parse().unwrap()
    }

    #[test]
    fn a_value_is_found_where_the_pointer_says() {
        let payload = br#"{"sensors":[{"celsius":"21.5","at":1795169700}],"none":null,"list":[]}"#;
        let read = |at: &str, when: Option<&str>| {
            read("s", Some(&pointer(at)), when.map(pointer).as_ref(), payload).map_err(|error| error.to_string())
        };
        let sample = read("/sensors/0/celsius", Some("/sensors/0/at")).unwrap().remove(0).unwrap();
        assert_eq!((sample.value, sample.time), (ReadingValue::Number(21.5), Stated::of_text("1795169700")));
        assert_eq!(read("/none", None), Ok(Vec::new()), "a device that has nothing to say makes no mistake");
        assert_eq!(read("/list", None), Err("`/list` holds no value".into()));
        assert_eq!(read("/absent", None), Err("nothing stands at `/absent`".into()));
        assert_eq!(read("/sensors/0/at", Some("/list")), Err("`/list` is no time".into()));
    }
}
