//! One negotiated media line: its numbers, its clock, its headers, and sealing runs of its packets. Sans-IO.
//!
//! A run leaves in one call with segmentation offload: its packets have one size, but the last, which may be smaller.
//! An extension stands on all packets of a run or on none (RFC 8285 §4.2, one-byte form).
//!
//! It is a little long since everything a packet's bytes are made of stands in one place, but for its extension.

use std::{sync::Arc, time::Duration};

use super::{
    extension::{Extension, short_id},
    numbers::{Numbered, Numbers, Origin, SpanClock, Squeeze},
    repair::Repairs,
};
use crate::{
    base::{Monotonic, WallTime},
    hub::RingKey,
    media::{ClockRate, Codec, Fragment, MediaKind, MediaTime, TrackId, TrackSet, Unit},
    net::udp::CALL_MAX,
    rtp::{
        packet::{HEADER_LEN, Header},
        rtcp::SenderReport,
    },
    webrtc::{sdp::ChosenLine, srtp::Sealer},
};

/// What seals packets; a trait so that tests see what is sealed.
pub(super) trait Seal {
    /// Bytes that sealing appends to a packet.
    fn overhead(&self) -> usize;
    /// [`Sealer::seal`].
    fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64);
    /// [`Sealer::seal_rtcp`].
    fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize);
}

impl Seal for Sealer {
    fn overhead(&self) -> usize {
        Self::overhead(self)
    }

    fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
        Self::seal(self, buffer, start, header_len, ssrc, index);
    }

    fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) {
        Self::seal_rtcp(self, buffer, start);
    }
}

/// Bytes of one call for live media.
const LIVE_RUN: usize = CALL_MAX;
/// Bytes of one call within a start burst, which is paced.
const BURST_RUN: usize = 16 << 10;
/// How often a capture time is told.
const CAPTURE_EVERY: Duration = Duration::from_secs(1);
/// How often at most it is told at random access points.
const CAPTURE_SPACING: Duration = Duration::from_millis(250);
/// What padding can fill up (RFC 3550 §5.1: its count is a byte).
const PADDING_MAX: usize = 255;

/// A unit that has its numbers and is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// The index of its first packet.
    pub(super) index: u64,
    timestamp: u32,
    extension: Extension,
    /// How many of its packets were sent.
    pub(super) sent: usize,
    /// Its time on the viewer's timeline, if that is its true one.
    pub(super) true_time: Option<MediaTime>,
}

impl Begun {
    /// Bytes of the header of its packets.
    pub(super) fn header_len(&self) -> usize {
        HEADER_LEN + self.extension.len()
    }
}

/// Packets that leave in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) packets: usize,
    pub(super) segment: usize,
    pub(super) bytes: usize,
}

/// Retransmissions: numbers of their own (RFC 4588).
#[derive(Debug)]
struct Rtx {
    payload_type: u8,
    ssrc: u32,
    next: u64,
}

/// The state of one line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: MediaKind,
    pub(super) ssrc: u32,
    /// The place of the feed its units come from.
    pub(super) feed: usize,
    /// The track they are of.
    pub(super) track: TrackId,
    pub(super) clock_rate: ClockRate,
    /// How times of the feed become the viewer's.
    pub(super) clock: SpanClock,
    /// Pictures are left out until a random access point.
    pub(super) skipping: bool,
    pub(super) repairs: Repairs,
    /// Packets the viewer has reported as lost.
    pub(super) lost: u64,
    /// What was lost before this index is not needed any more.
    needed_from: u64,
    codec: Codec,
    transcoded: bool,
    payload_type: u8,
    rtx: Option<Rtx>,
    numbers: Numbers,
    /// The RTP timestamp of the viewer's time zero.
    zero: u32,
    /// The latest time sent.
    newest: Option<MediaTime>,
    packets: u32,
    octets: u32,
    capture_id: Option<u8>,
    playout_id: Option<u8>,
    transport_id: Option<u8>,
    capture_told: Option<Monotonic>,
}

/// Where the numbers of a line begin; random, so that they cannot be guessed (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) sequence: u16,
    pub(super) rtx_sequence: u16,
    pub(super) timestamp: u32,
}

impl Line {
    /// The line of `chosen`, its units coming from the first feed; `None` if that has no such track.
    pub(super) fn new(chosen: &ChosenLine, tracks: &TrackSet, beginning: Beginning) -> Option<Self> {
        let clock_rate = ClockRate::new(chosen.clock_rate)?;
        let rtx = chosen.rtx_payload_type.map(|payload_type| Rtx {
            payload_type,
            ssrc: chosen.rtx_ssrc,
            next: u64::from(beginning.rtx_sequence & 0x7fff),
        });
        let mut line = Self {
            kind: chosen.kind,
            ssrc: chosen.ssrc,
            feed: 0,
            track: chosen.track,
            clock_rate,
            clock: SpanClock::default(),
            skipping: false,
            repairs: Repairs::new(),
            lost: 0,
            needed_from: 0,
            codec: chosen.codec,
            transcoded: chosen.transcoded,
            payload_type: chosen.payload_type,
            rtx,
            numbers: Numbers::new(beginning.sequence),
            zero: beginning.timestamp,
            newest: None,
            packets: 0,
            octets: 0,
            capture_id: short_id(chosen.abs_capture_time),
            playout_id: short_id(chosen.playout_delay).filter(|_| chosen.kind == MediaKind::Video),
            transport_id: short_id(chosen.transport_cc).filter(|_| chosen.kind == MediaKind::Video),
            capture_told: None,
        };
        line.track = line.resolve(tracks)?;
        Some(line)
    }

