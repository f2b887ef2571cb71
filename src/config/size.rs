//! Amounts of memory as people write them: `64MiB`, `8MB`. A number without a unit is refused.

use std::{fmt, str::FromStr};

use super::amount;

/// An amount of bytes with its unit. `KiB`, `MiB`, `GiB` count by 1024, `kB`, `MB`, `GB` by 1000.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `count` times 1024 bytes.
    pub const fn from_kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` times 1024 × 1024 bytes.
    pub const fn from_mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The amount in bytes, as lengths in memory are counted.
    pub const fn as_usize(self) -> usize {
        if self.0 > usize::MAX as u64 { usize::MAX } else { self.0 as usize }
    }
}

/// Why a text is no amount of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size with its unit, such as `64KiB`, `16MiB` or `8MB`")]
pub struct SizeError;

/// The units; when printing, the first one that divides the amount is used.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// The largest amount, so that sums never overflow.
const MOST: u64 = 1 << 50;

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        amount::read(text, &UNITS, MOST).map(Self).ok_or(SizeError)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        amount::write(f, self.0, &UNITS)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(ByteSize, name: "ByteSize",
expects: "a size with its unit, such as `64KiB`, `16MiB` or `8MB`",
schema: {
    "description": "An amount of bytes with its unit: B, kB, MB, GB count by 1000, KiB, MiB, GiB by 1024.",
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]{1,3})?\s*([kKmMgGtT][iI]?)?[bB]\s*$",
    "examples": ["64KiB", "16MiB", "8MB"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let table = [("64MiB", 64 << 20), ("8MB", 8_000_000), ("1.5 KiB", 1536), ("10b", 10), ("2gib", 2 << 30)];
        for (text, bytes) in table {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text:?}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in ["", "0", "64", "64M", "MiB", "-1B", "1e3B", "1 2B", "9999999TiB", "99999999999999999999B"] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError), "{text:?}");
        }
    }

    #[test]
    fn a_size_prints_as_it_is_read() {
        for text in ["64MiB", "8MB", "1536B", "0B", "1GiB", "3kB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
