//! Certificates of our own listeners.

use std::{fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Where the certificate comes from that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsConfig {
    /// From files.
    Files(TlsFiles),
    /// Made by this server and kept in the state directory, for networks without an authority.
    SelfSigned,
    /// From the authority of the section `acme`.
    Acme,
}

/// The files of a certificate. Both are PEM; another one may take their place at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and the intermediate ones after it, PEM.
    pub certificate_file: PathBuf,
    /// The private key, PEM.
    pub key_file: PathBuf,
}

impl TlsConfig {
    /// The files, if it comes from files.
    pub fn files(&self) -> Option<&TlsFiles> {
        match self {
            Self::Files(files) => Some(files),
            Self::SelfSigned | Self::Acme => None,
        }
    }
}

const SELF_SIGNED: &str = "self-signed";
const ACME: &str = "acme";

impl Serialize for TlsConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Files(files) => files.serialize(serializer),
            Self::SelfSigned => serializer.serialize_str(SELF_SIGNED),
            Self::Acme => serializer.serialize_str(ACME),
        }
    }
}

impl<'de> Deserialize<'de> for TlsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrFiles;
        impl<'de> Visitor<'de> for WordOrFiles {
            type Value = TlsConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`self-signed`, `acme`, or an object with `certificate_file` and `key_file`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TlsConfig, E> {
                match text {
                    SELF_SIGNED => Ok(TlsConfig::SelfSigned),
                    ACME => Ok(TlsConfig::Acme),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TlsConfig, A::Error> {
                TlsFiles::deserialize(MapAccessDeserializer::new(map)).map(TlsConfig::Files)
            }
        }
        deserializer.deserialize_any(WordOrFiles)
    }
}

impl JsonSchema for TlsConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TlsConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let files = generator.subschema_for::<TlsFiles>();
        json_schema!({
            "description": "The certificate a listener shows: `self-signed`, `acme`, or the files it is in.",
            "anyOf": [{ "enum": ["self-signed", "acme"] }, files]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_comes_from_files_or_is_made_here() {
        let read = |json: &str| serde_json::from_str::<TlsConfig>(json);
        assert_eq!(read("\"self-signed\"").unwrap(), TlsConfig::SelfSigned);
        assert_eq!(read("\"acme\"").unwrap(), TlsConfig::Acme);
        let files = read(r#"{"certificate_file": "a.pem", "key_file": "b.pem"}"#).unwrap();
        assert_eq!(files.files().unwrap().key_file, PathBuf::from("b.pem"));
        for config in [TlsConfig::SelfSigned, TlsConfig::Acme, files] {
            assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
        for wrong in ["\"selfsigned\"", "true", "[]", r#"{"certificate_file": "a.pem"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
