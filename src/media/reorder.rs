//! Decode times for streams that carry presentation times only, as RTP does.
//!
//! Units come in decoding order. With a reorder depth of *d*, the decode time of a unit is the presentation time that
//! is *d* places before it in sorted order: the *d* + 1 latest are kept, and the smallest is given out. So decode times
//! are the presentation times themselves, evenly spaced and *d* frames behind, and no unit ever waits.
//! The depth comes from the parameter sets (`max_num_reorder_frames`, `sps_max_num_reorder_pics`); where they are
//! silent or wrong it is learnt from presentation times that run backwards.
//!
//! Jumps of the timeline are not for this machine to mend: it says that it cannot place a unit.

use super::time::MediaTime;

/// The most frames that H.264 and H.265 let wait (H.264 §A.3.1, H.265 §A.4.2).
const MAX_DEPTH: usize = 16;

/// Presentation times that are remembered to learn from.
const HISTORY: usize = MAX_DEPTH + 1;

/// A presentation time further behind the newest than this is no matter of reordering.
const MAX_BACKWARDS: MediaTime = MediaTime::from_millis(2_000);

/// The least step of decode times: one tick of 90 kHz, so that no two are equal on the wire.
const TICK: MediaTime = MediaTime::from_flicks(super::time::FLICKS_PER_SECOND / 90_000);

/// The times of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When it is shown: as it came, unless that lies before its decode time. That happens only while the depth is
    /// being learnt, and where two units share one time.
    pub pts: MediaTime,
    /// When it is decoded: later than that of the unit before it, never later than `pts`.
    pub dts: MediaTime,
}

/// Gives out decode times for the units of one track.
#[derive(Clone, Debug)]
pub struct DecodeOrder {
    depth: usize,
    /// What units proved.
    learnt: usize,
    frame_interval: MediaTime,
    /// The presentation times not yet given out as decode times, smallest first.
    waiting: Vec<MediaTime>,
    /// The newest presentation times in the order they came.
    history: Vec<MediaTime>,
    last: Option<MediaTime>,
}

impl DecodeOrder {
    /// Starts with what the parameter sets say. Without a depth it is taken for 0 until units prove otherwise;
    /// without a frame rate the first decode times are spaced as for 25 frames a second.
    pub fn new(reorder_depth: Option<u8>, frame_rate_milli: Option<u32>) -> Self {
        let mut order = Self {
            depth: 0,
            learnt: 0,
            frame_interval: MediaTime::from_millis(40),
            waiting: Vec::with_capacity(HISTORY + 1),
            history: Vec::with_capacity(HISTORY + 1),
            last: None,
        };
        order.declare(reorder_depth, frame_rate_milli);
        order
    }

    /// New parameter sets say this; the timeline goes on. What units proved is not forgotten.
    pub fn declare(&mut self, reorder_depth: Option<u8>, frame_rate_milli: Option<u32>) {
        if let Some(rate) = frame_rate_milli.filter(|rate| *rate > 0) {
            self.frame_interval = MediaTime::from_nanos(1_000_000_000_000 / i64::from(rate));
        }
        self.depth = usize::from(reorder_depth.unwrap_or(0)).min(MAX_DEPTH).max(self.learnt);
    }

    /// The depth in force: what the parameter sets said, or more if units proved more.
    pub fn depth(&self) -> u8 {
        self.depth as u8
    }

    /// Forgets the timeline, not the depth: the next unit begins another.
    pub fn restart(&mut self) {
        self.waiting.clear();
        self.history.clear();
        self.last = None;
    }

    /// The times of the next unit in decoding order; nothing if its presentation time lies so far back that no
    /// reordering explains it: then the timeline broke, and [`Self::restart`] begins another.
    pub fn push(&mut self, pts: MediaTime) -> Option<Timing> {
        if self.history.iter().max().is_some_and(|newest| *newest - pts > MAX_BACKWARDS) {
            return None;
        }
        self.learn(pts);
        let at = self.waiting.partition_point(|waiting| *waiting <= pts);
        self.waiting.insert(at, pts);
        // A depth that has become less lets several go at once.
        let surplus = self.waiting.len().saturating_sub(self.depth);
        let candidate = if surplus > 0 {
            let newest = self.waiting[surplus - 1];
            self.waiting.drain(..surplus);
            newest
        } else {
            // The first units have no predecessors to take a time from: those that would be there are made up.
            let absent = (self.depth + 1 - self.waiting.len()) as i64;
            self.waiting[0] - MediaTime::from_flicks(self.frame_interval.flicks() * absent)
        };
        let earliest = self.last.map_or(candidate, |last| last + TICK);
        let dts = candidate.min(pts).max(earliest);
        self.last = Some(dts);
        Some(Timing { pts: pts.max(dts), dts })
    }

