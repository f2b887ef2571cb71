//! The sub-protocol `graphql-transport-ws`, the server's side: texts and time in, what to do out. Sans-IO.
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>; its sections by their headings.
//!
//! It owns the order of messages and the names of operations, and knows neither the socket nor what the operations do.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{answer::Answer, request::Asked};
use crate::{
    auth::{Credential, Malformed, Way},
    base::Monotonic,
    events::ws::close::{CloseCode, Violation},
};

/// Its name.
pub(super) const NAME: &str = "graphql-transport-ws";
/// From the opening of the socket to `connection_init`.
pub(super) const INIT_TIME: Duration = Duration::from_secs(10);
/// Operations of one socket at once.
pub(super) const OPERATIONS: usize = 32;
/// The longest name of an operation, in bytes.
const ID_MAX: usize = 128;

/// Why a socket closes, in the codes of the sub-protocol.
pub(super) mod closing {
    use super::{CloseCode, Violation};

    pub(in super::super) const INVALID: Violation =
        Violation { code: CloseCode(4400), reason: "that is no message of graphql-transport-ws" };
    pub(in super::super) const UNAUTHORIZED: Violation =
        Violation { code: CloseCode(4401), reason: "connection_init comes first" };
    pub(in super::super) const FORBIDDEN: Violation =
        Violation { code: CloseCode(4403), reason: "this needs a right that you do not have" };
    // Not 4401: clients take that for a fault of theirs and never come back, and a fresh token is all it takes.
    pub(in super::super) const OVER: Violation =
        Violation { code: CloseCode(4403), reason: "the right to be here ended" };
    pub(in super::super) const UNPROVED: Violation =
        Violation { code: CloseCode::TRY_LATER, reason: "nobody can say who you are" };
    pub(in super::super) const LATER: Violation =
        Violation { code: CloseCode::TRY_LATER, reason: "too many logins failed, or are tried at once" };
    pub(in super::super) const SUBPROTOCOL: Violation =
        Violation { code: CloseCode(4406), reason: "this door speaks graphql-transport-ws" };
    pub(in super::super) const INIT_TIMEOUT: Violation =
        Violation { code: CloseCode(4408), reason: "connection_init did not come in time" };
    pub(in super::super) const EXISTS: Violation =
        Violation { code: CloseCode(4409), reason: "an operation of this id goes on already" };
    pub(in super::super) const TOO_MANY_INITS: Violation =
        Violation { code: CloseCode(4429), reason: "connection_init comes once" };
}

/// What the client said, as far as somebody has to do something.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing to do.
    Nothing,
    /// `connection_init`: to be acknowledged, or forbidden; what it shows of who the client is.
    Init(Result<Option<Credential>, Malformed>),
    /// `ping`, with what is to be sent back.
    Ping(Option<Value>),
    /// `subscribe`.
    Begin { id: String, asked: Result<Asked, crate::base::Error> },
    /// `subscribe` beyond [`OPERATIONS`].
    TooMany(String),
    /// `complete`: the client wants no more of it.
    End(String),
    /// It broke the protocol.
    Broke(Violation),
}

/// What the client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ClientMessage {
    ConnectionInit {
        /// What a client says of itself; a credential among it.
        #[serde(default)]
        payload: Option<Value>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Value>,
    },
    Pong {
        #[serde(default)]
        #[expect(dead_code, reason = "a sign of life says nothing more")]
        payload: Option<Value>,
    },
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage<'a> {
    /// The connection is open. `cursor` is the place from which nothing is missed.
    ConnectionAck { payload: AckPayload },
    /// The answer to a `ping`.
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
    /// A result.
    Next { id: &'a str, payload: &'a Answer },
    /// The operation was not executed.
    Error { id: &'a str, payload: &'a [async_graphql::ServerError] },
    /// Nothing more comes of it.
    Complete { id: &'a str },
}

/// What comes with `connection_ack`.
#[derive(Debug, Serialize)]
pub(super) struct AckPayload {
    /// The place in the log from which nothing is missed.
    pub(super) cursor: String,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Protocol {
    opened: Monotonic,
    phase: Phase,
    operations: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `connection_init` is due.
    Opened,
    /// It came, and who it is from is being found out.
    Initialised,
    /// It was acknowledged.
    Acknowledged,
}

impl Protocol {
    /// A socket that was opened.
    pub(super) const fn new(now: Monotonic) -> Self {
        Self { opened: now, phase: Phase::Opened, operations: BTreeSet::new() }
    }

