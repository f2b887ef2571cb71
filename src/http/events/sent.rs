//! Events as records of a server-sent event stream (HTML Living Standard §9.2.5, §9.2.6): made once per event, shared
//! by all streams.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::packed;
use crate::events::{Cursor, Fact, Form, Forms, Value};

/// A fact: its id, its type as the event's name, the envelope.
pub(super) fn fact(fact: &Fact) -> &Bytes {
    fact.forms.form(Form::ServerSent, || record(Some(fact.cursor), fact.topic.kind.name(), &fact.body))
}

/// A value: without an id, so that a client goes on after the last fact.
pub(super) fn value(value: &Value) -> &Bytes {
    value.forms.form(Form::ServerSent, || record(None, value.topic.kind.name(), &value.body))
}

/// A record that was made for all, deflated for all.
pub(super) fn deflated<'a>(forms: &'a Forms, record: &Bytes) -> &'a Bytes {
    forms.form(Form::DeflatedServerSent, || packed::deflate(record))
}

/// Something that is said to one client.
pub(super) fn notice(name: &str, body: &serde_json::Value) -> Bytes {
    record(None, name, body.to_string().as_bytes())
}

/// Nothing else happened.
pub(super) fn heartbeat(time: &str) -> serde_json::Value {
    json!({"type": "heartbeat", "time": time})
}

/// What came after `after` is missing, up to `resumed_at`.
pub(super) fn gap(after: Cursor, resumed_at: Cursor, lost: Option<u64>) -> serde_json::Value {
    json!({"type": "gap", "after": after, "resumed_at": resumed_at, "lost": lost})
}

/// A place, without an event: a client that comes back goes on from here. §9.2.6: a record without data dispatches
/// nothing, and the id counts.
pub(super) fn place(cursor: Cursor) -> Bytes {
    format!("id: {cursor}\n\n").into()
}

/// How long to wait before coming back.
pub(super) fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n\n", after.as_millis()).into()
}

/// What a stream begins with: proxies that hold back the first kilobytes have enough of this.
pub(super) fn padding() -> Bytes {
    const SIZE: usize = 2048;
    let mut text = Vec::with_capacity(SIZE + 3);
    text.push(b':');
    text.resize(SIZE, b' ');
    text.extend_from_slice(b"\n\n");
    text.into()
}

fn record(id: Option<Cursor>, name: &str, body: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(body.len() + 80);
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(format!("event: {name}\n").as_bytes());
    // §9.2.6: a line ends at any of these; JSON may have them between its tokens.
    for line in body.split(|b| matches!(b, b'\n' | b'\r')) {
        text.extend_from_slice(b"data: ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Epoch;

    #[test]
    fn a_record_has_a_line_of_data_for_each_line() {
        let cursor = Cursor { epoch: Epoch(7), offset: 9 };
        assert_eq!(record(Some(cursor), "alert", b"{\"a\":1}"), "id: 00000007-9\nevent: alert\ndata: {\"a\":1}\n\n");
        let page = include_str!("../../../docs/events.md");
        let body = page.lines().find(|line| line.starts_with(r#"{"id":"5d2b1c1e-42""#)).unwrap();
        let cursor = Cursor { epoch: Epoch(0x5d2b_1c1e), offset: 42 };
        let told = [
            record(Some(cursor), "camera_event", body.as_bytes()),
            notice("heartbeat", &heartbeat("2025-11-20T10:15:00.123Z")),
            notice("gap", &gap(cursor, Cursor { offset: 50, ..cursor }, None)),
        ];
        for record in &told {
            assert!(page.contains(std::str::from_utf8(record).unwrap().trim_end()), "{record:?}");
        }
        let lines = record(None, "x", b"{\n\"a\":\r1}");
        assert_eq!(lines, "event: x\ndata: {\ndata: \"a\":\ndata: 1}\n\n");
        assert_eq!(retry(Duration::from_secs(2)), "retry: 2000\n\n");
        let padding = padding();
        assert!(padding.len() > 2048 && padding.ends_with(b"\n\n") && padding.starts_with(b":"));
    }
}
