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
/// How long nothing leaves before that: the queue that overflowed is empty by then (a fifth of a second is usual).
const PAUSE: Duration = Duration::from_millis(250);

/// The bucket of one viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// When the bucket is full again if nothing more leaves.
    full_at: Monotonic,
    burst_rate: u64,
    slowed: bool,
}

impl Pacer {
    /// A full bucket. `burst_rate` is in bits a second.
    pub(super) fn new(burst_rate: u64, now: Monotonic) -> Self {
        Self { full_at: now, burst_rate: burst_rate.max(1), slowed: false }
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
        (self.burst_rate, self.slowed) = ((self.burst_rate / SLOWER).max(1), true);
        self.full_at = now + PAUSE + self.span(DEPTH, true);
        true
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
