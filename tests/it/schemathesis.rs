//! The API does what its document says, whoever asks: Schemathesis makes requests of `docs/openapi.json`, good ones and bad
//! ones, and follows what they lead to. No answer is a fault of the server, none has a status, a type or a shape that the
//! document does not name. `tests/schemathesis/` says what is asked; it is the same in every run.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{process::run_within, server::Server};

/// A role takes half a minute; a busy machine has ten times that.
const LIMIT: Duration = Duration::from_secs(300);

/// Of both users, and its hash.
const PASSWORD: &str = "correct horse";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$LpwHbE0sYRxwgnn8Hn04eA$kX5wiJsSPy4A/0d+M0uLtlMScqcCcLsfbLujwSkiwe8";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server with something behind most doors, and two users: nobody is let in for being on this machine.
async fn server() -> Server {
    let may = |actions: &[&str]| actions.iter().map(|action| json!({ "action": action })).collect::<Vec<_>>();
    let user = |name: &str, actions: &[&str]| json!({ "name": name, "password": HASH, "permissions": may(actions) });
    Server::start(json!({
        "log": { "level": "warn" },
        "auth": { "users": [
            user("admin", &["admin"]),
            user("viewer", &["view", "playback", "alerts", "sensors", "stats"]),
        ] },
        "notify": { "channels": { "phones": { "push": {} } } },
        "sensors": { "hall-temperature": { "kind": "temperature" } },
        "rules": [{ "id": "hall_warm", "title": "It is warm", "when": { "threshold": { "sensor": "hall-temperature", "above": 30 } } }],
        "paths": { "front-door": { "source": "demo" } },
    }))
    .await
}

async fn answers_as_documented(role: Option<&str>) {
    let server = server().await;
    if let Some(name) = role {
        let who = server.client().get(server.http("/api/v1/auth/whoami")).basic_auth(name, Some(PASSWORD)).send().await;
        assert_eq!(who.unwrap().status(), 200, "{name} logs in");
    }
    let mut command = Command::new(root().join("target/python/schemathesis/bin/st"));
    command.arg("--config-file").arg(root().join("tests/schemathesis/schemathesis.toml")).arg("run");
    command.arg(root().join("docs/openapi.json")).args(["--url", &server.http("")]);
    command.args(role.iter().flat_map(|name| ["--auth".to_owned(), format!("{name}:{PASSWORD}")]));
    // It leaves notes where it runs.
    command.current_dir(server.folder()).env("PYTHONPATH", root().join("tests/schemathesis"));
    let ran = run_within(&mut command, LIMIT).await.unwrap_or_else(|| panic!("{role:?}: not done after {LIMIT:?}"));
    let report = ran.success().text();
    let asked =
        report.split_once(" generated, ").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u32>().ok());
    assert!(asked > Some(1000), "{role:?} asked next to nothing:\n{report}");
}

#[tokio::test]
async fn whoever_is_nobody_is_answered_as_documented() {
    answers_as_documented(None).await;
}

#[tokio::test]
async fn a_viewer_is_answered_as_documented() {
    answers_as_documented(Some("viewer")).await;
}

#[tokio::test]
async fn an_admin_is_answered_as_documented() {
    answers_as_documented(Some("admin")).await;
}

/// Streams have no end, which Schemathesis would wait for.
#[tokio::test]
async fn streams_are_answered_as_documented() {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let server = server().await;
    let queries =
        ["", "?types=alert", "?types=%00", "?severity=loud", "?paths=..", "?sensors=%2F", "?after=x", "?after=1-2"];
    let mut statuses = BTreeSet::new();
    for door in ["/stream/events", "/stream/system-status"] {
        let documented = document["paths"][door]["get"]["responses"].as_object().unwrap();
        for role in [None, Some("viewer"), Some("admin")] {
            for query in queries {
                let mut request = server.client().get(server.http(&format!("{door}{query}")));
                if let Some(name) = role {
                    request = request.basic_auth(name, Some(PASSWORD));
                }
                let status = request.send().await.unwrap().status().as_u16();
                assert!(documented.contains_key(&status.to_string()), "{role:?} {door}{query}: {status}");
                assert!(status < 500, "{role:?} {door}{query}: {status}");
                statuses.insert(status);
            }
        }
    }
    assert!([200, 400, 401].iter().all(|status| statuses.contains(status)), "{statuses:?}");
}
