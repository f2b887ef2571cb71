//! What a viewer tells us (RFC 3550 §6.4, RFC 4585, RFC 5104): reports, lost packets, lost pictures, its estimate.
//!
//! Everything in here comes from a peer that may be hostile: what it asks for is bounded, and nothing it says makes us
//! send more than a part of what it is sent anyway.

use std::time::Duration;

use super::{
    gauge::Verdict,
    line::{Line, Seal},
    viewer::{Taken, Turn, Viewer},
};
use crate::{
    base::{Monotonic, Rendition},
    media::MediaKind,
    rtp::{
        rtcp::{self, Packet, ReportBlock},
        transport_feedback,
    },
};

/// How often a lost picture is sent again.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// How soon a viewer that joined may miss its first picture. Chromium asks after 200 ms; when the very first packet was
/// lost it cannot know that there was one, and no retransmission helps.
pub(super) const FIRST_PICTURE_AFTER: Duration = Duration::from_millis(150);
/// How long a viewer whose burst comes once more is not sent it a third time.
const AFTER_SLOWING_DOWN: Duration = Duration::from_secs(3);
/// How long a viewer whose burst was lost twice waits for a random access point by itself.
const AFTER_LOST_BURST: Duration = Duration::from_secs(10);
/// Lost packets taken from one compound packet.
const NACKS_MAX: usize = 256;
/// A burst is too fast for its line when so many of its packets, and more than a fifth of them, are lost.
const BURST_LOSS: usize = 32;
/// Lost packets at the head of a start that are sent again unasked.
const HEAD_MAX: usize = 64;
/// Bytes of a retransmission run.
const REPAIR_RUN: usize = 16 << 10;

mod format {
    /// Generic NACK (RFC 4585 §6.2.1).
    pub(super) const NACK: u8 = 1;
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    pub(super) const ARRIVALS: u8 = 15;
    /// Picture loss indication (RFC 4585 §6.3.1).
    pub(super) const PLI: u8 = 1;
    /// Full intra request (RFC 5104 §4.3.1).
    pub(super) const FIR: u8 = 4;
    /// Application layer feedback (RFC 4585 §6.4), which REMB is.
    pub(super) const APPLICATION: u8 = 15;
}

impl<S: Seal> Viewer<S> {
    /// Takes a compound packet. Whether there is something to send now.
    pub(super) fn handle_feedback(&mut self, compound: &[u8], now: Monotonic) -> bool {
        let mut nacks = NACKS_MAX;
        let mut lost_picture = false;
        for packet in rtcp::packets(compound).map_while(Result::ok) {
            match packet {
                Packet::ReceiverReport { blocks, .. } | Packet::SenderReport(_, blocks) => {
                    blocks.iter().for_each(|block| self.handle_block(&block, now));
                }
                Packet::Feedback { on_payload: false, format: format::NACK, media, control, .. } => {
                    self.handle_nack(media, control, &mut nacks, now);
                }
                Packet::Feedback { on_payload: false, format: format::ARRIVALS, control, .. } => {
                    self.handle_arrivals(control, now);
                }
                Packet::Feedback { on_payload: true, format: format::PLI, media, .. } => {
                    lost_picture |= self.is_picture(media);
                }
                Packet::Feedback { on_payload: true, format: format::FIR, control, .. } => {
                    lost_picture |= rtcp::intra_requests(control).any(|ssrc| self.is_picture(ssrc));
                }
                Packet::Feedback { on_payload: true, format: format::APPLICATION, control, .. } => {
                    if let Some(bits) = rtcp::estimated_bitrate(control) {
                        self.estimate.handle_remb(bits);
                    }
                }
                _ => {}
            }
        }
        let again = lost_picture && self.handle_lost_picture(now);
        again || self.has_repairs()
    }

    fn is_picture(&self, ssrc: u32) -> bool {
        self.lines.first().is_some_and(|line| line.kind == MediaKind::Video && line.is(ssrc))
    }

    fn handle_block(&mut self, block: &ReportBlock, now: Monotonic) {
        let Some(place) = self.lines.iter().position(|line| line.is(block.ssrc)) else { return };
        let line = &mut self.lines[place];
        let lost = u64::try_from(block.cumulative_lost).unwrap_or(0);
        let more = lost.saturating_sub(line.lost);
        line.lost = lost;
        self.session.packets_lost.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
        if let Some(round_trip) = self.reports.round_trip(block, now) {
            self.round_trip = round_trip;
            self.session.reception.measured(round_trip);
        }
        if place > 0 {
            return;
        }
        let jitter = u64::from(block.jitter) * 1_000_000 / u64::from(line.clock_rate.hz());
        self.session.reception.reported(block.fraction_lost, Duration::from_micros(jitter));
        let (since, octets, before) = self.rate;
        let span = now.since(since);
        if span >= Duration::from_millis(900) {
            let bits = u64::from(line.octets().wrapping_sub(octets)) * 8_000 / (span.as_millis() as u64).max(1);
            // A start burst is no rate.
            let rate =
                if self.burst.is_some() || before == 0 { bits.min(before.max(bits / 2)) } else { (before + bits) / 2 };
            self.rate = (now, line.octets(), rate);
        }
        self.estimate.handle_report(block.fraction_lost, self.rate.2, now);
        self.follow_estimate(now);
    }

