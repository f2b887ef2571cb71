//! What passes: units, bytes, loss, rate and GOP length per track. Sans-IO; the publisher counts, the API reads.

use std::time::Duration;

use crate::{
    base::Monotonic,
    media::{MediaTime, TrackId},
};

/// Whole seconds that rates are taken over.
const WINDOW: u64 = 5;

/// The figures of one track.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrackFigures {
    /// Units since the track began.
    pub units: u64,
    /// Payload bytes since the track began.
    pub bytes: u64,
    /// Bits per second over the last seconds.
    pub bit_rate_bps: u64,
    /// Units per second over the last seconds.
    pub units_per_second: f64,
    /// Between the last two random access points.
    pub gop: Option<Duration>,
    /// Units between the last two random access points.
    pub gop_units: Option<u32>,
    /// When the newest unit arrived.
    pub newest: Option<Monotonic>,
    /// Packets since the track began that did not arrive, as far as the source counts them by track.
    pub packets_lost: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: u64,
    units: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct TrackMeter {
    units: u64,
    bytes: u64,
    /// Units and bytes before the run.
    before: (u64, u64),
    seconds: [Second; WINDOW as usize + 1],
    /// When the run's first unit arrived.
    began: Option<Monotonic>,
    newest: Option<Monotonic>,
    start: Option<MediaTime>,
    since_start: u32,
    gop: Option<(Duration, u32)>,
    packets_lost: u64,
}

/// Counts the units of a ring.
#[derive(Debug, Default)]
pub(super) struct Meter {
    tracks: Vec<TrackMeter>,
    /// The longest GOP seen, which playlists remember.
    longest_gop: Duration,
}

fn second(at: Monotonic) -> u64 {
    at.as_nanos() / 1_000_000_000
}

impl Meter {
    /// Another list of so many tracks begins.
    pub(super) fn begin(&mut self, tracks: usize) {
        self.tracks = (0..tracks).map(|_| TrackMeter::default()).collect();
    }

    /// Another run of the same tracks begins: what lay in between is no GOP and belongs to no rate.
    pub(super) fn resume(&mut self) {
        for meter in &mut self.tracks {
            let TrackMeter { units, bytes, newest, gop, packets_lost, .. } = *meter;
            *meter =
                TrackMeter { units, bytes, newest, gop, packets_lost, before: (units, bytes), ..TrackMeter::default() };
        }
    }

    /// A unit passed.
    pub(super) fn count(&mut self, track: TrackId, arrived: Monotonic, dts: MediaTime, bytes: usize, start: bool) {
        let Some(meter) = self.tracks.get_mut(usize::from(track.0)) else { return };
        let bytes = bytes as u64;
        meter.units += 1;
        meter.bytes += bytes;
        meter.began.get_or_insert(arrived);
        meter.newest = Some(arrived);
        let at = second(arrived);
        let slot = &mut meter.seconds[(at % (WINDOW + 1)) as usize];
        if slot.at != at {
            *slot = Second { at, ..Second::default() };
        }
        slot.units += 1;
        slot.bytes += bytes;
        if start {
            if let Some(before) = meter.start.replace(dts) {
                let gop = (dts - before).duration();
                meter.gop = Some((gop, meter.since_start));
                self.longest_gop = self.longest_gop.max(gop);
            }
            meter.since_start = 0;
        }
        meter.since_start = meter.since_start.saturating_add(1);
    }

    /// Packets of a track did not arrive.
    pub(super) fn lost(&mut self, track: TrackId, packets: u64) {
        if let Some(meter) = self.tracks.get_mut(usize::from(track.0)) {
            meter.packets_lost += packets;
        }
    }

