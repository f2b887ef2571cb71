//! Tests of the WebSocket door on real sockets: the handshake, what follows it, and what ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    auth::{
        Credential, Decide, Gate, GatePolicy, Identity, OutsideDesk, OutsideOptions, Purpose, Question,
        testing::{cheap_user, permissions},
    },
    base::{Clock, Error, Kind, Tasks},
    config::AllowedOrigins,
    events::{
        EventType, Events,
        testing::{Desk, draft},
        ws::{
            self, Acknowledge, Commands, TriggerDoorbell, WebSocketOptions, WebSockets,
            testing::{Client, masked},
        },
    },
    http::{
        HttpOptions, HttpServer, serve,
        testing::{ANNA, rooms},
    },
    stats::{EventDoors, FollowerLimits},
};

struct Server {
    http: HttpServer,
    address: SocketAddr,
    desk: Desk,
    tasks: Tasks,
    gate: Gate,
    noted: Arc<Noted>,
    _state_dir: TempDir,
}

/// Takes note of alerts, for the tests.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<(String, String)>>);

impl Acknowledge for Noted {
    fn acknowledge(&self, by: &str, ack: ws::messages::Ack) -> BoxFuture<'_, crate::base::Result<()>> {
        self.0.lock().unwrap().push((by.to_owned(), ack.fingerprint));
        async { Ok(()) }.boxed()
    }
}

type Guest = Client<TcpStream>;

const LIMITS: FollowerLimits = FollowerLimits { per_user: 2000, per_address: 2000 };

impl Server {
    async fn start() -> Self {
        Self::with(&HttpOptions::default(), GatePolicy::Local, LIMITS).await
    }