    /// Takes a text.
    pub(super) fn handle_text(&mut self, text: &str) -> Said {
        // "Receiving a message of a type or format which is not specified in this document": 4400.
        let Ok(message) = serde_json::from_str::<ClientMessage>(text) else { return Said::Broke(closing::INVALID) };
        match message {
            // "If the server receives more than one ConnectionInit message": 4429.
            ClientMessage::ConnectionInit { .. } if self.phase != Phase::Opened => Said::Broke(closing::TOO_MANY_INITS),
            ClientMessage::ConnectionInit { payload } => {
                self.phase = Phase::Initialised;
                Said::Init(payload.as_ref().map_or(Ok(None), credential))
            }
            ClientMessage::Ping { payload } => Said::Ping(payload),
            ClientMessage::Pong { .. } => Said::Nothing,
            // "If the operation is not acknowledged": 4401.
            ClientMessage::Subscribe { .. } if self.phase != Phase::Acknowledged => Said::Broke(closing::UNAUTHORIZED),
            ClientMessage::Subscribe { id, .. } if id.is_empty() || id.len() > ID_MAX => Said::Broke(closing::INVALID),
            ClientMessage::Subscribe { id, .. } if self.operations.contains(&id) => Said::Broke(closing::EXISTS),
            ClientMessage::Subscribe { id, .. } if self.operations.len() >= OPERATIONS => Said::TooMany(id),
            ClientMessage::Subscribe { id, payload } => {
                self.operations.insert(id.clone());
                Said::Begin { id, asked: Asked::of_json(payload) }
            }
            // One that is over already crossed the server's own `complete` on its way.
            ClientMessage::Complete { id } => {
                if self.operations.remove(&id) {
                    Said::End(id)
                } else {
                    Said::Nothing
                }
            }
        }
    }

    /// The connection is acknowledged: operations may begin.
    pub(super) const fn handle_acknowledged(&mut self) {
        self.phase = Phase::Acknowledged;
    }

    /// The operation is over: its name may be used again.
    pub(super) fn handle_ended(&mut self, id: &str) {
        self.operations.remove(id);
    }

    /// When [`Protocol::handle_timeout`] is due, if ever.
    pub(super) fn poll_deadline(&self) -> Option<Monotonic> {
        (self.phase == Phase::Opened).then_some(self.opened + INIT_TIME)
    }

