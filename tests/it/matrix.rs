//! Every route and every door against every kind of credential. The rows are compared with the routes in the sources, the
//! shapes of URLs in `http/target.rs` and the doors that the server names, so that none can be added without saying who may
//! use it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    decider::Decider,
    followers::{Said, Socket},
    issuer::Issuer,
    rtsp_client::RtspClient,
    server::Server,
};

/// What a request came with, in the order of a row's answers.
const CREDENTIALS: [&str; 6] = ["none", "wrong", "expired", "wrong audience", "wrong path", "right"];

/// Anybody, whoever they say they are.
const fn open(status: u16) -> [u16; 6] {
    [status; 6]
}

/// One path: to others it is not there.
const fn of_path(right: u16) -> [u16; 6] {
    [401, 401, 401, 401, 404, right]
}

/// The server as a whole: who may only something on a path is told so.
const fn of_server(right: u16) -> [u16; 6] {
    [401, 401, 401, 401, 403, right]
}

/// Whoever is somebody; what they see is what they may.
const fn of_known(status: u16) -> [u16; 6] {
    [401, 401, 401, 401, status, status]
}

/// The fixed routes: method, route, answers. Where a right answer is 4xx the caller was let in, and the empty request or
/// the name of nothing was looked at.
pub const ROUTES: &[(&str, &str, [u16; 6])] = &[
    ("GET", "/healthz", open(200)),
    ("GET", "/readyz", open(200)),
    ("GET", "/metrics", of_server(200)),
    // A browser shows no status of a handshake: the socket opens, and `SOCKETS` says what comes on it.
    ("GET", "/ws/{door}", open(101)),
    ("GET", "/graphql", of_known(400)),
    ("POST", "/graphql", of_known(415)),
    ("GET", "/assets/{*file}", open(404)),
    ("GET", "/api/asyncapi.json", open(200)),
    ("GET", "/api/openapi.json", open(200)),
    ("GET", "/api/docs", open(200)),
    ("GET", "/api/docs.css", open(200)),
    ("POST", "/api/v1/auth/login", open(400)),
    ("POST", "/api/v1/auth/logout", of_known(204)),
    // Of whoever logged in here; an issuer's tokens are renewed by the issuer, and have no account here.
    ("POST", "/api/v1/auth/refresh", of_known(403)),
    ("GET", "/api/v1/auth/whoami", of_known(200)),
    ("GET", "/api/v1/tokens", of_known(403)),
    ("POST", "/api/v1/tokens", of_known(400)),
    ("DELETE", "/api/v1/tokens/{id}", of_known(403)),
    ("POST", "/api/v1/tokens/events", of_known(200)),
    ("POST", "/api/v1/tokens/media", of_known(400)),
    ("GET", "/api/v1/users", of_server(200)),
    ("POST", "/api/v1/users", of_server(400)),
    ("GET", "/api/v1/users/me/preferences", of_known(403)),
    ("PUT", "/api/v1/users/me/preferences", of_known(403)),
    ("DELETE", "/api/v1/users/{name}", of_server(404)),
    ("PUT", "/api/v1/users/{name}/password", of_server(400)),
    ("PUT", "/api/v1/users/{name}/permissions", of_server(400)),
    ("GET", "/api/v1/info", of_server(200)),
    ("GET", "/api/v1/paths", of_known(200)),
    ("GET", "/api/v1/paths/{*path}", of_path(200)),
    ("GET", "/api/v1/config/paths", of_known(200)),
    // The paths of these tests stand in the file.
    ("GET", "/api/v1/config/paths/{*path}", of_path(200)),
    ("PUT", "/api/v1/config/paths/{*path}", of_path(409)),
    ("DELETE", "/api/v1/config/paths/{*path}", of_path(409)),
    ("GET", "/api/v1/alerts", of_known(200)),
    // An alert of another path is as one that is not there, to whoever may tend some.
    ("POST", "/api/v1/alerts/{fingerprint}/ack", of_path(404)),
    ("POST", "/api/v1/alerts/{fingerprint}/silence", of_path(400)),
    ("GET", "/api/v1/channels", of_server(200)),
    ("POST", "/api/v1/channels/{name}/test", of_server(404)),
    ("GET", "/api/v1/dead-letters", of_server(200)),
    ("DELETE", "/api/v1/dead-letters/{id}", of_server(404)),
    ("POST", "/api/v1/dead-letters/{id}/retry", of_server(404)),
    ("GET", "/api/v1/push", of_server(200)),
    ("GET", "/api/v1/push/subscriptions", of_server(404)),
    ("POST", "/api/v1/push/subscriptions", of_server(400)),
    ("DELETE", "/api/v1/push/subscriptions/{id}", of_server(404)),
    ("GET", "/api/v1/silences", of_server(200)),
    ("POST", "/api/v1/silences", of_server(400)),
    ("DELETE", "/api/v1/silences/{id}", of_server(404)),
    ("GET", "/api/v1/rules", of_known(200)),
    ("POST", "/api/v1/rules", of_server(400)),
    ("PUT", "/api/v1/rules/{id}", of_server(400)),
    ("DELETE", "/api/v1/rules/{id}", of_server(404)),
    ("GET", "/api/v1/events", of_known(200)),
    ("POST", "/api/v1/events", of_server(400)),
    ("GET", "/api/v1/mqtt", of_server(200)),
    ("GET", "/api/v1/sensors", of_known(200)),
    ("GET", "/api/v1/sensors/{id}", of_known(404)),
    ("GET", "/api/v1/sensors/{id}/history", of_known(404)),
    ("POST", "/api/v1/sensors/{id}/readings", of_server(400)),
    ("GET", "/api/v1/sessions", of_known(200)),
    ("GET", "/api/v1/statistics", of_known(200)),
    ("GET", "/api/v1/statistics/history", of_server(200)),
    ("GET", "/api/statistics", of_known(200)),
    ("DELETE", "/api/v1/sessions/{id}", of_server(404)),
    ("GET", "/api/v1/ws/status", of_server(200)),
    ("GET", "/stream/events", of_known(200)),
    ("GET", "/stream/system-status", of_known(200)),
];

