//! Alarms as tables: what is told, to the log and to people, second by second.

use std::{collections::BTreeMap, sync::Arc};

use super::{Alarm, AlarmError, Alarms, Matcher, NoWitness, Output, Silence, Witness};
use crate::{
    base::{PathName, Severity, WallTime},
    config::{Rule, RuleConfig, RuleId},
    events::{
        EventType,
        payload::{AlertEvent, AuditEvent, Evidence, ReadingValue},
        rules::{Change, Finding, Subject, Transition},
    },
};

/// The wall clock at a second: 08:00:00 UTC of a Friday and so many seconds.
fn at(second: i64) -> WallTime {
    WallTime::from_unix_nanos((1_800_000_000 + second) * 1_000_000_000)
}

fn rule(yaml: &str) -> Arc<Rule> {
    let config: RuleConfig = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(config.check(&[]), [], "{yaml}");
    Arc::new(config.resolve().unwrap())
}

struct Desk {
    alarms: Alarms,
    rules: BTreeMap<RuleId, Arc<Rule>>,
    kept: BTreeMap<String, Alarm>,
    silences: BTreeMap<String, Silence>,
}

impl Desk {
    fn new(rules: &[&str]) -> Self {
        let rules: BTreeMap<_, _> = rules.iter().map(|yaml| rule(yaml)).map(|rule| (rule.id.clone(), rule)).collect();
        let alarms = Alarms::resume([], [], &rules, Arc::new(NoWitness), at(0));
        Self { alarms, rules, kept: BTreeMap::new(), silences: BTreeMap::new() }
    }

    fn change(&mut self, rule: &str, path: &str, severity: Option<Severity>, raised: bool, second: i64) -> Vec<String> {
        let finding = |severity| Finding {
            severity,
            value: Some(ReadingValue::Number(36.5)),
            unit: Some("°C".into()),
            threshold: Some(35.0),
            time: at(second - 1),
        };
        let change = match severity {
            Some(severity) if raised => Change::Raised(finding(severity)),
            Some(severity) => Change::Changed(finding(severity)),
            None => Change::Cleared,
        };
        let path: PathName = path.parse().unwrap();
        let transition = Transition {
            rule: self.rules[&rule.parse::<RuleId>().unwrap()].clone(),
            subject: Subject::Path(path.clone()),
            device: "The yard".into(),
            path: Some(path),
            change,
            at: at(second),
        };
        self.alarms.handle_transition(&transition, at(second));
        self.told()
    }

    fn raise(&mut self, rule: &str, path: &str, second: i64) -> Vec<String> {
        self.change(rule, path, Some(Severity::Warning), true, second)
    }

    fn clear(&mut self, rule: &str, path: &str, second: i64) -> Vec<String> {
        self.change(rule, path, None, false, second)
    }

    fn wait(&mut self, second: i64) -> Vec<String> {
        self.alarms.handle_timeout(at(second));
        self.told()
    }

    /// What came out, as words: `raised yard warning`, `notice Raised 1`.
    fn told(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(output) = self.alarms.poll_output() {
            match output {
                Output::Append(draft) if draft.kind == EventType::Alert => {
                    let event: AlertEvent = serde_json::from_str(draft.data.get()).unwrap();
                    assert_eq!(event.change.name(), &*draft.name);
                    let about = draft.path.unwrap();
                    let more = match (event.escalation, event.reminder, event.alert.ack) {
                        (_, Some(true), _) => " reminder".to_owned(),
                        (Some(level), ..) => format!(" level {level}"),
                        (.., Some(ack)) => format!(" by {}", ack.by),
                        _ => String::new(),
                    };
                    words.push(format!("{} {about} {}{more}", draft.name, event.alert.severity.name()));
                }
                Output::Append(draft) => {
                    let deed: AuditEvent = serde_json::from_str(draft.data.get()).unwrap();
                    words.push(format!("{} by {}", deed.action, deed.by));
                }
                Output::Notify(notice) => words.push(format!("notice {:?} {}", notice.reason, notice.alerts.len())),
                Output::KeepAlarm(alarm) => drop(self.kept.insert(alarm.record.fingerprint.clone(), (*alarm).clone())),
                Output::ForgetAlarm(fingerprint) => drop(self.kept.remove(&fingerprint).unwrap()),
                Output::KeepSilence(silence) => drop(self.silences.insert(silence.id.clone(), silence)),
                Output::ForgetSilence(id) => drop(self.silences.remove(&id).unwrap()),
            }
        }
        words
    }

