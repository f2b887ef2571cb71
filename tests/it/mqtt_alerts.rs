//! Alerts published to a real broker that is killed: what it acknowledged it has, and what it did not it gets again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    mosquitto::{Mosquitto, USER},
    process::PATIENCE,
    server::Server,
};

fn house(mosquitto: &Mosquitto, version: &str) -> Value {
    let broker = json!({
        "url": format!("mqtt://127.0.0.1:{}", mosquitto.port),
        "version": version, "username": USER.0, "password": USER.1,
    });
    json!({
        "mqtt": { "brokers": { "home": broker } },
        "sensors": { "attic": { "kind": "temperature" } },
        "rules": [{ "preset": "temperature", "above": { "warning": 35, "critical": 50 } }],
        "notify": { "channels": { "house": { "mqtt": {
            "broker": "home", "topic": "house/{rule}/{sensor}/{reason}", "retain": true,
        } } } },
    })
}

async fn read(server: &Server, celsius: f64) {
    let url = server.http("/api/v1/sensors/attic/readings");
    let response = server.client().post(url).json(&json!({ "value": celsius })).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
}

/// Waits until the channel is as `wanted` says.
async fn channel(server: &Server, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = server.json("/api/v1/channels").await;
        let channel = &said["items"][0];
        if wanted(channel) {
            return channel.clone();
        }
        assert!(Instant::now() < deadline, "{channel:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The message that the broker keeps, once its alert shows this value.
async fn kept(mosquitto: &Mosquitto, topic: &str, value: f64) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    read(&mosquitto.kept(topic, |message| read(message)["alert"]["value"] == json!(value)).await)
}

const RAISED: &str = "house/temperature/attic/raised";
const CLEARED: &str = "house/temperature/attic/cleared";

async fn alerts_survive_a_broker_that_is_killed(version: &str) {
    let mut mosquitto = Mosquitto::start().await;
    let config = house(&mosquitto, version);
    let server = Server::start(config.clone()).await;
    read(&server, 40.0).await;
    let raised = kept(&mosquitto, RAISED, 40.0).await;
    assert_eq!((&raised["reason"], &raised["level"]), (&json!("raised"), &json!(0)), "{raised:#}");
    assert_eq!((&raised["alert"]["state"], &raised["alert"]["severity"]), (&json!("active"), &json!("warning")));
    channel(&server, |channel| channel["delivered"] == 1).await;

    // It loses everything, what it kept as well: whatever is there afterwards came again.
    mosquitto.kill().await;
    read(&server, 20.0).await;
    let waiting = channel(&server, |channel| channel["queued"] == 1).await;
    assert_eq!(waiting["delivered"], 1, "nobody has taken it: {waiting:#}");
    mosquitto.restart().await;
    assert_eq!(kept(&mosquitto, CLEARED, 40.0).await["alert"]["state"], "cleared");
    channel(&server, |channel| channel["delivered"] == 2 && channel["queued"] == 0).await;

    // Both are away; the letter lies in the store.
    mosquitto.kill().await;
    read(&server, 60.0).await;
    channel(&server, |channel| channel["queued"] == 1).await;
    let server = server.restart(config).await;
    mosquitto.restart().await;
    assert_eq!(kept(&mosquitto, RAISED, 60.0).await["alert"]["severity"], "critical");
    let last = channel(&server, |channel| channel["queued"] == 0).await;
    assert_eq!((&last["delivered"], &last["given_up"]), (&json!(1), &json!(0)), "{last:#}");
}

#[tokio::test]
async fn alerts_survive_a_broker_that_is_killed_by_mqtt_3_1_1() {
    alerts_survive_a_broker_that_is_killed("3.1.1").await;
}

#[tokio::test]
async fn alerts_survive_a_broker_that_is_killed_by_mqtt_5() {
    alerts_survive_a_broker_that_is_killed("5").await;
}

#[tokio::test]
async fn a_channel_is_tried_and_the_broker_keeps_nothing_of_it() {
    let mosquitto = Mosquitto::start().await;
    let server = Server::start(house(&mosquitto, "3.1.1")).await;
    let try_it = async {
        // Once somebody listens: what is not kept is heard by those who are there.
        let topic = "house/test/none/test";
        let heard = mosquitto.message(topic);
        let trying = async {
            loop {
                let url = server.http("/api/v1/channels/house/test");
                let tried: Value = server.client().post(url).send().await.unwrap().json().await.unwrap();
                assert_eq!(tried["delivered"], true, "{tried}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            heard = heard => heard,
            () = trying => unreachable!(),
        }
    };
    let said: Value = serde_json::from_str(&try_it.await).unwrap();
    assert_eq!((&said["reason"], &said["alert"]["rule"]), (&json!("test"), &json!("test")));
}
