//! The description of the WebSocket: AsyncAPI 3.0, made of the types of the messages themselves.
//!
//! `docs/asyncapi.json` is a copy for people and generators; a test holds it equal.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use schemars::{
    JsonSchema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};

use crate::events::{
    EventType, Severity,
    ws::{
        Preset,
        encoding::Format,
        messages::{ClientMessage, ServerMessage},
    },
};

/// The document, pretty-printed, with a newline at its end.
static JSON: LazyLock<Bytes> = LazyLock::new(|| {
    let text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    Bytes::from(text + "\n")
});

/// `/api/asyncapi.json`
pub(super) async fn show() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.aai.asyncapi+json;version=3.0.0")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, JSON.clone()).into_response()
}

fn document() -> Value {
    let mut messages = Map::new();
    let mut schemas = Map::new();
    let sent = messages_of::<ClientMessage>(Contract::Deserialize, &mut messages, &mut schemas);
    let mut received = messages_of::<ServerMessage>(Contract::Serialize, &mut messages, &mut schemas);
    received.push("event".to_owned());
    messages.insert("event".into(), json!({"name": "event", "summary": EVENT, "payload": envelope()}));
    let names = sent.iter().chain(&received);
    let carried: Map<String, Value> =
        names.map(|name| (name.clone(), reference("components/messages", name))).collect();
    let doors: Vec<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
    let of_channel = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| reference("channels/events/messages", name)).collect()
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Campanile",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events over WebSocket. A message is a JSON object with a `type`; with the sub-protocol for \
                            MessagePack it is the same in that form. What each means, with examples, and the close \
                            codes: docs/events.md.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"events": {
            "address": "/ws/{door}",
            "description": "The doors differ in what a client gets before its first `subscribe`.",
            "parameters": {"door": {"enum": doors}},
            "messages": carried,
            "bindings": {"ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {
                    "after": {"type": "string", "description": "Go on right after the fact with this id."},
                }},
                "headers": {"type": "object", "properties": {
                    "Sec-WebSocket-Protocol": {"enum": [Format::Json.protocol(), Format::MessagePack.protocol()]},
                }},
            }},
        }},
        "operations": {
            "say": {
                "action": "receive",
                "summary": "What a client may say to this server.",
                "channel": reference("channels", "events"),
                "messages": of_channel(&sent),
            },
            "hear": {
                "action": "send",
                "summary": "What this server says to a client.",
                "channel": reference("channels", "events"),
                "messages": of_channel(&received),
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

const EVENT: &str = "What happened, or how something stands.";

fn reference(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{place}/{name}")})
}

/// Adds the variants of a tagged enum as messages, and the types they name; their names come back.
fn messages_of<T: JsonSchema>(
    contract: Contract,
    messages: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
) -> Vec<String> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut schema = T::json_schema(&mut generator).to_value();
    schemas.extend(generator.take_definitions(true));
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let mut names = Vec::new();
    for mut payload in variants {
        let Some(name) = payload.pointer("/properties/type/const").and_then(Value::as_str).map(str::to_owned) else {
            continue;
        };
        let summary = payload.as_object_mut().and_then(|payload| payload.remove("description")).unwrap_or_default();
        messages.insert(name.clone(), json!({"name": name, "summary": summary, "payload": payload}));
        names.push(name);
    }
    names
}

/// The envelope of events; what stands in `data` is told by type in `docs/events.md`.
fn envelope() -> Value {
    json!({
        "type": "object",
        "required": ["type", "time", "path", "sensor", "severity", "data"],
        "properties": {
            "id": {
                "type": "string",
                "pattern": "^[0-9a-f]{8}-[0-9]+$",
                "description": "The place of a fact in the log, to go on after. Values have none.",
            },
            "type": {"enum": EventType::ALL.map(EventType::name)},
            "time": {"type": "string", "format": "date-time"},
            "path": {"type": ["string", "null"], "description": "The camera."},
            "sensor": {"type": ["string", "null"], "description": "The sensor."},
            "severity": {"enum": Severity::ALL.map(|severity| Some(severity.name())).iter().chain(&[None]).collect::<Vec<_>>()},
            "data": {"type": "object"},
            "durable": {"const": false, "description": "The fact was told before it was on the disk."},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_types() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.json");
        let committed = fs::read(&file).unwrap_or_default();
        if committed != *JSON {
            fs::write(&file, &*JSON).unwrap();
            panic!("docs/asyncapi.json was not up to date; it is now: commit it");
        }
    }

    #[test]
    fn every_message_is_there_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(&JSON).unwrap();
        let messages = document["components"]["messages"].as_object().unwrap();
        for name in ["subscribe", "resume", "ack", "command", "connected", "gap", "command_result", "event"] {
            let message = &messages[name];
            assert!(message["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {message}");
            assert!(message["payload"]["properties"]["type"].is_object(), "{name}: {message}");
        }
        assert_eq!(messages.len(), 9 + 10 + 1, "{:?}", messages.keys());
        let text = std::str::from_utf8(&JSON).unwrap();
        let mut references = 0;
        for reference in text.split("\"$ref\": \"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            references += 1;
            assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
        }
        assert!(references > 40, "{references}");
    }
}
