//! Many followers at once against the real binary: a thousand that sit there, thousands that are told to go and come
//! back, and some that do not read. `CAMPANILE_SCALE` makes them more, up to what the system's limit of open files allows.

use std::{future::Future, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    followers::{Said, Socket, Stream, descriptors},
    process::PATIENCE,
    scale,
    server::Server,
};

/// Room for a crowd, no cameras, and a rule for an alert.
fn config() -> Value {
    json!({
        "log": { "level": "warn" },
        "http": { "max_connections": 20_000 },
        "rtsp": { "address": "off" },
        "webrtc": { "address": "off" },
        "limits": { "followers_per_address": 20_000, "connections_per_address": 20_000 },
        "events": { "max_followers": 10_000, "max_posts_per_second": 1_000_000 },
        "sensors": { "attic": { "kind": "temperature" } },
        "rules": [{ "preset": "temperature" }],
        "paths": { "nothing": { "source": "demo" } },
    })
}

/// So many clients, or as many as there may be descriptors.
fn crowd(wanted: usize) -> usize {
    let many = wanted.min(descriptors() - 200);
    if many < wanted {
        eprintln!("{many} clients instead of {wanted}: the limit of open files");
    }
    many
}

/// Opens many, some at a time.
async fn open<T, F: Future<Output = T>>(many: usize, one: impl Fn(usize) -> F) -> Vec<T> {
    let mut clients = Vec::new();
    while clients.len() < many {
        let from = clients.len();
        clients.extend(join_all((from..many.min(from + 100)).map(&one)).await);
    }
    clients
}

impl Server {
    async fn say(&self, event: Value) -> Value {
        let response = self.client().post(self.http("/api/v1/events")).json(&event).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.json().await.unwrap()
    }

