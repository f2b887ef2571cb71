//! Where listeners listen: one address or a list of them; port 0 lets the system choose.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// The addresses of one listener. None at all means that the listener is switched off (`off` in the file).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ListenAddresses(Vec<SocketAddr>);

impl ListenAddresses {
    /// `port` on 127.0.0.1.
    pub fn loopback(port: u16) -> Self {
        Self(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
    }

    /// No address: switched off.
    pub const fn off() -> Self {
        Self(Vec::new())
    }

    /// The addresses, in the order of the file.
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }

    /// Whether there is no address, so that nothing listens.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every address is reachable from this machine only.
    pub fn is_loopback(&self) -> bool {
        self.0.iter().all(|address| address.ip().is_loopback())
    }
}

impl From<Vec<SocketAddr>> for ListenAddresses {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(addresses)
    }
}

impl From<SocketAddr> for ListenAddresses {
    fn from(address: SocketAddr) -> Self {
        Self(vec![address])
    }
}

impl<'a> IntoIterator for &'a ListenAddresses {
    type Item = SocketAddr;
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, SocketAddr>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address with a port, such as `127.0.0.1:{0}`, `[::1]:{0}`, or `:{0}` for every interface")]
pub struct AddressError(u16);

/// Reads one address. `:8080` and `*:8080` mean every interface, IPv4 and IPv6.
fn parse_one(text: &str) -> Result<SocketAddr, AddressError> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let example = AddressError(text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(8080));
    let (host, port) = text.rsplit_once(':').ok_or_else(|| example.clone())?;
    let port: u16 = port.parse().map_err(|_| example.clone())?;
    match host {
        "" | "*" => Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        _ => Err(example),
    }
}

impl FromStr for ListenAddresses {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.trim() == "off" { Ok(Self::off()) } else { parse_one(text).map(Self::from) }
    }
}

impl fmt::Debug for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("off");
        }
        for (i, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Serialize for ListenAddresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str("off"),
            [one] => serializer.collect_str(one),
            many => serializer.collect_seq(many.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = ListenAddresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address with a port, such as `127.0.0.1:8080`, a list of them, or `off`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ListenAddresses, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ListenAddresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(One(address)) = list.next_element()? {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                // `[::]` takes IPv4 too: `0.0.0.0` beside it, as many write it, would be the same port again.
                let every = |address: &SocketAddr| address.ip().is_unspecified() && address.port() != 0;
                let six: Vec<u16> =
                    addresses.iter().filter(|a| a.is_ipv6() && every(a)).map(SocketAddr::port).collect();
                addresses.retain(|a| !(a.is_ipv4() && every(a) && six.contains(&a.port())));
                Ok(ListenAddresses(addresses))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// One address of a list.
struct One(SocketAddr);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = One;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address with a port, such as `127.0.0.1:8080`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<One, E> {
                parse_one(text).map(One).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for ListenAddresses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListenAddresses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An IP address with a port, a list of them, or off. `:8080` means every interface; port 0 lets the system choose.",
            "examples": ["127.0.0.1:8080", ":8080", ["127.0.0.1:8080", "[::1]:8080"], "off"],
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ListenAddresses, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn one_address_or_a_list_or_none_is_read() {
        let table = [
            (r#""127.0.0.1:8080""#, "127.0.0.1:8080"),
            (r#"":8554""#, "[::]:8554"),
            (r#""*:0""#, "[::]:0"),
            (r#""localhost:80""#, "127.0.0.1:80"),
            (r#"["127.0.0.1:1", "[::1]:1", "127.0.0.1:1"]"#, "127.0.0.1:1, [::1]:1"),
            (r#"["0.0.0.0:80", "[::]:80", "0.0.0.0:81"]"#, "[::]:80, 0.0.0.0:81"),
            ("[]", "off"),
            (r#""off""#, "off"),
        ];
        for (json, shown) in table {
            assert_eq!(read(json).unwrap().to_string(), shown, "{json}");
        }
    }

    #[test]
    fn a_name_or_a_bare_port_is_refused_with_an_example() {
        for json in
            [r#""8080""#, r#""example.org:8080""#, r#""127.0.0.1""#, r#"":99999""#, r#"["off"]"#, "8080", "true"]
        {
            let error = read(json).unwrap_err();
            assert!(error.contains("an IP address with a port, such as"), "{json}: {error}");
        }
        assert!(read(r#""example.org:9000""#).unwrap_err().contains("`:9000` for every interface"));
    }

    #[test]
    fn addresses_print_as_they_are_read() {
        for json in [r#""127.0.0.1:8080""#, r#"["127.0.0.1:1","[::1]:1"]"#, r#""off""#] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }
}
