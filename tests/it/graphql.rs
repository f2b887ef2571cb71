//! `/graphql` against a client that others wrote: `graphql-ws` from npm (`tests/browser/graphql.mjs`).

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
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
