//! How long browsers shall insist on TLS (HSTS, RFC 6797).

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::HumanDuration;

/// Whether browsers are told to come back over TLS alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hsts {
    /// For a year, where nobody else is meant: the certificate is not self-signed, and the server stands on port 443. On
    /// another port it would speak for every program on that host.
    #[default]
    Auto,
    /// For so long, wherever they speak TLS.
    For(HumanDuration),
    /// No.
    Off,
}

impl FromStr for Hsts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::For)
                .map_err(|_| format!("expected `auto`, `off` or a span of time such as `365d`, found `{text}`")),
        }
    }
}

impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::For(span) => span.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

impl Serialize for Hsts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Hsts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hsts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`auto`, `off`, or for how long browsers shall insist on TLS.",
            "type": "string",
            "examples": ["auto", "off", "365d"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_spans_are_read_as_they_are_written() {
        for text in ["auto", "off", "365d"] {
            assert_eq!(text.parse::<Hsts>().unwrap().to_string(), text);
        }
        assert!("never".parse::<Hsts>().unwrap_err().starts_with("expected `auto`, `off` or"));
    }
}
