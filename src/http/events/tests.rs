//! The doors of events as clients see them: what goes in comes out, once and in order, by whichever door.

use std::{collections::BTreeMap, io::Write, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::EventDoorOptions;
use crate::{
    auth::{GatePolicy, testing::cheap_user},
    events::{EventType, testing::draft},
    http::{
        HttpOptions,
        testing::{House, Reply},
    },
    stats::{EventDoor, Refusal},
};

const PATIENCE: Duration = Duration::from_secs(120);
const JSON: (&str, &str) = ("content-type", "application/json");

fn with(events: EventDoorOptions) -> House {
    House::with(&HttpOptions { events, ..HttpOptions::default() }, GatePolicy::Local)
}

async fn post(house: &House, headers: &[(&str, &str)], event: &Value) -> Reply {
    house.send("POST", "/api/v1/events", headers, event.to_string().into()).await
}

/// Says that something happened; its id.
async fn say(house: &House, kind: &str) -> String {
    let reply = post(house, &[JSON], &json!({"type": kind, "path": "demo"})).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

pub(in crate::http) fn ids(list: &Value) -> Vec<String> {
    list["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// A client of server-sent events, as far as the standard asks of one.
pub(in crate::http) struct Stream {
    body: Body,
    text: String,
    pub(in crate::http) last_id: Option<String>,
    pub(in crate::http) retry: Option<u64>,
}

#[derive(Debug)]
pub(in crate::http) struct Record {
    pub(in crate::http) name: String,
    pub(in crate::http) data: Value,
    id: Option<String>,
}

impl Stream {
    async fn open(house: &House, url: &str, headers: &[(&str, &str)]) -> Self {
        let response = house.open("GET", url, headers, Bytes::new()).await;
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        Self::of(response.into_body())
    }

    pub(in crate::http) const fn of(body: Body) -> Self {
        Self { body, text: String::new(), last_id: None, retry: None }
    }

    /// The next event; nothing at the end of the stream.
    pub(in crate::http) async fn next(&mut self) -> Option<Record> {
        loop {
            while let Some((record, rest)) = self.text.split_once("\n\n") {
                let (mut name, mut data, mut id) = (String::new(), String::new(), None);
                for line in record.lines() {
                    match line.split_once(": ") {
                        Some(("id", value)) => id = Some(value.to_owned()),
                        Some(("event", value)) => name = value.to_owned(),
                        Some(("data", value)) => data.push_str(value),
                        Some(("retry", value)) => self.retry = Some(value.parse().unwrap()),
                        _ => assert!(line.starts_with(':'), "{line:?}"),
                    }
                }
                self.text = rest.to_owned();
                self.last_id = id.clone().or_else(|| self.last_id.take());
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Record { name, data, id });
                }
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("something should come")?;
            self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_answered_after_the_commit_and_listed() {
    let house = House::new();
    let first = say(&house, "motion").await;
    let reply = post(&house, &[], &json!({"type": "Doorbell_Pressed", "path": "front", "data": {"by": "anna"}})).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["durable"]), (201, &true.into()));
    let list = house.get("/api/v1/events").await.json();
    assert_eq!(ids(&list), [first.as_str(), reply.json()["id"].as_str().unwrap()]);
    assert_eq!(list["cursor"], reply.json()["id"]);
    let event = &list["events"][1];
    assert_eq!((&event["type"], &event["path"]), (&"camera_event".into(), &"front".into()));
    assert_eq!(event["data"], json!({"kind": "doorbell_pressed", "by": "anna"}));
    let chosen = house.get("/api/v1/events?types=MOTION&limit=5").await.json();
    assert_eq!(ids(&chosen), [first]);
    let again = house.get("/api/v1/events").await;
    let unchanged = house.ask("GET", "/api/v1/events", &[("if-none-match", again.header("etag"))]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    say(&house, "motion").await;
    assert_eq!(house.ask("GET", "/api/v1/events", &[("if-none-match", again.header("etag"))]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_sent_again_is_taken_once() {
    let house = House::new();
    let event =
        json!({"specversion": "1.0", "type": "com.example.motion", "source": "/x", "id": "1", "subject": "demo"});
    let cloud = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let (first, second) = tokio::join!(post(&house, &cloud, &event), post(&house, &cloud, &event));
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 200));
    let keyed = [JSON, ("idempotency-key", "7")];
    let third = post(&house, &keyed, &json!({"type": "motion"})).await;
    assert_eq!(post(&house, &keyed, &json!({"type": "motion"})).await.json(), third.json());
    assert_eq!(ids(&house.get("/api/v1/events").await.json()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_or_too_much_is_refused_and_counted() {
    let mut house = with(EventDoorOptions { max_posts_per_second: 4, ..EventDoorOptions::default() });
    let table = [
        (JSON, "{}".to_owned(), 400, "invalid_event"),
        (JSON, r#"{"type":"alert"}"#.to_owned(), 422, "unsupported_event"),
        (("content-type", "text/plain"), "x".to_owned(), 415, "unsupported_media_type"),
        (JSON, format!(r#"{{"type":"x","data":{{"a":"{}"}}}}"#, "x".repeat(70_000)), 413, "body_too_large"),
        (("idempotency-key", ""), r#"{"type":"x"}"#.to_owned(), 400, "invalid_key"),
    ];
    for (header, body, status, code) in table {
        let reply = house.send("POST", "/api/v1/events", &[header], body.into()).await;
        assert_eq!(reply.problem(status), code);
    }
    let flood = [(); 20].map(|()| json!({"type": "x"}));
    let mut statuses = Vec::new();
    for event in &flood {
        statuses.push(post(&house, &[JSON], event).await);
    }
    let refused = statuses.iter().find(|reply| reply.status == 429).expect("8 at once are allowed");
    assert_eq!((refused.problem(429).as_str(), refused.header("retry-after")), ("too_many_events", "1"));
    let figures = house.rooms.event_doors.figures(EventDoor::Ingest);
    assert!(figures.refused[Refusal::Protocol as usize].1 == 5 && figures.refused[Refusal::Flood as usize].1 > 5);
    house.peer = "10.0.0.9:50000".parse().unwrap();
    assert_eq!(post(&house, &[JSON], &json!({"type": "x"})).await.problem(401), "unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_follow_and_say_nothing() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("alerts", "*"), ("sensors", "*"), ("stats", "*")]);
    assert_eq!(house.get("/api/v1/events").await.status, 200);
    assert_eq!(post(&house, &[JSON], &json!({"type": "x"})).await.problem(403), "not_allowed");
    let audit = draft(EventType::Audit, "changed");
    house.rooms.events.append(audit).await.unwrap();
    assert!(ids(&house.get("/api/v1/events").await.json()).is_empty(), "the audit is for administrators");
    (house.peer, house.credential) = ("127.0.0.1:50000".parse().unwrap(), None);
    assert_eq!(ids(&house.get("/api/v1/events").await.json()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_door_that_is_switched_off_is_not_there() {
    let closed =
        EventDoorOptions { server_sent: false, long_poll: false, ingest: false, ..EventDoorOptions::default() };
    let house = with(closed);
    for url in
        ["/api/v1/events", "/stream/events", "/stream/system-status", "/ws/events", "/ws/alerts", "/ws/statistics"]
    {
        assert_eq!(house.get(url).await.problem(404), "door_switched_off", "{url}");
    }
    assert_eq!(post(&house, &[JSON], &json!({"type": "x"})).await.problem(404), "door_switched_off");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_what_comes_and_ends_with_a_place_to_go_on() {
    let house = House::new();
    let first = say(&house, "motion").await;
    let started = Instant::now();
    let nothing = house.get(&format!("/api/v1/events?after={first}&wait=30")).await;
    assert_eq!((nothing.status.as_u16(), nothing.header("campanile-cursor")), (204, first.as_str()));
    assert!((29..32).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let url = format!("/api/v1/events?after={first}&wait=60&types=online");
    let waiting = house.get(&url);
    let happens = async {
        say(&house, "motion").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        say(&house, "online").await
    };
    let (reply, online) = tokio::join!(waiting, happens);
    assert_eq!((ids(&reply.json()), &reply.json()["cursor"]), (vec![online.clone()], &online.into()));
    let mut seen = vec![first];
    loop {
        let list = house.get(&format!("/api/v1/events?after={}&limit=1", seen.last().unwrap())).await;
        if list.status == 204 {
            break;
        }
        seen.extend(ids(&list.json()));
    }
    assert_eq!(seen, ids(&house.get("/api/v1/events").await.json()), "a small limit loses nothing");
}

#[tokio::test(start_paused = true)]
async fn a_place_of_another_log_is_a_gap_on_every_door() {
    let house = House::new();
    let mut last = say(&house, "motion").await;
    let list = house.get("/api/v1/events?after=00000000-1").await.json();
    assert_eq!((&list["gap"], &list["cursor"]), (&json!({"lost": null}), &last.as_str().into()));
    for headers in [("last-event-id", "00000000-1"), ("last-event-id", "what?")] {
        let mut stream = Stream::open(&house, "/stream/events?types=motion", &[headers]).await;
        let gap = stream.next().await.unwrap();
        assert_eq!((gap.name.as_str(), &gap.data["resumed_at"], gap.id), ("gap", &last.as_str().into(), None));
        last = say(&house, "motion").await;
        assert_eq!(stream.next().await.unwrap().id.as_ref(), Some(&last));
    }
    assert_eq!(house.get("/api/v1/events?after=nonsense").await.problem(400), "invalid_query");
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_padding_and_tells_facts_with_ids_and_values_without() {
    let house = House::new();
    let mut stream = Stream::open(&house, "/stream/events", &[]).await;
    let first = stream.body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.len() >= 2048 && first.starts_with(b":"), "proxies that hold back have enough");
    let motion = say(&house, "motion").await;
    let record = stream.next().await.unwrap();
    assert_eq!((record.name.as_str(), record.id.as_deref()), ("camera_event", Some(motion.as_str())));
    assert_eq!(record.data["id"], motion.as_str());
    assert!((500..5000).contains(&stream.retry.unwrap()));
    house.rooms.events.set(draft(EventType::SystemStatus, "running")).unwrap();
    let value = stream.next().await.unwrap();
    assert_eq!((value.name.as_str(), value.id, value.data.get("id")), ("system_status", None, None));
    let mut status = Stream::open(&house, "/stream/system-status", &[]).await;
    assert_eq!(status.next().await.unwrap().name, "system_status");
    say(&house, "motion").await;
    assert_eq!(status.next().await.unwrap().name, "heartbeat", "it hears of nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_that_it_is_alive_and_where_it_is() {
    let house = House::new();
    let mut stream = Stream::open(&house, "/stream/events?types=alert", &[]).await;
    let started = Instant::now();
    let beat = stream.next().await.unwrap();
    assert_eq!((beat.name.as_str(), beat.id), ("heartbeat", None));
    assert!((29..32).contains(&started.elapsed().as_secs()));
    let passed_over = say(&house, "motion").await;
    assert_eq!(stream.next().await.unwrap().name, "heartbeat");
    assert_eq!(stream.last_id, Some(passed_over), "what was passed over counts");
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_a_time_to_come_back_and_waiting_requests_with_their_place() {
    let house = House::new();
    let last = say(&house, "motion").await;
    let mut stream = Stream::open(&house, "/stream/events", &[]).await;
    let url = format!("/api/v1/events?after={last}&wait=60");
    let waiting = house.get(&url);
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.surface.front().ending.cancel();
    };
    let (reply, ()) = tokio::join!(waiting, ends);
    assert_eq!((reply.status.as_u16(), reply.header("campanile-cursor")), (204, last.as_str()));
    assert!(!reply.header("retry-after").is_empty());
    stream.retry = None;
    assert!(stream.next().await.is_none());
    assert!(stream.retry.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_request_ends_with_the_right_to_wait_and_goes_on_with_what_is_left() {
    let all = &[("alerts", "*"), ("publish", "*")][..];
    let mut house = House::new();
    house.log_in_from_elsewhere(all);
    let set = |permissions: &[(&str, &str)]| {
        house.rooms.gate.set_users(vec![cheap_user("anna", "password", permissions)], &BTreeMap::new());
    };
    let last = say(&house, "motion").await;
    let url = format!("/api/v1/events?after={last}&wait=20");
    #[derive(Clone, Copy)]
    enum Ends {
        User,
        Token,
        Right,
    }
    for (what, status, code) in [
        (Ends::User, 401, "invalid_credential"),
        (Ends::Token, 401, "invalid_credential"),
        (Ends::Right, 403, "not_allowed"),
    ] {
        set(all);
        let login = house.tell("POST", "/api/v1/auth/login", json!({ "name": "anna", "password": "password" })).await;
        let bearer = format!("Bearer {}", login.json()["access_token"].as_str().unwrap());
        let own = [("authorization", bearer.as_str())];
        let ends = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            match what {
                Ends::User => drop(house.rooms.gate.set_users(Vec::new(), &BTreeMap::new())),
                Ends::Token => {
                    let out = house.send("POST", "/api/v1/auth/logout", &own, Bytes::new()).await;
                    assert_eq!(out.status, 204, "{out:?}");
                }
                Ends::Right => set(&[("view", "*")]),
            }
        };
        let started = Instant::now();
        let (reply, ()) = tokio::join!(house.ask("GET", &url, &own), ends);
        assert_eq!(reply.problem(status), code);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    // Fewer paths: it goes on with those.
    set(all);
    let narrows = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        set(&[("alerts", "demo"), ("publish", "*")]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let elsewhere = json!({"type": "motion", "path": "site/gate"});
        assert_eq!(post(&house, &[JSON], &elsewhere).await.status, 201);
        say(&house, "online").await
    };
    let (reply, online) = tokio::join!(house.get(&url), narrows);
    assert_eq!((reply.status.as_u16(), ids(&reply.json())), (200, vec![online]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_says_whether_the_token_ended_or_the_right() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("alerts", "*")]);
    let login = house.tell("POST", "/api/v1/auth/login", json!({ "name": "anna", "password": "password" })).await;
    let bearer = format!("Bearer {}", login.json()["access_token"].as_str().unwrap());
    let own = [("authorization", bearer.as_str())];
    let mut by_token = Stream::open(&house, "/stream/events", &own).await;
    let mut by_password = Stream::open(&house, "/stream/events", &[]).await;
    assert_eq!(house.send("POST", "/api/v1/auth/logout", &own, Bytes::new()).await.status, 204);
    let said = by_token.next().await.unwrap();
    assert_eq!((said.name.as_str(), &said.data["code"]), ("error", &json!("unauthenticated")));
    assert_eq!(said.data["message"], "the token or the login ended");
    assert!(by_token.next().await.is_none());
    let only_view = vec![cheap_user("anna", "password", &[("view", "*")])];
    house.rooms.gate.set_users(only_view, &BTreeMap::new());
    let said = by_password.next().await.unwrap();
    assert_eq!((said.name.as_str(), &said.data["code"]), ("error", &json!("permission_denied")));
    assert!(by_password.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_compressed_for_those_who_take_it_record_by_record() {
    let house = House::new();
    let response = house.open("GET", "/stream/events", &[("accept-encoding", "gzip, br")], Bytes::new()).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let (mut body, mut reader) = (response.into_body(), flate2::write::GzDecoder::new(Vec::new()));
    say(&house, "motion").await;
    while !String::from_utf8_lossy(reader.get_ref()).contains("camera_event") {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        reader.write_all(&frame.into_data().unwrap()).unwrap();
        reader.flush().unwrap();
    }
    house.surface.front().ending.cancel();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        reader.write_all(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    assert!(String::from_utf8(reader.finish().unwrap()).unwrap().contains("retry: "), "it ends whole");
}

#[tokio::test(start_paused = true)]
async fn followers_have_a_bound_and_leave_room_when_they_go() {
    let house = with(EventDoorOptions { max_followers: 2, ..EventDoorOptions::default() });
    let one = Stream::open(&house, "/stream/events", &[]).await;
    let _two = Stream::open(&house, "/stream/system-status", &[]).await;
    assert_eq!(house.get("/stream/events").await.problem(503), "too_many_followers");
    assert_eq!(house.get("/api/v1/events").await.status, 200, "each door by itself");
    drop(one);
    drop(Stream::open(&house, "/stream/events", &[]).await);
    let figures = house.rooms.event_doors.figures(EventDoor::ServerSent);
    assert_eq!((figures.open, figures.opened, figures.refused[Refusal::Limit as usize].1), (1, 3, 1));
}