    /// The figures of a track as of `now`.
    pub(super) fn figures(&self, track: TrackId, now: Monotonic) -> TrackFigures {
        let Some(meter) = self.tracks.get(usize::from(track.0)) else { return TrackFigures::default() };
        // Whole seconds only: the running one would pull every rate down.
        let this = second(now);
        let counted = meter.seconds.iter().filter(|s| s.at < this && s.at + WINDOW >= this);
        let (units, bytes) = counted.fold((0, 0), |(units, bytes), s| (units + s.units, bytes + s.bytes));
        let whole = meter.began.map_or(0, |began| this.saturating_sub(second(began) + 1)).min(WINDOW);
        let (units, bytes, seconds) = if whole == 0 {
            let running = meter.began.map_or(0.0, |began| now.since(began).as_secs_f64());
            (meter.units - meter.before.0, meter.bytes - meter.before.1, running.max(0.2))
        } else {
            let first = meter.began.map_or(0, second);
            let partial = meter.seconds.iter().find(|s| s.at == first && s.at + WINDOW >= this);
            let (u, b) = partial.map_or((0, 0), |s| (s.units, s.bytes));
            (units - u, bytes - b, whole as f64)
        };
        TrackFigures {
            units: meter.units,
            bytes: meter.bytes,
            bit_rate_bps: (bytes as f64 * 8.0 / seconds) as u64,
            units_per_second: (units as f64 / seconds * 100.0).round() / 100.0,
            gop: meter.gop.map(|(gop, _)| gop),
            gop_units: meter.gop.map(|(_, units)| units),
            newest: meter.newest,
            packets_lost: meter.packets_lost,
        }
    }

    /// The longest GOP seen on the ring.
    pub(super) fn longest_gop(&self) -> Duration {
        self.longest_gop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_gop_are_those_of_the_last_seconds() {
        let mut meter = Meter::default();
        meter.begin(1);
        let ms = |ms: u64| Monotonic::from_nanos(ms * 1_000_000);
        for i in 0..250u64 {
            let dts = MediaTime::from_millis(i as i64 * 40);
            meter.count(TrackId(0), ms(300 + i * 40), dts, 1000, i % 50 == 0);
        }
        let figures = meter.figures(TrackId(0), ms(10_290));
        assert_eq!((figures.units, figures.bytes), (250, 250_000));
        assert_eq!((figures.units_per_second, figures.bit_rate_bps), (25.0, 200_000));
        assert_eq!((figures.gop, figures.gop_units), (Some(Duration::from_secs(2)), Some(50)));
        assert_eq!(meter.longest_gop(), Duration::from_secs(2));
        assert_eq!(meter.figures(TrackId(0), ms(60_000)).bit_rate_bps, 0, "silence shows");
        assert_eq!(meter.figures(TrackId(9), ms(0)), TrackFigures::default());
    }

    #[test]
    fn what_lies_between_two_runs_is_no_gop_and_belongs_to_no_rate() {
        let mut meter = Meter::default();
        meter.begin(1);
        let run = |meter: &mut Meter, from_ms: u64, units: u64| {
            for at in (0..units).map(|i| from_ms + i * 40) {
                let dts = MediaTime::from_millis(at as i64);
                meter.count(
                    TrackId(0),
                    Monotonic::from_nanos(at * 1_000_000),
                    dts,
                    1000,
                    (at - from_ms).is_multiple_of(2000),
                );
            }
        };
        let rate = |meter: &Meter, at_ms: u64| meter.figures(TrackId(0), Monotonic::from_nanos(at_ms * 1_000_000));
        run(&mut meter, 0, 100);
        meter.resume();
        assert_eq!(rate(&meter, 60_000).units_per_second, 0.0);
        for units in [15, 25, 50, 100, 250] {
            let mut meter = Meter::default();
            meter.begin(1);
            run(&mut meter, 0, 100);
            meter.resume();
            run(&mut meter, 60_300, units);
            let figures = rate(&meter, 60_300 + units * 40 - 1);
            assert!((24.0..27.0).contains(&figures.units_per_second), "{units} units: {figures:?}");
            assert_eq!((figures.units, figures.bytes), (100 + units, (100 + units) * 1000), "totals go on");
            assert_eq!((figures.gop, meter.longest_gop()), (Some(Duration::from_secs(2)), Duration::from_secs(2)));
        }
    }

    #[test]
    fn the_first_second_is_not_divided_by_the_whole_window() {
        let mut meter = Meter::default();
        meter.begin(1);
        for i in 0..25u64 {
            meter.count(TrackId(0), Monotonic::from_nanos(i * 40_000_000), MediaTime::ZERO, 1000, false);
        }
        let figures = meter.figures(TrackId(0), Monotonic::from_nanos(960_000_000));
        assert!((24.0..28.0).contains(&figures.units_per_second), "{figures:?}");
    }
}
