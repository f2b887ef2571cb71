//! Clients behind proxies: whose word counts, and that every count and list is of the client.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::super::{
    HttpOptions,
    testing::{ANNA, House},
};
use crate::auth::{GatePolicy, testing::cheap_user};

/// A server that trusts 10.0.0.0/8, with one user.
fn house(peer: &str) -> House {
    let options =
        HttpOptions { proxies: ["10.0.0.0/8".parse().unwrap()].into_iter().collect(), ..HttpOptions::default() };
    let mut house = House::with(&options, GatePolicy::Closed);
    house
        .rooms
        .gate
        .set_users(vec![cheap_user("anna", "password", &[("view", "*"), ("stats", "*")])], &BTreeMap::new());
    house.peer = peer.parse().unwrap();
    house
}

const PROXY: &str = "10.0.0.2:40000";
const STRANGER: &str = "198.51.100.9:40000";

async fn guess(house: &House, forwarded_for: &str) -> u16 {
    let body = json!({ "name": "anna", "password": "wrong" }).to_string();
    let headers = [("content-type", "application/json"), ("x-forwarded-for", forwarded_for)];
    house.send("POST", "/api/v1/auth/login", &headers, Bytes::from(body)).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn guesses_are_counted_by_the_client_and_not_by_its_proxy() {
    let house = house(PROXY);
    for n in 0..11 {
        assert_eq!(guess(&house, "203.0.113.7").await, 401, "{n}");
    }
    assert_eq!(guess(&house, "203.0.113.7").await, 429);
    // What the client writes itself stands further to the left, and changes nothing.
    assert_eq!(guess(&house, "192.0.2.1, 203.0.113.7").await, 429);
    assert_eq!(guess(&house, "203.0.113.8").await, 401, "another client of the same proxy");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_names_others_is_counted_as_itself() {
    let house = house(STRANGER);
    for n in 0..11 {
        assert_eq!(guess(&house, &format!("203.0.113.{n}")).await, 401, "{n}");
    }
    assert_eq!(guess(&house, "203.0.113.200").await, 429);
}

#[tokio::test(start_paused = true)]
async fn nobody_becomes_this_machine_by_a_header() {
    for peer in [PROXY, STRANGER, "127.0.0.1:40000"] {
        let house = house(peer);
        for named in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "::1")] {
            let reply = house.ask("GET", "/api/v1/paths", &[named]).await;
            assert_eq!(reply.problem(401), "unauthenticated", "{peer} {named:?}");
        }
    }
    assert_eq!(house("127.0.0.1:40000").get("/api/v1/paths").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_with_the_client() {
    let house = house(PROXY);
    let headers = [("authorization", ANNA), ("x-forwarded-for", "203.0.113.7")];
    assert_eq!(house.ask("GET", "/demo/index.m3u8", &headers).await.status, 200);
    house.play().await;
    assert_eq!(house.ask("GET", "/demo/hls/main.m3u8", &headers).await.status, 200);
    let sessions = house.ask("GET", "/api/v1/sessions", &headers).await.json();
    assert_eq!(sessions["items"][0]["peer"], "203.0.113.7", "{sessions}");
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_secure_where_the_browser_speaks_tls_to_the_proxy() {
    let body = json!({ "name": "anna", "password": "password" }).to_string();
    for (peer, proto, secure) in [(PROXY, "https", true), (PROXY, "http", false), (STRANGER, "https", false)] {
        let house = house(peer);
        let headers = [("content-type", "application/json"), ("x-forwarded-proto", proto)];
        let reply = house.send("POST", "/api/v1/auth/login", &headers, Bytes::from(body.clone())).await;
        assert_eq!(reply.header("set-cookie").ends_with("; Secure"), secure, "{peer} {proto}: {reply:?}");
    }
}
