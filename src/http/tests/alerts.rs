//! Alerts, silences and rules over HTTP, on a real log and a real store.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::super::{
    HttpOptions,
    testing::{House, rooms},
};
use crate::{
    auth::GatePolicy,
    base::{Clock, Tasks},
    events::{
        alarms::{Alarm, NoWitness},
        alerts::{Alerts, AlertsOptions, Cameras, NoWaysOut, SensorReport},
        payload::ReadingValue,
        rules::{CameraSample, Device, Reading},
        testing::Desk,
    },
};

#[derive(Debug)]
struct Nothing;

impl Cameras for Nothing {
    fn look(&self) -> Vec<CameraSample> {
        Vec::new()
    }
}

/// A surface whose rules are `preset: temperature` of the file, with the attic at 40 °C.
pub(in crate::http) async fn warm(desk: &Desk) -> House {
    let options = AlertsOptions {
        rules: vec![serde_saphyr::from_str("preset: temperature").unwrap()],
        cameras: Arc::new(Nothing),
        disk: Arc::new(|| None),
        witness: Arc::new(NoWitness),
        ways_out: Arc::new(NoWaysOut),
    };
    let alerts = Alerts::start(options, desk.events.clone(), &desk.store, Clock, &desk.tasks).await;
    let (tasks, state_dir) = (Tasks::new(), tempfile::tempdir().unwrap());
    let rooms = crate::http::Rooms { alerts, ..rooms(&tasks, GatePolicy::Local, state_dir.path()) };
    let house = House::of(rooms, &HttpOptions::default(), tasks, state_dir);
    read(&house, "attic", None, 40.0).await;
    house
}

