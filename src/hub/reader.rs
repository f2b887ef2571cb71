//! A reader: a place in a ring, an ear for its bell, and the rules of a viewer's start.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    bell::Listener,
    demand::Demand,
    ring::{Cursor, EndReason, Look, Position, Ring, Start},
    threads,
};
use crate::{
    auth::{Grant, View},
    media::{MediaKind, MediaTime, TrackId, TrackSet, Unit},
};

/// What wakes a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// Every unit.
    Unit,
    /// A picture, or enough sound: one wake-up per picture for a viewer.
    #[default]
    Beat,
    /// Nothing: its owner hears the ring with [`Ears`], once for all its readers, and calls [`Reader::try_read`].
    Nothing,
}

/// How much a new viewer may be sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurstPolicy {
    /// Everything from the start on, whatever its size.
    Whole,
    /// Everything up to these bounds; beyond them the random access point alone, a still picture at once, and motion
    /// at the next one.
    Within {
        /// Payload bytes.
        bytes: usize,
        /// Units.
        units: usize,
        /// Readers of one ring that may burst at the same time.
        readers: usize,
    },
}

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Where it begins.
    pub start: Start,
    /// What wakes it.
    pub edge: Edge,
    /// Older than this behind the newest unit, it is moved to a newer random access point, if there is one.
    pub max_lag: Option<Duration>,
    /// How much it may be sent at once at the start.
    pub burst: BurstPolicy,
    /// Leave out the sound before the live edge: players would queue it behind the picture.
    pub sound_from_live_edge: bool,
}

impl ReaderOptions {
    /// A viewer: shows a picture at once, is woken by beats, and is moved on when it lags.
    pub const fn viewer() -> Self {
        Self {
            start: Start::RandomAccess,
            edge: Edge::Beat,
            max_lag: Some(Duration::from_secs(2)),
            burst: BurstPolicy::Within { bytes: 8_000_000, units: 400, readers: 64 },
            sound_from_live_edge: true,
        }
    }

    /// A part of the house that wants every unit: muxer, recorder.
    pub const fn house() -> Self {
        Self {
            start: Start::RandomAccess,
            edge: Edge::Unit,
            max_lag: None,
            burst: BurstPolicy::Whole,
            sound_from_live_edge: false,
        }
    }
}

/// What a reader read.
#[derive(Clone, Debug)]
pub enum Read {
    /// Units were put into the batch.
    Units,
    /// The reader was moved on and missed so many units.
    Lagged {
        /// Units missed.
        dropped: u64,
    },
    /// The same tracks with other parameters, in force from the next unit on.
    ParametersChanged(Arc<TrackSet>),
    /// Another list of tracks, in force from the next unit on.
    TracksChanged(Arc<TrackSet>),
    /// No more will come.
    End(EndReason),
}

/// What lies between the start of a reader and the live edge, without the sound that goes with pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The latest presentation time of the leading track: what is presented later is live.
    pub edge: MediaTime,
    /// How many units there are.
    pub units: usize,
}

/// A reader of one ring. Having one is demand; dropping it lowers the demand.
#[derive(Debug)]
pub struct Reader {
    grant: Grant<View>,
    ring: Arc<Ring>,
    /// `None` until it waits, for one that is polled.
    listener: Option<Listener>,
    cursor: Cursor,
    options: ReaderOptions,
    /// The first unit that was not there at the start.
    live: u64,
    backlog: Option<Backlog>,
    /// The start gives the random access point alone.
    still: bool,
    /// Pictures are left out until a random access point.
    until_random_access: bool,
    bursting: Option<Bursting>,
    demand: Demand,
}

/// Counts a reader among those that burst, until it has caught up.
#[derive(Debug)]
struct Bursting(Arc<Ring>);

/// A burst is beyond its bounds.
struct Refused;

