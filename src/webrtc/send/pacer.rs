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

/// The bucket of one viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// When the bucket is full again if nothing more leaves.
    full_at: Monotonic,
    burst_rate: u64,
}

impl Pacer {
    /// A full bucket. `burst_rate` is in bits a second.
    pub(super) fn new(burst_rate: u64, now: Monotonic) -> Self {
        Self { full_at: now, burst_rate: burst_rate.max(1) }
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