/// Gives a reading of a sensor, and waits until there is an alert about it.
async fn read(house: &House, sensor: &str, path: Option<&str>, value: f64) {
    let sensor: crate::base::SensorId = sensor.parse().unwrap();
    let device = Device {
        sensor: sensor.clone(),
        name: "Attic".into(),
        kind: "temperature".into(),
        unit: Some("°C".into()),
        path: path.map(|path| path.parse().unwrap()),
        every: None,
    };
    let reading = Some(Reading { sensor: sensor.clone(), value: ReadingValue::Number(value), time: Clock.wall() });
    house.rooms.alerts.observe(SensorReport { device, reading, broken: false }).unwrap();
    for _ in 0..600 {
        if house.rooms.alerts.snapshot().alarms.iter().any(|alarm| alarm.record.sensor.as_ref() == Some(&sensor)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no alert was raised");
}

#[tokio::test]
async fn alerts_are_listed_filtered_tagged_and_taken_note_of() {
    let desk = Desk::new().await;
    let house = warm(&desk).await;
    let list = house.get("/api/v1/alerts").await;
    assert_eq!((list.status.as_u16(), list.header("cache-control")), (200, "private, max-age=2"));
    let alert = &list.json()["items"][0];
    assert_eq!(alert["title"], "Attic: 40 °C");
    assert_eq!((&alert["sensor"], &alert["value"], &alert["threshold"]), (&"attic".into(), &json!(40.0), &json!(35.0)));
    let again = house.ask("GET", "/api/v1/alerts", &[("if-none-match", list.header("etag"))]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    for (query, count) in [
        ("state=active&severity=warning&sensor=attic&rule=temperature", 1),
        ("state=cleared", 0),
        ("severity=CRITICAL", 0),
        ("path=yard", 0),
        ("rule=x", 0),
    ] {
        let found = house.get(&format!("/api/v1/alerts?{query}")).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    for bad in ["state=over", "severity=bad", "path=a%20b", "sensor=a/b", "limit=0"] {
        let code = house.get(&format!("/api/v1/alerts?{bad}")).await.problem(400);
        assert!(code == "invalid_filter" || code == "invalid_limit", "{bad}: {code}");
    }

    let fingerprint = alert["fingerprint"].as_str().unwrap();
    let ack = format!("/api/v1/alerts/{fingerprint}/ack");
    let reply = house.tell("POST", &ack, json!({"note": "on my way", "until": "2100-01-01T00:00:00Z"})).await;
    assert_eq!(reply.status.as_u16(), 204);
    let noted = house.ask("GET", "/api/v1/alerts", &[("if-none-match", list.header("etag"))]).await;
    let noted = &noted.json()["items"][0]["ack"];
    assert_eq!((&noted["by"], &noted["note"]), (&"local".into(), &"on my way".into()));
    assert_eq!(noted["until"], "2100-01-01T00:00:00.000Z");
    assert_eq!(house.ask("POST", &ack, &[]).await.status.as_u16(), 204, "a body is not needed");
    let table = [
        (json!({"until": "tomorrow"}), "invalid_body"),
        (json!({"until": "2020-01-01T00:00:00Z"}), "invalid_until"),
        (json!({"noet": ""}), "invalid_body"),
        (json!({"note": "x".repeat(1001)}), "invalid_body"),
        (json!([1]), "invalid_body"),
    ];
    for (body, code) in table {
        assert_eq!(house.tell("POST", &ack, body.clone()).await.problem(400), code, "{body}");
    }
    let form = house.send("POST", &ack, &[("content-type", "text/plain")], "{}".into()).await;
    assert_eq!(form.problem(415), "unsupported_media_type");
    let huge = house.send("POST", &ack, &[], vec![b' '; 70_000].into()).await;
    assert_eq!(huge.problem(413), "body_too_large");
    assert_eq!(house.tell("POST", "/api/v1/alerts/none/ack", json!({})).await.problem(404), "alert_not_found");
}

#[tokio::test]
async fn silences_and_rules_come_and_go() {
    let desk = Desk::new().await;
    let house = warm(&desk).await;
    let weekly = json!({"sensor": "attic", "up_to": "warning", "time_zone": "Europe/Berlin", "note": "weekend",
                        "weekly": [{"days": ["sat"], "from": "08:00", "to": "20:00"}]});
    let added = house.tell("POST", "/api/v1/silences", weekly).await;
    assert_eq!(added.status.as_u16(), 201, "{added:?}");
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let list = house.get("/api/v1/silences").await.json();
    let silence = &list["items"][0];
    assert_eq!((&silence["id"], &silence["by"], &silence["up_to"]), (&json!(id), &"local".into(), &"warning".into()));
    assert_eq!((&silence["weekly"][0]["from"], &silence["time_zone"]), (&"08:00".into(), &"Europe/Berlin".into()));
    for bad in [
        json!({}),
        json!({"until": "2020-01-01T00:00:00Z"}),
        json!({"until": "2100-01-01T00:00:00Z", "path": "a b"}),
        json!({"until": "2100-01-01T00:00:00Z", "time_zone": "Mars"}),
        json!({"weekly": [{"from": "25:00"}]}),
    ] {
        let reply = house.tell("POST", "/api/v1/silences", bad.clone()).await;
        assert!(reply.problem(400).starts_with("invalid_"), "{bad}");
    }
    assert_eq!(house.ask("DELETE", &format!("/api/v1/silences/{id}"), &[]).await.status.as_u16(), 204);
    assert_eq!(house.ask("DELETE", &format!("/api/v1/silences/{id}"), &[]).await.problem(404), "silence_not_found");
    let fingerprint = house.get("/api/v1/alerts").await.json()["items"][0]["fingerprint"].as_str().unwrap().to_owned();
    let one = format!("/api/v1/alerts/{fingerprint}/silence");
    let hushed = house.tell("POST", &one, json!({"until": "2100-01-01T00:00:00Z"})).await;
    assert_eq!(hushed.status.as_u16(), 201);
    let alert = house.get("/api/v1/alerts").await.json()["items"][0].clone();
    assert_eq!(alert["silenced_by"], hushed.json()["id"]);

    let put = house.tell("POST", "/api/v1/rules", json!({"id": "hot", "preset": "temperature", "above": 39})).await;
    assert_eq!((put.status.as_u16(), put.json()["id"].clone()), (201, json!("hot")));
    assert_eq!(house.tell("PUT", "/api/v1/rules/hot", json!({"preset": "temperature", "above": 30})).await.status, 204);
    let rules = house.get("/api/v1/rules").await.json();
    let seen: Vec<_> = rules["items"].as_array().unwrap().iter().map(|rule| (&rule["id"], &rule["origin"])).collect();
    assert_eq!(seen, [(&json!("hot"), &json!("api")), (&json!("temperature"), &json!("file"))]);
    assert_eq!(
        rules["items"][0]["rule"],
        json!({"id": "hot", "preset": "temperature", "above": 30.0, "enabled": true})
    );
    for (method, url, body, status, code) in [
        ("POST", "/api/v1/rules", json!({"preset": "temperature"}), 409, "rule_in_file"),
        ("POST", "/api/v1/rules", json!({"id": "hot", "preset": "door"}), 409, "rule_exists"),
        ("POST", "/api/v1/rules", json!({"id": "x", "when": {"threshold": {"above": 1}}}), 400, "invalid_rule"),
        ("POST", "/api/v1/rules", json!({"id": "x", "title": "{nothing}"}), 400, "invalid_body"),
        ("PUT", "/api/v1/rules/none", json!({"preset": "door"}), 404, "rule_not_found"),
        ("PUT", "/api/v1/rules/hot", json!({"id": "cold", "preset": "door"}), 400, "invalid_rule"),
        ("DELETE", "/api/v1/rules/temperature", json!({}), 409, "rule_in_file"),
        ("DELETE", "/api/v1/rules/A%20B", json!({}), 404, "rule_not_found"),
    ] {
        assert_eq!(house.tell(method, url, body.clone()).await.problem(status), code, "{method} {url} {body}");
    }
    assert_eq!(house.ask("DELETE", "/api/v1/rules/hot", &[]).await.status.as_u16(), 204);
}

#[tokio::test]
async fn strangers_see_and_change_nothing() {
    let desk = Desk::new().await;
    let mut house = warm(&desk).await;
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for (method, url) in [
        ("GET", "/api/v1/alerts"),
        ("GET", "/api/v1/silences"),
        ("GET", "/api/v1/rules"),
        ("POST", "/api/v1/alerts/none/ack"),
        ("POST", "/api/v1/alerts/none/silence"),
        ("POST", "/api/v1/silences"),
        ("DELETE", "/api/v1/silences/none"),
        ("POST", "/api/v1/rules"),
        ("PUT", "/api/v1/rules/hot"),
        ("DELETE", "/api/v1/rules/hot"),
    ] {
        assert_eq!(house.ask(method, url, &[]).await.problem(401), "unauthenticated", "{method} {url}");
    }
}

#[tokio::test]
async fn an_alert_of_a_path_that_is_not_ones_own_is_as_one_that_is_not_there() {
    let desk = Desk::new().await;
    let mut house = warm(&desk).await;
    read(&house, "cellar", Some("secretlab"), 50.0).await;
    let fingerprint = |house: &House, sensor: &str| {
        let snapshot = house.rooms.alerts.snapshot();
        let about = |alarm: &&Arc<Alarm>| alarm.record.sensor.as_ref().is_some_and(|id| id.as_str() == sensor);
        snapshot.alarms.iter().find(about).unwrap().record.fingerprint.clone()
    };
    let (secret, general) = (fingerprint(&house, "cellar"), fingerprint(&house, "attic"));
    let until = json!({"until": "2100-01-01T00:00:00Z"});
    // Each way to tend it, and what is said: status, code and words, without what differs each time.
    let tend = async |house: &House, fingerprint: &str| {
        let mut said = Vec::new();
        for deed in ["ack", "silence"] {
            let reply = house.tell("POST", &format!("/api/v1/alerts/{fingerprint}/{deed}"), until.clone()).await;
            let body = reply.json();
            said.push(json!([reply.status.as_u16(), body["code"], body["detail"], body["hint"]]));
        }
        for mutation in [
            format!(r#"acknowledgeAlert(fingerprint: "{fingerprint}")"#),
            format!(r#"silenceAlert(fingerprint: "{fingerprint}", until: "2100-01-01T00:00:00Z")"#),
        ] {
            let query = json!({ "query": format!("mutation {{ {mutation} }}") });
            let error = house.tell("POST", "/graphql", query).await.json()["errors"][0].clone();
            said.push(json!([null, error["extensions"]["code"], error["message"], error["extensions"]["hint"]]));
        }
        said
    };
    let table = [
        (&[("view", "*"), ("alerts", "front")][..], 403, "not_allowed"),
        (&[("ack", "front"), ("alerts", "front")], 404, "alert_not_found"),
        (&[("ack", "front"), ("view", "*")], 404, "alert_not_found"),
        (&[("ack", "front"), ("control", "secretlab"), ("stats", "*")], 404, "alert_not_found"),
    ];
    for (permissions, status, code) in table {
        house.log_in_from_elsewhere(permissions);
        let unknown = tend(&house, "0123456789abcdef").await;
        assert_eq!((&unknown[0][0], &unknown[0][1]), (&json!(status), &json!(code)), "{permissions:?}");
        assert!(unknown.iter().all(|said| said[1] == code), "{permissions:?}: {unknown:?}");
        for fingerprint in [&secret, &general] {
            assert_eq!(tend(&house, fingerprint).await, unknown, "{permissions:?}");
        }
    }
    // One that may be seen is no secret.
    house.log_in_from_elsewhere(&[("alerts", "*"), ("ack", "front")]);
    let url = format!("/api/v1/alerts/{secret}/ack");
    assert_eq!(house.tell("POST", &url, json!({})).await.problem(403), "not_allowed");
    house.log_in_from_elsewhere(&[("ack", "secretlab")]);
    assert_eq!(house.tell("POST", &url, json!({})).await.status, 204);
}
