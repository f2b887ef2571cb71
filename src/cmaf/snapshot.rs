//! What a muxer has made so far, as an immutable value that all rooms above share; and the window that makes one
//! snapshot after the other. A segment is the list of its parts, never a second copy.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{segmenter::Step, tracks::LeftOut};
use crate::{
    base::WallTime,
    media::{MediaTime, Track},
};

/// An init segment.
#[derive(Debug)]
pub struct Init {
    /// Counts the init segments of a run.
    pub generation: u32,
    /// `ftyp` and `moov`.
    pub body: Bytes,
    /// The tracks it describes, the leading one first.
    pub tracks: Vec<Arc<Track>>,
}

/// A part of a segment.
#[derive(Clone, Debug)]
pub struct Part {
    /// `moof` and `mdat`.
    pub body: Bytes,
    /// How long it lasts.
    pub duration: MediaTime,
    /// A decoder can start in it.
    pub independent: bool,
}

/// A segment, complete or under construction.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its media sequence number.
    pub sequence: u64,
    /// Its discontinuity sequence number.
    pub discontinuity_sequence: u64,
    /// It does not go on from the segment before it.
    pub discontinuity: bool,
    /// What a decoder needs first; `None` in a gap before any media.
    pub init: Option<Arc<Init>>,
    /// When its first sample was captured.
    pub captured: WallTime,
    /// How long it lasts, as far as it goes.
    pub duration: MediaTime,
    /// It begins with a random access point.
    pub independent: bool,
    /// It has no media: what stands behind its name for players that ask nevertheless.
    pub gap: Option<Bytes>,
    /// Its parts.
    pub parts: Vec<Part>,
}

impl Segment {
    /// Bytes of all its parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.body.len()).sum()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Tells the runs of all muxers apart, so that no name is ever used for two contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunToken(pub u32);

impl fmt::Display for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a muxer promises for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The longest a segment may be, in whole seconds.
    pub target: MediaTime,
    /// The longest a part may be.
    pub part_target: MediaTime,
    /// How far from the end players of parts stay.
    pub hold_back: MediaTime,
}

/// Everything a muxer has made that somebody may still ask for.
#[derive(Debug)]
pub struct CmafSnapshot {
    /// Which run of the muxer this is.
    pub run: RunToken,
    /// Counts the snapshots of a run.
    pub version: u64,
    /// What does not change while the run lasts.
    pub promise: Promise,
    /// Complete segments, the oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// The first of them that stands in a playlist; those before it are kept for players that know them.
    pub listed: usize,
    /// The segment under construction, which has a part at least.
    pub open: Option<Segment>,
    /// The number the next segment will have, after the open one.
    pub next_sequence: u64,
    /// The source is silent: no part is on its way.
    pub silent: bool,
    /// No more will come.
    pub ended: bool,
    /// Tracks that are not carried, and why.
    pub left_out: Arc<[LeftOut]>,
}

impl CmafSnapshot {
    /// The segments that stand in a playlist.
    pub fn playlist(&self) -> &[Arc<Segment>] {
        &self.segments[self.listed.min(self.segments.len())..]
    }

    /// The number of the newest complete segment, if there is any.
    pub fn last_complete(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.sequence)
    }

    /// Number and part index of the part that comes next.
    pub fn next_part(&self) -> (u64, usize) {
        match &self.open {
            Some(open) => (open.sequence, open.parts.len()),
            None => (self.next_sequence, 0),
        }
    }

    /// The complete segment of this number.
    pub fn segment(&self, sequence: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.first()?.sequence;
        self.segments.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// A part.
    pub fn part(&self, sequence: u64, index: usize) -> Option<&Part> {
        match &self.open {
            Some(open) if open.sequence == sequence => open.parts.get(index),
            _ => self.segment(sequence)?.parts.get(index),
        }
    }

    /// The init segment of this generation, as long as a segment needs it.
    pub fn init(&self, generation: u32) -> Option<&Arc<Init>> {
        let open = self.open.as_ref().and_then(|open| open.init.as_ref());
        let complete = self.segments.iter().rev().filter_map(|segment| segment.init.as_ref());
        open.into_iter().chain(complete).find(|init| init.generation == generation)
    }
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowPolicy {
    /// Segments in a playlist, at least.
    pub(super) segments: usize,
    /// The most bytes.
    pub(super) bytes: usize,
}

/// The segments of a run, from which snapshots are made.
#[derive(Debug)]
pub(super) struct Window {
    policy: WindowPolicy,
    run: RunToken,
    promise: OnceLock<Promise>,
    segments: VecDeque<Arc<Segment>>,
    listed: usize,
    open: Option<Segment>,
    next_sequence: u64,
    discontinuity_sequence: u64,
    bytes: usize,
    /// The longest a playlist has lasted.
    longest: MediaTime,
    version: u64,
    silent: bool,
    ending: bool,
    ended: bool,
}

/// What the muxer decides when a segment opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Era {
    /// The discontinuity sequence number in force.
    pub(super) sequence: u64,
    /// The segment carries the tag.
    pub(super) tag: bool,
}