    /// "ConnectionInit: the server must receive it within the allowed time": 4408.
    pub(super) fn handle_timeout(&self, now: Monotonic) -> Option<Violation> {
        self.poll_deadline().is_some_and(|due| now >= due).then_some(closing::INIT_TIMEOUT)
    }
}

/// What the payload of `connection_init` shows of who a client is, where clients put it: as `Authorization`, alone or among
/// `headers`, as in HTTP; or as `token`. What is empty shows nothing.
fn credential(payload: &Value) -> Result<Option<Credential>, Malformed> {
    let members = payload.as_object().into_iter().chain(payload.get("headers").and_then(Value::as_object)).flatten();
    let mut shown = members.filter_map(|(name, value)| {
        let read: fn(&str) -> Result<Credential, Malformed> = if name.eq_ignore_ascii_case("authorization") {
            |text| Credential::of_header(text.as_bytes()).map(Credential::by_message)
        } else if name == "token" {
            |text| Credential::of_token(text, Way::Message)
        } else {
            return None;
        };
        match value {
            Value::Null => None,
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(read(text.trim())),
            _ => Some(Err(Malformed)),
        }
    });
    match (shown.next(), shown.next()) {
        (first, None) => first.transpose(),
        // One who says who they are twice may mean either.
        (Some(_), Some(_)) | (None, Some(_)) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos((1000 + seconds) * 1_000_000_000)
    }

    fn open() -> Protocol {
        let mut protocol = Protocol::new(at(0));
        let init = protocol.handle_text(r#"{"type":"connection_init","payload":{"a":1}}"#);
        assert!(matches!(init, Said::Init(Ok(None))));
        protocol.handle_acknowledged();
        protocol
    }

    fn subscribe(id: &str) -> String {
        format!(r#"{{"type":"subscribe","id":"{id}","payload":{{"query":"{{a}}"}}}}"#)
    }

    fn broke(said: &Said) -> u16 {
        if let Said::Broke(violation) = said { violation.code.0 } else { panic!("{said:?}") }
    }

    #[test]
    fn what_is_no_message_or_out_of_order_closes_with_its_code() {
        for text in [
            "",
            "7",
            "{}",
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"next","id":"1"}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"","payload":{}}"#,
            r#"{"type":"complete"}"#,
        ] {
            assert_eq!(broke(&open().handle_text(text)), 4400, "{text}");
        }
        assert_eq!(broke(&Protocol::new(at(0)).handle_text(&subscribe("1"))), 4401);
        assert_eq!(broke(&open().handle_text(r#"{"type":"connection_init"}"#)), 4429);
        let mut protocol = open();
        assert!(matches!(protocol.handle_text(&subscribe("1")), Said::Begin { .. }));
        assert_eq!(broke(&protocol.handle_text(&subscribe("1"))), 4409);
    }

    #[test]
    fn who_a_client_is_stands_in_the_payload_once() {
        let token = |text: &str| Ok(Some(Credential::of_token(text, Way::Message).unwrap()));
        let anna = || Ok(Some(Credential::of_password("anna", "pass").unwrap()));
        let table = [
            (r#"{"Authorization":"Bearer abc"}"#, token("abc")),
            (r#"{"authorization":" bearer abc "}"#, token("abc")),
            (r#"{"headers":{"Authorization":"Bearer abc"},"other":1}"#, token("abc")),
            (r#"{"Authorization":"Basic YW5uYTpwYXNz"}"#, anna()),
            (r#"{"token":"abc"}"#, token("abc")),
            (r#"{"token":"abc","Authorization":null}"#, token("abc")),
            (r#"{"Authorization":""}"#, Ok(None)),
            (r#"{"headers":7}"#, Ok(None)),
            (r#"{}"#, Ok(None)),
            ("null", Ok(None)),
            ("[1]", Ok(None)),
            (r#""Bearer abc""#, Ok(None)),
            (r#"{"Authorization":"Bearer"}"#, Err(Malformed)),
            (r#"{"Authorization":"abc"}"#, Err(Malformed)),
            (r#"{"token":7}"#, Err(Malformed)),
            (r#"{"token":"a b"}"#, Err(Malformed)),
            (r#"{"token":"abc","Authorization":"Bearer abc"}"#, Err(Malformed)),
            (r#"{"Authorization":"Bearer abc","headers":{"authorization":"Bearer abd"}}"#, Err(Malformed)),
        ];
        for (payload, expected) in table {
            let mut protocol = Protocol::new(at(0));
            let said = protocol.handle_text(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#));
            let Said::Init(shown) = said else { panic!("{payload}: {said:?}") };
            assert_eq!(shown, expected, "{payload}");
            // Until that is found out, nothing may be asked, and nobody else said.
            assert_eq!(broke(&protocol.handle_text(&subscribe("1"))), 4401);
            assert_eq!(broke(&protocol.handle_text(r#"{"type":"connection_init"}"#)), 4429);
        }
    }

    #[test]
    fn a_name_is_free_again_when_its_operation_is_over() {
        let mut protocol = open();
        for number in 0..OPERATIONS {
            assert!(matches!(protocol.handle_text(&subscribe(&number.to_string())), Said::Begin { .. }));
        }
        assert!(matches!(protocol.handle_text(&subscribe("more")), Said::TooMany(id) if id == "more"));
        protocol.handle_ended("3");
        assert!(matches!(protocol.handle_text(&subscribe("3")), Said::Begin { .. }));
        assert!(matches!(protocol.handle_text(r#"{"type":"complete","id":"3"}"#), Said::End(id) if id == "3"));
        assert!(matches!(protocol.handle_text(r#"{"type":"complete","id":"3"}"#), Said::Nothing));
        assert!(matches!(protocol.handle_text(&subscribe("3")), Said::Begin { .. }));
    }

    #[test]
    fn a_connection_that_is_not_initialised_in_time_closes_and_pings_are_answered_before() {
        let mut protocol = Protocol::new(at(0));
        let ping = protocol.handle_text(r#"{"type":"ping","payload":{"n":1}}"#);
        assert!(matches!(ping, Said::Ping(Some(payload)) if payload["n"] == 1));
        assert!(matches!(protocol.handle_text(r#"{"type":"pong"}"#), Said::Nothing));
        assert_eq!((protocol.poll_deadline(), protocol.handle_timeout(at(9))), (Some(at(10)), None));
        assert_eq!(protocol.handle_timeout(at(10)).unwrap().code.0, 4408);
        assert_eq!(open().poll_deadline(), None);
    }
}
