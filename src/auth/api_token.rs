//! A token that a program keeps: made by a user, named, withdrawn one by one, with an end or without. Only a digest of it
//! is kept. A value; sans-IO.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    DigestKeys,
    user::{hexadecimal, of_hexadecimal},
};
use crate::{
    base::{Error, Kind, Result, Secret, WallTime},
    config::{PermissionConfig, UserName},
};

/// What it begins with, so that whoever finds one knows what it is.
const PREFIX: &str = "cmp_";
/// Bytes of the secret: nobody guesses it, and a plain digest of it tells nothing.
const SECRET: usize = 32;
/// The longest name, and the most permissions; of those that are regular expressions each may take 64 KiB.
const NAME_MAX: usize = 100;
const PERMISSIONS_MAX: usize = 100;
const EXPRESSIONS_MAX: usize = 10;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its public half: sixteen hexadecimal digits.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// Whose it is.
    pub user: UserName,
    /// What it allows at most; nothing: what its user may. It never allows more than that.
    pub permissions: Option<Vec<PermissionConfig>>,
    /// When it was made.
    pub made: WallTime,
    /// When it ends, if it does.
    pub until: Option<WallTime>,
    pub(super) hash: [u8; 32],
    pub(super) digest: DigestKeys,
}

/// As the store keeps it. No `Debug`: digest keys stand in it as they are.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    user: UserName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<PermissionConfig>>,
    made_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
    hash: String,
    digest_md5: String,
    digest_sha256: String,
}

impl ApiToken {
    /// A new one, and its text, which is nowhere else.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: the name is empty, too long or no text of one line; too many permissions, or regular
    /// expressions among them; over already.
    pub fn new(
        name: &str,
        user: UserName,
        permissions: Option<Vec<PermissionConfig>>,
        until: Option<WallTime>,
        now: WallTime,
    ) -> Result<(Self, Secret)> {
        let wrong = |message: String| Err(Error::new(Kind::InvalidArgument, message).with_code("invalid_token"));
        let name = name.trim();
        if !(1..=NAME_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return wrong(format!("name: one line of 1 to {NAME_MAX} bytes"));
        }
        if permissions.as_ref().is_some_and(|permissions| permissions.len() > PERMISSIONS_MAX) {
            return wrong(format!("permissions: {PERMISSIONS_MAX} at most"));
        }
        let expressions = permissions.iter().flatten().filter(|one| one.path.is_expression()).count();
        if expressions > EXPRESSIONS_MAX {
            return wrong(format!("permissions: {EXPRESSIONS_MAX} regular expressions at most"));
        }
        if until.is_some_and(|until| until <= now) {
            return wrong("expires: that is over".to_owned());
        }
        let id = format!("{:016x}", rand::random::<u64>());
        let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET]>()));
        let text = Secret::new(text);
        let (hash, digest) = (hash(text.reveal()), DigestKeys::new(&user, &text));
        Ok((Self { id, name: name.to_owned(), user, permissions, made: now, until, hash, digest }, text))
    }

    /// What people know it by.
    pub fn label(&self) -> String {
        format!("{}, of {}", self.name, self.user)
    }

    /// Whether a text looks like one.
    pub fn is_one(text: &str) -> bool {
        Self::id_of(text).is_some()
    }

    /// The id that stands in a text that looks like one.
    pub(super) fn id_of(text: &str) -> Option<&str> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let fits = id.len() == 16 && secret.len() == (SECRET * 4).div_ceil(3) && secret.bytes().all(plain);
        fits.then_some(id)
    }

    /// Whether this is its text. For people who look at their own: it takes longer the more of it is right.
    pub fn is_text(&self, text: &Secret) -> bool {
        hash(text.reveal().trim()) == self.hash
    }

    /// What the store keeps. It holds secrets: it goes nowhere else.
    pub fn to_stored(&self) -> String {
        let stored = Stored {
            name: self.name.clone(),
            user: self.user.clone(),
            permissions: self.permissions.clone(),
            made_ms: self.made.unix_millis(),
            until_ms: self.until.map(WallTime::unix_millis),
            hash: hexadecimal(&self.hash),
            digest_md5: self.digest.md5.reveal().to_owned(),
            digest_sha256: self.digest.sha256.reveal().to_owned(),
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The token that the store keeps under an id.
    ///
    /// # Errors
    /// [`Kind::Internal`]: it is none; the message shows nothing of it.
    pub fn of_stored(id: &str, body: &str) -> Result<Self> {
        let unreadable = || Error::new(Kind::Internal, "a token in the store cannot be read");
        let stored: Stored = serde_json::from_str(body).map_err(|_| unreadable())?;
        let millis = |millis: i64| WallTime::from_unix_nanos(millis.saturating_mul(1_000_000));
        let hash = of_hexadecimal(&stored.hash).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unreadable)?;
        Ok(Self {
            id: id.to_owned(),
            name: stored.name,
            user: stored.user,
            permissions: stored.permissions,
            made: millis(stored.made_ms),
            until: stored.until_ms.map(millis),
            hash,
            digest: DigestKeys { md5: Secret::new(stored.digest_md5), sha256: Secret::new(stored.digest_sha256) },
        })
    }
}

/// What is kept of the text.
pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::permissions;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_token_reads_back_from_the_store_and_its_text_does_not() {
        for (limit, until) in [(None, None), (Some(permissions(&[("view", "cam")])), Some(at(90)))] {
            let (token, text) = ApiToken::new(" door bell ", "anna".parse().unwrap(), limit, until, at(1)).unwrap();
            assert!(ApiToken::is_one(text.reveal()) && text.reveal().len() == 64, "{}", text.reveal());
            assert_eq!((token.name.as_str(), token.hash), ("door bell", hash(text.reveal())));
            assert_eq!(ApiToken::of_stored(&token.id, &token.to_stored()).unwrap(), token);
            let secret = text.reveal().rsplit('_').next().unwrap();
            assert!(!token.to_stored().contains(secret) && !format!("{token:?}").contains(secret));
            assert!(!format!("{token:?}").contains(token.digest.md5.reveal()));
        }
        assert!(ApiToken::of_stored("a", "{}").is_err() && ApiToken::of_stored("a", "hunter2").is_err());
    }

    /// Whoever may view one camera may make fifty tokens.
    #[test]
    fn a_token_has_few_regular_expressions() {
        let made = |text: &str, count: usize| {
            let limit = vec![permissions(&[("view", text)]).remove(0); count];
            ApiToken::new("a", "anna".parse().unwrap(), Some(limit), None, at(1)).map(|_| ())
        };
        assert!(made("~cam-\\d", 10).is_ok() && made("site/*", 100).is_ok());
        assert_eq!(made("~cam-\\d", 11).unwrap_err().code(), "invalid_token");
    }

    #[test]
    fn what_makes_no_token_is_refused() {
        let new = |name: &str, count: usize, until: Option<i64>| {
            let limit = vec![permissions(&[("view", "*")]).remove(0); count];
            ApiToken::new(name, "anna".parse().unwrap(), Some(limit), until.map(at), at(10)).map(|_| ())
        };
        assert!(new("a", 100, Some(11)).is_ok());
        for refused in [new("", 1, None), new("  ", 1, None), new("a\nb", 1, None), new(&"a".repeat(101), 1, None)] {
            assert_eq!(refused.unwrap_err().code(), "invalid_token");
        }
        assert!(new("a", 101, None).is_err() && new("a", 1, Some(10)).is_err());
        for text in ["", "cmp_", "cmp_0123456789abcdef_short", "password"] {
            assert!(!ApiToken::is_one(text), "{text}");
        }
    }
}
