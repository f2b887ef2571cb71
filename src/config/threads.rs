//! How many threads move media.

use std::{fmt, num::NonZeroU8};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// A number of threads, or `auto`: one per two cores, at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaThreads(Option<NonZeroU8>);

impl MediaThreads {
    /// One per two cores.
    pub const AUTO: Self = Self(None);

    /// The number on a machine of `cores` cores.
    pub fn count(self, cores: usize) -> usize {
        self.0.map_or_else(|| (cores / 2).clamp(1, 255), |count| count.get().into())
    }
}

impl Serialize for MediaThreads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_str("auto"),
            Some(count) => serializer.serialize_u8(count.get()),
        }
    }
}

impl<'de> Deserialize<'de> for MediaThreads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAuto;
        impl Visitor<'_> for NumberOrAuto {
            type Value = MediaThreads;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` or a number from 1 to 255")
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<MediaThreads, E> {
                let count = u8::try_from(count).ok().and_then(NonZeroU8::new);
                count
                    .map(|count| MediaThreads(Some(count)))
                    .ok_or_else(|| E::custom("expected `auto` or a number from 1 to 255"))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MediaThreads, E> {
                if text == "auto" {
                    Ok(MediaThreads::AUTO)
                } else {
                    Err(E::custom("expected `auto` or a number from 1 to 255"))
                }
            }
        }
        deserializer.deserialize_any(NumberOrAuto)
    }
}

impl JsonSchema for MediaThreads {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MediaThreads".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 255 }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_one_thread_per_two_cores() {
        assert_eq!([1, 2, 3, 8, 1000].map(|cores| MediaThreads::AUTO.count(cores)), [1, 1, 1, 4, 255]);
        assert_eq!(serde_json::from_str::<MediaThreads>("3").unwrap().count(8), 3);
        assert!(serde_json::from_str::<MediaThreads>("0").is_err());
    }
}
