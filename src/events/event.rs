//! Facts and values in their place: serialised once, with what filters look at beside the bytes.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;

use super::{
    envelope::{Cursor, Draft, Epoch, EventType, SensorId, Severity},
    forms::Forms,
};
use crate::{
    base::{PathName, WallTime},
    store::FactRow,
};

/// What an event is about: all that filters and scopes look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// What it is.
    pub kind: EventType,
    /// The finer word.
    pub name: Arc<str>,
    /// The camera.
    pub path: Option<PathName>,
    /// The sensor.
    pub sensor: Option<SensorId>,
    /// How bad it is.
    pub severity: Option<Severity>,
}

/// A fact in the log: immutable and shared.
#[derive(Debug)]
pub struct Fact {
    /// Its place, which is its id.
    pub cursor: Cursor,
    /// When it happened.
    pub time: WallTime,
    /// What it is about.
    pub topic: Topic,
    /// The envelope, as JSON.
    pub body: Bytes,
    /// It was on the disk before anybody got it.
    pub durable: bool,
    /// Its other forms.
    pub forms: Forms,
}

/// A value on the board: immutable and shared.
#[derive(Debug)]
pub struct Value {
    /// When it was so.
    pub time: WallTime,
    /// What it is about.
    pub topic: Topic,
    /// The envelope, as JSON. It has no id.
    pub body: Bytes,
    /// Its other forms.
    pub forms: Forms,
}

impl Fact {
    /// A draft at its place.
    pub(super) fn new(cursor: Cursor, draft: Draft) -> Self {
        let body = envelope(Some(cursor), &draft);
        Self { cursor, time: draft.time, topic: topic(draft), body, durable: true, forms: Forms::default() }
    }

    /// The same fact, given out before it is on the disk, and saying so.
    pub(super) fn not_durable(&self) -> Self {
        let whole = self.body.strip_suffix(b"}").unwrap_or(&self.body);
        let body = [whole, br#","durable":false}"#].concat().into();
        let (topic, forms) = (self.topic.clone(), Forms::default());
        Self { cursor: self.cursor, time: self.time, topic, body, durable: false, forms }
    }

    /// As the store keeps it.
    pub(super) fn row(&self) -> FactRow {
        FactRow {
            offset: self.cursor.offset,
            time_ms: self.time.unix_millis(),
            kind: self.topic.kind.name().into(),
            name: self.topic.name.clone(),
            path: self.topic.path.clone(),
            sensor: self.topic.sensor.as_ref().map(|sensor| sensor.as_str().into()),
            severity: self.topic.severity.map(|severity| severity.name().into()),
            body: self.body.clone(),
        }
    }

    /// What the store kept; nothing if this program does not know its type.
    pub(super) fn from_row(epoch: Epoch, row: FactRow) -> Option<Self> {
        let topic = Topic {
            kind: EventType::parse(&row.kind)?,
            name: row.name,
            path: row.path,
            sensor: row.sensor.and_then(|sensor| sensor.parse().ok()),
            severity: row.severity.and_then(|severity| Severity::parse(&severity)),
        };
        Some(Self {
            cursor: Cursor { epoch, offset: row.offset },
            time: WallTime::from_unix_nanos(row.time_ms.saturating_mul(1_000_000)),
            topic,
            body: row.body,
            durable: true,
            forms: Forms::default(),
        })
    }
}

impl Value {
    /// A draft for the board.
    pub(super) fn new(draft: Draft) -> Self {
        let body = envelope(None, &draft);
        Self { time: draft.time, topic: topic(draft), body, forms: Forms::default() }
    }
}

fn topic(draft: Draft) -> Topic {
    let Draft { kind, name, path, sensor, severity, .. } = draft;
    Topic { kind, name, path, sensor, severity }
}

/// The envelope. Its texts need no escaping: names of paths and sensors have an alphabet, the rest are ours.
fn envelope(cursor: Option<Cursor>, draft: &Draft) -> Bytes {
    let data = draft.data.get();
    let mut text = String::with_capacity(160 + data.len());
    text.push('{');
    // Writing to a string does not fail.
    if let Some(cursor) = cursor {
        let _ = write!(text, r#""id":"{cursor}","#);
    }
    let _ = write!(text, r#""type":"{}","time":"{}""#, draft.kind.name(), draft.time);
    let fields = [
        ("path", draft.path.as_ref().map(PathName::as_str)),
        ("sensor", draft.sensor.as_ref().map(SensorId::as_str)),
        ("severity", draft.severity.map(Severity::name)),
    ];
    for (name, value) in fields {
        let _ = match value {
            Some(value) => write!(text, r#","{name}":"{value}""#),
            None => write!(text, r#","{name}":null"#),
        };
    }
    text.push_str(r#","data":"#);
    text.push_str(data);
    text.push('}');
    text.into()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A draft of some kind.
    pub(crate) fn draft(kind: EventType, name: &str) -> Draft {
        Draft {
            kind,
            name: name.into(),
            time: WallTime::from_unix_nanos(1_763_633_700_123_000_000),
            path: Some("front-door".parse().unwrap()),
            sensor: None,
            severity: None,
            data: serde_json::value::RawValue::from_string(format!(r#"{{"kind":"{name}"}}"#)).unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::draft, *};

    const CURSOR: Cursor = Cursor { epoch: Epoch(0x5d2b_1c1e), offset: 42 };

    #[test]
    fn the_envelope_is_that_of_the_documentation() {
        let page = include_str!("../../docs/events.md");
        let mut motion = draft(EventType::CameraEvent, "motion");
        motion.severity = Some(Severity::Warning);
        let fact = Fact::new(CURSOR, motion.clone());
        assert!(page.contains(std::str::from_utf8(&fact.body).unwrap()));
        assert_eq!(
            fact.body,
            r#"{"id":"5d2b1c1e-42","type":"camera_event","time":"2025-11-20T10:15:00.123Z","path":"front-door","sensor":null,"severity":"warning","data":{"kind":"motion"}}"#
        );
        let told: serde_json::Value = serde_json::from_slice(&fact.not_durable().body).unwrap();
        assert_eq!((&told["durable"], &told["data"]["kind"]), (&false.into(), &"motion".into()));
        motion.kind = EventType::SystemStatus;
        let value: serde_json::Value = serde_json::from_slice(&Value::new(motion).body).unwrap();
        assert!(value.get("id").is_none() && value["type"] == "system_status", "{value}");
    }

    #[test]
    fn a_fact_comes_back_from_the_store_as_it_went_in() {
        let mut motion = draft(EventType::Alert, "raised");
        (motion.sensor, motion.severity) = (Some("cellar".parse().unwrap()), Some(Severity::Critical));
        let fact = Fact::new(CURSOR, motion);
        let back = Fact::from_row(CURSOR.epoch, fact.row()).unwrap();
        assert_eq!((&back.topic, &back.body, back.cursor, back.time), (&fact.topic, &fact.body, CURSOR, fact.time));
        let odd = FactRow { kind: "nothing".into(), ..fact.row() };
        assert!(Fact::from_row(CURSOR.epoch, odd).is_none());
    }
}
