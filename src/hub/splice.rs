//! One monotone timeline out of the runs of a source: reconnects, reboots, timestamp jumps.
//!
//! A run begins at its first random access point, placed as far behind the last unit as it arrived behind it, with one
//! offset for all its tracks. Within a run a track whose timestamps jump is put back in line; another track that jumps
//! the same way takes the same offset, so that sound stays with the picture. Sans-IO; the hub publishes what comes out.

use std::time::Duration;

use crate::{
    base::Monotonic,
    media::{AccessUnit, MediaTime, TrackId},
};

/// Where the timeline of a ring begins. Not at zero: sound that belongs to the first picture may lie before it.
const ORIGIN: MediaTime = MediaTime::from_millis(10_000);

/// A timestamp this far from where arrival says it should be is a jump; a burst after a stall is less.
const JUMP: MediaTime = MediaTime::from_millis(10_000);

/// A decode time that runs back by more than this is a jump, whatever the arrival says.
const BACKWARDS: MediaTime = MediaTime::from_millis(1_000);

/// How near an offset known from another track must bring a track that jumped.
const NEAR: MediaTime = MediaTime::from_millis(2_000);

/// Offsets remembered within a run.
const OFFSETS: usize = 4;

/// The place of a unit on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) pts: MediaTime,
    pub(super) dts: MediaTime,
    /// First unit of its track in a run that is not the first one.
    pub(super) spliced: bool,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    offset: MediaTime,
    source_dts: MediaTime,
    dts: MediaTime,
    arrived: Monotonic,
}

/// The splicing of one ring.
#[derive(Debug, Default)]
pub(super) struct Splicer {
    /// The furthest decode time given out, and when its unit arrived.
    end: Option<(MediaTime, Monotonic)>,
    leading: Option<TrackId>,
    /// Offsets of this run, the newest first; empty while the run waits for its random access point.
    offsets: Vec<MediaTime>,
    lines: Vec<Option<Line>>,
    first_run: bool,
    /// Decode times per track of the runs before, which no unit may fall behind.
    floors: Vec<MediaTime>,
}

impl Splicer {
    /// A run of so many tracks begins; `leading` is the one whose random access point opens it.
    pub(super) fn begin(&mut self, tracks: usize, leading: Option<TrackId>) {
        self.first_run = self.end.is_none();
        self.leading = leading;
        self.offsets.clear();
        self.floors =
            (0..tracks).map(|i| self.lines.get(i).copied().flatten().map_or(MediaTime::ZERO, |l| l.dts)).collect();
        self.lines = vec![None; tracks];
    }

    /// Places a unit; `None` keeps it out: it comes before the random access point, or overlaps the run before.
    pub(super) fn admit(&mut self, unit: &AccessUnit) -> Option<Placed> {
        let track = usize::from(unit.track.0);
        let line = *self.lines.get(track)?;
        if self.offsets.is_empty() {
            let opens = self.leading.is_none_or(|leading| leading == unit.track) && unit.random_access;
            if !opens {
                return None;
            }
            let target = self.end.map_or(ORIGIN, |(end, at)| end + step(at, unit.arrived));
            self.offsets.push(target - unit.dts);
        }
        let offset = match line {
            None => *self.offsets.first()?,
            Some(line) if jumped(&line, unit) => self.realign(&line, unit),
            Some(line) => line.offset,
        };
        let mut dts = unit.dts + offset;
        match line {
            None if dts < self.floors[track] => return None,
            None => {}
            // Jitter of a source's clock: decode time never runs back.
            Some(line) => dts = dts.max(line.dts),
        }
        let pts = (unit.pts + offset).max(dts);
        self.lines[track] = Some(Line { offset, source_dts: unit.dts, dts, arrived: unit.arrived });
        if self.end.is_none_or(|(end, _)| dts >= end) {
            self.end = Some((dts, unit.arrived));
        }
        Some(Placed { pts, dts, spliced: line.is_none() && !self.first_run })
    }

    /// The offset for a track whose timestamps jumped: one that another track already took, else a new one.
    fn realign(&mut self, line: &Line, unit: &AccessUnit) -> MediaTime {
        let expected = line.dts + step(line.arrived, unit.arrived);
        let fits = |offset: &&MediaTime| (unit.dts + **offset - expected).abs() <= NEAR;
        if let Some(known) = self.offsets.iter().find(fits) {
            return *known;
        }
        let offset = expected - unit.dts;
        self.offsets.insert(0, offset);
        self.offsets.truncate(OFFSETS);
        offset
    }
}

/// The time that passed between two arrivals, and never nothing.
fn step(before: Monotonic, now: Monotonic) -> MediaTime {
    now.since(before).max(Duration::from_millis(1)).into()
}

