//! How long parts are: the part duration wanted, fitted to the intervals at which samples come. A value machine.
//!
//! A part is a whole number of samples. All but the last of a segment must last at least 85 % of the part target, and
//! none longer than it (rfc8216bis §4.4.3.7): 200 ms hold four pictures of a 24 fps camera and 33 ms of nothing, which is
//! 83 %. So the target follows from the samples: five pictures, 209 ms.

use crate::media::MediaTime;

/// Intervals that are enough to decide by.
pub(super) const ENOUGH: usize = 24;

/// Room for the jitter of a source's timestamps: beyond 15 % the shortest parts would be too short for the target.
const JITTER_MOST: f64 = 1.15;

/// The rhythm of a track's samples, and the parts that fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cadence {
    /// The usual interval between two samples.
    pub(super) sample: MediaTime,
    /// The longest a part may be.
    pub(super) part: MediaTime,
}

impl Cadence {
    /// Fits parts of about `wanted` to these intervals, of which there must be one at least.
    pub(super) fn fit(wanted: MediaTime, intervals: &[MediaTime]) -> Self {
        let mut sorted = intervals.to_vec();
        sorted.sort_unstable();
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        // The mean, which jitter hardly moves, without the hiccups, which do.
        let usual =
            || intervals.iter().map(|i| i.flicks()).filter(|i| (i - middle.flicks()).abs() <= middle.flicks() / 2);
        let mean = usual().sum::<i64>() / i64::try_from(usual().count()).unwrap_or(1).max(1);
        let sample = MediaTime::from_flicks(mean.max(1));
        let count = ((wanted.flicks() as f64 / sample.flicks() as f64).round() as i64).max(1);
        let part = sample.flicks().saturating_mul(count);
        // Jittery timestamps make a run of samples longer by as much as one interval is off, and a few intervals do not
        // show the worst.
        let off = usual().map(|interval| (interval - sample.flicks()).abs()).max().unwrap_or(0);
        let longest = part.saturating_add(off + off / 2);
        let most = (part as f64 * JITTER_MOST) as i64;
        // Rounded up to a millisecond: it is written with five decimals, and no part may be longer.
        let part = MediaTime::from_flicks(longest.clamp(part, most));
        let whole = MediaTime::from_millis(part.millis());
        Self { sample, part: if whole == part { part } else { whole + MediaTime::from_millis(1) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::time::FLICKS_PER_SECOND;

    fn steady(fps: f64) -> Vec<MediaTime> {
        vec![MediaTime::from_flicks((FLICKS_PER_SECOND as f64 / fps) as i64); ENOUGH]
    }

    #[test]
    fn parts_hold_whole_samples_and_fill_85_per_cent_of_their_target() {
        let wanted = MediaTime::from_millis(200);
        for (fps, expected_ms) in [
            (25.0, 200),
            (30.0, 200),
            (50.0, 200),
            (60.0, 200),
            (24.0, 209),
            (15.0, 200),
            (12.0, 167),
            (12.5, 240),
            (10.0, 200),
            (8.0, 250),
            (6.0, 167),
            (5.0, 200),
            (1.0, 1000),
            (48_000.0 / 1024.0, 192),
            (44_100.0 / 1024.0, 209),
            (8_000.0 / 1024.0, 256),
        ] {
            let cadence = Cadence::fit(wanted, &steady(fps));
            assert_eq!(cadence.part.millis(), expected_ms, "{fps} fps");
            let fit = cadence.part.flicks() / cadence.sample.flicks();
            assert!(fit as f64 * cadence.sample.seconds() >= 0.85 * cadence.part.seconds(), "{fps} fps");
        }
    }

    #[test]
    fn jitter_widens_the_target_within_bounds() {
        let wanted = MediaTime::from_millis(200);
        let jittery: Vec<_> = [40, 44, 36, 40, 44, 40, 40, 44, 36, 40, 41, 40].map(MediaTime::from_millis).into();
        assert_eq!(Cadence::fit(wanted, &jittery).part.millis(), 209);
        let hiccup: Vec<_> = [40, 40, 40, 900, 40, 40, 40, 40].map(MediaTime::from_millis).into();
        assert_eq!(Cadence::fit(wanted, &hiccup).part.millis(), 200);
    }

    #[test]
    fn one_interval_of_nothing_still_makes_parts() {
        assert!(Cadence::fit(MediaTime::from_millis(200), &[MediaTime::ZERO]).part > MediaTime::ZERO);
        assert!(Cadence::fit(MediaTime::from_millis(200), &[]).part > MediaTime::ZERO);
    }
}