    async fn with(options: &HttpOptions, policy: GatePolicy, limits: FollowerLimits) -> Self {
        let (desk, tasks) = (Desk::new().await, Tasks::new());
        let state_dir = tempfile::tempdir().unwrap();
        let mut rooms = rooms(&tasks, policy, state_dir.path());
        rooms.event_doors = Arc::new(EventDoors::new(limits));
        let reads = [("view", "*"), ("alerts", "*"), ("sensors", "*"), ("stats", "*")];
        let gate = rooms.gate.clone();
        gate.set_users(
            vec![cheap_user("anna", "password", &reads), cheap_user("berta", "password", &reads)],
            &BTreeMap::new(),
        );
        let noted = Arc::<Noted>::default();
        let bell = TriggerDoorbell::new(desk.events.clone(), Some("demo".parse().unwrap()), Clock);
        rooms.websockets = Some(WebSockets::start(
            WebSocketOptions { most: 2000, deflate: true },
            desk.events.clone(),
            Commands::default().with("trigger_doorbell", bell),
            Some(noted.clone()),
            rooms.event_doors.clone(),
            Clock,
            &tasks,
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = serve(options, vec![listener], None, rooms, &tasks);
        http.set_ready();
        Self { http, address, desk, tasks, gate, noted, _state_dir: state_dir }
    }

    fn events(&self) -> &Events {
        &self.desk.events
    }

    /// The head of the answer, and the client.
    async fn knock(&self, target: &str, headers: &str) -> (String, Guest) {
        Client::open(TcpStream::connect(self.address).await.unwrap(), target, headers).await
    }

    /// A client that has been greeted.
    async fn client(&self, target: &str) -> Guest {
        self.client_with(target, "").await
    }

    async fn client_with(&self, target: &str, headers: &str) -> Guest {
        let (head, mut client) = self.knock(target, headers).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(client.message().await["type"], "connected");
        assert_eq!(client.message().await["type"], "connection_status");
        client
    }

    /// A fact whose kind is its number.
    async fn happen(&self, number: usize) -> String {
        let fact = draft(EventType::CameraEvent, &format!("event{number}"));
        self.events().append(fact).await.unwrap().cursor.to_string()
    }

    async fn status(&self) -> Value {
        reqwest::get(format!("http://{}/api/v1/ws/status", self.address)).await.unwrap().json().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
        self.desk.tasks.stop();
    }
}

/// The number of a fact.
fn number(event: &Value) -> usize {
    event["data"]["kind"].as_str().unwrap().strip_prefix("event").unwrap().parse().unwrap()
}

#[tokio::test]
async fn ws_01_a_foreign_page_is_refused_before_the_upgrade() {
    for (origins, origin, status) in [
        (AllowedOrigins::None, "http://evil.example", "403"),
        (AllowedOrigins::None, "null", "403"),
        (AllowedOrigins::Any, "http://evil.example", "403"),
        (AllowedOrigins::List(vec!["http://good.example".into()]), "http://evil.example", "403"),
        (AllowedOrigins::List(vec!["http://good.example".into()]), "http://good.example", "101"),
        (AllowedOrigins::None, "http://localhost", "101"),
    ] {
        let options = HttpOptions { origins: origins.clone(), ..HttpOptions::default() };
        let server = Server::with(&options, GatePolicy::Local, LIMITS).await;
        let (head, _) = server.knock("/ws/events", &format!("Origin: {origin}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{origins:?} {origin}: {head}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_by_status() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/ws/events", server.address);
    let plain = client.get(&url).send().await.unwrap();
    assert_eq!((plain.status().as_u16(), plain.headers()["upgrade"].to_str().unwrap()), (426, "websocket"));
    assert_eq!(plain.headers()["sec-websocket-version"], "13");
    assert_eq!(client.post(&url).send().await.unwrap().status(), 405);
    for (target, more, status) in [
        ("/ws/events", "Sec-WebSocket-Key: twice\r\n", "400"),
        ("/ws/events?after=nonsense", "", "400"),
        ("/ws/dance", "", "404"),
    ] {
        let (head, _) = server.knock(target, more).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target} {more}: {head}");
    }
}

#[tokio::test]
async fn ws_05_over_http_2_a_websocket_is_refused_cleanly() {
    let house = crate::http::testing::House::new();
    let mut request = http::Request::get("https://localhost/ws/events").body(axum::body::Body::empty()).unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    let status = house.surface.answer(request, house.peer).await.status();
    assert_eq!(status, 404, "the door is switched off in this house");
    let server = Server::start().await;
    let (head, _) = server.knock("/ws/events", "").await;
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
}

#[tokio::test]
async fn a_client_is_greeted_and_hears_what_happens_in_every_encoding() {
    let server = Server::start().await;
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let packed = "Sec-WebSocket-Protocol: campanile.events.v1+msgpack\r\n";
    let mut heard = Vec::new();
    let mut clients = Vec::new();
    for (headers, first) in [("", 0x81), (deflate, 0xc1), (packed, 0x82), (&format!("{packed}{deflate}") as &str, 0xc2)]
    {
        let (head, mut client) = server.knock("/ws/events", headers).await;
        assert_eq!(head.contains("permessage-deflate"), headers.contains("deflate"), "{head}");
        assert_eq!(head.contains("+msgpack"), headers.contains("msgpack"), "{head}");
        let connected = client.message().await;
        assert_eq!(connected["type"], "connected");
        assert_eq!(connected["commands"], json!(["trigger_doorbell"]));
        assert_eq!(connected["cursor"], server.events().cursor().to_string());
        let status = client.message().await;
        assert_eq!((&status["status"], &status["user"]), (&json!("connected"), &json!("local")));
        clients.push((client, first));
    }
    let mut long = draft(EventType::CameraEvent, "event7");
    let data = json!({"kind": "event7", "seen": ["a cat", "a cat", "a cat", "a cat", "a cat", "a cat", "a cat"]});
    long.data = serde_json::value::to_raw_value(&data).unwrap();
    let id = server.events().append(long).await.unwrap().cursor.to_string();
    for (client, first) in &mut clients {
        let (header, _) = {
            let frame = client.frame().await;
            heard.push(frame.clone());
            frame
        };
        assert_eq!(header, *first);
    }
    let id_in = |payload: &[u8]| payload.windows(id.len()).any(|bytes| bytes == id.as_bytes());
    assert!(id_in(&heard[0].1) && id_in(&heard[2].1), "plain forms show the id");
    assert!(heard[1].1.len() < heard[0].1.len() && heard[3].1.len() < heard[0].1.len(), "deflated ones are smaller");
    server.happen(8).await;
    for (client, _) in &mut clients {
        assert_eq!(number(&client.message().await), 8);
    }
    assert_eq!(server.status().await["delivered"], 8);
}

#[tokio::test]
async fn a_subscription_narrows_from_then_on() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "subscribe", "event_types": ["EVENT2", "alert"], "paths": ["front-door"]})).await;
    assert_eq!(client.message().await["status"], "subscribed");
    for i in 1..4 {
        server.happen(i).await;
    }
    assert_eq!(number(&client.message().await), 2);
    client.send(&json!({"type": "unsubscribe"})).await;
    assert_eq!(client.message().await["status"], "unsubscribed");
    server.happen(2).await;
    client.send(&json!({"type": "subscribe", "severity": "loud"})).await;
    let error = client.message().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_filter")));
    client.send(&json!({"type": "subscribe"})).await;
    assert_eq!(client.message().await["status"], "subscribed");
    server.happen(5).await;
    assert_eq!(number(&client.message().await), 5, "what passed while nothing was wanted does not come back");
}

