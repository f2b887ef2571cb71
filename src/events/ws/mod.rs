//! Events over WebSocket: RFC 6455 and permessage-deflate (RFC 7692) on a stream that HTTP has upgraded.
//!
//! Machines: [`handshake`] agrees, [`inbound`] cuts what comes in, [`encoding`] makes the frames that go out, once for
//! all clients of a form, [`session`] is the life of one connection. [`door`] lets in and counts; a [`Connection`] is
//! the task that drives a session, and the [`herald`] tells for those that sleep; [`commands`] is what clients can have done.

mod answers;
mod bucket;
pub mod close;
pub mod commands;
mod connection;
mod deflate;
pub mod door;
pub mod encoding;
mod frame;
pub mod handshake;
mod herald;
pub mod inbound;
mod line;
pub mod login;
mod mailbox;
mod message_pack;
pub mod messages;
mod outbox;
mod presence;
pub mod session;
mod talk;
mod wishes;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    commands::{CommandAction, Commands, TriggerDoorbell},
    connection::{Connection, refusal},
    door::{Acknowledge, Arrival, Host, Renewed, Rights, WebSocketFigures, WebSocketOptions, WebSockets},
    line::{Line, Stream},
    login::Login,
    wishes::Preset,
};
