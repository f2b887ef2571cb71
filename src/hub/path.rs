//! A path: one name, one or two renditions, each with its ring, its source and one task that owns its state
//! (`path/owner.rs`).

mod owner;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::info_span;

use self::owner::Owner;
use super::{
    bell::Listener,
    demand::Demands,
    meter::TrackFigures,
    reader::{Reader, ReaderOptions},
    ring::{Ring, RingLimits},
    source::{DerivedFeed, Inlet, Source, SourceCounters},
    state::{StreamPolicy, StreamState},
    writer::Writer,
};
use crate::{
    auth::{Grant, View},
    base::{Clock, Error, Kind, PathName, Rendition, Result, Tasks, WallTime},
    media::{Track, TrackId, TrackSet, Unit},
};

/// What makes a path.
#[derive(Clone, Debug)]
pub struct PathSpec {
    /// Its name.
    pub name: PathName,
    /// What people call it.
    pub title: Option<String>,
    /// What people sort it under.
    pub group: Option<String>,
    /// When it is pulled and how long its parts wait.
    pub policy: StreamPolicy,
    /// What its rings keep.
    pub ring: RingLimits,
    /// What fills it.
    pub main: Arc<dyn Source>,
    /// What fills the smaller rendition, which is pulled only while watched.
    pub sub: Option<Arc<dyn Source>>,
}

/// A path as others see it: a cheap clone.
#[derive(Clone, Debug)]
pub struct PathHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: PathSpec,
    main: Stream,
    sub: Option<Stream>,
    stop: Tasks,
}

/// Where a rendition stands, as of its last change.
#[derive(Clone, Debug)]
pub struct StreamSnapshot {
    /// Its state.
    pub state: StreamState,
    /// Since when.
    pub since: WallTime,
    /// What keeps it from being ready.
    pub error: Option<Arc<Error>>,
    /// Whether that is an answer that no waiting mends: who comes now is told it at once.
    pub refuses: bool,
}

/// One rendition of a path.
#[derive(Clone, Debug)]
pub struct Stream {
    rendition: Rendition,
    ring: Arc<Ring>,
    inlet: Arc<Inlet>,
    demands: Demands,
    snapshot: watch::Receiver<StreamSnapshot>,
    policy: StreamPolicy,
    source: Arc<dyn Source>,
    clock: Clock,
}

impl PathHandle {
    /// Starts the tasks of a path.
    pub(super) fn start(spec: PathSpec, clock: Clock, tasks: &Tasks) -> Self {
        let stop = tasks.child();
        let main = Stream::start(&spec, Rendition::Main, spec.main.clone(), spec.policy, clock, &stop);
        let sub = spec.sub.clone().map(|source| {
            // The smaller rendition is pulled only while watched, whatever the main one does.
            let close_after = spec.policy.close_after.or(Some(SUB_CLOSES_AFTER));
            let policy = StreamPolicy { close_after, ..spec.policy };
            Stream::start(&spec, Rendition::Sub, source, policy, clock, &stop)
        });
        Self { shared: Arc::new(Shared { spec, main, sub, stop }) }
    }

    /// Whether this is the same path, and not another one of the same name that came after it.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What the path was made of.
    pub fn spec(&self) -> &PathSpec {
        &self.shared.spec
    }

    /// Its name.
    pub fn name(&self) -> &PathName {
        &self.shared.spec.name
    }

    /// The rendition it is named after.
    pub fn main(&self) -> &Stream {
        &self.shared.main
    }

    /// One of its renditions.
    pub fn stream(&self, rendition: Rendition) -> Option<&Stream> {
        match rendition {
            Rendition::Main => Some(&self.shared.main),
            Rendition::Sub => self.shared.sub.as_ref(),
        }
    }

    /// Its renditions, the main one first.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        [Some(&self.shared.main), self.shared.sub.as_ref()].into_iter().flatten()
    }

    /// Whether nobody watches it and nothing is pulled.
    pub fn is_idle(&self) -> bool {
        let idle = |stream: &Stream| stream.demands.count() == 0 && stream.snapshot().state == StreamState::Idle;
        self.streams().all(idle)
    }

    /// Ends its tasks and its readers.
    pub(super) fn stop(&self) {
        self.shared.stop.stop();
    }
}

/// How long a sub stream is kept after its last viewer where the path itself is always on.
const SUB_CLOSES_AFTER: Duration = Duration::from_secs(10);