/// The shapes of URLs that begin with a path name: variant, method, URL, answers.
const SHAPES: &[(&str, &str, &str, [u16; 6])] = &[
    ("Start", "GET", "/", open(200)),
    ("AddSlash", "GET", "/cam", open(308)),
    ("Page", "GET", "/cam/", open(200)),
    ("Embed", "GET", "/embed/cam/", open(200)),
    ("Hls", "GET", "/cam/index.m3u8", of_path(200)),
    ("Hls", "GET", "/cam/sub/index.m3u8", of_path(404)),
    ("Hls", "GET", "/cam/hls/none.m4s", of_path(404)),
    ("Whep", "POST", "/cam/whep", of_path(400)),
    ("Whep", "PATCH", "/cam/whep/0123456789abcdef0123456789abcdef", of_path(415)),
    ("Whep", "DELETE", "/cam/whep/0123456789abcdef0123456789abcdef", of_path(404)),
];

/// RTSP: method, answers. What a session says of itself is asked before its rights, RFC 2326 §10.1.
const RTSP: &[(&str, [u16; 6])] = &[
    ("OPTIONS", open(200)),
    ("DESCRIBE", of_path(200)),
    ("SETUP", of_path(200)),
    ("PLAY", open(454)),
    ("PAUSE", open(454)),
    ("GET_PARAMETER", open(200)),
    ("SET_PARAMETER", open(200)),
    ("TEARDOWN", open(454)),
    ("ANNOUNCE", open(405)),
    ("RECORD", open(405)),
];

/// What is said first on a WebSocket that was let in.
const GREETED: u16 = 1000;