    /// What was kept goes through JSON, as over a restart.
    fn restart(&mut self, second: i64) -> Vec<String> {
        let kept: Vec<Alarm> =
            serde_json::from_str(&serde_json::to_string(&self.kept.values().collect::<Vec<_>>()).unwrap()).unwrap();
        let silences: Vec<Silence> =
            serde_json::from_str(&serde_json::to_string(&self.silences.values().collect::<Vec<_>>()).unwrap()).unwrap();
        self.alarms = Alarms::resume(kept, silences, &self.rules, Arc::new(NoWitness), at(second));
        self.told()
    }

    fn fingerprint(&self, path: &str) -> String {
        let of = |alarm: &&Arc<Alarm>| alarm.record.path.as_ref().is_some_and(|known| known.as_str() == path);
        self.alarms.all().find(of).unwrap().record.fingerprint.clone()
    }
}

#[test]
fn an_alert_has_its_texts_from_the_rule_and_the_reading_and_is_raised_once() {
    let mut desk = Desk::new(&[
        "{ id: hot, title: '{device}: {value} {unit}', message: '{rule} {severity} {threshold} {path}{sensor} {time}', when: { threshold: { kind: temperature, above: 35 } } }",
    ]);
    assert_eq!(desk.raise("hot", "yard", 10), ["raised yard warning", "notice Raised 1"]);
    assert_eq!(desk.raise("hot", "yard", 11), [""; 0], "the same again");
    let alarm = desk.alarms.all().next().unwrap().clone();
    assert_eq!(alarm.record.title, "The yard: 36.5 °C");
    assert_eq!(alarm.record.message, "hot warning 35 yard 2027-01-15T08:00:09.000Z", "of the reading that raised it");
    assert_eq!(alarm.record.updated_at, "2027-01-15T08:00:10.000Z");
    assert_eq!(alarm.record.started_at, "2027-01-15T08:00:09.000Z", "the reading's own time");
    let words = desk.change("hot", "yard", Some(Severity::Critical), false, 12);
    assert_eq!(words, ["updated yard critical", "notice Worsened 1"]);
    let worse = desk.alarms.all().next().unwrap().record.message.clone();
    assert_eq!(worse, "hot critical 35 yard 2027-01-15T08:00:11.000Z", "of the reading that made it worse");
    assert_eq!(desk.change("hot", "yard", Some(Severity::Critical), false, 13), [""; 0]);
    assert_eq!(desk.clear("hot", "yard", 14), ["cleared yard critical", "notice Cleared 1"]);
    assert_eq!(desk.clear("hot", "yard", 15), [""; 0]);
    let again = desk.raise("hot", "yard", 16);
    assert_eq!(again, ["raised yard warning", "notice Raised 1"]);
    assert_eq!(desk.fingerprint("yard"), alarm.record.fingerprint, "the same rule about the same thing");
}

#[test]
fn nobody_takes_note_and_then_somebody_does() {
    let mut desk = Desk::new(&["{ id: motion, preset: motion, repeat: 1m, escalate_after: [90s, 200s] }"]);
    assert_eq!(desk.raise("motion", "yard", 0).len(), 2);
    assert_eq!(desk.alarms.poll_deadline(at(0)), Some(at(60)));
    assert_eq!(desk.wait(60), ["updated yard warning reminder", "notice Reminder 1"]);
    assert_eq!(desk.restart(61), [""; 0]);
    assert_eq!(desk.wait(90), ["updated yard warning level 1", "notice Escalated(1) 1"]);
    let fingerprint = desk.fingerprint("yard");
    desk.alarms.acknowledge(&fingerprint, "ann", Some("on my way".into()), Some(at(1000)), at(100)).unwrap();
    assert_eq!(
        desk.told(),
        ["acknowledged yard warning level 1", "alert.acknowledged by ann", "notice Acknowledged 1"]
    );
    assert_eq!(desk.wait(999), [""; 0], "quiet while somebody is at it");
    assert_eq!(desk.wait(1000), ["updated yard warning level 1"]);
    assert_eq!(desk.wait(1001), ["updated yard warning level 2", "notice Escalated(2) 1"]);
    desk.alarms.acknowledge(&fingerprint, "bob", None, None, at(1002)).unwrap();
    desk.told();
    assert_eq!(desk.wait(100_000), [""; 0]);
    let worse = desk.change("motion", "yard", Some(Severity::Critical), false, 100_001);
    assert_eq!(worse, ["updated yard critical level 2", "notice Worsened 1"]);
    assert!(desk.alarms.all().next().unwrap().record.ack.is_none(), "the note was taken of something milder");
    desk.clear("motion", "yard", 100_002);
    let again = |desk: &mut Desk| desk.alarms.acknowledge(&fingerprint, "bob", None, None, at(100_003));
    assert_eq!(again(&mut desk), Err(AlarmError::Over));
    assert_eq!(desk.alarms.acknowledge("none", "bob", None, None, at(0)), Err(AlarmError::UnknownAlert));
}

