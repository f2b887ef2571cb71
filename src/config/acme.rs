//! The section `acme`: a certificate from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{HttpUrl, ListenAddresses};

/// The certificate of the listeners that say `tls: acme`. To name domains is to agree to the authority's terms of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// The names that the certificate is for. They lead to this server.
    pub domains: Vec<DomainName>,
    /// Whom the authority writes to.
    pub email: Option<String>,
    /// The authority's directory; Let's Encrypt's if absent.
    pub directory: Option<HttpUrl>,
    /// The certificates that vouch for the directory, PEM, if they are none that this machine knows.
    pub ca_file: Option<PathBuf>,
    /// Where the authority asks over plain HTTP: what the world reaches as port 80. All other requests are sent on to
    /// HTTPS. `off`: it asks over TLS at `http.address`, which the world reaches as port 443.
    pub http_address: ListenAddresses,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self { domains: Vec::new(), email: None, directory: None, ca_file: None, http_address: ListenAddresses::off() }
    }
}

/// The name of a host, as the DNS has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct DomainName(String);

impl DomainName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DomainName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().to_ascii_lowercase();
        // RFC 1123 §2.1. A wildcard needs a challenge over DNS, which is not spoken here.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let label = |label: &str| {
            let inner = !label.starts_with('-') && !label.ends_with('-');
            (1..=63).contains(&label.len()) && label.bytes().all(plain) && inner
        };
        let named = name.len() <= 253 && name.contains('.') && name.split('.').all(label);
        let address = name.parse::<std::net::IpAddr>().is_ok();
        (named && !address).then_some(Self(name)).ok_or("expected the name of a host, such as `cams.example.org`")
    }
}

impl<'de> Deserialize<'de> for DomainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_with_a_dot() {
        assert_eq!("Cams.Example.org".parse::<DomainName>().unwrap().as_str(), "cams.example.org");
        for wrong in ["", "localhost", "*.example.org", "10.0.0.1", "a..b", "-a.b", "a b.c", "https://a.b", "a.b:443"] {
            assert!(wrong.parse::<DomainName>().is_err(), "{wrong}");
        }
    }
}
