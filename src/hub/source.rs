//! The door between a source and its ring: what fills a path, and what it is given to fill it with.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::writer::Writer;
use crate::{
    base::{Clock, Error, Monotonic, PathName, Rendition},
    media::{AccessUnit, CodecParameters, Track, TrackDescription, TrackId},
};

/// What fills a ring: a camera to pull from, a demo. Implemented in `ingest`, wired in `app`.
pub trait Source: fmt::Debug + Send + Sync {
    /// Fills the ring until the feed is told to stop. It supervises itself: it connects again after a failure and
    /// says so by [`Feed::lost`]; returning before the feed stops is for failures that no retry mends.
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()>;

    /// What it is, for people: a URL without credentials, or `demo`.
    fn description(&self) -> String;
}

/// What a source tells the path.
#[derive(Debug)]
pub(super) enum Report {
    /// The first unit of a run, or the first after silence, was published at the time given.
    Live,
    /// The source is not there; it will try again by itself.
    Lost(Arc<Error>, Outlook),
}

/// What a source that is not there expects of its next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It may come at any moment: a camera that is slow, that hung up, that restarts.
    Uncertain,
    /// The answer was no, and will be until somebody changes something: nothing listens there, the login is wrong.
    Refusal,
}

/// Reports on their way to the path task; when the task is that far behind, newer ones wait in their sender.
pub(super) const REPORTS: usize = 16;

/// Counters of a source over all its runs.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// RTP packets that did not arrive.
    pub packets_lost: AtomicU64,
    /// Packets or units that could not be taken apart.
    pub packets_bad: AtomicU64,
    /// Bytes received, headers included where the source knows.
    pub bytes_received: AtomicU64,
    /// Connections made beyond the first.
    pub reconnects: AtomicU64,
    /// Clock steps and timestamp jumps seen.
    pub jumps: AtomicU64,
}

/// What the path and its feed share.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) writer: Mutex<Writer>,
    pub(super) counters: SourceCounters,
    /// The path wants to hear of the next unit.
    pub(super) announce: AtomicBool,
}

impl Inlet {
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the room that makes a derived track puts its units. It says nothing to the path: the source does.
#[derive(Debug)]
pub struct DerivedFeed {
    pub(super) inlet: Arc<Inlet>,
    pub(super) track: Arc<Track>,
}

impl DerivedFeed {
    /// The track it fills.
    pub fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Publishes a unit whose times are the ring's; `spliced` begins another run. `false` when the track is no longer in
    /// force: another list of tracks has come.
    pub fn push(&self, unit: AccessUnit, spliced: bool) -> bool {
        self.inlet.writer().push_derived(&self.track, unit, spliced)
    }
}

/// Where a running source puts what it receives. It belongs to one run of [`Source::run`].
#[derive(Debug)]
pub struct Feed {
    pub(super) path: PathName,
    pub(super) rendition: Rendition,
    pub(super) inlet: Arc<Inlet>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) stop: CancellationToken,
    pub(super) clock: Clock,
}

impl Feed {
    /// The path it fills.
    pub fn path(&self) -> &PathName {
        &self.path
    }

    /// Which of the path's rings it fills.
    pub fn rendition(&self) -> Rendition {
        self.rendition
    }

    /// Fires when the source has to end: say goodbye to the camera and return.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// The counters shown for this source.
    pub fn counters(&self) -> &SourceCounters {
        &self.inlet.counters
    }

    /// The clock that arrival times are taken from.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// A connection stands and will deliver these tracks; their ids are their places in the list.
    pub fn begin(&self, tracks: Vec<TrackDescription>) {
        self.inlet.writer().begin(tracks);
        self.inlet.announce.store(true, Ordering::Release);
    }

    /// A track has new parameters from its next unit on. Another codec needs [`Feed::begin`].
    pub fn set_parameters(&self, track: TrackId, parameters: CodecParameters) {
        self.inlet.writer().set_parameters(track, parameters);
    }

    /// Publishes a unit. Never waits for a reader.
    pub fn push(&self, unit: AccessUnit) {
        if self.stop.is_cancelled() || !self.inlet.writer().push(unit) {
            return;
        }
        if self.inlet.announce.load(Ordering::Acquire) && self.inlet.announce.swap(false, Ordering::AcqRel) {
            // A full queue means that the path has other news to read first; the next unit tells it again.
            if self.reports.try_send(Report::Live).is_err() {
                self.inlet.announce.store(true, Ordering::Release);
            }
        }
    }

    /// Packets of a track did not arrive. [`SourceCounters::packets_lost`] is counted apart.
    pub fn note_lost(&self, track: TrackId, packets: u64) {
        self.inlet.writer().note_lost(track, packets);
    }

    /// The source is not there; it will try again by itself.
    pub async fn lost(&self, error: Error, outlook: Outlook) {
        // The path going away is the end of the feed, which the caller sees by `stopping`.
        let _ = self.reports.send(Report::Lost(Arc::new(error), outlook)).await;
    }

    /// The time that arrival is counted by.
    pub fn now(&self) -> Monotonic {
        self.clock.now()
    }
}
