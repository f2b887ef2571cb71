//! Forged, foreign, late and misshapen tokens, as a table: JW-01 to JW-03 of the reference.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::testing::Signer;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_nanos(seconds * 1_000_000_000)
}

fn config() -> JwtConfig {
    serde_json::from_value(json!({
        "jwks_url": "https://id.example/keys", "issuer": "https://id.example", "audience": "campanile",
        "groups_claim": "groups",
    }))
    .unwrap()
}

fn issuer(keys: &[Value]) -> Issuer {
    let mut issuer = Issuer::new(config());
    issuer.set_keys(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    issuer
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "campanile", "sub": "anna@example.org", "exp": NOW + 60, "iat": NOW,
        "campanile": [{ "action": "view", "path": "site/*" }],
    })
}

fn head(signer: &Signer) -> Value {
    json!({ "alg": signer.algorithm(), "kid": "a", "typ": "JWT" })
}

fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

fn right(verdict: Verdict) -> Option<Foreigner> {
    match verdict {
        Verdict::Right(foreigner) => Some(*foreigner),
        Verdict::UnknownKey | Verdict::Wrong => None,
    }
}

#[test]
fn a_token_of_each_algorithm_says_who_it_is_and_what_it_allows() {
    for signer in Signer::one_of_each() {
        let issuer = issuer(&[signer.jwk("a")]);
        let token = signer.token(&head(&signer).to_string(), &claims().to_string());
        let found = right(issuer.judge(&token, at(NOW))).unwrap_or_else(|| panic!("{signer:?}"));
        assert_eq!((found.name.as_str(), found.exp, found.groups.len()), ("anna@example.org", NOW + 65, 0));
        assert_eq!(found.permissions[0].path.to_string(), "site/*");
        assert!(issuer.has(&found.key));
    }
}

#[test]
fn what_other_issuers_write_otherwise_is_read_as_well() {
    let signer = Signer::ec();
    let issuer = issuer(&[signer.jwk("a")]);
    let table = [
        (json!({ "typ": "at+jwt" }), json!({})),
        (json!({ "typ": "application/AT+jwt", "x5t": "…", "jku": "https://evil.example" }), json!({})),
        (json!({ "typ": null, "kid": null }), json!({})),
        (json!({}), json!({ "aud": ["account", "campanile"], "exp": NOW as f64 + 60.5, "nbf": NOW + 5 })),
        (json!({}), json!({ "iat": null, "campanile": null, "realm_access": { "roles": [1, {}] } })),
        (json!({}), json!({ "groups": ["family", "others"] })),
    ];
    for (in_head, in_body) in table {
        let token =
            signer.token(&with(head(&signer), in_head).to_string(), &with(claims(), in_body.clone()).to_string());
        assert!(right(issuer.judge(&token, at(NOW))).is_some(), "{in_body}");
    }
}

