//! The move between the two renditions of a path, without another negotiation: at a random access point of the other
//! ring, if its codec is the negotiated one. Numbers and timestamps go on; the viewer sees another size of picture.
//!
//! Pictures go on from the old ring until the new one gives a random access point. Sound moves with them where the other
//! rendition has the same; else it stays where it is.

use std::time::Duration;

use super::{
    SendEnd,
    line::Seal,
    numbers::SpanClock,
    viewer::{Burst, Feed, Taken, Turn, Viewer},
};
use crate::{
    base::{Monotonic, Rendition},
    hub::{BurstPolicy, Read, ReaderOptions, Start, Stream},
    media::{MediaTime, TrackId},
};

/// How long the other rendition may take to give a random access point.
const PATIENCE: Duration = Duration::from_secs(20);
/// No list has a track at this place.
const NOWHERE: TrackId = TrackId(u8::MAX);

/// The renditions a viewer may be moved between.
#[derive(Debug)]
pub(super) struct Renditions {
    /// Main and sub.
    streams: [Option<Stream>; 2],
    /// Whether the viewer is moved as its path allows.
    pub(super) adapts: bool,
    /// The one it is about to be moved to.
    pub(super) candidate: Option<Candidate>,
    /// Its ring is of no use any more: it ends so, unless the candidate takes over.
    stranded: Option<SendEnd>,
}

/// A ring that is waited for.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) feed: Feed,
    since: Monotonic,
}

impl Renditions {
    pub(super) const fn new(streams: [Option<Stream>; 2], adapts: bool) -> Self {
        Self { streams, adapts, candidate: None, stranded: None }
    }
}

impl<S: Seal> Viewer<S> {
    /// The viewer asks for a rendition, or leaves it to its path; today it asks when it opens its session.
    #[cfg(test)]
    pub(super) fn ask(&mut self, rendition: Option<Rendition>, now: Monotonic) {
        self.renditions.adapts = rendition.is_none();
        if let Some(rendition) = rendition.filter(|rendition| *rendition != self.rendition()) {
            self.seek(rendition, now);
        }
    }

    /// Begins the move to the other rendition; `false` if it has nothing this viewer can take.
    pub(super) fn seek(&mut self, to: Rendition, now: Monotonic) -> bool {
        if self.renditions.candidate.as_ref().is_some_and(|candidate| candidate.feed.rendition == to) {
            return true;
        }
        let (Some(stream), Some(line)) = (&self.renditions.streams[to as usize], self.lines.first()) else {
            return false;
        };
        let tracks = stream.tracks();
        // A rendition that was never pulled has no tracks yet.
        if !tracks.tracks.is_empty() && line.resolve(&tracks).is_none() {
            return false;
        }
        let reader = &self.feeds[line.feed].reader;
        let (grant, options) = (reader.grant().clone(), reader.options());
        // Down is urgent and little; up waits for the next random access point and costs no burst.
        let start = match to {
            Rendition::Sub => Start::RandomAccess,
            Rendition::Main => Start::LiveEdge,
        };
        let burst = BurstPolicy::Within { bytes: 1_000_000, units: 400, readers: 256 };
        let reader = stream.open(grant, ReaderOptions { start, burst, ..options });
        self.renditions.candidate = Some(Candidate { feed: Feed { reader, rendition: to }, since: now });
        true
    }

    /// Whether it waits for the other rendition.
    pub(super) const fn awaits_candidate(&self) -> bool {
        self.renditions.candidate.is_some()
    }

    /// A feed is of no use any more. Whether the viewer can go on: pictures with the main rendition, or without the
    /// sound of another ring.
    pub(super) fn fall_back(&mut self, feed: usize, end: SendEnd, now: Monotonic) -> Result<(), SendEnd> {
        let pictures = self.lines.first().is_none_or(|line| line.feed == feed);
        if pictures && (self.rendition() == Rendition::Main || !self.seek(Rendition::Main, now)) {
            return Err(end);
        }
        for line in self.lines.iter_mut().filter(|line| line.feed == feed) {
            line.track = NOWHERE;
        }
        if pictures {
            self.renditions.stranded = Some(end);
        }
        Ok(())
    }

    /// Moves to the other rendition if that has a random access point now. `Err` ends the viewer.
    pub(super) fn look_at_candidate<O: FnMut(&[u8], usize) -> Taken>(
        &mut self,
        turn: &mut Turn<'_, O>,
    ) -> Result<(), SendEnd> {
        while let Some(candidate) = &mut self.renditions.candidate {
            let late = turn.now.since(candidate.since) > PATIENCE;
            let reader = &mut candidate.feed.reader;
            let of_use = match reader.try_read(turn.batch) {
                None if !late => return Ok(()),
                None | Some(Read::End(_)) => false,
                Some(Read::Lagged { .. } | Read::ParametersChanged(_)) => true,
                Some(Read::TracksChanged(set)) => self.lines.first().is_some_and(|line| line.resolve(&set).is_some()),
                Some(Read::Units) => {
                    let track = self.lines.first().and_then(|line| line.resolve(reader.tracks()));
                    let starts =
                        |unit: &std::sync::Arc<crate::media::Unit>| Some(unit.track.id) == track && unit.random_access;
                    if let Some(first) = turn.batch.iter().position(starts) {
                        self.move_over(first, turn);
                    }
                    true
                }
            };
            if !of_use {
                self.renditions.candidate = None;
                self.estimate.refused();
            }
        }
        self.renditions.stranded.take().map_or(Ok(()), Err)
    }

    /// Takes the candidate over; its first random access point is the batch's unit `first`.
    fn move_over<O: FnMut(&[u8], usize) -> Taken>(&mut self, first: usize, turn: &mut Turn<'_, O>) {
        let (Some(candidate), Some(unit)) = (self.renditions.candidate.take(), turn.batch.get(first)) else { return };
        let (ring, tracks) = (candidate.feed.reader.ring(), candidate.feed.reader.tracks().clone());
        // Sound that stayed on this ring keeps its clock, and pictures join it.
        let known = self.lines.iter().find(|line| self.feeds[line.feed].reader.ring() == ring);
        let shift = known
            .map(|line| line.clock.shift)
            .unwrap_or_else(|| self.reports.moment.map_or(MediaTime::ZERO, |moment| moment.place(unit) - unit.pts));
        let mut stays = None;
        for line in &mut self.lines {
            let own = self.feeds[line.feed].reader.ring() == ring;
            match line.resolve(&tracks).filter(|_| own || line.may_move()) {
                Some(track) => {
                    (line.feed, line.track) = (0, track);
                    line.clock = SpanClock { shift, squeeze: None };
                    line.skipping = false;
                }
                None => {
                    stays = Some(line.feed);
                    line.feed = 1;
                }
            }
        }
        let rendition = candidate.feed.rendition;
        let stays = stays.map(|feed| self.feeds.swap_remove(feed));
        self.burst = candidate.feed.reader.backlog().map(|_| Burst::default());
        self.feeds.clear();
        self.feeds.push(candidate.feed);
        self.feeds.extend(stays);
        self.renditions.stranded = None;
        self.estimate.switched(rendition, turn.now);
        self.rate = (turn.now, self.lines.first().map_or(0, super::line::Line::octets), 0);
        self.session.reception.moved(rendition);
        self.reports.hurry();
        turn.batch.drain(..first);
        self.send_batch(0, turn);
    }
}
