//! Units in, parts and segments out: where parts and segments are cut, what becomes of loss and silence. Sans-IO: units,
//! times and deadlines in, [`Step`]s out.
//!
//! The first carried track leads: its samples say when a part is full, its random access points open segments. One of
//! its samples is held until the next one tells how long it lasts. The other track rides along with what has arrived.
//!
//! - rfc8216bis §4.4.3.7: a part is no longer than the part target and, but for the last of a segment, lasts 85 % of it.
//! - rfc8216bis §4.4.3.1: a segment is no longer than the target duration; a GOP beyond it is cut without a random
//!   access point, and the segment says so.
//! - rfc8216bis §6.2.1: a new segment comes within 1.5 target durations; without media it is a gap.
//!
//! It is a little long because every cut has to know of every other.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    cadence::{Cadence, ENOUGH},
    init::{InitError, init_segment, track_number},
    lane::{Follower, Held, Leader, own_length},
    part::{self, Run, Sample},
    snapshot::{Init, Part},
    still,
    tracks::{Carried, Selection, timescale},
};
use crate::{
    base::{Monotonic, WallTime},
    media::{MediaTime, Track, TrackSet, Unit},
};

/// How a stream is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentPolicy {
    /// The length of parts that is wanted; the samples decide ([`Cadence`]).
    pub(super) part: MediaTime,
    /// A segment ends at the first random access point after this long.
    pub(super) segment: MediaTime,
    /// The longest a segment may be.
    pub(super) target: MediaTime,
    /// The most bytes a segment may have.
    pub(super) bytes: usize,
}

/// What came of it, in order.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A segment begins.
    Open {
        /// What a decoder needs first.
        init: Arc<Init>,
        /// When its first sample was captured.
        captured: WallTime,
        /// It does not go on from the segment before it.
        discontinuity: bool,
        /// It begins with a random access point.
        independent: bool,
    },
    /// The open segment has one more part.
    Part(Part),
    /// The open segment is complete.
    Close,
    /// A segment without media.
    Gap {
        /// How long.
        duration: MediaTime,
        /// When it began.
        captured: WallTime,
        /// What stands behind its name.
        filler: Bytes,
    },
}

/// The samples of the leading track wait this long at most for the rhythm to show.
const LISTEN: Duration = Duration::from_millis(250);

/// Units that wait for the rhythm at most.
const WAITING_MOST: usize = 1024;

/// Less silence than this is not worth a segment of its own.
const GAP_LEAST: MediaTime = MediaTime::from_millis(500);

/// A segment longer than the target by less than this still rounds down to it.
const ROUNDING: MediaTime = MediaTime::from_millis(490);

/// Gap segments made at once at most: more than any playlist shows.
const GAPS_MOST: i64 = 32;

#[derive(Debug)]
pub(super) struct Segmenter {
    policy: SegmentPolicy,
    selection: Selection,
    /// From the ring's timeline to the one viewers see.
    offset: MediaTime,
    carried: Carried,
    init: Option<Arc<Init>>,
    inits: u32,
    cadence: Option<Cadence>,
    /// Units that wait until the rhythm is known, and until when.
    waiting: Vec<(Arc<Unit>, WallTime)>,
    listen_until: Option<Monotonic>,
    leader: Leader,
    followers: Vec<Follower>,
    open: Option<Open>,
    /// The samples of the part under construction.
    samples: Vec<Sample>,
    /// Decode time of the first of them, in the leader's ticks.
    part_start: i64,
    parts: u32,
    /// The next segment does not go on from the last.
    discontinuity: bool,
    /// Between the last two random access points.
    gop: MediaTime,
    last_random_access: Option<MediaTime>,
    /// Where the playlist ends.
    end: Option<End>,
    /// When a segment has to come, whatever happens.
    due: Option<Monotonic>,
    /// When the newest leading unit arrived, and where it ends.
    newest: Option<(Monotonic, MediaTime)>,
    steps: Vec<Step>,
}

/// The end of the playlist: on the viewers' timeline, on the clock, and the init segment in force.
#[derive(Clone, Debug)]
struct End {
    time: MediaTime,
    captured: WallTime,
    init: Arc<Init>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: i64,
    captured: WallTime,
    bytes: usize,
}

