//! What waits to be written on one RTSP connection: whole answers, and the packets of units as `$` frames (RFC 2326
//! §10.12). Sans-IO: it gathers slices for one vectored write, and is told how many bytes were taken.
//!
//! No payload is copied and nothing is allocated per write: the slices point into the shared units, and the heads —
//! frame, RTP header, head of the fragment — are made anew on the stack for every attempt. An answer is never put
//! inside a frame, and a frame that was begun is finished first (RT-09).
//!
//! It holds what the ring gave at one look, never more ([`crate::hub::BATCH`]).

use std::io::IoSlice;

use super::{answer::Reply, sending::Stamped};
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
    /// Packets that the network does not carry.
    pub(super) refused: u64,
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
    into[FRAME_LEN..FRAME_LEN + packet::HEADER_LEN].copy_from_slice(&stamped.header(number, fragment).bytes());
    let len = FRAME_LEN + packet::HEADER_LEN + fragment.head().len();
    into[FRAME_LEN + packet::HEADER_LEN..len].copy_from_slice(fragment.head());
    len as u8
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;
    use rtsp_types::StatusCode;

    use super::*;
    use crate::{
        base::Monotonic,
        media::{
            ClockRate, CodecParameters, Fragment, MediaKind, MediaTime, PictureSize, Plan, Track, TrackId, Unit,
            plan::Body,
        },
        rtsp::{
            answer,
            framing::{Framing, Incoming},
        },
    };

    /// A unit of so many packets, each with a head of its number's length and a body of `len` bytes.
    fn stamped(packets: usize, len: usize, sequence: u16, channel: u8) -> Stamped {
        let lead = Bytes::from_static(&[0xaa; 3]);
        let payload: Bytes = (0..packets * len).map(|n| n as u8).collect::<Vec<_>>().into();
        let fragment = |n: usize| {
            let (body, range) = if n == 0 { (Body::Lead, 0..3) } else { (Body::Payload, n * len..(n + 1) * len) };
            Fragment::new(&[7; plan::HEAD_MAX][..n % plan::HEAD_MAX], body, range, n + 1 == packets).unwrap()
        };
        let parameters = CodecParameters::Vp8(PictureSize::default());
        let (kind, clock_rate) = (MediaKind::Video, ClockRate::VIDEO);
        let track =
            Track { id: TrackId(0), kind, clock_rate, parameters, derived_from: None, generation: 0, revision: 0 };
        let unit = Unit {
            track: Arc::new(track),
            index: 0,
            pts: MediaTime::ZERO,
            dts: MediaTime::ZERO,
            captured: None,
            arrived: Monotonic::default(),
            random_access: true,
            after_loss: false,
            spliced: false,
            plan: Plan { first_packet: 0, lead, fragments: (0..packets).map(fragment).collect() },
            payload,
        };
        let ssrc = u32::from(channel);
        Stamped { unit: Arc::new(unit), channel, payload_type: 96, sequence, timestamp: 1, ssrc, backlog: false }
    }

    /// Takes at most `most` bytes, as a socket would.
    fn write(outbox: &mut Outbox, most: usize, out: &mut Vec<u8>) -> Written {
        let mut heads = Heads::new();
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = outbox.gather(&mut heads, &mut slices);
        let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = all.len().min(most);
        out.extend_from_slice(&all[..taken]);
        outbox.advance(taken)
    }

    fn messages(out: &[u8]) -> Vec<Incoming> {
        let mut framing = Framing::default();
        framing.push(out);
        let messages = std::iter::from_fn(|| framing.next_message().unwrap()).collect();
        assert_eq!(framing.pending(), 0, "the last message is whole");
        messages
    }

    #[test]
    fn a_packet_is_its_frame_its_header_its_head_and_its_slice() {
        let mut outbox = Outbox::default();
        outbox.put(stamped(2, 5, 0xffff, 4));
        let mut out = Vec::new();
        assert_eq!(write(&mut outbox, usize::MAX, &mut out), Written { packets: 2, bytes: 19 + 22, refused: 0 });
        let header =
            |marker: u8, sequence: [u8; 2]| [0x80, marker | 96, sequence[0], sequence[1], 0, 0, 0, 1, 0, 0, 0, 4];
        let expected = [
            &b"$\x04\x00\x0f"[..],
            &header(0, [0xff, 0xff]),
            &[0xaa; 3],
            b"$\x04\x00\x12",
            &header(0x80, [0, 0]),
            &[7, 5, 6, 7, 8, 9],
        ];
        assert_eq!(out, expected.concat());
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_was_begun_is_finished_and_the_rest_can_be_dropped() {
        let mut outbox = Outbox::default();
        (0..3).for_each(|n| outbox.put(stamped(3, 100, n * 3, 0)));
        let mut out = Vec::new();
        write(&mut outbox, 50, &mut out);
        outbox.put_reply(&answer::refusal(StatusCode::Ok));
        let mut dropped = Vec::new();
        outbox.shed(|stamped| dropped.push(stamped.sequence));
        assert_eq!(dropped, [6, 3], "the newest first");
        while !outbox.is_empty() {
            write(&mut outbox, 7, &mut out);
        }
        let messages = messages(&out);
        let frames = messages.iter().filter(|message| matches!(message, Incoming::Data { .. })).count();
        assert_eq!((messages.len(), frames), (4, 3), "one unit and the answer");
    }

    #[test]
    fn a_track_that_leaves_takes_its_waiting_units_along() {
        let mut outbox = Outbox::default();
        let units = [(0, 0), (2, 10), (0, 20), (2, 30)];
        units.iter().for_each(|(channel, sequence)| outbox.put(stamped(2, 50, *sequence, *channel)));
        let mut out = Vec::new();
        write(&mut outbox, 10, &mut out);
        outbox.drop_track(0);
        while !outbox.is_empty() {
            write(&mut outbox, 1000, &mut out);
        }
        let channels: Vec<_> = messages(&out)
            .iter()
            .map(|message| match message {
                Incoming::Data { channel, .. } => *channel,
                _ => panic!("no frame"),
            })
            .collect();
        assert_eq!(channels, [0, 0, 2, 2, 2, 2], "the unit that was begun is finished");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn whatever_the_socket_takes_frames_and_answers_stay_whole_rt_09(
            steps in proptest::collection::vec((0_usize..4, 1_usize..200, 1_usize..3000), 1..60),
        ) {
            let (mut outbox, mut out) = (Outbox::default(), Vec::new());
            let (mut sequence, mut answers, mut bytes) = (0_u16, 0, 0);
            for (kind, size, taken) in steps {
                match kind {
                    0 => {
                        outbox.put(stamped(size, 1 + size * 7 % 1100, sequence, 0));
                        sequence = sequence.wrapping_add(size as u16);
                    }
                    1 => {
                        outbox.put_reply(&answer::refusal(StatusCode::Ok));
                        answers += 1;
                    }
                    _ => bytes += write(&mut outbox, taken, &mut out).bytes,
                }
            }
            while !outbox.is_empty() {
                bytes += write(&mut outbox, 10_000, &mut out).bytes;
            }
            let (mut next, mut answered, mut media) = (0_u16, 0, 0);
            for message in messages(&out) {
                match message {
                    Incoming::Data { payload, .. } => {
                        prop_assert_eq!([payload[2], payload[3]], next.to_be_bytes());
                        next = next.wrapping_add(1);
                        media += payload.len() as u64 + 4;
                    }
                    _ => answered += 1,
                }
            }
            prop_assert_eq!((next, answered, media), (sequence, answers, bytes));
        }
    }
}
