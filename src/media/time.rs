//! Media time: one clock for all tracks of all sources.
//!
//! The unit is the *flick*, 1/705 600 000 s: every frame rate and every audio and RTP clock in use divides it, so that
//! a timestamp passes from 90 kHz to the common clock and back without rounding.

use std::{
    fmt,
    num::NonZeroU32,
    ops::{Add, AddAssign, Neg, Sub},
    time::Duration,
};

/// Flicks in a second.
pub const FLICKS_PER_SECOND: i64 = 705_600_000;

/// A point, or a signed span, on the common media clock.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The clock's zero; the span of nothing.
    pub const ZERO: Self = Self(0);
    /// Later than anything.
    pub const MAX: Self = Self(i64::MAX);

    /// A time in flicks.
    pub const fn from_flicks(flicks: i64) -> Self {
        Self(flicks)
    }

    /// This time in flicks.
    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// A time of `ticks` ticks of a clock, rounded to the nearest flick where the rate does not divide it.
    pub fn from_ticks(ticks: i64, rate: ClockRate) -> Self {
        Self(scale(ticks, FLICKS_PER_SECOND, i64::from(rate.hz())))
    }

    /// This time in ticks of a clock, rounded to the nearest.
    pub fn ticks(self, rate: ClockRate) -> i64 {
        scale(self.0, i64::from(rate.hz()), FLICKS_PER_SECOND)
    }

    /// A time of whole milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(FLICKS_PER_SECOND / 1000))
    }

    /// This time in milliseconds, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(FLICKS_PER_SECOND / 1000)
    }

    /// This time in nanoseconds, rounded to the nearest.
    pub fn nanos(self) -> i64 {
        scale(self.0, 1_000_000_000, FLICKS_PER_SECOND)
    }

    /// A time of so many nanoseconds, rounded to the nearest flick.
    pub fn from_nanos(nanos: i64) -> Self {
        Self(scale(nanos, FLICKS_PER_SECOND, 1_000_000_000))
    }

    /// This time in seconds, for people and playlists.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / FLICKS_PER_SECOND as f64
    }

    /// This span as a duration; nothing if it is negative.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos()).unwrap_or(0))
    }

    /// The size of this span whatever its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

impl From<Duration> for MediaTime {
    fn from(span: Duration) -> Self {
        Self::from_nanos(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// `value * to / from` rounded to the nearest, saturating.
fn scale(value: i64, to: i64, from: i64) -> i64 {
    let (to, from) = (i128::from(to), i128::from(from));
    let product = i128::from(value) * to;
    let rounded = (product + from / 2).div_euclid(from);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

impl Add for MediaTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MediaTime {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for MediaTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for MediaTime {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.seconds())
    }
}

/// Ticks per second of a track's clock; never zero, so that nothing below divides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockRate(NonZeroU32);

impl ClockRate {
    /// 90 kHz, the clock of every video payload format.
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).expect("90000 is not zero"));
    /// 48 kHz, the clock of Opus (RFC 7587 §4.1).
    pub const OPUS: Self = Self(NonZeroU32::new(48_000).expect("48000 is not zero"));
    /// 8 kHz, the clock of G.711 and, by an old mistake, of G.722 (RFC 3551 §4.5.2).
    pub const TELEPHONE: Self = Self(NonZeroU32::new(8_000).expect("8000 is not zero"));

    /// A rate of `hz` ticks a second, unless that is zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_in_use_passes_through_the_common_clock_unchanged() {
        for hz in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000, 96_000] {
            let rate = ClockRate::new(hz).unwrap();
            for ticks in [-7, 0, 1, 1023, 1024, 90_001, i64::from(u32::MAX) * 9 + 5] {
                assert_eq!(MediaTime::from_ticks(ticks, rate).ticks(rate), ticks, "{hz} Hz");
            }
        }
    }

    #[test]
    fn extreme_ticks_saturate_and_do_not_panic() {
        assert_eq!(MediaTime::from_ticks(i64::MAX, ClockRate::TELEPHONE).flicks(), i64::MAX);
        assert_eq!(MediaTime::from_flicks(i64::MIN).abs(), MediaTime::MAX);
    }

    #[test]
    fn durations_convert_both_ways() {
        let span = MediaTime::from(Duration::from_millis(40));
        assert_eq!((span.millis(), span.duration()), (40, Duration::from_millis(40)));
        assert_eq!(MediaTime::from_millis(-1).duration(), Duration::ZERO);
    }
}
