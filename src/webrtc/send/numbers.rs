//! The numbers one media line gives its packets, and what each of them stands for. Sans-IO.
//!
//! An *index* is the 48-bit packet index of SRTP (RFC 3711 §3.3.1): roll-over counter and sequence number. Indices go
//! up without gaps, whatever is sent. A *span* maps a run of them to packets of a track in a ring; each jump (lag, a
//! step back to a random access point, another rendition) opens one, and the newest eight are kept. An index stands for
//! one packet for ever: what was given out is used, sent or not.

use crate::{
    hub::RingKey,
    media::{MediaTime, TrackId},
};

/// Spans kept; a lost packet of an older one is not found any more.
const SPANS: usize = 8;

/// A track of a ring, as far as its packets are numbered in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) ring: RingKey,
    pub(super) track: TrackId,
    pub(super) generation: u32,
}

/// How times of a ring become times of the viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanClock {
    /// Added to every time.
    pub(super) shift: MediaTime,
    /// Pictures that lie behind what was sent already follow it closely, so that timestamps never run back.
    pub(super) squeeze: Option<Squeeze>,
}

/// Times from `base` up to `floor` are put right behind `floor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Squeeze {
    pub(super) base: MediaTime,
    pub(super) floor: MediaTime,
}

/// Four hundred squeezed pictures, the bound of a burst, take less than one true interval between pictures.
const SQUEEZED: i64 = 1024;

/// A tick of the video clock.
const TICK: MediaTime = MediaTime::from_flicks(crate::media::time::FLICKS_PER_SECOND / 90_000);

impl SpanClock {
    /// A time of the ring as the viewer's.
    pub(super) fn place(&self, time: MediaTime) -> MediaTime {
        let time = time + self.shift;
        match self.squeeze {
            Some(Squeeze { base, floor }) if time <= floor => {
                let behind = (time - base).flicks().max(0) / SQUEEZED;
                floor + TICK + MediaTime::from_flicks(behind)
            }
            _ => time,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    origin: Origin,
    first_packet: u64,
    first_index: u64,
    clock: SpanClock,
}

/// What an index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) origin: Origin,
    /// The packet's number on its track.
    pub(super) packet: u64,
    /// What gave it its timestamp.
    pub(super) clock: SpanClock,
}

/// The numbers of one line.
#[derive(Debug)]
pub(super) struct Numbers {
    first: u64,
    next: u64,
    /// The oldest first.
    spans: [Option<Span>; SPANS],
}

impl Numbers {
    /// Begins with a sequence number. It should lie below 2¹⁵: a receiver has to guess the roll-over counter, and takes
    /// it for zero if the first packets are lost and the numbers do not wrap soon (RFC 3711 §3.3.1).
    pub(super) const fn new(first: u16) -> Self {
        let first = (first & 0x7fff) as u64;
        Self { first, next: first, spans: [None; SPANS] }
    }

    /// The index of the next packet.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Gives `count` packets of a track, from `packet` on, their indices. The first of them comes back with the clock
    /// of its span, which is `clock` if a span begins here.
    pub(super) fn take(&mut self, origin: Origin, packet: u64, count: u64, clock: SpanClock) -> (u64, SpanClock) {
        let index = self.next;
        self.next += count;
        if let Some(span) = self.newest() {
            let follows = span.origin == origin && packet == span.first_packet + (index - span.first_index);
            let same_clock = span.clock.shift == clock.shift && (clock.squeeze.is_none() || span.clock == clock);
            if follows && same_clock {
                return (index, span.clock);
            }
        }
        self.spans.rotate_left(1);
        self.spans[SPANS - 1] = Some(Span { origin, first_packet: packet, first_index: index, clock });
        (index, clock)
    }

    fn newest(&self) -> Option<&Span> {
        self.spans[SPANS - 1].as_ref()
    }

    /// The index a 16-bit sequence number means: the newest that was given out. `None` if it never was.
    pub(super) fn index_of(&self, sequence: u16) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        let back = u64::from((newest as u16).wrapping_sub(sequence));
        newest.checked_sub(back).filter(|index| *index >= self.first)
    }

