//! Readings as people write them down: JSON lines, or CSV with a header. A value of its own: text in, lines out.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    base::{PathName, SensorId, WallTime},
    config::HumanDuration,
    events::payload::ReadingValue,
};

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) time: WallTime,
    pub(super) path: Option<PathName>,
    /// How often the sensor should show something.
    pub(super) every: Option<Duration>,
    pub(super) said: Said,
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Reading { sensor: SensorId, kind: Option<String>, unit: Option<String>, value: ReadingValue },
    Event(String),
}

/// The fields of a line, whichever way it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    time: Option<String>,
    sensor: Option<SensorId>,
    value: Option<ReadingValue>,
    kind: Option<String>,
    unit: Option<String>,
    every: Option<HumanDuration>,
    path: Option<PathName>,
    event: Option<String>,
}

/// The columns of CSV.
const COLUMNS: [&str; 8] = ["time", "sensor", "value", "kind", "unit", "every", "path", "event"];

/// Every line; or the number of the one that is wrong, counted from one, and why.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut numbered =
        text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !line.is_empty());
    let mut numbered = numbered.by_ref().peekable();
    let csv = numbered.peek().is_some_and(|(_, line)| !line.starts_with('{'));
    let header = if csv { numbered.next() } else { None };
    let columns: Vec<String> = match header {
        Some((number, line)) => columns(line).map_err(|message| (number, message))?,
        None => Vec::new(),
    };
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in numbered {
        let fields = if csv { from_csv(&columns, line) } else { serde_json::from_str(line).map_err(|e| e.to_string()) };
        let line = fields.and_then(understand).map_err(|message| (number, message))?;
        if lines.last().is_some_and(|last| last.time > line.time) {
            return Err((number, format!("its time {} lies before that of the line before it", line.time)));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn columns(line: &str) -> Result<Vec<String>, String> {
    let columns: Vec<String> = line.split(',').map(|name| name.trim().to_lowercase()).collect();
    if let Some(odd) = columns.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(format!("no column is called `{}`; they are {}", odd.escape_debug(), COLUMNS.join(", ")));
    }
    if !columns.iter().any(|name| name == "time") {
        return Err("the first line names the columns, and `time` is one of them".to_owned());
    }
    Ok(columns)
}

fn from_csv(columns: &[String], line: &str) -> Result<Fields, String> {
    if line.contains('"') {
        return Err("quotes are not read here: write JSON lines for texts with commas".to_owned());
    }
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        return Err(format!("{} columns are named and {} are here", columns.len(), cells.len()));
    }
    let mut fields = Fields::default();
    for (name, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        let text = || Some(cell.to_owned());
        match name.as_str() {
            "time" => fields.time = text(),
            "sensor" => fields.sensor = Some(cell.parse().map_err(|error| format!("sensor: {error}"))?),
            "value" => fields.value = Some(value(cell)),
            "kind" => fields.kind = text(),
            "unit" => fields.unit = text(),
            "every" => fields.every = Some(cell.parse().map_err(|error| format!("every: {error}"))?),
            "path" => fields.path = Some(cell.parse().map_err(|error| format!("path: {error}"))?),
            _ => fields.event = text(),
        }
    }
    Ok(fields)
}

fn value(cell: &str) -> ReadingValue {
    match cell {
        "true" | "on" => ReadingValue::Flag(true),
        "false" | "off" => ReadingValue::Flag(false),
        cell => match cell.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => ReadingValue::Number(number),
            None => ReadingValue::Text(cell.to_owned()),
        },
    }
}

fn understand(fields: Fields) -> Result<Line, String> {
    let text = fields.time.ok_or("`time` is missing")?;
    let time = moment(&text).ok_or_else(|| {
        format!(
            "expected a time such as `2026-11-20T10:15:00Z`, or seconds since 1970, found `{}`",
            text.escape_debug()
        )
    })?;
    let said = match (fields.sensor, fields.value, fields.event) {
        (Some(sensor), Some(value), None) => Said::Reading { sensor, kind: fields.kind, unit: fields.unit, value },
        (None, None, Some(kind)) => Said::Event(kind),
        _ => return Err("a line has a `sensor` and its `value`, or an `event`".to_owned()),
    };
    Ok(Line { time, path: fields.path, every: fields.every.map(HumanDuration::duration), said })
}

fn moment(text: &str) -> Option<WallTime> {
    if let Ok(seconds) = text.parse::<f64>() {
        let within = (0.0..9e9).contains(&seconds);
        return within.then(|| WallTime::from_unix_nanos((seconds * 1e3).round() as i64 * 1_000_000));
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_and_csv_say_the_same() {
        let json = "{\"time\":\"2026-11-20T10:15:00Z\",\"sensor\":\"attic\",\"kind\":\"temperature\",\"value\":36.5}\n\n\
                    {\"time\":\"2026-11-20T10:15:01Z\",\"event\":\"motion\",\"path\":\"yard\"}\n";
        let csv = "\u{feff}Time, sensor, value, kind, event, path\r\n2026-11-20T10:15:00Z,attic,36.5,temperature,,\r\n\
                   1795169701,,,,motion,yard\r\n";
        let lines = parse(json).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(parse(csv).unwrap(), lines);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let table = [
            ("time,sensro,value\n", 1, "no column is called `sensro`"),
            ("sensor,value\n", 1, "`time` is one of them"),
            ("time,sensor,value\n1,a\n", 2, "3 columns are named and 2 are here"),
            ("time,sensor,value\n\n1,a,\"x\"\n", 3, "quotes are not read here"),
            ("time,sensor,value\nnoon,a,1\n", 2, "found `noon`"),
            ("time,sensor,value\n5,a,1\n4,a,1\n", 3, "lies before that of the line before it"),
            ("time,sensor,value\n5,a b,1\n", 2, "sensor: a sensor's id"),
            ("{\"time\":\"1\",\"sensor\":\"a\"}", 1, "a line has a `sensor` and its `value`"),
            ("{\"tim\":\"1\"}", 1, "unknown field `tim`"),
        ];
        for (text, line, expected) in table {
            let (found, message) = parse(text).unwrap_err();
            assert!(found == line && message.contains(expected), "{text:?}: {found}: {message}");
        }
        assert_eq!(parse("").unwrap(), []);
    }
}
