//! What GraphQL has no type of its own for: whole numbers beyond 32 bits, moments, and the words that are enumerations.

use async_graphql::{Enum, InputValueError, InputValueResult, Json, Number, Scalar, ScalarType, Value};

use crate::{
    base::{Error, Kind, Severity, WallTime},
    events::payload::AlertState,
};

/// A whole number that may go beyond the 32 bits of `Int`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Long(u64);

#[Scalar(name = "Long", use_type_description = false)]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number.as_u64().map(Self).ok_or_else(|| InputValueError::expected_type(value)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(Number::from(self.0))
    }
}

impl From<u64> for Long {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

pub(in crate::http) fn long_or_none(number: Option<u64>) -> Option<Long> {
    number.map(Long)
}

/// Of a number that is never below zero.
pub(in crate::http) fn long(number: i64) -> Long {
    Long(number.unsigned_abs())
}

/// A moment: RFC 3339, in UTC with milliseconds when this server says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct DateTime(String);

#[Scalar(name = "DateTime", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.parse::<WallTime>().is_ok() => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl From<String> for DateTime {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<WallTime> for DateTime {
    fn from(time: WallTime) -> Self {
        Self(time.to_string())
    }
}

impl DateTime {
    /// The moment that a client named.
    pub(super) fn wall(&self) -> Result<WallTime, Error> {
        let unfit = |error| Error::new(Kind::InvalidArgument, format!("{error}")).with_code("invalid_time");
        self.0.parse().map_err(unfit)
    }
}

pub(in crate::http) fn moment_or_none(text: Option<String>) -> Option<DateTime> {
    text.map(DateTime)
}

pub(in crate::http) fn json_or_none<T>(value: Option<T>) -> Option<Json<T>> {
    value.map(Json)
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "Severity", remote = "Severity")]
pub(in crate::http) enum SeverityWord {
    /// Nothing bad.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

impl From<&'static str> for SeverityWord {
    fn from(word: &'static str) -> Self {
        Severity::parse(word).unwrap_or_default().into()
    }
}

/// Whether an alert goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AlertState", remote = "AlertState")]
pub(in crate::http) enum AlertStateWord {
    /// It goes on.
    Active,
    /// It is over.
    Cleared,
}

impl From<&'static str> for AlertStateWord {
    fn from(word: &'static str) -> Self {
        if word == "active" { Self::Active } else { Self::Cleared }
    }
}
