//! How fast datagrams leave for one reader: a token bucket. Sans-IO.
//!
//! Nothing on the way slows UDP down, so a start burst that leaves at line rate is lost in the first small buffer.

use std::time::Duration;

use crate::base::Monotonic;

/// The start burst, in bytes a second: 60 Mbit/s.
const BURST_RATE: u64 = 60_000_000 / 8;
/// Live pictures, in bytes a second: a key frame is spread a little, nothing is held back for long.
const LIVE_RATE: u64 = 400_000_000 / 8;
/// What may leave at once.
const DEPTH: u64 = 64 << 10;

/// The bucket of one reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// When the bucket is full again if nothing more leaves.
    full_at: Monotonic,
}

impl Pacer {
    /// A full bucket.
    pub(super) const fn new(now: Monotonic) -> Self {
        Self { full_at: now }
    }

    /// When `bytes` may leave; now or earlier means at once.
    pub(super) fn due(&self, bytes: usize, burst: bool) -> Monotonic {
        let room = DEPTH.saturating_sub(bytes as u64);
        self.full_at - span(room, burst)
    }

    /// So many bytes left at `now`.
    pub(super) fn sent(&mut self, bytes: usize, burst: bool, now: Monotonic) {
        self.full_at = self.full_at.max(now) + span(bytes as u64, burst);
    }
}

fn span(bytes: u64, burst: bool) -> Duration {
    let rate = if burst { BURST_RATE } else { LIVE_RATE };
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Monotonic {
        Monotonic::from_nanos(3_600_000_000_000 + nanos)
    }

    #[test]
    fn a_burst_of_a_megabyte_takes_as_long_as_its_rate_says() {
        let (mut pacer, mut now) = (Pacer::new(at(0)), at(0));
        for _ in 0..1000 {
            now = now.max(pacer.due(1000, true));
            pacer.sent(1000, true, now);
        }
        let took = now.since(at(0));
        let expected = Duration::from_nanos((1_000_000 - DEPTH) * 1_000_000_000 / BURST_RATE);
        assert!(took.abs_diff(expected) < Duration::from_millis(1), "{took:?} for {expected:?}");
    }

    #[test]
    fn what_fits_into_the_bucket_leaves_at_once() {
        let mut pacer = Pacer::new(at(0));
        assert!(pacer.due(50_000, true) <= at(0));
        pacer.sent(50_000, true, at(0));
        assert!(pacer.due(50_000, true) > at(0));
        assert!(pacer.due(1_000, true) <= at(0));
        assert!(pacer.due(50_000, true) <= at(5_000_000), "a few milliseconds later");
    }

    #[test]
    fn a_live_key_frame_is_hardly_held_back() {
        let (mut pacer, mut now) = (Pacer::new(at(0)), at(0));
        for _ in 0..200 {
            now = now.max(pacer.due(1200, false));
            pacer.sent(1200, false, now);
        }
        assert!(now.since(at(0)) < Duration::from_millis(5));
    }
}
