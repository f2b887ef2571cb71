//! The place of samples that have lengths of their own: AAC and Opus. A value machine, sans-IO.
//!
//! Sources round the timestamps of sound (1023 and 1025 ticks for 1024 samples), and players hear every tick of a hole.
//! So a sample stands where the one before it ends, as long as its timestamp is near; when it is not, there is a hole or
//! an overlap in truth, and the timestamp wins.

use crate::media::{ClockRate, MediaTime};

/// How far a timestamp may lie from the end of the sample before it and still mean that.
const NEAR: MediaTime = MediaTime::from_millis(50);

/// Where the next sample of a track belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    rate: ClockRate,
    next: Option<i64>,
}

impl Grid {
    pub(super) const fn new(rate: ClockRate) -> Self {
        Self { rate, next: None }
    }

    /// The next sample has nothing to do with the one before.
    pub(super) const fn restart(&mut self) {
        self.next = None;
    }

    /// The decode time, in ticks, of a sample that lasts `length` ticks and is stamped `ticks`; `None` drops it, for it
    /// would sound twice: the source's clock has fallen behind its samples.
    pub(super) fn place(&mut self, ticks: i64, length: u32) -> Option<i64> {
        let near = NEAR.ticks(self.rate);
        let at = match self.next {
            None => ticks,
            Some(next) if (ticks - next).abs() < near => next,
            Some(next) if ticks < next => return None,
            Some(_) => ticks,
        };
        self.next = Some(at + i64::from(length));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounded_timestamps_make_no_hole() {
        let mut grid = Grid::new(ClockRate::OPUS);
        let stamps = [5, 5 + 1023, 5 + 2049, 5 + 3071];
        assert_eq!(stamps.map(|t| grid.place(t, 1024).unwrap()), [5, 1029, 2053, 3077]);
    }

    #[test]
    fn a_hole_stays_a_hole_and_an_overlap_is_dropped() {
        let mut grid = Grid::new(ClockRate::OPUS);
        assert_eq!(grid.place(0, 960), Some(0));
        assert_eq!(grid.place(960 + 2400, 960), Some(3360), "50 ms are missing");
        assert_eq!(grid.place(960, 960), None);
        assert_eq!(grid.place(4320, 960), Some(4320));
        grid.restart();
        assert_eq!(grid.place(17, 960), Some(17));
    }

    #[test]
    fn a_slow_clock_is_followed_by_dropping_now_and_then() {
        let mut grid = Grid::new(ClockRate::OPUS);
        // 1000 ppm slow: over a minute 60 ms too much sound.
        let placed = (0..2812_i64).filter_map(|i| grid.place(i * 1023, 1024)).collect::<Vec<_>>();
        assert!((2808..2812).contains(&placed.len()), "{}", placed.len());
        assert!(placed.windows(2).all(|pair| pair[1] - pair[0] == 1024));
    }

    proptest! {
        #[test]
        fn samples_never_overlap_and_stay_near_their_stamps(steps in prop::collection::vec((0_i64..5000, 120_u32..5760), 1..200)) {
            let mut grid = Grid::new(ClockRate::OPUS);
            let (mut ticks, mut end) = (0, i64::MIN);
            for (step, length) in steps {
                ticks += step;
                if let Some(at) = grid.place(ticks, length) {
                    prop_assert!(at >= end && (at - ticks).abs() < 2400);
                    end = at + i64::from(length);
                }
            }
        }
    }
}