/// WebSockets: door, and for each credential what comes first once it is open, a close code or the greeting. A browser
/// cannot read a refused handshake.
const SOCKETS: &[(&str, [u16; 6])] = &[
    ("events", [1008, 1008, 1008, 1008, GREETED, GREETED]),
    ("alerts", [1008, 1008, 1008, 1008, GREETED, GREETED]),
    ("statistics", [1008, 1008, 1008, 1008, GREETED, GREETED]),
    // As its sub-protocol says it.
    (GRAPHQL, [4403, 4403, 4403, 4403, GREETED, GREETED]),
];

/// The WebSocket that has a sub-protocol, and is no door of [`SOCKETS`]' own.
const GRAPHQL: &str = "graphql";

/// The doors that the server names, and a row that stands for each.
const DOORS: &[(&str, &str)] = &[
    ("page", "/cam/"),
    ("rtsp", "DESCRIBE"),
    ("hls", "/cam/index.m3u8"),
    ("whep", "/cam/whep"),
    ("api", "/api/v1/info"),
    ("websocket", "/ws/{door}"),
    ("events", "/stream/events"),
    ("graphql", "/graphql"),
];

fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Method and route of everything that the routers name.
fn routes() -> BTreeSet<(String, String)> {
    let call = Regex::new(r#"\.route\(\s*("[^"]+"|GRAPHQL),\s*((?:\.?[a-z]+\([^()]*\))+)\)"#).unwrap();
    let method = Regex::new(r"\b(get|post|put|patch|delete)\(").unwrap();
    let mut routes = BTreeSet::new();
    for (file, base) in
        [("src/http/router.rs", ""), ("src/http/api/mod.rs", "/api"), ("src/http/events/mod.rs", "/stream")]
    {
        let text = source(file);
        assert_eq!(call.captures_iter(&text).count(), text.matches(".route(").count(), "{file}: every route is read");
        for found in call.captures_iter(&text) {
            let route = if &found[1] == "GRAPHQL" { "/graphql" } else { found[1].trim_matches('"') };
            for verb in method.captures_iter(&found[2]) {
                routes.insert((verb[1].to_uppercase(), format!("{base}{route}")));
            }
        }
    }
    routes
}

#[test]
fn every_route_and_every_shape_of_url_has_a_row() {
    let rows = ROUTES.iter().map(|(method, route, _)| ((*method).to_owned(), (*route).to_owned())).collect();
    assert_eq!(routes(), rows, "left: the routes in the sources; right: the rows");
    let target = source("src/http/target.rs");
    let (_, target) = target.split_once("pub(super) enum Target {").unwrap();
    let variant = Regex::new(r"(?m)^    ([A-Z][A-Za-z]+)[,(]").unwrap();
    let shapes: BTreeSet<_> = variant
        .captures_iter(target.split_once("\n}").unwrap().0)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert_eq!(shapes, SHAPES.iter().map(|(variant, ..)| *variant).collect());
}

/// The credentials of [`CREDENTIALS`], as tokens of users with names of their own: what one row ends is nothing to another.
fn tokens(issuer: &Issuer, row: usize) -> [Option<String>; 6] {
    let (berta, clara) = (&format!("berta-{row}"), &format!("clara-{row}"));
    let everything = || json!([{ "action": "admin" }]);
    let actions = ["view", "publish", "playback", "alerts", "ack", "sensors", "stats", "control", "admin"];
    let elsewhere = actions.map(|action| json!({ "action": action, "path": "elsewhere" }));
    [
        None,
        Some("nonsense".to_owned()),
        Some(issuer.token(berta, -60, everything())),
        Some(issuer.token_for("another", berta, 600, everything())),
        Some(issuer.token(clara, 600, json!(elsewhere))),
        Some(issuer.token(berta, 600, everything())),
    ]
}

async fn closed(issuer: &Issuer) -> Server {
    // With two users nobody is let in for being on this machine.
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
    let user = |name: &str| json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] });
    let server = Server::start(json!({
        "auth": { "jwt": issuer.config(), "users": [user("one"), user("two")] },
        "paths": { "cam": { "source": "demo" }, "elsewhere": { "source": "demo" } },
    }))
    .await;
    server.serving().await;
    server
}

