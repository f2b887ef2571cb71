//! Addresses of what we dial beside cameras: MQTT brokers and HTTP servers. They hold no credentials.

use std::{fmt, str::FromStr};

use serde::Serializer;
use url::Url;

use crate::base::secret::{MASK, without_passwords};

/// The address of an MQTT broker: `mqtt://host[:port]`, or `mqtts://` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    url: Url,
}

/// An `http://` or `https://` URL. It is shown without the values of parameters that are named like passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceUrlError {
    /// Not the URL of a broker.
    #[error("expected `mqtt://host`, `mqtts://host` for TLS, either with a port")]
    Broker,
    /// Not a URL of the web.
    #[error("expected `http://…` or `https://…`")]
    Http,
    /// A user or a password in it.
    #[error("credentials stand in `username` and `password`, not in the URL")]
    Credentials,
}

fn parse(text: &str, schemes: [&str; 2], error: ServiceUrlError) -> Result<Url, ServiceUrlError> {
    let url = Url::parse(text.trim()).map_err(|_| error.clone())?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err(error);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ServiceUrlError::Credentials);
    }
    Ok(url)
}

impl BrokerUrl {
    /// Whether everything goes through TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "mqtts"
    }

    /// The host, a name or an address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port: 1883, with TLS 8883, if the URL names none.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or_else(|| if self.is_tls() { 8883 } else { 1883 })
    }
}

impl FromStr for BrokerUrl {
    type Err = ServiceUrlError;

    fn from_str(text: &str) -> Result<Self, ServiceUrlError> {
        let url = parse(text, ["mqtt", "mqtts"], ServiceUrlError::Broker)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if bare { Ok(Self { url }) } else { Err(ServiceUrlError::Broker) }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())?;
        match self.url.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl HttpUrl {
    /// The URL.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The URL without what stands behind the host, which is all the secret of many webhooks.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_origin<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let origin = self.0.origin().ascii_serialization();
        match (self.0.path(), self.0.query()) {
            ("/", None) => serializer.serialize_str(&format!("{origin}/")),
            _ => serializer.serialize_str(&format!("{origin}/{MASK}")),
        }
    }
}

impl FromStr for HttpUrl {
    type Err = ServiceUrlError;

    fn from_str(text: &str) -> Result<Self, ServiceUrlError> {
        let mut url = parse(text, ["http", "https"], ServiceUrlError::Http)?;
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(self.0.as_str()))
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(BrokerUrl, name: "BrokerUrl",
expects: "`mqtt://host`, or `mqtts://host` for TLS",
schema: {
    "description": "An MQTT broker: `mqtt://host`, or `mqtts://host` for TLS, either with a port.",
    "type": "string",
    "pattern": r"^\s*mqtts?://[^/\s]+/?\s*$",
    "examples": ["mqtt://10.0.0.2", "mqtts://broker.example.org:8883"]
});

super::text::text_value!(HttpUrl, name: "HttpUrl",
expects: "`http://…` or `https://…`",
schema: {
    "description": "An HTTP URL without credentials.",
    "type": "string",
    "pattern": r"^\s*https?://\S+\s*$",
    "examples": ["http://10.0.0.8/status.json"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_a_host_and_a_port() {
        for (text, shown, host, port, tls) in [
            ("mqtt://10.0.0.2", "mqtt://10.0.0.2", "10.0.0.2", 1883, false),
            ("mqtts://broker.lan/", "mqtts://broker.lan", "broker.lan", 8883, true),
            ("mqtt://[::1]:99", "mqtt://[::1]:99", "::1", 99, false),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host(), url.port(), url.is_tls()), (shown, host, port, tls));
        }
        for bad in ["", "10.0.0.2", "tcp://h", "mqtt://", "mqtt://h/topic", "mqtt://h:0", "http://h"] {
            assert_eq!(bad.parse::<BrokerUrl>(), Err(ServiceUrlError::Broker), "{bad}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        let error = "mqtt://me:hunter2@h".parse::<BrokerUrl>().unwrap_err();
        assert_eq!(error, ServiceUrlError::Credentials);
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!("http://me@h/".parse::<HttpUrl>(), Err(ServiceUrlError::Credentials));
        assert_eq!("http://h/a?b#c".parse::<HttpUrl>().unwrap().to_string(), "http://h/a?b");
        let keyed: HttpUrl = "http://h/a?apikey=hunter2&x=1".parse().unwrap();
        assert_eq!(
            (format!("{keyed} {keyed:?}"), keyed.url().query()),
            ("http://h/a?apikey=***&x=1 http://h/a?apikey=***&x=1".to_owned(), Some("apikey=hunter2&x=1"),)
        );
        for (url, shown) in [
            ("https://hooks.example/T0/B1/hunter2", "https://hooks.example/***"),
            ("http://h:81/?x", "http://h:81/***"),
            ("http://h", "http://h/"),
        ] {
            let url: HttpUrl = url.parse().unwrap();
            assert_eq!(url.serialize_origin(serde_json::value::Serializer).unwrap(), shown);
        }
        assert_eq!("ftp://h/".parse::<HttpUrl>(), Err(ServiceUrlError::Http));
    }
}
