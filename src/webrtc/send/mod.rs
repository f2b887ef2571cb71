//! The send side: what viewers are sent, from a unit in the ring to sealed packets on the wire.
//!
//! A viewer belongs to one send thread, which alone owns its state and learns of joins, leaves and feedback by one
//! bounded queue ([`threads`]). [`viewer::Viewer`] is the machine: units and feedback in, sealed runs out. [`thread`]
//! drives the viewers of a thread: one ear per ring ([`chime`]), one buffer for all of them, one system call per viewer
//! and unit ([`wire`]).

pub(super) mod bench;
mod chime;
mod estimate;
mod extension;
mod feedback;
mod gauge;
mod line;
mod numbers;
mod outlet;
mod pacer;
mod rendition;
mod repair;
mod report;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(test)]
mod thread_tests;
mod threads;
mod viewer;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

pub(super) use self::{
    outlet::Outlet,
    thread::SendOptions,
    threads::{Seat, SendThreads},
    wire::Outlets,
};
use super::{sdp::ChosenLine, srtp::MediaKeys, transport::Route};
use crate::{
    base::{Error, Rendition},
    hub::{BurstPolicy, Edge, Reader, ReaderOptions, Stream},
    stats,
};

/// Names a viewer among all viewers there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub u64);

/// What the control thread tells a send thread.
#[derive(Debug)]
pub(super) enum Order {
    /// A viewer is there and its keys are agreed: it is sent media from now on.
    Join(Box<Joining>),
    /// Its media go somewhere else from now on.
    Route(Key, Route),
    /// It no longer consents, or consents again: nothing is sent in between.
    Silent(Key, bool),
    /// It is gone.
    Leave(Key),
    /// A decrypted compound packet of RTCP. The only order that may be dropped; that is counted.
    Feedback(Key, Bytes),
}

/// A viewer that joins.
#[derive(Debug)]
pub(super) struct Joining {
    pub key: Key,
    /// What was negotiated: at most one line of pictures and one of sound.
    pub lines: Vec<ChosenLine>,
    /// Our sending keys.
    pub keys: MediaKeys,
    pub route: Route,
    pub readers: Readers,
    /// Where its figures are counted.
    pub session: Arc<stats::Session>,
    /// The canonical name of its reports, the same on all lines.
    pub cname: String,
    /// Told why the thread ended the viewer by itself; dropped untold after [`Order::Leave`].
    pub ended: oneshot::Sender<SendEnd>,
}

/// What a viewer reads.
#[derive(Debug)]
pub(super) struct Readers {
    /// A reader with [`reader_options`], made when the viewer may be sent something: it begins at the newest random
    /// access point of that moment.
    pub reader: Reader,
    /// What it reads.
    pub rendition: Rendition,
    /// The main rendition of the path.
    pub main: Stream,
    /// The smaller one, if the path has it. Neither is demand until the viewer is moved there.
    pub sub: Option<Stream>,
    /// Whether the viewer is moved between the two as its path allows. One that asked for a rendition is not.
    pub adapts: bool,
}

/// Why a send thread ended a viewer.
#[derive(Clone, Debug)]
pub(super) enum SendEnd {
    /// The path has other tracks now, and they need another negotiation.
    TracksChanged,
    /// The source was away for longer than viewers are held.
    SourceLost(Arc<Error>),
    /// The path was removed, or the server stops.
    Closed,
}

/// How a viewer reads: a picture at once, within the bounds of a start burst.
pub(super) const fn reader_options() -> ReaderOptions {
    let burst = BurstPolicy::Within { bytes: 4_000_000, units: 400, readers: 256 };
    ReaderOptions { edge: Edge::Nothing, burst, ..ReaderOptions::viewer() }
}
