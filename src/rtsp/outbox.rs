//! What waits to be written on one RTSP connection: whole answers, and the packets of units as `$` frames (RFC 2326
//! §10.12). Sans-IO: it gathers slices for one vectored write, and is told how many bytes were taken.
//!
//! No payload is copied and nothing is allocated per write: the slices point into the shared units, and the heads —
//! frame, RTP header, head of the fragment — are made anew on the stack for every attempt. An answer is never put
//! inside a frame, and a frame that was begun is finished first (RT-09).
//!
//! It holds what the ring gave at one look, never more ([`crate::hub::BATCH`]).

use std::io::IoSlice;

use super::{sending::Stamped, session::Reply};
use crate::{media::plan, rtp::packet};

/// Packets that one write takes at most.
const PACKETS: usize = 64;
/// Slices that one write takes at most: a head and a body for each packet, and the answers.
pub(super) const SLICES: usize = 2 * PACKETS + 1;
/// `$`, the channel and a length.
const FRAME_LEN: usize = 4;
const HEAD_LEN: usize = FRAME_LEN + packet::HEADER_LEN + plan::HEAD_MAX;

/// Room for the heads of one write.
pub(super) struct Heads {
    bytes: [[u8; HEAD_LEN]; PACKETS],
    lens: [u8; PACKETS],
}

impl Heads {
    pub(super) const fn new() -> Self {
        Self { bytes: [[0; HEAD_LEN]; PACKETS], lens: [0; PACKETS] }
    }
}

/// What a write accomplished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Packets finished.
    pub(super) packets: u64,
    /// Bytes of packets, their frames included.
    pub(super) bytes: u64,
}

/// The outgoing side of one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Answers and reports, each whole.
    control: Vec<u8>,
    control_at: usize,
    units: Vec<Stamped>,
    at: Place,
}

/// The packet to go on with, and how much of it was written.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    unit: usize,
    fragment: usize,
    offset: usize,
}

