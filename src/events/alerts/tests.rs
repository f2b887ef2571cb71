//! The task on a real log and a real store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Alerts, AlertsOptions, CameraSample, Cameras, DiskRoom, NoWaysOut, Notice, Origin, SilenceOptions, WaysOut,
};
use crate::{
    base::{Clock, Severity},
    config::RuleConfig,
    events::{
        Cursor, Delivery, Draft, EventType, Filter, Follower, From, Scope,
        alarms::{Matcher, NoWitness, Reason},
        rules::CameraStanding,
        testing::{Desk, attic, draft},
    },
    store::DocumentChange,
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

fn options(rules: &[&str]) -> AlertsOptions {
    AlertsOptions {
        rules: rules.iter().map(|yaml| rule(yaml)).collect(),
        cameras: Arc::new(Yard),
        disk: Arc::new(|| Some(DiskRoom { free: 50, total: 100 })),
        witness: Arc::new(NoWitness),
        ways_out: Arc::new(NoWaysOut),
    }
}

async fn start(desk: &Desk, rules: &[&str]) -> Alerts {
    Alerts::start(options(rules), desk.events.clone(), &desk.store, Clock, &desk.tasks).await
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

#[tokio::test]
async fn a_reading_becomes_an_alert_that_survives_a_restart_and_is_cleared_once() {
    let desk = Desk::new().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: temperature"]).await;
    alerts.observe(attic(40.0)).unwrap();
    assert_eq!(told(&mut follower, 1).await, ["raised"]);
    let fingerprint = alerts.snapshot().alarms[0].record.fingerprint.clone();
    alerts.acknowledge(fingerprint.clone(), "ann".into(), Some("mine".into()), None).await.unwrap();
    assert_eq!(told(&mut follower, 2).await, ["acknowledged", "alert.acknowledged"]);

    let desk = desk.restart().await;
    let mut follower = follow(&desk);
    let alerts = start(&desk, &["preset: temperature"]).await;
    let kept = alerts.snapshot().alarms[0].clone();
    assert_eq!((kept.is_active(), kept.record.ack.as_ref().unwrap().by.as_str()), (true, "ann"));
    alerts.observe(attic(41.0)).unwrap();
    alerts.observe(attic(20.0)).unwrap();
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
        let mut draft = draft(EventType::CameraEvent, "doorbell_pressed");
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
    alerts.observe(attic(31.0)).unwrap();
    assert_eq!(told(&mut follower, 1).await, ["raised"]);
    alerts.remove_rule("temperature".parse().unwrap(), "bob".into()).await.unwrap();
    let mut words = told(&mut follower, 2).await;
    words.sort();
    assert_eq!(words, ["cleared", "rule.removed"], "an alert ends with its rule");
}

fn ring(path: &str) -> Draft {
    let mut draft = draft(EventType::CameraEvent, "doorbell_pressed");
    (draft.time, draft.path) = (Clock.wall(), Some(path.parse().unwrap()));
    draft
}

/// The alerts of the log, each as what became of it and where, up to an event that is appended to see the end.
async fn alerts_until_now(desk: &Desk, after: Cursor) -> Vec<String> {
    let mut follower = desk.events.follow(Scope::house(), Filter::everything(), From::After(after));
    // An order is answered after everything before it.
    let end = desk.events.append(draft(EventType::CameraEvent, "end")).await.unwrap().cursor;
    let mut words = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(60), follower.next()).await.expect("facts should come") {
            Delivery::Facts(facts) => {
                for fact in facts {
                    if fact.topic.kind == EventType::Alert {
                        words.push(format!("{} {}", fact.topic.name, fact.topic.path.as_ref().unwrap()));
                    }
                    if fact.cursor == end {
                        return words;
                    }
                }
            }
            Delivery::Values(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Keeps what people were told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(Reason, String)>>);

impl WaysOut for Told {
    fn wants(&self, _: &Arc<Notice>) -> bool {
        true
    }

    fn take(&self, notices: Vec<Arc<Notice>>, _: bool) {
        let told = notices.iter().map(|notice| (notice.reason, notice.title.clone()));
        self.0.lock().unwrap().extend(told);
    }
}

#[tokio::test]
async fn an_event_that_was_committed_before_the_process_was_killed_is_heard_after_the_start_and_once() {
    let rules = ["{ id: ring, when: { event: { kind: doorbell_pressed, hold: 1h } } }"];
    let desk = Desk::new().await;
    let alerts = start(&desk, &rules).await;
    let begin = desk.events.cursor();
    desk.events.append(ring("gate")).await.unwrap();
    // Whatever is heard is heard before an order is answered that comes when it is there.
    settled(&alerts, 1).await;
    assert_eq!(alerts_until_now(&desk, begin).await, ["raised gate"]);

    // Committed, and nobody of the process that ended heard of it.
    let desk = desk.restart().await;
    desk.events.append(ring("yard")).await.unwrap();
    let alerts = start(&desk, &rules).await;
    settled(&alerts, 2).await;
    assert_eq!(alerts_until_now(&desk, begin).await, ["raised gate", "raised yard"]);

    let desk = desk.restart().await;
    let alerts = start(&desk, &rules).await;
    desk.events.append(ring("cellar")).await.unwrap();
    settled(&alerts, 3).await;
    assert_eq!(alerts_until_now(&desk, begin).await, ["raised gate", "raised yard", "raised cellar"]);
}

#[tokio::test]
async fn what_happened_before_the_first_place_was_kept_is_heard_after_a_restart() {
    let rules = ["{ id: ring, when: { event: { kind: doorbell_pressed, hold: 1h } } }"];
    let desk = Desk::new().await;
    let begin = desk.events.cursor();
    // The very first process: its rules never came to hear of anything.
    drop(start(&desk, &rules).await);
    assert_eq!(desk.store.documents().one("rules_places", "heard".to_owned()).await.unwrap(), Some(begin.to_string()));
    let desk = desk.restart().await;
    desk.events.append(ring("gate")).await.unwrap();
    let alerts = start(&desk, &rules).await;
    settled(&alerts, 1).await;
    assert_eq!(alerts_until_now(&desk, begin).await, ["raised gate"]);
}

#[tokio::test]
async fn an_alert_that_was_told_and_not_kept_is_not_told_again_but_people_are() {
    let rules = ["{ id: ring, when: { event: { kind: doorbell_pressed, hold: 1h } } }"];
    let desk = Desk::new().await;
    let alerts = start(&desk, &rules).await;
    let begin = desk.events.cursor();
    desk.events.append(ring("gate")).await.unwrap();
    settled(&alerts, 1).await;
    // As a process leaves it that was killed between the log's commit and that of the alarms.
    let desk = desk.restart().await;
    let places = desk.store.documents().all("rules_places").await.unwrap();
    assert_eq!(places.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["heard", "told"]);
    let back = |collection, key: &str, body: Option<String>| DocumentChange { collection, key: key.into(), body };
    let changes = vec![
        back("alarms", &alerts.snapshot().alarms[0].record.fingerprint, None),
        back("rules_memory", "all", None),
        back("rules_places", "heard", Some(begin.to_string())),
        back("rules_places", "told", Some(begin.to_string())),
    ];
    desk.store.documents().apply(changes).await.unwrap();
    let told = Arc::new(Told::default());
    let alerts = Alerts::start(
        AlertsOptions { ways_out: told.clone(), ..options(&rules) },
        desk.events.clone(),
        &desk.store,
        Clock,
        &desk.tasks,
    )
    .await;
    settled(&alerts, 1).await;
    assert!(alerts.snapshot().alarms[0].is_active());
    assert_eq!(alerts_until_now(&desk, begin).await, ["raised gate"]);
    let told = told.0.lock().unwrap().clone();
    assert_eq!(told.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(), [Reason::Raised], "{told:?}");
}

#[tokio::test]
async fn an_event_whose_alert_is_over_does_not_raise_it_again_when_it_is_heard_again() {
    let desk = Desk::new().await;
    let alerts = start(&desk, &["{ id: ring, when: { event: { kind: doorbell_pressed, hold: 1ms } } }"]).await;
    let begin = desk.events.cursor();
    desk.events.append(ring("gate")).await.unwrap();
    let mut version = 0;
    while !alerts.snapshot().alarms.iter().any(|alarm| !alarm.is_active()) {
        version = alerts.snapshot().version.max(version);
        tokio::time::timeout(Duration::from_secs(60), alerts.changed(version)).await.expect("it should end");
    }
    let desk = desk.restart().await;
    // The memory of rules is written at most once a second; the alarms with every change.
    let back = |key: &str, body| DocumentChange { collection: "rules_places", key: key.into(), body };
    desk.store.documents().apply(vec![back("heard", Some(begin.to_string()))]).await.unwrap();
    let alerts = start(&desk, &["{ id: ring, when: { event: { kind: doorbell_pressed, hold: 1ms } } }"]).await;
    desk.events.append(ring("yard")).await.unwrap();
    settled(&alerts, 2).await;
    let words = alerts_until_now(&desk, begin).await;
    assert_eq!(words.iter().filter(|word| *word == "raised gate").count(), 1, "{words:?}");
}

/// Waits until there are so many alarms.
async fn settled(alerts: &Alerts, count: usize) {
    loop {
        let snapshot = alerts.snapshot();
        if snapshot.alarms.len() >= count {
            break;
        }
        let changed = alerts.changed(snapshot.version);
        tokio::time::timeout(Duration::from_secs(60), changed).await.expect("there should be more alarms");
    }
    // The snapshot is shown before the log has the facts; an order is answered after both.
    assert!(alerts.unsilence("none".into(), "ann".into()).await.is_err());
}
