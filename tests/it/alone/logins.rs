//! Logins that fail: how long they take tells nothing of who exists, and many of them harm nobody who is logged in.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::support::{
    followers::Socket,
    process::PATIENCE,
    rtsp_client::RtspReader,
    scale,
    scripted_camera::{Behaviour, ScriptedCamera},
    server::Server,
};

/// Of every user, and its hash.
const PASSWORD: &str = "correct horse";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$LpwHbE0sYRxwgnn8Hn04eA$kX5wiJsSPy4A/0d+M0uLtlMScqcCcLsfbLujwSkiwe8";

fn user(name: &str) -> Value {
    json!({ "name": name, "password": HASH, "permissions": [{ "action": "admin" }] })
}

/// A login at the server, for somebody whom a proxy names: the status, and what it says but for its own number.
async fn log_in(server: &Server, from: &str, name: &str) -> (u16, Value) {
    let request = server.client().post(server.http("/api/v1/auth/login")).header("x-forwarded-for", from);
    let answer = request.json(&json!({ "name": name, "password": "not that" })).send().await.unwrap();
    let status = answer.status().as_u16();
    let mut said: Value = answer.json().await.unwrap();
    said.as_object_mut().unwrap().remove("instance");
    (status, said)
}

fn median(mut figures: Vec<Duration>) -> Duration {
    figures.sort();
    figures[figures.len() / 2]
}

#[tokio::test]
async fn enumeration_a_user_who_is_not_there_takes_as_long_as_a_wrong_password() {
    // Fewer attempts for a name, and from an address, than anybody has to wait for.
    const NAMES: usize = 5;
    const ATTEMPTS: usize = 8;
    let users: Vec<Value> = (0..NAMES).map(|n| user(&format!("known-{n}"))).collect();
    let server =
        Server::start(json!({ "auth": { "users": users }, "http": { "trusted_proxies": ["127.0.0.1"] } })).await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut answers = Vec::new();
    for attempt in 0..ATTEMPTS {
        for n in 0..NAMES {
            // One after the other, in turns: whatever else the machine does falls on both.
            for (kind, figures) in [("known", &mut known), ("never", &mut unknown)] {
                let begun = Instant::now();
                answers.push(log_in(&server, &format!("192.0.2.{n}"), &format!("{kind}-{n}")).await);
                if attempt > 0 {
                    figures.push(begun.elapsed());
                }
            }
        }
    }
    assert_eq!(answers[0].0, 401, "{:?}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let (known, unknown) = (median(known), median(unknown));
    eprintln!("a wrong password takes {known:?}, a name that is not there {unknown:?}");
    assert!(known < unknown * 2 && unknown < known * 2, "{known:?}, {unknown:?}");
}

/// The longest that a reader waited for a packet, from its `from`th on.
fn longest_gap(reader: &RtspReader, from: usize) -> Duration {
    let noted = reader.noted();
    assert!(!noted.ended, "the viewer plays on");
    noted.packets[from..].windows(2).map(|pair| pair[1].2 - pair[0].2).max().unwrap()
}

#[tokio::test]
async fn brute_force_of_a_hundred_logins_a_second_harms_neither_viewers_nor_alerts() {
    const PER_SECOND: usize = 100;
    const LIMIT: Duration = Duration::from_secs(2);
    let camera = ScriptedCamera::behaving(Behaviour::default()).await;
    // One user: who asks on this machine itself may watch. The others come through a proxy.
    let server = Server::start(json!({
        "log": { "level": "info" },
        "auth": { "users": [user("anna")] },
        "http": { "trusted_proxies": ["127.0.0.1"] },
        "paths": { "cam": { "source": camera.url() } },
    }))
    .await;
    server.state("cam", "ready").await;
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    reader.more(100).await;
    let (_, mut socket) = Socket::open(server.address("http"), "/ws/events").await;
    let (before, memory) = (reader.count(), server.resident_bytes());
    let flood = async {
        let mut beat = interval(Duration::from_secs(1) / PER_SECOND as u32);
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut logins = Vec::new();
        for n in 0..PER_SECOND * 4 * scale() {
            beat.tick().await;
            // A hundred addresses, each guessing names of its own.
            let (from, name) = (format!("198.51.100.{}", n % 100), format!("guess-{n}"));
            let server = &server;
            logins.push(async move { log_in(server, &from, &name).await.0 });
            if logins.len() == 10 {
                for status in join_all(logins.drain(..)).await {
                    assert!(matches!(status, 401 | 429), "{status}");
                }
            }
        }
    };
    let alerts = async {
        let mut latencies = Vec::new();
        for n in 0..20 * scale() {
            let begun = Instant::now();
            let event = json!({ "type": "knock", "path": "cam", "data": { "n": n } });
            let request = server.client().post(server.http("/api/v1/events")).basic_auth("anna", Some(PASSWORD));
            let posted = request.json(&event).send().await.unwrap();
            assert!(posted.status().is_success(), "who logs in rightly is let in: {posted:?}");
            while timeout(PATIENCE, socket.message()).await.expect("it is told")["data"]["n"] != n {}
            latencies.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        latencies.sort();
        latencies
    };
    let ((), latencies) = tokio::join!(flood, alerts);
    let (gap, late) = (longest_gap(&reader, before), latencies[latencies.len() * 9 / 10]);
    let grown = server.resident_bytes().saturating_sub(memory);
    eprintln!(
        "{PER_SECOND} bad logins a second: the longest gap of a viewer is {gap:?}, an alert takes {:?}, one in ten {late:?}; \
         {} MB more",
        latencies[latencies.len() / 2],
        grown >> 20
    );
    assert!(gap < LIMIT, "a viewer waited {gap:?}");
    assert!(late < LIMIT, "one alert in ten took {late:?}");
    assert!(grown < 128 << 20, "{grown} bytes more");
}
