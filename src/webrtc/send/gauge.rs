//! How fast a start may come: when its packets left and when the viewer says they arrived, in; a pace, out. Sans-IO.
//!
//! A line that is narrower than the pace queues before it loses: each packet is longer on its way than the one before,
//! and they arrive at the rate of the line. That is known after a tenth of a second, a loss only after the queue too.
//! The numbers of pictures serve as transport-wide ones, since nothing else is counted; what is not a start carries
//! none, and costs a viewer no feedback.

use std::{collections::VecDeque, ops::Range, time::Duration};

use crate::base::Monotonic;

/// Calls remembered until their packets are reported; the oldest is forgotten first.
const RUNS: usize = 256;
/// Packets of a report that say something.
const ENOUGH: usize = 16;
/// The last packets of a report, the quickest of which tells how long the queue is: one may be late by itself.
const NEWEST: usize = 8;
/// A queue that grew so long is that of a narrow line, in microseconds.
const LONG: i64 = 25_000;
/// A shorter one is the network's or the viewer's own unrest, in microseconds.
const UNREST: i64 = 6_000;
/// What may still be queued when the start goes on.
const REST: Duration = Duration::from_millis(20);
/// Bytes that leave before the first report at the pace of the file: a key frame, which is wanted soonest.
const UNHEARD: usize = 256 << 10;
/// How long a report is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest that a start waits for a queue, which is a guess.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What a report says of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It carries so many bits a second, and needs so long for what is queued.
    Narrow {
        /// Bits a second, a little less than arrive.
        rate: u64,
        /// Until the queue is nearly empty.
        wait: Duration,
    },
    /// Nothing is queued.
    Clear,
}

/// A call that left.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    end: u64,
    bytes: u64,
    left: Monotonic,
}

impl Run {
    /// Bytes of its packets from `index` on.
    const fn bytes_from(&self, index: u64) -> u64 {
        let first = if index > self.first { index } else { self.first };
        self.bytes * self.end.saturating_sub(first) / (self.end - self.first)
    }
}

/// The packets of one start.
#[derive(Debug)]
pub(super) struct Gauge {
    runs: VecDeque<Run>,
    begun: Monotonic,
    /// What left before was judged.
    since: Monotonic,
    /// The shortest way, in microseconds between two clocks that have nothing in common.
    shortest: Option<i64>,
    /// The first packet, until a report came.
    head: Option<u64>,
    sent: usize,
}

impl Gauge {
    pub(super) const fn new(now: Monotonic) -> Self {
        Self { runs: VecDeque::new(), begun: now, since: now, shortest: None, head: None, sent: 0 }
    }

    /// A run of packets left. Whether the rest should be slower, since so much has left unheard.
    pub(super) fn sent(&mut self, first: u64, packets: usize, bytes: usize, now: Monotonic) -> bool {
        if self.sent == 0 {
            self.head = Some(first);
        }
        if self.runs.len() >= RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Run { first, end: first + packets.max(1) as u64, bytes: bytes as u64, left: now });
        let before = self.sent;
        self.sent += bytes;
        self.head.is_some() && before < UNHEARD && self.sent >= UNHEARD
    }

    /// Whether the viewer has said what became of the first packets, or never will.
    pub(super) fn is_heard(&self, now: Monotonic) -> bool {
        self.sent > 0 && self.head.is_none() || now.since(self.begun) > PATIENCE
    }

    /// The first packets of the start, which the viewer cannot know it misses where the first it has is `first`.
    pub(super) fn lost_head(&mut self, first: u64) -> Range<u64> {
        self.head.take().map_or(first..first, |head| head..first)
    }

    /// A report: packets in ascending order and when they came, in microseconds of the viewer's clock. `pace` is how
    /// fast the start leaves, in bits a second.
    pub(super) fn handle_report(
        &mut self,
        arrivals: impl Iterator<Item = (u64, i64)>,
        pace: u64,
        now: Monotonic,
    ) -> Option<Verdict> {
        let (mut arrived, mut next) = (Arrived::default(), None);
        for (index, came) in arrivals {
            while self.runs.front().is_some_and(|run| run.end <= index) {
                self.runs.pop_front();
            }
            let Some(run) = self.runs.front().filter(|run| run.first <= index) else { continue };
            let way = came.saturating_sub(run.left.since(self.begun).as_micros() as i64);
            self.shortest = Some(self.shortest.map_or(way, |shortest| shortest.min(way)));
            next = Some(index + 1);
            if run.left >= self.since {
                arrived.take(run, came, way);
            }
        }
        let (next, shortest) = next.zip(self.shortest)?;
        if arrived.packets < ENOUGH {
            return None;
        }
        let queue = arrived.newest_way().saturating_sub(shortest);
        let (rate, sent) = arrived.rates();
        let slower = rate < pace / 5 * 4 && rate < sent / 5 * 4;
        let verdict = if queue > LONG || slower && queue > UNREST {
            let rate = (rate / 10 * 9).clamp(1, pace);
            let queued: u64 = self.runs.iter().map(|run| run.bytes_from(next)).sum();
            let drained = Duration::from_nanos(queued.saturating_mul(8_000_000_000) / rate);
            Verdict::Narrow { rate, wait: drained.saturating_sub(REST).min(LONGEST_WAIT) }
        } else if queue < UNREST {
            Verdict::Clear
        } else {
            return None;
        };
        self.since = now;
        Some(verdict)
    }
}

