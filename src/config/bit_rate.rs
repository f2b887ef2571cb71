//! Rates of transmission as people write them: `60Mbit/s`, `800kbit/s`. A number without a unit is refused.

use std::{fmt, str::FromStr};

use super::amount;

/// A rate in bits per second with its unit; `kbit/s`, `Mbit/s` and `Gbit/s` count by 1000.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

impl BitRate {
    /// `count` million bits per second.
    pub const fn from_mbit(count: u64) -> Self {
        Self(count * 1_000_000)
    }

    /// `count` thousand bits per second.
    pub const fn from_kbit(count: u64) -> Self {
        Self(count * 1_000)
    }

    /// Bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate with its unit, such as `60Mbit/s` or `800kbit/s`")]
pub struct BitRateError;

/// The units; when printing, the first one that divides the rate is used.
const UNITS: [(&str, u64); 4] = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

/// The highest rate, so that products never overflow.
const MOST: u64 = 1 << 50;

impl FromStr for BitRate {
    type Err = BitRateError;

    fn from_str(text: &str) -> Result<Self, BitRateError> {
        amount::read(text, &UNITS, MOST).map(Self).ok_or(BitRateError)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        amount::write(f, self.0, &UNITS)
    }
}

impl fmt::Debug for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(BitRate, name: "BitRate",
expects: "a rate with its unit, such as `60Mbit/s` or `800kbit/s`",
schema: {
    "description": "Bits per second with their unit: bit/s, kbit/s, Mbit/s, Gbit/s, counted by 1000.",
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]{1,3})?\s*[kKmMgG]?[bB][iI][tT]/[sS]\s*$",
    "examples": ["60Mbit/s", "800kbit/s"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_units_and_print_as_they_are_read() {
        let table = [("60Mbit/s", 60_000_000), ("1.5 mbit/s", 1_500_000), ("800kbit/s", 800_000), ("0bit/s", 0)];
        for (text, bits) in table {
            let rate: BitRate = text.parse().unwrap();
            assert_eq!(rate, BitRate(bits), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in ["", "60", "60M", "60Mbit", "60MB/s", "-1bit/s", "Mbit/s", "99999999Gbit/s"] {
            assert_eq!(text.parse::<BitRate>(), Err(BitRateError), "{text:?}");
        }
    }
}
