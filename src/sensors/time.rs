//! What a device says about when: read, and judged against our own clock. Sans-IO: the time comes in.

use std::time::Duration;

use serde_json::Value;

use crate::base::WallTime;

/// A moment as a device states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// In UTC.
    Utc(WallTime),
    /// By a wall clock of a zone that is not told (Tasmota): as if it were UTC.
    Local(WallTime),
}

/// What was wrong with a stated time, so that our own took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFlaw {
    /// It lay in the future.
    InFuture,
    /// It lay too far back: a clock that was never set.
    TooOld,
}

impl TimeFlaw {
    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFuture => "time_in_future",
            Self::TooOld => "time_too_old",
        }
    }
}

/// A clock may be this far ahead of ours before it is corrected.
pub const AHEAD_MAX: Duration = Duration::from_secs(5);
/// A reading older than this was made by a clock that is not set.
pub const AGE_MAX: Duration = Duration::from_secs(31 * 86_400);
/// How exactly a local time must fit a zone to be believed.
const LOCAL_SLACK: i64 = 60 * SECOND;
/// Zones differ by quarters of an hour, and by fourteen hours at most.
const ZONE_STEP: i64 = 900 * SECOND;
const ZONE_MAX: i64 = 14 * 3600 * SECOND;

const SECOND: i64 = 1_000_000_000;

impl Stated {
    /// A time in JSON: RFC 3339, the same without a zone, or a number since 1970 in seconds, milliseconds, microseconds
    /// or nanoseconds, by its size.
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::of_number(whole),
                None => of_seconds(number.as_f64()?),
            },
            Value::String(text) => Self::of_text(text),
            _ => None,
        }
    }

    /// The same of a text.
    pub fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return nanos(time).map(Self::Utc);
        }
        if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
            let time = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
            return nanos(time).map(Self::Local);
        }
        match text.parse::<i64>() {
            Ok(whole) => Self::of_number(whole),
            Err(_) => of_seconds(text.parse().ok()?),
        }
    }

    /// A number since 1970, its unit by its size: below 10¹¹ seconds (the year 5138), then milliseconds and so on.
    fn of_number(number: i64) -> Option<Self> {
        let unit = match number.unsigned_abs() {
            0..100_000_000_000 => SECOND,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        Some(Self::Utc(WallTime::from_unix_nanos(number.checked_mul(unit)?)))
    }

    /// When it was, and what was wrong with what the device said. A local time counts if some zone puts it right at
    /// `now`, for then the message came as it was made; otherwise it tells nothing.
    pub fn judge(self, now: WallTime) -> (WallTime, Option<TimeFlaw>) {
        let time = match self {
            Self::Utc(time) => time,
            Self::Local(time) => {
                let off = time.nanos_since(now);
                let zone = (off as f64 / ZONE_STEP as f64).round() as i64 * ZONE_STEP;
                let fits = zone.abs() <= ZONE_MAX && (off - zone).abs() <= LOCAL_SLACK;
                return (if fits { time.plus_nanos(-zone).min(now) } else { now }, None);
            }
        };
        let off = i128::from(time.nanos_since(now));
        if off > AHEAD_MAX.as_nanos() as i128 {
            (now, Some(TimeFlaw::InFuture))
        } else if -off > AGE_MAX.as_nanos() as i128 {
            (now, Some(TimeFlaw::TooOld))
        } else {
            (time, None)
        }
    }
}

fn of_seconds(seconds: f64) -> Option<Stated> {
    let nanos = seconds * SECOND as f64;
    (nanos.abs() < i64::MAX as f64).then(|| Stated::Utc(WallTime::from_unix_nanos(nanos as i64)))
}

fn nanos(time: jiff::Timestamp) -> Option<WallTime> {
    i64::try_from(time.as_nanosecond()).ok().map(WallTime::from_unix_nanos)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn utc(text: &str) -> WallTime {
        match Stated::of_text(text) {
            Some(Stated::Utc(time)) => time,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn times_are_read_as_devices_write_them() {
        let moment = utc("2026-11-20T10:15:00.5Z");
        for value in [
            json!("2026-11-20T10:15:00.500Z"),
            json!("2026-11-20T11:15:00.5+01:00"),
            json!(1_795_169_700.5),
            json!(1_795_169_700_500_u64),
            json!(1_795_169_700_500_000_u64),
            json!(1_795_169_700_500_000_000_u64),
            json!("1795169700500"),
        ] {
            assert_eq!(Stated::of_json(&value), Some(Stated::Utc(moment)), "{value}");
        }
        assert_eq!(Stated::of_text("2026-11-20T10:15:00.5"), Some(Stated::Local(moment)));
        for nothing in [json!("0000-00-00T00:00:00Z"), json!("noon"), json!(true), json!(null), json!(1e300)] {
            assert_eq!(Stated::of_json(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_cannot_be_is_now_and_says_why() {
        let now = utc("2026-11-20T10:15:00Z");
        let table = [
            ("2026-11-20T10:15:04Z", "2026-11-20T10:15:04Z", None),
            ("2026-11-20T10:15:06Z", "2026-11-20T10:15:00Z", Some(TimeFlaw::InFuture)),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z", None),
            ("1970-01-01T00:00:17Z", "2026-11-20T10:15:00Z", Some(TimeFlaw::TooOld)),
        ];
        for (stated, time, flaw) in table {
            assert_eq!(Stated::Utc(utc(stated)).judge(now), (utc(time), flaw), "{stated}");
        }
        let far = Stated::Utc(WallTime::from_unix_nanos(i64::MIN));
        assert_eq!(far.judge(now), (now, Some(TimeFlaw::TooOld)));
    }

    #[test]
    fn a_time_without_a_zone_counts_if_some_zone_makes_it_now() {
        let now = utc("2026-11-20T10:15:00Z");
        let table = [
            // Two hours east, three seconds ago; half an hour off; Nepal; what fits no zone; a clock that is ahead.
            ("2026-11-20T12:14:57", "2026-11-20T10:14:57Z"),
            ("2026-11-20T15:44:57", "2026-11-20T10:14:57Z"),
            ("2026-11-20T15:59:58", "2026-11-20T10:14:58Z"),
            ("2026-11-20T12:10:00", "2026-11-20T10:15:00Z"),
            ("2026-11-20T12:15:30", "2026-11-20T10:15:00Z"),
            ("1970-01-01T00:00:05", "2026-11-20T10:15:00Z"),
        ];
        for (stated, time) in table {
            assert_eq!(Stated::of_text(stated).unwrap().judge(now), (utc(time), None), "{stated}");
        }
    }
}
