//! Frigate: `{prefix}/reviews` (its alert feed), `{prefix}/events` (objects), `{prefix}/{camera}/motion`,
//! `{prefix}/{camera}/status/{role}`. They are reports of cameras, not readings.
//!
//! Of the stream of updates only what is news is reported: that something began, that it ended, that it became an alert,
//! that a face or a plate got a name.

use serde_json::{Map, Value, json};

use super::{CameraReport, FormatError, Report, document, text};

/// Reads a message; `topic` begins after the prefix.
///
/// # Errors
/// [`FormatError`], if it is none of this system's.
pub fn read(topic: &str, payload: &[u8]) -> Result<Vec<Report>, FormatError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let report = match levels.as_slice() {
        ["reviews"] => review(&document(payload)?)?,
        ["events"] => object(&document(payload)?)?,
        [camera, "motion"] => match text(payload)? {
            "ON" => Some(plain(camera, "motion", json!({ "active": true }))),
            "OFF" => Some(plain(camera, "motion", json!({ "active": false }))),
            _ => return Err(FormatError::Shape("`ON` or `OFF`")),
        },
        [camera, "status", role] => {
            let kind = match text(payload)? {
                "online" => "online",
                "offline" => "offline",
                "disabled" => return Ok(Vec::new()),
                _ => return Err(FormatError::Shape("`online`, `offline` or `disabled`")),
            };
            Some(plain(camera, kind, json!({ "role": role })))
        }
        _ => None,
    };
    Ok(report.map(Report::Camera).into_iter().collect())
}

fn plain(camera: &str, kind: &str, details: Value) -> CameraReport {
    let mut details = details.as_object().cloned().unwrap_or_default();
    details.insert("source".into(), "frigate".into());
    CameraReport { camera: camera.to_owned(), kind: kind.to_owned(), details }
}

/// The two states that an update tells, and which step it is.
struct Update<'a> {
    step: &'a str,
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
}

fn update(document: &Value) -> Result<Update<'_>, FormatError> {
    let state = |key: &str| document.get(key).and_then(Value::as_object);
    Ok(Update {
        step: document.get("type").and_then(Value::as_str).ok_or(FormatError::Shape("`type` to be a text"))?,
        before: state("before").ok_or(FormatError::Shape("`before` to be an object"))?,
        after: state("after").ok_or(FormatError::Shape("`after` to be an object"))?,
    })
}

fn word<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    object.get(key).and_then(Value::as_str)
}

/// Copies what is short.
fn copy(from: &Map<String, Value>, keys: &[&str], to: &mut Map<String, Value>) {
    for key in keys {
        match from.get(*key) {
            Some(Value::Array(list)) => {
                let words = list.iter().filter(|entry| entry.as_str().is_some_and(|word| word.len() <= 100)).take(20);
                to.insert((*key).into(), words.cloned().collect());
            }
            Some(Value::String(text)) if text.len() <= 200 => drop(to.insert((*key).into(), text.clone().into())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => drop(to.insert((*key).into(), value.clone())),
            _ => {}
        }
    }
}

fn review(document: &Value) -> Result<Option<CameraReport>, FormatError> {
    let Update { step, before, after } = update(document)?;
    let camera = word(after, "camera").ok_or(FormatError::Shape("`after.camera` to be a text"))?;
    let severity = word(after, "severity").unwrap_or("detection");
    let kind = match step {
        "new" => "review_began",
        "end" => "review_ended",
        "update" if word(before, "severity") != Some(severity) => "review_raised",
        _ => return Ok(None),
    };
    let mut report = plain(camera, kind, json!({ "review_severity": severity }));
    copy(after, &["id", "start_time", "end_time"], &mut report.details);
    if let Some(data) = after.get("data").and_then(Value::as_object) {
        copy(data, &["objects", "sub_labels", "zones", "audio"], &mut report.details);
    }
    Ok(Some(report))
}

fn object(document: &Value) -> Result<Option<CameraReport>, FormatError> {
    let Update { step, before, after } = update(document)?;
    let camera = word(after, "camera").ok_or(FormatError::Shape("`after.camera` to be a text"))?;
    let label = word(after, "label").unwrap_or("object");
    if after.get("false_positive").and_then(Value::as_bool) == Some(true) {
        return Ok(None);
    }
    // Since 0.13 a name with its score: `["Alice", 0.9]`.
    let named = |state: &Map<String, Value>| match state.get("sub_label") {
        Some(Value::String(name)) => Some((name.clone(), None)),
        Some(Value::Array(pair)) => Some((pair.first()?.as_str()?.to_owned(), pair.get(1).and_then(Value::as_f64))),
        _ => None,
    };
    let label: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(30).collect();
    let (kind, name) = match (step, named(before), named(after)) {
        (_, None, Some(name)) if label == "person" => ("face_detected".to_owned(), Some(name)),
        ("update", None, Some(name)) => (format!("{label}_named"), Some(name)),
        ("new", _, name) => (format!("{label}_detected"), name),
        ("end", _, name) => (format!("{label}_gone"), name),
        _ => return Ok(None),
    };
    let mut report = plain(camera, &kind, json!({ "label": label }));
    copy(after, &["id", "start_time", "end_time", "top_score", "entered_zones"], &mut report.details);
    if let Some((name, score)) = name {
        let key = if kind == "face_detected" { "person_name" } else { "sub_label" };
        report.details.insert(key.into(), name.chars().take(100).collect::<String>().into());
        if let Some(score) = score {
            report.details.insert("confidence".into(), json!(score));
        }
    }
    Ok(Some(report))
}
