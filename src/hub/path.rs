//! A path: one name, one or two renditions, each with its ring, its source and one task that owns its state.
//!
//! It is long since handle, rendition and task share private fields that no other file should see.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info, info_span, warn};

use super::{
    bell::Listener,
    demand::Demands,
    meter::TrackFigures,
    reader::{Reader, ReaderOptions},
    ring::{EndReason, Ring, RingLimits},
    source::{DerivedFeed, Feed, Inlet, Outlook, REPORTS, Report, Source, SourceCounters},
    state::{StateMachine, Step, StreamPolicy, StreamState},
    writer::Writer,
};
use crate::{
    auth::{Grant, View},
    base::{
        Clock, Error, Kind, PathName, Rendition, Result, Tasks, WallTime,
        backoff::{Backoff, BackoffPolicy},
    },
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

/// The task of one rendition.
struct Owner {
    stream: Stream,
    path: PathName,
    snapshot: watch::Sender<StreamSnapshot>,
    span: Span,
}

/// One run of the source.
struct Running {
    stop: CancellationToken,
    task: crate::base::tasks::Task,
}

impl Owner {
    async fn run(self, tasks: &Tasks, stop: CancellationToken) {
        let clock = self.stream.clock;
        let mut machine = StateMachine::new(self.stream.policy, clock.now());
        let (reports_tx, mut reports) = mpsc::channel(REPORTS);
        let mut running: Option<Running> = None;
        // For a source that gives up, or panics; one that loses its camera waits by itself.
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let mut restart_at = None;
        loop {
            for step in machine.poll_steps() {
                match step {
                    Step::Start => running = Some(self.start_source(tasks, &reports_tx)),
                    Step::Stop => {
                        restart_at = None;
                        if let Some(running) = running.take() {
                            running.stop.cancel();
                        }
                        self.stream.ring.clear();
                    }
                    Step::EndReaders(error) => self.stream.ring.set_end(Some(EndReason::SourceLost(error))),
                    Step::HoldReaders => self.stream.ring.set_end(None),
                }
            }
            self.tell(&machine);
            let deadline = [machine.poll_deadline(), restart_at].into_iter().flatten().min();
            let ended = async {
                match &running {
                    Some(running) if restart_at.is_none() => running.task.ended().await,
                    _ => std::future::pending().await,
                }
            };
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(report) = reports.recv() => match report {
                    Report::Live => {
                        backoff.succeeded(clock.now());
                        machine.handle_live(clock.now());
                    }
                    Report::Lost(error, outlook) => {
                        // The next unit is news again.
                        self.stream.inlet.announce.store(true, Ordering::Release);
                        machine.handle_lost(error, outlook, clock.now());
                    }
                },
                () = self.stream.demands.changed() => machine.handle_demand(self.stream.demands.count(), clock.now()),
                () = ended => {
                    let wait = backoff.failed(clock.now(), rand::random());
                    let error = Error::new(Kind::Internal, "the source ended by itself").with_code("source_ended");
                    machine.handle_lost(Arc::new(error), Outlook::Uncertain, clock.now());
                    restart_at = Some(clock.now() + wait);
                }
                () = timer => {
                    let now = clock.now();
                    if restart_at.is_some_and(|at| at <= now) && running.is_some() {
                        restart_at = None;
                        running = Some(self.start_source(tasks, &reports_tx));
                    }
                    machine.handle_timeout(self.stream.ring.newest(), now);
                    if machine.state().0 == StreamState::Stalled {
                        self.stream.inlet.announce.store(true, Ordering::Release);
                    }
                }
            }
        }
        self.stream.ring.set_end(Some(EndReason::Closed));
        if let Some(running) = running {
            running.stop.cancel();
            running.task.ended().await;
        }
    }

    fn start_source(&self, tasks: &Tasks, reports: &mpsc::Sender<Report>) -> Running {
        let stop = tasks.stopping().child_token();
        let feed = Feed {
            path: self.path.clone(),
            rendition: self.stream.rendition,
            inlet: self.stream.inlet.clone(),
            reports: reports.clone(),
            stop: stop.clone(),
            clock: self.stream.clock,
        };
        let span = info_span!(parent: &self.span, "source", source = %self.stream.source.description());
        let name = format!("source/{}/{}", self.path, self.stream.rendition);
        let task = tasks.spawn(name, span.clone(), self.stream.source.run(feed).instrument(span));
        Running { stop, task }
    }

    /// Publishes where the rendition stands, when that changed.
    fn tell(&self, machine: &StateMachine) {
        let (state, since) = machine.state();
        let (clock, error, refuses) = (self.stream.clock, machine.error().cloned(), machine.refuses());
        self.snapshot.send_if_modified(|now| {
            let same_error = now.error.as_ref().map(|e| e.message()) == error.as_ref().map(|e| e.message());
            if now.state == state && same_error && now.refuses == refuses {
                return false;
            }
            if now.state != state {
                let ago = i64::try_from(clock.now().since(since).as_nanos()).unwrap_or(0);
                now.since = clock.wall().plus_nanos(-ago);
                match (state, &error) {
                    (StreamState::Lost, Some(error)) => {
                        warn!(hint = error.hint(), "lost: {}", error.chain());
                    }
                    (StreamState::Stalled, _) => warn!("stalled: the source is connected and silent"),
                    (StreamState::Ready, _) => info!("ready"),
                    _ => tracing::debug!("{}", state.name()),
                }
            }
            (now.state, now.error, now.refuses) = (state, error, refuses);
            true
        });
    }
}
