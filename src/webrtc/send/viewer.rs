//! One viewer: units of its rings and its own feedback in, sealed runs out. Sans-IO but for its readers.
//!
//! A unit goes out when it is read. What may not leave yet, a start burst or the rest of a large key frame, is held, and
//! nothing more is read until it has left: the ring decides what a slow viewer misses. Feedback is taken in
//! `feedback.rs`, the move between two renditions is `rendition.rs`.
//!
//! It is long since pictures, sound and reports share the one turn in which they leave.

use std::{mem, sync::Arc, time::Duration};

use super::{
    Joining, SendEnd,
    estimate::Estimate,
    gauge::Gauge,
    line::{Beginning, Begun, Line, Seal},
    pacer::Pacer,
    rendition::Renditions,
    report::{Moment, Reports},
};
use crate::{
    base::{Monotonic, Rendition, WallTime},
    hub::{EndReason, Read, Reader, RingKey},
    media::{MediaKind, TrackId, TrackSet, Unit},
    rtp::rtcp,
    stats,
};

/// Packets that a viewer can be expected to have repaired; of more, pictures are left out up to a random access point.
const SMALL_LOSS: usize = 16;
/// Sound units that leave as one run.
const SOUND_RUN: usize = 16;

/// How much the first packet of a sound run may differ from the others; a byte counts the padding of twice that.
const PADDING: usize = 127;

/// Bytes around a packet on a connection (RFC 4571 §2).
const FRAME: usize = 2;
/// When a connection that had no room for a burst is looked at again.
const ROOM_AFTER: Duration = Duration::from_millis(10);

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is on its way.
    Sent,
    /// There is no room for it.
    Full,
}

/// What a viewer needs to have its turn.
pub(super) struct Turn<'a, O> {
    pub(super) now: Monotonic,
    pub(super) wall: WallTime,
    /// Packets of one call.
    pub(super) segments: usize,
    /// Bytes there is room for: in the queue of a connection; UDP tells only when it is asked to send.
    pub(super) room: usize,
    /// Where runs are sealed; the thread's.
    pub(super) buffer: &'a mut Vec<u8>,
    /// Where units are read into; the thread's.
    pub(super) batch: &'a mut Vec<Arc<Unit>>,
    /// When the oldest live picture arrived that has left whole; the thread's.
    pub(super) sent: &'a mut Option<Monotonic>,
    /// Sends a run: its bytes and the size of its packets.
    pub(super) out: O,
}

/// What a viewer comes to after its turn.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It waits for its rings.
    Waits,
    /// It has more to send, not before this.
    Due(Monotonic),
    /// It is over.
    End(SendEnd),
}

/// A ring a viewer reads.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) reader: Reader,
    pub(super) rendition: Rendition,
}

/// A unit that has not left, or not all of it.
#[derive(Debug)]
struct Held {
    unit: Arc<Unit>,
    line: usize,
    backlog: bool,
    begun: Option<Begun>,
}

/// A burst on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Burst {
    pub(super) sent: usize,
    pub(super) lost: usize,
}

/// One viewer.
pub(super) struct Viewer<S> {
    pub(super) lines: Vec<Line>,
    /// One, or two while sound stays where it was when pictures moved.
    pub(super) feeds: Vec<Feed>,
    pub(super) renditions: Renditions,
    pub(super) estimate: Estimate,
    pub(super) reports: Reports,
    pub(super) session: Arc<stats::Session>,
    pub(super) round_trip: Duration,
    /// A start burst, until it has caught up.
    pub(super) burst: Option<Burst>,
    /// How wide its line is, while it catches up with a start.
    pub(super) gauge: Option<Box<Gauge>>,
    /// It has not yet been sent all there was: pictures wait for its start, not for us.
    behind: bool,
    /// Before this a lost picture is not sent again.
    pub(super) no_picture_before: Monotonic,
    /// The rate of live pictures: when it was last looked at, what had been sent, and what came out in bits a second.
    pub(super) rate: (Monotonic, u32, u64),
    pub(super) sealer: S,
    pub(super) pacer: Pacer,
    held: std::collections::VecDeque<Held>,
    cname: String,
    silent: bool,
}