fn jumped(line: &Line, unit: &AccessUnit) -> bool {
    let moved = unit.dts - line.source_dts;
    let passed = MediaTime::from(unit.arrived.since(line.arrived));
    moved < -BACKWARDS || (moved - passed).abs() > JUMP
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const VIDEO: TrackId = TrackId(0);
    const SOUND: TrackId = TrackId(1);

    fn unit(track: TrackId, dts_ms: i64, arrived_ms: u64, random_access: bool) -> AccessUnit {
        let time = MediaTime::from_millis(dts_ms);
        AccessUnit {
            track,
            pts: time,
            dts: time,
            captured: None,
            arrived: Monotonic::from_nanos(arrived_ms * 1_000_000),
            random_access,
            after_loss: false,
            marker: false,
            payload: Bytes::new(),
        }
    }

    fn started() -> Splicer {
        let mut splicer = Splicer::default();
        splicer.begin(2, Some(VIDEO));
        splicer
    }

    #[test]
    fn a_run_opens_at_its_first_random_access_point() {
        let mut splicer = started();
        assert_eq!(splicer.admit(&unit(SOUND, 0, 0, true)), None);
        assert_eq!(splicer.admit(&unit(VIDEO, 0, 0, false)), None);
        let first = splicer.admit(&unit(VIDEO, 40, 40, true)).unwrap();
        assert_eq!((first.dts, first.spliced), (ORIGIN, false));
        let sound = splicer.admit(&unit(SOUND, 30, 45, true)).unwrap();
        assert_eq!(sound.dts, ORIGIN - MediaTime::from_millis(10), "sound keeps its distance from the picture");
    }

    #[test]
    fn a_returning_source_goes_on_as_far_behind_as_it_arrived() {
        let mut splicer = started();
        splicer.admit(&unit(VIDEO, 5_000, 0, true)).unwrap();
        splicer.admit(&unit(SOUND, 5_010, 10, true)).unwrap();
        splicer.begin(2, Some(VIDEO));
        let back = splicer.admit(&unit(VIDEO, 100, 7_010, true)).unwrap();
        assert_eq!(back.dts, ORIGIN + MediaTime::from_millis(10 + 7_000));
        assert!(back.spliced);
        let sound = splicer.admit(&unit(SOUND, 120, 7_030, true)).unwrap();
        assert_eq!(sound.dts - back.dts, MediaTime::from_millis(20), "one offset for all tracks");
    }

    #[test]
    fn a_jump_of_an_hour_is_put_back_in_line_on_both_tracks_alike() {
        let hour = 3_600_000;
        for jump in [hour, -hour] {
            let mut splicer = started();
            let base = 2 * hour;
            splicer.admit(&unit(VIDEO, base, 0, true)).unwrap();
            splicer.admit(&unit(SOUND, base, 0, true)).unwrap();
            let video = splicer.admit(&unit(VIDEO, base + 40 + jump, 40, false)).unwrap();
            let before = splicer.admit(&unit(SOUND, base + 21, 41, true)).unwrap();
            let after = splicer.admit(&unit(SOUND, base + 42 + jump, 42, true)).unwrap();
            assert_eq!(video.dts, ORIGIN + MediaTime::from_millis(40));
            assert_eq!(before.dts, ORIGIN + MediaTime::from_millis(21));
            assert_eq!(after.dts - video.dts, MediaTime::from_millis(2), "the sound took the picture's offset");
        }
    }

    #[test]
    fn a_burst_after_a_stall_is_no_jump() {
        let mut splicer = started();
        splicer.admit(&unit(VIDEO, 0, 0, true)).unwrap();
        let late = splicer.admit(&unit(VIDEO, 40, 8_000, false)).unwrap();
        assert_eq!(late.dts, ORIGIN + MediaTime::from_millis(40));
    }

    #[test]
    fn a_unit_of_a_track_nobody_announced_is_kept_out() {
        assert_eq!(started().admit(&unit(TrackId(7), 0, 0, true)), None);
    }

    proptest! {
        #[test]
        fn decode_time_never_runs_back_and_never_lies_behind_presentation(
            steps in prop::collection::vec((0u8..3, -20_000_000i64..20_000_000, 0u64..500, any::<bool>()), 1..80),
        ) {
            let mut splicer = started();
            let (mut source, mut arrived) = (0i64, 0u64);
            let mut last = [MediaTime::from_flicks(i64::MIN); 2];
            for (what, jump, wait, random_access) in steps {
                arrived += wait;
                source += i64::try_from(wait).unwrap();
                match what {
                    0 => source += jump,
                    1 if wait > 400 => splicer.begin(2, Some(VIDEO)),
                    _ => {}
                }
                let track = TrackId(u8::from(random_access && what == 2));
                if let Some(placed) = splicer.admit(&unit(track, source, arrived, random_access)) {
                    let last = &mut last[usize::from(track.0)];
                    prop_assert!(placed.dts >= *last && placed.pts >= placed.dts);
                    *last = placed.dts;
                }
            }
        }
    }
}
