//! What comes in on a connection, cut into messages and control frames: unmasked, joined, inflated, checked. Sans-IO.
//! RFC 6455 §5 (framing), §8.1 (UTF-8); RFC 7692 §6.2 (deflated messages).
//!
//! It owns the bounds of what a client may send before it is understood; beyond them the connection ends. Nothing is
//! allocated for a length that is only announced.

use bytes::{Buf, BytesMut};

use super::{
    close::{Close, Violation},
    deflate::{InflateError, inflate},
    frame::{FIN, MASK, Opcode, RSV1, mask},
};

/// A message, with all its fragments, at most.
pub const MESSAGE_MAX: usize = 64 << 10;

/// The longest header a client sends: two bytes, eight of length, four of the mask.
const HEADER_MAX: usize = 14;

/// One whole thing that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A question that is answered with the same payload.
    Ping(Vec<u8>),
    /// An answer to one of ours, or a sign of life.
    Pong,
    /// The client closes, or answers our close.
    Close(Close),
    /// A fragment of a message that goes on. Nothing to do, but it counts as one more frame.
    Fragment,
}

/// The incoming side of one connection.
#[derive(Debug, Default)]
pub struct Inbound {
    buffer: BytesMut,
    /// permessage-deflate was agreed.
    deflate: bool,
    message: Option<Unfinished>,
}

/// A message whose last fragment has not come.
#[derive(Debug)]
struct Unfinished {
    binary: bool,
    deflated: bool,
    payload: Vec<u8>,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    deflated: bool,
    opcode: Opcode,
    payload: usize,
    key: [u8; 4],
    len: usize,
}

impl Inbound {
    /// A side that takes deflated messages or does not.
    pub fn new(deflate: bool) -> Self {
        Self { deflate, ..Self::default() }
    }

    /// Takes bytes that came in. Whoever pushes takes everything out before he pushes more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held, in the buffer and in a message that goes on.
    pub fn pending(&self) -> usize {
        self.buffer.len() + self.message.as_ref().map_or(0, |message| message.payload.len())
    }

    /// The next whole thing; `None` until more bytes come.
    ///
    /// # Errors
    /// The client broke a rule, and nothing more can be read.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, Violation> {
        let Some(header) = self.header()? else { return Ok(None) };
        if self.buffer.len() < header.len + header.payload {
            return Ok(None);
        }
        self.buffer.advance(header.len);
        let mut payload = self.buffer.split_to(header.payload);
        mask(&mut payload, header.key);
        let incoming = match header.opcode {
            Opcode::Ping => Incoming::Ping(payload.to_vec()),
            Opcode::Pong => Incoming::Pong,
            Opcode::Close => Incoming::Close(Close::parse(&payload)?),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.data(header, &payload)?,
        };
        if self.buffer.is_empty() {
            // A connection that says nothing holds no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(Some(incoming))
    }

    /// The header at the front of the buffer, judged as soon as its bytes are there.
    fn header(&self) -> Result<Option<Header>, Violation> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(None) };
        // §5.2: no extension uses these.
        if first & 0x30 != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let Some(opcode) = Opcode::of(first & 0x0f) else {
            return Err(Violation::protocol("that opcode is reserved"));
        };
        let (fin, deflated) = (first & FIN != 0, first & RSV1 != 0);
        // RFC 7692 §6.1: on the first frame of a data message, and only after it was agreed.
        if deflated && (!self.deflate || !matches!(opcode, Opcode::Text | Opcode::Binary)) {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        // RFC 6455 §5.1
        if second & MASK == 0 {
            return Err(Violation::protocol("a client masks its frames"));
        }
        if opcode.is_control() {
            // §5.5
            if !fin || second & 0x7f > 125 {
                return Err(Violation::protocol("a control frame is whole and has at most 125 bytes"));
            }
        } else if (opcode == Opcode::Continuation) != self.message.is_some() {
            // §5.4
            return Err(Violation::protocol("a message begins before the last one ends, or goes on without one"));
        }
        let (extended, shortest) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        if rest.len() < extended {
            return Ok(None);
        }
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => rest[..extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if length < shortest {
            return Err(Violation::protocol("a length takes its shortest form"));
        }
        let held = self.message.as_ref().map_or(0, |message| message.payload.len());
        let payload = usize::try_from(length).unwrap_or(usize::MAX);
        if !opcode.is_control() && payload > MESSAGE_MAX - held {
            return Err(Violation::TOO_BIG);
        }
        let Some(key) = rest[extended..].first_chunk::<4>() else { return Ok(None) };
        let len = 2 + extended + 4;
        debug_assert!(len <= HEADER_MAX);
        Ok(Some(Header { fin, deflated, opcode, payload, key: *key, len }))
    }

    fn data(&mut self, header: Header, payload: &[u8]) -> Result<Incoming, Violation> {
        let mut message = self.message.take().unwrap_or_else(|| Unfinished {
            binary: header.opcode == Opcode::Binary,
            deflated: header.deflated,
            payload: Vec::new(),
        });
        message.payload.extend_from_slice(payload);
        if !header.fin {
            self.message = Some(message);
            return Ok(Incoming::Fragment);
        }
        let payload = if message.deflated {
            inflate(&message.payload, MESSAGE_MAX).map_err(|error| match error {
                InflateError::Corrupt => Violation::data("the message cannot be inflated"),
                InflateError::TooBig => Violation::TOO_BIG,
            })?
        } else {
            message.payload
        };
        if message.binary {
            return Ok(Incoming::Binary(payload));
        }
        // §8.1
        String::from_utf8(payload).map(Incoming::Text).map_err(|_| Violation::data("a text is no UTF-8"))
    }
}

#[cfg(test)]
#[path = "tests/inbound.rs"]
mod tests;