impl<S: Seal> Viewer<S> {
    /// A viewer that joins; `None` if its tracks have changed since they were negotiated.
    pub(super) fn new(joining: Joining, sealer: S, burst_rate: u64, now: Monotonic) -> Option<Self> {
        let Joining { lines, readers, session, cname, .. } = joining;
        let tracks = readers.reader.tracks().clone();
        let beginning =
            || Beginning { sequence: rand::random(), rtx_sequence: rand::random(), timestamp: rand::random() };
        let mut own: Vec<_> = lines.iter().map(|line| Line::new(line, &tracks, beginning())).collect::<Option<_>>()?;
        // Pictures lead: reports and pacing go by them.
        own.sort_by_key(|line| line.kind != MediaKind::Video);
        let rendition = readers.rendition;
        let burst = readers.reader.backlog().map(|_| Burst::default());
        let feeds = vec![Feed { reader: readers.reader, rendition }];
        let streams = [Some(readers.main), readers.sub];
        let gauged = burst.is_some() && own.first().is_some_and(Line::is_gauged);
        let adapts = readers.adapts && own.first().is_some_and(|line| line.kind == MediaKind::Video);
        Some(Self {
            lines: own,
            feeds,
            renditions: Renditions::new(streams, adapts),
            estimate: Estimate::new(rendition, now),
            reports: Reports::new(),
            session,
            round_trip: Duration::ZERO,
            behind: burst.is_some(),
            burst,
            gauge: gauged.then(|| Box::new(Gauge::new(now))),
            no_picture_before: now + super::feedback::FIRST_PICTURE_AFTER,
            rate: (now, 0, 0),
            sealer,
            pacer: Pacer::new(burst_rate, now),
            held: std::collections::VecDeque::new(),
            cname,
            silent: false,
        })
    }

    /// The rings it hears, with a reader of each.
    pub(super) fn rings(&self) -> impl Iterator<Item = (RingKey, &Reader)> {
        let candidate = self.renditions.candidate.as_ref().map(|candidate| &candidate.feed);
        self.feeds.iter().chain(candidate).map(|feed| (feed.reader.ring(), &feed.reader))
    }

    /// It no longer consents, or consents again: then it begins anew at the newest random access point.
    pub(super) fn set_silent(&mut self, silent: bool, now: Monotonic) {
        if self.silent && !silent {
            self.held.clear();
            self.begin_again(now);
            self.reports.hurry();
        }
        self.silent = silent;
    }

    /// Goes back to the newest random access point, which comes alone where what follows it would be too much.
    pub(super) fn begin_again(&mut self, now: Monotonic) -> bool {
        let Some(line) = self.lines.first_mut() else { return false };
        let reader = &mut self.feeds[line.feed].reader;
        let went = reader.restart() || reader.restart_still();
        if went {
            self.held.clear();
            line.begin_again();
            (self.burst, self.behind) = (Some(Burst::default()), true);
            self.gauge = line.is_gauged().then(|| Box::new(Gauge::new(now)));
        }
        went
    }

    /// Gives up what is left of a burst: motion begins at the next random access point.
    pub(super) fn give_up_burst(&mut self) {
        let Some(line) = self.lines.first_mut() else { return };
        self.feeds[line.feed].reader.give_up_burst();
        line.skipping = line.kind == MediaKind::Video;
        line.repairs.clear();
        self.held.clear();
        self.burst = None;
    }

    /// Sends what may leave now: what is held, then what the rings have.
    pub(super) fn turn<O: FnMut(&[u8], usize) -> Taken>(&mut self, turn: &mut Turn<'_, O>) -> Outcome {
        if self.silent {
            return Outcome::Waits;
        }
        if let Some(due) = self.send_held(turn) {
            return Outcome::Due(due);
        }
        let mut feed = 0;
        while let Some(reading) = self.feeds.get_mut(feed) {
            match reading.reader.try_read(turn.batch) {
                None => feed += 1,
                Some(Read::Units) => {
                    self.send_batch(feed, turn);
                    if let Some(due) = self.send_held(turn) {
                        return Outcome::Due(due);
                    }
                }
                Some(Read::Lagged { dropped }) => self.dropped(dropped),
                Some(Read::ParametersChanged(_)) => {}
                Some(Read::TracksChanged(set)) => {
                    if !self.tracks_changed(feed, &set)
                        && let Err(end) = self.fall_back(feed, SendEnd::TracksChanged, turn.now)
                    {
                        return Outcome::End(end);
                    }
                }
                Some(Read::End(reason)) => {
                    if let Err(end) = self.fall_back(feed, reason.into(), turn.now) {
                        return Outcome::End(end);
                    }
                    feed += 1;
                }
            }
        }
        if let Err(end) = self.look_at_candidate(turn) {
            return Outcome::End(end);
        }
        if let Some(due) = self.send_held(turn) {
            return Outcome::Due(due);
        }
        self.behind = false;
        self.gauge.take_if(|gauge| gauge.is_heard(turn.now));
        self.send_reports(turn);
        Outcome::Waits
    }

