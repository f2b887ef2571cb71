//! Tokens at the doors of the real binary: those of an issuer, and our own.

use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    issuer::Issuer,
    process::PATIENCE,
    server::{Server, campanile},
};

async fn status(server: &Server, path: &str, token: &str) -> u16 {
    server.client().get(server.http(path)).bearer_auth(token).send().await.unwrap().status().as_u16()
}

fn config(issuer: &Issuer) -> Value {
    json!({ "auth": { "jwt": issuer.config() }, "paths": { "demo": { "source": "demo" } } })
}

#[tokio::test]
async fn tokens_of_an_issuer_open_what_they_say_through_its_rotations_and_outages() {
    let mut issuer = Issuer::start().await;
    let server = Server::start(config(&issuer)).await;
    let view = || json!([{ "action": "view", "path": "demo" }]);
    let (first, nobody) = (issuer.token("berta", 600, view()), issuer.token("clara", 600, json!([])));
    assert_eq!(status(&server, "/api/v1/paths/demo", &first).await, 200);
    assert_eq!(status(&server, "/demo/index.m3u8", &first).await, 200);
    assert_eq!(status(&server, "/api/v1/statistics", &first).await, 403);
    assert_eq!(status(&server, "/api/v1/paths/demo", &nobody).await, 404);
    let as_password = server.client().get(server.http("/api/v1/paths/demo")).basic_auth("x", Some(&first));
    assert_eq!(as_password.send().await.unwrap().status(), 200);
    assert_eq!(status(&server, "/api/v1/paths/demo", &issuer.token("admin", 600, view())).await, 401, "a user here");
    assert_eq!(status(&server, "/api/v1/paths/demo", &issuer.token("berta", -60, view())).await, 401);
    let who: Value = {
        let asked = server.client().get(server.http("/api/v1/auth/whoami")).bearer_auth(&first);
        asked.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!((&who["user"], &who["permissions"][0]["path"]), (&json!("berta"), &json!("demo")));
    // Many forged tokens that name a new key bring no storm.
    let before = issuer.asked();
    let mut forger = Issuer::start().await;
    (0..3).for_each(|_| forger.rotate());
    for _ in 0..20 {
        assert_eq!(status(&server, "/api/v1/paths/demo", &forger.token("berta", 600, view())).await, 401);
    }
    issuer.rotate();
    let (deadline, second) = (Instant::now() + PATIENCE * 4, issuer.token("berta", 600, view()));
    while status(&server, "/api/v1/paths/demo", &second).await != 200 {
        assert!(Instant::now() < deadline, "the new key was never fetched");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(issuer.asked() - before <= 3, "{} fetches", issuer.asked() - before);
    // A start without the issuer: the keys were kept.
    issuer.set_status(503);
    let server = server.restart(config(&issuer)).await;
    assert_eq!(status(&server, "/api/v1/paths/demo", &second).await, 200);
    assert_eq!(status(&server, "/api/v1/paths/demo", &first).await, 401, "its key was withdrawn");
    assert!(!server.log().iter().any(|line| line.contains(&second[..40])));
}

/// `campanile …` in the folder of a server; what it printed.
#[track_caller]
fn said(server: &Server, arguments: &[&str], input: &str) -> String {
    let mut command = campanile(server.folder());
    command.args(arguments).arg("--config").arg(server.folder().join("campanile.yaml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn until_status(server: &Server, path: &str, token: &str, wanted: u16) {
    let deadline = Instant::now() + PATIENCE;
    while status(server, path, token).await != wanted {
        assert!(Instant::now() < deadline, "{path} is not answered with {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn tokens_of_programs_are_made_shown_and_withdrawn_from_the_command_line() {
    let closed = json!({ "auth": {}, "paths": { "demo": { "source": "demo" }, "other": { "source": "demo" } } });
    let mut server = Server::start(closed.clone()).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    said(&server, &["user", "add", "anna", "--allow", "view"], "correct horse\n");
    let made =
        said(&server, &["token", "create", "tile", "--user", "anna", "--allow", "view=demo", "--lasts", "90d"], "");
    let token = made.trim().to_owned();
    until_status(&server, "/api/v1/paths/demo", &token, 200).await;
    assert_eq!(status(&server, "/api/v1/paths/other", &token).await, 404);
    // ffprobe answers the challenge of Digest with it.
    let url = server.rtsp("demo").replace("rtsp://", &format!("rtsp://anna:{token}@"));
    let probed = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name", "-of", "compact", &url])
        .stdin(Stdio::null())
        .output();
    let probed = tokio::time::timeout(PATIENCE, probed).await.expect("it should end").unwrap();
    assert!(String::from_utf8_lossy(&probed.stdout).contains("codec_name=h264"), "{probed:?}");
    // When it was used is written down when the server ends, at the latest.
    let server = server.restart(closed).await;
    assert_eq!(status(&server, "/api/v1/paths/demo", &token).await, 200);
    let list = said(&server, &["token", "list"], "");
    assert!(
        list.contains(" tile (anna, until 20") && list.contains("last used 20") && list.ends_with(": view=demo\n"),
        "{list}"
    );
    assert!(!list.contains(&token));
    let inspected = said(&server, &["token", "inspect"], &token);
    assert!(inspected.contains("which holds") && inspected.contains(": view=demo"), "{inspected}");
    assert!(!inspected.contains(&token));
    said(&server, &["token", "revoke", list.split(' ').next().unwrap()], "");
    until_status(&server, "/api/v1/paths/demo", &token, 401).await;
    let secret = token.rsplit('_').next().unwrap();
    assert!(!server.log().iter().any(|line| line.contains(secret)));
    for entry in std::fs::read_dir(server.folder().join("state")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn whoever_gets_a_name_that_somebody_had_gets_none_of_their_tokens() {
    let closed = json!({ "auth": {}, "paths": { "demo": { "source": "demo" } } });
    let mut server = Server::start(closed).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    said(&server, &["user", "add", "anna", "--allow", "view"], "correct horse\n");
    let token = said(&server, &["token", "create", "tile", "--user", "anna"], "").trim().to_owned();
    until_status(&server, "/api/v1/paths/demo", &token, 200).await;
    said(&server, &["user", "remove", "anna"], "");
    until_status(&server, "/api/v1/paths/demo", &token, 401).await;
    assert_eq!(said(&server, &["token", "list"], ""), "");
    said(&server, &["user", "add", "anna", "--admin"], "battery staple\n");
    let login = json!({ "name": "anna", "password": "battery staple" });
    let deadline = Instant::now() + PATIENCE;
    while server.client().post(server.http("/api/v1/auth/login")).json(&login).send().await.unwrap().status() != 200 {
        assert!(Instant::now() < deadline, "the new anna is known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status(&server, "/api/v1/paths/demo", &token).await, 401);
}

#[tokio::test]
async fn keys_rotate_while_the_server_runs_and_nobody_is_logged_out() {
    let closed = |algorithm: &str| json!({ "auth": { "tokens": { "algorithm": algorithm } }, "paths": { "demo": { "source": "demo" } } });
    let mut server = Server::start(closed("HS256")).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    said(&server, &["user", "add", "anna", "--allow", "view"], "correct horse\n");
    async fn log_in(server: &Server) -> String {
        let login = json!({ "name": "anna", "password": "correct horse" });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = server.client().post(server.http("/api/v1/auth/login")).json(&login).send().await.unwrap();
            if asked.status() == 200 {
                let said: Value = asked.json().await.unwrap();
                return said["access_token"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "she cannot log in");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let kid = |token: &str| said(&server, &["token", "inspect", token], "");
    let first = log_in(&server).await;
    let of_first = kid(&first);
    assert!(
        of_first.contains("of this server") && of_first.contains("\"alg\": \"HS256\"") && of_first.contains("anna")
    );
    assert!(!of_first.contains(first.rsplit('.').next().unwrap()), "the signature is not shown");
    said(&server, &["token", "rotate"], "");
    let key = |text: &str| text.split("by key ").nth(1).unwrap()[..16].to_owned();
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        let second = log_in(&server).await;
        if key(&kid(&second)) != key(&of_first) {
            break second;
        }
        assert!(Instant::now() < deadline, "the new key never signs");
    };
    for token in [&first, &second] {
        assert_eq!(status(&server, "/api/v1/paths/demo", token).await, 200);
    }
    let server = server.restart(closed("EdDSA")).await;
    let third = log_in(&server).await;
    assert!(said(&server, &["token", "inspect", &third], "").contains("\"alg\": \"EdDSA\""));
    for token in [&first, &second, &third] {
        assert_eq!(status(&server, "/api/v1/paths/demo", token).await, 200, "the algorithm of keys to come changed");
    }
    let forged = format!("{}{}", &third[..third.len() - 4], if third.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    assert!(said(&server, &["token", "inspect", &forged], "").contains("did not sign it"));
    assert_eq!(status(&server, "/api/v1/paths/demo", &forged).await, 401);
}
