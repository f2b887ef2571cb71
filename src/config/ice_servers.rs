//! STUN and TURN servers that WebRTC viewers are told of (RFC 7064, RFC 7065). This server itself uses none of them.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use super::HumanDuration;
use crate::base::Secret;

/// One entry of `webrtc.ice_servers`: a server, and how viewers log in to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IceServerConfig {
    /// `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]`, and the same with `stuns:` and `turns:` for TLS; one or
    /// a list.
    pub urls: IceServerUrls,
    /// The user of a TURN server. With `secret` it is optional and stands after the time in each login.
    pub username: Option<String>,
    /// The password that belongs to `username`. Every viewer learns it.
    #[schemars(with = "Option<String>")]
    pub credential: Option<Secret>,
    /// The secret shared with the TURN server (`static-auth-secret` of coturn): each viewer gets a login of its own.
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// How long a login made from `secret` is valid.
    pub ttl: HumanDuration,
}

impl Default for IceServerConfig {
    fn default() -> Self {
        Self {
            urls: IceServerUrls::default(),
            username: None,
            credential: None,
            secret: None,
            ttl: HumanDuration::from_secs(86_400),
        }
    }
}

/// The URLs of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceServerUrls(Vec<IceServerUrl>);

impl IceServerUrls {
    /// The URLs, in the order of the file.
    pub fn as_slice(&self) -> &[IceServerUrl] {
        &self.0
    }
}

impl FromIterator<IceServerUrl> for IceServerUrls {
    fn from_iter<I: IntoIterator<Item = IceServerUrl>>(urls: I) -> Self {
        Self(urls.into_iter().collect())
    }
}

/// A `stun:`, `stuns:`, `turn:` or `turns:` URL, as a browser takes it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IceServerUrl(String);

impl IceServerUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a relay, which wants a login.
    pub fn is_turn(&self) -> bool {
        self.0.starts_with("turn")
    }
}

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `stun:host`, `turn:host`, `turn:host:port?transport=tcp`, or the same with `stuns:` or `turns:`")]
pub struct IceServerUrlError;

/// The longest URL that is taken, in bytes.
const URL_MAX: usize = 300;

impl FromStr for IceServerUrl {
    type Err = IceServerUrlError;

    fn from_str(text: &str) -> Result<Self, IceServerUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or(IceServerUrlError)?;
        let turn = match scheme {
            "stun" | "stuns" => false,
            "turn" | "turns" => true,
            _ => return Err(IceServerUrlError),
        };
        let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
        // RFC 7065 §3.1: the one parameter there is; STUN (RFC 7064) has none.
        if query.is_some_and(|query| !turn || !matches!(query, "transport=udp" | "transport=tcp")) {
            return Err(IceServerUrlError);
        }
        if text.len() > URL_MAX || !is_host_and_port(address) {
            return Err(IceServerUrlError);
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_host_and_port(address: &str) -> bool {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
            _ => return false,
        },
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let host_fits = if address.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

impl fmt::Display for IceServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IceServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text::text_value!(IceServerUrl, name: "IceServerUrl",
expects: "`stun:host`, `turn:host`, `turn:host:port?transport=tcp`, or the same with `stuns:` or `turns:`",
schema: {
    "description": "A STUN or TURN server, as a browser takes it.",
    "type": "string",
    "pattern": r"^\s*(stun|turn)s?:[^\s?]+(\?transport=(udp|tcp))?\s*$",
    "examples": ["stun:stun.example.org", "turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:443?transport=tcp"]
});

impl Serialize for IceServerUrls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => serializer.collect_seq(many),
        }
    }
}

impl<'de> Deserialize<'de> for IceServerUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = IceServerUrls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL such as `stun:host` or `turn:host`, or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IceServerUrls, E> {
                text.parse().map(|url| IceServerUrls(vec![url])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IceServerUrls, A::Error> {
                let mut urls = Vec::new();
                while let Some(url) = list.next_element::<IceServerUrl>()? {
                    urls.push(url);
                }
                Ok(IceServerUrls(urls))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for IceServerUrls {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IceServerUrls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = generator.subschema_for::<IceServerUrl>();
        json_schema!({ "anyOf": [url, { "type": "array", "items": url }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_browsers_take_are_taken_and_others_refused() {
        let good = [
            "stun:stun.example.org",
            "stun:stun.l.example:19302",
            "stuns:10.0.0.1:5349",
            "turn:turn.example.org?transport=udp",
            "turns:turn.example.org:443?transport=tcp",
            "turn:[2001:db8::1]:3478",
        ];
        for text in good {
            assert_eq!(text.parse::<IceServerUrl>().unwrap().as_str(), text);
        }
        let bad = [
            "",
            "stun",
            "stun:",
            "stun://example.org",
            "http://example.org",
            "stun:h?transport=udp",
            "turn:h?transport=sctp",
            "turn:h:0",
            "turn:h:99999",
            "turn:h\"; x",
            "turn:h>",
            "turn:[::1",
            "turn:[zz]:1",
        ];
        for text in bad {
            assert_eq!(text.parse::<IceServerUrl>(), Err(IceServerUrlError), "{text:?}");
        }
    }

    #[test]
    fn one_url_or_a_list_reads_back() {
        for json in [r#""stun:a""#, r#"["stun:a","turn:b"]"#, "[]"] {
            let urls: IceServerUrls = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&urls).unwrap(), json);
        }
    }
}
