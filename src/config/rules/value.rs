//! Values that only rules have: numbers, limits by severity, states, words, room on a disk.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{base::Severity, config::ByteSize};

/// A finite number.
#[derive(Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Number(f64);

// Never NaN: every constructor looks.
impl Eq for Number {}

impl Number {
    /// The number, unless it is infinite or none.
    pub const fn new(number: f64) -> Option<Self> {
        if number.is_finite() { Some(Self(number)) } else { None }
    }

    /// As a plain number.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Plain;
        impl Visitor<'_> for Plain {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as `35` or `-4.5`")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                self.visit_f64(number as f64)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Number::new(number).ok_or_else(|| E::custom("the number is too large"))
            }
        }
        deserializer.deserialize_any(Plain)
    }
}

impl JsonSchema for Number {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

/// A limit, and the severity of what is beyond it; that of the rule if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The severity.
    pub severity: Option<Severity>,
    /// The limit.
    pub limit: Number,
}

/// One limit, or one for each severity, the mildest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels(Vec<Level>);

impl Levels {
    /// One limit.
    pub fn one(limit: Number) -> Self {
        Self(vec![Level { severity: None, limit }])
    }

    /// The limits, the mildest first.
    pub fn as_slice(&self) -> &[Level] {
        &self.0
    }
}

/// What a list of limits looks like when they have severities.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BySeverity {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    critical: Option<Number>,
}

impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [Level { severity: None, limit }] = self.0.as_slice() {
            return limit.serialize(serializer);
        }
        let of = |wanted| self.0.iter().find(|level| level.severity == Some(wanted)).map(|level| level.limit);
        let [info, warning, critical] = Severity::ALL.map(of);
        BySeverity { info, warning, critical }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrObject;
        impl<'de> Visitor<'de> for NumberOrObject {
            type Value = Levels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or numbers by severity such as `{ warning: 35, critical: 45 }`")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Levels, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Levels, E> {
                self.visit_f64(number as f64)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Levels, E> {
                Number::new(number).map(Levels::one).ok_or_else(|| E::custom("the number is too large"))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Levels, A::Error> {
                let by = BySeverity::deserialize(MapAccessDeserializer::new(map))?;
                let levels = Severity::ALL.into_iter().zip([by.info, by.warning, by.critical]);
                let given =
                    levels.filter_map(|(severity, limit)| limit.map(|limit| Level { severity: Some(severity), limit }));
                Ok(Levels(given.collect()))
            }
        }
        deserializer.deserialize_any(NumberOrObject)
    }
}

impl JsonSchema for Levels {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Levels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<Number>();
        json_schema!({
            "description": "A number, or one for each severity.",
            "anyOf": [number, {
                "type": "object",
                "additionalProperties": false,
                "properties": { "info": number, "warning": number, "critical": number }
            }]
        })
    }
}

/// What a sensor shows that is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateValue {
    /// Yes or no.
    Flag(bool),
    /// A word.
    Word(String),
}

impl Default for StateValue {
    fn default() -> Self {
        Self::Flag(true)
    }
}

impl Serialize for StateValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Word(word) => serializer.serialize_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for StateValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagOrWord;
        impl Visitor<'_> for FlagOrWord {
            type Value = StateValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a word")
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<StateValue, E> {
                Ok(StateValue::Flag(flag))
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<StateValue, E> {
                Ok(StateValue::Word(word.to_owned()))
            }
        }
        deserializer.deserialize_any(FlagOrWord)
    }
}

impl JsonSchema for StateValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StateValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string" }], "default": true })
    }
}

/// The kind of a sensor or of an event: small letters, digits, `_`, `-` and `.`, at most 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word(std::sync::Arc<str>);

impl Word {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kind has 1 to 64 small letters, digits, `_`, `-` and `.`")]
pub struct WordError;

impl FromStr for Word {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(known);
        if good { Ok(Self(text.into())) } else { Err(WordError) }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::config::text::text_value!(Word, name: "Kind",
expects: "a kind, such as `temperature` or `motion`",
schema: {
    "description": "The kind of a sensor or of an event.",
    "type": "string",
    "pattern": "^[a-z0-9_.-]{1,64}$"
});

/// One kind or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Vec<Word>);

impl Words {
    /// The kinds, in the order of the file.
    pub fn as_slice(&self) -> &[Word] {
        &self.0
    }
}

impl FromIterator<Word> for Words {
    fn from_iter<I: IntoIterator<Item = Word>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [word] => word.serialize(serializer),
            words => words.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrList;
        impl<'de> Visitor<'de> for OneOrList {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind such as `motion`, or a list of them")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
                text.parse().map(|word| Words(vec![word])).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        deserializer.deserialize_any(OneOrList)
    }
}

impl JsonSchema for Words {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kinds".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = generator.subschema_for::<Word>();
        json_schema!({ "anyOf": [word, { "type": "array", "items": word, "minItems": 1 }] })
    }
}

/// Room on a disk: a share of it, or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskLimit {
    /// Of a hundred.
    Percent(u8),
    /// Of memory.
    Size(ByteSize),
}

impl Default for DiskLimit {
    fn default() -> Self {
        Self::Percent(5)
    }
}

impl DiskLimit {
    /// In bytes, on a disk of this size.
    pub const fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Percent(percent) => (total as u128 * percent as u128 / 100) as u64,
            Self::Size(size) => size.bytes(),
        }
    }
}

/// Why a text is no room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a share such as `5%` or a size such as `2GiB`")]
pub struct DiskLimitError;

impl FromStr for DiskLimit {
    type Err = DiskLimitError;

    fn from_str(text: &str) -> Result<Self, DiskLimitError> {
        match text.trim().strip_suffix('%') {
            Some(share) => {
                let percent = share.trim_end().parse().ok().filter(|percent| (1..=99).contains(percent));
                percent.map(Self::Percent).ok_or(DiskLimitError)
            }
            None => text.parse().map(Self::Size).map_err(|_| DiskLimitError),
        }
    }
}

impl fmt::Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Size(size) => fmt::Display::fmt(size, f),
        }
    }
}

crate::config::text::text_value!(DiskLimit, name: "DiskLimit",
expects: "a share such as `5%` or a size such as `2GiB`",
schema: {
    "description": "Room on a disk: a share of it, or a size.",
    "type": "string",
    "examples": ["5%", "2GiB"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_number_or_one_for_each_severity() {
        for (json, count) in [("35", 1), ("-4.5", 1), (r#"{"warning":35.0,"critical":45.0}"#, 2)] {
            let levels: Levels = serde_json::from_str(json).unwrap();
            assert_eq!(levels.as_slice().len(), count, "{json}");
            let again: Levels = serde_json::from_str(&serde_json::to_string(&levels).unwrap()).unwrap();
            assert_eq!(again, levels);
        }
        for bad in ["\"35\"", "null", "[35]", r#"{"severe":1}"#] {
            assert!(serde_json::from_str::<Levels>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn room_on_a_disk_is_a_share_or_a_size() {
        let table = [("5%", 50), ("99 %", 990), ("2kB", 2000)];
        for (text, bytes) in table {
            assert_eq!(text.parse::<DiskLimit>().unwrap().bytes(1000), bytes, "{text}");
        }
        for bad in ["0%", "100%", "5", "%", "-1%", "5.5%"] {
            assert_eq!(bad.parse::<DiskLimit>(), Err(DiskLimitError), "{bad}");
        }
        assert_eq!(DiskLimit::Percent(99).bytes(u64::MAX), (u128::from(u64::MAX) * 99 / 100) as u64);
    }
}