#[tokio::test]
async fn whoever_asks_for_thumbnails_is_told_that_none_will_come_and_gets_the_events() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "subscribe", "event_types": ["event2"], "thumbnails": {"width": 320}})).await;
    assert_eq!(client.message().await["status"], "subscribed");
    let error = client.message().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("thumbnails_unavailable")));
    server.happen(1).await;
    server.happen(2).await;
    assert_eq!(number(&client.message().await), 2);
}

#[tokio::test]
async fn values_come_as_they_are_and_alert_only_clients_get_none() {
    let server = Server::start().await;
    let value = || draft(EventType::StatisticsUpdate, "x");
    server.events().set(value()).unwrap();
    let (mut all, mut figures) = (server.client("/ws/events").await, server.client("/ws/statistics").await);
    assert_eq!(all.message().await["type"], "statistics_update");
    assert_eq!(figures.message().await["type"], "statistics_update");
    let mut alerts = server.client("/ws/alerts").await;
    server.events().set(value()).unwrap();
    server.happen(1).await;
    server.events().append(draft(EventType::Alert, "raised")).await.unwrap();
    assert_eq!(alerts.message().await["type"], "alert");
    assert_eq!(figures.message().await["type"], "statistics_update");
}

#[tokio::test]
async fn a_client_resumes_by_url_or_in_band_and_a_foreign_cursor_is_a_gap() {
    let server = Server::start().await;
    let first = server.happen(1).await;
    server.happen(2).await;
    let mut by_url = server.client(&format!("/ws/events?after={first}")).await;
    assert_eq!(number(&by_url.message().await), 2);
    let mut in_band = server.client("/ws/events").await;
    in_band.send(&json!({"type": "resume", "after": first})).await;
    assert_eq!(in_band.message().await["status"], "resumed");
    assert_eq!(number(&in_band.message().await), 2);
    in_band.send(&json!({"type": "resume", "after": "nonsense"})).await;
    assert_eq!(in_band.message().await["code"], "invalid_cursor");
    in_band.send(&json!({"type": "resume", "after": "00000000-1"})).await;
    assert_eq!(in_band.message().await["status"], "resumed");
    let gap = in_band.message().await;
    assert_eq!((&gap["type"], &gap["after"], &gap["lost"]), (&json!("gap"), &json!("00000000-1"), &Value::Null));
    assert_eq!(gap["resumed_at"], server.events().cursor().to_string());
    server.happen(3).await;
    assert_eq!(number(&in_band.message().await), 3);
}