impl Segmenter {
    /// A machine for these tracks. `offset` is added to the ring's timeline.
    pub(super) fn new(
        policy: SegmentPolicy,
        selection: Selection,
        set: &TrackSet,
        offset: MediaTime,
    ) -> Result<Self, InitError> {
        let mut segmenter = Self {
            policy,
            selection,
            offset,
            carried: Carried::default(),
            init: None,
            inits: 0,
            cadence: None,
            waiting: Vec::new(),
            listen_until: None,
            leader: Leader::new(None),
            followers: Vec::new(),
            open: None,
            samples: Vec::new(),
            part_start: 0,
            parts: 0,
            discontinuity: false,
            gop: MediaTime::ZERO,
            last_random_access: None,
            end: None,
            due: None,
            newest: None,
            steps: Vec::new(),
        };
        segmenter.take_tracks(Carried::choose(set, selection))?;
        Ok(segmenter)
    }

    /// The tracks in force.
    pub(super) fn carried(&self) -> &Carried {
        &self.carried
    }

    /// The longest a part may be; known before the first step.
    pub(super) fn part_target(&self) -> Option<MediaTime> {
        self.cadence.map(|cadence| cadence.part)
    }

    /// The longest a segment may be; settled before the first step, and for good.
    pub(super) fn target(&self) -> MediaTime {
        self.policy.target
    }

    /// Where the newest unit stands on the viewers' timeline, and when it arrived.
    pub(super) fn newest(&self) -> Option<(Monotonic, MediaTime)> {
        self.newest
    }

    /// What has come of everything since the last call.
    pub(super) fn poll_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_deadline(&self) -> Option<Monotonic> {
        let silence = self.newest.zip(self.due).map(|((arrived, _), due)| due.max(arrived + self.silence()));
        self.listen_until.or(silence)
    }

    /// Other tracks, or tracks with other parameters, are in force from the next unit on.
    ///
    /// # Errors
    /// The tracks cannot be described; nothing is carried until others come.
    pub(super) fn handle_tracks(&mut self, set: &TrackSet) -> Result<(), InitError> {
        let carried = Carried::choose(set, self.selection);
        if self.carried.plays_on(&carried) {
            self.carried = carried;
            return Ok(());
        }
        self.waiting.clear();
        self.interrupt();
        self.take_tracks(carried)
    }

    fn take_tracks(&mut self, carried: Carried) -> Result<(), InitError> {
        self.leader = Leader::new(carried.tracks.first().map(|track| &**track));
        let follower = |(place, track): (usize, &Arc<Track>)| Follower::new(track, track_number(place));
        self.followers = carried.tracks.iter().enumerate().skip(1).map(follower).collect();
        self.carried = Carried { tracks: Vec::new(), left_out: carried.left_out };
        self.init = None;
        if !carried.tracks.is_empty() {
            let body = init_segment(&carried.tracks)?;
            self.init = Some(Arc::new(Init { generation: self.inits, body, tracks: carried.tracks.clone() }));
            self.inits += 1;
            self.carried.tracks = carried.tracks;
            if let Some(cadence) = self.cadence {
                self.leader.usual = cadence.sample.ticks(self.leader.scale).max(1);
            }
        }
        (self.gop, self.last_random_access) = (MediaTime::ZERO, None);
        Ok(())
    }

    /// Units are missing.
    pub(super) fn handle_loss(&mut self) {
        self.waiting.clear();
        self.interrupt();
    }

    /// A unit that was captured at `captured`.
    pub(super) fn push(&mut self, unit: &Arc<Unit>, captured: WallTime) {
        if self.cadence.is_some() {
            self.take(unit, captured);
            return;
        }
        self.listen_until.get_or_insert(unit.arrived + LISTEN);
        self.waiting.push((unit.clone(), captured));
        if self.intervals().len() >= ENOUGH || self.waiting.len() >= WAITING_MOST {
            self.stop_listening();
        }
    }

