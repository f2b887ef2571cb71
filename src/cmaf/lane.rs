//! The tracks of a run of parts: the one that leads and those that ride along, each counting in its own ticks. Value
//! machines, sans-IO.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    grid::Grid,
    part::{Run, Sample},
    still,
    tracks::{has_own_length, timescale},
};
use crate::{
    base::{Monotonic, WallTime},
    media::{self, ClockRate, CodecParameters, MediaKind, MediaTime, Track, Unit},
};

/// Sound that waits for its picture at most: half a minute of AAC.
const QUEUE_MOST: usize = 2048;

/// The track whose samples say when a part is full.
#[derive(Debug)]
pub(super) struct Leader {
    /// What its samples are counted by.
    pub(super) scale: ClockRate,
    /// Pictures, not sound.
    pub(super) pictures: bool,
    grid: Option<Grid>,
    /// The newest sample, until the next one tells how long it lasts.
    pub(super) held: Option<Held>,
    /// No sample begins before this.
    floor: i64,
    /// The usual length of a sample.
    pub(super) usual: i64,
}

/// A sample whose length is not known yet.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ticks: i64,
    pub(super) arrived: Monotonic,
    pub(super) captured: WallTime,
    pub(super) sample: Sample,
}

/// A track that rides along: its samples go into the part that covers their time, if they have arrived by then, and
/// into the next one else.
#[derive(Debug)]
pub(super) struct Follower {
    track: Arc<Track>,
    number: u32,
    scale: ClockRate,
    grid: Grid,
    queue: VecDeque<Queued>,
    floor: i64,
}

#[derive(Debug)]
struct Queued {
    ticks: i64,
    length: u32,
    payload: Bytes,
}

impl Leader {
    /// The lane of a track; without one it takes nothing.
    pub(super) fn new(track: Option<&Track>) -> Self {
        let scale = track.map_or(ClockRate::VIDEO, timescale);
        let grid = track.filter(|track| has_own_length(track.codec())).map(|_| Grid::new(scale));
        let pictures = track.is_some_and(|track| track.kind == MediaKind::Video);
        Self { scale, pictures, grid, held: None, floor: i64::MIN, usual: 1 }
    }

    /// Whether its samples have lengths of their own.
    pub(super) fn has_own_length(&self) -> bool {
        self.grid.is_some()
    }

    /// The next sample has nothing to do with the one before.
    pub(super) fn restart(&mut self) {
        self.grid.iter_mut().for_each(Grid::restart);
    }

    /// Decode time and composition offset of a unit in ticks; `None` keeps it out.
    pub(super) fn place(&mut self, unit: &Unit, time: MediaTime) -> Option<(i64, i32)> {
        let stamped = time.ticks(self.scale);
        let ticks = match &mut self.grid {
            Some(grid) => grid.place(stamped, own_length(&unit.track, &unit.payload)?)?,
            // Two pictures at one time: the second one a tick later, or a sample would last for nothing.
            None => stamped.max(self.floor),
        };
        self.floor = ticks + 1;
        let shown = (unit.pts - unit.dts + time).ticks(self.scale) - ticks;
        Some((ticks, i32::try_from(shown).unwrap_or(0).max(0)))
    }
}

impl Follower {
    pub(super) fn new(track: &Arc<Track>, number: u32) -> Self {
        let scale = timescale(track);
        Self { track: track.clone(), number, scale, grid: Grid::new(scale), queue: VecDeque::new(), floor: i64::MIN }
    }

    /// A unit has arrived; `open` if a segment is.
    pub(super) fn push(&mut self, unit: &Unit, offset: MediaTime, open: bool) {
        let Some(length) = own_length(&self.track, &unit.payload) else { return };
        let Some(ticks) = self.grid.place((unit.dts + offset).ticks(self.scale), length) else { return };
        // Before a segment is open, only what may belong to its first picture is worth keeping.
        let most = if open { QUEUE_MOST } else { 64 };
        while self.queue.len() >= most {
            self.queue.pop_front();
        }
        if ticks >= self.floor {
            self.queue.push_back(Queued { ticks, length, payload: unit.payload.clone() });
        }
    }

    /// Forgets what has arrived: the next sample has nothing to do with the one before.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        self.grid.restart();
    }

    /// A decoder starts at `start`: what would sound before the picture is left out.
    pub(super) fn begin_at(&mut self, start: MediaTime) {
        self.floor = start.ticks(self.scale);
        let floor = self.floor;
        self.queue.retain(|queued| queued.ticks >= floor);
    }

    /// Silence for a stretch of time, on a grid that ends at `end`, where the first sample may begin.
    pub(super) fn silence(&self, from: MediaTime, to: MediaTime, end: MediaTime) -> Option<Run> {
        let payload = still::silence(&self.track)?;
        let length = own_length(&self.track, &payload)?;
        let (from, to, end) = (from.ticks(self.scale), to.ticks(self.scale), end.ticks(self.scale));
        let step = i64::from(length);
        // Samples counted back from the end: those that begin in the stretch.
        let (first, last) = ((end - from) / step, (end - to) / step + 1);
        let samples = (last..=first).map(|_| Sample {
            duration: length,
            composition: 0,
            random_access: true,
            payload: payload.clone(),
        });
        let base = u64::try_from(end - first * step).ok()?;
        Some(Run { track: self.number, pictures: false, base, samples: samples.collect() })
    }

    /// The samples that have arrived and begin before `end`.
    pub(super) fn run_until(&mut self, end: MediaTime) -> Option<Run> {
        let end = end.ticks(self.scale);
        let base = self.queue.front().filter(|first| first.ticks < end)?.ticks;
        let mut samples = Vec::with_capacity(self.queue.len());
        while self.queue.front().is_some_and(|next| next.ticks < end) {
            let Some(Queued { ticks, length, payload }) = self.queue.pop_front() else { break };
            // A hole is bridged by the sample before it: what stands in one run has no holes.
            let until = self.queue.front().filter(|next| next.ticks < end).map(|next| next.ticks - ticks);
            let duration = until.and_then(|until| u32::try_from(until).ok()).unwrap_or(length);
            samples.push(Sample { duration, composition: 0, random_access: true, payload });
        }
        Some(Run { track: self.number, pictures: false, base: u64::try_from(base).unwrap_or(0), samples })
    }
}

/// How long a unit of sound lasts by itself, in samples.
pub(super) fn own_length(track: &Track, payload: &[u8]) -> Option<u32> {
    match &track.parameters {
        CodecParameters::Aac(p) => Some(p.frame_samples),
        CodecParameters::Opus(_) => media::opus::packet_samples(payload),
        _ => None,
    }
}