/// Something in the place of what a route leaves open.
fn filled(route: &str) -> String {
    let with = BTreeMap::from([("{*path}", "cam"), ("{*file}", "none.js"), ("{door}", "events")]);
    let mut url = route.to_owned();
    for (place, text) in with {
        url = url.replace(place, text);
    }
    Regex::new(r"\{[a-z]+\}").unwrap().replace_all(&url, "none").into_owned()
}

#[tokio::test]
async fn every_route_answers_every_credential_as_its_row_says() {
    let issuer = Issuer::start().await;
    let server = closed(&issuer).await;
    let shapes = SHAPES.iter().map(|(_, method, url, answers)| (*method, *url, answers));
    let rows = ROUTES.iter().map(|(method, route, answers)| (*method, *route, answers)).chain(shapes);
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut odd = Vec::new();
    for (row, (method, route, answers)) in rows.enumerate() {
        let mut given = [0; 6];
        for (token, given) in tokens(&issuer, row).iter().zip(&mut given) {
            let verb = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = client.request(verb, server.http(&filled(route)));
            if route.starts_with("/ws/") {
                request = request.header("connection", "upgrade").header("upgrade", "websocket");
                request = request.header("sec-websocket-version", "13");
                request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            *given = request.send().await.unwrap().status().as_u16();
        }
        if given != *answers {
            odd.push(format!("{method} {route}: {given:?}, not {answers:?}"));
        }
    }
    assert!(odd.is_empty(), "{CREDENTIALS:?}\n{}", odd.join("\n"));
}

#[tokio::test]
async fn every_websocket_answers_every_credential_as_its_row_says() {
    let issuer = Issuer::start().await;
    let server = closed(&issuer).await;
    let doors: BTreeSet<_> = Regex::new(r#"Self::\w+ => "(\w+)""#)
        .unwrap()
        .captures_iter(&source("src/events/ws/wishes.rs"))
        .map(|found| found[1].to_owned())
        .chain([GRAPHQL.to_owned()])
        .collect();
    assert_eq!(doors, SOCKETS.iter().map(|(door, _)| (*door).to_owned()).collect());
    let mut odd = Vec::new();
    for (row, (door, answers)) in SOCKETS.iter().enumerate() {
        let (at, protocol) = match *door {
            GRAPHQL => ("/graphql".to_owned(), "Sec-WebSocket-Protocol: graphql-transport-ws\r\n"),
            door => (format!("/ws/{door}"), ""),
        };
        for way in ["header", "first message", "URL"] {
            let mut given = [0; 6];
            for (token, given) in tokens(&issuer, row).iter().zip(&mut given) {
                let (mut target, mut headers) = (at.clone(), protocol.to_owned());
                match (way, token) {
                    ("header", Some(token)) => headers += &format!("Authorization: Bearer {token}\r\n"),
                    ("URL", Some(token)) => target += &format!("?token={token}"),
                    _ => {}
                }
                let mut socket = Socket::knock(server.address("http"), &target, &headers).await;
                let first = match (*door, token.as_ref().filter(|_| way == "first message")) {
                    (GRAPHQL, Some(token)) => {
                        let payload = json!({ "Authorization": format!("Bearer {token}") });
                        Some(json!({ "type": "connection_init", "payload": payload }))
                    }
                    (GRAPHQL, None) => Some(json!({ "type": "connection_init" })),
                    (_, Some(token)) => Some(json!({ "type": "token", "token": token })),
                    (_, None) => token.is_none().then(|| json!({ "type": "ping" })),
                };
                if let Some(first) = first {
                    socket.say(&first).await;
                }
                *given = match socket.next().await {
                    Some(Said::Message(message)) if message["type"] == "connected" => GREETED,
                    Some(Said::Message(message)) if message["type"] == "connection_ack" => GREETED,
                    Some(Said::Close(code, _)) => code,
                    other => panic!("{door} {way}: {other:?}"),
                };
            }
            // A URL is seen by many: the tokens of an issuer are not taken from there.
            let answers = if way == "URL" { &[answers[0]; 6] } else { answers };
            if given != *answers {
                odd.push(format!("{door} by {way}: {given:?}, not {answers:?}"));
            }
        }
    }
    assert!(odd.is_empty(), "{CREDENTIALS:?}\n{}", odd.join("\n"));
}

/// What a server that decides elsewhere cannot give: to administer, to log in here, and to say what happens at cameras.
fn is_of_users_here(method: &str, route: &str) -> bool {
    let of_users = ["users", "config", "rules", "channels", "dead-letters", "tokens", "auth/", "events", "sensors"];
    let admin = of_users.iter().any(|part| route.starts_with(&format!("/api/v1/{part}")));
    admin && !(method == "GET" && ["/api/v1/events", "/api/v1/auth/whoami"].contains(&route))
}

#[tokio::test]
async fn every_route_lets_those_in_whom_another_server_allows_everything() {
    let decider = Decider::judging(|_| Some(200)).await;
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
    let user = |name: &str| json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] });
    let server = Server::start(json!({
        "auth": { "http": decider.config(&json!({})), "users": [user("one"), user("two")] },
        "paths": { "cam": { "source": "demo" }, "elsewhere": { "source": "demo" } },
    }))
    .await;
    server.serving().await;
    let shapes = SHAPES.iter().map(|(_, method, url, answers)| (*method, *url, answers[5]));
    let rows = ROUTES.iter().map(|(method, route, answers)| (*method, *route, answers[5])).chain(shapes);
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut odd = Vec::new();
    for (method, route, right) in rows.filter(|(_, route, _)| !route.starts_with("/ws/")) {
        let verb = Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(verb, server.http(&filled(route))).basic_auth("anna", Some("pass"));
        let given = request.send().await.unwrap().status().as_u16();
        // Who may not administer a path is told that there is none.
        let refused = if route.starts_with("/api/v1/config/paths/") { 404 } else { 403 };
        if given != right && !(given == refused && is_of_users_here(method, route)) {
            odd.push(format!("{method} {route}: {given}, not {right}"));
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}

#[tokio::test]
async fn rtsp_answers_every_credential_as_its_row_says() {
    let issuer = Issuer::start().await;
    let server = closed(&issuer).await;
    let mut odd = Vec::new();
    for (row, (method, answers)) in RTSP.iter().enumerate() {
        let mut given = [0; 6];
        for (token, given) in tokens(&issuer, row).iter().zip(&mut given) {
            let mut client = RtspClient::connect(server.address("rtsp")).await;
            let login = token.as_ref().map(|token| format!("Basic {}", STANDARD.encode(format!("x:{token}"))));
            let mut headers = vec![("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
            headers.extend(login.iter().map(|login| ("Authorization", login.as_str())));
            let url = server.rtsp(if *method == "SETUP" { "cam/trackID=0" } else { "cam" });
            *given = client.ask(method, &url, &headers).await.status;
        }
        if given != *answers {
            odd.push(format!("{method}: {given:?}, not {answers:?}"));
        }
    }
    assert!(odd.is_empty(), "{CREDENTIALS:?}\n{}", odd.join("\n"));
}

#[tokio::test]
async fn every_door_that_the_server_names_has_a_row() {
    let server = Server::start(json!({ "paths": { "cam": { "source": "demo" } } })).await;
    let info: Value = server.get("/api/v1/info").await.json().await.unwrap();
    let named: BTreeSet<_> =
        info["doors"].as_array().unwrap().iter().map(|door| door["name"].as_str().unwrap()).collect();
    assert_eq!(named, DOORS.iter().map(|(door, _)| *door).collect());
    for (door, row) in DOORS {
        let is_there = ROUTES.iter().any(|(_, route, _)| route == row)
            || SHAPES.iter().any(|(_, _, url, _)| url == row)
            || RTSP.iter().any(|(method, _)| method == row);
        assert!(is_there, "{door}: {row}");
    }
}
