//! Logging in and out over the API: cookies, tokens, and by which way they may come.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::testing::{ANNA, House, Reply};

/// A server with one user, asked from elsewhere.
fn house() -> House {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("view", "*"), ("alerts", "*"), ("publish", "*")]);
    house.credential = None;
    house
}

async fn log_in(house: &House) -> (Value, String) {
    let reply = house.tell("POST", "/api/v1/auth/login", json!({ "name": "anna", "password": "password" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let cookie = reply.header("set-cookie").to_owned();
    for word in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43"] {
        assert!(cookie.contains(word), "{word}: {cookie}");
    }
    assert!(!cookie.contains("Secure") && reply.header("cache-control") == "no-store");
    (reply.json(), cookie.split(';').next().unwrap().to_owned())
}

async fn post(house: &House, url: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [headers, &[("content-type", "application/json")]].concat();
    house.send("POST", url, &headers, Bytes::from_static(br#"{"type":"motion"}"#)).await
}

#[tokio::test(start_paused = true)]
async fn a_browser_logs_in_with_a_cookie_and_writes_with_a_word_beside_it() {
    let house = house();
    let (login, cookie) = log_in(&house).await;
    let csrf = login["csrf_token"].as_str().unwrap();
    assert_eq!(house.ask("GET", "/api/v1/paths", &[("cookie", &cookie)]).await.status, 200);
    let who = house.ask("GET", "/api/v1/auth/whoami", &[("cookie", &cookie)]).await.json();
    assert_eq!((&who["user"], &who["kind"], &who["csrf_token"]), (&"anna".into(), &"user".into(), &csrf.into()));
    assert_eq!(who["permissions"][0], json!({ "action": "view", "path": "*" }));
    // CVE-2024-29192 and its kind: what makes a browser write knows no word of ours.
    for headers in [&[("cookie", cookie.as_str())][..], &[("cookie", cookie.as_str()), ("x-csrf-token", "0")]] {
        assert_eq!(post(&house, "/api/v1/events", headers).await.problem(403), "csrf_token");
    }
    let right = [("cookie", cookie.as_str()), ("x-csrf-token", csrf)];
    assert_eq!(post(&house, "/api/v1/events", &right).await.status, 201);
    let foreign = [right[0], right[1], ("origin", "http://evil.example")];
    assert_eq!(post(&house, "/api/v1/events", &foreign).await.problem(403), "origin_not_allowed");
    // A token of a cookie is none elsewhere.
    let bearer = format!("Bearer {}", cookie.split_once('=').unwrap().1);
    assert_eq!(
        house.ask("GET", "/api/v1/paths", &[("authorization", &bearer)]).await.problem(401),
        "invalid_credential"
    );
    // A cookie that is nobody's is what a browser has left over.
    let stale = [("cookie", "campanile_session=abc")];
    assert_eq!(house.ask("GET", "/api/v1/paths", &stale).await.problem(401), "unauthenticated");
    let out = house.send("POST", "/api/v1/auth/logout", &right, Bytes::new()).await;
    assert!(out.status == 204 && out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    assert_eq!(house.ask("GET", "/api/v1/paths", &[("cookie", &cookie)]).await.problem(401), "unauthenticated");
    let bearer = format!("Bearer {}", login["access_token"].as_str().unwrap());
    let after = house.ask("GET", "/api/v1/paths", &[("authorization", &bearer)]).await;
    assert_eq!(after.problem(401), "invalid_credential", "the login is over with all its tokens");
}

#[tokio::test(start_paused = true)]
async fn a_program_logs_in_with_a_token_and_carries_on() {
    let house = house();
    let (login, _) = log_in(&house).await;
    let bearer = |login: &Value| format!("Bearer {}", login["access_token"].as_str().unwrap());
    let first = bearer(&login);
    assert_eq!(post(&house, "/api/v1/events", &[("authorization", &first)]).await.status, 201, "no word is needed");
    let next = house.send("POST", "/api/v1/auth/refresh", &[("authorization", &first)], Bytes::new()).await;
    assert_eq!((next.status.as_u16(), &next.json()["user"]), (200, &"anna".into()));
    let second = bearer(&next.json());
    assert_eq!(house.ask("GET", "/api/v1/auth/whoami", &[("authorization", &second)]).await.json()["user"], "anna");
    assert_eq!(house.ask("GET", "/api/v1/auth/whoami", &[]).await.problem(401), "unauthenticated");
    assert_eq!(house.ask("POST", "/api/v1/auth/refresh", &[]).await.problem(401), "unauthenticated");
    for (name, password) in [("anna", "wrong one"), ("nobody", "password"), ("", ""), (&"a".repeat(100), "password")] {
        let reply = house.tell("POST", "/api/v1/auth/login", json!({ "name": name, "password": password })).await;
        assert_eq!(reply.problem(401), "invalid_credential", "{name}");
        assert!(!reply.text().contains("wrong one"));
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_stand_in_urls_of_the_doors_of_events_and_nowhere_else() {
    let house = house();
    let (login, _) = log_in(&house).await;
    let access = login["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {access}");
    let ticket = house.send("POST", "/api/v1/tokens/events", &[("authorization", &bearer)], Bytes::new()).await.json();
    let ticket = ticket["token"].as_str().unwrap().to_owned();
    for token in [&access, &ticket] {
        assert_eq!(house.get(&format!("/api/v1/events?token={token}")).await.status, 200);
        // Those of media take tokens for media, and no others.
        for url in ["/demo/index.m3u8", "/demo/hls/x.mp4"] {
            assert_eq!(house.get(&format!("{url}?token={token}")).await.problem(401), "invalid_credential", "{url}");
        }
        for url in ["/api/v1/paths", "/api/v1/auth/whoami"] {
            assert_eq!(house.get(&format!("{url}?token={token}")).await.problem(401), "unauthenticated", "{url}");
        }
    }
    let as_header = [("authorization", format!("Bearer {ticket}"))];
    let as_header = as_header.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(house.ask("GET", "/api/v1/paths", &as_header).await.problem(401), "invalid_credential");
    assert_eq!(house.get("/api/v1/events?token=abc").await.problem(401), "invalid_credential");
}

#[tokio::test(start_paused = true)]
async fn a_media_token_shows_one_path() {
    let house = house();
    let (login, _) = log_in(&house).await;
    let bearer = format!("Bearer {}", login["access_token"].as_str().unwrap());
    let ask = async |body: Value| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        house.send("POST", "/api/v1/tokens/media", &headers, body.to_string().into()).await
    };
    assert_eq!(ask(json!({ "path": "nothing" })).await.problem(404), "path_not_found");
    assert_eq!(ask(json!({ "path": "demo", "lasts_s": 3601 })).await.problem(400), "invalid_body");
    assert_eq!(ask(json!({ "path": "../demo" })).await.problem(400), "invalid_body");
    let media = format!("Bearer {}", ask(json!({ "path": "demo" })).await.json()["token"].as_str().unwrap());
    let media = [("authorization", media.as_str())];
    assert_eq!(house.ask("GET", "/api/v1/paths/demo", &media).await.status, 200);
    assert_eq!(house.ask("GET", "/api/v1/paths/site/gate", &media).await.problem(404), "path_not_found");
    assert_eq!(house.ask("GET", "/api/v1/statistics", &media).await.problem(403), "not_allowed");
    assert_eq!(house.send("POST", "/api/v1/tokens/events", &media, Bytes::new()).await.problem(403), "not_allowed");
    assert_eq!(house.send("POST", "/api/v1/auth/refresh", &media, Bytes::new()).await.problem(403), "not_allowed");
}

/// A token to watch a path, made by the user of a house.
async fn media(house: &House, path: &str) -> Value {
    let body = Bytes::from(json!({ "path": path, "lasts_s": 60 }).to_string());
    let headers = [("authorization", ANNA), ("content-type", "application/json")];
    let reply = house.send("POST", "/api/v1/tokens/media", &headers, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Every URI of a playlist.
fn uris(playlist: &str) -> Vec<String> {
    let tags = playlist.lines().filter_map(|line| line.split("URI=\"").nth(1)?.split('"').next());
    let lines = playlist.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    tags.chain(lines).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_link_shows_one_path_with_all_its_pieces_until_it_ends_and_nothing_else() {
    let house = house();
    let made = media(&house, "demo").await;
    let (token, wait) = (made["token"].as_str().unwrap(), Duration::from_secs(1));
    assert_eq!(made["page"], format!("/demo/?token={token}"));
    let packed = [("accept-encoding", "gzip")];
    let index = house.ask("GET", &format!("/demo/index.m3u8?tracks=video&token={token}"), &packed).await;
    assert_eq!((index.status.as_u16(), index.header("content-encoding")), (200, ""), "{index:?}");
    let carries = |uri: &String| uri.ends_with(&format!("?token={token}")) || uri.ends_with(&format!("&token={token}"));
    let variants = uris(index.text());
    assert!(!variants.is_empty() && variants.iter().all(carries), "{variants:?}");
    house.play().await;
    let playlist = house.get(&format!("/demo/{}", variants[0])).await;
    let pieces = uris(playlist.text());
    assert!(pieces.len() > 3 && pieces.iter().all(carries), "{pieces:?}");
    let map = format!("/demo/hls/{}", pieces[0]);
    let piece = house.get(&map).await;
    assert_eq!((piece.status.as_u16(), piece.header("content-type")), (200, "video/mp4"), "{map}");
    for reply in [&index, &playlist, &piece] {
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
    }
    // Whoever has none of it gets the same answers as for anything else, and the token's other doors stay shut.
    let bare = map.split('?').next().unwrap();
    assert_eq!(house.get(bare).await.problem(401), "unauthenticated");
    let other = house.get(&format!("/site/gate/index.m3u8?token={token}")).await;
    assert_eq!(other.problem(404), "path_not_found");
    assert!(!other.text().contains(token));
    for url in ["/api/v1/paths/demo", "/api/v1/info"] {
        assert_eq!(house.get(&format!("{url}?token={token}")).await.problem(401), "unauthenticated", "{url}");
    }
    assert_eq!(house.get(&format!("/api/v1/events?token={token}")).await.problem(401), "invalid_credential");
    let twice = house.get(&format!("/demo/index.m3u8?token={token}&token={token}")).await;
    assert_eq!(twice.problem(401), "unauthenticated");
    let broken = house.get(&format!("/demo/index.m3u8?token={token}x")).await;
    assert_eq!(broken.problem(401), "invalid_credential");
    // Pages are the same for everybody; foreign ones may frame one of them, and learn nothing of where they were.
    let page = house.get(made["embed"].as_str().unwrap()).await;
    assert!(page.status == 200 && page.header("content-security-policy").contains("frame-ancestors *"));
    assert_eq!((page.header("referrer-policy"), page.text().contains(token)), ("no-referrer", false));
    let own = house.get(made["page"].as_str().unwrap()).await;
    assert!(own.header("content-security-policy").contains("frame-ancestors 'self'"));
    // With its user it goes; what it opened is 401 on the next playlist.
    house.rooms.gate.set_users(Vec::new(), &BTreeMap::new());
    tokio::time::sleep(wait).await;
    assert_eq!(house.get(&format!("/demo/{}", variants[0])).await.problem(401), "invalid_credential");
}

#[tokio::test(start_paused = true)]
async fn while_auth_is_off_nobody_logs_in_and_credentials_are_nothing() {
    use crate::{auth::GatePolicy, http::HttpOptions};
    let house = House::with(&HttpOptions::default(), GatePolicy::Off);
    let reply = house.tell("POST", "/api/v1/auth/login", json!({ "name": "anna", "password": "password" })).await;
    assert_eq!(reply.problem(409), "auth_off");
    let shown = [("authorization", "Nonsense"), ("cookie", "campanile_session=x")];
    assert_eq!(house.ask("GET", "/api/v1/paths", &shown).await.status, 200);
    assert_eq!(house.get("/api/v1/auth/whoami").await.json()["kind"], "local");
}
