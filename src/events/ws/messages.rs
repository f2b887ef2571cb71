//! What is said on the socket besides events: every shape in one place, as it goes over the wire. A client's message is a
//! JSON object (or the same in MessagePack) with a `type`; unknown fields are passed over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{inbound::Incoming, message_pack};

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// From now on only this; before the first one comes all that the caller may see and the door shows.
    Subscribe(Subscribe),
    /// From now on without these types; without all of them if none is named.
    Unsubscribe {
        /// Types or kinds.
        #[serde(default)]
        event_types: Vec<String>,
    },
    /// Go on right after this fact.
    Resume {
        /// The `id` of the last fact that was handled.
        after: String,
    },
    /// A sign of life in band; `pong` comes back.
    Ping {},
    /// Take note of an alert.
    Ack(Ack),
    /// Do something.
    Command(Command),
    /// Where can I see this camera?
    RequestVideoStream(VideoRequest),
    /// Another token of the same user, before the one of this connection ends: the connection goes on with it.
    Token {
        /// The token.
        token: String,
    },
    /// Words for somebody who is connected.
    Message {
        /// A user's name, the id of a connection, or `*`: everybody.
        to: String,
        /// At most 2000 bytes.
        text: String,
    },
}

/// What a client wants of the events it may see. Every field narrows; what is absent narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// Types (`alert`) or kinds (`motion`), whatever the case; `users_online` for presence.
    pub event_types: Option<Vec<String>>,
    /// Cameras.
    pub paths: Option<Vec<String>>,
    /// Sensors.
    pub sensors: Option<Vec<String>>,
    /// The mildest severity, of events that have one.
    pub severity: Option<String>,
    /// An alert's picture beside it, once this server makes pictures. Until then an `error` says that none will come, and
    /// the rest of the subscription is in force.
    pub thumbnails: Option<Thumbnails>,
}

/// Which pictures of alerts a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Thumbnails {
    /// In pixels.
    pub width: Option<u16>,
}

/// Somebody takes note of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Ack {
    /// The alert.
    pub fingerprint: String,
    /// What is said about it.
    pub note: Option<String>,
    /// Until when it holds, RFC 3339; for the rest of the alert if absent.
    pub until: Option<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct Command {
    /// Its name; `connected` lists those that there are.
    pub command: String,
    /// What it needs to know.
    #[serde(default)]
    pub params: Value,
    /// Comes back with the result.
    pub id: Option<String>,
}

/// A wish to see a camera.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct VideoRequest {
    /// The camera; the default one if absent.
    pub path: Option<String>,
    /// What the caller can play, the best first: `whep`, `hls`, `rtsp`; everything if empty.
    #[serde(default)]
    pub accepts: Vec<String>,
}

impl ClientMessage {
    /// Reads a message, text as JSON and binary as MessagePack; the error says what is wrong with it.
    pub fn read(incoming: &Incoming) -> Option<Result<Self, String>> {
        let said = |error: serde_json::Error| error.to_string();
        Some(match incoming {
            Incoming::Text(text) => serde_json::from_str(text).map_err(said),
            Incoming::Binary(bytes) => match message_pack::decode(bytes) {
                Some(value) => serde_json::from_value(value).map_err(said),
                None => Err("a binary message is MessagePack".to_owned()),
            },
            _ => return None,
        })
    }
}

/// What the server says to one client.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message.
    Connected {
        /// This connection.
        connection_id: String,
        /// What it can do here.
        server_capabilities: Vec<String>,
        /// The commands that there are.
        commands: Vec<String>,
        /// The newest fact; what comes after it comes.
        cursor: String,
    },
    /// How this connection stands: after `connected`, and after each `subscribe`, `unsubscribe` and `resume`.
    ConnectionStatus {
        /// `connected`, `subscribed`, `resumed`.
        status: String,
        /// This connection.
        connection_id: String,
        /// As whom it is known here.
        user: String,
        /// Connections that there are.
        users_online: usize,
    },
    /// The answer to `ping`.
    Pong {
        /// When, RFC 3339.
        time: String,
    },
    /// A message was not done.
    Error {
        /// A stable word.
        code: String,
        /// For people.
        message: String,
        /// The `id` of the message, if it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// What came after the client's cursor is no longer there, or was never of this log.
    Gap {
        /// The last fact that the client had, as far as that is known.
        after: Option<String>,
        /// What comes after this comes.
        resumed_at: String,
        /// How many facts are missing, at most; null if that cannot be known.
        lost: Option<u64>,
    },
    /// What came of a command.
    CommandResult {
        /// Its name.
        command: String,
        /// Whether it was done.
        success: bool,
        /// What it gives back.
        result: Value,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// As it was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// Where a camera can be seen, the best first.
    StreamUrl {
        /// The camera.
        path: String,
        /// The first of `urls`.
        stream_url: String,
        /// Doors that the caller can use, relative to this server where they are its own.
        urls: Vec<StreamUrl>,
    },
    /// Connections that there are; to those who named it in `subscribe`.
    UsersOnline {
        /// How many.
        count: usize,
        /// Who, for administrators.
        #[serde(skip_serializing_if = "Option::is_none")]
        users: Option<Vec<OnlineUser>>,
    },
    /// Words from somebody else to everybody who is connected.
    Broadcast {
        /// Who says it.
        from: String,
        /// What.
        text: String,
        /// When, RFC 3339.
        time: String,
    },
    /// Words from somebody else.
    DirectMessage {
        /// Who says it.
        from: String,
        /// What.
        text: String,
        /// When, RFC 3339.
        time: String,
    },
}

/// One door to a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamUrl {
    /// `whep`, `hls` or `rtsp`.
    pub kind: String,
    /// Where.
    pub url: String,
}