/// F-36: connections that are torn at any moment, and one client that goes on each time after what it last handled.
#[tokio::test]
async fn connections_that_tear_lose_nothing_and_repeat_nothing() {
    const EVENTS: usize = 600;
    let server = Server::start().await;
    let start = server.events().cursor().to_string();
    let publish = async {
        for i in 0..EVENTS {
            server.happen(i).await;
        }
    };
    let follow = async {
        let (mut cursor, mut seen, mut turn) = (start, Vec::new(), 0);
        while seen.len() < EVENTS {
            turn += 1;
            let mut client = server.client(&format!("/ws/events?after={cursor}")).await;
            for _ in 0..turn % 13 + 1 {
                if seen.len() == EVENTS {
                    break;
                }
                let event = client.message().await;
                cursor = event["id"].as_str().unwrap().to_owned();
                seen.push(number(&event));
            }
        }
        assert!(turn > 50, "{turn}");
        seen
    };
    let ((), seen) = tokio::join!(publish, follow);
    assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn pings_are_answered_in_band_and_below_it() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "ping"})).await;
    let pong = client.message().await;
    assert!(pong["type"] == "pong" && pong["time"].as_str().unwrap().ends_with('Z'), "{pong}");
    client.send_raw(&masked(0x89, b"hello")).await;
    assert_eq!(client.frame().await, (0x8a, b"hello".to_vec()));
    client.send(&json!({"type": "dance"})).await;
    assert_eq!(client.message().await["code"], "invalid_message");
    client.send(&json!({"type": "token", "token": "x"})).await;
    assert_eq!(client.message().await["code"], "invalid_credential");
    client.send_raw(&masked(0x88, b"\x03\xe8")).await;
    assert_eq!(client.close().await.0, 1000);
    client.end().await;
}

impl Server {
    /// A token of somebody that lasts so many seconds, and allows so much at most.
    async fn token(&self, user: &str, lasts: i64, limit: Option<&[(&str, &str)]>) -> String {
        let shown = Credential::of_password(user, "password").unwrap();
        let identity = self.gate.identify(&shown, [127, 0, 0, 1].into(), Clock.moment()).await.unwrap();
        let Identity::Known(known) = identity else { panic!("{user} is known") };
        let limit = limit.map(permissions);
        let issued = self.gate.issue(&known, Purpose::Access, lasts, limit, Clock.moment()).unwrap();
        issued.token.reveal().to_owned()
    }

    /// Ends what has come to its end, as the server does twice a second, until a client hears of it.
    async fn until_closed(&self, client: &mut Guest) -> (u16, String) {
        let ticking = async {
            loop {
                self.gate.handle_timeout(Clock.moment());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            closed = client.close() => closed,
            () = ticking => unreachable!("it goes on for ever"),
        }
    }
}

#[tokio::test]
async fn a_connection_whose_token_ends_is_told_so_and_one_with_a_fresh_token_goes_on() {
    let server = Server::start().await;
    let short = server.token("anna", 2, None).await;
    let mut left = server.client(&format!("/ws/events?token={short}")).await;
    let mut stays = server.client_with("/ws/events", &format!("Authorization: Bearer {short}\r\n")).await;
    for (token, code) in [
        ("x".to_owned(), "invalid_credential"),
        (format!("{short}x"), "invalid_credential"),
        (server.token("berta", 60, None).await, "another_user"),
    ] {
        stays.send(&json!({"type": "token", "token": token})).await;
        let refused = stays.message().await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!(code)));
        assert!(!refused.to_string().contains(&token), "{refused}");
    }
    let fresh = server.token("anna", 60, None).await;
    stays.send(&json!({"type": "token", "token": fresh})).await;
    assert_eq!(stays.message().await["status"], "renewed");
    let (code, reason) = server.until_closed(&mut left).await;
    assert_eq!((code, reason.as_str()), (4401, "the token ended"));
    server.happen(1).await;
    assert_eq!(number(&stays.message().await), 1);
    // A token that allows less narrows the connection; a user who is gone ends it.
    let narrow = server.token("anna", 60, Some(&[("stats", "*")])).await;
    stays.send(&json!({"type": "token", "token": narrow})).await;
    assert_eq!(stays.message().await["status"], "renewed");
    server.happen(2).await;
    stays.send(&json!({"type": "ping"})).await;
    assert_eq!(stays.message().await["type"], "pong", "an event that may not be seen any more is not told");
    server.gate.set_users(Vec::new(), &BTreeMap::new());
    assert_eq!(server.until_closed(&mut stays).await.0, 4403);
}