impl Outbox {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.control.is_empty()
    }

    /// Whether no packet waits.
    pub(super) fn has_no_media(&self) -> bool {
        self.units.is_empty()
    }

    /// Bytes of answers that wait; whoever asks and does not read is not read any further.
    pub(super) fn control_pending(&self) -> usize {
        self.control.len() - self.control_at
    }

    /// Adds the packets of a unit.
    pub(super) fn put(&mut self, stamped: Stamped) {
        self.units.push(stamped);
    }

    /// Adds an answer.
    pub(super) fn put_reply(&mut self, reply: &Reply) {
        // Writing into memory does not fail.
        let _ = reply.write(&mut self.control);
    }

    /// Adds bytes that are an answer of another protocol.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.control.extend_from_slice(bytes);
    }

    /// Adds a `$` frame of its own: RTCP.
    pub(super) fn put_frame(&mut self, channel: u8, payload: &[u8]) {
        let Ok(len) = u16::try_from(payload.len()) else { return };
        let [high, low] = len.to_be_bytes();
        self.control.extend_from_slice(&[b'$', channel, high, low]);
        self.control.extend_from_slice(payload);
    }

    /// Drops every unit of which nothing was written, the newest first.
    pub(super) fn shed(&mut self, mut dropped: impl FnMut(&Stamped)) {
        let begun = self.at.fragment > 0 || self.at.offset > 0;
        let keep = self.at.unit + usize::from(begun);
        while self.units.len() > keep {
            if let Some(stamped) = self.units.pop() {
                dropped(&stamped);
            }
        }
        self.tidy();
    }

    /// Drops the units of a track of which nothing was written.
    pub(super) fn drop_track(&mut self, ssrc: u32) {
        let (at, mut index) = (self.at, 0);
        self.units.retain(|stamped| {
            let written = index < at.unit || (index == at.unit && (at.fragment > 0 || at.offset > 0));
            index += 1;
            written || stamped.ssrc != ssrc
        });
        self.tidy();
    }

    /// Puts what is to be written next into `slices`; how many there are.
    pub(super) fn gather<'a>(&'a self, heads: &'a mut Heads, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut packets = 0;
        for stamped_fragment in self.packets().take(PACKETS) {
            heads.lens[packets] = head(&mut heads.bytes[packets], stamped_fragment);
            packets += 1;
        }
        let heads: &'a Heads = heads;
        let mut count = 0;
        let mut push = |slice: &'a [u8]| {
            if !slice.is_empty() {
                slices[count] = IoSlice::new(slice);
                count += 1;
            }
        };
        let control = &self.control[self.control_at..];
        if self.at.offset == 0 {
            push(control);
        }
        for (number, (stamped, fragment)) in self.packets().take(packets).enumerate() {
            let head = &heads.bytes[number][..usize::from(heads.lens[number])];
            let body = stamped.unit.slice(&stamped.unit.plan.fragments[fragment]);
            let written = if number == 0 { self.at.offset } else { 0 };
            push(head.get(written..).unwrap_or_default());
            push(body.get(written.saturating_sub(head.len())..).unwrap_or_default());
            if number == 0 && written > 0 {
                push(control);
            }
        }
        count
    }

    /// So many bytes of what [`Outbox::gather`] gave were taken.
    pub(super) fn advance(&mut self, mut taken: usize) -> Written {
        let mut written = Written::default();
        if self.at.offset > 0 {
            taken = self.advance_packet(taken, &mut written);
        }
        if self.at.offset == 0 {
            let control = taken.min(self.control_pending());
            self.control_at += control;
            taken -= control;
            if self.control_pending() == 0 {
                // An idle connection holds no buffer.
                (self.control, self.control_at) = (Vec::new(), 0);
            }
        }
        while taken > 0 && self.at.unit < self.units.len() {
            taken = self.advance_packet(taken, &mut written);
        }
        self.tidy();
        written
    }

    /// Goes on within the packet at hand; what is left of `taken` behind it.
    fn advance_packet(&mut self, taken: usize, written: &mut Written) -> usize {
        let Some(stamped) = self.units.get(self.at.unit) else { return 0 };
        let fragments = &stamped.unit.plan.fragments;
        let len = packet_len(stamped, self.at.fragment);
        let step = taken.min(len - self.at.offset);
        self.at.offset += step;
        written.bytes += step as u64;
        if self.at.offset == len {
            written.packets += 1;
            self.at = Place { fragment: self.at.fragment + 1, offset: 0, ..self.at };
            if self.at.fragment == fragments.len() {
                self.at = Place { unit: self.at.unit + 1, fragment: 0, offset: 0 };
            }
        }
        taken - step
    }

    fn tidy(&mut self) {
        if self.at.unit >= self.units.len() {
            self.units.clear();
            self.at = Place::default();
        }
    }

    /// The packets that wait, the one that was begun first.
    fn packets(&self) -> impl Iterator<Item = (&Stamped, usize)> {
        self.units.iter().enumerate().skip(self.at.unit).flat_map(|(index, stamped)| {
            let first = if index == self.at.unit { self.at.fragment } else { 0 };
            (first..stamped.unit.plan.fragments.len()).map(move |fragment| (stamped, fragment))
        })
    }
}

fn packet_len(stamped: &Stamped, fragment: usize) -> usize {
    let fragment = &stamped.unit.plan.fragments[fragment];
    FRAME_LEN + packet::HEADER_LEN + fragment.head().len() + stamped.unit.slice(fragment).len()
}

/// Writes frame, RTP header and fragment head; their length.
fn head(into: &mut [u8; HEAD_LEN], (stamped, number): (&Stamped, usize)) -> u8 {
    let fragment = &stamped.unit.plan.fragments[number];
    let [high, low] = ((packet_len(stamped, number) - FRAME_LEN) as u16).to_be_bytes();
    into[..FRAME_LEN].copy_from_slice(&[b'$', stamped.channel, high, low]);
    let header = packet::Header {
        marker: fragment.marker(),
        payload_type: stamped.payload_type,
        sequence: stamped.sequence.wrapping_add(number as u16),
        timestamp: stamped.timestamp,
        ssrc: stamped.ssrc,
    };
    into[FRAME_LEN..FRAME_LEN + packet::HEADER_LEN].copy_from_slice(&header.bytes());
    let len = FRAME_LEN + packet::HEADER_LEN + fragment.head().len();
    into[FRAME_LEN + packet::HEADER_LEN..len].copy_from_slice(fragment.head());
    len as u8
}
