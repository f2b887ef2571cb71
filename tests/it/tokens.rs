//! Tokens at the doors of the real binary: those of an issuer, and our own.

use serde_json::{Value, json};

use crate::support::{issuer::Issuer, server::Server};

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
    let (deadline, second) =
        (std::time::Instant::now() + std::time::Duration::from_secs(120), issuer.token("berta", 600, view()));
    while status(&server, "/api/v1/paths/demo", &second).await != 200 {
        assert!(std::time::Instant::now() < deadline, "the new key was never fetched");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(issuer.asked() - before <= 3, "{} fetches", issuer.asked() - before);
    // A start without the issuer: the keys were kept.
    issuer.set_status(503);
    let server = server.restart(config(&issuer)).await;
    assert_eq!(status(&server, "/api/v1/paths/demo", &second).await, 200);
    assert_eq!(status(&server, "/api/v1/paths/demo", &first).await, 401, "its key was withdrawn");
    assert!(!server.log().iter().any(|line| line.contains(&second[..40])));
}
