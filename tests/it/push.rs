//! Web Push against a push service of our own, which opens what the server sends with Node's ciphers, and in Chromium.

use std::{
    io::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    process::{PATIENCE, Process, run_within},
    server::Server,
    tls::Identity,
};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// A push service and its browser.
struct PushService {
    process: Process,
    subscription: Value,
}

impl PushService {
    async fn start(identity: &Identity) -> Self {
        let mut node = Command::new("node");
        node.arg("push_service.mjs").arg(&identity.certificate).arg(&identity.key).current_dir(folder());
        let mut process = Process::spawn("push service", &mut node);
        let line = process.line(|line| line.contains("\"subscription\"")).await;
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { process, subscription: said["subscription"].clone() }
    }

    /// From now on it answers so.
    fn answer(&mut self, status: u16) {
        writeln!(self.process.input(), "answer {status}").unwrap();
    }

    /// Every message that came.
    fn messages(&self) -> Vec<Value> {
        let lines = self.process.output();
        let read = lines.iter().filter(|line| !line.contains("\"subscription\""));
        read.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// The messages, once there are so many.
    async fn until(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let messages = self.messages();
            if messages.len() >= count {
                return messages;
            }
            assert!(Instant::now() < deadline, "{} of {count}: {messages:#?}", messages.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn house(identity: &Identity) -> Value {
    json!({
        "sensors": { "attic": { "kind": "temperature" } },
        "rules": [{ "preset": "temperature", "above": { "warning": 35, "critical": 50 } }],
        "notify": { "channels": { "phones": { "push": {
            "contact": "mailto:me@example.org",
            "allow_private": true,
            "tls": { "ca_file": identity.certificate },
        } } } },
    })
}

async fn ask(server: &Server, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let request = server.client().request(method, server.http(path));
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn read(server: &Server, celsius: f64) {
    let (status, said) =
        ask(server, reqwest::Method::POST, "/api/v1/sensors/attic/readings", Some(&json!({ "value": celsius }))).await;
    assert_eq!(status, 200, "{said}");
}

const SUBSCRIPTIONS: &str = "/api/v1/push/subscriptions";

#[tokio::test]
async fn alerts_reach_a_browser_encrypted_and_the_end_replaces_the_beginning() {
    let identity = Identity::new();
    let service = PushService::start(&identity).await;
    let server = Server::start(house(&identity)).await;
    let info = server.json("/api/v1/push").await;
    assert_eq!((&info["enabled"], &info["subscriptions"]), (&json!(true), &json!(0)));
    let mut wish = service.subscription.clone();
    wish["label"] = json!("Phone");
    let (status, subscribed) = ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&wish)).await;
    assert_eq!((status, &subscribed["label"]), (201, &json!("Phone")), "{subscribed}");
    let (status, again) = ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&wish)).await;
    assert_eq!((status, &again["id"]), (200, &subscribed["id"]), "the same browser");
    let listed = server.json(SUBSCRIPTIONS).await.to_string();
    assert!(!listed.contains("/push/0123") && !listed.contains(wish["keys"]["auth"].as_str().unwrap()), "{listed}");

    read(&server, 40.0).await;
    service.until(1).await;
    read(&server, 20.0).await;
    let messages = service.until(2).await;
    let [raised, over] = &messages[..] else { panic!("{messages:#?}") };
    assert_eq!((&raised["urgency"], &raised["ttl"]), (&json!("normal"), &json!("14400")), "{raised:#}");
    assert_eq!(raised["claims"]["sub"], "mailto:me@example.org");
    assert_eq!(raised["claims"]["key"], info["public_key"], "signed with the key the browser was given");
    assert_eq!((&raised["content"]["reason"], &over["content"]["reason"]), (&json!("raised"), &json!("cleared")));
    assert_eq!(raised["topic"], over["topic"]);
    assert_eq!(raised["topic"], raised["content"]["tag"]);
    assert!(over["content"]["title"].as_str().unwrap().starts_with("Over: "), "{over:#}");

    // The key and the subscription outlive a restart.
    let server = server.restart(house(&identity)).await;
    assert_eq!(server.json("/api/v1/push").await["public_key"], info["public_key"]);
    let (status, tried) = ask(&server, reqwest::Method::POST, "/api/v1/channels/phones/test", None).await;
    assert_eq!((status, &tried["delivered"]), (200, &json!(true)), "{tried}");
    assert_eq!(service.until(3).await[2]["content"]["reason"], "test");

    let path = format!("{SUBSCRIPTIONS}/{}", subscribed["id"].as_str().unwrap());
    assert_eq!(ask(&server, reqwest::Method::DELETE, &path, None).await.0, 204);
    assert_eq!(ask(&server, reqwest::Method::DELETE, &path, None).await.0, 404);
    assert_eq!(server.json(SUBSCRIPTIONS).await["items"], json!([]));
}

#[tokio::test]
async fn a_browser_that_is_gone_is_forgotten_and_one_that_is_away_is_tried_again() {
    let identity = Identity::new();
    let mut service = PushService::start(&identity).await;
    let server = Server::start(house(&identity)).await;
    let subscription = service.subscription.clone();
    assert_eq!(ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&subscription)).await.0, 201);
    service.answer(503);
    read(&server, 40.0).await;
    let away = service.until(1).await;
    service.answer(201);
    let messages = service.until(2).await;
    assert_eq!((&away[0]["status"], &messages.last().unwrap()["status"]), (&json!(503), &json!(201)));
    assert_eq!(messages[0]["content"], messages.last().unwrap()["content"], "the same message");

    service.answer(410);
    let (_, tried) = ask(&server, reqwest::Method::POST, "/api/v1/channels/phones/test", None).await;
    assert_eq!((&tried["delivered"], &tried["results"][0]["outcome"]), (&json!(false), &json!("gone")), "{tried}");
    assert_eq!(server.json(SUBSCRIPTIONS).await["items"], json!([]));
}