#[test]
fn jw_01_to_jw_03_forged_foreign_and_late_tokens_are_refused() {
    let signer = Signer::ec();
    let other = Signer::ec();
    let issuer = issuer(&[signer.jwk("a"), Signer::ed().jwk("b")]);
    let heads = [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "ES384" }),
        json!({ "alg": "es256" }),
        json!({ "alg": null }),
        json!({ "alg": 1 }),
        json!({ "kid": 7 }),
        json!({ "kid": "b" }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "typ": "logout+jwt" }),
        json!({ "typ": "dpop+jwt" }),
        json!({ "typ": 1 }),
    ];
    let bodies = [
        json!({ "iss": "https://id.example/" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": ["https://id.example"] }),
        json!({ "iss": null }),
        json!({ "aud": "others" }),
        json!({ "aud": ["others", "campanile2"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": { "campanile": true } }),
        json!({ "exp": NOW - 5 }),
        json!({ "exp": null }),
        json!({ "exp": "never" }),
        json!({ "exp": (NOW + 60).to_string() }),
        json!({ "exp": true }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": NOW + 6 }),
        json!({ "nbf": "0" }),
        json!({ "iat": NOW + 6 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "local" }),
        json!({ "sub": "an\u{0}na" }),
        json!({ "sub": ["anna"] }),
        json!({ "campanile": "admin" }),
        json!({ "campanile": [{ "action": "everything" }] }),
        json!({ "campanile": [{ "action": "view", "paths": "*" }] }),
        json!({ "campanile": [{ "action": "view", "path": "~(" }] }),
        json!({ "campanile": vec![json!({ "action": "view" }); PERMISSIONS_MAX + 1] }),
        json!({ "groups": "family" }),
        json!({ "groups": [1] }),
        json!({ "groups": vec!["g"; GROUPS_MAX + 1] }),
    ];
    let (right_head, right_body) = (head(&signer).to_string(), claims().to_string());
    let token = signer.token(&right_head, &right_body);
    let parts: Vec<&str> = token.split('.').collect();
    let mut forged: Vec<String> = Vec::new();
    forged.extend(heads.map(|change| signer.token(&with(head(&signer), change).to_string(), &right_body)));
    forged.extend(bodies.map(|change| signer.token(&right_head, &with(claims(), change).to_string())));
    // Algorithm confusion: the public key is no secret, so nothing may be signed with it.
    for secret in [signer.jwk("a").to_string(), signer.jwk("a")["x"].as_str().unwrap().to_owned()] {
        let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "kid": "a", "typ": "JWT" }).to_string());
        let message = format!("{head}.{}", parts[1]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        forged.push(format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)));
    }
    // Twice is once too often, also where JSON hides it.
    for (name, value) in [("alg", "none"), ("al\\u0067", "none"), ("kid", "a"), ("x", "1")] {
        let double = format!(r#"{{"{name}":"{value}","x":"2",{}"#, &right_head[1..]);
        forged.push(signer.token(&double, &right_body));
    }
    for (name, value) in
        [("sub", "\"boss\""), ("s\\u0075b", "\"boss\""), ("exp", "9e15"), ("unknown", "1,\"unknown\":2")]
    {
        forged.push(signer.token(&right_head, &format!(r#"{{"{name}":{value},{}"#, &right_body[1..])));
    }
    forged.extend([
        other.token(&right_head, &right_body),
        format!("{}.{}.", parts[0], parts[1]),
        format!(
            "{}.{}.{}",
            parts[0],
            URL_SAFE_NO_PAD.encode(with(claims(), json!({ "sub": "boss" })).to_string()),
            parts[2]
        ),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        signer.token("[]", &right_body),
        signer.token(&right_head, "null"),
        signer.token(&right_head, "[]"),
        signer.token(&right_head, &format!("{right_body} x")),
        "..".into(),
        String::new(),
    ]);
    assert!(forged.len() >= 60, "{}", forged.len());
    assert!(right(issuer.judge(&token, at(NOW))).is_some());
    for forged in forged {
        assert_eq!(issuer.judge(&forged, at(NOW)), Verdict::Wrong, "{forged}");
    }
}

#[test]
fn a_token_holds_until_its_end_and_the_leeway() {
    let signer = Signer::ed();
    let issuer = issuer(&[signer.jwk("a")]);
    let token = signer.token(&head(&signer).to_string(), &claims().to_string());
    for (now, holds) in [(NOW - 6, false), (NOW - 5, true), (NOW + 64, true), (NOW + 65, false)] {
        assert_eq!(right(issuer.judge(&token, at(now))).is_some(), holds, "{now}");
    }
}

#[test]
fn jw_04_a_key_that_is_not_known_is_asked_for_and_one_that_is_gone_proves_nothing() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let mut issuer = issuer(&[old.jwk("a")]);
    let by_old = old.token(&head(&old).to_string(), &claims().to_string());
    let by_new = new.token(&with(head(&new), json!({ "kid": "b" })).to_string(), &claims().to_string());
    let key = right(issuer.judge(&by_old, at(NOW))).unwrap().key;
    assert_eq!(issuer.judge(&by_new, at(NOW)), Verdict::UnknownKey);
    assert_eq!(issuer.set_keys(json!({ "keys": [new.jwk("b")] }).to_string().as_bytes()), Ok(1));
    assert!(right(issuer.judge(&by_new, at(NOW))).is_some() && !issuer.has(&key));
    assert_eq!(issuer.judge(&by_old, at(NOW)), Verdict::UnknownKey);
    // Garbage in place of keys changes nothing.
    assert!(issuer.set_keys(b"<html>").is_err() && right(issuer.judge(&by_new, at(NOW))).is_some());
    // Another key under a name that was known (CVE-2026-49998).
    assert_eq!(issuer.set_keys(json!({ "keys": [old.jwk("b")] }).to_string().as_bytes()), Ok(1));
    assert_eq!(issuer.judge(&by_new, at(NOW)), Verdict::Wrong);
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC{0,60}", dots in "[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}", head in "\\{[\"a-z:,0-9\\[\\] ]{0,30}\\}") {
        let issuer = Issuer::new(config());
        prop_assert_eq!(issuer.judge(&text, at(NOW)), Verdict::Wrong);
        prop_assert_eq!(issuer.judge(&dots, at(NOW)), Verdict::Wrong);
        let head = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(head));
        prop_assert_eq!(issuer.judge(&head, at(NOW)), Verdict::Wrong);
    }
}
