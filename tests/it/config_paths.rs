//! Cameras that are added, changed and removed over the API: at work at once, kept over restarts, their credentials shown to
//! nobody, and nowhere a server must not be sent.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    clients::ffprobe,
    issuer::Issuer,
    process::PATIENCE,
    rtsp_client::RtspReader,
    scripted_camera::{Behaviour, Login, PASSWORD, Reply, ScriptedCamera, USER},
    server::Server,
};

struct House {
    server: Server,
    issuer: Issuer,
    admin: String,
}

impl House {
    async fn open(allowed: Value) -> Self {
        let issuer = Issuer::start().await;
        let server = Server::start(config(&issuer, &allowed)).await;
        let admin = issuer.token("boss", 600, json!([{ "action": "admin" }]));
        Self { server, issuer, admin }
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.server.client().request(method, self.server.http(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn put(&self, name: &str, entry: Value) -> (u16, Value) {
        self.ask(&self.admin, Method::PUT, &format!("/api/v1/config/paths/{name}"), Some(&entry)).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&self.admin, Method::GET, path, None).await
    }

    async fn remove(&self, name: &str) -> u16 {
        self.ask(&self.admin, Method::DELETE, &format!("/api/v1/config/paths/{name}"), None).await.0
    }
}

fn config(issuer: &Issuer, allowed: &Value) -> Value {
    json!({
        "http": { "allowed_sources": allowed },
        "auth": { "jwt": issuer.config() },
        "paths": { "demo": { "source": "demo" }, "~^site/": { "source": "rtsp://127.0.0.1:1/none", "on_demand": true } },
    })
}

#[tokio::test]
async fn a_camera_that_is_added_plays_at_once_and_after_a_restart_until_it_is_removed() {
    let behaviour = Behaviour { login: Some(Login::Md5), ..Behaviour::default() };
    let camera = ScriptedCamera::behaving(behaviour).await;
    let House { server, issuer, admin } = House::open(json!(["127.0.0.1"])).await;
    let house = House { server, issuer, admin };
    let url = camera.url();
    let (status, _) = house.put("yard/gate", json!({ "source": camera.url_with_login(), "title": "Gate" })).await;
    assert_eq!(status, 201);
    let shown = ffprobe(&house.server.rtsp("yard/gate"), Some("tcp")).await;
    assert_eq!(shown.codecs, ["h264", "aac"]);

    // What was written is shown, but for its secrets; sent back like that it is the same.
    let (status, written) = house.get("/api/v1/config/paths/yard/gate").await;
    assert_eq!((status, &written["origin"], &written["name"]), (200, &json!("api"), &json!("yard/gate")));
    assert_eq!(written["config"]["source"], url.as_str());
    assert_eq!((&written["config"]["username"], &written["config"]["password"]), (&json!(USER), &json!("***")));
    let reader = RtspReader::play(&house.server.rtsp("yard/gate")).await;
    reader.more(50).await;
    assert_eq!(house.put("yard/gate", written["config"].clone()).await.0, 204);
    let ended = async {
        while !reader.ended() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("a changed path lets its readers go");
    house.server.state("yard/gate", "ready").await;

    let House { server, issuer, admin } = house;
    let server = server.restart(config(&issuer, &json!(["127.0.0.1"]))).await;
    let house = House { server, issuer, admin };
    house.server.state("yard/gate", "ready").await;
    assert_eq!(house.server.path("yard/gate").await["title"], "Gate");
    let (_, all) = house.get("/api/v1/config/paths").await;
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| (&one["name"], &one["origin"])).collect();
    let (file, api) = (json!("file"), json!("api"));
    assert_eq!(names, [(&json!("demo"), &file), (&json!("yard/gate"), &api), (&json!("~^site/"), &file)]);
    assert!(!all.to_string().contains(PASSWORD), "{all}");

    let reader = RtspReader::play(&house.server.rtsp("yard/gate")).await;
    reader.more(10).await;
    assert_eq!(house.remove("yard/gate").await, 204);
    let gone = house.server.get("/api/v1/paths/yard/gate").await;
    assert_eq!(gone.status(), 404);
    assert_eq!(house.remove("yard/gate").await, 404);
    let written_down = async {
        loop {
            let (_, facts) = house.get("/api/v1/events?types=audit&limit=1000").await;
            if facts["events"].as_array().unwrap().iter().any(|fact| fact["data"]["action"] == "path.removed") {
                return facts;
            }
        }
    };
    let facts = tokio::time::timeout(PATIENCE, written_down).await.expect("what was done is in the audit");
    let deeds: Vec<_> = facts["events"].as_array().unwrap().iter().map(|fact| &fact["data"]).collect();
    for action in ["path.added", "path.changed", "path.removed"] {
        let deed = deeds.iter().find(|deed| deed["action"] == action).unwrap_or_else(|| panic!("{action}: {facts}"));
        assert_eq!((&deed["by"], &deed["target"]), (&json!("boss"), &json!("yard/gate")));
    }
    let log = house.server.log().join("\n");
    assert!(!log.contains(PASSWORD) && !facts.to_string().contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn what_cannot_be_a_path_is_refused_with_the_key_that_is_wrong() {
    let house = House::open(json!([])).await;
    for (name, entry, status, code, said) in [
        ("cam", json!({}), 400, "invalid_path", "the key `source` is missing"),
        ("cam", json!({ "source": "publisher" }), 400, "invalid_path", "source: "),
        ("cam", json!({ "source": "file:///etc/passwd" }), 400, "invalid_body", "`file`"),
        ("cam", json!({ "source": "gopher://10.0.0.5/" }), 400, "invalid_body", "`gopher`"),
        ("cam", json!({ "source": "demo", "colour": 1 }), 400, "invalid_body", "`colour`"),
        (
            "cam",
            json!({ "source": "rtsp://10.0.0.5/", "password_file": "/etc/shadow" }),
            400,
            "invalid_path",
            "password_file",
        ),
        (
            "cam",
            json!({ "source": "rtsp://10.0.0.5/", "sub": { "source": "rtsp://10.0.0.5/2", "password_file": "/etc/shadow" } }),
            400,
            "invalid_path",
            "password_file",
        ),
        ("cam", json!({ "source": "rtsp://10.0.0.5/", "password": "***" }), 400, "invalid_path", "password: "),
        ("cam", json!({ "source": "rtsp://10.0.0.5/", "stalled_after": "1ms" }), 400, "invalid_path", "stalled_after"),
        ("demo", json!({ "source": "demo" }), 409, "path_in_file", "configuration file"),
        ("api", json!({ "source": "demo" }), 404, "not_found", "`api` is reserved"),
        ("~%5Ecam", json!({ "source": "demo" }), 400, "invalid_path_name", "'~'"),
        ("a%2f%2e%2e%2fb", json!({ "source": "demo" }), 400, "invalid_path_name", "`..`"),
    ] {
        let (given, problem) = house.put(name, entry.clone()).await;
        assert_eq!((given, &problem["code"]), (status, &json!(code)), "{name} {entry}: {problem}");
        assert!(problem.to_string().contains(said), "{name} {entry}: {problem}");
    }
    assert_eq!(house.remove("demo").await, 409);
    assert_eq!(house.remove("site/1").await, 404, "a pattern is no path that was added");
    let (_, all) = house.get("/api/v1/config/paths").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
}

#[tokio::test]
async fn ssrf_no_camera_that_is_added_leads_to_this_machine_or_the_link() {
    let camera = ScriptedCamera::start().await;
    let house = House::open(json!([])).await;
    let port = camera.url().rsplit_once(':').unwrap().1.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let port = port.split('/').next().unwrap();
    for host in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost", "cam.localhost"] {
        for entry in [
            json!({ "source": format!("rtsp://{host}:{port}/stream") }),
            json!({ "source": "demo", "sub": format!("rtsp://{host}:{port}/stream") }),
        ] {
            let (status, problem) = house.put("cam", entry.clone()).await;
            assert_eq!((status, &problem["code"]), (400, &json!("source_not_allowed")), "{entry}: {problem}");
        }
    }
    for host in ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "224.0.0.1"] {
        let (status, problem) = house.put("cam", json!({ "source": format!("rtsp://{host}/latest") })).await;
        assert_eq!((status, &problem["code"]), (400, &json!("source_not_allowed")), "{host}: {problem}");
    }
    // A name says where it leads when it is looked up: every time the camera is called.
    for (name, scheme) in [("plain", "rtsp"), ("secure", "rtsps")] {
        assert_eq!(house.put(name, json!({ "source": format!("{scheme}://0x7f.1:{port}/stream") })).await.0, 201);
        let path = house.server.state(name, "lost").await;
        assert_eq!(path["error"]["code"], "source_not_allowed", "{path}");
    }
    assert_eq!(camera.connections(), 0, "nobody called");
}

#[tokio::test]
async fn ssrf_a_camera_that_was_allowed_leads_no_further_and_this_server_is_none() {
    let elsewhere = ScriptedCamera::start().await;
    let onward = elsewhere.url().replace("127.0.0.1", "127.0.0.2");
    let reply = std::sync::Arc::new(move |asked: &crate::support::scripted_camera::Asked, reply: Reply| {
        if asked.method != "DESCRIBE" {
            return reply;
        }
        Reply { status: 302, body: String::new(), ..reply.with("Location", onward.clone()) }
    });
    let camera = ScriptedCamera::behaving(Behaviour { reply, ..Behaviour::default() }).await;
    let house = House::open(json!(["127.0.0.1"])).await;
    assert_eq!(house.put("cam", json!({ "source": camera.url() })).await.0, 201);
    let path = house.server.state("cam", "lost").await;
    assert_eq!(path["error"]["code"], "source_not_allowed", "{path}");
    assert!(camera.connections() > 0 && elsewhere.connections() == 0);
    for listener in ["rtsp", "http"] {
        let own = format!("rtsp://{}/demo", house.server.address(listener));
        let (status, problem) = house.put("mirror", json!({ "source": own })).await;
        assert_eq!((status, &problem["code"]), (400, &json!("source_not_allowed")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("this server itself"), "{problem}");
    }
}

#[tokio::test]
async fn who_administers_some_paths_adds_and_sees_those_alone() {
    let house = House::open(json!([])).await;
    let anna = house.issuer.token("anna", 600, json!([{ "action": "admin", "path": "yard/**" }]));
    let url = |name: &str| format!("/api/v1/config/paths/{name}");
    let demo = json!({ "source": "demo" });
    assert_eq!(house.ask(&anna, Method::PUT, &url("yard/1"), Some(&demo)).await.0, 201);
    assert_eq!(house.put("hall", demo.clone()).await.0, 201);
    for (method, body) in [(Method::GET, None), (Method::PUT, Some(&demo)), (Method::DELETE, None)] {
        assert_eq!(house.ask(&anna, method.clone(), &url("hall"), body).await.0, 404, "{method}");
        assert_eq!(house.ask(&anna, method.clone(), &url("nowhere"), body).await.0, 404, "{method}");
    }
    let (status, all) = house.ask(&anna, Method::GET, "/api/v1/config/paths", None).await;
    assert_eq!((status, all["items"].as_array().unwrap().len()), (200, 1), "{all}");
    assert_eq!(all["items"][0]["name"], "yard/1");
    let viewer = house.issuer.token("vera", 600, json!([{ "action": "view" }]));
    assert_eq!(house.ask(&viewer, Method::PUT, &url("yard/2"), Some(&demo)).await.0, 403);
    assert_eq!(house.ask(&viewer, Method::GET, "/api/v1/config/paths", None).await.0, 403);
}