/// Somebody who is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OnlineUser {
    /// As whom he is known.
    pub user: String,
    /// His connection.
    pub connection_id: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// By which door.
    pub door: String,
}

impl ServerMessage {
    /// An error that answers a message.
    pub fn error(code: &str, message: impl Into<String>, id: Option<&str>) -> Self {
        Self::Error { code: code.to_owned(), message: message.into(), id: id.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<ClientMessage, String> {
        let text = ClientMessage::read(&Incoming::Text(value.to_string())).unwrap();
        let packed = ClientMessage::read(&Incoming::Binary(message_pack::encode(value))).unwrap();
        assert_eq!(text.is_ok(), packed.is_ok(), "{value}");
        if let (Ok(text), Ok(packed)) = (&text, &packed) {
            assert_eq!(text, packed, "{value}");
        }
        text
    }

    #[test]
    fn every_message_of_the_surface_is_read_in_both_formats() {
        for message in [
            json!({"type": "subscribe"}),
            json!({"type": "subscribe", "event_types": ["alert"], "paths": ["a/b"], "sensors": ["s"], "severity": "warning"}),
            json!({"type": "unsubscribe"}),
            json!({"type": "unsubscribe", "event_types": ["alert"]}),
            json!({"type": "resume", "after": "00005d2b-42"}),
            json!({"type": "ping", "timestamp": 17}),
            json!({"type": "ack", "fingerprint": "0123456789abcdef", "note": "seen", "until": "2026-11-20T10:15:00Z"}),
            json!({"type": "command", "command": "trigger_doorbell", "params": {"path": "front"}, "id": "7"}),
            json!({"type": "command", "command": "trigger_doorbell"}),
            json!({"type": "request_video_stream", "path": "front", "accepts": ["hls"]}),
            json!({"type": "token", "token": "x.y.z"}),
            json!({"type": "message", "to": "anna", "text": "hello"}),
        ] {
            read(&message).unwrap_or_else(|error| panic!("{message}: {error}"));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_words() {
        for message in [
            json!(null),
            json!([]),
            json!("ping"),
            json!({}),
            json!({"type": "dance"}),
            json!({"type": 3}),
            json!({"type": "resume"}),
            json!({"type": "subscribe", "event_types": "alert"}),
            json!({"type": "ack"}),
        ] {
            assert!(!read(&message).unwrap_err().is_empty(), "{message}");
        }
        assert!(ClientMessage::read(&Incoming::Text("{".into())).unwrap().is_err());
        assert!(ClientMessage::read(&Incoming::Pong).is_none());
    }

    /// Every example of the page for users is what it says.
    #[test]
    fn the_messages_of_the_documentation_are_read() {
        let page = include_str!("../../../docs/events.md");
        let pieces = page.split(['`', '\n']).filter(|piece| piece.starts_with(r#"{"type":""#));
        let told: Vec<Value> = pieces
            .map(|piece| serde_json::from_str(piece).unwrap_or_else(|error| panic!("{piece}: {error}")))
            .collect();
        let schema = serde_json::to_value(schemars::schema_for!(ClientMessage)).unwrap();
        let names: Vec<&str> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["properties"]["type"]["const"].as_str().unwrap())
            .collect();
        for name in &names {
            let example = told.iter().find(|message| message["type"] == *name).unwrap_or_else(|| panic!("{name}"));
            read(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
        let said = [
            "connected",
            "connection_status",
            "pong",
            "error",
            "gap",
            "command_result",
            "stream_url",
            "users_online",
            "direct_message",
            "broadcast",
        ];
        assert!(said.iter().all(|name| told.iter().any(|message| message["type"] == *name)), "{told:?}");
        assert_eq!(names.len(), 9);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes: Vec<u8>, text in "[{}\\[\\]\":,a-z0-9]{0,200}") {
            prop_assert!(ClientMessage::read(&Incoming::Binary(bytes)).is_some());
            prop_assert!(ClientMessage::read(&Incoming::Text(text)).is_some());
        }
    }
}
