//! The section `auth`: who may do what. `auth: off` lets everybody do everything.

use std::{collections::BTreeMap, fmt, str::FromStr};

use argon2::{Params, password_hash::phc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{AuthHttpConfig, JwtConfig, PermissionConfig, TokensConfig};
use crate::base::Secret;

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Everybody may do everything.
    Off,
    /// These, and those in the store.
    On(UsersConfig),
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self::On(UsersConfig::default())
    }
}

/// The users of the file. Those that `campanile user add` made stand in the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsersConfig {
    /// The users.
    pub users: Vec<UserConfig>,
    /// Permissions by the name of a group, for all users who are in it.
    pub groups: BTreeMap<String, Vec<PermissionConfig>>,
    /// How this server signs tokens of its own.
    pub tokens: TokensConfig,
    /// An issuer whose tokens are taken.
    pub jwt: Option<Box<JwtConfig>>,
    /// A server that decides about callers who are not known here.
    pub http: Option<Box<AuthHttpConfig>>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// What the user is called.
    pub name: UserName,
    /// The argon2id hash of the password, as `campanile user hash` prints it.
    pub password: PasswordHash,
    /// The groups the user is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the user may do besides.
    #[serde(default)]
    pub permissions: Vec<PermissionConfig>,
}

/// What a user is called: 1 to 64 letters, digits, `_`, `.`, `-` and `@`; none of the words for callers without a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(std::sync::Arc<str>);

/// Words for callers without a name.
const NOBODY: [&str; 4] = ["anonymous", "guest", "house", "local"];

impl UserName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
        if NOBODY.contains(&text) {
            return Err("`anonymous`, `guest`, `house` and `local` are callers without a name");
        }
        // In a URL, `me` is who asks, and dots alone lead elsewhere (RFC 3986 §5.2.4).
        if text == "me" || text.chars().all(|c| c == '.') && !text.is_empty() {
            return Err("`me` and dots alone are nobody's names");
        }
        let right = (1..=64).contains(&text.len()) && text.chars().all(fits);
        right.then(|| Self(text.into())).ok_or("expected a name: 1 to 64 letters, digits, `_`, `.`, `-` and `@`")
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for UserName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for UserName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UserName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_.@-]{1,64}$" })
    }
}

/// A password as it is kept: an argon2id hash in the PHC string format. It shows itself as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(Secret);

/// The most a hash may cost, so that a slip of the pen does not take the machine's memory at every login.
const MEMORY_MAX_KIB: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

impl PasswordHash {
    /// The PHC string. Call it where a password is verified or the hash is kept.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for PasswordHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an argon2id hash such as `campanile user hash` prints, `$argon2id$v=19$…`";
        let hash = phc::PasswordHash::new(text).map_err(|_| expected)?;
        let params = Params::try_from(&hash).map_err(|_| expected)?;
        if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
            return Err(expected);
        }
        if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
            return Err("the hash asks for too much: at most 1 GiB, 64 passes and 16 lanes");
        }
        Ok(Self(Secret::new(text)))
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for PasswordHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PasswordHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\$argon2id\$" })
    }
}

impl Serialize for AuthConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(users) => users.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AuthConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OffOrSection;
        impl<'de> Visitor<'de> for OffOrSection {
            type Value = AuthConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`off`, or an object with `users` and `groups`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AuthConfig, E> {
                // Written out: whatever else reads like "no" keeps the doors closed.
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                (text == "off").then_some(AuthConfig::Off).ok_or_else(wrong)
            }

            fn visit_unit<E: Error>(self) -> Result<AuthConfig, E> {
                Ok(AuthConfig::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AuthConfig, A::Error> {
                UsersConfig::deserialize(MapAccessDeserializer::new(map)).map(AuthConfig::On)
            }
        }
        deserializer.deserialize_any(OffOrSection)
    }
}

impl JsonSchema for AuthConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AuthConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let section = generator.subschema_for::<UsersConfig>();
        json_schema!({ "anyOf": [{ "const": "off" }, section] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw";

    #[test]
    fn a_hash_is_argon2id_bounded_and_never_shows_itself() {
        let hash: PasswordHash = HASH.parse().unwrap();
        assert_eq!(hash.reveal(), HASH);
        assert!(!format!("{hash:?} {}", serde_json::to_string(&hash).unwrap()).contains("c2Fs"));
        for wrong in [
            "hunter2",
            "",
            "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0",
            "$argon2i$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw",
            "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw",
            "$2b$12$abcdefghijklmnopqrstuv",
        ] {
            let error = wrong.parse::<PasswordHash>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn off_is_written_out() {
        assert_eq!(serde_json::from_str::<AuthConfig>("\"off\"").unwrap(), AuthConfig::Off);
        assert_eq!(serde_json::from_str::<AuthConfig>("null").unwrap(), AuthConfig::default());
        for wrong in ["false", "\"false\"", "\"no\"", "\"OFF\"", "0", "[]"] {
            assert!(serde_json::from_str::<AuthConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_users_are_short_and_plain() {
        for right in ["admin", "a", "anna@example.org", "cam-viewer_2"] {
            assert!(right.parse::<UserName>().is_ok(), "{right}");
        }
        for wrong in ["", "a b", "a:b", "ä", "a/b", "local", "me", ".", "..", &"a".repeat(65)] {
            assert!(wrong.parse::<UserName>().is_err(), "{wrong}");
        }
    }
}
