//! The name of a sensor.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer, de};

/// The name of a sensor: `[A-Za-z0-9_.:-]`, at most 100 bytes, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SensorId(Arc<str>);

/// A text is not the name of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sensor's id has 1 to {} letters, digits, `_`, `.`, `:` and `-`", SensorId::LONGEST)]
pub struct SensorIdError;

impl SensorId {
    /// The longest one, in bytes.
    pub const LONGEST: usize = 100;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SensorId {
    type Err = SensorIdError;

    fn from_str(text: &str) -> Result<Self, SensorIdError> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
        let good = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(known) && !matches!(text, "." | "..");
        if good { Ok(Self(text.into())) } else { Err(SensorIdError) }
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SensorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SensorId {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_id_has_no_slash_and_no_dots_alone() {
        for good in ["cellar", "zigbee:0x00158d", "a.b-c_d"] {
            assert_eq!(good.parse::<SensorId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", &"x".repeat(101)] {
            assert_eq!(bad.parse::<SensorId>(), Err(SensorIdError), "{bad}");
        }
    }
}