fn silence(matcher: Matcher, until: Option<i64>, weekly: &str) -> Silence {
    Silence {
        id: "s1".into(),
        matcher,
        from: at(0).unix_nanos(),
        until: until.map(|until| at(until).unix_nanos()),
        weekly: serde_json::from_str(weekly).unwrap(),
        time_zone: "UTC".parse().unwrap(),
        by: "ann".into(),
        note: None,
    }
}

#[test]
fn a_silenced_alert_is_told_when_the_silence_ends_and_never_if_it_is_over_by_then() {
    let mut desk = Desk::new(&["preset: motion"]);
    let yard = Matcher { path: "yard".parse().ok(), ..Matcher::default() };
    desk.alarms.silence(silence(yard, Some(100), "[]"), at(0)).unwrap();
    assert_eq!(desk.told(), ["silence.added by ann"]);
    assert_eq!(desk.raise("motion", "yard", 10), [""; 0]);
    assert_eq!(desk.raise("motion", "gate", 11), ["raised gate warning", "notice Raised 1"]);
    assert_eq!(desk.clear("motion", "yard", 20), [""; 0]);
    assert_eq!(desk.raise("motion", "yard", 30), [""; 0]);
    assert_eq!(desk.restart(40), [""; 0]);
    assert_eq!(desk.alarms.poll_deadline(at(40)), Some(at(100)));
    assert_eq!(desk.wait(100), ["raised yard warning", "notice Raised 1"]);
    assert!(desk.silences.is_empty(), "it went by itself");
}

#[test]
fn a_weekly_silence_holds_in_its_hours_and_an_alert_that_was_told_is_cleared_aloud() {
    let mut desk = Desk::new(&["{ preset: motion, repeat: 1m }"]);
    let hours = r#"[{"days":["fri"],"from":"08:05","to":"08:10"}]"#;
    desk.alarms
        .silence(silence(Matcher { up_to: Some(Severity::Warning), ..Matcher::default() }, None, hours), at(0))
        .unwrap();
    desk.told();
    assert_eq!(desk.raise("motion", "yard", 250).len(), 2);
    assert_eq!(desk.wait(310), [""; 0], "no reminder within the hours");
    assert_eq!(desk.raise("motion", "gate", 320), [""; 0]);
    let words = desk.clear("motion", "yard", 330);
    assert_eq!(words, ["cleared yard warning", "notice Cleared 1"], "whoever was told is told");
    assert_eq!(desk.wait(600), ["raised gate warning", "notice Raised 1"]);
    assert_eq!(desk.alarms.unsilence("s1", "bob", at(601)), Ok(()));
    assert_eq!(desk.told(), ["silence.removed by bob"]);
    assert_eq!(desk.alarms.unsilence("s1", "bob", at(601)), Err(AlarmError::UnknownSilence));
}

#[test]
fn a_camera_that_is_offline_keeps_its_motion_quiet() {
    let mut desk = Desk::new(&["preset: camera_offline", "preset: motion"]);
    assert_eq!(desk.raise("camera_offline", "yard", 0).len(), 2);
    assert_eq!(desk.raise("motion", "yard", 1), [""; 0]);
    assert_eq!(desk.raise("motion", "gate", 2).len(), 2);
    let back = desk.clear("camera_offline", "yard", 3);
    assert_eq!(back, ["cleared yard warning", "notice Cleared 1", "raised yard warning", "notice Raised 1"]);
}

