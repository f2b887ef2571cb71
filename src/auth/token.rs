//! Tokens of our own: JWTs (RFC 7519, RFC 8725) that a key of this server signed. What algorithm that is for stands with the
//! key, never in a token; kinds of tokens never pass for each other.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::TokenKey;
use crate::{
    base::{Error, Kind, Result, WallTime},
    config::{PermissionConfig, TokenAlgorithm, UserName},
};

/// What a token is for, and so by which way it may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Whoever logged in with a browser: in the cookie and nowhere else.
    Session,
    /// Whoever logged in, for a quarter of an hour: in `Authorization`, and in URLs of the doors of events.
    Access,
    /// To follow events, for half a minute: in URLs of the doors of events.
    Events,
    /// To watch one path, for minutes: in `Authorization`, as a password, and in URLs of that path's media.
    Media,
    /// From the issuer that the configuration names: in `Authorization`, and as a password. None of ours says so.
    #[serde(skip)]
    Foreign,
    /// Of a program: in `Authorization`, and as a password. It is no JWT.
    #[serde(skip)]
    Api,
}

/// By which way a token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In `Authorization`, or as a password.
    Header,
    /// In our cookie.
    Cookie,
    /// In a URL.
    Query,
    /// In a message on a connection that is open.
    Message,
    /// In the URL of one path's media: playlists and their pieces, WHEP, RTSP.
    Link,
}

impl Purpose {
    /// Whether a token of this purpose may come by this way.
    pub const fn comes_by(self, way: Way) -> bool {
        matches!(
            (self, way),
            (Self::Session, Way::Cookie)
                | (Self::Access, Way::Header | Way::Query | Way::Message)
                | (Self::Events, Way::Query | Way::Message)
                | (Self::Foreign | Self::Api, Way::Header | Way::Message)
                | (Self::Media, Way::Header | Way::Link)
        )
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    iss: Issuer,
    /// The user.
    pub sub: UserName,
    /// Its name, for the list of those that were logged out.
    pub jti: String,
    iat: i64,
    /// Seconds since 1970 at which it ends.
    pub exp: i64,
    /// When the user showed the password.
    pub auth_time: i64,
    /// What it is for.
    #[serde(rename = "use")]
    pub purpose: Purpose,
    /// Of what was shown to get it: with another password the token is nobody's.
    pub credential: String,
    /// When what it opened ends, if that is not with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<i64>,
    /// What it allows at most; everything the user may if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campanile: Option<Vec<PermissionConfig>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Issuer {
    #[serde(rename = "campanile")]
    Campanile,
}

/// What a new token is to say.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) user: UserName,
    pub(super) purpose: Purpose,
    /// Seconds it lasts.
    pub(super) lasts: i64,
    /// Its name; a new one if absent.
    pub(super) id: Option<String>,
    pub(super) ends: Option<i64>,
    pub(super) auth_time: i64,
    pub(super) credential: String,
    pub(super) limit: Option<Vec<PermissionConfig>>,
}

/// Clocks that differ by less do not matter.
const LEEWAY: i64 = 5;
/// Permissions of one token at most.
pub(super) const PERMISSIONS_MAX: usize = 32;

impl TokenKey {
    /// Signs a token.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub(super) fn sign(&self, wanted: Wanted, now: WallTime) -> Result<(String, Claims)> {
        let failed = || Error::new(Kind::Internal, "a token cannot be signed");
        let iat = now.unix_millis().div_euclid(1000);
        let claims = Claims {
            iss: Issuer::Campanile,
            sub: wanted.user,
            jti: wanted.id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
            iat,
            exp: iat + wanted.lasts,
            auth_time: wanted.auth_time,
            purpose: wanted.purpose,
            credential: wanted.credential,
            ends: wanted.ends,
            campanile: wanted.limit,
        };
        let head = Head { typ: Type::Jwt, alg: self.algorithm(), kid: self.id.clone() };
        let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| URL_SAFE_NO_PAD.encode(json));
        let head = part(serde_json::to_vec(&head)).map_err(|_| failed())?;
        let body = part(serde_json::to_vec(&claims)).map_err(|_| failed())?;
        let message = format!("{head}.{body}");
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.seal(message.as_bytes())));
        Ok((token, claims))
    }
}

/// The head of a token. Its algorithm is that of its key, and nothing else may stand in it (RFC 8725 §3.1).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    typ: Type,
    alg: TokenAlgorithm,
    kid: String,
}

#[derive(Serialize, Deserialize)]
enum Type {
    #[serde(rename = "JWT")]
    Jwt,
}

