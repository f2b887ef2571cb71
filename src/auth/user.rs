//! One user, as the file or the store has it.

use aws_lc_rs::digest;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::{
    base::{Error, Kind, Result, Secret},
    config::{PasswordHash, PermissionConfig, UserConfig, UserName},
};

/// The realm of every challenge: digest keys hold for it alone.
pub const REALM: &str = "campanile";

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What the user is called.
    pub name: UserName,
    /// The password's hash.
    pub password: PasswordHash,
    /// What digest logins of RTSP are checked with, if they may be used.
    pub digest: Option<DigestKeys>,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What the user may do besides.
    pub permissions: Vec<PermissionConfig>,
}

/// `H(user:realm:password)` (RFC 7616 §3.4.2), in hexadecimal. Whoever has one can log in by digest: as secret as the
/// password itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKeys {
    /// For `MD5`.
    pub md5: Secret,
    /// For `SHA-256`.
    pub sha256: Secret,
}

impl DigestKeys {
    /// Of a user's password.
    pub fn new(name: &UserName, password: &Secret) -> Self {
        let text = format!("{name}:{REALM}:{}", password.reveal());
        let sha256 = digest::digest(&digest::SHA256, text.as_bytes());
        Self { md5: Secret::new(hexadecimal(&Md5::digest(&text))), sha256: Secret::new(hexadecimal(sha256.as_ref())) }
    }
}

/// A digest of a text for a purpose, in hexadecimal: whoever sees it knows nothing of the text.
pub fn digest_of(purpose: &str, text: &str) -> String {
    hexadecimal(digest::digest(&digest::SHA256, format!("{purpose}\0{text}").as_bytes()).as_ref())
}

/// Bytes of hexadecimal digits; nothing if they are none.
pub(super) fn of_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A user as the store keeps it. No `Debug`: the secrets stand in it as they are.
#[derive(Serialize, Deserialize)]
struct Stored {
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest_md5: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest_sha256: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    permissions: Vec<PermissionConfig>,
}

impl User {
    /// A user of the file.
    pub fn of_config(config: &UserConfig) -> Self {
        let UserConfig { name, password, groups, permissions } = config.clone();
        Self { name, password, digest: None, groups, permissions }
    }

    /// What the store keeps. It holds secrets: it goes nowhere else.
    pub fn to_stored(&self) -> String {
        let key = |of: fn(&DigestKeys) -> &Secret| self.digest.as_ref().map(|keys| of(keys).reveal().to_owned());
        let stored = Stored {
            password: self.password.reveal().to_owned(),
            digest_md5: key(|keys| &keys.md5),
            digest_sha256: key(|keys| &keys.sha256),
            groups: self.groups.clone(),
            permissions: self.permissions.clone(),
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The user that the store keeps under a name.
    ///
    /// # Errors
    /// [`Kind::Internal`]: it is none; the message shows nothing of it.
    pub fn of_stored(name: &str, body: &str) -> Result<Self> {
        let unreadable = || Error::new(Kind::Internal, "a user in the store cannot be read");
        let stored: Stored = serde_json::from_str(body).map_err(|_| unreadable())?;
        let keys = stored.digest_md5.zip(stored.digest_sha256);
        Ok(Self {
            name: name.parse().map_err(|_| unreadable())?,
            password: stored.password.parse().map_err(|_| unreadable())?,
            digest: keys.map(|(md5, sha256)| DigestKeys { md5: Secret::new(md5), sha256: Secret::new(sha256) }),
            groups: stored.groups,
            permissions: stored.permissions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw";

    fn anna(digest: Option<DigestKeys>) -> User {
        User {
            name: "anna".parse().unwrap(),
            password: HASH.parse().unwrap(),
            digest,
            groups: vec!["family".into()],
            permissions: vec![serde_json::from_str(r#"{"action":"view","path":"site/*"}"#).unwrap()],
        }
    }

    #[test]
    fn a_user_reads_back_from_the_store_and_shows_no_secret() {
        let name = "anna".parse().unwrap();
        for digest in [None, Some(DigestKeys::new(&name, &Secret::new("password")))] {
            let user = anna(digest);
            assert_eq!(User::of_stored("anna", &user.to_stored()).unwrap(), user);
            let shown = format!("{user:?}");
            assert!(!shown.contains("c2Fs") && !shown.contains("W1g3"), "{shown}");
        }
        for wrong in ["", "{}", "[]", r#"{"password":"hunter2"}"#] {
            let error = User::of_stored("anna", wrong).unwrap_err();
            assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        }
    }

    #[test]
    fn digest_keys_are_those_of_rfc_7616() {
        // `printf 'anna:campanile:password' | md5sum`, and sha256sum.
        let keys = DigestKeys::new(&"anna".parse().unwrap(), &Secret::new("password"));
        assert_eq!(keys.md5.reveal(), "9c1ee80967a37ada7f0ee8685d605563");
        assert_eq!(keys.sha256.reveal(), "16d6011a67be6931fabddde5649a5704d55b78e76c56c79d291021e5288a5d3e");
    }
}
