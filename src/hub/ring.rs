//! The ring: a bounded run of shared units that one source fills and any number of readers look into.
//!
//! Under the lock nothing is dropped, woken, awaited or allocated: readers clone up to [`BATCH`] units and leave, and
//! evicted units are freed by the publisher afterwards. The ring knows no reader; a reader's place is a number.
//!
//! It is long since all that is done under its one lock stands in one place.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::{
    bell::Bell,
    sync::{Arc, Mutex, MutexGuard, lock},
};
use crate::{
    base::{Error, Monotonic},
    media::{MediaKind, MediaTime, Track, TrackId, TrackSet, Unit},
};

/// Units a reader takes at a time.
pub const BATCH: usize = 32;

/// Units a ring holds at most, whatever its other bounds: half a minute of picture and two sound tracks.
const UNITS_MAX: usize = 8192;

/// Evictions per append at most; the rest goes with the next ones.
const EVICTIONS_MAX: usize = 256;

/// What a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Kept whatever it costs.
    pub least: Duration,
    /// Kept beyond the current GOP, as long as the bounds allow.
    pub history: Duration,
    /// The bound in bytes, the newest GOP within it.
    pub bytes: usize,
    /// The bound in time, the newest GOP within it.
    pub span: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { least: Duration::from_secs(2), history: Duration::ZERO, bytes: 16 << 20, span: Duration::from_secs(30) }
    }
}

/// Why a ring gives no more units to a reader.
#[derive(Clone, Debug)]
pub enum EndReason {
    /// The source was away for longer than readers are held.
    SourceLost(Arc<Error>),
    /// The path was removed, or the server stops.
    Closed,
}

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest random access point, which a viewer shows at once.
    RandomAccess,
    /// With what comes next.
    LiveEdge,
    /// At the random access point before so much time ago.
    Back(Duration),
}

/// A reader's place in a ring.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The next unit to read.
    pub(super) next: u64,
    /// The tracks the reader knows, by identity.
    pub(super) tracks: Arc<TrackSet>,
}

/// Where a start led to.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) cursor: Cursor,
    /// The first unit that was not there yet.
    pub(super) live: u64,
    /// Units and payload bytes from the start up to the live edge, without the sound that goes with pictures.
    pub(super) backlog: (usize, usize),
    /// The start is a random access point.
    pub(super) decodable: bool,
    /// The latest presentation time of the leading track between the start and the live edge.
    pub(super) edge: Option<MediaTime>,
}

/// What a look at the ring found.
#[derive(Debug)]
pub(super) enum Look {
    /// Units were put into the batch.
    Units,
    /// Nothing new.
    Empty,
    /// The place was given up for a newer one; `decodable` if that is a random access point.
    Lagged { dropped: u64, decodable: bool },
    /// The next unit belongs to other tracks, or to a track with other parameters.
    Changed(Arc<TrackSet>),
    /// No more will come.
    End(EndReason),
}

/// The ring of one rendition.
#[derive(Debug)]
pub(super) struct Ring {
    limits: RingLimits,
    state: Mutex<State>,
    /// Struck at every unit.
    pub(super) units: Arc<Bell>,
    /// Struck when a picture, or enough sound, has come.
    pub(super) beats: Arc<Bell>,
    /// Readers on their way from their start to the live edge.
    bursting: AtomicUsize,
}

