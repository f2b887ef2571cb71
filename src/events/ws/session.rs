//! One WebSocket connection: bytes, frames and time in; frames, requests and a deadline out. Sans-IO.
//!
//! It owns the life of the connection: pings, the closing handshake (RFC 6455 §7), and what ends it: silence, a socket
//! that takes nothing, a flood, a breach. It does not know what the requests mean, nor where events come from; it says
//! when it wants some: whenever everything before them is written, so that there is one batch in flight and no queue.

use std::{io::IoSlice, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{
    bucket::Bucket,
    close::{CloseCode, Violation, close_frame, echo},
    encoding::Encoding,
    frame::{Opcode, frame},
    inbound::{Inbound, Incoming},
    messages::{ClientMessage, ServerMessage},
    outbox::Outbox,
};
use crate::base::Monotonic;

/// Between two pings of ours.
pub const PING_EVERY: Duration = Duration::from_secs(30);
/// Two pings without an answer, and some patience: then nobody is there.
pub const SILENT_AFTER: Duration = Duration::from_secs(75);
/// A socket that takes no byte for this long is too slow.
pub const BLOCKED_FOR: Duration = Duration::from_secs(10);
/// For the closing handshake, and for the other side to hang up.
pub const CLOSING_TIME: Duration = Duration::from_secs(3);
/// From the first byte of a message to its last.
pub const MESSAGE_TIME: Duration = Duration::from_secs(20);
/// While so much waits to be written, nothing is read: what is asked for would only wait behind it.
pub const REPLIES_MAX: usize = 128 << 10;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By a closing handshake, or after our close frame.
    Closed(CloseCode),
    /// The client closed; with its code, if it gave one.
    Left(Option<CloseCode>),
    /// The socket ended without a word.
    Lost,
    /// No sign of life.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is out or on its way; the client's is awaited.
    Closing {
        end: End,
        until: Monotonic,
    },
    /// Nothing more is said; the socket ends when everything is written and the client has hung up (§7.1.1).
    Leaving {
        end: End,
        until: Monotonic,
    },
    Ended(End),
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    encoding: Encoding,
    inbound: Inbound,
    outbox: Outbox,
    flood: Bucket,
    state: State,
    /// Bytes came in, or a socket that was blocked took some.
    alive_at: Monotonic,
    pinged_at: Monotonic,
    blocked_since: Option<Monotonic>,
    /// Since when the front message is not whole.
    unfinished_since: Option<Monotonic>,
}

impl Session {
    /// A connection that begins.
    pub fn new(encoding: Encoding, now: Monotonic) -> Self {
        Self {
            encoding,
            inbound: Inbound::new(encoding.deflate),
            outbox: Outbox::default(),
            flood: Bucket::new(BURST, PER_SECOND, now),
            state: State::Open,
            alive_at: now,
            pinged_at: now,
            blocked_since: None,
            unfinished_since: None,
        }
    }

    /// The form of its messages.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether bytes of the client are wanted now.
    pub const fn wants_bytes(&self) -> bool {
        match self.state {
            State::Open | State::Closing { .. } => self.outbox.bytes() < REPLIES_MAX,
            State::Leaving { .. } => true,
            State::Ended(_) => false,
        }
    }

    /// Takes bytes that came in. [`Session::poll_request`] is asked until it has nothing before more are given.
    pub fn handle_bytes(&mut self, now: Monotonic, bytes: &[u8]) {
        self.alive_at = now;
        if matches!(self.state, State::Open | State::Closing { .. }) {
            self.inbound.push(bytes);
        }
    }

    /// The client hung up.
    pub fn handle_end_of_stream(&mut self) {
        self.state = State::Ended(match self.state {
            State::Open => End::Lost,
            State::Closing { end, .. } | State::Leaving { end, .. } | State::Ended(end) => end,
        });
    }

    /// The next message of the client that makes sense; what makes none is answered, and counts ten times.
    pub fn poll_request(&mut self, now: Monotonic) -> Option<ClientMessage> {
        while let Some(message) = self.poll_message(now) {
            match ClientMessage::read(&message) {
                Some(Ok(message)) => return Some(message),
                Some(Err(problem)) if self.flood.allows(now, MALFORMED) => {
                    self.say(&ServerMessage::error("invalid_message", problem, None));
                }
                Some(Err(_)) => self.fail(now, FLOOD),
                None => {}
            }
        }
        None
    }

    /// The next message of the client, text or binary. Pings, closes and breaches are dealt with in here.
    pub fn poll_message(&mut self, now: Monotonic) -> Option<Incoming> {
        while matches!(self.state, State::Open | State::Closing { .. }) {
            match self.inbound.next_incoming() {
                Ok(Some(incoming)) => {
                    if let Some(message) = self.handle_incoming(now, incoming) {
                        return Some(message);
                    }
                }
                Ok(None) => {
                    let unfinished = self.inbound.pending() > 0;
                    self.unfinished_since = unfinished.then(|| self.unfinished_since.unwrap_or(now));
                    return None;
                }
                Err(violation) => self.fail(now, violation),
            }
        }
        None
    }

