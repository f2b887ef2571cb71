//! Sender reports: one moment, that of the newest live picture, on the wall clock and on the clock of each line
//! (RFC 3550 §6.4.1), so that a viewer knows when a picture was taken and keeps sound with it. Sans-IO.

use std::time::Duration;

use crate::{
    base::{Monotonic, WallTime},
    media::{MediaTime, Unit},
    rtp::rtcp::ReportBlock,
};

/// Reports remembered, for the round trip.
const REMEMBERED: usize = 4;
/// Reports come this far apart, and up to twice as far.
const EVERY: Duration = Duration::from_secs(1);
/// Beyond this the wall clock was stepped, in nanoseconds.
const STEP: i64 = 500_000_000;

/// A unit of the leading line whose time is true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// On the viewer's timeline.
    pub(super) time: MediaTime,
    pub(super) captured: Option<WallTime>,
    pub(super) arrived: Monotonic,
}

impl Moment {
    /// The moment of a unit placed at `time`.
    pub(super) fn of(unit: &Unit, time: MediaTime) -> Self {
        Self { time, captured: unit.captured, arrived: unit.arrived }
    }

    /// Where on the viewer's timeline a unit of another ring lies: as far from this moment as it was taken from it, or
    /// as it came where nobody knows when it was taken.
    pub(super) fn place(&self, unit: &Unit) -> MediaTime {
        /// Cameras' clocks of both renditions are one, or capture time is no help.
        const ALIKE: i64 = 2_000_000_000;
        let came = unit.arrived.as_nanos().cast_signed() - self.arrived.as_nanos().cast_signed();
        let taken = unit.captured.zip(self.captured).map(|(unit, own)| unit.nanos_since(own));
        let apart = taken.filter(|taken| (taken - came).abs() < ALIKE).unwrap_or(came);
        self.time + MediaTime::from_nanos(apart)
    }
}

/// When reports are due and what they say of time.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) moment: Option<Moment>,
    /// Nanoseconds from the viewer's timeline to the wall clock.
    wall_offset: Option<i64>,
    due: Option<Monotonic>,
    /// The middle of the NTP timestamps of the newest reports, and when they left.
    sent: [(u32, Monotonic); REMEMBERED],
    count: usize,
}

impl Reports {
    pub(super) const fn new() -> Self {
        let sent = [(0, Monotonic::from_nanos(0)); REMEMBERED];
        Self { moment: None, wall_offset: None, due: None, sent, count: 0 }
    }

    /// Makes a report due now: the first packets left, or the stream was spliced.
    pub(super) fn hurry(&mut self) {
        self.due = None;
    }

    /// The moment to report, if a report is due.
    pub(super) fn poll(&mut self, now: Monotonic, wall: WallTime) -> Option<(MediaTime, WallTime)> {
        let moment = self.moment?;
        if self.due.is_some_and(|due| now < due) {
            return None;
        }
        let taken = self.capture_time(moment, now, wall);
        // §6.2: spread, so that the reports of viewers that joined together do not stay together.
        let spread = Duration::from_millis((now.as_nanos() / 1_000).wrapping_mul(0x9e37_79b9) >> 7 & 0x3ff);
        self.due = Some(now + EVERY + spread);
        self.sent[self.count % REMEMBERED] = ((taken.to_ntp() >> 16) as u32, now);
        self.count += 1;
        Some((moment.time, taken))
    }

    /// When the moment was: as its camera says, else as its arrival tells, with the jitter of arrivals smoothed away.
    fn capture_time(&mut self, moment: Moment, now: Monotonic, wall: WallTime) -> WallTime {
        let time = moment.time.nanos();
        if let Some(captured) = moment.captured {
            self.wall_offset = Some(captured.unix_nanos().saturating_sub(time));
            return captured;
        }
        let ago = i64::try_from(now.since(moment.arrived).as_nanos()).unwrap_or(i64::MAX);
        let seen = wall.unix_nanos().saturating_sub(ago).saturating_sub(time);
        let offset = match self.wall_offset {
            Some(offset) if (seen - offset).abs() < STEP => offset + (seen - offset) / 8,
            _ => seen,
        };
        self.wall_offset = Some(offset);
        WallTime::from_unix_nanos(time.saturating_add(offset))
    }

    /// The round trip a report block tells (§6.4.1). Our reports speak of capture, so that the time they left at is
    /// looked up and not read from them.
    pub(super) fn round_trip(&self, block: &ReportBlock, now: Monotonic) -> Option<Duration> {
        if block.last_report == 0 {
            return None;
        }
        let (_, left) = self.sent[..self.count.min(REMEMBERED)].iter().find(|(ntp, _)| *ntp == block.last_report)?;
        let held = Duration::from_nanos(u64::from(block.delay_since_last_report) * 1_000_000_000 / 65_536);
        Some(now.since(*left).saturating_sub(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos((3_600_000 + millis) * 1_000_000)
    }

    fn wall(millis: i64) -> WallTime {
        WallTime::from_unix_nanos((1_700_000_000_000 + millis) * 1_000_000)
    }

    fn moment(millis: i64, captured: Option<i64>, arrived: u64) -> Moment {
        Moment { time: MediaTime::from_millis(millis), captured: captured.map(wall), arrived: at(arrived) }
    }

    #[test]
    fn a_report_follows_the_first_packets_and_then_comes_each_one_to_two_seconds() {
        let mut reports = Reports::new();
        assert_eq!(reports.poll(at(0), wall(0)), None, "nothing true to say yet");
        let mut told = Vec::new();
        for millis in (0..60_000).step_by(40) {
            reports.moment = Some(moment(millis as i64, Some(millis as i64 - 300), millis));
            if let Some((time, taken)) = reports.poll(at(millis), wall(millis as i64)) {
                assert_eq!(taken, wall(time.millis() - 300), "it speaks of capture");
                told.push(millis);
            }
        }
        assert_eq!(told[0], 0);
        assert!(told.windows(2).all(|pair| (1000..=2100).contains(&(pair[1] - pair[0]))), "{told:?}");
        reports.hurry();
        assert!(reports.poll(at(60_000), wall(60_000)).is_some(), "at once after a splice");
    }

    #[test]
    fn without_capture_times_arrivals_tell_and_their_jitter_is_smoothed() {
        let mut reports = Reports::new();
        let mut taken = |millis: u64, late: u64| {
            reports.moment = Some(moment(millis as i64, None, millis + late));
            reports.hurry();
            let (_, taken) = reports.poll(at(millis + late), wall((millis + late) as i64)).unwrap();
            taken.nanos_since(wall(millis as i64)) / 1_000_000
        };
        assert_eq!(taken(1000, 0), 0);
        assert!((1..=10).contains(&taken(6000, 80)), "80 ms of jitter move it by a tenth");
    }

    #[test]
    fn the_round_trip_is_counted_from_when_the_report_left_whatever_moment_it_told() {
        let mut reports = Reports::new();
        reports.moment = Some(moment(0, Some(-60_000), 0));
        let (_, taken) = reports.poll(at(0), wall(0)).unwrap();
        let block = ReportBlock {
            last_report: (taken.to_ntp() >> 16) as u32,
            delay_since_last_report: 65_536 / 2,
            ..ReportBlock::default()
        };
        assert_eq!(reports.round_trip(&block, at(580)), Some(Duration::from_millis(80)));
        let unknown = ReportBlock { last_report: 1, ..block };
        assert_eq!(reports.round_trip(&unknown, at(580)), None);
    }
}