impl Stream {
    fn start(
        spec: &PathSpec,
        rendition: Rendition,
        source: Arc<dyn Source>,
        policy: StreamPolicy,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let ring = Arc::new(Ring::new(spec.ring));
        let inlet = Arc::new(Inlet {
            writer: std::sync::Mutex::new(Writer::new(ring.clone())),
            counters: SourceCounters::default(),
            announce: false.into(),
        });
        let now = StreamSnapshot { state: StreamState::Idle, since: clock.wall(), error: None, refuses: false };
        let (snapshot_tx, snapshot) = watch::channel(now);
        let demands = Demands::default();
        let stream = Self { rendition, ring, inlet, demands, snapshot, policy, source, clock };
        // Not within the span of the viewer who asked first: the path outlives it.
        let span = info_span!(parent: None, "path", path = %spec.name, rendition = rendition.name());
        let owner =
            Owner { stream: stream.clone(), path: spec.name.clone(), snapshot: snapshot_tx, span: span.clone() };
        let (name, stop) = (format!("path/{}/{rendition}", spec.name), tasks.stopping().clone());
        let own = tasks.clone();
        tasks.spawn(name, span, async move { owner.run(&own, stop).await });
        stream
    }

    #[cfg(test)]
    #[expect(clippy::too_many_arguments, reason = "its fields")]
    pub(super) fn by_hand(
        rendition: Rendition,
        ring: Arc<Ring>,
        inlet: Arc<Inlet>,
        demands: Demands,
        snapshot: watch::Receiver<StreamSnapshot>,
        policy: StreamPolicy,
        source: Arc<dyn Source>,
        clock: Clock,
    ) -> Self {
        Self { rendition, ring, inlet, demands, snapshot, policy, source, clock }
    }

    #[cfg(test)]
    pub(super) fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    #[cfg(test)]
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Which rendition this is.
    pub fn rendition(&self) -> Rendition {
        self.rendition
    }

    /// Where it stands.
    pub fn snapshot(&self) -> StreamSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Where it stands, and every change of it.
    pub fn watch(&self) -> watch::Receiver<StreamSnapshot> {
        self.snapshot.clone()
    }

    /// What fills it, for people.
    pub fn source(&self) -> String {
        self.source.description()
    }

    /// The counters of what fills it.
    pub fn counters(&self) -> &SourceCounters {
        &self.inlet.counters
    }

    /// Its tracks, as last known; without any until the source was first seen.
    pub fn tracks(&self) -> Arc<TrackSet> {
        self.ring.tracks()
    }

    /// The figures of one of its tracks.
    pub fn figures(&self, track: TrackId) -> TrackFigures {
        self.inlet.writer().figures(track, self.clock.now())
    }

    /// The longest GOP it has shown.
    pub fn longest_gop(&self) -> Duration {
        self.inlet.writer().longest_gop()
    }

    /// Units held, their cost in bytes, and the span they cover.
    pub fn holding(&self) -> (usize, usize, Duration) {
        self.ring.holding()
    }

    /// The newest random access point of the leading track.
    pub fn newest_random_access(&self) -> Option<Arc<Unit>> {
        self.ring.newest_start()
    }

    /// Waits until there is something to show, for the path's start time-out at most, and not for a source that has said
    /// no. Waiting is demand.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with what keeps the path from being ready.
    pub async fn ready(&self) -> Result<()> {
        let mut snapshot = self.snapshot.clone();
        let refused = async {
            if snapshot.wait_for(|now| now.refuses).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.shows() => Ok(()),
            () = refused => Err(self.not_ready()),
            () = tokio::time::sleep(self.policy.start_timeout) => Err(self.not_ready()),
        }
    }

    /// Waits until there is something to show, however long that takes. Waiting is demand.
    pub async fn shows(&self) {
        let _demand = self.demands.raise();
        let mut units = Listener::new(self.ring.units.clone());
        let mut snapshot = self.snapshot.clone();
        let shows = || self.ring.position(super::Start::RandomAccess).decodable;
        loop {
            units.arm();
            let state = snapshot.borrow_and_update().state;
            if matches!(state, StreamState::Ready | StreamState::Stalled) && shows() {
                return;
            }
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { std::future::pending::<()>().await },
                () = units.heard() => {}
            }
        }
    }

    fn not_ready(&self) -> Error {
        let now = self.snapshot();
        let waited = self.policy.start_timeout.as_secs_f64();
        let error = match now.error {
            Some(error) => {
                let words = Error::new(Kind::Unavailable, format!("the source is not there: {}", error.message()));
                error.hint().map(str::to_owned).into_iter().fold(words, Error::with_hint)
            }
            None => Error::new(Kind::Unavailable, format!("no picture within {waited} s")),
        };
        error.with_code("path_not_ready")
    }

    /// Opens a reader at once, whatever the state; it waits for units by itself.
    pub fn open(&self, grant: Grant<View>, options: ReaderOptions) -> Reader {
        Reader::new(grant, self.ring.clone(), options, self.demands.raise())
    }

    /// Where the units of a derived track of this rendition go.
    pub fn derive(&self, track: Arc<Track>) -> DerivedFeed {
        DerivedFeed { inlet: self.inlet.clone(), track }
    }

    /// The tracks, pulled once if they are not known; `None` if the source does not show them in time.
    pub async fn learn_tracks(&self) -> Option<Arc<TrackSet>> {
        let known = self.tracks();
        if !known.tracks.is_empty() {
            return Some(known);
        }
        self.ready().await.ok().map(|()| self.tracks())
    }
}
