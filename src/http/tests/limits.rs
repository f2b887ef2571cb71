//! How much one client may ask for, and what it is told beyond that.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use super::super::{
    HttpOptions, RequestLimits,
    testing::{ANNA, House, rooms},
};
use crate::{
    auth::{GatePolicy, testing::cheap_user},
    base::Tasks,
    stats::{EventDoors, FollowerLimits},
};

fn house(limits: FollowerLimits, policy: GatePolicy) -> House {
    let (tasks, state_dir) = (Tasks::new(), tempfile::tempdir().unwrap());
    let mut rooms = rooms(&tasks, policy, state_dir.path());
    rooms.event_doors = Arc::new(EventDoors::new(limits));
    rooms.gate.set_users(vec![cheap_user("anna", "password", &[("alerts", "*"), ("stats", "*")])], &BTreeMap::new());
    House::of(rooms, &HttpOptions::default(), tasks, state_dir)
}

async fn follow(house: &mut House, address: u8, credential: Option<&str>) -> axum::response::Response {
    house.peer = ([10, 0, 0, address], 50_000).into();
    let shown: Vec<_> = credential.into_iter().map(|credential| ("authorization", credential)).collect();
    house.open("GET", "/stream/events", &shown, bytes::Bytes::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_user_follows_so_many_streams_and_is_told_when_to_come_back() {
    let mut house = house(FollowerLimits { per_user: 2, per_address: 9 }, GatePolicy::Closed);
    let first = follow(&mut house, 1, Some(ANNA)).await;
    let _second = follow(&mut house, 2, Some(ANNA)).await;
    let third = follow(&mut house, 3, Some(ANNA)).await;
    assert_eq!((third.status().as_u16(), &third.headers()["retry-after"]), (429, &"5".parse().unwrap()));
    drop(first);
    assert_eq!(follow(&mut house, 3, Some(ANNA)).await.status(), 200);
    let metrics = house.ask("GET", "/metrics", &[("authorization", ANNA)]).await;
    for line in [
        "campanile_event_clients_refused_total{door=\"sse\",reason=\"limit\"} 1",
        "campanile_http_requests_refused_total{reason=\"too_many_connections\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
}

#[tokio::test(start_paused = true)]
async fn while_auth_is_off_nobody_is_a_user_and_addresses_count_all_the_same() {
    let mut house = house(FollowerLimits { per_user: 1, per_address: 3 }, GatePolicy::Off);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(follow(&mut house, 1, Some(ANNA)).await);
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    assert_eq!(follow(&mut house, 1, None).await.status(), 429);
    assert_eq!(follow(&mut house, 2, None).await.status(), 200);
}

fn paced(per_address: u32, per_user: u32) -> House {
    let [per_address, per_user] = [per_address, per_user].map(|most| NonZeroU32::new(most).unwrap());
    let requests = RequestLimits { per_address, per_user };
    let house = House::with(&HttpOptions { requests, ..HttpOptions::default() }, GatePolicy::Closed);
    house
        .rooms
        .gate
        .set_users(vec![cheap_user("anna", "password", &[("view", "*"), ("stats", "*")])], &BTreeMap::new());
    house
}

#[tokio::test(start_paused = true)]
async fn an_address_that_asks_too_fast_waits_and_others_do_not() {
    let mut house = paced(5, 1000);
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for _ in 0..10 {
        assert_eq!(house.get("/api/v1/paths").await.status, 401);
    }
    let reply = house.get("/api/v1/paths").await;
    assert_eq!((reply.problem(429), reply.header("retry-after")), ("too_many_requests".into(), "1"));
    assert_eq!(house.get("/demo/index.m3u8").await.status, 429);
    house.peer = "10.0.0.10:50000".parse().unwrap();
    assert_eq!(house.get("/api/v1/paths").await.status, 401);
    house.peer = "127.0.0.1:50000".parse().unwrap();
    for _ in 0..50 {
        assert_eq!(house.get("/api/v1/paths").await.status, 200, "this machine is not counted");
    }
    let metrics = house.get("/metrics").await;
    let line = "campanile_http_requests_refused_total{reason=\"too_many_requests\"} 2";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    house.peer = "10.0.0.9:50000".parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(house.get("/api/v1/paths").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_asks_too_fast_from_many_addresses_waits() {
    let mut house = paced(1000, 5);
    let mut statuses = Vec::new();
    for last in 0..12 {
        house.peer = ([10, 0, 0, last], 50_000).into();
        statuses.push(house.ask("GET", "/api/v1/paths", &[("authorization", ANNA)]).await.status.as_u16());
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(house.get("/api/v1/paths").await.status, 401, "others are not counted as this user");
}