#[derive(Debug)]
struct State {
    units: VecDeque<Arc<Unit>>,
    /// The index of `units[0]`, or of the next unit when there is none.
    first: u64,
    /// Indices of random access points of the leading track.
    starts: VecDeque<u64>,
    bytes: usize,
    /// Track sets and the index each came into force at; the last is the current one.
    sets: VecDeque<(u64, Arc<TrackSet>)>,
    end: Option<EndReason>,
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    fn at(&self, index: u64) -> Option<&Arc<Unit>> {
        self.units.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn set_at(&self, index: u64) -> &Arc<TrackSet> {
        let in_force = self.sets.iter().rev().find(|(from, _)| *from <= index);
        &in_force.or_else(|| self.sets.front()).expect("a ring should always have a track set").1
    }

    /// Whether the oldest unit has to go.
    fn evicts(&self, limits: &RingLimits) -> bool {
        let (Some(oldest), Some(newest)) = (self.units.front(), self.units.back()) else { return false };
        let age = newest.arrived.since(oldest.arrived);
        if self.units.len() >= UNITS_MAX {
            return true;
        }
        if age <= limits.least {
            return false;
        }
        // The bound wins over the newest GOP.
        if self.bytes > limits.bytes || age > limits.span {
            return true;
        }
        let in_newest_gop = self.starts.back().is_none_or(|start| self.first >= *start);
        !in_newest_gop && age > limits.history
    }
}

impl Ring {
    pub(super) fn new(limits: RingLimits) -> Self {
        let nothing = Arc::new(TrackSet { generation: 0, tracks: Vec::new() });
        let state = State {
            units: VecDeque::with_capacity(256),
            first: 0,
            starts: VecDeque::with_capacity(16),
            bytes: 0,
            sets: VecDeque::from([(0, nothing)]),
            end: None,
        };
        let (units, beats, bursting) = (Bell::new(), Bell::new(), AtomicUsize::new(0));
        Self { limits, state: Mutex::new(state), units, beats, bursting }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A reader begins a burst, unless `most` are at it.
    pub(super) fn burst_began(&self, most: usize) -> bool {
        let more = |bursting| (bursting < most).then_some(bursting + 1);
        self.bursting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// A reader has caught up, or given up.
    pub(super) fn burst_ended(&self) {
        self.bursting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The index the next unit will have.
    pub(super) fn next_index(&self) -> u64 {
        self.state().next()
    }

    /// The tracks in force.
    pub(super) fn tracks(&self) -> Arc<TrackSet> {
        self.state().sets.back().expect("a ring should always have a track set").1.clone()
    }

    /// When the newest unit arrived.
    pub(super) fn newest(&self) -> Option<Monotonic> {
        self.state().units.back().map(|unit| unit.arrived)
    }

    /// Units held, their cost in bytes, and the span between the oldest and the newest.
    pub(super) fn holding(&self) -> (usize, usize, Duration) {
        let state = self.state();
        let span = match (state.units.front(), state.units.back()) {
            (Some(oldest), Some(newest)) => newest.arrived.since(oldest.arrived),
            _ => Duration::ZERO,
        };
        (state.units.len(), state.bytes, span)
    }

    /// Puts other tracks in force from the next unit on.
    pub(super) fn change_tracks(&self, set: Arc<TrackSet>) {
        let mut state = self.state();
        let next = state.next();
        state.sets.retain(|(from, _)| *from < next);
        state.sets.push_back((next, set));
    }

    /// Appends a unit, whose index is [`Ring::next_index`], and moves what has to go into `evicted`. The caller
    /// frees that and strikes the bells.
    pub(super) fn append(&self, unit: Arc<Unit>, evicted: &mut Vec<Arc<Unit>>) {
        evicted.reserve(EVICTIONS_MAX);
        let mut state = self.state();
        debug_assert_eq!(unit.index, state.next(), "units come in order");
        if state.units.is_empty() {
            state.first = unit.index;
        }
        state.bytes += unit.cost();
        let leads = state.set_at(unit.index).leading().is_none_or(|leading| leading.id == unit.track.id);
        if unit.random_access && leads {
            state.starts.push_back(unit.index);
        }
        state.units.push_back(unit);
        let mut evictions = 0;
        while evictions < EVICTIONS_MAX && state.units.len() > 1 && state.evicts(&self.limits) {
            if let Some(oldest) = state.units.pop_front() {
                state.bytes -= oldest.cost();
                state.first += 1;
                evicted.push(oldest);
            }
            evictions += 1;
        }
        let first = state.first;
        while state.starts.front().is_some_and(|start| *start < first) {
            state.starts.pop_front();
        }
        while state.sets.get(1).is_some_and(|(from, _)| *from <= first) {
            state.sets.pop_front();
        }
    }

    /// Ends every reader that has read what is there; `None` lets readers wait again.
    pub(super) fn set_end(&self, end: Option<EndReason>) {
        self.state().end = end;
        self.units.strike();
        self.beats.strike();
    }

    /// Forgets all units, as when a source is let go; readers learn what they lost by lag.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        let next = state.next();
        let gone = std::mem::take(&mut state.units);
        state.first = next;
        state.bytes = 0;
        state.starts.clear();
        drop(state);
        drop(gone);
    }

    /// The place where a reader begins.
    pub(super) fn position(&self, start: Start) -> Position {
        let state = self.state();
        let live = state.next();
        let newest_start = state.starts.back().copied();
        let index = match start {
            Start::LiveEdge => None,
            Start::RandomAccess => newest_start,
            Start::Back(span) => {
                let newest = state.units.back().map(|unit| unit.arrived);
                let old_enough = |index: &&u64| match (newest, state.at(**index)) {
                    (Some(newest), Some(unit)) => newest.since(unit.arrived) >= span,
                    _ => false,
                };
                state.starts.iter().rev().find(old_enough).or_else(|| state.starts.front()).copied()
            }
        };
        let next = index.unwrap_or(live);
        let leading = state.set_at(live).leading().map(|track| track.id);
        let passed = usize::try_from(next.saturating_sub(state.first)).unwrap_or(usize::MAX);
        // Sound is not part of a start burst: where there are pictures it begins at the live edge.
        let in_burst = |unit: &&Arc<Unit>| leading.is_none() || unit.track.kind != MediaKind::Audio;
        let leads = |unit: &Arc<Unit>| leading.is_none_or(|leading| leading == unit.track.id);
        let (mut units, mut bytes, mut edge) = (0, 0, None);
        for unit in state.units.iter().skip(passed).filter(in_burst) {
            (units, bytes) = (units + 1, bytes + unit.payload.len());
            edge = edge.max(leads(unit).then_some(unit.pts));
        }
        let cursor = Cursor { next, tracks: state.set_at(next).clone() };
        Position { cursor, live, backlog: (units, bytes), decodable: index.is_some(), edge }
    }

    /// Puts what comes next for a reader into `batch`, at most [`BATCH`] units and never across a change of tracks.
    pub(super) fn look(&self, cursor: &mut Cursor, max_lag: Option<Duration>, batch: &mut Vec<Arc<Unit>>) -> Look {
        batch.reserve(BATCH);
        let state = self.state();
        let next = state.next();
        let evicted = cursor.next < state.first;
        let Some(unit) = state.at(cursor.next.max(state.first)) else {
            if evicted {
                let dropped = next - cursor.next;
                cursor.next = next;
                return Look::Lagged { dropped, decodable: false };
            }
            return state.end.clone().map_or(Look::Empty, Look::End);
        };
        let newest = state.units.back().map_or(unit.arrived, |unit| unit.arrived);
        let too_old = max_lag.is_some_and(|most| newest.since(unit.arrived) > most);
        if evicted || too_old {
            let target = state.starts.back().copied().filter(|start| *start > cursor.next);
            if let Some(target) = target.or_else(|| evicted.then_some(next)) {
                let dropped = target - cursor.next;
                cursor.next = target;
                return Look::Lagged { dropped, decodable: target != next };
            }
        }
        let start = usize::try_from(cursor.next - state.first).unwrap_or(usize::MAX);
        for unit in state.units.iter().skip(start).take(BATCH) {
            let known = cursor.tracks.track(unit.track.id).is_some_and(|track| same(track, &unit.track));
            if !known {
                break;
            }
            batch.push(unit.clone());
            cursor.next += 1;
        }
        if batch.is_empty() {
            cursor.tracks = state.set_at(cursor.next).clone();
            return Look::Changed(cursor.tracks.clone());
        }
        Look::Units
    }

    /// The unit that holds a packet of a track, and the packet's place in its plan. A halving search: packet numbers of
    /// a track rise with the index, and units of other tracks in between are stepped over.
    pub(super) fn packet(&self, track: TrackId, generation: u32, number: u64) -> Option<(Arc<Unit>, usize)> {
        let state = self.state();
        // A track list of another generation numbers its packets anew.
        let begins = state.sets.iter().find(|(_, set)| set.generation == generation)?.0;
        let ends = state.sets.iter().find(|(_, set)| set.generation > generation).map(|(from, _)| *from);
        let place = |index: u64| usize::try_from(index.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let (mut low, mut high) = (place(begins), ends.map_or(state.units.len(), place).min(state.units.len()));
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(at) = (low..=middle).rev().find(|at| state.units[*at].track.id == track) else {
                low = middle + 1;
                continue;
            };
            let plan = &state.units[at].plan;
            if number < plan.first_packet {
                high = at;
            } else if number < plan.first_packet + plan.packets() {
                return Some((state.units[at].clone(), usize::try_from(number - plan.first_packet).ok()?));
            } else {
                low = middle + 1;
            }
        }
        None
    }

    /// The newest random access point of the leading track.
    pub(super) fn newest_start(&self) -> Option<Arc<Unit>> {
        let state = self.state();
        state.starts.back().and_then(|start| state.at(*start)).cloned()
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let state = self.state();
        assert_eq!(state.bytes, state.units.iter().map(|unit| unit.cost()).sum::<usize>());
        assert!(state.units.iter().enumerate().all(|(i, unit)| unit.index == state.first + i as u64));
        assert!(state.starts.iter().all(|start| state.at(*start).is_some_and(|unit| unit.random_access)));
        assert!(state.starts.iter().is_sorted());
        assert!(state.units.iter().all(|u| state.set_at(u.index).track(u.track.id).is_some_and(|t| same(t, &u.track))));
    }
}

/// Whether two handles are the same track with the same parameters; identity, not contents, so that it costs nothing.
fn same(a: &Arc<Track>, b: &Arc<Track>) -> bool {
    Arc::ptr_eq(a, b)
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.units.close();
        self.beats.close();
    }
}

/// Decides when a beat is due: at every picture, and for sound when the oldest unannounced one has waited long enough.
#[derive(Debug, Default)]
pub(super) struct Beat {
    unannounced: Option<Monotonic>,
}

/// How long sound may wait to ride along with a picture.
const SOUND_WAITS: Duration = Duration::from_millis(40);

impl Beat {
    /// A unit of `kind` arrived at `arrived`; whether the beat is struck now.
    pub(super) fn due(&mut self, kind: MediaKind, arrived: Monotonic) -> bool {
        let waiting_since = *self.unannounced.get_or_insert(arrived);
        let due = kind == MediaKind::Video || arrived.since(waiting_since) >= SOUND_WAITS;
        if due {
            self.unannounced = None;
        }
        due
    }
}
