//! The queue in front of a depacketiser: packets of one sender that came out of order leave in order (RFC 3550 §5.1).
//!
//! Nothing waits while packets come in order. Behind a gap the rest waits for what is missing, so long and so many as
//! [`Patience`] says; then the gap is a loss, and what comes for it later is dropped, as are duplicates. It knows no
//! packet, only its number.

use std::{collections::BTreeMap, time::Duration};

use super::sequence::{Arrival, SequenceTracker};
use crate::base::Monotonic;

/// How long a gap is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After the first packet behind it.
    pub wait: Duration,
    /// With so many packets behind it.
    pub packets: usize,
}

/// Puts the packets of one sender in order.
#[derive(Debug)]
pub struct Resequencer<T> {
    patience: Patience,
    ssrc: Option<u32>,
    tracker: SequenceTracker,
    /// The number that leaves next.
    next: Option<u64>,
    /// What waits behind a gap, and since when.
    waiting: BTreeMap<u64, (T, Monotonic)>,
}

impl<T> Resequencer<T> {
    /// Nothing seen yet.
    pub fn new(patience: Patience) -> Self {
        Self { patience, ssrc: None, tracker: SequenceTracker::new(), next: None, waiting: BTreeMap::new() }
    }

    /// A packet came; what may leave is given to `out`, in order.
    pub fn handle_packet(&mut self, ssrc: u32, sequence: u16, packet: T, now: Monotonic, mut out: impl FnMut(T)) {
        if self.ssrc.replace(ssrc).is_some_and(|before| before != ssrc) {
            // Another sender counts for itself.
            self.flush(&mut out);
            (self.tracker, self.next) = (SequenceTracker::new(), None);
        }
        let number = match self.tracker.push(sequence) {
            Arrival::Next { number, .. } | Arrival::Late { number } => number,
            Arrival::Restarted { number } => {
                self.flush(&mut out);
                self.next = Some(number);
                number
            }
            Arrival::Duplicate | Arrival::Stray => return,
        };
        let next = *self.next.get_or_insert(number);
        if number == next {
            self.next = Some(next + 1);
            out(packet);
        } else if number > next {
            self.waiting.insert(number, (packet, now));
        }
        self.leave(now, &mut out);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Monotonic, mut out: impl FnMut(T)) {
        self.leave(now, &mut out);
    }

    /// When a gap is given up if nothing comes.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let since = self.waiting.values().map(|(_, since)| *since).min()?;
        Some(since + self.patience.wait)
    }

    fn leave(&mut self, now: Monotonic, out: &mut impl FnMut(T)) {
        while let Some(first) = self.waiting.first_entry() {
            let in_order = self.next == Some(*first.key());
            if in_order {
                self.next = Some(first.key() + 1);
                out(first.remove().0);
                continue;
            }
            let number = *first.key();
            let patient =
                self.waiting.len() <= self.patience.packets && self.poll_timeout().is_none_or(|timeout| timeout > now);
            if patient {
                return;
            }
            self.next = Some(number);
        }
    }

    fn flush(&mut self, out: &mut impl FnMut(T)) {
        std::mem::take(&mut self.waiting).into_values().for_each(|(packet, _)| out(packet));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience { wait: Duration::from_millis(50), packets: 4 };

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    /// Packets at times of their own; what left, by the time it left.
    fn run(packets: &[(u64, u16)], end: u64) -> Vec<(u64, u16)> {
        let mut order = Resequencer::new(PATIENCE);
        let mut left = Vec::new();
        for millis in 0..=end {
            order.handle_timeout(at(millis), |sequence| left.push((millis, sequence)));
            for (_, sequence) in packets.iter().filter(|(when, _)| *when == millis) {
                order.handle_packet(1, *sequence, *sequence, at(millis), |sequence| left.push((millis, sequence)));
            }
        }
        assert!(order.waiting.is_empty() && order.poll_timeout().is_none());
        left
    }

    #[test]
    fn what_comes_in_order_leaves_at_once_over_the_wrap_too() {
        let packets = [(0, 65_534), (1, 65_535), (2, 0), (3, 1)];
        assert_eq!(run(&packets, 5), packets);
    }

    #[test]
    fn what_comes_late_is_waited_for() {
        assert_eq!(
            run(&[(0, 10), (1, 12), (2, 13), (9, 11), (10, 14)], 20),
            [(0, 10), (9, 11), (9, 12), (9, 13), (10, 14)]
        );
        let over_the_wrap = run(&[(0, 65_535), (1, 1), (2, 0)], 5);
        assert_eq!(over_the_wrap, [(0, 65_535), (2, 0), (2, 1)]);
    }

    #[test]
    fn a_gap_is_given_up_after_its_time_and_what_comes_then_is_dropped() {
        assert_eq!(run(&[(0, 10), (1, 12), (40, 13), (60, 11), (61, 14)], 80), [(0, 10), (51, 12), (51, 13), (61, 14)]);
        // A second gap has a time of its own.
        assert_eq!(run(&[(0, 10), (1, 12), (40, 14)], 100), [(0, 10), (51, 12), (90, 14)]);
    }

    #[test]
    fn a_gap_is_given_up_when_too_many_wait_behind_it() {
        let packets: Vec<(u64, u16)> = [(0, 10)].into_iter().chain((12..17).map(|n| (1, n))).collect();
        assert_eq!(run(&packets, 3).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [10, 12, 13, 14, 15, 16]);
    }

    #[test]
    fn duplicates_and_strays_are_dropped_and_a_sender_that_counts_anew_goes_on() {
        let left =
            run(&[(0, 10), (0, 10), (1, 12), (1, 12), (2, 40_000), (3, 11), (4, 30_000), (5, 30_001), (6, 30_002)], 9);
        assert_eq!(left.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [10, 11, 12, 30_001, 30_002]);
    }

    #[test]
    fn another_sender_begins_anew_and_what_waited_leaves_first() {
        let mut order = Resequencer::new(PATIENCE);
        let mut left = Vec::new();
        for (ssrc, sequence) in [(1, 5), (1, 7), (2, 900), (2, 901)] {
            order.handle_packet(ssrc, sequence, sequence, at(0), |sequence| left.push(sequence));
        }
        assert_eq!(left, [5, 7, 900, 901]);
    }

    proptest! {
        #[test]
        fn whatever_comes_leaves_in_order_and_nothing_waits_for_ever(
            start: u16,
            delays in proptest::collection::vec(prop_oneof![6 => Just(0_u64), 2 => 1..30_u64, 1 => 30..200_u64], 1..300),
        ) {
            let mut packets: Vec<(u64, u16)> =
                delays.iter().enumerate().map(|(i, delay)| (i as u64 + delay, start.wrapping_add(i as u16))).collect();
            packets.sort_by_key(|(when, _)| *when);
            let left = run(&packets, delays.len() as u64 + 300);
            let first = packets[0].1;
            let numbers: Vec<u16> = left.iter().map(|(_, n)| n.wrapping_sub(first)).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
        }

        #[test]
        fn any_numbers_are_taken_without_a_panic(
            sequences in proptest::collection::vec((any::<u16>(), 0_u32..3), 0..300),
        ) {
            let mut order = Resequencer::new(PATIENCE);
            for (i, (sequence, ssrc)) in sequences.into_iter().enumerate() {
                order.handle_packet(ssrc, sequence, (), at(i as u64), drop);
                prop_assert!(order.waiting.len() <= PATIENCE.packets);
            }
        }
    }
}