/// What a token says, if one of these keys signed it and it holds now. Nothing of its body is read before that.
pub(super) fn verify(keys: &[TokenKey], token: &str, now: WallTime) -> Option<Claims> {
    // RFC 7515 §7.1
    let (message, tag) = token.rsplit_once('.')?;
    let (head, body) = message.split_once('.')?;
    let head: Head = part(head)?;
    let key = keys.iter().find(|key| key.id == head.kid && key.algorithm() == head.alg)?;
    if !key.sealed(message.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?) {
        return None;
    }
    let claims: Claims = part(body)?;
    let now = now.unix_millis().div_euclid(1000);
    let few = claims.campanile.as_ref().is_none_or(|permissions| permissions.len() <= PERMISSIONS_MAX);
    (few && now < claims.exp && claims.iat <= now + LEEWAY).then_some(claims)
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn signed(key: &TokenKey) -> (String, Claims) {
        let limit = serde_json::from_value(json!([{ "action": "view", "path": "cam" }])).unwrap();
        let wanted = Wanted {
            user: "anna".parse().unwrap(),
            purpose: Purpose::Media,
            lasts: 60,
            id: None,
            ends: None,
            auth_time: 1000,
            credential: "c".into(),
            limit: Some(limit),
        };
        key.sign(wanted, at(1000)).unwrap()
    }

    #[test]
    fn a_token_holds_from_its_beginning_to_its_end_under_every_key_that_is_kept() {
        for algorithm in [TokenAlgorithm::Hs256, TokenAlgorithm::EdDsa] {
            let keys = [TokenKey::random(), TokenKey::new(algorithm).unwrap()];
            let (token, claims) = signed(&keys[1]);
            for (now, holds) in [(1000, true), (995, true), (994, false), (1059, true), (1060, false)] {
                assert_eq!(verify(&keys, &token, at(now)).is_some(), holds, "{now}");
            }
            assert_eq!(verify(&keys, &token, at(1000)), Some(claims));
            assert_eq!(verify(&keys[..1], &token, at(1000)), None, "its key is gone");
            let kept = TokenKey::of_stored(&keys[1].id, algorithm, &keys[1].to_stored()).unwrap();
            assert!(verify(&[kept], &token, at(1000)).is_some());
        }
    }

    #[test]
    fn jw_01_to_jw_03_forged_tokens_are_refused() {
        let key = TokenKey::random();
        let (token, claims) = signed(&key);
        let parts: Vec<&str> = token.split('.').collect();
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let sign = |header: &str, body: &str| {
            let message = format!("{}.{}", part(header), part(body));
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.seal(message.as_bytes())))
        };
        let header = |alg: &str| json!({ "alg": alg, "kid": key.id, "typ": "JWT" }).to_string();
        let body = serde_json::to_value(&claims).unwrap();
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            body.to_string()
        };
        assert!(verify(std::slice::from_ref(&key), &sign(&header("HS256"), &body.to_string()), at(1000)).is_some());
        let doubled = body.to_string().replacen('{', "{\"sub\":\"boss\",", 1);
        let table = [
            format!("{}.{}.", part(&header("none")), parts[1]),
            format!("{}.{}.{}", part(&header("none")), parts[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            sign(&header("HS384"), &body.to_string()),
            sign(&header("RS256"), &body.to_string()),
            sign(&header("EdDSA"), &body.to_string()),
            sign(r#"{"alg":"HS256"}"#, &body.to_string()),
            sign(r#"{"alg":"HS256","kid":"../../etc/passwd"}"#, &body.to_string()),
            sign(&json!({ "alg": "HS256", "kid": key.id, "crit": ["x"] }).to_string(), &body.to_string()),
            sign(&header("HS256").replacen('{', "{\"alg\":\"none\",", 1), &body.to_string()),
            sign(&header("HS256"), &doubled),
            sign(&header("HS256"), &with("iss", json!("other"))),
            sign(&header("HS256"), &with("exp", json!("never"))),
            sign(&header("HS256"), &with("exp", Value::Null)),
            sign(&header("HS256"), &with("use", json!("admin"))),
            sign(&header("HS256"), &with("use", json!("foreign"))),
            sign(&header("HS256"), &with("more", json!(1))),
            sign(&header("HS256"), "null"),
            sign(&header("HS256"), &with("campanile", json!(vec![json!({ "action": "admin" }); 33]))),
            format!("{}.{}.{}", parts[0], part(&with("sub", json!("boss"))), parts[2]),
            format!("{token}a"),
            format!("{token}.{token}"),
            "..".into(),
            String::new(),
        ];
        for forged in table {
            assert_eq!(verify(std::slice::from_ref(&key), &forged, at(1000)), None, "{forged}");
        }
    }

    /// The public half of a key is no secret that HS256 could use (RFC 8725 §2.1), and its secret none for the other.
    #[test]
    fn jw_02_a_key_of_one_algorithm_proves_nothing_of_another() {
        let pair = TokenKey::new(TokenAlgorithm::EdDsa).unwrap();
        let same = TokenKey::of_stored(&pair.id, TokenAlgorithm::Hs256, &pair.to_stored()).unwrap();
        let ((by_pair, _), (by_secret, _)) = (signed(&pair), signed(&same));
        assert!(verify(std::slice::from_ref(&pair), &by_secret, at(1000)).is_none());
        assert!(verify(std::slice::from_ref(&same), &by_pair, at(1000)).is_none());
        let relabelled =
            by_secret.replacen(by_secret.split('.').next().unwrap(), by_pair.split('.').next().unwrap(), 1);
        assert!(verify(&[pair, same], &relabelled, at(1000)).is_none());
    }

    #[test]
    fn kinds_of_tokens_do_not_pass_for_each_other() {
        use Purpose as P;
        let table = [
            (P::Session, [false, true, false, false, false]),
            (P::Access, [true, false, true, true, false]),
            (P::Events, [false, false, true, true, false]),
            (P::Media, [true, false, false, false, true]),
            (P::Foreign, [true, false, false, true, false]),
            (P::Api, [true, false, false, true, false]),
        ];
        for (purpose, expected) in table {
            assert_eq!(
                [Way::Header, Way::Cookie, Way::Query, Way::Message, Way::Link].map(|way| purpose.comes_by(way)),
                expected,
                "{purpose:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "\\PC{0,60}", dots in "[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}") {
            let key = TokenKey::random();
            prop_assert!(verify(std::slice::from_ref(&key), &text, at(1000)).is_none());
            prop_assert!(verify(&[key], &dots, at(1000)).is_none());
        }
    }
}
