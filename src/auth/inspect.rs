//! What a token says, for people who want to know why it does not work: nothing here lets anybody in. Sans-IO.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{ApiToken, TokenKey};
use crate::base::{WallTime, secret::MASK};

/// The longest text that is looked at.
const LONGEST: usize = 16 << 10;

/// What a text is.
#[derive(Clone, Debug, PartialEq)]
pub enum Inspected {
    /// A token of a program, of this id. Its secret is not in here.
    Api(String),
    /// A JWT. Its signature is not in here.
    Jwt(Box<InspectedJwt>),
}

/// A JWT, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectedJwt {
    /// The first part.
    pub head: Map<String, Value>,
    /// The second; what it has of a password is masked.
    pub claims: Map<String, Value>,
    /// Whose it is.
    pub signer: Signer,
    /// When it holds.
    pub holds: Holds,
}

/// Who signed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A key of this server, of this name.
    Own(String),
    /// It says that a key of this server did, and that is not so.
    Forged(String),
    /// Somebody else, or a key of this server that was forgotten.
    Other,
}

/// When a token holds, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// From then on.
    From(WallTime),
    /// Now, and until then.
    Until(WallTime),
    /// It did until then.
    Ended(WallTime),
    /// Nothing says.
    Unsaid,
}

impl Inspected {
    /// Takes a text apart; nothing if it is no token.
    pub fn of(text: &str, keys: &[TokenKey], now: WallTime) -> Option<Self> {
        let text = text.trim();
        if text.len() > LONGEST {
            return None;
        }
        if let Some(id) = ApiToken::id_of(text) {
            return Some(Self::Api(id.to_owned()));
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        let (head, mut claims) = (part(head)?, part(claims)?);
        let own = head.get("kid").and_then(Value::as_str).and_then(|kid| keys.iter().find(|key| key.id == kid));
        let signer = own.map_or(Signer::Other, |key| {
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
            let right = key.sealed(message.as_bytes(), &signature);
            if right { Signer::Own(key.id.clone()) } else { Signer::Forged(key.id.clone()) }
        });
        if let Some(credential) = claims.get_mut("credential") {
            *credential = MASK.into();
        }
        let holds = holds(&claims, now);
        Some(Self::Jwt(Box::new(InspectedJwt { head, claims, signer, holds })))
    }
}

fn part(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// RFC 7519 §4.1.4, §4.1.5.
fn holds(claims: &Map<String, Value>, now: WallTime) -> Holds {
    let at = |name: &str| {
        let seconds = claims.get(name)?.as_f64()?;
        // No date of a token is out of the range of these.
        #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the last time there is")]
        let nanos = (seconds * 1e9) as i64;
        Some(WallTime::from_unix_nanos(nanos))
    };
    match (at("nbf"), at("exp")) {
        (Some(from), _) if from > now => Holds::From(from),
        (_, Some(until)) if until > now => Holds::Until(until),
        (_, Some(until)) => Holds::Ended(until),
        _ => Holds::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn token(key: &TokenKey, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "HS256", "kid": key.id })), part(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.seal(message.as_bytes())))
    }

    fn jwt(text: &str, keys: &[TokenKey]) -> InspectedJwt {
        match Inspected::of(text, keys, at(1000)) {
            Some(Inspected::Jwt(jwt)) => *jwt,
            other => panic!("it is a JWT: {other:?}"),
        }
    }

    #[test]
    fn a_token_is_taken_apart_and_its_signer_is_named() {
        let keys = [TokenKey::random(), TokenKey::random()];
        let text = token(&keys[1], &json!({ "sub": "anna", "credential": "c0ffee", "exp": 1060 }));
        let own = jwt(&format!(" {text}\n"), &keys);
        assert_eq!((&own.signer, own.holds), (&Signer::Own(keys[1].id.clone()), Holds::Until(at(1060))));
        assert_eq!((&own.claims["sub"], &own.claims["credential"]), (&json!("anna"), &json!("***")));
        let signature = text.rsplit('.').next().unwrap();
        assert!(!format!("{own:?}").contains(signature));
        let forged = text.replace(signature, &URL_SAFE_NO_PAD.encode([7; 32]));
        assert_eq!(jwt(&forged, &keys).signer, Signer::Forged(keys[1].id.clone()));
        assert_eq!(jwt(&text, &keys[..1]).signer, Signer::Other);
    }

    #[test]
    fn when_it_holds_is_said_by_its_own_words() {
        let table = [
            (json!({ "exp": 1000 }), Holds::Ended(at(1000))),
            (json!({ "exp": 1001.0 }), Holds::Until(at(1001))),
            (json!({ "nbf": 1001, "exp": 2000 }), Holds::From(at(1001))),
            (json!({ "nbf": 1000 }), Holds::Unsaid),
            (json!({ "exp": "soon" }), Holds::Unsaid),
        ];
        let key = TokenKey::random();
        for (claims, expected) in table {
            assert_eq!(jwt(&token(&key, &claims), &[]).holds, expected, "{claims}");
        }
    }

    #[test]
    fn tokens_of_programs_are_named_by_their_id_and_what_is_none_is_none() {
        let (token, text) = ApiToken::new("tile", "anna".parse().unwrap(), None, None, at(0)).unwrap();
        assert_eq!(Inspected::of(text.reveal(), &[], at(0)), Some(Inspected::Api(token.id)));
        for none in ["", "hello", "cmp_", "a.b.c", "e30.W10.", "cmp_zz_yy"] {
            assert_eq!(Inspected::of(none, &[], at(0)), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_not(text in "\\PC{0,80}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
            let _ = Inspected::of(&text, &[], at(0));
            let _ = Inspected::of(&parts, &[], at(0));
        }
    }
}
