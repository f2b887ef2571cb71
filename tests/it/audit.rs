//! What administrators hear of logins, of those who are refused and of changed rights, and nobody else does; what a rule makes
//! of it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    followers::{Socket, Stream},
    issuer::Issuer,
    process::PATIENCE,
    receiver::Receiver,
    server::{Server, campanile},
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

/// `campanile …` beside the server or without it; what it printed.
fn command_line(folder: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = campanile(folder);
    command.args(arguments).arg("--config").arg(folder.join("campanile.yaml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What was done to users, groups, tokens and keys, as the log has it: action and target, and who did it.
async fn changes(server: &Server, admin: &str) -> (Vec<String>, String) {
    let url = server.http("/api/v1/events?limit=1000&types=audit");
    let text = server.client().get(url).bearer_auth(admin).send().await.unwrap().text().await.unwrap();
    let facts: Value = serde_json::from_str(&text).unwrap();
    let word = |fact: &Value, key: &str| fact["data"][key].as_str().unwrap().to_owned();
    let said = facts["events"].as_array().unwrap().iter().map(|fact| {
        let by = word(fact, "by");
        format!("{} {} by {}", word(fact, "action"), word(fact, "target"), by.split(" (").next().unwrap())
    });
    let of_rights = |said: &String| ["user.", "group.", "token.", "key."].iter().any(|sort| said.starts_with(sort));
    (said.filter(of_rights).collect(), text)
}

#[tokio::test]
async fn what_the_command_line_and_an_editor_change_is_in_the_audit_once_whether_the_server_runs_or_not() {
    let issuer = Issuer::start().await;
    let admin = issuer.token("boss", 600, json!([{ "action": "admin" }]));
    let server = Server::start(json!({ "auth": { "jwt": issuer.config() } })).await;
    let folder = server.folder().to_owned();
    let until = async |server: &Server, expected: &[String]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (said, text) = changes(server, &admin).await;
            if said == expected {
                return text;
            }
            assert!(Instant::now() < deadline && said.len() <= expected.len(), "{said:#?}\nnot {expected:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let by_hand = |words: &str| format!("{words} by command line");

    command_line(&folder, &["user", "add", "anna", "--allow", "view"], "correct horse\n");
    let mut expected = vec![by_hand("user.added anna")];
    let text = until(&server, &expected).await;
    assert!(text.contains("command line ("), "the system tells whose process it was: {text}");
    command_line(&folder, &["user", "passwd", "anna"], "battery staple\n");
    let token = command_line(&folder, &["token", "create", "door bell", "--user", "anna"], "");
    let id = token.strip_prefix("cmp_").unwrap().split('_').next().unwrap();
    command_line(&folder, &["token", "rotate"], "");
    expected.extend([by_hand("user.password anna"), by_hand(&format!("token.added {id}"))]);
    let deadline = Instant::now() + PATIENCE;
    let key = loop {
        let (said, _) = changes(&server, &admin).await;
        if let Some(key) = said.iter().find(|said| said.starts_with("key.added")) {
            break key.clone();
        }
        assert!(Instant::now() < deadline, "{said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    expected.push(key);
    let text = until(&server, &expected).await;
    assert!(text.contains(r#""note":"door bell, of anna""#), "{text}");

    // What is done while the server is off, and in the file before it starts.
    let mut server = server;
    server.terminate().await;
    let folder = server.into_folder();
    command_line(folder.path(), &["token", "revoke", id], "");
    command_line(folder.path(), &["user", "remove", "anna"], "");
    let made = command_line(folder.path(), &["user", "add", "berta", "--generate"], "");
    let hash = command_line(folder.path(), &["user", "hash"], "hunter2hunter2\n");
    expected.extend(
        [format!("token.removed {id}"), "user.removed anna".into(), "user.added berta".into()].map(|one| by_hand(&one)),
    );
    let of_file = |groups: Value| {
        let users = json!([{ "name": "clara", "password": hash, "groups": ["family"] }]);
        json!({ "auth": { "jwt": issuer.config(), "users": users, "groups": groups } })
    };
    let config = of_file(json!({ "family": [{ "action": "view" }] }));
    let server = Server::start_in(folder, config.clone(), &[]).await;
    let by_editor = |words: &str| format!("{words} by configuration file");
    expected.extend([by_editor("group.added family"), by_editor("user.added clara")]);
    until(&server, &expected).await;

    // A start with the same file tells nothing; one with another group, and without the user, does.
    let server = server.restart(config).await;
    command_line(server.folder(), &["user", "remove", "berta"], "");
    expected.push(by_hand("user.removed berta"));
    until(&server, &expected).await;
    let groups = json!({ "family": [{ "action": "admin" }] });
    let server = server.restart(json!({ "auth": { "jwt": issuer.config(), "groups": groups } })).await;
    expected.extend([by_editor("user.removed clara"), by_editor("group.permissions family")]);
    let mut text = until(&server, &expected).await;
    text.push_str(&server.log().join("\n"));
    let state = server.folder().join("state");
    for file in fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        text.push_str(&String::from_utf8_lossy(&fs::read(file).unwrap()));
    }
    for secret in ["correct horse", "battery staple", "hunter2hunter2", made.as_str(), token.as_str()] {
        assert!(!text.contains(secret), "{secret}");
    }
    let (_, told) = changes(&server, &admin).await;
    assert!(!told.contains("argon2"), "{told}");
}
