//! The target duration of a path: a value.
//!
//! It must not change while a playlist lives (rfc8216bis §6.2.1), and no segment may be longer. Segments end at random
//! access points, so the longest GOP seen on the path decides, which the [numbers](super::numbers) remember.

use std::time::Duration;

/// No target is longer: a ring holds no longer GOP either, and a playlist of three targets has to fit in memory.
const MOST: Duration = Duration::from_secs(30);

/// The target duration, in whole seconds: the longest GOP rounded up, and no less than `least`.
pub(super) fn target_duration(least: Duration, longest_gop: Duration) -> Duration {
    let wanted = least.max(longest_gop).min(MOST);
    let whole = wanted.as_secs() + u64::from(wanted.subsec_nanos() > 0);
    Duration::from_secs(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gop_decides_within_bounds() {
        let least = Duration::from_secs(4);
        for (gop_ms, seconds) in [(0, 4), (2_000, 4), (4_000, 4), (4_001, 5), (10_000, 10), (10_040, 11), (90_000, 30)]
        {
            assert_eq!(target_duration(least, Duration::from_millis(gop_ms)).as_secs(), seconds, "{gop_ms} ms");
        }
        assert_eq!(target_duration(Duration::from_millis(1), Duration::ZERO).as_secs(), 1);
    }
}
