//! When the camera took a picture, on the wall clock: from its RTCP sender reports (RFC 3550 §6.4.1) where they can be
//! believed, else from when its units arrive.
//!
//! Both are samples of one number, the wall clock's lead over the media timeline. The lead in force follows the samples
//! so slowly that capture times never run backwards against presentation times, and steps only when two samples in a
//! row agree that the sender's clock was set. A report that is more than a day off ours (cameras that woke up in 1970)
//! is no sample; when there are only such, arrivals count again.

use std::time::Duration;

use crate::{base::WallTime, media::MediaTime};

const SECOND: i64 = 1_000_000_000;

/// A sender's clock further from ours than this is not a clock.
const MAX_OFFSET: i64 = 24 * 3600 * SECOND;

/// A sample this far from what is known is no jitter: the clock was set, or the sample is wrong.
const STEP: i64 = SECOND;

/// How much of a media second the lead may move in it. A hundredth keeps 16 reordered frames in order and takes up an
/// error of a tenth of a second in ten.
const SLEW_DIVISOR: i64 = 100;

/// What a new sample counts against those before.
const WEIGHT: i64 = 4;

/// Reports that cannot be believed before those that could are forgotten.
const MAX_ABSURD: u8 = 2;

/// Arrivals are judged by the quickest in so much time: delays only add.
const ARRIVAL_WINDOW: Duration = Duration::from_secs(5);

/// What capture times rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureBasis {
    /// The sender's own clock.
    Sender,
    /// When units arrive here.
    Arrival,
}

/// Tells the capture time of the units of one track.
#[derive(Clone, Debug, Default)]
pub struct CaptureClock {
    sender: Lead,
    absurd: u8,
    arrivals: Lead,
    window: Option<Window>,
    /// The lead in force, and the newest presentation time it was moved for.
    applied: Option<(i64, MediaTime)>,
}

/// The wall clock's lead over the media timeline, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Lead {
    known: Option<i64>,
    /// A sample that did not fit; one more like it and the clock was set.
    suspect: Option<i64>,
}

/// The quickest arrival within a stretch of media time.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: MediaTime,
    least: i64,
    first: bool,
}

impl CaptureClock {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sender report: the NTP time it gives, the same moment on the media timeline, and when it came.
    pub fn report(&mut self, ntp: u64, media: MediaTime, arrived: WallTime) {
        // §6.4.1: a sender without a wall clock writes zero.
        let sane = ntp != 0 && WallTime::from_ntp(ntp).nanos_since(arrived).saturating_abs() <= MAX_OFFSET;
        if sane {
            self.absurd = 0;
            self.sender.sample(lead(WallTime::from_ntp(ntp), media));
        } else {
            self.absurd = self.absurd.saturating_add(1);
            if self.absurd >= MAX_ABSURD {
                self.sender = Lead::default();
            }
        }
    }

    /// The capture time of a unit shown at `media` that arrived at `arrived`.
    pub fn unit(&mut self, media: MediaTime, arrived: WallTime) -> WallTime {
        self.note_arrival(media, lead(arrived, media));
        let target = self.sender.known.or(self.arrivals.known).unwrap_or(0);
        let (lead, newest) = match self.applied {
            None => (target, media),
            // A camera's buffered GOP comes first, as fast as it can: the first window is taken as it goes. A lead that
            // falls to the newest arrival never puts a unit before the one that arrived before it.
            Some((_, newest)) if self.sender.known.is_none() && self.window.is_some_and(|window| window.first) => {
                (target, newest.max(media))
            }
            // A step beyond slewing: the sender's clock was set, or became known.
            Some((lead, newest)) if target.saturating_sub(lead).saturating_abs() >= STEP => (target, newest.max(media)),
            Some((lead, newest)) => {
                let most = (media - newest).nanos().max(0) / SLEW_DIVISOR;
                (lead.saturating_add(target.saturating_sub(lead).clamp(-most, most)), newest.max(media))
            }
        };
        self.applied = Some((lead, newest));
        WallTime::from_unix_nanos(media.nanos().saturating_add(lead))
    }

    /// What capture times rest on now.
    pub const fn basis(&self) -> CaptureBasis {
        if self.sender.known.is_some() { CaptureBasis::Sender } else { CaptureBasis::Arrival }
    }