/// What arrived by one report, as far as it was not judged before.
#[derive(Debug, Default)]
struct Arrived {
    packets: usize,
    bytes: u64,
    /// When the first and the last of them left and came.
    ends: Option<(Ends, Ends)>,
    ways: [i64; NEWEST],
}

/// When a packet left and when it came.
type Ends = (Monotonic, i64);

impl Arrived {
    fn take(&mut self, run: &Run, came: i64, way: i64) {
        let own = (run.left, came);
        match &mut self.ends {
            // What the first one took cannot be seen.
            none @ None => *none = Some((own, own)),
            Some((_, last)) => {
                self.bytes += run.bytes / (run.end - run.first);
                *last = (own.0, last.1.max(came));
            }
        }
        self.ways[self.packets % NEWEST] = way;
        self.packets += 1;
    }

    /// The shortest of the newest ways.
    fn newest_way(&self) -> i64 {
        self.ways.iter().copied().take(self.packets).min().unwrap_or(0)
    }

    /// How fast they came, and how fast they left, in bits a second.
    fn rates(&self) -> (u64, u64) {
        let Some(((left, came), (last_left, last_came))) = self.ends else { return (0, 0) };
        let rate = |micros: u64| self.bytes.saturating_mul(8_000_000) / micros.max(1);
        (rate(last_came.saturating_sub(came).max(0).cast_unsigned()), rate(last_left.since(left).as_micros() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: u64 = 60_000_000;
    const PACKET: usize = 1250;

    fn at(micros: u64) -> Monotonic {
        Monotonic::from_nanos(3_600_000_000_000 + micros * 1_000)
    }

    /// A line of so many bits a second behind a sender that leaves runs of ten packets at its pace, after a bucket.
    struct Road {
        gauge: Gauge,
        pace: u64,
        leaves: u64,
        rate: u64,
        free: u64,
        next: u64,
        /// What is on its way: index, and when it comes.
        flying: VecDeque<(u64, i64)>,
        longest_queue: u64,
    }

    const CLOCK: i64 = -77_000_000_000;

    impl Road {
        fn new(rate: u64) -> Self {
            let gauge = Gauge::new(at(0));
            Self { gauge, pace: PACE, leaves: 0, rate, free: 0, next: 100, flying: VecDeque::new(), longest_queue: 0 }
        }

        /// Sends until `micros`.
        fn send_until(&mut self, micros: u64) {
            while self.leaves <= micros {
                let now = self.leaves;
                self.gauge.sent(self.next, 10, 10 * PACKET, at(now));
                for index in self.next..self.next + 10 {
                    self.free = self.free.max(now) + PACKET as u64 * 8_000_000 / self.rate;
                    self.longest_queue = self.longest_queue.max(self.free - now);
                    self.flying.push_back((index, CLOCK + self.free as i64 + 5_000));
                }
                self.next += 10;
                // Sixty kilobytes leave at once.
                if self.next > 150 {
                    self.leaves += 10 * PACKET as u64 * 8_000_000 / self.pace;
                }
            }
        }

        /// The viewer's report of `micros`, which takes five milliseconds.
        fn report(&mut self, micros: u64) -> Option<Verdict> {
            self.send_until(micros);
            let here = self.flying.iter().take_while(|(_, came)| *came <= CLOCK + micros as i64).count();
            let arrivals: Vec<_> = self.flying.drain(..here).collect();
            let now = micros + 5_000;
            self.send_until(now);
            let verdict = self.gauge.handle_report(arrivals.into_iter(), self.pace, at(now));
            if let Some(Verdict::Narrow { rate, wait }) = verdict {
                self.pace = rate;
                self.leaves = now + wait.as_micros() as u64;
            }
            verdict
        }
    }

    #[test]
    fn a_narrow_line_is_known_from_the_first_report_whenever_it_comes() {
        for first in [20_000, 30_000, 60_000, 90_000] {
            let mut road = Road::new(20_000_000);
            let Some(Verdict::Narrow { rate, wait }) = road.report(first) else { panic!("{first}") };
            assert!((16_000_000..19_000_000).contains(&rate), "{first}: {rate}");
            assert!(wait < Duration::from_millis(250), "{first}: {wait:?}");
            for report in 1..8 {
                assert!(
                    !matches!(road.report(first + report * 100_000), Some(Verdict::Narrow { rate, .. }) if rate < 14_000_000)
                );
            }
            assert!(road.free - road.leaves.min(road.free) < 60_000, "{first}: the queue is gone");
        }
    }

    #[test]
    fn a_line_wider_than_the_pace_is_clear() {
        let mut road = Road::new(1_000_000_000);
        for report in 1..10 {
            assert_eq!(road.report(report * 70_000), Some(Verdict::Clear));
        }
        assert!(road.gauge.runs.len() < 10, "what was reported is forgotten");
    }

    #[test]
    fn packets_that_are_late_now_and_then_are_no_queue() {
        let mut gauge = Gauge::new(at(0));
        for run in 0..20_u64 {
            gauge.sent(run * 10, 10, 10 * PACKET, at(run * 1_667));
        }
        // Each third is up to thirty milliseconds late; they keep their order in the report.
        let came = |index: u64| (index / 10 * 1_667) as i64 + if index.is_multiple_of(3) { 30_000 } else { 0 };
        let verdict = gauge.handle_report((0..200).map(|index| (index, came(index))), PACE, at(45_000));
        assert_eq!(verdict, Some(Verdict::Clear));
    }

    #[test]
    fn few_packets_strange_ones_and_those_judged_before_say_nothing() {
        let mut gauge = Gauge::new(at(0));
        gauge.sent(1000, 40, 40 * PACKET, at(0));
        assert_eq!(gauge.handle_report((1000..1010).map(|index| (index, i64::MAX)), PACE, at(1)), None);
        assert_eq!(gauge.handle_report((0..900).map(|index| (index, i64::MIN)), PACE, at(1)), None);
        assert!(gauge.handle_report((1010..1040).map(|index| (index, 0)), PACE, at(2)).is_some());
        gauge.sent(1040, 40, 40 * PACKET, at(1));
        assert_eq!(gauge.handle_report((1040..1080).map(|index| (index, 90_000)), PACE, at(3)), None, "it left before");
        (0..1000).for_each(|run| _ = gauge.sent(2000 + run, 1, PACKET, at(3)));
        assert_eq!(gauge.runs.len(), RUNS);
    }

    #[test]
    fn the_head_of_a_start_is_missed_by_the_sender_alone_and_once() {
        let mut gauge = Gauge::new(at(0));
        assert!(!gauge.is_heard(at(0)));
        assert!(!gauge.sent(500, 40, 200 << 10, at(0)));
        assert!(gauge.sent(540, 40, 200 << 10, at(1)), "unheard for so long it is slower");
        assert!(!gauge.sent(580, 40, 200 << 10, at(2)), "once");
        assert!(!gauge.is_heard(at(3)) && gauge.is_heard(at(2_100_000)));
        assert_eq!(gauge.lost_head(503), 500..503);
        assert_eq!(gauge.lost_head(503), 503..503);
        assert!(gauge.is_heard(at(3)));
    }
}
