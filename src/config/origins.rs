//! Which web pages of other sites may use the API, the playlists and the sockets.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// Origins of foreign pages that are let in: none (the default), a list, or any (`*`, then without credentials).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Only pages this server itself served.
    #[default]
    None,
    /// These, as a browser writes them in `Origin`: `https://example.org:8443`, lower case.
    List(Vec<String>),
    /// Every page; such requests never carry credentials.
    Any,
}

impl AllowedOrigins {
    /// Whether a page of `origin`, as its browser sent it, is let in.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::List(origins) => origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
            Self::Any => true,
        }
    }

    fn from_words<E: Error>(words: Vec<Word>) -> Result<Self, E> {
        let any = words.contains(&Word::Any);
        let origins: Vec<_> = words
            .into_iter()
            .filter_map(|word| match word {
                Word::Any => None,
                Word::Origin(origin) => Some(origin),
            })
            .collect();
        Ok(match (any, origins.is_empty()) {
            (true, true) => Self::Any,
            (true, false) => return Err(E::custom("`*` stands alone: it means every origin")),
            (false, true) => Self::None,
            (false, false) => Self::List(origins),
        })
    }
}

/// One item of the list.
#[derive(PartialEq)]
enum Word {
    Any,
    Origin(String),
}

impl std::str::FromStr for Word {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "*" => Ok(Self::Any),
            text => origin(text).map(Self::Origin).ok_or(EXPECTED),
        }
    }
}

const EXPECTED: &str = "expected an origin, a scheme and a host such as `https://example.org`, or `*`";

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The origin as RFC 6454 §6.2 writes it, or nothing.
fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (bare && url.has_host()).then(|| url.origin().ascii_serialization())
}

impl Serialize for AllowedOrigins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.collect_seq::<[&str; 0]>([]),
            Self::List(origins) => serializer.collect_seq(origins),
            Self::Any => serializer.collect_seq(["*"]),
        }
    }
}

impl<'de> Deserialize<'de> for AllowedOrigins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = AllowedOrigins;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of origins such as `https://example.org`, or `*`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AllowedOrigins, E> {
                AllowedOrigins::from_words(vec![text.parse().map_err(E::custom)?])
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AllowedOrigins, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                AllowedOrigins::from_words(words)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for AllowedOrigins {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AllowedOrigins".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Origins of foreign pages that are let in, or `*` for every page (then without credentials).",
            "examples": [["https://example.org"], "*"],
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AllowedOrigins, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_origin_is_compared_as_browsers_write_it() {
        let origins = read(r#"["https://Example.org:443", "http://10.0.0.2:8123/"]"#).unwrap();
        assert!(origins.allows("https://example.org"));
        assert!(origins.allows("http://10.0.0.2:8123"));
        assert!(!origins.allows("http://example.org"));
        assert!(!origins.allows("null"));
        assert!(!AllowedOrigins::None.allows("https://example.org"));
        assert!(read(r#""*""#).unwrap().allows("https://anyone.example"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for json in [
            r#""example.org""#,
            r#"["https://example.org/page"]"#,
            r#"["rtsp://example.org"]"#,
            r#"["*", "https://a.b"]"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
