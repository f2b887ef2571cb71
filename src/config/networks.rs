//! Addresses and networks: whom we believe when they say for whom they speak.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Something else.
    #[error("expected an address or a network, such as `10.0.0.2`, `172.16.0.0/12` or `fd00::/8`")]
    Syntax,
    /// Bits behind those that count.
    #[error("expected `{0}`: bits behind the first {bits} are set", bits = .0.bits)]
    HostBits(Network),
    /// Every address there is.
    #[error("a network of every address trusts everybody")]
    Everybody,
}

impl Network {
    /// Whether it holds an address. IPv4 in IPv6's clothes is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(address)) => (own.to_bits() ^ address.to_bits()) & mask4(self.bits) == 0,
            (IpAddr::V6(own), IpAddr::V6(address)) => (own.to_bits() ^ address.to_bits()) & mask6(self.bits) == 0,
            _ => false,
        }
    }
}

fn mask4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.trim(), None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let most = if written.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or(NetworkError::Syntax)?
            }
            Some(_) => return Err(NetworkError::Syntax),
            None => most,
        };
        if bits == 0 {
            return Err(NetworkError::Everybody);
        }
        // RFC 4291 §2.5.5.2: such an address is an IPv4 address behind 96 fixed bits.
        let (address, bits) = match (written, written.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if bits > 96 => (v4, bits - 96),
            _ => (written, bits),
        };
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask4(bits)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask6(bits)).into(),
        };
        let network = Self { address: first, bits };
        if first == address { Ok(network) } else { Err(NetworkError::HostBits(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.address.fmt(f),
            (address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A list of them; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them holds an address.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Networks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of addresses and networks such as `10.0.0.2` or `172.16.0.0/12`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Networks, E> {
                Ok(Networks(vec![text.parse().map_err(E::custom)?]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Networks, A::Error> {
                let mut networks = Vec::new();
                while let Some(network) = list.next_element()? {
                    networks.push(network);
                }
                Ok(Networks(networks))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Networks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Networks".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Addresses and networks.",
            "examples": [["127.0.0.1", "172.16.0.0/12", "fd00::/8"]],
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_as_it_does() {
        let table = [
            ("10.0.0.2", "10.0.0.2", true),
            ("10.0.0.2", "10.0.0.3", false),
            ("172.16.0.0/12", "172.31.255.255", true),
            ("172.16.0.0/12", "172.32.0.0", false),
            ("172.16.0.0/12", "::ffff:172.16.0.9", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("128.0.0.0/1", "255.0.0.1", true),
            ("128.0.0.0/1", "127.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "127.0.0.1", false),
            ("::/8", "10.0.0.1", false),
        ];
        for (network, address, holds) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
        let list: Networks = serde_json::from_str(r#"["127.0.0.1", "fd00::/8"]"#).unwrap();
        assert!(list.contain("fd00::9".parse().unwrap()) && !list.contain("10.0.0.1".parse().unwrap()));
        assert_eq!(serde_json::to_string(&list).unwrap(), r#"["127.0.0.1","fd00::/8"]"#);
        assert_eq!(
            serde_json::from_str::<Networks>(r#""10.0.0.0/8""#).unwrap(),
            "10.0.0.0/8".parse().into_iter().collect()
        );
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_is_meant() {
        for text in
            ["", "proxy", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0", "fd00::/129", "10.0.0.1:80", "/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Syntax), "{text}");
        }
        let error = "10.0.0.5/8".parse::<Network>().unwrap_err();
        assert_eq!(error.to_string(), "expected `10.0.0.0/8`: bits behind the first 8 are set");
        for text in ["0.0.0.0/0", "::/0"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Everybody), "{text}");
        }
    }
}
