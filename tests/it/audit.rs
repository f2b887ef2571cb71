//! What administrators hear of logins and of those who are refused, and nobody else does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{issuer::Issuer, process::PATIENCE, server::Server};

/// Waits until the audit has a deed.
async fn until_deed(server: &Server, admin: &str, action: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = server.client().get(server.http("/api/v1/events?types=audit&limit=1000")).bearer_auth(admin);
        let facts: Value = asked.send().await.unwrap().json().await.unwrap();
        let found = facts["events"].as_array().unwrap().iter().find(|fact| fact["data"]["action"] == action);
        if let Some(found) = found {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "no {action}: {facts}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
    let fact = until_deed(&server, &admin, "security.refusals").await;
    assert_eq!((&fact["severity"], &fact["data"]["target"]), (&json!("warning"), &json!("127.0.0.1")));
    assert!(!fact.to_string().contains("guess"), "{fact}");
    let asked = server.client().get(server.http("/api/v1/events?limit=1000")).bearer_auth(&token).send().await.unwrap();
    let (status, text) = (asked.status(), asked.text().await.unwrap());
    assert!(status == 200 && !text.contains("security.refusals") && !text.contains("\"login\""), "{text}");
    let out = server.client().post(server.http("/api/v1/auth/logout")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(out.status(), 204);
    until_deed(&server, &admin, "logout").await;
}
