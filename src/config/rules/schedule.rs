//! Weekly windows: days, from and to on the clock of a place. They are looked at with a moment as an argument.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, ToSpan, Zoned, civil, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::WallTime;

/// One window of the week. It begins on each of `days` at `from` and ends at the next `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WeeklyWindow {
    /// The days it begins on; every day if absent.
    pub days: Vec<Weekday>,
    /// When it begins, `HH:MM`.
    pub from: TimeOfDay,
    /// When it ends, `HH:MM`; on the next day if that is not later than `from`.
    pub to: TimeOfDay,
}

impl Default for WeeklyWindow {
    fn default() -> Self {
        Self { days: Vec::new(), from: TimeOfDay(0), to: TimeOfDay(24 * 60) }
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    const fn civil(self) -> civil::Weekday {
        match self {
            Self::Mon => civil::Weekday::Monday,
            Self::Tue => civil::Weekday::Tuesday,
            Self::Wed => civil::Weekday::Wednesday,
            Self::Thu => civil::Weekday::Thursday,
            Self::Fri => civil::Weekday::Friday,
            Self::Sat => civil::Weekday::Saturday,
            Self::Sun => civil::Weekday::Sunday,
        }
    }
}

/// Minutes since midnight, `00:00` to `24:00`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

/// Why a text is no time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of day from `00:00` to `24:00`, such as `07:30`")]
pub struct TimeOfDayError;

impl TimeOfDay {
    fn civil(self) -> civil::Time {
        civil::Time::new((self.0 / 60 % 24) as i8, (self.0 % 60) as i8, 0, 0).unwrap_or_default()
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        let (hours, minutes) = text.trim().split_once(':').ok_or(TimeOfDayError)?;
        let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
        if !(digits(hours, 1) || digits(hours, 2)) || !digits(minutes, 2) {
            return Err(TimeOfDayError);
        }
        let (hours, minutes): (u16, u16) =
            (hours.parse().map_err(|_| TimeOfDayError)?, minutes.parse().map_err(|_| TimeOfDayError)?);
        let total = hours * 60 + minutes;
        if minutes < 60 && total <= 24 * 60 { Ok(Self(total)) } else { Err(TimeOfDayError) }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::config::text::text_value!(TimeOfDay, name: "TimeOfDay",
expects: "a time of day such as `07:30`",
schema: {
    "description": "A time of day, 00:00 to 24:00.",
    "type": "string",
    "pattern": "^[0-9]{1,2}:[0-9]{2}$"
});

/// The clock on the wall of a place, by its name in the tz database: `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZoneName(TimeZone);

impl Default for TimeZoneName {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

/// Why a text is no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a time zone, such as `Europe/Berlin` or `UTC`")]
pub struct TimeZoneError;

impl FromStr for TimeZoneName {
    type Err = TimeZoneError;

    fn from_str(text: &str) -> Result<Self, TimeZoneError> {
        TimeZone::get(text.trim()).map(Self).map_err(|_| TimeZoneError)
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl fmt::Debug for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::config::text::text_value!(TimeZoneName, name: "TimeZone",
expects: "the name of a time zone, such as `Europe/Berlin`",
schema: {
    "description": "A time zone by its name in the tz database.",
    "type": "string",
    "examples": ["Europe/Berlin", "UTC"]
});

/// Windows and the place whose clock they mean. Without windows it is always open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<WeeklyWindow>,
    zone: TimeZoneName,
}

impl Schedule {
    /// These windows, on the clock of `zone`.
    pub const fn new(windows: Vec<WeeklyWindow>, zone: TimeZoneName) -> Self {
        Self { windows, zone }
    }

    /// Whether there is no window, and so no end.
    pub const fn is_always(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether `at` lies within a window.
    pub fn is_open(&self, at: WallTime) -> bool {
        self.is_always() || self.spans(at).any(|(begin, end)| begin <= at && at < end)
    }

    /// The next moment after `at` at which [`Schedule::is_open`] may say something else.
    pub fn next_change(&self, at: WallTime) -> Option<WallTime> {
        self.spans(at).flat_map(|(begin, end)| [begin, end]).filter(|moment| *moment > at).min()
    }

    /// The windows that begin from the day before `at` to a week and a day after it.
    fn spans(&self, at: WallTime) -> impl Iterator<Item = (WallTime, WallTime)> {
        let moment = Timestamp::from_millisecond(at.unix_millis()).unwrap_or_default();
        let today = moment.to_zoned(self.zone.0.clone()).date();
        let days = (-1..=8_i64).filter_map(move |offset| today.checked_add(offset.days()).ok());
        days.flat_map(|day| self.windows.iter().map(move |window| (day, window)))
            .filter(|(day, window)| {
                window.days.is_empty() || window.days.iter().any(|wanted| wanted.civil() == day.weekday())
            })
            .filter_map(|(day, window)| {
                // 24:00, and a `to` that is not later, are on the day after.
                let later = window.to <= window.from || window.to.0 == 24 * 60;
                let last = if later { day.tomorrow().ok()? } else { day };
                Some((self.moment(day, window.from)?, self.moment(last, window.to)?))
            })
    }

    /// A time that the clock skips in spring is the one after; of one that it shows twice it is the first.
    fn moment(&self, day: civil::Date, time: TimeOfDay) -> Option<WallTime> {
        let zoned: Zoned = self.zone.0.to_ambiguous_zoned(day.to_datetime(time.civil())).compatible().ok()?;
        Some(WallTime::from_unix_nanos(zoned.timestamp().as_millisecond().checked_mul(1_000_000)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        let time: Timestamp = text.parse().unwrap();
        WallTime::from_unix_nanos(time.as_millisecond() * 1_000_000)
    }

    fn schedule(zone: &str, windows: &str) -> Schedule {
        Schedule::new(serde_json::from_str(windows).unwrap(), zone.parse().unwrap())
    }

    #[test]
    fn a_window_is_open_on_the_clock_of_its_place() {
        let nights = r#"[{"days":["fri"],"from":"22:00","to":"06:00"}]"#;
        let days = r#"[{"from":"08:00","to":"24:00"}]"#;
        // 2026-03-27 is a Friday; the clocks of Berlin go forward on Sunday the 29th.
        let table = [
            ("Europe/Berlin", nights, "2026-03-27T20:59:59Z", false, "2026-03-27T21:00:00Z"),
            ("Europe/Berlin", nights, "2026-03-27T21:00:00Z", true, "2026-03-28T05:00:00Z"),
            ("Europe/Berlin", nights, "2026-03-28T05:00:00Z", false, "2026-04-03T20:00:00Z"),
            ("UTC", nights, "2026-03-27T21:00:00Z", false, "2026-03-27T22:00:00Z"),
            ("UTC", days, "2026-03-27T23:59:59Z", true, "2026-03-28T00:00:00Z"),
            ("UTC", days, "2026-03-28T00:00:00Z", false, "2026-03-28T08:00:00Z"),
        ];
        for (zone, windows, moment, open, next) in table {
            let schedule = schedule(zone, windows);
            assert_eq!(schedule.is_open(at(moment)), open, "{zone} {moment}");
            assert_eq!(schedule.next_change(at(moment)), Some(at(next)), "{zone} {moment}");
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        let always = Schedule::default();
        assert!(always.is_open(at("2026-03-27T20:59:59Z")));
        assert_eq!(always.next_change(at("2026-03-27T20:59:59Z")), None);
    }

    #[test]
    fn a_time_of_day_has_two_digits_of_minutes_and_ends_at_midnight() {
        for (text, shown) in [("7:30", "07:30"), ("00:00", "00:00"), ("24:00", "24:00")] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), shown);
        }
        for bad in ["", "7", "7:3", "24:01", "12:60", "-1:00", "07:30:00", "+7:30"] {
            assert_eq!(bad.parse::<TimeOfDay>(), Err(TimeOfDayError), "{bad}");
        }
    }
}
