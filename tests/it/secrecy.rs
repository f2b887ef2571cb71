//! What is not for somebody's eyes: a viewer who may do everything on one camera learns of no other one, on no route that
//! reads, and at no door of events. The routes are those of the matrix, so that a new one is asked as well.

use std::time::{Duration, Instant};

use reqwest::{Method, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::matrix::ROUTES;
use crate::support::{
    followers::{Said, Socket, Stream},
    issuer::Issuer,
    process::PATIENCE,
    rtsp_client::RtspClient,
    server::Server,
};

/// The camera that nobody is to hear of; its sensor and its alerts have the word in their names.
const SECRET: &str = "secretcam";

struct House {
    server: Server,
    viewer: String,
    admin: String,
}

impl House {
    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let mut request = self.server.client().request(method, self.server.http(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&self.viewer, Method::GET, path, None).await
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> String {
        let (status, text) = self.ask(token, Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "POST {path}: {status} {text}");
        text
    }

    /// Waits until an administrator is told something at a route.
    async fn until_admin(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, text) = self.ask(&self.admin, Method::GET, path, None).await;
            let said = serde_json::from_str(&text).unwrap_or_default();
            if wanted(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "{path}: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ticket(&self) -> String {
        let said: Value =
            serde_json::from_str(&self.post(&self.viewer, "/api/v1/tokens/events", json!({})).await).unwrap();
        said["token"].as_str().unwrap().to_owned()
    }
}

/// Two cameras; at each there is a sensor, an alert, an event and a viewer.
async fn house() -> House {
    let issuer = Issuer::start().await;
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
    let user = |name: &str| json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] });
    let sensor = |path: &str| json!({ "kind": "temperature", "path": path });
    let server = Server::start(json!({
        "auth": { "jwt": issuer.config(), "users": [user("one"), user("two")] },
        "default_path": SECRET,
        "sensors": { "front-heat": sensor("front"), "secretcam-heat": sensor(SECRET) },
        "rules": rules(),
        "paths": { "front": { "source": "demo" }, SECRET: { "source": "demo", "title": "The secretcam" } },
    }))
    .await;
    let actions = ["view", "publish", "playback", "alerts", "ack", "sensors", "stats", "control", "admin"];
    let on_front = actions.map(|action| json!({ "action": action, "path": "front" }));
    let viewer = issuer.token("viewer", 600, json!(on_front));
    let admin = issuer.token("boss", 600, json!([{ "action": "admin" }]));
    let house = House { server, viewer, admin };
    for path in [SECRET, "front"] {
        house.post(&house.admin, "/api/v1/events", json!({ "type": "motion", "path": path })).await;
        let readings = format!("/api/v1/sensors/{path}-heat/readings");
        house.post(&house.admin, &readings, json!({ "value": 90 })).await;
        house.until_admin("/api/v1/alerts", |said| said["items"].to_string().contains(&format!("\"{path}\""))).await;
    }
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10)).to_string();
    house.post(&house.admin, "/api/v1/silences", json!({ "path": SECRET, "until": until })).await;
    house
}

/// One about every sensor, and some that name a camera or a sensor.
fn rules() -> Value {
    let hot = |path: &str| json!({ "threshold": { "sensor": format!("{path}-heat"), "above": 900 } });
    let smoke = |path: &str| json!({ "event": { "kind": "smoke", "path": path } });
    json!([
        { "preset": "temperature", "for": "0s" },
        { "id": "hot", "when": hot("front"), "inhibited_by": ["secretcam_hot", "smoke"] },
        { "id": "secretcam_hot", "when": hot(SECRET) },
        { "id": "smoke", "when": { "all": [smoke("front"), { "not": hot("front") }] } },
        { "id": "smoke_there", "when": smoke(SECRET) },
        { "id": "smoke_somewhere", "when": { "any": [smoke("front"), smoke(SECRET)] } },
        { "preset": "refusals" },
    ])
}

