//! The log and its doors against the real binary: kill -9 while events flow, a file that is damaged, a camera that comes
//! and goes. `CAMPANILE_SCALE` multiplies the rounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::support::{process::PATIENCE, relay, scale, scripted_camera::Behaviour, server::Server};

/// One camera that does nothing: a round is as short as can be.
fn bare() -> Value {
    json!({
        "log": { "level": "warn" },
        "rtsp": { "address": "off" },
        "webrtc": { "address": "off" },
        "events": { "max_posts_per_second": 1_000_000 },
        "paths": { "nothing": { "source": "demo" } },
    })
}

/// Every fact after a cursor, or all of them, by whole pages.
async fn all(server: &Server, after: Option<&str>) -> Vec<Value> {
    let Some(after) = after else {
        return server.json("/api/v1/events?limit=1000").await["events"].as_array().unwrap().clone();
    };
    let (mut facts, mut after) = (Vec::new(), after.to_owned());
    loop {
        let response = server.get(&format!("/api/v1/events?limit=1000&after={after}")).await;
        if response.status() == 204 {
            return facts;
        }
        let page: Value = response.json().await.unwrap();
        assert_eq!(page["gap"], Value::Null, "after {after}");
        facts.extend(page["events"].as_array().unwrap().iter().cloned());
        page["cursor"].as_str().unwrap().clone_into(&mut after);
    }
}

/// The number that a sender put into its event.
fn number(fact: &Value) -> Option<u64> {
    fact["data"]["number"].as_u64()
}

#[tokio::test]
async fn no_acknowledged_fact_is_lost_and_no_id_is_used_twice_whenever_the_process_is_killed() {
    let rounds = (20 * scale()).min(200);
    let mut folder = tempfile::tempdir().unwrap();
    // What was acknowledged, and what was seen under each id, over all rounds.
    let mut acknowledged = BTreeMap::<u64, String>::new();
    let mut seen = BTreeMap::<String, u64>::new();
    let (mut next, mut first, mut unheard) = (0, None, 0);
    for round in 0..rounds {
        let mut server = Server::start_in(folder, bare(), &[]).await;
        if first.is_none() {
            first = server.json("/api/v1/events").await["cursor"].as_str().map(str::to_owned);
        }
        let (sent, done) = (Arc::new(AtomicUsize::new(next)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new(Mutex::new(Vec::new()));
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            let (client, url) = (server.client().clone(), server.http("/api/v1/events"));
            let (sent, done, answered) = (sent.clone(), done.clone(), answered.clone());
            senders.spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed) as u64;
                    let event = json!({"type": "counted", "data": {"number": number}});
                    let Ok(response) = client.post(&url).json(&event).send().await else { return };
                    if response.status() == 201
                        && let Ok(answer) = response.json::<Value>().await
                    {
                        answered.lock().unwrap().push((number, answer["id"].as_str().unwrap().to_owned()));
                    }
                }
            });
        }
        // Once something is acknowledged, at any moment.
        let deadline = Instant::now() + PATIENCE;
        while answered.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "nothing was acknowledged in round {round}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let pause = rand::rng().random_range(0..150);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.signal("KILL");
        server.ended(PATIENCE).await.expect("nobody survives that");
        done.store(true, Ordering::Relaxed);
        while senders.join_next().await.is_some() {}
        next = sent.load(Ordering::Relaxed);
        acknowledged.extend(answered.lock().unwrap().drain(..));
        folder = server.into_folder();

        // Every few rounds, and in the end, everything is read again.
        if round % 5 == 4 || round + 1 == rounds {
            let mut server = Server::start_in(folder, bare(), &[]).await;
            let facts = all(&server, first.as_deref()).await;
            let mut there = BTreeSet::new();
            for fact in &facts {
                let (id, number) = (fact["id"].as_str().unwrap().to_owned(), number(fact).unwrap());
                assert!(there.insert(number), "round {round}: {number} is there twice");
                let before = seen.insert(id.clone(), number);
                assert!(before.is_none_or(|before| before == number), "round {round}: {id} was {before:?}");
            }
            for (number, id) in &acknowledged {
                assert_eq!(seen.get(id), Some(number), "round {round}: {number} was acknowledged as {id}");
            }
            unheard = facts.len() - acknowledged.len();
            server.terminate().await;
            folder = server.into_folder();
        }
    }
    eprintln!("{} acknowledged in {rounds} rounds, {unheard} more were saved", acknowledged.len());
    assert!(acknowledged.len() >= rounds);
}