    /// Whether every line of a feed has its track in another list too.
    fn tracks_changed(&mut self, feed: usize, set: &TrackSet) -> bool {
        let mut lines = self.lines.iter_mut().filter(|line| line.feed == feed);
        lines.all(|line| line.resolve(set).inspect(|track| line.track = *track).is_some())
    }

    fn dropped(&self, units: u64) {
        self.session.units_dropped.fetch_add(units, std::sync::atomic::Ordering::Relaxed);
    }

    fn line_of(&self, feed: usize, track: TrackId) -> Option<usize> {
        self.lines.iter().position(|line| line.feed == feed && line.track == track)
    }

    /// Sends the units of the batch, its sound first and as one run.
    pub(super) fn send_batch<O: FnMut(&[u8], usize) -> Taken>(&mut self, feed: usize, turn: &mut Turn<'_, O>) {
        let mut batch = mem::take(turn.batch);
        if let Some(sound) = self.lines.iter().position(|line| line.kind == MediaKind::Audio && line.feed == feed) {
            self.send_sound(sound, &batch, turn);
        }
        for unit in batch.drain(..) {
            let Some(line) = self.line_of(feed, unit.track.id) else { continue };
            if self.lines[line].kind == MediaKind::Audio || unit.plan.fragments.is_empty() {
                continue;
            }
            let backlog = self.feeds[feed].reader.is_backlog(&unit);
            let mut held = Held { unit, line, backlog, begun: None };
            // Order is kept: behind what waits, this waits too.
            if !self.held.is_empty() || self.send(&mut held, turn).is_some() {
                self.held.push_back(held);
            }
        }
        *turn.batch = batch;
    }

    /// Sends what is held; when the rest may leave, if there is any.
    fn send_held<O: FnMut(&[u8], usize) -> Taken>(&mut self, turn: &mut Turn<'_, O>) -> Option<Monotonic> {
        while let Some(mut held) = self.held.pop_front() {
            if let Some(due) = self.send(&mut held, turn) {
                self.held.push_front(held);
                return Some(due);
            }
        }
        None
    }

    /// Sends a unit, or as much of it as may leave; when the rest may, if there is any.
    fn send<O: FnMut(&[u8], usize) -> Taken>(&mut self, held: &mut Held, turn: &mut Turn<'_, O>) -> Option<Monotonic> {
        let Held { unit, line: place, backlog, begun } = held;
        let line = &mut self.lines[*place];
        let begun = match begun {
            Some(begun) => begun,
            none => {
                if line.skipping && !unit.random_access {
                    self.dropped(1);
                    return None;
                }
                line.skipping = false;
                let ring = self.feeds[line.feed].reader.ring();
                none.insert(line.begin(ring, unit, self.gauge.is_some(), turn.now, turn.wall)?)
            }
        };
        let count = unit.plan.fragments.len();
        while begun.sent < count {
            let run = line.run(unit, begun, self.sealer.overhead(), turn.segments, *backlog);
            let due = self.pacer.due(run.bytes, *backlog || self.behind);
            if due > turn.now {
                return Some(due);
            }
            let framed = run.bytes + run.packets * FRAME;
            if *backlog && framed > turn.room {
                // A connection is slower than the burst, and nothing gets lost on it: the burst takes longer.
                return Some(turn.now + ROOM_AFTER);
            }
            turn.room = turn.room.saturating_sub(framed);
            turn.buffer.clear();
            let first = begun.index + begun.sent as u64;
            line.seal(&mut self.sealer, unit, begun, run.packets, turn.buffer);
            let taken = (turn.out)(turn.buffer, run.segment);
            self.pacer.sent(run.bytes, *backlog || self.behind, turn.now);
            if taken == Taken::Full {
                // The numbers of the rest are used. A small hole is repaired, a large one ends at a random access point.
                let missing = count - begun.sent + run.packets;
                line.skipping |= missing > SMALL_LOSS;
                self.dropped(1);
                return None;
            }
            line.repairs.earn(run.bytes);
            let gauge = self.gauge.as_mut().filter(|_| *place == 0);
            if gauge.is_some_and(|gauge| gauge.sent(first, run.packets, run.bytes, turn.now)) {
                self.pacer.ease();
            }
            self.session.sent(run.packets as u64, run.bytes as u64);
            if let Some(burst) = &mut self.burst {
                burst.sent += run.packets;
            }
        }
        if *place == 0 {
            if !*backlog {
                self.burst = None;
                if !self.behind {
                    *turn.sent = turn.sent.map_or(Some(unit.arrived), |oldest| Some(oldest.min(unit.arrived)));
                }
            }
            if unit.spliced {
                self.reports.hurry();
            }
            if let Some(time) = begun.true_time {
                self.reports.moment = Some(Moment::of(unit, time));
            }
        }
        None
    }

