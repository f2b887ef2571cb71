//! A value as devices write it: JSON of any type, or text.

use serde_json::Value;

use crate::events::payload::ReadingValue;

/// The longest word that is a value, in bytes.
pub const TEXT_MAX: usize = 200;

/// Words that devices send when they have nothing to say.
const NOTHING: [&str; 8] = ["", "nan", "na", "none", "null", "unknown", "unavailable", "-"];

/// Whether the text says that there is no value, which is no mistake.
pub fn is_nothing(text: &str) -> bool {
    NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A value of JSON. Nothing for objects, lists, `null`, numbers without end and texts without measure.
pub fn of_json(value: &Value) -> Option<ReadingValue> {
    match value {
        Value::Bool(flag) => Some(ReadingValue::Flag(*flag)),
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(ReadingValue::Number),
        Value::String(text) => of_text(text),
        _ => None,
    }
}

/// A value of a text: a number if it looks like one, yes or no, or the word itself.
pub fn of_text(text: &str) -> Option<ReadingValue> {
    let text = text.trim();
    if is_nothing(text) || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        return None;
    }
    // Rust reads `inf` and `infinity` as numbers; nothing measures that.
    if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && let Ok(number) = text.parse::<f64>()
    {
        return number.is_finite().then_some(ReadingValue::Number(number));
    }
    match text {
        "true" | "True" | "TRUE" => Some(ReadingValue::Flag(true)),
        "false" | "False" | "FALSE" => Some(ReadingValue::Flag(false)),
        word => Some(ReadingValue::Text(word.to_owned())),
    }
}

/// Yes or no, by the words and numbers devices write for it.
pub fn flag(value: &ReadingValue) -> Option<bool> {
    const YES: [&str; 14] = [
        "on",
        "yes",
        "open",
        "opened",
        "detected",
        "active",
        "alarm",
        "wet",
        "motion",
        "occupied",
        "unlocked",
        "triggered",
        "online",
        "true",
    ];
    const NO: [&str; 14] = [
        "off",
        "no",
        "closed",
        "clear",
        "cleared",
        "inactive",
        "ok",
        "dry",
        "idle",
        "not_occupied",
        "locked",
        "normal",
        "offline",
        "false",
    ];
    match value {
        ReadingValue::Flag(flag) => Some(*flag),
        ReadingValue::Number(number) if *number == 0.0 => Some(false),
        ReadingValue::Number(number) if *number == 1.0 => Some(true),
        ReadingValue::Number(_) => None,
        ReadingValue::Text(text) if YES.iter().any(|word| text.eq_ignore_ascii_case(word)) => Some(true),
        ReadingValue::Text(text) if NO.iter().any(|word| text.eq_ignore_ascii_case(word)) => Some(false),
        ReadingValue::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbers_flags_words_or_nothing() {
        use ReadingValue::{Flag, Number, Text};
        let table = [
            ("21.5", Some(Number(21.5))),
            (" -3 ", Some(Number(-3.0))),
            ("1e3", Some(Number(1000.0))),
            ("true", Some(Flag(true))),
            ("ON", Some(Text("ON".into()))),
            ("21,5", Some(Text("21,5".into()))),
            ("nan", None),
            ("unavailable", None),
            ("1e999", None),
            ("a\nb", None),
            ("", None),
        ];
        for (text, value) in table {
            assert_eq!(of_text(text), value, "{text:?}");
        }
        assert_eq!(of_text("inf"), Some(Text("inf".into())));
        assert_eq!(of_text(&"x".repeat(201)), None);
        for nothing in [Value::Null, serde_json::json!([]), serde_json::json!({})] {
            assert_eq!(of_json(&nothing), None);
        }
    }

    #[test]
    fn yes_and_no_have_many_words() {
        for (text, yes) in
            [("ON", Some(true)), ("closed", Some(false)), ("0", Some(false)), ("1", Some(true)), ("7", None)]
        {
            assert_eq!(of_text(text).as_ref().and_then(flag), yes, "{text}");
        }
        assert_eq!(of_text("perhaps").as_ref().and_then(flag), None);
    }
}