#[tokio::test]
async fn nobody_sends_the_server_to_the_machines_behind_it() {
    let identity = Identity::new();
    let mut config = house(&identity);
    config["notify"]["channels"]["phones"]["push"]["allow_private"] = json!(false);
    config["notify"]["channels"]["phones"]["push"]["max_subscriptions"] = json!(1);
    let server = Server::start(config).await;
    let keys = json!({
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    });
    let subscribe = |endpoint: &str| json!({ "endpoint": endpoint, "keys": keys });
    for endpoint in ["https://127.0.0.1/x", "https://[::1]/x", "https://localhost/x", "http://push.example/x"] {
        let (status, said) = ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&subscribe(endpoint))).await;
        assert_eq!((status, &said["code"]), (400, &json!("invalid_body")), "{endpoint}: {said}");
    }
    let one = subscribe("https://push.example/1");
    assert_eq!(ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&one)).await.0, 201);
    let (status, said) =
        ask(&server, reqwest::Method::POST, SUBSCRIPTIONS, Some(&subscribe("https://push.example/2"))).await;
    assert_eq!((status, &said["code"]), (409, &json!("too_many_subscriptions")), "{said}");
}

#[tokio::test]
async fn a_button_of_the_page_brings_notifications_to_the_screen() {
    let identity = Identity::new();
    let server = Server::start(house(&identity)).await;
    let mut node = Command::new("node");
    node.arg("push_page.mjs").arg(server.http("/")).arg(&identity.certificate).arg(&identity.key).arg("phones");
    let ran = run_within(node.current_dir(folder()), PATIENCE * 5).await.expect("the page does not end").success();
    let said: Value = serde_json::from_str(ran.text().lines().last().unwrap()).unwrap();
    assert_eq!(said["errors"], json!([]), "{said:#}");
    assert_eq!(said["subscribed"].as_array().unwrap().len(), 1, "{said:#}");
    assert_eq!(said["tried"]["delivered"], true, "{said:#}");
    assert_eq!(said["first"]["title"], said["message"]["content"]["title"]);
    let afterwards = said["afterwards"].as_array().unwrap();
    assert!(afterwards.len() == 1 && afterwards[0]["title"] == "Over", "{said:#}");
    assert_eq!(said["left"], json!([]), "stopped, and the server knows");
}