impl Bursting {
    /// Lets a burst of so many units and payload bytes begin, if its bounds allow it.
    fn admitted(
        ring: &Arc<Ring>,
        policy: BurstPolicy,
        (count, payload): (usize, usize),
    ) -> Result<Option<Self>, Refused> {
        match policy {
            BurstPolicy::Whole => Ok(None),
            BurstPolicy::Within { bytes, units, readers } => {
                let admitted = count <= units && payload <= bytes && ring.burst_began(readers);
                if admitted { Ok(Some(Self(ring.clone()))) } else { Err(Refused) }
            }
        }
    }
}

impl Drop for Bursting {
    fn drop(&mut self) {
        self.0.burst_ended();
    }
}

/// Names a ring among all rings of the process.
/// The default one names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RingKey(usize);

#[cfg(test)]
impl RingKey {
    pub(crate) const fn for_test(key: usize) -> Self {
        Self(key)
    }
}

/// Hears the beats of a ring on behalf of many readers. Order is: arm, look, sleep.
#[derive(Debug)]
pub struct Ears(Listener);

impl Ears {
    /// Forgets the beats so far. Call it before reading.
    pub fn arm(&mut self) {
        self.0.arm();
    }

    /// Ready once a beat came after the last [`Ears::arm`], or the ring is gone.
    pub fn poll_heard(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.poll_heard(cx)
    }
}

fn listener(ring: &Arc<Ring>, edge: Edge) -> Listener {
    let bell = if edge == Edge::Unit { &ring.units } else { &ring.beats };
    Listener::new(threads::nearest(bell))
}

impl Reader {
    pub(super) fn new(grant: Grant<View>, ring: Arc<Ring>, options: ReaderOptions, demand: Demand) -> Self {
        let listener = (options.edge != Edge::Nothing).then(|| listener(&ring, options.edge));
        let position = ring.position(options.start);
        let burst = Bursting::admitted(&ring, options.burst, position.backlog);
        let Position { cursor, live, backlog: (count, _), decodable, edge } = position;
        let (still, bursting) = match burst {
            Ok(bursting) => (false, bursting),
            Err(Refused) => (decodable, None),
        };
        let backlog = edge.map(|edge| Backlog { edge, units: count });
        let until_random_access = !decodable;
        Self { grant, ring, listener, cursor, options, live, backlog, still, until_random_access, bursting, demand }
    }

    /// The permission this reader reads on; whoever serves it watches its end.
    pub fn grant(&self) -> &Grant<View> {
        &self.grant
    }

    /// How it reads.
    pub fn options(&self) -> ReaderOptions {
        self.options
    }

    /// The tracks as far as this reader has read.
    pub fn tracks(&self) -> &Arc<TrackSet> {
        &self.cursor.tracks
    }

    /// Whether a unit was there before this reader: part of the start burst.
    pub fn is_backlog(&self, unit: &Unit) -> bool {
        unit.index < self.live
    }

    /// The first unit that was not there when this reader began.
    pub fn live_from(&self) -> u64 {
        self.live
    }

    /// What was there when this reader began; `None` if it began at the live edge.
    pub fn backlog(&self) -> Option<Backlog> {
        self.backlog
    }

    /// Gives up what is left of the start burst: motion begins at the next random access point.
    pub fn give_up_burst(&mut self) {
        if self.cursor.next < self.live {
            self.cursor.next = self.live;
            self.until_random_access = true;
        }
        (self.bursting, self.still) = (None, false);
    }

    /// Goes back to the newest random access point, as a new reader would, for a viewer that lost its picture.
    /// `false`, and nothing changes, if there is none or what follows it is beyond the bounds of a burst.
    pub fn restart(&mut self) -> bool {
        let position = self.ring.position(Start::RandomAccess);
        let same_tracks = position.cursor.tracks.generation == self.cursor.tracks.generation;
        if !position.decodable || !same_tracks {
            return false;
        }
        self.bursting = None;
        let Ok(bursting) = Bursting::admitted(&self.ring, self.options.burst, position.backlog) else { return false };
        (self.cursor, self.live, self.bursting) = (position.cursor, position.live, bursting);
        (self.still, self.until_random_access) = (false, false);
        true
    }