    /// As many units as came before this one and are shown after it, so many must be able to wait.
    fn learn(&mut self, pts: MediaTime) {
        let overtaken = self.history.iter().filter(|earlier| **earlier > pts).count();
        self.learnt = self.learnt.max(overtaken.min(MAX_DEPTH));
        self.depth = self.depth.max(self.learnt);
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(pts);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: i64 = 40;

    fn at(frame: i64) -> MediaTime {
        MediaTime::from_millis(frame * FRAME)
    }

    /// Decode times in frames; `None` where one does not fall on a frame.
    fn decode_times(order: &mut DecodeOrder, frames: &[i64]) -> Vec<Option<i64>> {
        let times = frames.iter().map(|frame| order.push(at(*frame)).unwrap().dts.millis());
        times.map(|millis| (millis % FRAME == 0).then_some(millis / FRAME)).collect()
    }

    #[test]
    fn pictures_in_order_are_decoded_when_they_are_shown() {
        let mut order = DecodeOrder::new(Some(0), Some(25_000));
        assert_eq!(decode_times(&mut order, &[0, 1, 2, 5, 6]), [0, 1, 2, 5, 6].map(Some));
    }

    #[test]
    fn a_pyramid_of_b_pictures_is_decoded_in_even_steps_behind() {
        // I P B b b, P B b b: x264 and x265 with three B-frames and a pyramid.
        let mut order = DecodeOrder::new(Some(2), Some(25_000));
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let decoded: Vec<Option<i64>> = (-2..11).map(Some).collect();
        assert_eq!(decode_times(&mut order, &shown), decoded);
    }

    #[test]
    fn one_b_picture_between_two_is_decoded_one_frame_behind() {
        let mut order = DecodeOrder::new(Some(1), Some(25_000));
        assert_eq!(decode_times(&mut order, &[0, 2, 1, 4, 3, 6, 5]), [-1, 0, 1, 2, 3, 4, 5].map(Some));
    }

    #[test]
    fn a_depth_that_nobody_told_is_learnt_within_one_pyramid() {
        let mut order = DecodeOrder::new(None, None);
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let timings: Vec<Timing> = shown.iter().map(|frame| order.push(at(*frame)).unwrap()).collect();
        assert_eq!(order.depth(), 2);
        for (timing, frame) in timings.iter().zip(shown).skip(5) {
            assert_eq!(timing.pts, at(frame), "presentation times are left alone once the depth is known");
        }
        assert!(timings.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        let settled = decode_times(&mut order, &[16, 14, 13, 15, 20, 18, 17, 19]);
        assert_eq!(settled, (11..19).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn an_open_gop_that_begins_with_leading_pictures_is_placed() {
        // CRA first, then leading pictures shown before it.
        let mut order = DecodeOrder::new(Some(2), Some(25_000));
        let timings: Vec<Timing> =
            [3, 1, 0, 2, 7, 5, 4, 6].iter().map(|frame| order.push(at(*frame)).unwrap()).collect();
        assert!(timings.iter().all(|timing| timing.dts <= timing.pts));
        assert!(timings.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    }

    #[test]
    fn a_timeline_that_jumps_back_is_said_and_not_mended() {
        let mut order = DecodeOrder::new(None, None);
        assert!(order.push(at(1_000)).is_some());
        assert_eq!(order.push(at(900)), None);
        order.restart();
        assert_eq!(order.push(at(900)), Some(Timing { pts: at(900), dts: at(900) }));
        assert_eq!(order.depth(), 0);
        assert_eq!(order.push(at(90_000)), Some(Timing { pts: at(90_000), dts: at(90_000) }), "a gap is no break");
    }

    #[test]
    fn a_depth_declared_anew_keeps_decode_times_growing() {
        let mut order = DecodeOrder::new(Some(0), Some(25_000));
        decode_times(&mut order, &[0, 1, 2]);
        order.declare(Some(2), None);
        let grown: Vec<Timing> =
            [3, 7, 5, 4, 6, 11, 9, 8, 10].iter().map(|frame| order.push(at(*frame)).unwrap()).collect();
        assert!(grown.windows(2).all(|pair| pair[0].dts < pair[1].dts) && grown[0].dts > at(2));
        assert_eq!(grown[8].dts, at(9), "two frames behind, once settled");
        order.declare(Some(0), None);
        assert_eq!(order.depth(), 2, "what was proved counts");

        let mut order = DecodeOrder::new(Some(2), Some(25_000));
        let mut times = decode_times(&mut order, &[0, 1, 2]);
        order.declare(Some(0), None);
        times.extend(decode_times(&mut order, &[3, 4]));
        assert_eq!(times, [-2, -1, 0, 3, 4].map(Some));
    }

    #[test]
    fn units_that_share_a_time_are_one_tick_apart() {
        let mut order = DecodeOrder::new(None, None);
        order.push(at(1));
        assert_eq!(order.push(at(1)), Some(Timing { pts: at(1) + TICK, dts: at(1) + TICK }));
    }

    /// Presentation order → decoding order in which no picture waits for more than `depth` others: each step takes
    /// one of the `depth + 1` earliest that are left.
    fn decoding_order(count: i64, depth: usize, choices: &[usize]) -> Vec<i64> {
        let mut left: Vec<i64> = (1..count).collect();
        let mut order = vec![0];
        let mut waiting: Vec<(i64, usize)> = Vec::new();
        for choice in choices.iter().cycle() {
            if left.is_empty() {
                break;
            }
            // Whoever has been overtaken `depth` times must go next.
            let forced = left.iter().position(|frame| waiting.iter().any(|(f, n)| f == frame && *n >= depth));
            let at = forced.unwrap_or_else(|| (choice % (depth + 1)).min(left.len() - 1));
            let frame = left.remove(at);
            for earlier in left.iter().filter(|earlier| **earlier < frame) {
                match waiting.iter_mut().find(|(f, _)| f == earlier) {
                    Some((_, count)) => *count += 1,
                    None => waiting.push((*earlier, 1)),
                }
            }
            order.push(frame);
        }
        order
    }

    fn depth_of(order: &[i64]) -> usize {
        let overtaken = |at: usize| order[..at].iter().filter(|earlier| **earlier > order[at]).count();
        (0..order.len()).map(overtaken).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn decode_times_are_the_sorted_presentation_times_exactly_the_depth_behind(
            count in 2_i64..120,
            depth in 0_usize..6,
            choices in proptest::collection::vec(any::<usize>(), 1..60),
        ) {
            let shown = decoding_order(count, depth, &choices);
            let depth = depth_of(&shown);
            let mut order = DecodeOrder::new(Some(depth as u8), Some(25_000));
            let decoded = decode_times(&mut order, &shown);
            let expected: Vec<Option<i64>> = (0..count).map(|frame| Some(frame - depth as i64)).collect();
            prop_assert_eq!(decoded, expected);
            prop_assert_eq!(usize::from(order.depth()), depth);
        }

        #[test]
        fn any_times_are_placed_in_growing_order_and_never_after_they_are_shown(
            depth in proptest::option::of(any::<u8>()),
            rate: Option<u32>,
            times in proptest::collection::vec(prop_oneof![0_i64..3_000, any::<i64>()], 1..100),
        ) {
            let mut order = DecodeOrder::new(depth, rate);
            let mut last = None;
            for millis in times {
                match order.push(MediaTime::from_millis(millis)) {
                    Some(timing) => {
                        prop_assert!(timing.dts <= timing.pts);
                        prop_assert!(last.is_none_or(|last| timing.dts >= last));
                        last = Some(timing.dts);
                    }
                    None => {
                        order.restart();
                        last = None;
                    }
                }
                prop_assert!(order.waiting.len() <= MAX_DEPTH && order.history.len() <= HISTORY);
            }
        }
    }
}
