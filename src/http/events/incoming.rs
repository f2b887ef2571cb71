//! An event that somebody sends, as a draft: in our own form, or as a CloudEvent in structured JSON (CloudEvents 1.0
//! §3, JSON format §2). Sans-IO.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, value::to_raw_value};
use utoipa::ToSchema;

use crate::{
    base::{Error, Kind, PathName, Result, WallTime},
    events::{Draft, EventType, SensorId, Severity},
};

/// The longest word for what happened.
const KIND_MAX: usize = 64;
/// A sender's clock may be ahead by this much; beyond it the event happened now.
const AHEAD: Duration = Duration::from_secs(60);

/// Something that happened.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct IncomingEvent {
    /// What happened: `motion`, `doorbell_pressed`, `face_detected`, or a word of your own; or `camera_event`, and
    /// `data.kind` says it. Letters, digits, `_`, `-` and `.`, at most 64.
    #[serde(rename = "type")]
    #[schema(example = "doorbell_pressed")]
    kind: String,
    /// The camera it belongs to; it need not be one of this server.
    #[schema(example = "front-door")]
    path: Option<String>,
    /// The sensor it belongs to.
    sensor: Option<String>,
    /// `info`, `warning` or `critical`.
    severity: Option<String>,
    /// When it happened, RFC 3339; now if absent, or if it lies ahead.
    time: Option<String>,
    /// Whatever else belongs to it.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    /// CloudEvents: its version, `1.0`.
    specversion: Option<String>,
    /// CloudEvents: who says it.
    source: Option<String>,
    /// CloudEvents: its id; sent twice with the same `source`, it is taken once.
    id: Option<String>,
    /// CloudEvents: what it is about; the camera if there is no `path`.
    subject: Option<String>,
    /// CloudEvents: bytes are not taken.
    data_base64: Option<String>,
}

/// A draft, and by which key its sender would know it again.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) draft: Draft,
    pub(super) key: Option<String>,
}

impl Incoming {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with what is wrong; [`Kind::Unsupported`] for what is right and not taken.
    pub(super) fn read(body: &[u8], now: WallTime) -> Result<Self> {
        let event: IncomingEvent = serde_json::from_slice(body)
            .map_err(|error| unfit(format!("this is no event: {error}")).with_code("invalid_event"))?;
        let cloud = match event.specversion.as_deref() {
            None => false,
            Some(version) if version.starts_with("1.") => true,
            Some(_) => return Err(unsupported("CloudEvents are taken in their version 1.0")),
        };
        if event.data_base64.is_some() {
            return Err(unsupported("data_base64: data are an object"));
        }
        let mut data = match event.data {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(data)) => data,
            Some(_) => return Err(unfit("data: expected an object")),
        };
        let kind = kind(&event.kind, cloud, &data)?;
        data.insert("kind".into(), kind.as_str().into());
        let path = match event.path {
            Some(path) => Some(path.parse::<PathName>().map_err(|error| unfit(format!("path: {error}")))?),
            // What a foreign event is about need not be a camera.
            None => event.subject.filter(|_| cloud).and_then(|subject| subject.parse().ok()),
        };
        let sensor = event.sensor.map(|id| id.parse::<SensorId>()).transpose();
        let severity = event.severity.map(|word| Severity::parse(&word).ok_or(word)).transpose();
        let time = event.time.map(|time| time.parse::<WallTime>()).transpose();
        let time = time.map_err(|error| unfit(format!("time: {error}")))?.unwrap_or(now);
        let draft = Draft {
            kind: EventType::CameraEvent,
            name: kind.into(),
            time: if time.nanos_since(now) > AHEAD.as_nanos() as i64 { now } else { time },
            path,
            sensor: sensor.map_err(|error| unfit(format!("sensor: {error}")))?,
            severity: severity.map_err(|_| unfit("severity: expected `info`, `warning` or `critical`"))?,
            data: to_raw_value(&data)
                .map_err(|error| Error::new(Kind::Internal, "an object should be JSON").caused_by(error))?,
        };
        // CloudEvents 1.0 §3.1: source and id together name an event.
        let key = event.id.filter(|_| cloud).map(|id| format!("{}\0{id}", event.source.unwrap_or_default()));
        Ok(Self { draft, key })
    }
}

