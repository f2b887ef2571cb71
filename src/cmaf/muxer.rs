//! The task that turns one ring into parts: reads units, drives a [`Production`], publishes a snapshot per part. It owns
//! nothing that viewers wait on but the `watch`; a `watch::Ref` never outlives a statement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    CmafPolicy, Ledger, MuxerKey,
    line::Line,
    production::Production,
    snapshot::{CmafSnapshot, RunToken},
    tracks::{Carried, LeftOut},
};
use crate::{
    audio::{Audio, Derived},
    auth::Grant,
    base::{Clock, Error, Kind, Monotonic, complaints::Complaints},
    hub::{BATCH, Edge, EndReason, Read, Reader, ReaderOptions, Start, Stream},
    media::{TrackSet, Unit},
};

/// Where a muxer stands.
#[derive(Clone, Debug)]
pub(super) enum MuxerState {
    /// Nothing to show yet.
    Starting,
    /// What it has made.
    Live(Arc<CmafSnapshot>),
    /// It could not start.
    Failed(Arc<Error>),
}

/// Everything a muxer needs.
#[derive(Debug)]
pub(super) struct Muxer {
    pub(super) key: MuxerKey,
    pub(super) stream: Stream,
    pub(super) audio: Audio,
    pub(super) line: Arc<Line>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) policy: CmafPolicy,
    pub(super) clock: Clock,
    /// When somebody last asked, as nanoseconds of the monotonic clock.
    pub(super) asked: Arc<AtomicU64>,
    pub(super) state: watch::Sender<MuxerState>,
}

/// What the running muxer works on.
struct Running {
    production: Production,
    /// Held while sound is carried that this server makes.
    derived: Option<Derived>,
    /// Segments cut without a random access point.
    forced: Complaints,
    /// Tracks that cannot be described.
    broken: Complaints,
}

/// How often the log hears the same complaint.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

