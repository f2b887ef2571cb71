//! Spans of time as people write them: `200ms`, `2s`, `1m30s`. A number without a unit is refused.

use std::{fmt, str::FromStr, time::Duration};

use super::amount::scaled;

/// A span of time with its unit. Units: `ms`, `s`, `m`, `h`, `d`; they may be combined: `1m30s`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span as the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0.as_millis() as u64
    }
}

impl From<HumanDuration> for Duration {
    fn from(span: HumanDuration) -> Self {
        span.0
    }
}

/// Why a text is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a span of time with its unit, such as `200ms`, `2s` or `1m30s`")]
pub struct DurationError;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest span: a hundred years, so that adding a few never overflows.
const MOST_MS: u64 = 100 * 365 * 86_400_000;

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text.trim();
        let mut total = 0_u64;
        let mut smaller_than = u64::MAX;
        loop {
            let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(DurationError)?;
            let (number, tail) = rest.split_at(digits);
            let tail = tail.trim_start();
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms).ok_or(DurationError)?;
            if unit >= smaller_than {
                return Err(DurationError);
            }
            smaller_than = unit;
            let ms = scaled(number, unit).ok_or(DurationError)?;
            total = total.checked_add(ms).filter(|total| *total <= MOST_MS).ok_or(DurationError)?;
            rest = tail.trim_start();
            if rest.is_empty() {
                return Ok(Self::from_millis(total));
            }
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(HumanDuration, name: "Duration",
expects: "a span of time with its unit, such as `200ms`, `2s` or `1m30s`",
schema: {
    "description": "A span of time with its unit: ms, s, m, h or d; they may be combined.",
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]{1,3})?\s*(d|h|m|s|ms)\s*)+$",
    "examples": ["200ms", "2s", "1m30s"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_units() {
        let table = [
            ("200ms", 200),
            ("2s", 2_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h 5m", 3_900_000),
            ("7d", 604_800_000),
            (" 10 s ", 10_000),
            ("0s", 0),
        ];
        for (text, ms) in table {
            assert_eq!(text.parse::<HumanDuration>(), Ok(HumanDuration::from_millis(ms)), "{text:?}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in
            ["", "0", "5", "s", "5 sec", "-5s", "5s5s", "30s1m", "1.s", ".5s", "1.2345s", "5S", "999999999d", "1e3s"]
        {
            assert_eq!(text.parse::<HumanDuration>(), Err(DurationError), "{text:?}");
        }
    }

    #[test]
    fn a_span_prints_as_it_is_read() {
        for text in ["200ms", "2s", "1m30s", "1h5m", "7d", "1s500ms", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
    }
}