/// The word for what happened, in lower case.
fn kind(said: &str, cloud: bool, data: &Map<String, Value>) -> Result<String> {
    let word = match EventType::parse(said) {
        Some(EventType::CameraEvent) => {
            let kind = data.get("kind").and_then(Value::as_str);
            kind.ok_or_else(|| unfit("data.kind: it says what happened at the camera"))?
        }
        Some(other) => {
            let message = format!("type: `{}` is said by this server alone", other.name());
            return Err(unsupported(message).with_hint("send what happened under a word of its own; rules make alerts"));
        }
        // CloudEvents 1.0 §3.1: the type begins with a reversed domain name.
        None if cloud => said.rsplit('.').next().unwrap_or(said),
        None => said,
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if word.is_empty() || word.len() > KIND_MAX || !word.bytes().all(known) {
        return Err(unfit("type: expected 1 to 64 letters, digits, `_`, `-` and `.`"));
    }
    Ok(word.to_ascii_lowercase())
}

fn unfit(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_event")
}

fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Unsupported, message).with_code("unsupported_event")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: WallTime = WallTime::from_unix_nanos(1_763_633_700_000_000_000);

    fn read(event: &Value) -> Result<Incoming> {
        Incoming::read(event.to_string().as_bytes(), NOW)
    }

    #[test]
    fn a_word_of_ones_own_becomes_a_camera_event_of_that_kind() {
        let event = json!({"type": "Doorbell_Pressed", "path": "front-door", "severity": "Warning", "data": {"by": "x", "kind": "y"}});
        let Incoming { draft, key } = read(&event).unwrap();
        assert_eq!((draft.kind, &*draft.name, key), (EventType::CameraEvent, "doorbell_pressed", None));
        assert_eq!((draft.path.unwrap().as_str(), draft.severity), ("front-door", Some(Severity::Warning)));
        let data: Value = serde_json::from_str(draft.data.get()).unwrap();
        assert_eq!(data, json!({"kind": "doorbell_pressed", "by": "x"}));
        assert_eq!(&*read(&json!({"type": "camera_event", "data": {"kind": "motion"}})).unwrap().draft.name, "motion");
        assert_eq!(read(&json!({"type": "motion"})).unwrap().draft.time, NOW);
    }

    #[test]
    fn a_cloud_event_is_known_again_by_its_source_and_id() {
        let event = json!({
            "specversion": "1.0", "type": "com.example.cameras.Motion", "source": "/recognition", "id": "7",
            "time": "2025-11-20T10:14:00Z", "subject": "gate", "datacontenttype": "application/json", "data": {"score": 0.9}
        });
        let Incoming { draft, key } = read(&event).unwrap();
        assert_eq!((&*draft.name, key.as_deref()), ("motion", Some("/recognition\x007")));
        assert_eq!((draft.path.unwrap().as_str(), NOW.nanos_since(draft.time)), ("gate", 60_000_000_000));
        let ahead = json!({"specversion": "1.0", "type": "x", "time": "2099-01-01T00:00:00Z", "subject": "no name!"});
        let draft = read(&ahead).unwrap().draft;
        assert_eq!((draft.time, draft.path), (NOW, None));
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_is_wrong() {
        let table = [
            (json!({}), "invalid_event", "type"),
            (json!([]), "invalid_event", "no event"),
            (json!({"type": ""}), "invalid_event", "type"),
            (json!({"type": "a b"}), "invalid_event", "type"),
            (json!({"type": "x".repeat(65)}), "invalid_event", "type"),
            (json!({"type": "camera_event"}), "invalid_event", "data.kind"),
            (json!({"type": "ALERT"}), "unsupported_event", "alert"),
            (json!({"type": "sensor_reading"}), "unsupported_event", "sensor_reading"),
            (json!({"type": "x", "data": [1]}), "invalid_event", "object"),
            (json!({"type": "x", "path": "../x"}), "invalid_event", "path"),
            (json!({"type": "x", "sensor": "a/b"}), "invalid_event", "sensor"),
            (json!({"type": "x", "severity": "bad"}), "invalid_event", "severity"),
            (json!({"type": "x", "time": "yesterday"}), "invalid_event", "time"),
            (json!({"type": "x", "specversion": "2.0"}), "unsupported_event", "1.0"),
            (json!({"type": "x", "specversion": "1.0", "data_base64": "AA=="}), "unsupported_event", "data_base64"),
        ];
        for (event, code, word) in table {
            let error = read(&event).unwrap_err();
            assert!(error.code() == code && error.message().contains(word), "{event}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Incoming::read(&body, NOW);
        }

        #[test]
        fn whatever_data_say_the_envelope_is_whole(key in ".{0,20}", text in ".{0,40}") {
            let event = json!({"type": "x", "data": {key: text}});
            let draft = read(&event).unwrap().draft;
            prop_assert!(!draft.data.get().contains(['\n', '\r']), "{}", draft.data);
        }
    }
}
