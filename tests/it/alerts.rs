//! Rules against the real binary: what they remember over a kill, and what they make of a real camera.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    process::PATIENCE,
    scripted_camera::{Behaviour, ScriptedCamera},
    server::Server,
};

const HOLDS_FOR: Duration = Duration::from_secs(6);

/// An attic that has to be too warm for a while.
fn config() -> Value {
    json!({
        "rtsp": { "address": "off" },
        "webrtc": { "address": "off" },
        "sensors": { "attic": { "kind": "temperature" } },
        "rules": [{ "preset": "temperature", "for": "6s" }],
        "paths": { "nothing": { "source": "demo" } },
    })
}

/// Waits until the state has these bytes in the journal of a file: they are what a kill leaves behind.
async fn until_written(server: &Server, file: &str, bytes: &[u8]) {
    let (file, deadline) = (server.folder().join("state").join(file), Instant::now() + PATIENCE);
    while !fs::read(&file).is_ok_and(|found| found.windows(bytes.len()).any(|part| part == bytes)) {
        assert!(Instant::now() < deadline, "{} does not say {}", file.display(), String::from_utf8_lossy(bytes));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_time_that_runs_for_a_rule_runs_on_over_a_kill() {
    let mut server = Server::start(config()).await;
    let (url, reading) = (server.http("/api/v1/sensors/attic/readings"), json!({ "value": 50 }));
    assert_eq!(server.client().post(url).json(&reading).send().await.unwrap().status(), 200);
    let began = Instant::now();
    // Nanoseconds since 1970 in 19 digits.
    until_written(&server, "documents.db-wal", b"\"turning\":1").await;
    assert!(began.elapsed() < HOLDS_FOR, "too slow a machine for this test: {:?}", began.elapsed());
    server.signal("KILL");
    server.ended(PATIENCE).await.expect("nobody survives that");
    sleep(HOLDS_FOR.saturating_sub(began.elapsed())).await;

    let again = Instant::now();
    let server = Server::start_in(server.into_folder(), config(), &[]).await;
    let alert = loop {
        let facts = server.json("/api/v1/events?types=alert").await;
        if let Some(alert) = facts["events"].as_array().unwrap().first() {
            break alert.clone();
        }
        assert!(again.elapsed() < HOLDS_FOR, "the time began anew: nobody says that it is still warm");
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&alert["data"]["change"], &alert["sensor"]), (&json!("raised"), &json!("attic")));
    assert_eq!(alert["data"]["alert"]["value"], 50.0);
}

#[tokio::test]
async fn a_camera_whose_clock_jumps_falls_silent_and_goes_away_raises_an_alert_for_each() {
    let camera = ScriptedCamera::behaving(Behaviour::default()).await;
    let server = Server::start(json!({
        "paths": { "cam": { "source": camera.url(), "stalled_after": "1s", "reconnect_after": "1m" } },
        "rules": [
            { "preset": "camera_clock_jump" },
            { "preset": "camera_stalled", "for": "1s" },
            { "preset": "camera_offline", "for": "1s" },
        ],
    }))
    .await;
    server.state("cam", "ready").await;
    // What its counter says at the first look is where it began: it jumps, an hour at a time, until that is seen.
    tokio::select! {
        () = raised(&server, "camera_clock_jump") => {}
        () = async {
            loop {
                camera.change(|camera| camera.timestamp_offset = camera.timestamp_offset.wrapping_add(324_000_000));
                sleep(Duration::from_secs(1)).await;
            }
        } => {}
    }
    camera.change(|camera| camera.silent = true);
    raised(&server, "camera_stalled").await;
    drop(camera);
    raised(&server, "camera_offline").await;
}

/// Waits for the alert of a rule about the camera.
async fn raised(server: &Server, rule: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alerts = server.json("/api/v1/alerts").await;
        let items = alerts["items"].as_array().cloned().unwrap_or_default();
        if items.iter().any(|alert| alert["rule"] == rule && alert["path"] == "cam") {
            return;
        }
        assert!(Instant::now() < deadline, "no {rule}: {alerts:#}");
        sleep(Duration::from_millis(100)).await;
    }
}