    fn handle_incoming(&mut self, now: Monotonic, incoming: Incoming) -> Option<Incoming> {
        self.unfinished_since = None;
        let open = self.state == State::Open;
        let size = match &incoming {
            Incoming::Text(text) => text.len(),
            Incoming::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        if open && !self.flood.allows(now, 1.0 + size as f32 / 4096.0) {
            self.fail(now, FLOOD);
            return None;
        }
        match incoming {
            // §5.5.2: with the same payload.
            Incoming::Ping(payload) if open => self.outbox.push(frame(Opcode::Pong, false, &payload)),
            Incoming::Close(close) => {
                let (end, until) = match self.state {
                    State::Closing { end, until } => (end, until),
                    _ => {
                        // §5.5.1: what is not begun need not be sent any more.
                        self.outbox.drop_waiting();
                        self.outbox.push(echo(&close));
                        (End::Left(close.code), now + CLOSING_TIME)
                    }
                };
                self.state = State::Leaving { end, until };
            }
            // §7.1.1: after our close frame data mean nothing.
            Incoming::Text(_) | Incoming::Binary(_) if open => return Some(incoming),
            _ => {}
        }
        None
    }

    /// Says something to this client alone.
    pub fn say(&mut self, message: &impl Serialize) {
        self.push(self.encoding.frame_of(message));
    }

    /// Sends a ready-made frame.
    pub fn push(&mut self, frame: Bytes) {
        if self.state == State::Open {
            self.outbox.push(frame);
        }
    }

    /// Whether the next batch of events is wanted: all that came before is written.
    pub fn wants_events(&self) -> bool {
        self.state == State::Open && self.outbox.is_empty()
    }

    /// Bytes that wait to be written.
    pub const fn pending(&self) -> usize {
        self.outbox.bytes()
    }

    /// Fills `slices` with what is to be written next; how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if matches!(self.state, State::Ended(_)) { 0 } else { self.outbox.slices(slices) }
    }

    /// The socket took so many bytes.
    pub fn handle_written(&mut self, now: Monotonic, count: usize) {
        self.outbox.written(count);
        if self.blocked_since.take().is_some() {
            // The other side made room: it lives, however slow it is.
            self.alive_at = now;
        }
    }

    /// The socket takes nothing now. Whether that is new, and the deadline another one.
    pub fn handle_blocked(&mut self, now: Monotonic) -> bool {
        let new = self.blocked_since.is_none();
        self.blocked_since.get_or_insert(now);
        new
    }

    /// Closes, with a code and a reason of at most 123 bytes; what is not begun is not sent.
    pub fn close(&mut self, now: Monotonic, code: CloseCode, reason: &str) {
        if self.state == State::Open {
            self.outbox.drop_waiting();
            self.outbox.push(close_frame(code, reason));
            self.state = State::Closing { end: End::Closed(code), until: now + CLOSING_TIME };
        }
    }

    /// §7.1.7: says why, and reads no more.
    fn fail(&mut self, now: Monotonic, violation: Violation) {
        self.close(now, violation.code, violation.reason);
        if let State::Closing { end, until } = self.state {
            self.state = State::Leaving { end, until };
        }
    }

    /// Whether the writing half is to be shut: everything is said (§7.1.1, the server hangs up first).
    pub fn wants_shutdown(&self) -> bool {
        matches!(self.state, State::Leaving { .. }) && self.outbox.is_empty()
    }

    /// When [`Session::handle_timeout`] is due. It may move with every call.
    pub fn poll_deadline(&self) -> Monotonic {
        match self.state {
            State::Open => {
                let ping = self.alive_at.max(self.pinged_at) + PING_EVERY;
                let limits = [
                    Some(ping),
                    Some(self.alive_at + SILENT_AFTER),
                    self.blocked_since.map(|since| since + BLOCKED_FOR),
                    self.unfinished_since.map(|since| since + MESSAGE_TIME),
                ];
                limits.into_iter().flatten().min().unwrap_or(ping)
            }
            State::Closing { until, .. } | State::Leaving { until, .. } => until,
            State::Ended(_) => Monotonic::from_nanos(u64::MAX),
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        let over = |since: Option<Monotonic>, limit| since.is_some_and(|since| now >= since + limit);
        match self.state {
            State::Open if over(self.blocked_since, BLOCKED_FOR) => {
                self.close(now, CloseCode::TOO_SLOW, "nothing was taken for 10 s; resume after the last event");
            }
            State::Open if over(self.unfinished_since, MESSAGE_TIME) => {
                self.fail(now, Violation { code: CloseCode::POLICY, reason: "the rest of a message did not come" });
            }
            State::Open if now >= self.alive_at + SILENT_AFTER => self.state = State::Ended(End::Silent),
            State::Open if now >= self.alive_at.max(self.pinged_at) + PING_EVERY => {
                self.pinged_at = now;
                self.outbox.push(PING);
            }
            State::Closing { end, until } | State::Leaving { end, until } if now >= until => {
                self.state = State::Ended(end);
            }
            _ => {}
        }
    }

    /// Whether both sides may still say something.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// How it ended; nothing while it has not.
    pub const fn end(&self) -> Option<End> {
        if let State::Ended(end) = self.state { Some(end) } else { None }
    }
}

const PING: Bytes = Bytes::from_static(b"\x89\x00");

const FLOOD: Violation = Violation { code: CloseCode::POLICY, reason: "too many messages" };

/// What a message costs that is none.
const MALFORMED: f32 = 9.0;

/// How much a client may say at once, and by the second. A message costs one, and one more for each 4 KiB.
const BURST: f32 = 256.0;
const PER_SECOND: f32 = 50.0;

#[cfg(test)]
#[path = "tests/session.rs"]
mod tests;