    /// The track of a list that may go over this line without another negotiation; the one it has, if that may.
    pub(super) fn resolve(&self, tracks: &TrackSet) -> Option<TrackId> {
        let fits = |id: TrackId| {
            let track = tracks.track(id).filter(|track| track.kind == self.kind && !track.is_opaque())?;
            // What is made here flows only while the session asked for it.
            let made = track.is_derived() == self.transcoded;
            (made && track.codec() == self.codec && track.clock_rate == self.clock_rate).then_some(id)
        };
        fits(self.track).or_else(|| tracks.tracks.iter().find_map(|track| fits(track.id)))
    }

    /// Whether it may take its units from another rendition: what this server makes itself stays where it is made.
    pub(super) const fn may_move(&self) -> bool {
        !self.transcoded
    }

    /// Whether `ssrc` is this line's, as its retransmissions' it is not.
    pub(super) const fn is(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc
    }

    /// Whether the viewer can say when its packets arrived.
    pub(super) const fn is_gauged(&self) -> bool {
        self.transport_id.is_some()
    }

    /// Gives a unit its numbers. `None` for sound that was heard before, as after a switch. `gauged`: the viewer is to
    /// say when its packets arrived.
    pub(super) fn begin(
        &mut self,
        ring: RingKey,
        unit: &Unit,
        gauged: bool,
        now: Monotonic,
        wall: WallTime,
    ) -> Option<Begun> {
        let time = unit.pts + self.clock.shift;
        let behind = self.newest.is_some_and(|newest| time <= newest);
        if self.kind == MediaKind::Audio && behind {
            return None;
        }
        if unit.random_access && self.kind == MediaKind::Video {
            let floor = self.newest.filter(|_| behind);
            self.clock.squeeze = floor.map(|floor| Squeeze { base: time, floor });
        }
        let origin = Origin { ring, track: unit.track.id, generation: unit.track.generation };
        let first = self.packets == 0;
        let (index, clock) = self.numbers.take(origin, unit.plan.first_packet, unit.plan.packets(), self.clock);
        let placed = clock.place(unit.pts);
        self.newest = self.newest.max(Some(placed));
        self.packets = self.packets.wrapping_add(unit.plan.fragments.len() as u32);
        self.octets = self.octets.wrapping_add(unit.plan.payload_len() as u32);
        let extension = self.extension(unit, first, now, wall);
        let extension = match self.transport_id.filter(|_| gauged) {
            Some(id) => extension.with_number(id),
            None => extension,
        };
        let true_time = (placed == time).then_some(time);
        Some(Begun { index, timestamp: self.timestamp(placed), extension, sent: 0, true_time })
    }

    fn extension(&mut self, unit: &Unit, first: bool, now: Monotonic, wall: WallTime) -> Extension {
        if let Some(id) = self.playout_id.filter(|_| first) {
            return Extension::NONE.with_playout_delay(id);
        }
        let Some(id) = self.capture_id else { return Extension::NONE };
        let spacing = if unit.random_access && self.kind == MediaKind::Video { CAPTURE_SPACING } else { CAPTURE_EVERY };
        // What leaves together has one length of header.
        if self.capture_told.is_some_and(|told| told != now && now.since(told) < spacing) {
            return Extension::NONE;
        }
        self.capture_told = Some(now);
        Extension::NONE.with_capture_time(id, captured(unit, now, wall))
    }

    fn timestamp(&self, time: MediaTime) -> u32 {
        self.zero.wrapping_add(time.ticks(self.clock_rate) as u32)
    }

    /// The packets of a unit that leave next.
    pub(super) fn run(&self, unit: &Unit, begun: &Begun, overhead: usize, segments: usize, burst: bool) -> Run {
        let around = HEADER_LEN + begun.extension.len() + overhead;
        let most = if burst { BURST_RUN } else { LIVE_RUN };
        let mut run = Run { packets: 0, segment: 0, bytes: 0 };
        for fragment in unit.plan.fragments.iter().skip(begun.sent).take(segments.max(1)) {
            let size = around + fragment.payload_len();
            if run.packets == 0 {
                run.segment = size;
            } else if size > run.segment || run.bytes + size > most {
                break;
            }
            (run.packets, run.bytes) = (run.packets + 1, run.bytes + size);
            if size < run.segment {
                break;
            }
        }
        run
    }

    /// Seals the next `packets` packets of a unit into `buffer`.
    pub(super) fn seal<S: Seal>(
        &self,
        sealer: &mut S,
        unit: &Unit,
        begun: &mut Begun,
        packets: usize,
        buffer: &mut Vec<u8>,
    ) {
        let fragments = unit.plan.fragments.iter().skip(begun.sent).take(packets);
        for (index, fragment) in (begun.index + begun.sent as u64..).zip(fragments) {
            self.seal_packet(sealer, unit, fragment, index, begun, 0, buffer);
        }
        begun.sent += packets;
    }