    /// The intervals of the leading track among the units that wait.
    fn intervals(&self) -> Vec<MediaTime> {
        let Some(leading) = self.carried.tracks.first() else { return Vec::new() };
        let leading = self.waiting.iter().filter(|(unit, _)| unit.track.id == leading.id);
        if self.leader.has_own_length() {
            let rate = self.leader.scale;
            let length = |unit: &Arc<Unit>| own_length(&unit.track, &unit.payload);
            return leading.filter_map(|(unit, _)| Some(MediaTime::from_ticks(length(unit)?.into(), rate))).collect();
        }
        let times: Vec<_> = leading.map(|(unit, _)| unit.dts).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Fixes the rhythm by what has come, and lets the waiting units in.
    fn stop_listening(&mut self) {
        if self.cadence.is_some() || self.waiting.is_empty() {
            return;
        }
        let intervals = self.intervals();
        if intervals.is_empty() && self.carried.tracks.is_empty() {
            self.waiting.clear();
            return;
        }
        self.listen_until = None;
        let cadence = Cadence::fit(self.policy.part, if intervals.is_empty() { &[SLOW] } else { &intervals });
        self.cadence = Some(cadence);
        self.leader.usual = cadence.sample.ticks(self.leader.scale).max(1);
        // A camera of a picture every few seconds: a segment holds one at least.
        let whole = MediaTime::from_millis((cadence.part.millis() + 999) / 1000 * 1000);
        self.policy.target = self.policy.target.max(whole);
        for (unit, captured) in std::mem::take(&mut self.waiting) {
            self.take(&unit, captured);
        }
    }

    fn take(&mut self, unit: &Arc<Unit>, captured: WallTime) {
        let Some(place) = self.carried.tracks.iter().position(|track| track.id == unit.track.id) else { return };
        if place == 0 {
            self.lead(unit, captured);
        } else if let Some(follower) = self.followers.get_mut(place - 1) {
            follower.push(unit, self.offset, self.open.is_some());
        }
    }

    /// A unit of the leading track.
    fn lead(&mut self, unit: &Arc<Unit>, captured: WallTime) {
        if unit.spliced {
            self.interrupt();
        }
        let time = unit.dts + self.offset;
        let Some((ticks, composition)) = self.leader.place(unit, time) else { return };
        let random_access = unit.random_access || !self.leader.pictures;
        if let Some(held) = self.leader.held.take() {
            let length = ticks - held.ticks;
            let hole = self.policy.target.ticks(self.leader.scale) / 2;
            if length > hole.max(4 * self.leader.usual) {
                self.leader.held = Some(held);
                self.interrupt();
            } else {
                self.leader.usual = ((31 * self.leader.usual + length + 16) / 32).max(1);
                self.settle(held, length);
            }
        }
        let usual = MediaTime::from_ticks(self.leader.usual, self.leader.scale);
        self.newest = Some((unit.arrived, time + usual));
        if random_access {
            self.gop = self.last_random_access.map_or(MediaTime::ZERO, |last| time - last);
            self.last_random_access = Some(time);
        }
        let sample = Sample { duration: 0, composition, random_access, payload: unit.payload.clone() };
        let held = Held { ticks, arrived: unit.arrived, captured, sample };
        match self.open {
            None if !random_access => return,
            None => self.open(&held),
            Some(open) if self.ends_before(&open, &held) => {
                self.close(held.arrived);
                self.open(&held);
            }
            // What follows would not fit: the part is known to be full now, and its successor has a sample.
            Some(_) if self.part_ticks(ticks) + self.expected() > self.part_most() => self.flush(),
            Some(_) => {}
        }
        self.leader.held = Some(held);
    }

    /// Whether the open segment ends before this sample.
    fn ends_before(&self, open: &Open, next: &Held) -> bool {
        let scale = self.leader.scale;
        let length = next.ticks - open.start;
        let target = self.policy.target.ticks(scale);
        if next.sample.random_access {
            let segment = self.policy.segment.ticks(scale);
            // Jitter must not make a segment of two GOPs; nor must the next GOP end it without a random access point.
            if length + segment / 20 >= segment || length + self.gop.ticks(scale) > target {
                return true;
            }
        }
        length + self.expected() > target || open.bytes + self.samples_len() > self.policy.bytes
    }

    /// How long the next sample is taken to last: the rhythm, as long as the camera keeps it. One sample that lasts a little
    /// longer must not make every part after it a sample shorter.
    fn expected(&self) -> i64 {
        let usual = self.leader.usual;
        match self.cadence.map(|cadence| cadence.sample.ticks(self.leader.scale)) {
            Some(sample) if (usual - sample).abs() <= sample / 8 => usual.min(sample),
            _ => usual,
        }
    }

    fn samples_len(&self) -> usize {
        self.samples.iter().map(|sample| sample.payload.len()).sum()
    }

    fn part_ticks(&self, end: i64) -> i64 {
        end - self.part_start
    }

    fn part_most(&self) -> i64 {
        self.cadence.map_or(i64::MAX, |cadence| cadence.part.ticks(self.leader.scale))
    }

    /// The held sample lasts so long: it belongs to a part now.
    fn settle(&mut self, mut held: Held, length: i64) {
        let Some(open) = self.open else { return };
        let end = held.ticks + length;
        // It turned out longer than usual: the part, or the segment, ends before it.
        if !self.samples.is_empty() && self.part_ticks(end) > self.part_most() {
            self.flush();
        }
        // rfc8216bis §4.4.3.1: a duration is rounded before it is held against the target. (The part that begins with this
        // sample may have been hinted at, and the next sample may be a random access point.)
        if held.ticks > open.start && end - open.start > (self.policy.target + ROUNDING).ticks(self.leader.scale) {
            self.close(held.arrived);
            self.open(&held);
        }
        if self.samples.is_empty() {
            self.part_start = held.ticks;
        }
        held.sample.duration = u32::try_from(length).unwrap_or(u32::MAX);
        self.samples.push(held.sample);
    }

    /// Makes a part of the samples there are.
    fn flush(&mut self) {
        let Some(last) = self.samples.last() else { return };
        let independent = self.samples.iter().any(|sample| sample.random_access);
        let length: i64 = self.samples.iter().map(|sample| i64::from(sample.duration)).sum();
        debug_assert!(last.duration > 0, "a settled sample lasts");
        let scale = self.leader.scale;
        let end = MediaTime::from_ticks(self.part_start + length, scale);
        let mut runs = vec![Run {
            track: track_number(0),
            pictures: self.leader.pictures,
            base: u64::try_from(self.part_start).unwrap_or(0),
            samples: std::mem::take(&mut self.samples),
        }];
        runs.extend(self.followers.iter_mut().filter_map(|follower| follower.run_until(end)));
        self.parts = self.parts.wrapping_add(1);
        let body = part::encode(self.parts, &runs);
        let duration = MediaTime::from_ticks(length, scale);
        if let (Some(open), Some(init)) = (&mut self.open, &self.init) {
            open.bytes += body.len();
            let since = end - MediaTime::from_ticks(open.start, scale);
            self.end = Some(End { time: end, captured: open.captured.plus_nanos(since.nanos()), init: init.clone() });
        }
        self.part_start += length;
        self.steps.push(Step::Part(Part { body, duration, independent }));
    }

    fn open(&mut self, first: &Held) {
        let Some(init) = self.init.clone() else { return };
        let start = MediaTime::from_ticks(first.ticks, self.leader.scale);
        let discontinuity = std::mem::take(&mut self.discontinuity);
        if discontinuity && let Some(end) = &self.end {
            self.gap(start - end.time);
        }
        if self.end.is_none() {
            self.lead_in(first, &init);
        }
        if discontinuity || self.end.is_none() {
            self.followers.iter_mut().for_each(|follower| follower.begin_at(start));
        }
        self.part_start = first.ticks;
        self.open = Some(Open { start: first.ticks, captured: first.captured, bytes: 0 });
        let due = first.arrived + self.patience();
        self.due.get_or_insert(due);
        let independent = first.sample.random_access;
        self.steps.push(Step::Open { init, captured: first.captured, discontinuity, independent });
    }

    /// A segment before the first: its picture, standing still, in silence.
    ///
    /// hls.js and ffmpeg take a playlist without a complete segment for an error, and the first one may be a GOP away;
    /// hls.js begins at the hold-back from the end, where nothing may be yet. So the time before is filled with what
    /// there is: a viewer sees the picture at once, and motion when it comes.
    fn lead_in(&mut self, first: &Held, init: &Arc<Init>) {
        let Some(Cadence { part, .. }) = self.cadence else { return };
        let scale = self.leader.scale;
        let wanted = MediaTime::from_flicks(3 * part.flicks()) + LEAD_IN_BEYOND;
        let most = self.policy.target.flicks() / part.flicks();
        let count = (wanted.flicks() + part.flicks() - 1) / part.flicks();
        let (count, length) = (count.min(most), part.ticks(scale));
        let start = first.ticks - count * length;
        if count < 1
            || start < 0
            || !(first.sample.random_access && still::can_be_repeated(init, &first.sample.payload))
        {
            return;
        }
        let before = MediaTime::from_ticks(count * length, scale);
        let captured = first.captured.plus_nanos(-before.nanos());
        self.steps.push(Step::Open { init: init.clone(), captured, discontinuity: false, independent: true });
        for index in 0..count {
            let (from, to) = (start + index * length, start + (index + 1) * length);
            let duration = u32::try_from(length).unwrap_or(u32::MAX);
            let picture = Sample { duration, ..first.sample.clone() };
            let base = u64::try_from(from).unwrap_or(0);
            let mut runs =
                vec![Run { track: track_number(0), pictures: self.leader.pictures, base, samples: vec![picture] }];
            let [from, to, end] = [from, to, first.ticks].map(|ticks| MediaTime::from_ticks(ticks, scale));
            runs.extend(self.followers.iter().filter_map(|follower| follower.silence(from, to, end)));
            self.parts = self.parts.wrapping_add(1);
            let body = part::encode(self.parts, &runs);
            self.steps.push(Step::Part(Part { body, duration: part, independent: true }));
        }
        self.steps.push(Step::Close);
    }

    fn close(&mut self, now: Monotonic) {
        self.flush();
        if self.open.take().is_some() {
            self.due = Some(now + self.patience());
            self.steps.push(Step::Close);
        }
    }

    /// What follows does not go on from what is here: completes the open segment and waits for a random access point.
    fn interrupt(&mut self) {
        if let Some(held) = self.leader.held.take() {
            let arrived = held.arrived;
            self.settle(held, self.leader.usual);
            self.close(arrived);
        }
        self.discontinuity = self.end.is_some();
        self.last_random_access = None;
        self.leader.restart();
        self.followers.iter_mut().for_each(Follower::restart);
    }

    /// How long after a segment the next one has to come: within 1.5 target durations (rfc8216bis §6.2.1).
    fn patience(&self) -> Duration {
        self.policy.target.duration().mul_f64(1.4)
    }

    /// Less than this between two samples is no silence.
    fn silence(&self) -> Duration {
        let usual = MediaTime::from_ticks(self.leader.usual, self.leader.scale).duration();
        (3 * usual).max(Duration::from_secs(1))
    }

    /// The time [`Self::poll_deadline`] named has come.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) {
        if let Some(until) = self.listen_until {
            // One interval at least, or there is no rhythm to speak of; a camera that slow is waited for.
            if now >= until && !self.intervals().is_empty() {
                self.stop_listening();
            } else if now >= until {
                self.listen_until = Some(now + LISTEN);
            }
            return;
        }
        if self.poll_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        self.interrupt();
        let (Some((arrived, newest)), Some(end)) = (self.newest, &self.end) else { return };
        // Where the live edge would be by now.
        self.gap(newest + now.since(arrived).into() - end.time);
        self.due = Some(now + self.policy.segment.duration());
    }