    /// Sends the sound of a batch, as much as makes one run at a time.
    fn send_sound<O: FnMut(&[u8], usize) -> Taken>(
        &mut self,
        place: usize,
        batch: &[Arc<Unit>],
        turn: &mut Turn<'_, O>,
    ) {
        let mut run: [Option<(usize, Begun)>; SOUND_RUN] = [None; SOUND_RUN];
        let mut count = 0;
        for (at, unit) in batch.iter().enumerate() {
            let line = &mut self.lines[place];
            if unit.track.id != line.track || unit.plan.fragments.is_empty() {
                continue;
            }
            let ring = self.feeds[line.feed].reader.ring();
            if unit.plan.fragments.len() > 1 {
                // Sampled sound of a wide beat: a run of its own.
                self.flush_sound(place, batch, &mut run, &mut count, turn);
                let mut held = Held { unit: unit.clone(), line: place, backlog: false, begun: None };
                if self.send(&mut held, turn).is_some() {
                    self.held.push_back(held);
                }
                continue;
            }
            let Some(begun) = line.begin(ring, unit, false, turn.now, turn.wall) else { continue };
            let alike = |(at, first): &(usize, Begun)| {
                let (own, other) = (unit.plan.payload_len(), batch[*at].plan.payload_len());
                own.abs_diff(other) <= PADDING && first.header_len() == begun.header_len()
            };
            if count == SOUND_RUN.min(turn.segments.max(1)) || !run[0].as_ref().is_none_or(alike) {
                self.flush_sound(place, batch, &mut run, &mut count, turn);
            }
            if place == 0
                && let Some(time) = begun.true_time
            {
                self.reports.moment = Some(Moment::of(unit, time));
            }
            run[count] = Some((at, begun));
            count += 1;
        }
        self.flush_sound(place, batch, &mut run, &mut count, turn);
    }

    fn flush_sound<O: FnMut(&[u8], usize) -> Taken>(
        &mut self,
        place: usize,
        batch: &[Arc<Unit>],
        run: &mut [Option<(usize, Begun)>; SOUND_RUN],
        count: &mut usize,
        turn: &mut Turn<'_, O>,
    ) {
        let packets = mem::take(count);
        let units = || run[..packets].iter().flatten().map(|(at, begun)| (&batch[*at], begun));
        let Some((_, first)) = units().next() else { return };
        let payload = |unit: &Unit| unit.plan.fragments.first().map_or(0, crate::media::Fragment::payload_len);
        let largest = units().map(|(unit, _)| payload(unit)).max().unwrap_or(0);
        let segment = first.header_len() + largest + self.sealer.overhead();
        turn.buffer.clear();
        self.lines[place].seal_sound(&mut self.sealer, units(), (largest, packets - 1), turn.buffer);
        let bytes = turn.buffer.len();
        let taken = (turn.out)(turn.buffer, segment);
        self.pacer.sent(bytes, false, turn.now);
        run.fill(None);
        match taken {
            Taken::Sent => self.session.sent(packets as u64, bytes as u64),
            Taken::Full => self.dropped(packets as u64),
        }
    }

    /// Sends a sender report of each line, when one is due.
    fn send_reports<O: FnMut(&[u8], usize) -> Taken>(&mut self, turn: &mut Turn<'_, O>) {
        let Some((time, wall)) = self.reports.poll(turn.now, turn.wall) else { return };
        turn.buffer.clear();
        let mut segment = 0;
        for line in &self.lines {
            let start = turn.buffer.len();
            rtcp::write_sender_report(turn.buffer, &line.report(time, wall), &[], &self.cname);
            self.sealer.seal_rtcp(turn.buffer, start);
            // All of one size: one name, and no blocks.
            segment = turn.buffer.len() - start;
        }
        // What is not taken is lost, as any report may be.
        let _ = (turn.out)(turn.buffer, segment);
    }
}

impl From<EndReason> for SendEnd {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::SourceLost(error) => Self::SourceLost(error),
            EndReason::Closed => Self::Closed,
        }
    }
}