    /// What an index that was given out stands for, unless that is too long ago.
    pub(super) fn find(&self, index: u64) -> Option<Numbered> {
        if index >= self.next {
            return None;
        }
        let span = self.spans.iter().rev().flatten().find(|span| span.first_index <= index)?;
        let packet = span.first_packet + (index - span.first_index);
        Some(Numbered { origin: span.origin, packet, clock: span.clock })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn origin(ring: usize, track: u8) -> Origin {
        Origin { ring: RingKey::for_test(ring), track: TrackId(track), generation: 1 }
    }

    fn at(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    #[test]
    fn numbers_are_contiguous_over_jumps_and_lead_back_to_their_packets() {
        let mut numbers = Numbers::new(0xfffe);
        assert_eq!(numbers.next(), 0x7ffe, "below 2^15");
        let clock = SpanClock::default();
        assert_eq!(numbers.take(origin(1, 0), 500, 3, clock).0, 0x7ffe);
        assert_eq!(numbers.take(origin(1, 0), 503, 2, clock).0, 0x8001);
        assert_eq!(numbers.take(origin(1, 0), 900, 2, clock).0, 0x8003, "a jump");
        assert_eq!(numbers.take(origin(2, 0), 902, 1, clock).0, 0x8005, "another rendition");
        let found: Vec<_> = (0x7ffe..0x8006).map(|index| numbers.find(index).unwrap()).collect();
        assert_eq!(
            found.iter().map(|found| found.packet).collect::<Vec<_>>(),
            [500, 501, 502, 503, 504, 900, 901, 902]
        );
        assert_eq!((found[6].origin, found[7].origin), (origin(1, 0), origin(2, 0)));
        assert!(numbers.find(0x8006).is_none(), "not given out");
    }

    #[test]
    fn a_number_that_was_never_sent_is_told_from_one_that_wrapped() {
        let mut numbers = Numbers::new(100);
        assert_eq!(numbers.index_of(100), None);
        numbers.take(origin(1, 0), 0, 10, SpanClock::default());
        assert_eq!(numbers.index_of(100), Some(100));
        assert_eq!(numbers.index_of(109), Some(109));
        assert_eq!((numbers.index_of(99), numbers.index_of(110)), (None, None));
        numbers.take(origin(1, 0), 10, 70_000, SpanClock::default());
        assert_eq!(numbers.index_of(109), Some(0x1_0000 + 109), "the newest with these bits");
        assert_eq!(numbers.index_of((numbers.next() - 1) as u16), Some(numbers.next() - 1));
    }

    #[test]
    fn only_the_newest_spans_are_kept() {
        let mut numbers = Numbers::new(0);
        for jump in 0..=SPANS as u64 {
            numbers.take(origin(1, 0), jump * 1000, 1, SpanClock::default());
        }
        assert!(numbers.find(0).is_none());
        assert_eq!(numbers.find(1).unwrap().packet, 1000);
    }

    #[test]
    fn times_that_lie_behind_are_squeezed_and_never_run_back() {
        let squeeze = Some(Squeeze { base: at(1000), floor: at(11_000) });
        let clock = SpanClock { shift: at(0), squeeze };
        let ticks = |millis| clock.place(at(millis)).ticks(crate::media::ClockRate::VIDEO);
        let placed: Vec<_> = (0..=275).map(|picture| ticks(1000 + picture * 40)).collect();
        assert!(placed.is_sorted_by(|a, b| a < b), "{placed:?}");
        assert_eq!(placed[275], 12_000 * 90, "true again");
        assert!(placed[250] < 11_015 * 90);
        assert!(ticks(900) > 11_000 * 90, "a picture shown before its random access point");
        let shifted = SpanClock { shift: at(-500), squeeze: None };
        assert_eq!(shifted.place(at(700)), at(200));
    }

    proptest! {
        #[test]
        fn no_index_ever_stands_for_two_packets(
            first: u16,
            steps in proptest::collection::vec((0..3_usize, 0..2_u8, 0..50_u64, 1..40_u64, any::<bool>()), 1..200),
        ) {
            let mut numbers = Numbers::new(first);
            let mut given = HashMap::new();
            let mut next_packet = HashMap::new();
            for (ring, track, jump, count, follow) in steps {
                let origin = origin(ring, track);
                let next = next_packet.entry((ring, track)).or_insert(0);
                let packet = if follow { *next } else { jump };
                let (index, clock) = numbers.take(origin, packet, count, SpanClock::default());
                *next = packet + count;
                for offset in 0..count {
                    let stands_for = Numbered { origin, packet: packet + offset, clock };
                    prop_assert!(given.insert(index + offset, stands_for).is_none(), "given out twice");
                }
            }
            for (index, stands_for) in given {
                if let Some(found) = numbers.find(index) {
                    prop_assert_eq!(found, stands_for);
                }
            }
        }
    }
}
