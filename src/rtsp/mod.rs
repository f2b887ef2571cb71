//! The RTSP server: readers over interleaved TCP, UDP, TLS and HTTP tunnels.
//!
//! ```text
//! bytes ─ framing ─ session (what was agreed) ─ answers ─┐
//! ring ─ player ─ sending (numbers, clock, reports) ──── outbox ─ wire      interleaved
//!                                                  └──── udp               datagrams
//! ```
//!
//! Machines (`framing`, `session`, `blockage`, `target`, `transport`, `sdp`, `start_clock`, `sending`, `outbox`, `pacer`, `tunnel`'s
//! decoder) know no socket and no clock; `connection` drives them, one task per connection on a media thread.
//! Publishing is not here.

mod blockage;
mod connection;
pub mod framing;
mod outbox;
mod pacer;
mod player;
mod reports;
mod sdp;
mod sending;
mod server;
mod session;
mod start_clock;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod udp;
mod wire;

use self::server::Shared;
pub use self::{
    server::{Listeners, PathTransports, RtspOptions, RtspServer},
    target::StartChoice,
    transport::{Lower, Transports},
};
