//! How fast packets leave for one viewer: a token bucket. Sans-IO.
//!
//! Nothing on the way slows UDP down, so a start burst at line rate is lost in the first small buffer. Live pictures are
//! hardly held back: a large key frame is spread over a few milliseconds, in which other viewers are served.

use std::time::Duration;

use crate::base::Monotonic;

/// Live pictures, in bits a second.
const LIVE_RATE: u64 = 400_000_000;
/// What may leave at once.
const DEPTH: u64 = 64 << 10;
/// What a burst that was lost is slowed down to: a part of its rate.
const SLOWER: u64 = 4;
/// The part of its rate that a burst is slowed down to at most by what is heard of the line: less would never catch up.
const LEAST: u64 = 8;
/// How long nothing leaves before that: the queue that overflowed is empty by then (a fifth of a second is usual).
const PAUSE: Duration = Duration::from_millis(250);

/// The bucket of one viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// When the bucket is full again if nothing more leaves.
    full_at: Monotonic,
    burst_rate: u64,
    /// What a burst may leave at, at most and at least.
    bounds: (u64, u64),
    slowed: bool,
}

impl Pacer {
    /// A full bucket. `burst_rate` is in bits a second.
    pub(super) fn new(burst_rate: u64, now: Monotonic) -> Self {
        let burst_rate = burst_rate.max(1);
        let bounds = (burst_rate, burst_rate.div_ceil(LEAST));
        Self { full_at: now, burst_rate, bounds, slowed: false }
    }

    /// The rate of bursts, in bits a second.
    pub(super) const fn burst_rate(&self) -> u64 {
        self.burst_rate
    }

    /// When `bytes` may leave; now or earlier means at once.
    pub(super) fn due(&self, bytes: usize, burst: bool) -> Monotonic {
        let room = DEPTH.saturating_sub(bytes as u64);
        self.full_at - self.span(room, burst)
    }

    /// So many bytes left at `now`.
    pub(super) fn sent(&mut self, bytes: usize, burst: bool, now: Monotonic) {
        self.full_at = self.full_at.max(now) + self.span(bytes as u64, burst);
    }

    /// The line is narrower than a burst: the next one is slower, after a pause. `false` if this was done before.
    pub(super) fn slow_down(&mut self, now: Monotonic) -> bool {
        if self.slowed {
            return false;
        }
        let (most, least) = self.bounds;
        self.bounds = ((most / SLOWER).max(1), least.min(most / SLOWER).max(1));
        self.slowed = true;
        self.narrow(self.burst_rate, PAUSE, now);
        true
    }

    /// The line carries `rate` bits a second, and nothing more for a while.
    pub(super) fn narrow(&mut self, rate: u64, pause: Duration, now: Monotonic) {
        let (most, least) = self.bounds;
        self.burst_rate = rate.clamp(least, most);
        self.full_at = self.full_at.max(now + pause + self.span(DEPTH, true));
    }

    /// Nobody knows yet what the line carries: half as much.
    pub(super) fn ease(&mut self) {
        self.burst_rate = (self.bounds.0 / 2).max(1).min(self.burst_rate);
    }

    /// The line carries what it is given: twice as much, within bounds.
    pub(super) fn widen(&mut self) {
        self.burst_rate = self.burst_rate.saturating_mul(2).min(self.bounds.0);
    }

    fn span(&self, bytes: u64, burst: bool) -> Duration {
        let rate = if burst { self.burst_rate } else { LIVE_RATE };
        Duration::from_nanos(bytes.saturating_mul(8_000_000_000) / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Monotonic {
        Monotonic::from_nanos(3_600_000_000_000 + nanos)
    }

    #[test]
    fn a_burst_takes_as_long_as_its_rate_says() {
        let (mut pacer, mut now) = (Pacer::new(60_000_000, at(0)), at(0));
        for _ in 0..1000 {
            now = now.max(pacer.due(1000, true));
            pacer.sent(1000, true, now);
        }
        let expected = Duration::from_nanos((1_000_000 - DEPTH) * 8_000_000_000 / 60_000_000);
        assert!(now.since(at(0)).abs_diff(expected) < Duration::from_millis(1));
    }

    #[test]
    fn a_burst_that_was_lost_is_slowed_down_once_after_a_pause() {
        let (mut pacer, mut now) = (Pacer::new(60_000_000, at(0)), at(0));
        pacer.sent(64 << 10, true, now);
        assert!(pacer.slow_down(now) && !pacer.slow_down(now));
        for sent in 0..1000 {
            now = now.max(pacer.due(1000, true));
            assert!(sent > 0 || now.since(at(0)) >= PAUSE);
            pacer.sent(1000, true, now);
        }
        let expected = PAUSE + Duration::from_nanos(1_000_000 * 8_000_000_000 / 15_000_000);
        assert!(now.since(at(0)).abs_diff(expected) < Duration::from_millis(1), "{:?}", now.since(at(0)));
    }

    #[test]
    fn a_burst_goes_as_fast_as_the_line_within_its_bounds() {
        let mut pacer = Pacer::new(60_000_000, at(0));
        pacer.sent(64 << 10, true, at(0));
        pacer.narrow(18_000_000, Duration::from_millis(100), at(0));
        assert!(pacer.due(16 << 10, true).since(at(0)) > Duration::from_millis(100));
        assert_eq!(pacer.burst_rate(), 18_000_000);
        pacer.narrow(1, Duration::ZERO, at(0));
        assert_eq!(pacer.burst_rate(), 7_500_000);
        (0..4).for_each(|_| pacer.widen());
        assert_eq!(pacer.burst_rate(), 60_000_000);
        pacer.ease();
        assert_eq!(pacer.burst_rate(), 30_000_000);
        assert!(pacer.slow_down(at(0)));
        pacer.widen();
        assert_eq!(pacer.burst_rate(), 15_000_000, "what was lost is not tried again");
    }

    #[test]
    fn a_live_picture_leaves_at_once_and_a_key_frame_is_hardly_held_back() {
        let (mut pacer, mut now) = (Pacer::new(60_000_000, at(0)), at(0));
        assert!(pacer.due(50_000, false) <= at(0));
        for _ in 0..10 {
            now = now.max(pacer.due(20_000, false));
            pacer.sent(20_000, false, now);
        }
        assert!(now.since(at(0)) < Duration::from_millis(4), "200 kB");
    }
}