    /// Seals sound: each of `units` one packet, all filled up to the size of the largest, so that they are one run. The
    /// last need not be. `segment` is the largest payload.
    pub(super) fn seal_sound<'a, S: Seal>(
        &self,
        sealer: &mut S,
        units: impl Iterator<Item = (&'a Arc<Unit>, &'a Begun)>,
        (segment, last): (usize, usize),
        buffer: &mut Vec<u8>,
    ) {
        for (place, (unit, begun)) in units.enumerate() {
            let Some(fragment) = unit.plan.fragments.first() else { continue };
            let padding =
                if place == last { 0 } else { segment.saturating_sub(fragment.payload_len()).min(PADDING_MAX) };
            self.seal_packet(sealer, unit, fragment, begun.index, begun, padding, buffer);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where everything about a packet meets")]
    fn seal_packet<S: Seal>(
        &self,
        sealer: &mut S,
        unit: &Unit,
        fragment: &Fragment,
        index: u64,
        begun: &Begun,
        padding: usize,
        buffer: &mut Vec<u8>,
    ) {
        let start = buffer.len();
        let header = Header {
            marker: fragment.marker(),
            payload_type: self.payload_type,
            sequence: index as u16,
            timestamp: begun.timestamp,
            ssrc: self.ssrc,
        };
        let mut header = header.bytes();
        let extension = begun.extension.bytes();
        header[0] |= if extension.is_empty() { 0 } else { 0x10 } | if padding == 0 { 0 } else { 0x20 };
        buffer.extend_from_slice(&header);
        buffer.extend_from_slice(extension);
        if let Some(at) = begun.extension.number_at {
            let at = start + HEADER_LEN + usize::from(at);
            buffer[at..at + 2].copy_from_slice(&(index as u16).to_be_bytes());
        }
        buffer.extend_from_slice(fragment.head());
        buffer.extend_from_slice(unit.slice(fragment));
        if padding > 0 {
            // RFC 3550 §5.1: the last byte counts the padding, itself included.
            buffer.resize(buffer.len() + padding - 1, 0);
            buffer.push(padding as u8);
        }
        sealer.seal(buffer, start, HEADER_LEN + extension.len(), self.ssrc, index);
    }

    /// A viewer misses a packet: its index, if it was ever sent.
    pub(super) fn missed(&self, sequence: u16) -> Option<u64> {
        self.numbers.index_of(sequence)
    }

    /// It goes back to a random access point, after which nothing before is needed any more.
    pub(super) fn begin_again(&mut self) {
        (self.skipping, self.needed_from) = (false, self.numbers.next());
        self.repairs.clear();
    }

    /// What an index stands for, if it can be sent again and is of use.
    pub(super) fn repairable(&self, index: u64) -> Option<Numbered> {
        self.rtx.as_ref().filter(|_| index >= self.needed_from)?;
        self.numbers.find(index)
    }

    /// Seals a packet again, as retransmission; `false` where none was agreed.
    pub(super) fn seal_again<S: Seal>(
        &mut self,
        sealer: &mut S,
        (unit, place): (&Unit, usize),
        index: u64,
        clock: SpanClock,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let timestamp = self.timestamp(clock.place(unit.pts));
        let (Some(rtx), Some(fragment)) = (&mut self.rtx, unit.plan.fragments.get(place)) else { return false };
        let start = buffer.len();
        let header = Header {
            marker: fragment.marker(),
            payload_type: rtx.payload_type,
            sequence: rtx.next as u16,
            timestamp,
            ssrc: rtx.ssrc,
        };
        buffer.extend_from_slice(&header.bytes());
        // RFC 4588 §4: the original sequence number, then the original payload.
        buffer.extend_from_slice(&(index as u16).to_be_bytes());
        buffer.extend_from_slice(fragment.head());
        buffer.extend_from_slice(unit.slice(fragment));
        sealer.seal(buffer, start, HEADER_LEN, rtx.ssrc, rtx.next);
        rtx.next += 1;
        true
    }

    /// What it says of itself at one moment of the viewer's timeline.
    pub(super) fn report(&self, time: MediaTime, wall: WallTime) -> SenderReport {
        let (packets, octets) = (self.packets, self.octets);
        SenderReport { ssrc: self.ssrc, ntp: wall.to_ntp(), rtp_timestamp: self.timestamp(time), packets, octets }
    }

    /// Payload bytes sent, modulo 2³².
    pub(super) const fn octets(&self) -> u32 {
        self.octets
    }
}

/// When a unit was taken: as its camera says, else when it came.
pub(super) fn captured(unit: &Unit, now: Monotonic, wall: WallTime) -> WallTime {
    let ago = || i64::try_from(now.since(unit.arrived).as_nanos()).unwrap_or(i64::MAX);
    unit.captured.unwrap_or_else(|| wall.plus_nanos(-ago()))
}
