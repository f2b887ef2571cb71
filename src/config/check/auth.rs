//! The section `auth`: users with one name, groups that are there, not more of anything than is looked through, and an
//! issuer whose keys nobody on the way can change.

use std::collections::BTreeSet;

use url::Host;

use super::{
    super::{AuthConfig, AuthHttpConfig, Config, HttpUrl, HumanDuration, JwtConfig, tree::Route},
    Complaints,
    notify::check_https,
    secs,
};

/// Users of the file, groups, and permissions of one of them.
const MOST: usize = 1000;
const PERMISSIONS_MAX: usize = 100;

impl Config {
    pub(super) fn check_auth(&self, all: &mut Complaints) {
        let AuthConfig::On(auth) = &self.auth else { return };
        let at = |key: &str| Route::of(["auth", key]);
        for (key, count) in [("users", auth.users.len()), ("groups", auth.groups.len())] {
            if count > MOST {
                all.add(at(key), format!("{count} of them, {MOST} at most"));
            }
        }
        let too_many = |route: Route, count: usize, all: &mut Complaints| {
            if count > PERMISSIONS_MAX {
                all.add(route, format!("{count} of them, {PERMISSIONS_MAX} at most"));
            }
        };
        for (name, permissions) in &auth.groups {
            too_many(at("groups").then(name), permissions.len(), all);
        }
        if let Some(jwt) = &auth.jwt {
            check_jwt(jwt, &at("jwt"), all);
        }
        all.range(at("tokens").then("rotate"), auth.tokens.rotate, secs(3600)..=secs(365 * 86_400));
        if let Some(http) = &auth.http {
            check_http(http, &at("http"), all);
        }
        let mut names = BTreeSet::new();
        for (i, user) in auth.users.iter().enumerate() {
            let route = at("users").then_index(i);
            too_many(route.then("permissions"), user.permissions.len(), all);
            if !names.insert(&user.name) {
                all.add(route.then("name"), format!("there is a user `{}` already", user.name));
                continue;
            }
            for (j, group) in user.groups.iter().enumerate() {
                if auth.groups.contains_key(group) {
                    continue;
                }
                let route = route.then("groups").then_index(j);
                let complaint = all.add(route, format!("there is no group `{group}`"));
                complaint.with(at("groups"));
                if let Some(meant) = super::super::problem::meant(group, auth.groups.keys().map(String::as_str)) {
                    complaint.hint_at(format!("did you mean `{meant}`?"));
                }
            }
        }
    }
}

/// The longest text of a key of `auth.jwt`, in bytes.
const TEXT_MAX: usize = 512;

fn check_jwt(jwt: &JwtConfig, at: &Route, all: &mut Complaints) {
    // RFC 8725 §2.1: whoever can change the keys on their way is whoever he likes.
    if !is_safe(&jwt.jwks_url) {
        let message = "keys that come over `http://` can be changed on their way: expected `https://`";
        all.add(at.then("jwks_url"), message);
    }
    let texts = [("issuer", &jwt.issuer), ("audience", &jwt.audience), ("name_claim", &jwt.name_claim)];
    for (key, text) in texts.into_iter().chain(jwt.groups_claim.as_ref().map(|claim| ("groups_claim", claim))) {
        if !(1..=TEXT_MAX).contains(&text.len()) {
            all.add(at.then(key), format!("expected 1 to {TEXT_MAX} bytes, found {}", text.len()));
        }
    }
    all.range(at.then("leeway"), jwt.leeway, HumanDuration::from_secs(0)..=secs(60));
}

fn check_http(http: &AuthHttpConfig, at: &Route, all: &mut Complaints) {
    if !is_safe(&http.url) && !http.allow_http {
        all.add(at.then("url"), "passwords would go to another machine in the clear: expected `https://`")
            .hint_at("if nobody can listen between, write `allow_http: true`");
    }
    check_https(&http.url, &http.tls, at, all);
    all.range(at.then("timeout"), http.timeout, HumanDuration::from_millis(100)..=secs(30));
    all.range(at.then("remember"), http.remember, HumanDuration::from_secs(0)..=secs(600));
    if let Some(every) = http.ask_again {
        all.range(at.then("ask_again"), every, secs(1)..=secs(3600));
    }
}

/// TLS, or this machine.
fn is_safe(url: &HttpUrl) -> bool {
    let url = url.url();
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_out_over_tls_or_where_that_is_written_out() {
        let complaints = |http: serde_json::Value| {
            let auth = serde_json::from_value(serde_json::json!({ "http": http })).unwrap();
            let config = Config { auth, ..Config::default() };
            config.check().iter().map(super::super::Complaint::key).collect::<Vec<_>>()
        };
        for fine in [
            serde_json::json!({ "url": "https://id.example/ask" }),
            serde_json::json!({ "url": "http://localhost:9000/ask", "timeout": "100ms", "remember": "10m", "ask_again": "1s" }),
            serde_json::json!({ "url": "http://backend:9000/ask", "allow_http": true, "remember": "0s", "ask_again": null }),
        ] {
            assert_eq!(complaints(fine), [""; 0]);
        }
        assert_eq!(complaints(serde_json::json!({ "url": "http://backend:9000/ask" })), ["auth.http.url"]);
        let wide = serde_json::json!(
            { "url": "https://id.example/ask", "timeout": "31s", "remember": "11m", "ask_again": "999ms" });
        assert_eq!(complaints(wide), ["auth.http.timeout", "auth.http.remember", "auth.http.ask_again"]);
    }

    #[test]
    fn keys_of_an_issuer_come_over_tls_or_from_this_machine() {
        let complaints = |jwt: serde_json::Value| {
            let auth = serde_json::from_value(serde_json::json!({ "jwt": jwt })).unwrap();
            let config = Config { auth, ..Config::default() };
            config.check().iter().map(super::super::Complaint::key).collect::<Vec<_>>()
        };
        let jwt = |url: &str, issuer: &str, leeway: &str| serde_json::json!({ "jwks_url": url, "issuer": issuer, "audience": "campanile", "leeway": leeway });
        for url in ["https://id.example/keys", "http://127.0.0.1:9000/keys", "http://[::1]/keys", "http://localhost/k"]
        {
            assert_eq!(complaints(jwt(url, "me", "60s")), [""; 0], "{url}");
        }
        assert_eq!(complaints(jwt("http://id.example/keys", "me", "0s")), ["auth.jwt.jwks_url"]);
        assert_eq!(complaints(jwt("http://127.0.0.1.example/keys", "me", "0s")), ["auth.jwt.jwks_url"]);
        assert_eq!(complaints(jwt("https://id.example/keys", "", "61s")), ["auth.jwt.issuer", "auth.jwt.leeway"]);
    }
}