    /// Segments without media, so long in all.
    fn gap(&mut self, length: MediaTime) {
        if length < GAP_LEAST {
            return;
        }
        let target = self.policy.target;
        let mut rest = length.min(MediaTime::from_flicks(target.flicks().saturating_mul(GAPS_MOST)));
        // In equal pieces, so that none is a scrap.
        let pieces = (rest.flicks() + target.flicks() - 1) / target.flicks().max(1);
        let piece = MediaTime::from_flicks(rest.flicks() / pieces.max(1));
        while rest >= piece && piece > MediaTime::ZERO {
            let Some(end) = &mut self.end else { return };
            let filler = filler(&end.init, end.time);
            self.steps.push(Step::Gap { duration: piece, captured: end.captured, filler });
            end.time += piece;
            end.captured = end.captured.plus_nanos(piece.nanos());
            rest = rest - piece;
        }
    }
}

/// What stands behind the name of a gap that begins at `time`.
fn filler(init: &Init, time: MediaTime) -> Bytes {
    let base = |(place, track): (usize, &Arc<Track>)| {
        (track_number(place), u64::try_from(time.ticks(timescale(track))).unwrap_or(0))
    };
    part::encode_nothing(0, init.tracks.iter().enumerate().map(base))
}

/// How much longer than the hold-back the lead-in is: players look for a place within a quarter of a second.
const LEAD_IN_BEYOND: MediaTime = MediaTime::from_millis(400);

/// The interval assumed of a source that has shown one picture and no more.
const SLOW: MediaTime = MediaTime::from_millis(200);

#[cfg(test)]
#[path = "segmenter_tests.rs"]
mod tests;
