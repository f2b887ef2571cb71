//! The forms of a message on the wire: JSON or MessagePack, plain or deflated. What many clients get is made once by
//! form, header included, and shared. Sans-IO.

use bytes::Bytes;
use serde::Serialize;

use super::{
    deflate::deflate,
    frame::{Opcode, frame},
    message_pack,
};

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text messages.
    #[default]
    Json,
    /// Binary messages of the same shape, for those who want bytes.
    MessagePack,
}

impl Format {
    /// The sub-protocol's name.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Json => "campanile.events.v1",
            Self::MessagePack => "campanile.events.v1+msgpack",
        }
    }

    /// The format of a sub-protocol (RFC 6455 §4.1: names are compared as they are).
    pub fn of_protocol(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack].into_iter().find(|format| format.protocol() == name)
    }
}

/// A format, and whether messages may be deflated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// How a message is written.
    pub format: Format,
    /// permessage-deflate was agreed.
    pub deflate: bool,
}

impl Encoding {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Its number, below [`Encoding::COUNT`].
    pub const fn index(self) -> usize {
        (self.format as usize) << 1 | self.deflate as usize
    }

    /// A frame that carries a message written in JSON.
    pub fn frame(self, json: &[u8]) -> Bytes {
        match self.format {
            Format::Json => self.framed(Opcode::Text, json),
            Format::MessagePack => self.framed(Opcode::Binary, &to_message_pack(json)),
        }
    }

    /// A frame for one client alone.
    pub fn frame_of(self, message: &impl Serialize) -> Bytes {
        // Our own types have string keys and no way to fail.
        self.frame(&serde_json::to_vec(message).unwrap_or_default())
    }

    fn framed(self, opcode: Opcode, payload: &[u8]) -> Bytes {
        // Below this a header and a table cost more than they save.
        const WORTH_IT: usize = 96;
        let small = (self.deflate && payload.len() >= WORTH_IT).then(|| deflate(payload)).flatten();
        small.map_or_else(|| frame(opcode, false, payload), |small| frame(opcode, true, &small))
    }
}

/// The same message in MessagePack; nil for what is no JSON.
fn to_message_pack(json: &[u8]) -> Vec<u8> {
    message_pack::encode(&serde_json::from_slice(json).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{super::deflate::inflate, *};

    const EVENT: &str = r#"{"id":"00005d2b-42","type":"alert","time":"2026-11-20T10:15:00.123Z","path":"front-door",
        "sensor":null,"severity":"warning","data":{"value":35.5,"count":3,"on":true}}"#;

    #[test]
    fn every_encoding_carries_the_same_message() {
        let expected: serde_json::Value = serde_json::from_str(EVENT).unwrap();
        for (index, (format, deflate)) in
            [(Format::Json, false), (Format::Json, true), (Format::MessagePack, false), (Format::MessagePack, true)]
                .into_iter()
                .enumerate()
        {
            let encoding = Encoding { format, deflate };
            assert_eq!(encoding.index(), index);
            let frame = encoding.frame(EVENT.as_bytes());
            let binary = format == Format::MessagePack;
            assert_eq!(frame[0], if binary { 0x82 } else { 0x81 } | if deflate { 0x40 } else { 0 });
            let payload = &frame[if frame[1] < 126 { 2 } else { 4 }..];
            let payload = if deflate { inflate(payload, 65536).unwrap() } else { payload.to_vec() };
            let read: serde_json::Value = if binary {
                rmp_serde::from_slice(&payload).unwrap()
            } else {
                serde_json::from_slice(&payload).unwrap()
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_short_message_is_sent_as_it_is() {
        let encoding = Encoding { format: Format::Json, deflate: true };
        assert_eq!(&encoding.frame(br#"{"type":"pong"}"#)[..2], b"\x81\x0f");
    }
}
