//! Tests of the surface as a whole, without a socket; those of the listener, on real ones, stand in [`sockets`], and of
//! clients that change their door in [`doors`].

pub(super) mod alerts;
mod auth;
mod doors;
mod hls;
mod limits;
mod proxies;
mod sensors;
mod sockets;
mod statistics;
mod tokens;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::{
    HttpOptions,
    front::Phase,
    testing::{self, House, Reply},
};
use crate::{
    auth::GatePolicy,
    base::{Clock, Rendition},
    config::AllowedOrigins,
    stats::{EventDoor, HttpDoor, Protocol, SessionDetails},
};

#[tokio::test(start_paused = true)]
async fn a_path_says_how_it_goes() {
    let house = House::new();
    house.play().await;
    let reply = house.get("/api/v1/paths/demo").await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, "no-store"));
    let path = reply.json();
    assert_eq!((&path["name"], &path["state"], &path["error"]), (&"demo".into(), &"ready".into(), &Value::Null));
    assert_eq!(path["readers"], serde_json::json!({"rtsp": 0, "hls": 0, "webrtc": 0}));
    let picture = &path["tracks"][0];
    assert_eq!((&picture["codec"], &picture["kind"]), (&"H.264".into(), &"video".into()));
    assert_eq!((&picture["width"], &picture["height"]), (&1920.into(), &1080.into()));
    assert_eq!(picture["codec_string"], "avc1.4d4028");
    assert_eq!((&picture["gop_ms"], &picture["gop_units"], &picture["fps"]), (&1000.into(), &25.into(), &25.0.into()));
    assert_eq!(picture["bit_rate_bps"], 25 * 1004 * 8);
    assert!(picture["last_frame_age_ms"].as_u64().unwrap() <= 40);
    assert_eq!((&path["tracks"][1]["sample_rate_hz"], &path["tracks"][1]["fps"]), (&8000.into(), &Value::Null));
    assert!(path["tracks"][1]["left_out"]["hls"].is_null(), "G.711 goes as Opus");
    assert_eq!(picture["left_out"], serde_json::json!({}));
    assert!(path["bytes_received"].as_u64().unwrap() >= 75 * 1320);
    assert_eq!(
        (&path["renditions"][0]["rendition"], &path["renditions"][1]["state"]),
        (&"main".into(), &"idle".into())
    );
    assert!(path["since"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test(start_paused = true)]
async fn a_lost_camera_is_named_with_a_hint_and_without_secrets() {
    let house = House::new();
    house.play().await;
    for url in ["/api/v1/paths/site/gate", "/api/v1/paths/site%2Fgate"] {
        let reply = house.get(url).await;
        let path = reply.json();
        assert_eq!((&path["state"], &path["error"]["code"]), (&"lost".into(), &"connection_refused".into()), "{url}");
        assert_eq!(path["error"]["hint"], "is the camera on?");
        assert!(!reply.text().contains("hunter2"));
    }
}

#[tokio::test(start_paused = true)]
async fn lists_come_by_the_page() {
    let house = House::new();
    let all = house.get("/api/v1/paths").await.json();
    let names: Vec<&str> = all["items"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &all["next"]), (&["demo", "site/gate"][..], &Value::Null));
    let first = house.get("/api/v1/paths?limit=1").await.json();
    assert_eq!(first["next"], "demo");
    let second = house.get("/api/v1/paths?limit=1&after=demo").await.json();
    assert_eq!((&second["items"][0]["name"], &second["next"]), (&"site/gate".into(), &Value::Null));
    assert_eq!(house.get("/api/v1/paths?limit=0").await.problem(400), "invalid_limit");
}