    /// The media timeline was broken: what was known of its place on the wall clock is worth nothing.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    fn note_arrival(&mut self, media: MediaTime, lead: i64) {
        let window = self.window.get_or_insert(Window { began: media, least: lead, first: true });
        let broken = lead.saturating_sub(window.least).saturating_abs() >= MAX_OFFSET;
        if broken || media - window.began >= MediaTime::from(ARRIVAL_WINDOW) || media < window.began {
            self.arrivals.sample(window.least);
            *window = Window { began: media, least: lead, first: false };
        }
        window.least = window.least.min(lead);
        if window.first {
            self.arrivals.known = Some(window.least);
        }
    }
}

impl Lead {
    fn sample(&mut self, sample: i64) {
        let Some(known) = self.known else {
            self.known = Some(sample);
            return;
        };
        let error = sample.saturating_sub(known);
        if error.saturating_abs() < STEP {
            self.known = Some(known.saturating_add(error / WEIGHT));
            self.suspect = None;
        } else if self.suspect.is_some_and(|suspect| sample.saturating_sub(suspect).saturating_abs() < STEP) {
            *self = Self { known: Some(sample), suspect: None };
        } else {
            self.suspect = Some(sample);
        }
    }
}

fn lead(wall: WallTime, media: MediaTime) -> i64 {
    wall.unix_nanos().saturating_sub(media.nanos())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_763_000_000 * SECOND;
    const FRAME: i64 = 40;
    const MILLI: i64 = 1_000_000;

    fn wall(millis: i64) -> WallTime {
        WallTime::from_unix_nanos(START + millis * MILLI)
    }

    /// The capture time of the unit at `millis` of the timeline that comes 30 ms later, in milliseconds after START.
    fn unit(clock: &mut CaptureClock, millis: i64) -> i64 {
        clock.unit(MediaTime::from_millis(millis), wall(millis + 30)).nanos_since(wall(0)) / MILLI
    }

    /// A report at `millis` of the timeline from a clock that is `ahead` of ours.
    fn report(clock: &mut CaptureClock, millis: i64, ahead: i64) {
        clock.report(wall(millis + ahead).to_ntp(), MediaTime::from_millis(millis), wall(millis + 30));
    }

    #[test]
    fn reports_give_the_senders_time_once_they_come() {
        let mut clock = CaptureClock::new();
        assert_eq!(unit(&mut clock, 0), 30, "without a report the arrival is the best guess");
        assert_eq!(clock.basis(), CaptureBasis::Arrival);
        report(&mut clock, 40, -90_000);
        assert_eq!(clock.basis(), CaptureBasis::Sender);
        assert!((unit(&mut clock, 40) - (40 - 90_000)).abs() <= 1);
    }

    #[test]
    fn jitter_of_reports_is_smoothed_and_never_runs_backwards() {
        let mut clock = CaptureClock::new();
        report(&mut clock, 0, 0);
        let mut last = unit(&mut clock, 0);
        for frame in 1..2_000 {
            let millis = frame * FRAME;
            if frame % 125 == 0 {
                report(&mut clock, millis, if frame % 250 == 0 { 80 } else { -80 });
            }
            let now = unit(&mut clock, millis);
            assert!(now > last, "{now} after {last}");
            assert!((now - millis).abs() <= 40, "{now} at {millis}");
            last = now;
        }
    }

    #[test]
    fn a_sender_clock_that_was_set_is_followed_in_one_step_and_one_odd_report_is_not() {
        let mut clock = CaptureClock::new();
        report(&mut clock, 0, 0);
        report(&mut clock, 5_000, 3_600_000);
        assert_eq!(unit(&mut clock, 5_000), 5_000, "one report alone is not believed");
        report(&mut clock, 10_000, 0);
        assert_eq!(unit(&mut clock, 10_000), 10_000);
        let mut steps = 0;
        let mut last = 10_000;
        for millis in (10_040..40_000).step_by(40) {
            if millis % 5_000 == 0 {
                report(&mut clock, millis, -3_600_000);
            }
            let now = unit(&mut clock, millis);
            steps += i32::from(now != last + 40);
            last = now;
        }
        assert_eq!((steps, last), (1, 39_960 - 3_600_000));
    }

    /// Crystals are off by up to 200 ppm: 0.7 s an hour, which no arrival window would show.
    #[test]
    fn drift_is_followed_for_hours_with_reports_and_without() {
        for (drift, reports) in [(200, true), (-200, true), (200, false), (-200, false)] {
            let mut clock = CaptureClock::new();
            let mut last = i64::MIN;
            for second in 0..10 * 3600_i64 {
                let millis = second * 1000 + second * drift / 1000;
                if reports && second % 5 == 0 {
                    // Stamped in a busy camera, up to 8 ms late.
                    let late = second * 7919 % 9;
                    clock.report(
                        wall(second * 1000 + late).to_ntp(),
                        MediaTime::from_millis(millis),
                        wall(second * 1000),
                    );
                }
                let arrived = wall(second * 1000 + 30 + second * 104_729 % 20);
                let now = clock.unit(MediaTime::from_millis(millis), arrived).nanos_since(wall(0)) / MILLI;
                assert!(now > last, "{drift} ppm: {now} after {last}");
                let error = now - second * 1000;
                let bounds = if reports { -12..=20 } else { 15..=60 };
                assert!(bounds.contains(&error), "{drift} ppm, reports {reports}: {error} ms off after {second} s");
                last = now;
            }
        }
    }

    /// 2036-02-07T06:28:16Z: 32 bits of seconds begin anew.
    #[test]
    fn the_ntp_era_may_end_while_a_camera_plays() {
        const ERA_ENDS: i64 = 2_085_978_496;
        let mut clock = CaptureClock::new();
        for second in -60..60_i64 {
            let wall = WallTime::from_unix_nanos((ERA_ENDS + second) * SECOND);
            let media = MediaTime::from_millis((second + 60) * 1000);
            clock.report(wall.to_ntp(), media, wall);
            let captured = clock.unit(media, wall);
            assert!(captured.nanos_since(wall).abs() < MILLI, "{captured} at {wall}");
        }
        assert_eq!(clock.basis(), CaptureBasis::Sender);
    }

    #[test]
    fn a_clock_that_is_a_day_off_or_of_1970_counts_for_nothing() {
        let mut clock = CaptureClock::new();
        clock.report(WallTime::from_unix_nanos(77 * SECOND).to_ntp(), MediaTime::ZERO, wall(0));
        clock.report(0, MediaTime::ZERO, wall(0));
        report(&mut clock, 0, 25 * 3_600_000);
        assert_eq!(clock.basis(), CaptureBasis::Arrival);
        assert_eq!(unit(&mut clock, 0), 30);
        assert_eq!(unit(&mut clock, 400), 430);
        // It is set right, and later loses its battery.
        report(&mut clock, 1_000, 0);
        assert_eq!(clock.basis(), CaptureBasis::Sender);
        report(&mut clock, 2_000, -30 * 24 * 3_600_000);
        assert_eq!(clock.basis(), CaptureBasis::Sender);
        report(&mut clock, 3_000, -30 * 24 * 3_600_000);
        assert_eq!(clock.basis(), CaptureBasis::Arrival);
    }

    #[test]
    fn arrivals_count_by_the_quickest_and_follow_drift() {
        let mut clock = CaptureClock::new();
        // The camera begins with two seconds it had kept, then is live; its clock loses 1 in 1000 against ours.
        let mut last = i64::MIN;
        for frame in 0..15_000 {
            let millis = frame * FRAME;
            let (buffered, jitter) = ((2_000 - millis).max(0), frame * 7919 % 37);
            let arrived = wall(millis + millis / 1000 + buffered + jitter);
            let now = clock.unit(MediaTime::from_millis(millis), arrived).nanos_since(wall(0)) / MILLI;
            if frame > 100 {
                assert!(now > last && now <= last + 42, "{now} after {last}");
                let error = now - (millis + millis / 1000);
                assert!((-60..=60).contains(&error), "{error} ms off at {millis}");
            }
            last = now;
        }
    }

    #[test]
    fn pictures_out_of_order_keep_the_order_in_which_they_are_shown() {
        let mut clock = CaptureClock::new();
        report(&mut clock, 0, 0);
        unit(&mut clock, 0);
        report(&mut clock, 40, 900);
        let mut times: Vec<(i64, i64)> = Vec::new();
        for gop in 0..50 {
            for frame in [4, 2, 1, 3] {
                let millis = (gop * 4 + frame) * FRAME;
                times.push((millis, unit(&mut clock, millis)));
            }
        }
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }

    proptest! {
        #[test]
        fn any_reports_and_times_are_taken_without_a_panic(
            events in proptest::collection::vec((any::<bool>(), any::<u64>(), any::<i64>(), any::<i64>()), 0..60),
        ) {
            let mut clock = CaptureClock::new();
            for (is_report, ntp, media, arrived) in events {
                let (media, arrived) = (MediaTime::from_flicks(media), WallTime::from_unix_nanos(arrived));
                if is_report {
                    clock.report(ntp, media, arrived);
                } else {
                    clock.unit(media, arrived);
                }
            }
        }
    }
}
