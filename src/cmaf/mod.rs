//! A path as fragmented MP4: init segments and parts, made once and shared by all (HLS, DASH, recorder).
//!
//! One muxer per path, rendition and [`Selection`] in demand turns a ring into parts and publishes an immutable
//! [`CmafSnapshot`] by `watch`. It starts with the first who asks, from what the ring still has, so that there is
//! something to play at once; it ends when nobody has asked for a time. [`Cmaf`] is the list of muxers; what outlives
//! them (numbers, the longest GOP) is a [`Ledger`]'s, which another room keeps.

mod cadence;
mod grid;
mod init;
mod lane;
mod line;
mod muxer;
mod part;
mod production;
mod segmenter;
mod snapshot;
mod still;
#[cfg(test)]
pub(crate) mod testing;
mod tracks;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tracing::info_span;

pub use self::{
    init::InitError,
    snapshot::{CmafSnapshot, Init, Part, Promise, RunToken, Segment},
    tracks::{Carried, LeftOut, LeftOutReason, Selection},
};
use self::{
    line::Line,
    muxer::{Muxer, MuxerState},
};
use crate::{
    audio::Audio,
    auth::{Grant, View},
    base::{Clock, Error, Kind, PathName, Rendition, Result, Tasks},
    hub::Hub,
};

/// How streams are cut and how long the pieces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmafPolicy {
    /// The length of parts that is wanted; the samples decide.
    pub part: Duration,
    /// A segment ends at the first random access point after this long.
    pub segment: Duration,
    /// Segments in a playlist, at least.
    pub segments: usize,
    /// The most bytes one muxer keeps.
    pub max_bytes: usize,
    /// A muxer that nobody has asked for so long ends; `None` never does.
    pub close_after: Option<Duration>,
}

/// Which muxer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MuxerKey {
    /// The path.
    pub path: PathName,
    /// Which of its rings.
    pub rendition: Rendition,
    /// Which of its tracks.
    pub selection: Selection,
}

impl MuxerKey {
    /// Its name within the path, in files and URLs.
    pub const fn stem(&self) -> &'static str {
        match (self.rendition, self.selection) {
            (Rendition::Main, Selection::Muxed) => "main",
            (Rendition::Main, Selection::Video) => "main-video",
            (Rendition::Main, Selection::Audio) => "main-audio",
            (Rendition::Sub, Selection::Muxed) => "sub",
            (Rendition::Sub, Selection::Video) => "sub-video",
            (Rendition::Sub, Selection::Audio) => "sub-audio",
        }
    }

    /// Reads what [`Self::stem`] wrote.
    pub fn parse_stem(stem: &str) -> Option<(Rendition, Selection)> {
        let (rendition, selection) = match stem.split_once('-') {
            None => (stem, Selection::Muxed),
            Some((rendition, "video")) => (rendition, Selection::Video),
            Some((rendition, "audio")) => (rendition, Selection::Audio),
            Some(_) => return None,
        };
        match rendition {
            "main" => Some((Rendition::Main, selection)),
            "sub" => Some((Rendition::Sub, selection)),
            _ => None,
        }
    }
}

/// What is known of a playlist as its muxer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The media sequence number it goes on with.
    pub next_sequence: u64,
    /// The path's discontinuity sequence number.
    pub discontinuity_sequence: u64,
    /// The path has been played before: a player may remember it.
    pub known: bool,
    /// The target duration to promise.
    pub target_duration: Duration,
}

/// Where numbers go on over the end of a muxer and of the process.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// A muxer begins; `longest_gop` is what its ring has seen. May wait for the disk.
    fn open<'a>(&'a self, key: &'a MuxerKey, longest_gop: Duration) -> BoxFuture<'a, Recalled>;

    /// The muxer has come so far. Returns at once.
    fn note(&self, key: &MuxerKey, next_sequence: u64, discontinuity_sequence: u64, longest_gop: Duration);

    /// The muxer has ended. Returns at once.
    fn close(&self, key: &MuxerKey, next_sequence: u64, discontinuity_sequence: u64);
}

/// The muxers. Clones share them.
#[derive(Clone, Debug)]
pub struct Cmaf {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: Hub,
    audio: Audio,
    clock: Clock,
    tasks: Tasks,
    policy: CmafPolicy,
    ledger: Arc<dyn Ledger>,
    /// Held for a look-up or an insert.
    muxers: Mutex<Muxers>,
}

#[derive(Debug, Default)]
struct Muxers {
    running: HashMap<MuxerKey, MuxerHandle>,
    lines: BTreeMap<PathName, Arc<Line>>,
}

/// Lines of paths that nobody plays, at most.
const LINES_MOST: usize = 4096;

