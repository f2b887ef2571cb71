//! The RTSP server: readers over interleaved TCP, UDP, TLS and HTTP tunnels.
//!
//! ```text
//! bytes ─ framing ─ session (what was agreed) ─ answers ─┐
//! ring ─ player ─ sending (numbers, clock, reports) ──── outbox ─ wire      interleaved
//!                                                  └──── udp               datagrams
//! ```
//!
//! `playback` is one session's media, from its place in the list to its last report. It belongs to a `connection`; if its
//! media travel over UDP, to whoever names it (`claims`), or to nobody for a while (`orphan`).
//!
//! Machines (`framing`, `session`, `blockage`, `target`, `transport`, `sdp`, `start_clock`, `sending`, `outbox`,
//! `pacer`, `tunnel`'s decoder) know no socket and no clock; `connection` drives them, one task per connection on a
//! media thread.
//! Publishing is not here.

mod agreement;
mod alarms;
mod answer;
mod blockage;
mod claims;
mod connection;
mod ending;
pub mod framing;
mod io;
mod login;
mod lookup;
mod orphan;
mod outbox;
mod pacer;
mod playback;
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
