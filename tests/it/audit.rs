//! What administrators hear of logins and of those who are refused, and nobody else does; what a rule makes of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    followers::{Socket, Stream},
    issuer::Issuer,
    process::PATIENCE,
    receiver::Receiver,
    server::Server,
};

/// Waits until the log has a fact that is `wanted`.
async fn until_fact(server: &Server, admin: &str, filter: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let url = server.http(&format!("/api/v1/events?limit=1000&{filter}"));
        let facts: Value = server.client().get(url).bearer_auth(admin).send().await.unwrap().json().await.unwrap();
        if let Some(found) = facts["events"].as_array().unwrap().iter().find(|fact| wanted(fact)) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "not among {facts}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the audit has a deed.
async fn until_deed(server: &Server, admin: &str, action: &str) -> Value {
    until_fact(server, admin, "types=audit", |fact| fact["data"]["action"] == action).await
}

#[tokio::test]
async fn logins_and_repeated_refusals_are_told_to_administrators_and_to_nobody_else() {
    let issuer = Issuer::start().await;
    let server =
        Server::start(json!({ "auth": { "jwt": issuer.config() }, "paths": { "demo": { "source": "demo" } } })).await;
    let admin = issuer.token("boss", 600, json!([{ "action": "admin" }]));
    let anna = json!({ "name": "anna", "password": "correct horse", "permissions": [{ "action": "alerts" }] });
    let added =
        server.client().post(server.http("/api/v1/users")).bearer_auth(&admin).json(&anna).send().await.unwrap();
    assert_eq!(added.status(), 201);
    let deadline = Instant::now() + PATIENCE;
    let said: Value = loop {
        let login = json!({ "name": "anna", "password": "correct horse" });
        let asked = server.client().post(server.http("/api/v1/auth/login")).json(&login).send().await.unwrap();
        if asked.status() == 200 {
            break asked.json().await.unwrap();
        }
        assert!(Instant::now() < deadline, "she cannot log in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let token = said["access_token"].as_str().unwrap().to_owned();
    let fact = until_deed(&server, &admin, "login").await;
    assert_eq!((&fact["data"]["by"], &fact["data"]["target"]), (&json!("anna"), &json!("127.0.0.1")));
    let guess = async |i: u32| {
        let wrong = server.client().get(server.http("/api/v1/paths")).basic_auth("anna", Some(format!("guess-{i}")));
        assert!([401, 429].contains(&wrong.send().await.unwrap().status().as_u16()));
    };
    guess(0).await;
    until_deed(&server, &admin, "login.refused").await;
    for i in 1..16 {
        guess(i).await;
    }
    let fact = until_fact(&server, &admin, "types=security", |fact| fact["type"] == "security").await;
    assert_eq!(fact["severity"], "warning");
    let data = &fact["data"];
    let said = (&data["kind"], &data["address"], &data["name"]);
    assert_eq!(said, (&json!("refusals"), &json!("127.0.0.1"), &json!("anna")), "{fact}");
    assert!(data["count"].as_u64().unwrap() >= 1 && !fact.to_string().contains("guess"), "{fact}");
    let asked = server.client().get(server.http("/api/v1/events?types=audit&limit=1000")).bearer_auth(&admin).send();
    let audit = asked.await.unwrap().text().await.unwrap();
    assert!(audit.contains("login.refused") && !audit.contains("security"), "it is told once: {audit}");
    let query = r#"{ events(filter: { types: ["security"] }) { items { type data } } }"#;
    let asked = server.client().post(server.http("/graphql")).bearer_auth(&admin).json(&json!({ "query": query }));
    let told: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(told["data"]["events"]["items"][0]["data"]["kind"], "refusals", "{told}");
    let asked = server.client().get(server.http("/api/v1/events?limit=1000")).bearer_auth(&token).send().await.unwrap();
    let (status, text) = (asked.status(), asked.text().await.unwrap());
    assert!(status == 200 && !text.contains("refusals") && !text.contains("\"login\""), "{text}");
    let out = server.client().post(server.http("/api/v1/auth/logout")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(out.status(), 204);
    until_deed(&server, &admin, "logout").await;
}

#[tokio::test]
async fn ten_wrong_passwords_are_an_alert_that_leaves_the_house_if_a_rule_says_so() {
    let (issuer, receiver) = (Issuer::start().await, Receiver::answering(&[200]).await);
    let server = Server::start(json!({
        "auth": { "jwt": issuer.config() },
        "rules": [{ "preset": "refusals", "severity": "critical" }],
        "notify": { "channels": { "ops": { "webhook": { "url": receiver.url() } } } },
    }))
    .await;
    let admin =
        issuer.token("boss", 600, json!([{ "action": "admin" }, { "action": "alerts" }, { "action": "publish" }]));
    // What others say has the same word and is not the same.
    let event = async |event: Value| {
        let posted = server.client().post(server.http("/api/v1/events")).bearer_auth(&admin).json(&event);
        posted.send().await.unwrap().status().as_u16()
    };
    assert_eq!(event(json!({ "type": "refusals" })).await, 201);
    assert!([400, 415, 422].contains(&event(json!({ "type": "security", "data": { "kind": "refusals" } })).await));
    let target = async |door: &str| {
        let ticket = server.client().post(server.http("/api/v1/tokens/events")).bearer_auth(&admin).send();
        let ticket: Value = ticket.await.unwrap().json().await.unwrap();
        format!("{door}?types=security&token={}", ticket["token"].as_str().unwrap())
    };
    let mut stream = Stream::open(server.address("http"), &target("/stream/events").await, None).await;
    let mut socket = Socket::open(server.address("http"), &target("/ws/events").await).await.1;
    socket.say(&json!({ "type": "subscribe", "event_types": ["security"] })).await;
    while socket.message().await["type"] != "connection_status" {}
    for i in 0..10 {
        let wrong = server.client().get(server.http("/api/v1/paths")).basic_auth("anna", Some(format!("guess-{i}")));
        assert!([401, 429].contains(&wrong.send().await.unwrap().status().as_u16()));
    }
    let letter = receiver.until(1).await.remove(0).json();
    let alert = &letter["data"]["alerts"][0];
    assert_eq!(
        (&alert["rule"], &alert["severity"], &alert["path"]),
        (&json!("refusals"), &json!("critical"), &Value::Null),
        "{letter}"
    );
    assert_eq!(stream.next().await.unwrap()["data"]["kind"], "refusals");
    let message = socket.message().await;
    assert_eq!((&message["type"], &message["data"]["kind"]), (&json!("security"), &json!("refusals")), "{message}");
}