impl Cmaf {
    /// No muxer runs yet.
    pub fn new(
        hub: Hub,
        audio: Audio,
        clock: Clock,
        tasks: &Tasks,
        policy: CmafPolicy,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        let shared = Shared { hub, audio, clock, tasks: tasks.child(), policy, ledger, muxers: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    fn muxers(&self) -> MutexGuard<'_, Muxers> {
        self.shared.muxers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The muxer of a path, started if none runs. Asking is demand.
    ///
    /// # Errors
    /// As [`Hub::stream`]. What keeps a muxer from starting is told by [`MuxerHandle::ready`].
    pub fn muxer(&self, grant: &Grant<View>, rendition: Rendition, selection: Selection) -> Result<MuxerHandle> {
        let stream = self.shared.hub.stream(grant, rendition)?;
        let path = grant.path().ok_or_else(|| Error::new(Kind::Internal, "a grant to view should name a path"))?;
        let key = MuxerKey { path: path.clone(), rendition, selection };
        let mut muxers = self.muxers();
        if let Some(running) = muxers.running.get(&key).filter(|muxer| !muxer.is_over()) {
            running.ask();
            return Ok(running.clone());
        }
        muxers.running.retain(|_, muxer| !muxer.is_over());
        if muxers.lines.len() >= LINES_MOST {
            muxers.lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let line = muxers.lines.entry(path.clone()).or_default().clone();
        let (state_tx, state) = watch::channel(MuxerState::Starting);
        let asked = Arc::new(AtomicU64::new(0));
        let handle = MuxerHandle { state, asked: asked.clone(), clock: self.shared.clock };
        handle.ask();
        let Shared { audio, ledger, policy, clock, tasks, .. } = &*self.shared;
        let muxer = Muxer {
            key: key.clone(),
            stream,
            audio: audio.clone(),
            line,
            ledger: ledger.clone(),
            policy: *policy,
            clock: *clock,
            asked,
            state: state_tx,
        };
        let span = info_span!("muxer", path = %key.path, playlist = key.stem());
        let stop = tasks.stopping().clone();
        tasks.spawn(format!("cmaf/{}/{}", key.path, key.stem()), span, muxer.run(stop));
        muxers.running.insert(key, handle.clone());
        Ok(handle)
    }

    /// The muxer of a path, if one runs. It is no demand.
    pub fn running(&self, key: &MuxerKey) -> Option<MuxerHandle> {
        self.muxers().running.get(key).filter(|muxer| !muxer.is_over()).cloned()
    }
}

/// A running muxer, as others see it: a cheap clone.
#[derive(Clone, Debug)]
pub struct MuxerHandle {
    state: watch::Receiver<MuxerState>,
    asked: Arc<AtomicU64>,
    clock: Clock,
}

impl MuxerHandle {
    /// Whether the muxer has ended: another one has to be asked for.
    pub fn is_over(&self) -> bool {
        self.state.has_changed().is_err()
    }

    /// Somebody wants it: it goes on for a time.
    pub fn ask(&self) {
        self.asked.fetch_max(self.clock.now().as_nanos(), Ordering::Relaxed);
    }

    /// What it has made so far.
    pub fn latest(&self) -> Option<Arc<CmafSnapshot>> {
        match &*self.state.borrow() {
            MuxerState::Live(snapshot) => Some(snapshot.clone()),
            _ => None,
        }
    }

    /// Waits until there is something to play.
    ///
    /// # Errors
    /// What keeps the path from being ready; `nothing_playable`; [`Kind::Unavailable`] when the muxer has ended.
    pub async fn ready(&self) -> Result<Arc<CmafSnapshot>> {
        self.until(|_| true).await
    }

    /// Waits until the snapshot is as wanted, or the last one there will be. Dropping the future ends the wait; equal
    /// waits cost one wake-up each and no timer.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub async fn until(&self, mut wanted: impl FnMut(&CmafSnapshot) -> bool) -> Result<Arc<CmafSnapshot>> {
        let mut state = self.state.clone();
        // The result is mapped within the statement: a held reference would block the muxer.
        let last = state
            .wait_for(|state| match state {
                MuxerState::Starting => false,
                MuxerState::Live(snapshot) => snapshot.ended || wanted(snapshot),
                MuxerState::Failed(_) => true,
            })
            .await
            .map(|state| state.clone());
        match last {
            Ok(MuxerState::Live(snapshot)) => Ok(snapshot),
            Ok(MuxerState::Failed(error)) => Err(repeated(&error)),
            Ok(MuxerState::Starting) | Err(_) => {
                Err(Error::new(Kind::Unavailable, "the stream is not cut any more").with_code("muxer_ended"))
            }
        }
    }
}

/// The same error for each who waits.
fn repeated(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.chain()).with_code(error.code());
    match error.hint() {
        Some(hint) => copy.with_hint(hint.to_owned()),
        None => copy,
    }
}