impl Window {
    pub(super) fn new(policy: WindowPolicy, run: RunToken, next_sequence: u64, discontinuity_sequence: u64) -> Self {
        Self {
            policy,
            run,
            promise: OnceLock::new(),
            segments: VecDeque::new(),
            listed: 0,
            open: None,
            next_sequence,
            discontinuity_sequence,
            bytes: 0,
            longest: MediaTime::ZERO,
            version: 0,
            silent: false,
            ending: false,
            ended: false,
        }
    }

    /// What is promised; the first word holds.
    pub(super) fn promise(&self, promise: Promise) -> Promise {
        *self.promise.get_or_init(|| promise)
    }

    /// No more will come; the next snapshot is the last.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// Whether the last snapshot is still to be taken.
    pub(super) fn is_ending(&self) -> bool {
        self.ending && !self.ended
    }

    /// The number the next segment will have.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Takes a step of the segmenter. `era` is asked when a segment with media opens.
    pub(super) fn apply(&mut self, step: Step, era: impl FnOnce(bool, bool) -> Era) {
        match step {
            Step::Open { init, captured, discontinuity, independent } => {
                let Era { sequence, tag } = era(discontinuity, independent);
                self.discontinuity_sequence = sequence;
                self.silent = false;
                let segment = self.begin(Some(init), captured, tag, independent);
                self.open = Some(segment);
            }
            Step::Part(part) => {
                self.bytes += part.body.len();
                if let Some(open) = &mut self.open {
                    open.duration += part.duration;
                    open.parts.push(part);
                }
            }
            Step::Close => {
                if let Some(open) = self.open.take() {
                    self.complete(open);
                }
                // Either the next segment opens at once, or nothing is on its way.
                self.silent = true;
            }
            Step::Gap { duration, captured, filler } => {
                let init = self.segments.back().and_then(|segment| segment.init.clone());
                let gap = self.begin(init, captured, false, false);
                self.complete(Segment { duration, gap: Some(filler), ..gap });
                self.silent = true;
            }
        }
    }

    fn begin(&mut self, init: Option<Arc<Init>>, captured: WallTime, tag: bool, independent: bool) -> Segment {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Segment {
            sequence,
            discontinuity_sequence: self.discontinuity_sequence,
            discontinuity: tag,
            init,
            captured,
            duration: MediaTime::ZERO,
            independent,
            gap: None,
            parts: Vec::new(),
        }
    }

    fn complete(&mut self, segment: Segment) {
        self.segments.push_back(Arc::new(segment));
        let target = self.promise.get().map_or(MediaTime::ZERO, |promise| promise.target);
        // How long the segments behind each one last.
        let mut behind = vec![MediaTime::ZERO; self.segments.len()];
        for at in (1..self.segments.len()).rev() {
            behind[at - 1] = behind[at] + self.segments[at].duration;
        }
        // rfc8216bis §6.2.2: a playlist lasts three target durations at least.
        let least = target + target + target;
        while self.segments.len() - self.listed > self.policy.segments && behind[self.listed] >= least {
            self.listed += 1;
        }
        // The same: what has gone from it is kept for its own duration and that of the longest playlist it stood in.
        self.longest = self.longest.max(behind[self.listed] + self.segments[self.listed].duration);
        let kept = self.longest + self.longest + target;
        let (mut gone, mut bytes) = (0, self.bytes);
        while gone + 2 < self.segments.len()
            && (bytes > self.policy.bytes || gone < self.listed && behind[gone] >= kept)
        {
            bytes -= self.segments[gone].len();
            gone += 1;
        }
        self.segments.drain(..gone);
        self.listed = self.listed.saturating_sub(gone);
        self.bytes = bytes;
    }

    /// What there is now, once there is anything.
    pub(super) fn snapshot(&mut self, left_out: &Arc<[LeftOut]>) -> Option<CmafSnapshot> {
        let promise = *self.promise.get()?;
        let media = |segment: &Segment| !segment.is_empty();
        if !self.segments.iter().any(|segment| media(segment)) && !self.open.as_ref().is_some_and(media) {
            return None;
        }
        self.ended = self.ending;
        self.version += 1;
        let open = self.open.as_ref().filter(|open| !open.is_empty()).cloned();
        let next_sequence = match (&open, &self.open) {
            (None, Some(unborn)) => unborn.sequence,
            _ => self.next_sequence,
        };
        Some(CmafSnapshot {
            run: self.run,
            version: self.version,
            promise,
            segments: self.segments.iter().cloned().collect(),
            listed: self.listed,
            next_sequence,
            silent: self.silent && open.is_none(),
            open,
            ended: self.ended,
            left_out: left_out.clone(),
        })
    }
}