#[test]
fn alerts_of_a_group_are_one_notice_and_each_a_fact() {
    let mut desk = Desk::new(&["{ preset: motion, group: '{rule}' }"]);
    assert_eq!(desk.raise("motion", "yard", 0), ["raised yard warning"]);
    assert_eq!(desk.raise("motion", "gate", 5), ["raised gate warning"]);
    assert_eq!(desk.raise("motion", "barn", 6), ["raised barn warning"]);
    let words = desk.clear("motion", "barn", 7);
    assert_eq!(words, ["cleared barn warning"], "nobody was told of its beginning");
    assert_eq!(desk.alarms.poll_deadline(at(7)), Some(at(10)));
    assert_eq!(desk.wait(10), ["notice Raised 2"]);
    assert_eq!(desk.clear("motion", "yard", 11), ["cleared yard warning", "notice Cleared 1"]);
}

#[test]
fn what_waits_in_a_group_is_told_after_a_restart() {
    let mut desk = Desk::new(&["{ preset: motion, group: '{rule}' }"]);
    desk.raise("motion", "yard", 0);
    desk.raise("motion", "gate", 5);
    assert_eq!(desk.restart(7), [""; 0]);
    assert_eq!(desk.wait(17), ["notice Raised 2"]);
    assert_eq!(desk.restart(18), [""; 0]);
    assert_eq!(desk.wait(1000), [""; 0], "once");
}

#[test]
fn an_alert_whose_rule_is_gone_ends_with_the_restart() {
    let mut desk = Desk::new(&["preset: motion", "preset: door"]);
    desk.raise("motion", "yard", 0);
    desk.rules.retain(|id, _| id.as_str() != "motion");
    assert_eq!(desk.restart(10), ["cleared yard warning", "notice Cleared 1"]);
    assert!(desk.alarms.active().is_empty());
}

#[test]
fn nothing_is_kept_without_end() {
    let mut desk = Desk::new(&["preset: motion"]);
    for i in 0..10_100 {
        desk.raise("motion", &format!("label-{i}"), i);
    }
    assert_eq!((desk.alarms.refused(), desk.alarms.active().len()), (100, 10_000));
    for i in 0..600 {
        desk.clear("motion", &format!("label-{i}"), 20_000 + i);
    }
    assert_eq!((desk.alarms.all().count(), desk.kept.len()), (9_900, 9_900), "500 that are over");
}

#[test]
fn a_witness_is_asked_for_what_the_camera_saw_at_the_readings_time() {
    #[derive(Debug)]
    struct Seen;
    impl Witness for Seen {
        fn evidence(&self, path: &PathName, at: WallTime) -> Vec<Evidence> {
            vec![Evidence { kind: "picture".into(), moment: "at".into(), url: format!("{path}@{at}") }]
        }
    }
    let mut desk = Desk::new(&["preset: motion"]);
    desk.alarms = Alarms::resume([], [], &desk.rules, Arc::new(Seen), at(0));
    desk.raise("motion", "yard", 10);
    let alarm = desk.alarms.all().next().unwrap();
    assert_eq!(alarm.record.evidence[0].url, "yard@2027-01-15T08:00:09.000Z");
}

#[test]
fn what_the_log_says_of_itself_is_among_the_alerts() {
    let mut desk = Desk::new(&[]);
    let event = |rule: &str, change: &str, state: &str| -> AlertEvent {
        serde_json::from_value(serde_json::json!({"change": change, "alert": {
            "fingerprint": format!("{rule}-1"), "rule": rule, "severity": "critical", "state": state, "title": "t",
            "message": "m", "path": null, "sensor": null, "value": null, "unit": null, "threshold": null,
            "started_at": "x", "updated_at": change, "ended_at": null, "ack": null, "evidence": []}}))
        .unwrap()
    };
    for (rule, change, state, active) in [
        ("disk", "raised", "active", 1),
        ("disk", "updated", "active", 1),
        ("disk", "cleared", "cleared", 0),
        ("hot", "raised", "active", 0),
        ("store", "raised", "active", 1),
    ] {
        desk.alarms.handle_foreign(&event(rule, change, state), at(1));
        let found = desk.alarms.all().filter(|alarm| alarm.is_active()).count();
        assert_eq!(found, active, "{rule} {change}");
    }
    while desk.alarms.poll_output().is_some() {}
    desk.alarms.acknowledge("store-1", "ann", None, None, at(2)).unwrap();
    assert!(desk.alarms.all().all(|alarm| !alarm.is_active()), "taking note ends it");
}