#[tokio::test]
async fn no_route_tells_a_viewer_of_one_camera_of_another_one() {
    let house = house().await;
    // Somebody watches the other one.
    let login = format!("Bearer {}", house.admin);
    let mut watcher = RtspClient::connect(house.server.address("rtsp")).await;
    let headers = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"), (AUTHORIZATION.as_str(), login.as_str())];
    let url = house.server.rtsp("secretcam/trackID=0");
    assert_eq!(watcher.ask("SETUP", &url, &headers).await.status, 200);
    let alerts =
        house.until_admin("/api/v1/alerts", |said| said["items"].as_array().is_some_and(|all| all.len() > 1)).await;
    let of_secret = |items: &Value, key: &str| {
        let found = items.as_array().unwrap().iter().find(|one| one["path"] == SECRET).unwrap();
        found[key].as_str().unwrap().to_owned()
    };
    let sessions = house.until_admin("/api/v1/sessions", |said| said.to_string().contains(SECRET)).await;
    let ids = [of_secret(&alerts["items"], "fingerprint"), of_secret(&sessions["items"], "id")];
    let queries = ["", "?limit=1000", "?after=0", "?q=secretcam", "?path=front"];
    let (mut asked, mut leaks) = (0, Vec::new());
    for (_, route, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        if route.starts_with("/ws/") || route.starts_with("/stream/") {
            continue;
        }
        for url in ids.iter().map(String::as_str).chain(["front-heat", "front"]).map(|id| filled(route, id)) {
            for query in queries {
                asked += 1;
                let (status, text) = house.get(&format!("{url}{query}")).await;
                if text.replace("?q=secretcam", "").contains(SECRET) {
                    leaks.push(format!("GET {url}{query}: {status} {text}"));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // What belongs to the other one is told.
    for (url, wanted) in [
        ("/api/v1/paths", "\"front\""),
        ("/api/v1/sensors", "front-heat"),
        ("/api/v1/sensors/front-heat", "front-heat"),
        ("/api/v1/alerts", "front-heat"),
    ] {
        let (status, text) = house.get(url).await;
        assert!(status == 200 && text.contains(wanted), "{url}: {status} {text}");
    }
    let (status, text) = house.get("/api/v1/sessions").await;
    let sessions: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, sessions["items"].as_array().unwrap().len()), (200, 0), "nobody watches the front");
    assert!(asked > 300, "{asked}");
    // Of rules and of statistics the part that is about nothing else.
    let (status, text) = house.get("/api/v1/rules").await;
    let rules: Value = serde_json::from_str(&text).unwrap();
    let shown: Vec<_> = rules["items"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!((status, shown), (200, vec!["hot", "smoke"]), "{text}");
    assert_eq!(rules["items"][0]["rule"]["inhibited_by"], json!(["smoke"]), "the names of others are left out");
    house.until_admin("/api/v1/statistics", |said| said["viewers"] == 1).await;
    for url in ["/api/v1/statistics", "/api/statistics"] {
        let (status, text) = house.get(url).await;
        let statistics: Value = serde_json::from_str(&text).unwrap();
        let told: Vec<_> = statistics.as_object().unwrap().keys().map(String::as_str).collect();
        let ours = ["cameras", "cameras_active", "paths", "received_bps", "sent_bps", "viewers"];
        assert_eq!((status, &told[..]), (200, &ours[..]), "{text}");
        assert_eq!((&statistics["cameras"], &statistics["viewers"]), (&json!(1), &json!(0)), "{text}");
        assert_eq!(statistics["paths"][0]["path"], "front");
    }
    for url in ["/api/v1/statistics/history", "/api/v1/info", "/metrics"] {
        assert_eq!(house.get(url).await.0, 403, "{url}: what is said there is about the server as a whole");
    }
    // What is asked for by its name is answered as what was never there.
    for route in ["/api/v1/paths/{}", "/{}/index.m3u8", "/{}/hls/main_init.mp4", "/api/v1/sensors/{}-heat"] {
        let [there, nowhere] = [SECRET, "othername"].map(|name| route.replace("{}", name));
        let ((a, there), (b, nowhere)) = (house.get(&there).await, house.get(&nowhere).await);
        let plain = |text: &str| {
            let mut said: Value = serde_json::from_str(text).unwrap_or_default();
            said["instance"] = Value::Null;
            said.to_string().replace(SECRET, "othername")
        };
        assert_eq!((a, plain(&there)), (b, plain(&nowhere)), "{route}");
    }
    // Nor does a fingerprint, which the other one's alerts and those that never were have alike.
    let until = json!({ "until": "2100-01-01T00:00:00Z" });
    for deed in ["ack", "silence"] {
        let mut said = Vec::new();
        for fingerprint in [&ids[0], "0123456789abcdef"] {
            let url = format!("/api/v1/alerts/{fingerprint}/{deed}");
            let (status, text) = house.ask(&house.viewer, Method::POST, &url, Some(until.clone())).await;
            let mut body: Value = serde_json::from_str(&text).unwrap_or_default();
            body["instance"] = Value::Null;
            said.push((status, body));
        }
        assert!(said[0].0 == 404 && said[0] == said[1], "{deed}: {said:?}");
    }
}

/// Something in the place of what a route leaves open.
fn filled(route: &str, id: &str) -> String {
    let named = route.replace("{*path}", "front").replace("{*file}", "app.js");
    regex::Regex::new(r"\{[a-z]+\}").unwrap().replace_all(&named, id).into_owned()
}

#[tokio::test]
async fn graphql_tells_a_viewer_of_one_camera_of_no_other_one() {
    let house = house().await;
    let queries = [
        "{ paths { items { name state } } }",
        "{ path(name: \"front\") { name } }",
        "{ alerts { items { fingerprint } } }",
        "{ events { items { id type path } } }",
        "{ sensors { items { id } } }",
        "{ sessions { items { id path } } }",
        "{ rules { items { id rule } } }",
        "{ statistics { cameras paths { path } } }",
        "{ info { version defaultPath } }",
    ];
    for query in queries {
        let (status, text) = house.ask(&house.viewer, Method::POST, "/graphql", Some(json!({ "query": query }))).await;
        assert!(!text.contains(SECRET), "{query}: {status} {text}");
        // What is asked is what there is; not allowed is what belongs to the server as a whole.
        let said: Value = serde_json::from_str(&text).unwrap();
        let code = &said["errors"][0]["extensions"]["code"];
        let of_server = query.contains("statistics") || query.contains("info");
        assert_eq!(*code, if of_server { json!("not_allowed") } else { Value::Null }, "{query}: {text}");
        if query.contains("rules") {
            let ids =
                said["data"]["rules"]["items"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap());
            assert_eq!(ids.collect::<Vec<_>>(), ["hot", "smoke"], "{text}");
        }
    }
    let named = |name: &str| json!({ "query": format!("{{ path(name: \"{name}\") {{ name }} }}") });
    let (_, there) = house.ask(&house.viewer, Method::POST, "/graphql", Some(named(SECRET))).await;
    let (_, nowhere) = house.ask(&house.viewer, Method::POST, "/graphql", Some(named("othername"))).await;
    assert_eq!(there.replace(SECRET, "othername"), nowhere);
}

#[tokio::test]
async fn no_door_of_events_tells_a_viewer_of_one_camera_of_another_one() {
    let house = house().await;
    let first = house.until_admin("/api/v1/events?limit=1", |said| said["cursor"].is_string()).await;
    let start = first["events"][0]["id"].as_str().unwrap().to_owned();
    let epoch = start.split('-').next().unwrap();
    let address = house.server.address("http");
    let say = || async {
        for path in [SECRET, "front"] {
            house.post(&house.admin, "/api/v1/events", json!({ "type": "doorbell_pressed", "path": path })).await;
        }
    };
    for door in ["events", "alerts", "statistics"] {
        let target = format!("/ws/{door}?after={epoch}-0&token={}", house.ticket().await);
        let (connected, mut socket) = Socket::open(address, &target).await;
        assert!(!connected.to_string().contains(SECRET), "{connected}");
        say().await;
        // Facts of the front come on the first two; of the third there is nothing that one camera's viewer may see.
        let wanted = match door {
            "events" => "doorbell_pressed",
            "alerts" => "raised",
            _ => continue,
        };
        loop {
            let Some(Said::Message(said)) = socket.next().await else { panic!("{door}: it ended") };
            assert!(!said.to_string().contains(SECRET), "{door}: {said}");
            if said.to_string().contains(wanted) {
                break;
            }
        }
    }
    let target = format!("/stream/events?token={}", house.ticket().await);
    let mut stream = Stream::open(address, &target, Some(&format!("{epoch}-0"))).await;
    say().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = stream.next().await.unwrap();
        assert!(!said.to_string().contains(SECRET), "{said}");
        if said.to_string().contains("doorbell_pressed") {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    let (status, text) = house.get(&format!("/api/v1/events?after={epoch}-0&wait=0&limit=1000")).await;
    assert!(status == 200 && text.contains("front") && !text.contains(SECRET), "{status} {text}");
}