#[tokio::test(start_paused = true)]
async fn without_a_credential_known_and_unknown_paths_look_the_same() {
    let mut house = House::new();
    house.peer = "10.0.0.9:50000".parse().unwrap();
    let mut bodies = Vec::new();
    for url in ["/api/v1/paths/demo", "/api/v1/paths/nothing", "/api/v1/paths", "/api/v1/info", "/api/v1/sessions"] {
        let reply = house.get(url).await;
        assert_eq!(reply.problem(401), "unauthenticated", "{url}");
        assert!(reply.header("www-authenticate").starts_with("Bearer"));
        let mut body = reply.json();
        body["instance"] = Value::Null;
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(house.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_proxied_or_rebound_request_is_not_this_machine() {
    let house = House::new();
    let table =
        [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("host", "evil.example"), ("via", "1.1 x")];
    for header in table {
        assert_eq!(house.ask("GET", "/api/v1/paths", &[header]).await.problem(401), "unauthenticated", "{header:?}");
    }
    assert_eq!(house.ask("GET", "/api/v1/paths", &[("host", "[::1]:8080")]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_watches_and_does_not_act() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("view", "*")]);
    assert_eq!(house.get("/api/v1/paths/demo").await.status, 200);
    assert_eq!(house.get("/api/v1/paths/nothing").await.problem(404), "path_not_found");
    let kick = house.ask("DELETE", "/api/v1/sessions/00000000000000000000000000000000", &[]).await;
    assert_eq!(kick.problem(403), "not_allowed");
}

#[tokio::test(start_paused = true)]
async fn a_user_sees_the_paths_that_are_theirs_and_learns_of_no_others() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("view", "site/*")]);
    let list = house.get("/api/v1/paths").await.json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["name"]), (1, &"site/gate".into()));
    assert_eq!(house.get("/api/v1/paths/site/gate").await.status, 200);
    for url in ["/api/v1/paths/demo", "/demo/index.m3u8"] {
        let (there, not) = (house.get(url).await, house.get(&url.replace("demo", "nothing")).await);
        assert_eq!((there.problem(404), not.problem(404)), ("path_not_found".into(), "path_not_found".into()));
        let told = |reply: &Reply, name: &str| {
            let body = reply.json();
            (body["detail"].as_str().unwrap().replace(name, ""), body["hint"].clone())
        };
        assert_eq!(told(&there, "demo"), told(&not, "nothing"));
    }
    assert_eq!(house.get("/api/v1/statistics").await.problem(403), "not_allowed");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_credential_is_refused_everywhere_and_worse_than_none() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("admin", "*")]);
    assert_eq!(house.get("/api/v1/sessions").await.status, 200);
    house.peer = "127.0.0.1:50000".parse().unwrap();
    let wrong = ["Basic YW5uYTpXUk9ORw==", "Basic bm9ib2R5OnBhc3N3b3Jk", "Basic %%%", "Bearer abc", "Digest x", ""];
    for credential in wrong {
        for url in ["/api/v1/paths", "/api/v1/paths/nothing", "/demo/index.m3u8", "/metrics", "/stream/events"] {
            let reply = house.ask("GET", url, &[("authorization", credential)]).await;
            assert_eq!(reply.problem(401), "invalid_credential", "{url} {credential}");
        }
        assert_eq!(house.ask("GET", "/healthz", &[("authorization", credential)]).await.status, 200);
    }
    let twice = [("authorization", testing::ANNA), ("authorization", testing::ANNA)];
    assert_eq!(house.ask("GET", "/api/v1/paths", &twice).await.problem(401), "invalid_credential");
}