#[tokio::test]
async fn every_event_raises_its_alert_once_whenever_the_process_is_killed() {
    let rounds = (6 * scale()).min(60);
    let mut ringing = bare();
    ringing["rules"] = json!([{"id": "ring", "when": {"event": {"kind": "ring", "hold": "1h"}}}]);
    let mut folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut next, mut first) = (BTreeSet::new(), 0, None);
    for round in 0..rounds {
        let mut server = Server::start_in(folder, ringing.clone(), &[]).await;
        if first.is_none() {
            first = server.json("/api/v1/events").await["cursor"].as_str().map(str::to_owned);
        }
        let deadline = Instant::now() + Duration::from_millis(rand::rng().random_range(20..200));
        let mut answered = 0;
        while Instant::now() < deadline || answered == 0 {
            next += 1;
            let path = format!("door-{next}");
            let event = json!({"type": "ring", "path": path});
            let posted = server.client().post(server.http("/api/v1/events")).json(&event).send().await.unwrap();
            assert_eq!(posted.status(), 201, "round {round}");
            acknowledged.insert(path);
            answered += 1;
        }
        server.signal("KILL");
        server.ended(PATIENCE).await.expect("nobody survives that");
        folder = server.into_folder();
    }
    let server = Server::start_in(folder, ringing, &[]).await;
    let deadline = Instant::now() + PATIENCE;
    let raised = loop {
        let mut raised = BTreeMap::<String, usize>::new();
        for fact in all(&server, first.as_deref()).await {
            if fact["type"] == "alert" && fact["data"]["change"] == "raised" {
                *raised.entry(fact["path"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        if acknowledged.iter().all(|path| raised.contains_key(path)) {
            break raised;
        }
        assert!(Instant::now() < deadline, "{} of {} raised an alert", raised.len(), acknowledged.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let twice: Vec<_> = raised.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_server_runs_on_and_says_so() {
    let mut server = Server::start(bare()).await;
    let event = json!({"type": "motion", "path": "gate"});
    let posted = server.client().post(server.http("/api/v1/events")).json(&event).send().await.unwrap();
    let old: Value = posted.json().await.unwrap();
    server.terminate().await;
    let folder = server.into_folder();
    let file = folder.path().join("state/facts.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[16..end].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let server = Server::start_in(folder, bare(), &[]).await;
    let alert = until(&server, |fact| fact["type"] == "alert").await;
    assert_eq!((&alert["data"]["alert"]["rule"], &alert["severity"]), (&"store".into(), &"critical".into()));
    let aside = fs::read_dir(server.folder().join("state")).unwrap();
    let names = aside.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    // Its journal goes with it.
    let is_set_aside = |name: &String| name.contains(".corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm");
    assert_eq!(names.filter(is_set_aside).count(), 1);
    let list = server.json(&format!("/api/v1/events?after={}", old["id"].as_str().unwrap())).await;
    assert_eq!(list["gap"], json!({"lost": null}));
}

/// Waits for a fact among the newest.
async fn until(server: &Server, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(fact) = all(server, None).await.into_iter().find(&wanted) {
            return fact;
        }
        assert!(Instant::now() < deadline, "it did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_camera_that_comes_and_goes_is_in_the_log() {
    let (camera, server) = relay(Behaviour::default()).await;
    let online = until(&server, |fact| fact["data"]["kind"] == "online").await;
    assert_eq!((&online["type"], &online["path"]), (&"camera_event".into(), &"cam".into()));
    drop(camera);
    let offline = until(&server, |fact| fact["data"]["kind"] == "offline").await;
    assert_eq!((&offline["severity"], offline["data"]["code"].is_string()), (&"warning".into(), true));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("campanile_event_clients_opened_total{door=\"longpoll\"}"), "{metrics}");
}
