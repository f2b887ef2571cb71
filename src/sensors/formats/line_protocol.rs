//! InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1795169700000000000`.
//!
//! The URL or the topic names the sensor; measurement and tags are of no interest. The field `value`, and a field that
//! is alone, is the sensor; every other one is the sensor `{sensor}.{field}`.

use super::{FormatError, REPORTS_MAX, Sample, json::Entry, part, value};
use crate::{base::WallTime, config::SensorKind, events::payload::ReadingValue, sensors::time::Stated};

/// What a timestamp counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds, the dialect's default.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl Precision {
    /// The precision of InfluxDB's query parameter: `ns`, `us`, `ms` or `s`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ns" | "n" => Some(Self::Nanoseconds),
            "us" | "u" | "µ" => Some(Self::Microseconds),
            "ms" => Some(Self::Milliseconds),
            "s" => Some(Self::Seconds),
            _ => None,
        }
    }

    const fn nanos(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }
}

/// Reads lines about the sensor `sensor`.
///
/// # Errors
/// [`FormatError`], if it is no text, or more than is taken at once.
pub fn read(sensor: &str, precision: Precision, payload: &[u8]) -> Result<Vec<Entry>, FormatError> {
    let text = std::str::from_utf8(payload).map_err(|_| FormatError::NotText)?;
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match one(sensor, precision, line) {
            Ok(samples) => entries.extend(samples.into_iter().map(Ok)),
            Err(what) => entries.push(Err(FormatError::Line { line: index + 1, what })),
        }
        if entries.len() > REPORTS_MAX {
            return Err(FormatError::TooMany);
        }
    }
    Ok(entries)
}

fn one(sensor: &str, precision: Precision, line: &str) -> Result<Vec<Sample>, &'static str> {
    let (series, rest) = cut(line, ' ').ok_or("the fields are missing")?;
    if series.is_empty() || series.starts_with(',') {
        return Err("the measurement is missing");
    }
    let (fields, stamp) = cut(rest.trim_start(), ' ').unwrap_or_else(|| (rest.trim_start(), ""));
    let time = match stamp.trim() {
        "" => None,
        stamp => {
            let number: i64 = stamp.parse().map_err(|_| "the timestamp is no whole number")?;
            let nanos = number.checked_mul(precision.nanos()).ok_or("the timestamp is out of range")?;
            Some(Stated::Utc(WallTime::from_unix_nanos(nanos)))
        }
    };
    let mut samples = Vec::new();
    let mut rest = fields;
    while !rest.is_empty() {
        let (field, after) = cut(rest, ',').unwrap_or((rest, ""));
        rest = after;
        let (key, written) = cut(field, '=').ok_or("a field is `key=value`")?;
        if key.is_empty() || written.is_empty() {
            return Err("a field is `key=value`");
        }
        let key = plain(key);
        let kind = SensorKind::known(&key);
        samples.push((key, Sample { kind, time, ..Sample::new(sensor, field_value(written)?) }));
        if samples.len() > REPORTS_MAX {
            return Err("too many fields");
        }
    }
    let alone = samples.len() == 1;
    let named = samples.into_iter().map(|(key, sample)| {
        if alone || key == "value" { sample } else { Sample { sensor: format!("{sensor}.{}", part(&key)), ..sample } }
    });
    match named.collect::<Vec<_>>() {
        none if none.is_empty() => Err("the fields are missing"),
        samples => Ok(samples),
    }
}

/// The text before and after the first `at` that is neither escaped nor within quotes.
fn cut(text: &str, at: char) -> Option<(&str, &str)> {
    let (mut escaped, mut quoted) = (false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // Quotes mean something in the values of fields only; in front of them nobody writes any.
            '"' => quoted = !quoted,
            c if c == at && !quoted => return Some((&text[..index], &text[index + c.len_utf8()..])),
            _ => {}
        }
    }
    None
}

/// A text without its escapes.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

fn field_value(written: &str) -> Result<ReadingValue, &'static str> {
    const BAD: &str = "a value is a number, `true`, `false` or a text in quotes";
    if let Some(quoted) = written.strip_prefix('"') {
        let text = plain(quoted.strip_suffix('"').ok_or("a text ends with a quote")?);
        let short = text.len() <= value::TEXT_MAX && !text.is_empty() && !text.chars().any(char::is_control);
        return if short { Ok(ReadingValue::Text(text)) } else { Err("a text has 1 to 200 bytes, on one line") };
    }
    match written {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(ReadingValue::Flag(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(ReadingValue::Flag(false)),
        _ => {}
    }
    let digits = written.strip_suffix(['i', 'u']).unwrap_or(written);
    let number: f64 = digits.parse().map_err(|_| BAD)?;
    if number.is_finite() { Ok(ReadingValue::Number(number)) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payload::ReadingValue::{Flag, Number, Text};

    fn samples(text: &str) -> Vec<Result<(String, ReadingValue), String>> {
        let entries = read("s", Precision::default(), text.as_bytes()).unwrap();
        let told = |entry: Entry| match entry {
            Ok(sample) => Ok((sample.sensor, sample.value)),
            Err(error) => Err(error.to_string()),
        };
        entries.into_iter().map(told).collect()
    }

    #[test]
    fn lines_become_samples() {
        let named = |name: &str, value| Ok((name.to_owned(), value));
        assert_eq!(samples("climate value=21.5"), [named("s", Number(21.5))]);
        assert_eq!(samples("# a\n\ncpu,host=a\\ b load=3i 1795169700000000000"), [named("s", Number(3.0))]);
        assert_eq!(
            samples(r#"m,t=x,u=y value=1,open=t,state="a\"b, c",Other\ One=2u"#),
            [
                named("s", Number(1.0)),
                named("s.open", Flag(true)),
                named("s.state", Text("a\"b, c".into())),
                named("s.other_one", Number(2.0)),
            ]
        );
        let entry = read("s", Precision::Seconds, b"m humidity=40 1795169700").unwrap().remove(0).unwrap();
        assert_eq!(entry.time, Stated::of_text("2026-11-20T10:15:00Z"));
        assert_eq!(entry.kind.unwrap().as_str(), "humidity");
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_count() {
        let table = [
            ("m", "line 2: the fields are missing"),
            (",t=x f=1", "line 2: the measurement is missing"),
            ("m f", "line 2: a field is `key=value`"),
            ("m f=1 noon", "line 2: the timestamp is no whole number"),
            ("m f=abc", "line 2: a value is a number, `true`, `false` or a text in quotes"),
            ("m f=inf", "line 2: a value is a number, `true`, `false` or a text in quotes"),
            ("m f=\"abc", "line 2: a text ends with a quote"),
        ];
        for (line, message) in table {
            let found = samples(&format!("m f=1\n{line}"));
            assert_eq!(found, [Ok(("s".to_owned(), Number(1.0))), Err(message.to_owned())], "{line}");
        }
        let far = read("s", Precision::Seconds, format!("m f=1 {}", i64::MAX).as_bytes()).unwrap().remove(0);
        assert_eq!(far.unwrap_err().to_string(), "line 1: the timestamp is out of range");
        assert_eq!(read("s", Precision::Seconds, &b"m f=1\n".repeat(1001)), Err(FormatError::TooMany));
    }
}