    async fn reads(&self, value: f64) {
        let url = self.http("/api/v1/sensors/attic/readings");
        let response = self.client().post(url).json(&json!({ "value": value })).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_thousand_idle_clients_cost_little_and_those_of_alerts_hear_of_alerts_alone() {
    let many = crowd((1000 * scale()).min(5000));
    let server = Server::start(config()).await;
    let address = server.address("http");
    // What one connection of each kind makes once stays out of the account.
    drop(Socket::open(address, "/ws/alerts").await);
    drop(Stream::open(address, "/stream/events", None).await);
    let before = server.resident_bytes();
    let mut alerted = open(many * 3 / 4, |_| Socket::open(address, "/ws/alerts")).await;
    let mut streams = open(many / 4, |_| Stream::open(address, "/stream/events?types=alert", None)).await;
    let each = server.resident_bytes().saturating_sub(before) / many as u64;
    eprintln!("{many} idle clients: {each} bytes each");
    assert!(each <= 10 * 12_000, "{each} bytes for each of {many} idle clients");

    let asked = Instant::now();
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    // Statistics move and are told to who wants them, three times; then there is an alert.
    let (_, mut figures) = Socket::open(address, "/ws/statistics").await;
    for _ in 0..3 {
        server.say(json!({ "type": "motion", "path": "gate" })).await;
        assert_eq!(figures.message().await["type"], "statistics_update");
    }
    server.reads(50.0).await;
    let first = |message: &Value| {
        assert_eq!((&message["type"], &message["data"]["change"]), (&json!("alert"), &json!("raised")), "{message}");
    };
    join_all(alerted.iter_mut().map(|(_, socket)| async { first(&socket.message().await) })).await;
    join_all(streams.iter_mut().map(|stream| async { first(&stream.next().await.expect("it goes on")) })).await;
    let status = server.json("/api/v1/ws/status").await;
    assert_eq!(status["connections"], alerted.len() + 1, "{status}");
}

/// When a client was told to come back.
struct Dismissed {
    cursor: String,
    after: Duration,
    within: Duration,
}

/// How many come in each second.
fn by_second(times: &[Duration]) -> Vec<usize> {
    let mut seconds = vec![0; times.iter().map(Duration::as_secs).max().unwrap_or(0) as usize + 1];
    times.iter().for_each(|time| seconds[time.as_secs() as usize] += 1);
    seconds
}

#[tokio::test]
async fn a_crowd_that_is_told_to_go_comes_back_spread_out_and_misses_nothing() {
    let many = crowd((300 * scale()).min(4000)) / 2;
    let mut server = Server::start(config()).await;
    let address = server.address("http");
    let sockets = open(many, |_| Socket::open(address, "/ws/events")).await;
    let streams = open(many, |_| Stream::open(address, "/stream/events?types=counted", None)).await;
    let told_sockets = sockets.into_iter().map(|(connected, mut socket)| async move {
        loop {
            match socket.next().await.expect("a word of farewell") {
                Said::Message(_) => {}
                Said::Close(code, reason) => {
                    assert_eq!(code, 1001, "{reason}");
                    let within = reason.strip_prefix("come back within ").and_then(|rest| rest.strip_suffix(" s"));
                    let within = Duration::from_secs(within.expect(&reason).parse().unwrap());
                    socket.answer_close(code).await;
                    // As the page of events says: at a random moment within that time.
                    let after = within.mul_f64(rand::random());
                    let cursor = connected["cursor"].as_str().unwrap().to_owned();
                    return Dismissed { cursor, after, within };
                }
            }
        }
    });
    let told_streams = streams.into_iter().map(|mut stream| async move {
        stream.retry = None;
        while stream.next().await.is_some() {}
        let after = Duration::from_millis(stream.retry.expect("a time to come back"));
        Dismissed { cursor: stream.last_id.unwrap(), after, within: Duration::ZERO }
    });
    let (sockets, streams, status) = tokio::join!(join_all(told_sockets), join_all(told_streams), server.terminate());
    assert_eq!(status.code(), Some(0));

    let spread = sockets[0].within;
    assert_eq!(spread, Duration::from_secs((2 * many).div_ceil(200).max(5) as u64));
    assert!(sockets.iter().all(|told| told.within == spread), "everybody is told the same");
    assert!(streams.iter().all(|told| told.after <= spread));
    let mut times: Vec<_> = streams.iter().map(|told| told.after).collect();
    let distinct = times.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(distinct > many / 4, "{distinct} different times for {many} streams");
    times.extend(sockets.iter().map(|told| told.after));
    let seconds = by_second(&times);
    let fair = times.len() / spread.as_secs() as usize;
    assert!(*seconds.iter().max().unwrap() < fair * 2 + 20, "a herd: {seconds:?}");

    let server = Server::start_in(server.into_folder(), config(), &[]).await;
    let missed = server.say(json!({ "type": "counted" })).await["id"].clone();
    let (address, missed, began) = (server.address("http"), &missed, Instant::now());
    let back_sockets = sockets.iter().map(|told| back_by_socket(address, told, missed));
    let back_streams = streams.iter().map(|told| back_by_stream(address, told, missed));
    tokio::join!(join_all(back_sockets), join_all(back_streams));
    eprintln!("{} came back in {:?}: {seconds:?} by the second", times.len(), began.elapsed());
    let status = server.json("/api/v1/ws/status").await;
    assert_eq!((&status["refused"]["limit"], &status["refused"]["too_slow"]), (&Value::Null, &Value::Null), "{status}");
}

async fn back_by_socket(address: SocketAddr, told: &Dismissed, missed: &Value) {
    sleep(told.after).await;
    let (_, mut socket) = Socket::open(address, &format!("/ws/events?after={}", told.cursor)).await;
    loop {
        let message = socket.message().await;
        assert_ne!(message["type"], "gap", "{message}");
        if &message["id"] == missed {
            return;
        }
    }
}

async fn back_by_stream(address: SocketAddr, told: &Dismissed, missed: &Value) {
    sleep(told.after).await;
    let mut stream = Stream::open(address, "/stream/events?types=counted", Some(&told.cursor)).await;
    assert_eq!(stream.next().await.map(|event| event["id"].clone()).as_ref(), Some(missed));
}

#[tokio::test]
async fn clients_that_do_not_read_are_sent_away_and_slow_ones_and_others_get_everything() {
    const EVENTS: usize = 400;
    const DEAF: usize = 20;
    let server = Server::start(config()).await;
    let address = server.address("http");
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        deaf.push(Socket::narrow(address, "/ws/events").await);
    }
    let mut slow = Socket::narrow(address, "/ws/events").await;
    let mut well = Socket::open(address, "/ws/events").await.1;
    let before = server.resident_bytes();
    let padding = "x".repeat(50_000);
    let publish = async {
        for number in 0..EVENTS {
            server.say(json!({ "type": "counted", "data": { "number": number, "padding": padding } })).await;
        }
        server.resident_bytes()
    };
    let follow = async |socket: &mut Socket, pause: Duration| {
        let mut next = 0;
        while next < EVENTS {
            let message = socket.message().await;
            if message["type"] == "camera_event" {
                assert_eq!(message["data"]["number"], next);
                next += 1;
                sleep(pause).await;
            }
        }
    };
    let (after, (), ()) =
        tokio::join!(publish, follow(&mut well, Duration::ZERO), follow(&mut slow, Duration::from_millis(5)),);
    // Twenty queues of 20 MB would be 400 MB.
    let more = after.saturating_sub(before) / 1_000_000;
    assert!(more < 120, "{more} MB more");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = server.json("/api/v1/ws/status").await;
        if status["refused"]["too_slow"] == DEAF {
            assert_eq!(status["connections"], 2, "{status}");
            return;
        }
        assert!(Instant::now() < deadline, "those who read nothing are still there: {status}");
        sleep(Duration::from_millis(50)).await;
    }
}