#[tokio::test]
async fn a_connection_without_a_user_gets_none_by_a_token() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "token", "token": server.token("anna", 60, None).await})).await;
    assert_eq!(client.message().await["code"], "invalid_credential");
}

#[tokio::test]
async fn a_command_is_done_told_to_the_caller_and_a_fact_says_who_did_it() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "command", "command": "trigger_doorbell", "id": "7"})).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(client.message().await);
    }
    let of = |kind: &str| told.iter().find(|message| message["type"] == kind).unwrap_or_else(|| panic!("{told:?}"));
    let result = of("command_result");
    assert_eq!(
        (&result["success"], &result["result"], &result["id"]),
        (&json!(true), &json!({"triggered": true}), &json!("7"))
    );
    let rung = of("camera_event");
    assert_eq!((&rung["data"]["kind"], &rung["path"]), (&json!("doorbell_pressed"), &json!("demo")));
    let audit = of("audit");
    let deed = json!({
        "action": "command", "by": "local", "target": "trigger_doorbell", "note": null,
        "command": {"params": null, "success": true, "error": null},
    });
    assert_eq!(audit["data"], deed);

    client.send(&json!({"type": "command", "command": "dance", "id": "8"})).await;
    let error = client.message().await;
    assert_eq!((&error["code"], &error["id"]), (&json!("command_not_found"), &json!("8")));
    client.send(&json!({"type": "command", "command": "trigger_doorbell", "params": {"path": "../x"}})).await;
    let failed = client.message_of("command_result").await;
    assert_eq!((&failed["success"], &failed["error"]), (&json!(false), &json!("invalid_params")));
}