    /// [`Reader::restart`] without what follows the random access point: a still picture, and motion at the next one.
    /// `false`, and nothing changes, if there is none.
    pub fn restart_still(&mut self) -> bool {
        let position = self.ring.position(Start::RandomAccess);
        let same_tracks = position.cursor.tracks.generation == self.cursor.tracks.generation;
        if position.decodable && same_tracks {
            (self.cursor, self.live, self.bursting) = (position.cursor, position.live, None);
            (self.still, self.until_random_access) = (true, false);
        }
        position.decodable && same_tracks
    }

    /// Which ring it reads.
    pub fn ring(&self) -> RingKey {
        RingKey(Arc::as_ptr(&self.ring) as usize)
    }

    /// Ears for the beats of its ring.
    pub fn ears(&self) -> Ears {
        // One task of a thread has them, so that the thread's own copy of the bell would only be a detour.
        Ears(Listener::new(self.ring.beats.clone()))
    }

    /// The unit that holds a packet of a track of this generation, and the packet's place in its plan; `None` once it
    /// has left the ring.
    pub fn packet(&self, track: TrackId, generation: u32, number: u64) -> Option<(Arc<Unit>, usize)> {
        self.ring.packet(track, generation, number)
    }

    /// Reads what comes next, up to [`super::BATCH`] units, into the emptied `batch`.
    ///
    /// # Cancel safety
    /// Nothing is lost: units are taken and returned without a wait in between.
    pub async fn read(&mut self, batch: &mut Vec<Arc<Unit>>) -> Read {
        loop {
            self.listener.get_or_insert_with(|| listener(&self.ring, self.options.edge)).arm();
            if let Some(read) = self.try_read(batch) {
                return read;
            }
            if let Some(listener) = &self.listener {
                listener.heard().await;
            }
        }
    }

    /// [`Reader::read`] without waiting; `None` when there is nothing new.
    pub fn try_read(&mut self, batch: &mut Vec<Arc<Unit>>) -> Option<Read> {
        loop {
            batch.clear();
            let generation = self.cursor.tracks.generation;
            match self.ring.look(&mut self.cursor, self.options.max_lag, batch) {
                Look::Empty => return None,
                Look::End(reason) => return Some(Read::End(reason)),
                Look::Lagged { dropped, decodable } => {
                    self.until_random_access = !decodable;
                    (self.bursting, self.still) = (None, false);
                    return Some(Read::Lagged { dropped });
                }
                Look::Changed(set) if set.generation == generation => return Some(Read::ParametersChanged(set)),
                Look::Changed(set) => {
                    self.until_random_access = true;
                    return Some(Read::TracksChanged(set));
                }
                Look::Units => {
                    if self.still || self.until_random_access || self.cursor.next <= self.live + batch.len() as u64 {
                        self.leave_out(batch);
                    }
                    if !batch.is_empty() {
                        return Some(Read::Units);
                    }
                }
            }
        }
    }

    /// Takes out of the batch what the rules of the start keep from this reader.
    fn leave_out(&mut self, batch: &mut Vec<Arc<Unit>>) {
        let leading = self.cursor.tracks.leading().map(|track| track.id);
        batch.retain(|unit| {
            let backlog = unit.index < self.live;
            if backlog && self.options.sound_from_live_edge && unit.track.kind == MediaKind::Audio && leading.is_some()
            {
                return false;
            }
            if leading.is_some_and(|leading| leading != unit.track.id) {
                return !(backlog && self.still);
            }
            if self.until_random_access && !unit.random_access {
                return false;
            }
            // A still: the random access point passes, and what depends on it does not.
            self.until_random_access = backlog && self.still;
            true
        });
        if self.still {
            self.cursor.next = self.cursor.next.max(self.live);
        }
        if self.cursor.next >= self.live {
            (self.bursting, self.still) = (None, false);
        }
    }

    #[cfg(test)]
    pub(super) fn listener_is_silent(&self) -> bool {
        self.listener.as_ref().is_none_or(Listener::is_silent)
    }

    /// How much demand for the rendition there is, this reader included.
    pub fn demand(&self) -> usize {
        self.demand.count()
    }
}