#[tokio::test(start_paused = true)]
async fn players_are_asked_for_a_password_and_browsers_are_not() {
    let mut house = House::new();
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for (agent, basic) in [("VLC/3.0.20 LibVLC/3.0.20", true), ("Mozilla/5.0 (X11)", false)] {
        let reply = house.ask("GET", "/demo/index.m3u8", &[("user-agent", agent)]).await;
        let asked: Vec<_> =
            reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(asked.iter().any(|scheme| scheme.starts_with("Basic ")), basic, "{agent}: {asked:?}");
        assert!(asked.iter().any(|scheme| scheme.starts_with("Bearer ")), "{agent}: {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_guesses_too_often_is_told_when_to_come_back() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("view", "*")]);
    assert_eq!(house.get("/api/v1/paths").await.status, 200);
    let guess = [("authorization", "Basic YW5uYTpXUk9ORw==")];
    for _ in 0..11 {
        assert_eq!(house.ask("GET", "/api/v1/paths", &guess).await.problem(401), "invalid_credential");
    }
    let late = house.ask("GET", "/api/v1/paths", &guess).await;
    assert_eq!((late.problem(429).as_str(), late.header("retry-after")), ("too_many_attempts", "1"));
    assert_eq!(house.get("/api/v1/paths").await.status, 200, "who is known goes on");
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_and_ended() {
    let house = House::new();
    let guard = house.rooms.sessions.open(SessionDetails {
        protocol: Protocol::Rtsp,
        transport: "tcp",
        path: "demo".parse().unwrap(),
        rendition: Rendition::Main,
        peer: "10.0.0.9:50000".parse().unwrap(),
        user_agent: Some("VLC\r\n".into()),
        since: Clock.wall(),
    });
    let guard = guard.unwrap();
    let list = house.get("/api/v1/sessions").await.json();
    assert_eq!((&list["items"][0]["path"], &list["items"][0]["peer"]), (&"demo".into(), &"10.0.0.9:50000".into()));
    assert_eq!(house.get("/api/v1/paths/demo").await.json()["readers"]["rtsp"], 1);
    let url = format!("/api/v1/sessions/{}", list["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.ask("DELETE", &url, &[]).await.status, 204);
    assert!(guard.kicked().is_cancelled());
    drop(guard);
    assert_eq!(house.ask("DELETE", &url, &[]).await.problem(404), "session_not_found");
    assert_eq!(house.ask("DELETE", "/api/v1/sessions/%ff", &[]).await.problem(400), "invalid_path_name");
}

#[tokio::test(start_paused = true)]
async fn the_server_says_what_it_is_and_whether_it_serves() {
    let house = House::new();
    let info = house.get("/api/v1/info").await.json();
    assert_eq!((&info["name"], &info["default_path"]), (&"campanile".into(), &"demo".into()));
    assert_eq!(info["doors"][0]["urls"][0], "rtsp://127.0.0.1:8554/{path}");
    assert_eq!(house.get("/healthz").await.json()["status"], "alive");
    assert_eq!(house.get("/readyz").await.problem(503), "starting");
    house.surface.front().enter(Phase::Serving);
    assert_eq!(house.get("/readyz").await.status, 200);
    house.surface.front().enter(Phase::Draining);
    house.surface.front().enter(Phase::Serving);
    assert_eq!(house.get("/readyz").await.problem(503), "draining");
    assert_eq!(house.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_openmetrics_and_for_those_who_may_see_statistics() {
    let mut house = House::new();
    house.play().await;
    let reply = house.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"), "{reply:?}");
    for line in [
        "campanile_path_state{path=\"demo\",rendition=\"main\",state=\"ready\"} 1",
        "campanile_path_state{path=\"site/gate\",rendition=\"main\",state=\"lost\"} 1",
        "campanile_process_resident_memory_bytes 20971520",
        "campanile_http_requests_total{door=\"watch\",class=\"2xx\"} 0",
    ] {
        assert!(reply.text().lines().any(|written| written == line), "{line}\n{}", reply.text());
    }
    house.peer = "10.0.0.9:50000".parse().unwrap();
    assert_eq!(house.get("/metrics").await.problem(401), "unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn pages_are_found_at_any_depth_and_cached_by_tag() {
    let house = House::new();
    for url in ["/", "/demo/", "/site/gate/", "/demo/sub/"] {
        let page = house.get(url).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"), "{url}");
        assert!(page.header("content-security-policy").contains("script-src 'self'"));
        assert!(page.header("permissions-policy").contains("camera=()"));
        assert_eq!(page.header("strict-transport-security"), "", "never without TLS");
        assert_eq!((page.header("x-content-type-options"), page.header("cache-control")), ("nosniff", "no-cache"));
        let again = house.ask("GET", url, &[("if-none-match", page.header("etag"))]).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{url}");
        let head = house.ask("HEAD", url, &[]).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), page.body.len().to_string());
        let script = page.text().split("src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let file = script.trim_start_matches(['.', '/']);
        let asset = house.ask("GET", &format!("/{file}"), &[("accept-encoding", "gzip, br")]).await;
        assert_eq!((asset.status.as_u16(), asset.header("vary")), (200, "accept-encoding"), "{file}");
    }
    for (url, location) in [("/demo", "demo/"), ("/site/gate?t=1", "gate/?t=1"), ("/demo/sub", "sub/")] {
        let reply = house.get(url).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (308, location), "{url}");
    }
    assert_eq!(house.get("/assets/nothing.js").await.problem(404), "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_method_is_told_the_right_ones() {
    let house = House::new();
    let table = [
        ("POST", "/demo/", "GET, HEAD, OPTIONS"),
        ("PUT", "/demo/index.m3u8", "GET, HEAD, OPTIONS"),
        ("POST", "/api/v1/paths", "GET,HEAD"),
        ("GET", "/api/v1/sessions/00000000000000000000000000000000", "DELETE"),
        ("DELETE", "/healthz", "GET,HEAD"),
        ("TRACE", "/", "GET, HEAD, OPTIONS"),
    ];
    for (method, url, allow) in table {
        let reply = house.ask(method, url, &[]).await;
        assert_eq!(reply.problem(405), "method_not_allowed", "{method} {url}");
        assert_eq!(reply.header("allow"), allow, "{method} {url}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_name_is_a_problem_and_touches_nothing() {
    let house = House::new();
    let before = house.rooms.hub.names();
    for url in [
        "/../x/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/a%00/",
        "/api/v1/paths/..",
        "/api/v1/paths/a%20b",
        "//",
        "/a//",
        "/assets/%ff",
    ] {
        assert_eq!(house.get(url).await.problem(400), "invalid_path_name", "{url}");
    }
    for url in ["/api", "/api/", "/api/v1/nothing", "/ws/nothing", "/demo/whip", "/api/v1/paths/demo/sub"] {
        assert_eq!(house.get(url).await.problem(404), "not_found", "{url}");
    }
    assert_eq!(house.rooms.hub.names(), before);
    let long = format!("/{}", "a/".repeat(3000));
    assert_eq!(house.get(&long).await.problem(400), "invalid_path_name");
}

#[tokio::test(start_paused = true)]
async fn a_name_with_a_word_of_the_server_is_refused_with_that_word() {
    let house = House::new();
    for (name, word) in [("n/sub", "sub"), ("main", "main"), ("a/whep/b", "whep"), ("n%2Fhls", "hls")] {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = house.tell(method, &format!("/api/v1/config/paths/{name}"), serde_json::json!({})).await;
            assert_eq!(reply.problem(404), "not_found", "{method} {name}");
            let hint = reply.json()["hint"].as_str().unwrap_or_default().to_owned();
            assert!(hint.contains(&format!("`{word}` is reserved")), "{method} {name}: {hint:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_pages_read_only_what_the_list_allows() {
    let listed = AllowedOrigins::List(vec!["https://a.example".into()]);
    let house = House::with(&HttpOptions { origins: listed, ..HttpOptions::default() }, GatePolicy::Local);
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "DELETE")];
    let reply = house.ask("OPTIONS", "/api/v1/sessions/x", &preflight).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, "https://a.example"));
    assert!(reply.header("access-control-allow-methods").contains("DELETE"));
    let reply = house.ask("GET", "/api/v1/info", &[("origin", "https://a.example")]).await;
    assert_eq!((reply.header("access-control-allow-credentials"), reply.header("vary")), ("true", "origin"));
    let reply = house.ask("GET", "/api/v1/info", &[("origin", "https://b.example")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, ""));
    let kick = "/api/v1/sessions/00000000000000000000000000000000";
    let reply = house.ask("DELETE", kick, &[("origin", "https://b.example")]).await;
    assert_eq!(reply.problem(403), "origin_not_allowed");
    let reply = house.ask("OPTIONS", kick, &[("origin", "null"), ("access-control-request-method", "DELETE")]).await;
    assert_eq!(reply.problem(403), "origin_not_allowed");
    let reply = house.ask("DELETE", kick, &[("origin", "http://localhost:8080")]).await;
    assert_eq!(reply.problem(404), "session_not_found", "this server's own page");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_page_follows_nothing_by_server_sent_events_or_long_poll() {
    let list = || AllowedOrigins::List(vec!["https://a.example".into()]);
    let own = "http://localhost:8080";
    let table = [
        (AllowedOrigins::None, Some("https://a.example"), false),
        (AllowedOrigins::None, Some("null"), false),
        (AllowedOrigins::None, Some("http://localhost:8081"), false),
        (AllowedOrigins::None, Some("http://localhost"), false),
        (AllowedOrigins::Any, Some("https://a.example"), false),
        (list(), Some("https://b.example"), false),
        (list(), Some("https://a.example"), true),
        (list(), Some(own), true),
        (AllowedOrigins::None, Some(own), true),
        (AllowedOrigins::None, None, true),
    ];
    for (origins, origin, comes) in table {
        let house = House::with(&HttpOptions { origins, ..HttpOptions::default() }, GatePolicy::Local);
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        for url in [
            "/stream/events",
            "/stream/events?types=motion",
            "/stream/system-status",
            "/api/v1/events?wait=20",
            "/api/v1/events?after=00000000-1&w%61it=20",
        ] {
            let answer = house.open("GET", url, &headers, Bytes::new()).await;
            assert_eq!(answer.status(), if comes { 200 } else { 403 }, "{url} {origin:?}");
            if !comes {
                let reply = house.ask("GET", url, &headers).await;
                assert_eq!(reply.problem(403), "origin_not_allowed");
            }
        }
        let doors = [EventDoor::ServerSent, EventDoor::LongPoll].map(|door| house.rooms.event_doors.figures(door));
        assert_eq!(doors.iter().any(|door| door.opened > 0), comes, "{origin:?}: nothing was opened before");
        // What is there at once is as everything else that is read: the browser keeps it from the page.
        assert_eq!(house.ask("GET", "/api/v1/events", &headers).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_by_its_announced_length() {
    let house = House::new();
    let reply = house.ask("POST", "/api/v1/paths", &[("content-length", "1048577")]).await;
    assert_eq!(reply.problem(413), "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_door_and_class() {
    let house = House::new();
    for url in ["/healthz", "/demo/", "/demo/hls/x.mp4", "/nothing/index.m3u8", "/api/v1/nothing", "/api/v1/info"] {
        house.get(url).await;
    }
    let counted = |door, class| house.surface.front().requests.answered(door, class);
    assert_eq!((counted(HttpDoor::Watch, 1), counted(HttpDoor::Page, 1), counted(HttpDoor::Api, 1)), (1, 1, 1));
    assert_eq!((counted(HttpDoor::Media, 3), counted(HttpDoor::Playlist, 3), counted(HttpDoor::Api, 3)), (1, 1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_error_is_a_whole_problem(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "/", "..", "%2e", "%2f", "hls", "sub", "index.m3u8", "demo", "api", "v1", "paths", "sessions", "%00", "a",
            "info", "assets", "?limit=x", "%", "//", "x.mp4", "%ff",
        ]), 0..10),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let url = format!("/{}", pieces.concat());
            if url.parse::<http::Uri>().is_err() {
                return;
            }
            let reply = House::new().ask(method, &url, &[]).await;
            if reply.status.is_client_error() || reply.status.is_server_error() {
                assert_ne!(reply.status, 500, "{method} {url}");
                if method == "HEAD" {
                    assert_eq!(reply.header("content-type"), "application/problem+json", "{url}");
                } else {
                    reply.problem(reply.status.as_u16());
                }
            }
        });
    }
}