#[tokio::test]
async fn an_alert_is_taken_note_of_by_whoever_may() {
    let server = Server::start().await;
    let ack = json!({"type": "ack", "fingerprint": "0123456789abcdef", "note": "seen"});
    let mut client = server.client("/ws/alerts").await;
    client.send(&ack).await;
    let result = client.message().await;
    assert_eq!((&result["command"], &result["success"]), (&json!("ack"), &json!(true)));
    assert_eq!(*server.noted.0.lock().unwrap(), [("local".to_owned(), "0123456789abcdef".to_owned())]);
    // Somebody who may read, and do nothing.
    let shown = format!("X-Forwarded-For: 10.0.0.9\r\nAuthorization: {ANNA}\r\n");
    let mut guest = server.client_with("/ws/events", &shown).await;
    for message in [
        ack,
        json!({"type": "command", "command": "trigger_doorbell"}),
        json!({"type": "message", "to": "local", "text": "hi"}),
        json!({"type": "message", "to": "*", "text": "hi"}),
    ] {
        guest.send(&message).await;
        assert_eq!(guest.message().await["code"], "permission_denied", "{message}");
    }
    assert_eq!(server.noted.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_camera_is_shown_by_the_doors_that_are_open() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    client.send(&json!({"type": "request_video_stream"})).await;
    let answer = client.message().await;
    let rtsp = "rtsp://127.0.0.1:8554/demo";
    assert_eq!((&answer["path"], &answer["stream_url"]), (&json!("demo"), &json!(rtsp)), "{answer}");
    for (request, code) in [
        (json!({"type": "request_video_stream", "path": "nowhere"}), "path_not_found"),
        (json!({"type": "request_video_stream", "path": "../x"}), "invalid_path_name"),
        (json!({"type": "request_video_stream", "accepts": ["smoke_signals"]}), "nothing_to_play"),
    ] {
        client.send(&request).await;
        assert_eq!(client.message().await["code"], code, "{request}");
    }
}

#[tokio::test]
async fn words_reach_another_connection_and_not_without_end() {
    let server = Server::start().await;
    let (head, mut anna) = server.knock("/ws/events", "").await;
    assert!(head.starts_with("HTTP/1.1 101"));
    let to = anna.message().await["connection_id"].clone();
    let mut bert = server.client("/ws/events").await;
    bert.send(&json!({"type": "message", "to": to, "text": "hello"})).await;
    assert_eq!(bert.message().await["result"], json!({"delivered": 1}));
    let words = anna.message_of("direct_message").await;
    assert_eq!((&words["from"], &words["text"]), (&json!("local"), &json!("hello")));
    bert.send(&json!({"type": "message", "to": "nobody", "text": "hello"})).await;
    assert_eq!(bert.message().await["code"], "user_offline");
    bert.send(&json!({"type": "message", "to": to, "text": "x".repeat(3000)})).await;
    assert_eq!(bert.message().await["code"], "invalid_message");
    let mut codes = BTreeSet::new();
    for _ in 0..40 {
        bert.send(&json!({"type": "message", "to": to, "text": "again"})).await;
        codes.insert(bert.message().await["code"].to_string());
    }
    assert!(codes.contains("\"too_many_messages\""), "{codes:?}");
}

#[tokio::test]
async fn words_to_everybody_reach_everybody_are_written_down_and_have_an_end() {
    let server = Server::start().await;
    let (mut anna, mut bert) = (server.client("/ws/events").await, server.client("/ws/alerts").await);
    let message = json!({"type": "message", "to": "*", "text": "the gate stays open until six"});
    anna.send(&message).await;
    let told = bert.message_of("broadcast").await;
    assert_eq!((&told["from"], &told["text"], &told["time"].is_string()), (&json!("local"), &message["text"], &true));
    assert_eq!(anna.message_of("command_result").await["result"], json!({"delivered": 2}));
    let written = anna.message_of("audit").await;
    let deed = json!({"action": "message.broadcast", "by": "local", "target": "*", "note": message["text"],});
    assert_eq!(written["data"], deed);
    let mut codes = BTreeSet::new();
    for _ in 0..6 {
        anna.send(&message).await;
        let answer = loop {
            let answer = anna.message().await;
            if ["command_result", "error"].iter().any(|kind| answer["type"] == *kind) {
                break answer;
            }
        };
        codes.insert(answer["code"].to_string());
    }
    assert!(codes.contains("\"too_many_messages\""), "{codes:?}");
}

/// Somebody who comes from elsewhere and shows nothing.
const FROM_ELSEWHERE: &str = "X-Forwarded-For: 10.0.0.9\r\n";

#[tokio::test]
async fn who_can_set_no_header_says_who_it_is_in_the_first_message() {
    let server = Server::start().await;
    let token = server.token("anna", 60, None).await;
    let (_, mut anna) = server.knock("/ws/events", FROM_ELSEWHERE).await;
    server.happen(1).await;
    anna.send(&json!({"type": "token", "token": token})).await;
    assert_eq!(anna.message().await["type"], "connected");
    let status = anna.message().await;
    assert_eq!((&status["type"], &status["user"]), (&json!("connection_status"), &json!("anna")));
    server.happen(2).await;
    assert_eq!(number(&anna.message().await), 2, "what happened before is not told");
    // The same connection goes on with a fresh one.
    anna.send(&json!({"type": "token", "token": server.token("anna", 60, None).await})).await;
    assert_eq!(anna.message().await["status"], "renewed");
    let narrow = server.token("berta", 60, Some(&[("view", "*")])).await;
    let wrong = [format!("{token}x"), "nonsense".to_owned(), "no token at all".to_owned(), narrow];
    for token in wrong {
        let (_, mut stranger) = server.knock("/ws/events", FROM_ELSEWHERE).await;
        stranger.send(&json!({"type": "token", "token": token})).await;
        let (code, reason) = stranger.close().await;
        assert!(code == 1008 && !reason.contains(&token), "{token}: {code} {reason}");
    }
    for other in [json!({"type": "subscribe"}), json!({"type": "resume", "after": "0-0"})] {
        let (_, mut stranger) = server.knock("/ws/events", FROM_ELSEWHERE).await;
        stranger.send(&other).await;
        assert_eq!(stranger.close().await.0, 1008, "{other}");
    }
}

/// A server that decides about callers, and does not answer.
#[derive(Debug)]
struct Silent;

impl Decide for Silent {
    fn ask(&self, _: Question) -> BoxFuture<'static, crate::base::Result<bool>> {
        async { Err(Error::new(Kind::Unavailable, "nobody answers")) }.boxed()
    }
}