    fn handle_nack(&mut self, media: u32, control: &[u8], budget: &mut usize, now: Monotonic) {
        let Some(line) = self.lines.iter_mut().find(|line| line.is(media)) else { return };
        let mut asked = 0;
        for sequence in rtcp::nack_sequences(control).take(*budget) {
            *budget -= 1;
            let known = line.missed(sequence).filter(|index| line.repairable(*index).is_some());
            asked += usize::from(known.is_some_and(|index| line.repairs.ask(index, self.round_trip, now)));
        }
        if let Some(burst) = &mut self.burst {
            burst.lost += asked;
            if burst.lost >= BURST_LOSS && burst.lost > burst.sent / 5 {
                *budget = 0;
                self.handle_lost_burst(now);
            }
        }
    }

    /// When packets of a start arrived: it goes on as fast as the line lets it, and what its viewer cannot know that it
    /// misses is sent again.
    fn handle_arrivals(&mut self, control: &[u8], now: Monotonic) {
        let (Some(gauge), Some(line)) = (&mut self.gauge, self.lines.first_mut()) else { return };
        let own = |line: &Line, (number, came)| line.missed(number).map(|index| (index, came));
        let mut arrivals = transport_feedback::arrivals(control).filter_map(|arrival| own(line, arrival)).peekable();
        let Some(&(first, _)) = arrivals.peek() else { return };
        let verdict = gauge.handle_report(arrivals, self.pacer.burst_rate(), now);
        match verdict {
            Some(Verdict::Narrow { rate, wait }) => self.pacer.narrow(rate, wait, now),
            Some(Verdict::Clear) => self.pacer.widen(),
            None => {}
        }
        for index in gauge.lost_head(first).take(HEAD_MAX) {
            if line.repairable(index).is_some() {
                line.repairs.ask(index, self.round_trip, now);
            }
        }
    }

    /// The line is narrower than the burst. It comes once more, slower; if that is lost too, motion begins at the next
    /// random access point.
    fn handle_lost_burst(&mut self, now: Monotonic) {
        if self.pacer.slow_down(now) && self.begin_again(now) {
            self.no_picture_before = now + AFTER_SLOWING_DOWN;
        } else {
            self.give_up_burst();
            self.no_picture_before = now + AFTER_LOST_BURST;
        }
    }

    /// The viewer cannot show what it gets: it is sent the newest random access point, and what follows where that is
    /// within the bounds of a burst.
    fn handle_lost_picture(&mut self, now: Monotonic) -> bool {
        if now < self.no_picture_before {
            return false;
        }
        self.no_picture_before = now + PICTURE_EVERY;
        self.begin_again(now)
    }

    pub(super) fn has_repairs(&self) -> bool {
        self.lines.iter().any(|line| !line.repairs.is_empty())
    }

    /// Sends one run of lost packets again; whether more wait.
    pub(super) fn repair<O: FnMut(&[u8], usize) -> Taken>(&mut self, turn: &mut Turn<'_, O>) -> bool {
        for place in 0..self.lines.len() {
            turn.buffer.clear();
            let (mut segment, mut packets) = (0, 0);
            while packets < turn.segments.max(1) && turn.buffer.len() < REPAIR_RUN {
                let line = &mut self.lines[place];
                let Some(index) = line.repairs.next() else { break };
                let Some(numbered) = line.repairable(index) else { continue };
                let origin = numbered.origin;
                let Some(feed) = self.feeds.iter().find(|feed| feed.reader.ring() == origin.ring) else { continue };
                let found = feed.reader.packet(origin.track, origin.generation, numbered.packet);
                let Some((unit, at)) = found else { continue };
                let start = turn.buffer.len();
                if !line.seal_again(&mut self.sealer, (&unit, at), index, numbered.clock, turn.buffer) {
                    continue;
                }
                let size = turn.buffer.len() - start;
                line.repairs.sent(index, size, turn.now);
                if packets > 0 && size > segment {
                    // It does not fit this run: what is there leaves first.
                    self.flush(&turn.buffer[..start], segment, packets, &mut turn.out);
                    turn.buffer.drain(..start);
                    packets = 0;
                }
                segment = if packets == 0 { size } else { segment };
                packets += 1;
                if size < segment {
                    break;
                }
            }
            self.flush(turn.buffer, segment, packets, &mut turn.out);
        }
        self.has_repairs()
    }

    fn flush<O: FnMut(&[u8], usize) -> Taken>(&self, run: &[u8], segment: usize, packets: usize, out: &mut O) {
        if packets > 0 && out(run, segment) == Taken::Sent {
            self.session.sent(packets as u64, run.len() as u64);
            self.session.reception.repaired(packets as u64);
        }
    }

    /// Moves between the renditions as the path allows.
    fn follow_estimate(&mut self, now: Monotonic) {
        let current = self.rendition();
        let wish = self.estimate.wish(now);
        if self.renditions.adapts && wish != current && !self.seek(wish, now) {
            self.estimate.refused();
        }
    }

    /// Which rendition its pictures are of.
    pub(super) fn rendition(&self) -> Rendition {
        self.lines.first().map_or(Rendition::Main, |line| self.feeds[line.feed].rendition)
    }
}
