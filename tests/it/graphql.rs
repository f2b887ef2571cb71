//! `/graphql` against a client that others wrote: `graphql-ws` from npm (`tests/browser/graphql.mjs`, `graphql_login.mjs`).

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    issuer::Issuer,
    process::{PATIENCE, Process},
    server::Server,
};

/// Facts that are sent.
const FACTS: usize = 120;

#[tokio::test]
async fn the_client_from_npm_gets_every_fact_once_over_connections_that_tear_and_is_told_what_is_too_much() {
    let server = Server::start(json!({
        "rtsp": { "address": "off" },
        "webrtc": { "address": "off" },
        "rules": [{ "preset": "doorbell" }],
        "paths": { "nothing": { "source": "demo" } },
    }))
    .await;
    let deep = format!("{{ __type(name: \"A\") {{ {} name {} }} }}", "ofType { ".repeat(20), "}".repeat(20));
    let aliases: String = (0..51).map(|number| format!("a{number}: version ")).collect();
    let order = json!({
        "url": server.http("/graphql").replacen("http", "ws", 1),
        "count": FACTS,
        "every": 25,
        "hostile": [deep, format!("{{ info {{ {aliases} }} }}"), "{ nothing }", format!("{{ info {{ version }} }} #{}", "x".repeat(60_000))],
    });
    let mut node = Command::new("node");
    node.args(["graphql.mjs", &order.to_string()]);
    node.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    let mut client = Process::spawn("graphql.mjs", &mut node);
    client.line(|line| line.contains("\"ready\"")).await;
    let post = async |event: Value| {
        let response = server.client().post(server.http("/api/v1/events")).json(&event).send().await.unwrap();
        // A disk that is slow makes it 202.
        assert!(response.status().is_success(), "{event}");
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let mut sent = Vec::new();
    for number in 0..FACTS {
        if number == FACTS / 2 {
            post(json!({"type": "doorbell_pressed", "path": "nothing"})).await;
        }
        sent.push(post(json!({"type": "counted", "data": {"number": number}})).await);
    }
    let status = client.ended(PATIENCE).await.expect("it has all of them");
    let said: Vec<Value> = client.output().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(status.success(), "{:?}", client.output());
    let told: Vec<_> = said.iter().filter(|line| line.get("fact").is_some()).map(|line| &line["fact"]).collect();
    let ids: Vec<_> = told.iter().map(|fact| fact["cursor"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, sent, "in order, each once");
    assert!(told.iter().enumerate().all(|(number, fact)| fact["data"]["number"] == number), "{told:?}");
    let refused: Vec<_> = said.iter().filter_map(|line| line.get("refused")).collect();
    let expected = [json!("query_too_deep"), json!("too_many_aliases"), json!("invalid_query"), Value::Null];
    assert_eq!(refused, expected.iter().collect::<Vec<_>>());
    let alert = said.iter().find_map(|line| line.get("alert")).unwrap();
    assert_eq!((&alert["change"], &alert["alert"]["rule"]), (&"RAISED".into(), &"doorbell".into()));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let counted = |name: &str| metrics.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    assert!(
        counted("campanile_event_clients_opened_total{door=\"graphql\"}").is_some_and(|line| !line.ends_with(" 0"))
    );
}

#[tokio::test]
async fn the_client_from_npm_says_who_it_is_and_comes_back_with_a_fresh_token_when_the_old_one_ended() {
    let issuer = Issuer::start().await;
    let mut jwt = issuer.config();
    jwt["leeway"] = json!("0s");
    let server = Server::start(json!({
        "rtsp": { "address": "off" },
        "webrtc": { "address": "off" },
        "auth": { "jwt": jwt, "users": [user("one"), user("two")] },
        "paths": { "nothing": { "source": "demo" } },
    }))
    .await;
    let admin = || json!([{ "action": "admin" }]);
    let elsewhere = issuer.token_for("another", "anna", 600, admin());
    let tokens = [issuer.token("anna", 6, admin()), issuer.token("anna", 600, admin())];
    let order = json!({
        "url": server.http("/graphql").replacen("http", "ws", 1),
        "wrong": [
            {},
            { "Authorization": format!("Bearer {elsewhere}") },
            { "token": "nonsense" },
            { "headers": { "Authorization": "Basic bm9ib2R5OnBhc3N3b3Jk" } },
        ],
        "tokens": tokens,
        "last": 2,
    });
    let mut node = Command::new("node");
    node.args(["graphql_login.mjs", &order.to_string()]);
    node.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    let mut client = Process::spawn("graphql_login.mjs", &mut node);
    let posted = async |number: usize| {
        let request = server.client().post(server.http("/api/v1/events")).bearer_auth(&tokens[1]);
        let response = request.json(&json!({"type": "counted", "data": {"number": number}})).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
    };
    // The subscription follows its acknowledgement: facts are told again until it is there.
    let repeated = async |number: usize| {
        loop {
            posted(number).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        _ = client.line(|line| line == "{\"fact\":1}") => {}
        () = repeated(1) => unreachable!("it goes on for ever"),
    }
    client.line(|line| line == "{\"ready\":2}").await;
    let status = tokio::select! {
        status = client.ended(PATIENCE) => status.expect("it has the second one"),
        () = repeated(2) => unreachable!("it goes on for ever"),
    };
    let said: Vec<Value> = client.output().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(status.success(), "{:?}", client.output());
    let refused: Vec<_> = said.iter().filter_map(|line| line.get("refused")).collect();
    assert_eq!(refused, [4403; 4].map(Value::from).iter().collect::<Vec<_>>(), "{said:?}");
    let log = server.log();
    assert!(!log.iter().any(|line| tokens.iter().any(|token| line.contains(token))), "{log:?}");
}

/// Two of them: nobody is let in for being on this machine.
fn user(name: &str) -> Value {
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
    json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] })
}