#[tokio::test]
async fn who_shows_what_is_not_right_is_told_so_and_who_cannot_be_judged_now_comes_later() {
    let server = Server::start().await;
    let shown = [
        ("/ws/events?token=nonsense", ""),
        ("/ws/events", "Authorization: Bearer nonsense\r\n"),
        ("/ws/events", "Authorization: Nonsense\r\n"),
    ];
    for (target, header) in shown {
        let (head, mut client) = server.knock(target, header).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(client.close().await, (1008, "the token or password is not valid".to_owned()), "{target} {header}");
    }
    let options =
        OutsideOptions { remember: Duration::ZERO, anonymous: false, ask_again: None, timeout: Duration::from_secs(1) };
    let desk = OutsideDesk::new(Box::new(Silent), options, Clock);
    server.gate.set_outside(Arc::new(desk));
    for (target, header) in &shown[..2] {
        let (_, mut client) = server.knock(target, header).await;
        assert_eq!(client.close().await, (1013, "nobody can say now who you are".to_owned()), "{target} {header}");
    }
    let (_, mut client) = server.knock("/ws/events", FROM_ELSEWHERE).await;
    client.send(&json!({"type": "token", "token": "nonsense"})).await;
    assert_eq!(client.close().await.0, 1013);
}

#[tokio::test]
async fn a_missing_right_and_a_limit_are_told_by_close_code() {
    let limits = FollowerLimits { per_user: 10, per_address: 2 };
    let server = Server::with(&HttpOptions::default(), GatePolicy::Local, limits).await;
    let (head, mut stranger) = server.knock("/ws/events", "X-Forwarded-For: 10.0.0.9\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "a browser cannot read a refused handshake: {head}");
    stranger.send(&json!({"type": "ping"})).await;
    assert_eq!(stranger.close().await.0, 1008, "who says anything but who it is");
    stranger.send_raw(&masked(0x88, b"\x03\xf0")).await;
    stranger.end().await;
    let (mut one, _two) = (server.client("/ws/events").await, server.client("/ws/events").await);
    let (_, mut three) = server.knock("/ws/events", "").await;
    assert_eq!(three.close().await.0, 4429);
    one.send_raw(&masked(0x88, b"")).await;
    one.end().await;
    drop(one);
    while server.status().await["connections"] != 1 {}
    let _again = server.client("/ws/events").await;
    let status = server.status().await;
    assert_eq!((&status["connections"], &status["refused"]), (&json!(2), &json!({"forbidden": 1, "limit": 1})));
}

#[tokio::test]
async fn breaches_on_the_wire_are_told_by_their_code() {
    let server = Server::start().await;
    for (bytes, code) in [
        (masked(0x83, b""), 1002),
        (b"\x81\x02hi".to_vec(), 1002),
        (masked(0x81, b"\xff\xfe"), 1007),
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00".to_vec(), 1009),
        (masked(0x81, b"nonsense").repeat(100), 1008),
    ] {
        let mut client = server.client("/ws/events").await;
        client.send_raw(&bytes).await;
        assert_eq!(client.close().await.0, code, "{bytes:x?}");
        client.send_raw(&masked(0x88, &u16::to_be_bytes(code))).await;
        client.end().await;
    }
    let mut well = server.client("/ws/events").await;
    server.happen(1).await;
    assert_eq!(number(&well.message().await), 1, "nobody else minds");
}

#[tokio::test]
async fn a_compression_bomb_is_too_big_and_nobody_else_minds() {
    let server = Server::start().await;
    let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bomb = Vec::with_capacity(60_000);
    packer.compress_vec(&vec![b' '; 50 << 20], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(packer.total_in(), 50 << 20, "fifty megabytes in {} bytes", bomb.len());
    let mut well = server.client("/ws/events").await;
    for _ in 0..20 {
        let (_, mut client) = server.knock("/ws/events", "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
        client.send_raw(&masked(0xc1, &bomb)).await;
        assert_eq!(client.close().await.0, 1009);
    }
    server.happen(1).await;
    assert_eq!(number(&well.message().await), 1);
}

#[tokio::test]
async fn ten_thousand_events_are_resumed_in_order_by_several_at_once() {
    const EVENTS: usize = 10_000;
    let server = Server::start().await;
    let start = server.events().cursor();
    for from in (0..EVENTS).step_by(1000) {
        join_all((from..from + 1000).map(|number| server.happen(number))).await;
    }
    let resume = async |headers: &str| {
        let mut client = server.client_with(&format!("/ws/events?after={start}"), headers).await;
        for expected in 0..EVENTS {
            assert_eq!(number(&client.message().await), expected);
        }
    };
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let packed = "Sec-WebSocket-Protocol: campanile.events.v1+msgpack\r\n";
    tokio::join!(resume(""), resume(deflate), resume(packed));
}

#[tokio::test]
async fn an_upgraded_connection_outlives_the_limits_of_http_and_keeps_its_place() {
    let short = Duration::from_millis(200);
    let options = HttpOptions { idle_timeout: short, header_timeout: short, write_timeout: short, ..<_>::default() };
    let server = Server::with(&options, GatePolicy::Local, LIMITS).await;
    let mut client = server.client("/ws/events").await;
    tokio::time::sleep(short * 5).await;
    server.happen(1).await;
    assert_eq!(number(&client.message().await), 1);
    assert_eq!(server.http.connections(), 1);
    drop(client);
    let gone = async {
        while server.http.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ws::testing::PATIENCE, gone).await.expect("its place is free again");
}

#[tokio::test]
async fn a_drain_says_goodbye_and_refuses_newcomers() {
    let server = Server::start().await;
    let mut client = server.client("/ws/events").await;
    let goodbye = async {
        let (code, reason) = client.close().await;
        client.send_raw(&masked(0x88, &u16::to_be_bytes(code))).await;
        client.end().await;
        (code, reason)
    };
    let (alive, (code, reason)) = tokio::join!(server.http.drain(Duration::from_secs(20)), goodbye);
    assert_eq!((alive, code), (Vec::<String>::new(), 1001));
    assert!(reason.starts_with("come back within "), "{reason}");
}

#[tokio::test]
async fn many_idle_clients_all_hear_of_one_event_once() {
    let scale: f64 = std::env::var("CAMPANILE_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1.0);
    let many = (200.0 * scale) as usize;
    let server = Server::start().await;
    let mut clients = Vec::new();
    while clients.len() < many {
        let next = (many - clients.len()).min(50);
        clients.extend(join_all((0..next).map(|_| server.client("/ws/events"))).await);
    }
    assert_eq!(server.status().await["connections"], many);
    server.happen(1).await;
    server.happen(2).await;
    let heard = join_all(
        clients.iter_mut().map(|client| async { (number(&client.message().await), number(&client.message().await)) }),
    );
    assert!(heard.await.into_iter().all(|heard| heard == (1, 2)));
    assert_eq!(server.status().await["delivered"], many * 2);
}
