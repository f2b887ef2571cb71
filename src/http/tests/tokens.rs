//! Tokens of programs over the API: made, shown, listed, withdrawn, and by whom.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::testing::{ANNA, House, Reply};
use crate::auth::testing::cheap_user;

/// `berta` and `password`.
const BERTA: &str = "Basic YmVydGE6cGFzc3dvcmQ=";

/// Anna watches, Berta is an admin; both ask from elsewhere.
fn house() -> House {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[]);
    let users = vec![
        cheap_user("anna", "password", &[("view", "*"), ("stats", "*")]),
        cheap_user("berta", "password", &[("admin", "*")]),
    ];
    house.rooms.gate.set_users(users, &BTreeMap::new());
    house
}

async fn make(house: &House, body: Value) -> Reply {
    house.tell("POST", "/api/v1/tokens", body).await
}

async fn by(house: &House, method: &str, url: &str, authorization: &str) -> Reply {
    house.ask(method, url, &[("authorization", authorization)]).await
}

#[tokio::test(start_paused = true)]
async fn a_program_shows_its_token_until_it_is_withdrawn() {
    let house = house();
    let permissions = json!([{ "action": "view", "path": "demo" }, { "action": "control" }]);
    let made = make(&house, json!({ "name": "tile", "permissions": permissions })).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let made = made.json();
    let (id, text) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!((&made["user"], &made["last_used"], &made["expires"]), (&json!("anna"), &Value::Null, &Value::Null));
    let bearer = format!("Bearer {text}");
    assert_eq!(by(&house, "GET", "/api/v1/paths/demo", &bearer).await.status, 200);
    assert_eq!(by(&house, "GET", "/api/v1/paths/site/gate", &bearer).await.problem(404), "path_not_found");
    assert_eq!(by(&house, "GET", "/api/v1/statistics", &bearer).await.problem(403), "not_allowed");
    let kick = "/api/v1/sessions/00000000000000000000000000000000";
    assert_eq!(by(&house, "DELETE", kick, &bearer).await.problem(403), "not_allowed", "no more than its user may");
    let basic = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode(format!("whoever:{text}")))
    };
    assert_eq!(by(&house, "GET", "/api/v1/paths/demo", &basic).await.status, 200);
    for (method, url) in [
        ("GET", "/api/v1/tokens".to_owned()),
        ("POST", "/api/v1/auth/refresh".to_owned()),
        ("DELETE", format!("/api/v1/tokens/{id}")),
    ] {
        assert_eq!(by(&house, method, &url, &bearer).await.problem(403), "not_allowed", "{method} {url}");
    }
    let own = house.get("/api/v1/tokens").await.json();
    assert_eq!((own["items"].as_array().unwrap().len(), &own["items"][0]["token"]), (1, &Value::Null));
    assert!(own["items"][0]["last_used"].is_string() && !own.to_string().contains(text), "{own}");
    let url = format!("/api/v1/tokens/{id}");
    assert_eq!(by(&house, "DELETE", &url, ANNA).await.status, 204);
    assert_eq!(by(&house, "GET", "/api/v1/paths/demo", &bearer).await.problem(401), "invalid_credential");
    assert_eq!(by(&house, "DELETE", &url, ANNA).await.problem(404), "token_not_found");
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_their_own_tokens_and_an_admin_all() {
    let house = house();
    let id = make(&house, json!({ "name": "tile" })).await.json()["id"].as_str().unwrap().to_owned();
    let of_berta = [("authorization", BERTA), ("content-type", "application/json")];
    let theirs = house.send("POST", "/api/v1/tokens", &of_berta, Bytes::from_static(br#"{"name":"all"}"#)).await.json();
    let count =
        async |who: &str| by(&house, "GET", "/api/v1/tokens", who).await.json()["items"].as_array().unwrap().len();
    assert_eq!((count(ANNA).await, count(BERTA).await), (1, 2));
    let url = format!("/api/v1/tokens/{}", theirs["id"].as_str().unwrap());
    assert_eq!(by(&house, "DELETE", &url, ANNA).await.problem(404), "token_not_found", "as if there were none");
    assert_eq!(by(&house, "DELETE", &format!("/api/v1/tokens/{id}"), BERTA).await.status, 204);
    assert_eq!((count(ANNA).await, count(BERTA).await), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_token_is_refused_in_words() {
    let mut house = house();
    for (body, code) in [
        (json!({}), "invalid_body"),
        (json!({ "name": "" }), "invalid_token"),
        (json!({ "name": "a", "more": 1 }), "invalid_body"),
        (json!({ "name": "a", "expires": "tomorrow" }), "invalid_body"),
        (json!({ "name": "a", "expires": "2020-01-01T00:00:00Z" }), "invalid_token"),
        (json!({ "name": "a", "permissions": [{ "action": "fly" }] }), "invalid_body"),
    ] {
        assert_eq!(make(&house, body.clone()).await.problem(400), code, "{body}");
    }
    for n in 0..50 {
        assert_eq!(make(&house, json!({ "name": "a" })).await.status, 201, "{n}");
    }
    assert_eq!(make(&house, json!({ "name": "a" })).await.problem(409), "too_many_tokens");
    house.credential = None;
    assert_eq!(make(&house, json!({ "name": "a" })).await.problem(401), "unauthenticated");
    assert_eq!(house.get("/api/v1/tokens").await.problem(401), "unauthenticated");
}
