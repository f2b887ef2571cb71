//! Monotonic and wall time as two types, and the one place that reads the machine's clocks.
//!
//! Floors without a clock (`media`, `rtp`, the machines) take [`Monotonic`] and [`WallTime`] as arguments.
//! Timers run on the monotonic clock, tokens and captions on the wall clock.

use std::{
    fmt,
    ops::{Add, Sub},
    str::FromStr,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

/// Nanoseconds on a clock that never steps; its zero means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The instant `nanos` nanoseconds after this clock's zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds after this clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant for a library that wants the standard library's. Only the distance of two of them means anything.
    pub fn to_std(self) -> std::time::Instant {
        ZERO.into_std() + Duration::from_nanos(self.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z; the clock behind it may step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// Seconds from the NTP epoch (1900) to the Unix epoch (RFC 3550 §4).
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;

impl WallTime {
    /// The moment `nanos` nanoseconds after the Unix epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The moment of a 64-bit NTP timestamp (RFC 3550 §4), in the era that holds the years 1968 to 2104.
    pub const fn from_ntp(ntp: u64) -> Self {
        let seconds = (ntp >> 32) as i64;
        // RFC 4330 §3: with the top bit clear the timestamp belongs to the era after 2036.
        let seconds = if seconds & 0x8000_0000 == 0 { seconds + (1 << 32) } else { seconds };
        let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        Self((seconds - NTP_TO_UNIX_SECONDS) * 1_000_000_000 + nanos as i64)
    }

    /// This moment as a 64-bit NTP timestamp.
    pub const fn to_ntp(self) -> u64 {
        let seconds = (self.0.div_euclid(1_000_000_000) + NTP_TO_UNIX_SECONDS) as u64;
        let nanos = self.0.rem_euclid(1_000_000_000) as u64;
        (seconds << 32) | ((nanos << 32) / 1_000_000_000)
    }

    /// Signed nanoseconds from `earlier` to this moment.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment moved by a signed number of nanoseconds.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with milliseconds: `2026-11-20T10:15:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.unix_millis()) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.unix_millis()),
        }
    }
}

impl FromStr for WallTime {
    type Err = TimeError;

    /// RFC 3339, with any offset from UTC and any number of decimals.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| TimeError)?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| TimeError)
    }
}

/// A text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time as in RFC 3339, such as `2026-11-20T10:15:00.123Z`")]
pub struct TimeError;

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One moment on both clocks, as machines with timers that survive a restart take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What timers run on.
    pub monotonic: Monotonic,
    /// What people read, and what outlives the process.
    pub wall: WallTime,
}

impl Moment {
    /// The moment at which the monotonic clock showed, or will show, `at`, if the wall clock does not step.
    pub fn at(self, at: Monotonic) -> Self {
        Self { monotonic: at, wall: self.wall_of(at) }
    }

    /// What the wall clock shows when the monotonic clock shows `at`.
    pub fn wall_of(self, at: Monotonic) -> WallTime {
        let nanos = i128::from(at.as_nanos()) - i128::from(self.monotonic.as_nanos());
        self.wall.plus_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// What the monotonic clock shows when the wall clock shows `at`; its zero for what lies before it.
    pub fn monotonic_of(self, at: WallTime) -> Monotonic {
        let nanos = i128::from(self.monotonic.as_nanos()) + i128::from(at.nanos_since(self.wall));
        Monotonic::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

/// Where services read the time. Under tokio's paused clock [`Clock::now`] follows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

static ZERO: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

impl Clock {
    /// The monotonic clock. Its zero lies thirty days before the process first asked, so that a span may be taken off.
    pub fn now(self) -> Monotonic {
        const LEAD: Duration = Duration::from_secs(30 * 86_400);
        let zero = *ZERO;
        Monotonic::default() + LEAD + tokio::time::Instant::now().saturating_duration_since(zero)
    }

    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn wall(self) -> WallTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The day of a moment in the machine's time zone, as a number that grows by one with each day.
    pub fn day(self, time: WallTime) -> i64 {
        let Ok(time) = jiff::Timestamp::from_millisecond(time.unix_millis()) else { return 0 };
        let offset = jiff::tz::TimeZone::system().to_offset(time).seconds();
        day_at(time.as_second(), offset.into())
    }

    /// Both clocks at once.
    pub fn moment(self) -> Moment {
        Moment { monotonic: self.now(), wall: self.wall() }
    }

    /// The runtime's instant at which this clock shows `at`, for timers.
    pub fn instant(self, at: Monotonic) -> tokio::time::Instant {
        let now = self.now();
        let base = tokio::time::Instant::now();
        if at >= now { base + at.since(now) } else { base }
    }
}

const fn day_at(unix_seconds: i64, offset_seconds: i64) -> i64 {
    (unix_seconds + offset_seconds).div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_timestamps_survive_a_round_trip_on_both_sides_of_2036() {
        for seconds in [1_700_000_000_i64, 2_085_978_495, 2_085_978_496, 2_200_000_000] {
            let time = WallTime::from_unix_nanos(seconds * 1_000_000_000 + 500_000_000);
            assert_eq!(WallTime::from_ntp(time.to_ntp()), time);
        }
    }

    #[test]
    fn wall_time_prints_as_rfc_3339_with_milliseconds() {
        assert_eq!(WallTime::from_unix_nanos(1_732_097_700_123_999_999).to_string(), "2024-11-20T10:15:00.123Z");
    }

    #[test]
    fn a_moment_tells_one_clock_by_the_other() {
        let now = Moment { monotonic: Monotonic::from_nanos(50), wall: WallTime::from_unix_nanos(1000) };
        for (monotonic, wall) in [(50, 1000), (60, 1010), (0, 950)] {
            assert_eq!(now.wall_of(Monotonic::from_nanos(monotonic)), WallTime::from_unix_nanos(wall));
            assert_eq!(now.monotonic_of(WallTime::from_unix_nanos(wall)), Monotonic::from_nanos(monotonic));
        }
        assert_eq!(now.monotonic_of(WallTime::from_unix_nanos(5)), Monotonic::default(), "before the zero");
    }

    #[test]
    fn a_time_is_read_with_its_offset_and_nothing_else_is() {
        let time = WallTime::from_unix_nanos(1_732_097_700_123_000_000);
        for text in ["2024-11-20T10:15:00.123Z", "2024-11-20T11:15:00.123+01:00"] {
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
        for text in ["", "now", "2024-11-20", "2024-11-20T10:15:00", "9999-12-31T23:59:59Z"] {
            assert_eq!(text.parse::<WallTime>(), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_machine_is() {
        for (seconds, offset, day) in [(86_399, 0, 0), (86_399, 3600, 1), (86_400, -3600, 0), (0, -3600, -1)] {
            assert_eq!(day_at(seconds, offset), day, "{seconds} {offset}");
        }
    }

    #[test]
    fn monotonic_spans_never_go_below_zero() {
        let (early, late) = (Monotonic::from_nanos(5), Monotonic::from_nanos(9));
        assert_eq!(late.since(early), Duration::from_nanos(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