impl Muxer {
    /// Runs until it is stopped, the path ends, or nobody has asked for a while.
    pub(super) async fn run(self, stop: CancellationToken) {
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            started = self.start() => started,
        };
        match started {
            Err(error) => {
                debug!("{}", error.chain());
                self.state.send_replace(MuxerState::Failed(Arc::new(error)));
            }
            Ok((mut running, reader)) => {
                self.serve(&mut running, reader, &stop).await;
                let (sequence, era) = running.production.numbers();
                self.ledger.close(&self.key, sequence, era);
            }
        }
    }

    async fn start(&self) -> Result<(Running, Reader), Error> {
        let here = |error: Error| error.context(format_args!("path {}", self.key.path));
        self.stream.ready().await.map_err(here)?;
        let set = self.stream.tracks();
        let carried = Carried::choose(&set, self.key.selection);
        if carried.tracks.is_empty() {
            return Err(here(nothing_playable(&carried.left_out)));
        }
        let derived = self.derive(&carried);
        if let Some(derived) = &derived {
            derived.caught_up().await;
        }
        let mut recalled = self.ledger.open(&self.key, self.stream.longest_gop()).await;
        recalled.target_duration = self.room_for_gop(recalled.target_duration);
        let newest = self.stream.newest_random_access().map(|unit| (unit.arrived, unit.dts));
        let place =
            self.line.join(self.key.rendition, newest, recalled.known.then_some(recalled.discontinuity_sequence));
        let reader = self.open(Start::Back(BACK));
        let run = RunToken(rand::random());
        let production = Production::new(&self.policy, self.key.selection, reader.tracks(), place, &recalled, run)
            .map_err(|error| here(Error::new(Kind::Unsupported, "the stream cannot be described").caused_by(error)))?;
        let (forced, broken) = (Complaints::new(COMPLAIN_EVERY), Complaints::new(COMPLAIN_EVERY));
        let running = Running { production, derived, forced, broken };
        Ok((running, reader))
    }

    /// The target duration, or a longer one if the GOP under way is longer already: how long it will be is not known, but
    /// whoever comes while its end is cut off into segments of their own has nothing to begin with.
    fn room_for_gop(&self, target: Duration) -> Duration {
        let Some(first) = self.stream.newest_random_access() else { return target };
        let newest = self.stream.figures(first.track.id).newest;
        let so_far = newest.map_or(Duration::ZERO, |newest| newest.since(first.arrived));
        if so_far < target {
            return target;
        }
        Duration::from_secs((so_far.mul_f64(1.25).as_secs() + 1).min(GOP_MOST)).max(LONG_GOP)
    }

    /// Lets the sound be made that is carried in the place of what players do not take.
    fn derive(&self, carried: &Carried) -> Option<Derived> {
        let wanted = carried.tracks.iter().any(|track| track.is_derived());
        wanted.then(|| self.audio.derive(&self.key.path, &self.stream))
    }

    fn open(&self, start: Start) -> Reader {
        // Parts end with pictures, so that sound alone need not wake anybody.
        let options = ReaderOptions { start, edge: Edge::Beat, ..ReaderOptions::house() };
        self.stream.open(Grant::house("hls muxer", self.key.path.clone()), options)
    }

    async fn serve(&self, running: &mut Running, reader: Reader, stop: &CancellationToken) {
        let mut reader = Some(reader);
        let mut batch = Vec::with_capacity(BATCH);
        if let Some(reader) = reader.as_mut().filter(|_| running.derived.is_some()) {
            self.take_backlog(running, reader, &mut batch);
            self.publish(running);
        }
        loop {
            let idle_at = self.policy.close_after.map(|after| self.asked() + after);
            let deadline = [running.production.poll_deadline(), idle_at].into_iter().flatten().min();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                read = next(&self.stream, reader.as_mut(), &mut batch) => match read {
                    Some(read) => {
                        let mut read = Some(read);
                        // Whatever has come goes into one snapshot.
                        while let Some(news) = read.take() {
                            if let Some(reason) = self.handle(running, news, &batch) {
                                debug!("the source has gone: {reason:?}");
                                reader = None;
                                if matches!(reason, EndReason::Closed) {
                                    running.production.handle_end();
                                    self.publish(running);
                                    return;
                                }
                                running.production.handle_loss();
                                break;
                            }
                            read = reader.as_mut().and_then(|reader| reader.try_read(&mut batch));
                        }
                    }
                    // The source is back after its readers were let go.
                    None => {
                        let back = self.open(Start::RandomAccess);
                        self.change_tracks(running, back.tracks());
                        running.production.handle_loss();
                        reader = Some(back);
                    }
                },
                () = timer => {
                    let now = self.clock.now();
                    running.production.handle_timeout(now);
                    if self.policy.close_after.is_some_and(|after| self.asked() + after <= now) {
                        debug!("nobody asks any more");
                        return;
                    }
                }
            }
            self.publish(running);
        }
    }

    /// Takes in what the ring holds in the order of decoding: sound that was made of it stands behind the pictures.
    fn take_backlog(&self, running: &mut Running, reader: &mut Reader, batch: &mut Vec<Arc<Unit>>) {
        let mut held = Vec::new();
        loop {
            let read = reader.try_read(batch);
            if matches!(read, Some(Read::Units)) {
                held.append(batch);
                continue;
            }
            held.sort_by_key(|unit: &Arc<Unit>| unit.dts);
            self.handle(running, Read::Units, &held);
            held.clear();
            // An end is read again.
            match read {
                None | Some(Read::End(_)) => return,
                Some(news) => self.handle(running, news, &[]),
            };
        }
    }

    fn asked(&self) -> Monotonic {
        Monotonic::from_nanos(self.asked.load(Ordering::Relaxed))
    }

    /// Takes in what was read; the reason when no more will come.
    fn handle(&self, running: &mut Running, read: Read, batch: &[Arc<Unit>]) -> Option<EndReason> {
        match read {
            Read::Units => {
                let (now, wall) = (self.clock.now(), self.clock.wall());
                for unit in batch {
                    let age = i64::try_from(now.since(unit.arrived).as_nanos()).unwrap_or(0);
                    let captured = unit.captured.unwrap_or_else(|| wall.plus_nanos(-age));
                    running.production.push(unit, captured);
                }
            }
            Read::Lagged { dropped } => {
                warn!(dropped, "the muxer was late: units are missing");
                running.production.handle_loss();
            }
            Read::ParametersChanged(set) | Read::TracksChanged(set) => self.change_tracks(running, &set),
            Read::End(reason) => return Some(reason),
        }
        None
    }

    fn change_tracks(&self, running: &mut Running, set: &TrackSet) {
        running.derived = self.derive(&Carried::choose(set, self.key.selection));
        if let Err(error) = running.production.handle_tracks(set)
            && let Some(times) = running.broken.note(self.clock.now())
        {
            warn!(times, "the stream cannot be described: {error}");
        }
    }

    /// Publishes what has come of it, if anything.
    fn publish(&self, running: &mut Running) {
        let Some(progress) = running.production.poll_progress() else { return };
        if progress.forced
            && let Some(times) = running.forced.note(self.clock.now())
        {
            warn!(
                times,
                "the camera's GOP is longer than the target duration: segments are cut without a random access point; \
                 the longer GOP counts from the next start of the playlist on"
            );
        }
        if progress.segments {
            let (next, era) = running.production.numbers();
            self.ledger.note(&self.key, next, era, self.stream.longest_gop());
        }
        if let Some(snapshot) = progress.snapshot {
            self.state.send_replace(MuxerState::Live(snapshot));
        }
    }
}

/// What encoders mean by a long GOP: 250 pictures.
const LONG_GOP: Duration = Duration::from_secs(10);

/// No longer GOP is waited for, in seconds.
const GOP_MOST: u64 = 30;

/// How far back a muxer starts, if the ring still has it: so much was live when the first viewer asked.
const BACK: Duration = Duration::from_secs(30);

/// The next thing to take in: from the reader, or `None` when there is no reader and the source is back.
async fn next(stream: &Stream, reader: Option<&mut Reader>, batch: &mut Vec<Arc<Unit>>) -> Option<Read> {
    match reader {
        Some(reader) => Some(reader.read(batch).await),
        None => {
            stream.shows().await;
            None
        }
    }
}

/// The error of a path without anything that can be carried.
fn nothing_playable(left_out: &[LeftOut]) -> Error {
    let reasons: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    let message = match &reasons[..] {
        [] => "nothing to play: the source has no such track".to_owned(),
        reasons => format!("nothing to play: {}", reasons.join("; ")),
    };
    Error::new(Kind::Unsupported, message)
        .with_code("nothing_playable")
        .with_hint("watch it over RTSP, or let the camera send H.264 or H.265 with AAC or Opus")
}
