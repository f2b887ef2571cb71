//! The task on a real log and a real store.

use std::{sync::Arc, time::Duration};

use super::{
    Alerts, AlertsOptions, CameraSample, Cameras, Device, DiskRoom, NoWaysOut, Origin, Reading, SensorReport,
    SilenceOptions,
};
use crate::{
    base::{Clock, Severity},
    config::RuleConfig,
    events::{
        Delivery, EventType, Filter, Follower, From, Scope,
        alarms::{Matcher, NoWitness},
        payload::ReadingValue,
        rules::CameraStanding,
        testing::Desk,
    },
};

#[derive(Debug)]
struct Yard;

impl Cameras for Yard {
    fn look(&self) -> Vec<CameraSample> {
        vec![CameraSample {
            path: "yard".parse().unwrap(),
            title: "The yard".into(),
            standing: CameraStanding::Ready,
            picture: None,
            jumps: 0,
        }]
    }
}

fn rule(yaml: &str) -> RuleConfig {
    serde_saphyr::from_str(yaml).unwrap()
}

async fn start(desk: &Desk, rules: &[&str]) -> Alerts {
    let options = AlertsOptions {
        rules: rules.iter().map(|yaml| rule(yaml)).collect(),
        cameras: Arc::new(Yard),
        disk: Arc::new(|| Some(DiskRoom { free: 50, total: 100 })),
        witness: Arc::new(NoWitness),
        ways_out: Arc::new(NoWaysOut),
    };
    Alerts::start(options, desk.events.clone(), &desk.store, Clock, &desk.tasks).await
}

fn follow(desk: &Desk) -> Follower {
    desk.events.follow(Scope::house(), Filter::everything(), From::Now)
}

/// The words of the next facts.
async fn told(follower: &mut Follower, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        match tokio::time::timeout(Duration::from_secs(60), follower.next()).await.expect("facts should come") {
            Delivery::Facts(facts) => words.extend(facts.iter().map(|fact| fact.topic.name.to_string())),
            Delivery::Values(_) => {}
            other => panic!("{other:?}"),
        }
    }
    words
}

fn report(value: f64) -> SensorReport {
    let sensor: crate::base::SensorId = "attic".parse().unwrap();
    SensorReport {
        device: Device {
            sensor: sensor.clone(),
            name: "Attic".into(),
            kind: "temperature".into(),
            unit: Some("°C".into()),
            path: None,
            every: None,
        },
        reading: Some(Reading { sensor, value: ReadingValue::Number(value), time: Clock.wall() }),
        broken: false,
    }
}

#[tokio::test]
async fn a_reading_becomes_an_alert_that_survives_a_restart_and_is_cleared_once() {
    let desk = Desk::new().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: temperature"]).await;
    alerts.observe(report(40.0)).unwrap();
    assert_eq!(told(&mut follower, 1).await, ["raised"]);
    let fingerprint = alerts.snapshot().alarms[0].record.fingerprint.clone();
    alerts.acknowledge(fingerprint.clone(), "ann".into(), Some("mine".into()), None).await.unwrap();
    assert_eq!(told(&mut follower, 2).await, ["acknowledged", "alert.acknowledged"]);

    let desk = desk.restart().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: temperature"]).await;
    let kept = alerts.snapshot().alarms[0].clone();
    assert_eq!((kept.is_active(), kept.record.ack.as_ref().unwrap().by.as_str()), (true, "ann"));
    alerts.observe(report(41.0)).unwrap();
    alerts.observe(report(20.0)).unwrap();
    assert_eq!(told(&mut follower, 1).await, ["cleared"], "and not raised again");
    let over = alerts.acknowledge(fingerprint, "bob".into(), None, None).await.unwrap_err();
    assert_eq!(over.code(), "alert_over");
}

#[tokio::test]
async fn events_of_the_log_reach_the_rules_and_silences_keep_them_quiet() {
    let desk = Desk::new().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: doorbell"]).await;
    let ring = || {
        let mut draft = crate::events::testing::draft(EventType::CameraEvent, "doorbell_pressed");
        draft.time = Clock.wall();
        draft
    };
    let silence = SilenceOptions {
        matcher: Matcher { up_to: Some(Severity::Critical), ..Matcher::default() },
        from: None,
        until: Some(Clock.wall().plus_nanos(3_600_000_000_000)),
        weekly: Vec::new(),
        time_zone: Default::default(),
        note: None,
    };
    let id = alerts.silence(silence.clone(), "ann".into()).await.unwrap();
    desk.events.append(ring()).await.unwrap();
    assert_eq!(told(&mut follower, 2).await, ["silence.added", "doorbell_pressed"]);
    alerts.unsilence(id, "ann".into()).await.unwrap();
    let words = told(&mut follower, 2).await;
    assert!(words.contains(&"raised".to_owned()) && words.contains(&"silence.removed".to_owned()), "{words:?}");
    let past = SilenceOptions { until: Some(Clock.wall()), ..silence.clone() };
    assert_eq!(alerts.silence(past, "ann".into()).await.unwrap_err().code(), "invalid_silence");
    let endless = SilenceOptions { until: None, ..silence };
    assert_eq!(alerts.silence(endless, "ann".into()).await.unwrap_err().code(), "invalid_silence");
}

#[tokio::test]
async fn rules_that_were_added_are_kept_and_those_of_the_file_stay() {
    let desk = Desk::new().await;
    let alerts = start(&desk, &["preset: smoke"]).await;
    alerts.put_rule(rule("preset: temperature"), true, "ann".into()).await.unwrap();
    alerts.put_rule(rule("{ preset: temperature, above: 30 }"), false, "ann".into()).await.unwrap();
    alerts.put_rule(rule("preset: door"), true, "ann".into()).await.unwrap();
    alerts.remove_rule("door".parse().unwrap(), "ann".into()).await.unwrap();
    let refused = alerts.remove_rule("smoke".parse().unwrap(), "ann".into()).await.unwrap_err();
    assert_eq!(refused.code(), "rule_in_file");

    let desk = desk.restart().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: smoke"]).await;
    let rules = &alerts.snapshot().rules;
    let names: Vec<_> = rules.iter().map(|entry| (entry.id.as_str(), entry.origin)).collect();
    assert_eq!(names, [("smoke", Origin::File), ("temperature", Origin::Api)]);
    alerts.observe(report(31.0)).unwrap();
    assert_eq!(told(&mut follower, 1).await, ["raised"]);
    alerts.remove_rule("temperature".parse().unwrap(), "bob".into()).await.unwrap();
    let mut words = told(&mut follower, 2).await;
    words.sort();
    assert_eq!(words, ["cleared", "rule.removed"], "an alert ends with its rule");
}
