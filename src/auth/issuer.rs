//! Tokens of somebody else: JWTs (RFC 7519; RFC 8725; RFC 9068) of the one issuer that the configuration names, proved by
//! its keys. Nothing that stands in a token leads anywhere: `jku`, `x5u` and `kid` make no URL. Sans-IO.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::issuer_keys::{self, Algorithm, IssuerKey, KeyPrint, KeySetError};
use crate::{
    base::WallTime,
    config::{JwtConfig, PermissionConfig, UserName},
};

/// Permissions of one token at most, and groups that are looked at.
const PERMISSIONS_MAX: usize = 100;
const GROUPS_MAX: usize = 200;

/// An issuer, and the keys it has at the moment.
#[derive(Debug)]
pub(super) struct Issuer {
    config: JwtConfig,
    keys: Vec<IssuerKey>,
}

/// What becomes of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is right.
    Right(Box<Foreigner>),
    /// It says that a key signed it which is not known: it may be a new one.
    UnknownKey,
    /// It is none, not for us, or over.
    Wrong,
}

/// Somebody whom the issuer vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreigner {
    pub(super) name: UserName,
    /// Seconds since 1970 at which it ends.
    pub(super) exp: i64,
    /// What the token itself allows.
    pub(super) permissions: Vec<PermissionConfig>,
    /// The groups it names; those that the configuration has give permissions.
    pub(super) groups: Vec<String>,
    /// The key that signed it.
    pub(super) key: KeyPrint,
}

impl Issuer {
    pub(super) const fn new(config: JwtConfig) -> Self {
        Self { config, keys: Vec::new() }
    }

    /// These are its keys from now on. How many are of use comes back.
    pub(super) fn set_keys(&mut self, set: &[u8]) -> Result<usize, KeySetError> {
        self.keys = issuer_keys::read(set)?;
        Ok(self.keys.len())
    }

    /// Whether a key is one of its keys.
    pub(super) fn has(&self, print: &KeyPrint) -> bool {
        self.keys.iter().any(|key| key.print == *print)
    }

    /// What becomes of a token now. Nothing of its body is read before a key proved it.
    pub(super) fn judge(&self, token: &str, now: WallTime) -> Verdict {
        self.read(token, now).unwrap_or(Verdict::Wrong)
    }

    fn read(&self, token: &str, now: WallTime) -> Option<Verdict> {
        // RFC 7515 §7.1
        let (message, signature) = token.rsplit_once('.')?;
        let (head, body) = message.split_once('.')?;
        let head = decode(head)?;
        let head = Head::of(&Members::read(&head)?)?;
        let key = match self.key(&head) {
            Ok(key) => key,
            Err(verdict) => return Some(verdict),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !key.signed(message.as_bytes(), &signature) {
            return None;
        }
        let body = decode(body)?;
        self.claims(&Members::read(&body)?, key, now).map(|foreigner| Verdict::Right(Box::new(foreigner)))
    }

    /// RFC 8725 §3.1: the key is one for the algorithm that the token names. A token without `kid` may come from an issuer
    /// that has one key.
    fn key(&self, head: &Head) -> Result<&IssuerKey, Verdict> {
        let fits = |key: &&IssuerKey| key.algorithm() == head.algorithm;
        let Some(id) = &head.key else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                _ => Err(Verdict::Wrong),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.id.as_ref() == Some(id)).peekable();
        if named.peek().is_none() {
            return Err(Verdict::UnknownKey);
        }
        named.find(fits).ok_or(Verdict::Wrong)
    }

    fn claims(&self, members: &Members<'_>, key: &IssuerKey, now: WallTime) -> Option<Foreigner> {
        let config = &self.config;
        let now = now.unix_millis().div_euclid(1000);
        let leeway = i64::try_from(config.leeway.duration().as_secs()).unwrap_or(0);
        // RFC 7519 §4.1.1: to the letter.
        if members.required::<String>("iss")? != config.issuer {
            return None;
        }
        // RFC 7519 §4.1.3
        let audience = members.required::<OneOrMany>("aud")?;
        if !audience.has(&config.audience) {
            return None;
        }
        let exp = members.required::<NumericDate>("exp")?.0.saturating_add(leeway);
        let not_before = members.optional::<NumericDate>("nbf")?;
        let issued = members.optional::<NumericDate>("iat")?;
        let late = |time: Option<NumericDate>| time.is_some_and(|time| time.0 > now.saturating_add(leeway));
        if now >= exp || late(not_before) || late(issued) {
            return None;
        }
        let name = members.required::<String>(&config.name_claim)?.parse().ok()?;
        let permissions = members.optional::<Vec<PermissionConfig>>("campanile")?.unwrap_or_default();
        let groups = match &config.groups_claim {
            Some(claim) => members.optional::<Vec<String>>(claim)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let few = permissions.len() <= PERMISSIONS_MAX && groups.len() <= GROUPS_MAX;
        few.then(|| Foreigner { name, exp, permissions, groups, key: key.print })
    }
}

/// The head of a token.
struct Head {
    algorithm: Algorithm,
    key: Option<String>,
}

impl Head {
    fn of(members: &Members<'_>) -> Option<Self> {
        // RFC 7515 §4.1.11: what has to be understood is not.
        if members.0.contains_key("crit") {
            return None;
        }
        // RFC 8725 §3.11, RFC 9068 §2.1
        let kind = members.optional::<String>("typ")?;
        let known = |kind: &String| {
            let kind = kind
                .get(.."application/".len())
                .filter(|head| head.eq_ignore_ascii_case("application/"))
                .map_or(kind.as_str(), |head| &kind[head.len()..]);
            kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt")
        };
        if !kind.as_ref().is_none_or(known) {
            return None;
        }
        Some(Self { algorithm: members.required("alg")?, key: members.optional("kid")? })
    }
}

/// RFC 7519 §2: seconds since 1970, perhaps with a fraction.
struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        // Beyond it no number is a whole second any more.
        if number.abs() > 9e15 {
            return Err(D::Error::custom("no date"));
        }
        Ok(Self(number.floor() as i64))
    }
}

/// RFC 7519 §4.1.3: a string, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn has(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Many(many) => many.iter().any(|one| one == text),
        }
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The members of an object, each of them once (RFC 7515 §4, RFC 7519 §4: two of a name are refused here).
struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    fn read(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// `None` if it is there and something else; `Some(None)` if it is absent.
    fn optional<T: DeserializeOwned>(&self, name: &str) -> Option<Option<T>> {
        match self.0.get(name) {
            Some(raw) => serde_json::from_str(raw.get()).ok().map(Some),
            None => Some(None),
        }
    }

    fn required<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.optional(name)?
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if members.insert(name.0, value).is_some() {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

/// A name, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
