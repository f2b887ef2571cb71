//! Which lost packets a viewer is sent again: asked by NACK (RFC 4585 §6.2.1), bounded by what it is sent anyway, and
//! none twice within a round trip. Sans-IO.

use std::{collections::VecDeque, time::Duration};

use crate::base::Monotonic;

/// Packets that may wait for their repair; a viewer that still misses one asks again.
const WANTED: usize = 256;
/// Repairs remembered.
const SENT: usize = 256;
/// Bytes of repairs that may leave ahead of the media that pay for them.
const CREDIT: u32 = 256 << 10;
/// Credit of a viewer that was sent nothing yet.
const FIRST_CREDIT: u32 = 64 << 10;
/// A viewer whose round trip is not known, or on this machine.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(20);

/// The repairs of one line.
#[derive(Debug)]
pub(super) struct Repairs {
    wanted: VecDeque<u64>,
    /// What was sent again, and when.
    sent: VecDeque<(u64, Monotonic)>,
    credit: u32,
}

impl Repairs {
    pub(super) const fn new() -> Self {
        Self { wanted: VecDeque::new(), sent: VecDeque::new(), credit: FIRST_CREDIT }
    }

    /// A viewer misses a packet. Whether it will be sent again.
    pub(super) fn ask(&mut self, index: u64, round_trip: Duration, now: Monotonic) -> bool {
        let pause = round_trip.max(LEAST_ROUND_TRIP);
        let on_its_way = |(sent, at): &(u64, Monotonic)| *sent == index && now.since(*at) < pause;
        if self.wanted.len() >= WANTED || self.wanted.contains(&index) || self.sent.iter().rev().any(on_its_way) {
            return false;
        }
        self.wanted.push_back(index);
        true
    }

    /// The next packet to send again, if there is credit for any.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.credit == 0 {
            self.wanted.clear();
        }
        self.wanted.pop_front()
    }

    /// Whether packets wait.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// A repair left.
    pub(super) fn sent(&mut self, index: u64, bytes: usize, now: Monotonic) {
        self.credit = self.credit.saturating_sub(bytes as u32);
        if self.sent.len() >= SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((index, now));
    }

    /// Media left: half as many bytes may be repaired.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes as u32 / 2).min(CREDIT);
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(3_600_000_000_000 + millis * 1_000_000)
    }

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn a_packet_is_not_sent_twice_within_a_round_trip() {
        let mut repairs = Repairs::new();
        assert!(repairs.ask(7, RTT, at(0)));
        assert!(!repairs.ask(7, RTT, at(1)), "it waits");
        assert_eq!(repairs.next(), Some(7));
        repairs.sent(7, 1200, at(2));
        assert!(!repairs.ask(7, RTT, at(50)), "it is on its way");
        assert!(repairs.ask(7, RTT, at(103)));
    }

    #[test]
    fn repairs_are_paid_for_by_what_is_sent_anyway() {
        let mut repairs = Repairs::new();
        let mut sent = 0;
        for index in 0..1000 {
            repairs.ask(index, RTT, at(0));
            if let Some(index) = repairs.next() {
                repairs.sent(index, 1200, at(0));
                sent += 1;
            }
        }
        assert_eq!(sent, FIRST_CREDIT.div_ceil(1200));
        repairs.earn(2400);
        repairs.ask(5000, RTT, at(0));
        assert_eq!(repairs.next(), Some(5000));
    }

    #[test]
    fn a_viewer_that_asks_for_everything_fills_a_bounded_list() {
        let mut repairs = Repairs::new();
        let taken = (0..10_000).filter(|index| repairs.ask(*index, RTT, at(0))).count();
        assert_eq!(taken, WANTED);
    }
}
