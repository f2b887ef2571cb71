//! Rules as tables, and against a naive model that works everything out anew from the whole history, second by second.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    CameraSample, CameraStanding, Change, Device, DiskRoom, KeyPicture, Occurrence, PictureFigures, Reading, Rules,
    SavedRules, Subject, phase::Truth,
};
use crate::{
    base::{Moment, Monotonic, SensorId, WallTime},
    config::{Rule, RuleConfig, RuleId, rules::Preset},
    events::payload::ReadingValue,
};

/// Seconds on both clocks; the monotonic one has its zero elsewhere after a restart.
fn moment(second: u64, zero: u64) -> Moment {
    Moment {
        monotonic: Monotonic::from_nanos((zero + second) * 1_000_000_000),
        wall: WallTime::from_unix_nanos((1_800_000_000 + second as i64) * 1_000_000_000),
    }
}

fn rule(yaml: &str) -> Rule {
    let config: RuleConfig = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(config.check(&[]), [], "{yaml}");
    config.resolve().unwrap()
}

fn device(id: &str, kind: &str, every: Option<u64>) -> Device {
    Device {
        sensor: id.parse().unwrap(),
        name: id.to_uppercase(),
        kind: kind.into(),
        unit: Some("°C".into()),
        path: None,
        every: every.map(Duration::from_secs),
    }
}

fn number(id: &str, number: f64, at: Moment) -> Reading {
    Reading { sensor: id.parse().unwrap(), value: ReadingValue::Number(number), time: at.wall }
}

/// What changed, as words: `raise heat attic warning 36`.
fn told(rules: &mut Rules) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(transition) = rules.poll_output() {
        let about = match &transition.subject {
            Subject::Sensor(sensor) => sensor.to_string(),
            Subject::Path(path) => path.to_string(),
            Subject::Server => "server".into(),
        };
        let finding = |word: &str, finding: &super::Finding| {
            let value = finding.value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            format!("{word} {} {about} {} {value}", transition.rule.id, finding.severity.name())
        };
        words.push(match &transition.change {
            Change::Raised(found) => finding("raise", found),
            Change::Changed(found) => finding("change", found),
            Change::Cleared => format!("clear {} {about}", transition.rule.id),
        });
    }
    words
}

struct House {
    rules: Rules,
}

impl House {
    fn new(yaml: &[&str]) -> Self {
        let mut rules = Rules::default();
        rules.set_rules(yaml.iter().map(|yaml| rule(yaml)), moment(0, 100));
        for (id, kind, every) in [
            ("attic", "temperature", Some(10)),
            ("cellar", "temperature", None),
            ("door", "door", None),
            ("pir", "motion", None),
        ] {
            rules.handle_device(device(id, kind, every), moment(0, 100));
        }
        Self { rules }
    }

    /// Gives a reading (`true`, `false`, a number or a word), an event (`motion!yard`), one of security
    /// (`security:refusals`), a camera (`away@yard`), the free percent of the disk (`disk:4`), a broken source
    /// (`broken:attic`), or nothing (`-`), and takes what changed.
    fn at(&mut self, second: u64, what: &str) -> Vec<String> {
        let now = moment(second, 100);
        if let Some((kind, path)) = what.split_once('!') {
            let path = Some(path.parse().unwrap());
            self.rules.handle_event(&Occurrence { kind: kind.into(), security: false, path, time: now.wall }, now);
        } else if let Some((standing, path)) = what.split_once('@') {
            let standing = match standing {
                "away" => CameraStanding::Away,
                "stalled" => CameraStanding::Stalled,
                _ => CameraStanding::Ready,
            };
            let (path, title) = (path.parse().unwrap(), "The yard".into());
            self.rules.handle_camera(&CameraSample { path, title, standing, picture: None, jumps: 0 }, now);
        } else if let Some(kind) = what.strip_prefix("security:") {
            let occurrence = Occurrence { kind: kind.into(), security: true, path: None, time: now.wall };
            self.rules.handle_event(&occurrence, now);
        } else if let Some(free) = what.strip_prefix("disk:") {
            let free: u64 = free.parse().unwrap();
            self.rules.handle_disk(DiskRoom { free: free * 1_000_000_000, total: 100_000_000_000 }, now);
        } else if let Some(sensor) = what.strip_prefix("broken:") {
            self.rules.handle_source(&sensor.parse().unwrap(), true, now);
        } else if let Some((sensor, value)) = what.split_once('=') {
            let value = match value {
                "true" | "false" => ReadingValue::Flag(value == "true"),
                number if number.parse::<f64>().is_ok() => ReadingValue::Number(number.parse().unwrap()),
                word => ReadingValue::Text(word.into()),
            };
            let known =
                self.rules.handle_reading(Reading { sensor: sensor.parse().unwrap(), value, time: now.wall }, now);
            assert!(known, "{sensor}");
        } else {
            self.rules.handle_timeout(now);
        }
        told(&mut self.rules)
    }

    #[track_caller]
    fn plays(&mut self, table: &[(u64, &str, &[&str])]) {
        for (second, what, expected) in table {
            assert_eq!(self.at(*second, what), *expected, "second {second}: {what}");
        }
    }
}

#[test]
fn a_preset_raises_and_clears_for_each_sensor_of_its_kind() {
    House::new(&["preset: temperature"]).plays(&[
        (1, "attic=35", &[]),
        (2, "attic=36", &["raise temperature attic warning 36"]),
        (3, "cellar=40", &["raise temperature cellar warning 40"]),
        (4, "attic=36", &[]),
        (5, "attic=34", &["change temperature attic warning 34"]),
        (6, "attic=33", &["clear temperature attic"]),
        (7, "door=true", &[]),
    ]);
}

#[test]
fn levels_change_the_severity_and_an_alarm_waits_for_its_span() {
    let heat = "{ id: heat, for: 5s, when: { threshold: { sensor: attic, above: { warning: 35, critical: 45 } } } }";
    House::new(&[heat]).plays(&[
        (1, "attic=36", &[]),
        (3, "attic=30", &[]),
        (4, "attic=37", &[]),
        (8, "attic=46", &[]),
        (20, "-", &["raise heat attic critical 46"]),
        (21, "attic=36", &["change heat attic warning 36"]),
        (22, "attic=20", &["clear heat attic"]),
    ]);
}

#[test]
fn conditions_are_joined_across_sensors_and_cameras() {
    let both = "{ id: both, when: { all: [ { state: { sensor: door, is: true } }, { camera: { state: offline, path: yard } } ] } }";
    let either =
        "{ id: either, when: { any: [ { event: { kind: motion, hold: 10s } }, { state: { kind: motion } } ] } }";
    let odd = "{ id: odd, when: { not: { threshold: { sensor: cellar, below: 5 } } } }";
    House::new(&[both, either, odd]).plays(&[
        (1, "door=true", &[]),
        (2, "away@yard", &["raise both door warning true"]),
        (3, "ready@yard", &["clear both door"]),
        (4, "motion!yard", &["raise either yard warning motion"]),
        (5, "pir=true", &["raise either pir warning true"]),
        (6, "motion!yard", &[]),
        (7, "pir=false", &["clear either pir"]),
        (15, "-", &[]),
        (16, "-", &["clear either yard"]),
        (17, "cellar=4", &[]),
        (18, "cellar=6", &["raise odd cellar warning 6"]),
        (19, "cellar=3", &["clear odd cellar"]),
    ]);
}

#[test]
fn silence_is_no_data_or_a_broken_source_and_each_can_be_asked_for() {
    let quiet = "{ id: quiet, when: { absent: { sensor: attic, times: 2 } } }";
    let broken = "{ id: broken, when: { absent: { state: source_error } } }";
    House::new(&[quiet, broken]).plays(&[
        (15, "attic=20", &[]),
        (34, "-", &[]),
        (35, "-", &["raise quiet attic warning no_data"]),
        (40, "broken:attic", &["raise broken attic warning source_error", "change quiet attic warning source_error"]),
        (41, "attic=21", &["clear broken attic", "clear quiet attic"]),
    ]);
}

#[test]
fn fast_changes_camera_troubles_and_a_full_disk_raise() {
    let fast = "{ id: fast, when: { rate: { kind: temperature, rises: 5, within: 10s } } }";
    House::new(&[fast, "preset: disk_low", "preset: camera_offline"]).plays(&[
        (1, "attic=20", &[]),
        (5, "attic=22", &[]),
        (9, "attic=25", &["raise fast attic warning 25"]),
        (11, "-", &["clear fast attic"]),
        (12, "cellar=1", &[]),
        (12, "disk:4", &[]),
        (13, "away@yard", &[]),
        (43, "-", &["raise camera_offline yard critical offline"]),
        (73, "-", &["raise disk_low server critical 4"]),
        (74, "ready@yard", &[]),
        (80, "disk:6", &[]),
        (84, "-", &["clear camera_offline yard"]),
        (140, "-", &["clear disk_low server"]),
    ]);
}

#[test]
fn what_is_said_of_security_is_no_event_of_a_camera_and_nobody_else_can_say_it() {
    let at_night = "{ id: night, when: { any: [ { event: { kind: refusals } } ] } }";
    House::new(&["preset: refusals", at_night]).plays(&[
        (1, "refusals!yard", &["raise night yard warning refusals"]),
        (2, "security:refusals", &["raise refusals server warning refusals"]),
        (3, "disk:50", &[]),
        (4, "ready@yard", &[]),
        (31, "-", &["clear night yard"]),
        (62, "security:refusals", &[]),
        (361, "-", &[]),
        (362, "-", &["clear refusals server"]),
    ]);
}

/// A minute in which everything is well, then one in which something is not; what only that preset's rule says of it.
#[test]
fn every_preset_raises_for_what_its_page_says_and_for_nothing_before() {
    /// A camera in good order, and with one trouble.
    fn films(house: &mut House, second: u64, trouble: Option<&str>) -> Vec<String> {
        let bad = |word: &str| trouble == Some(word);
        let picture = PictureFigures {
            per_second: if bad("camera_low_frame_rate") { 10.0 } else { 25.0 },
            bit_rate_bps: if bad("camera_bit_rate_collapse") { 400_000 } else { 4_000_000 },
            key: Some(KeyPicture { number: second / 2, digest: if bad("camera_frozen") { 7 } else { second / 2 } }),
        };
        let standing = match trouble {
            Some("camera_offline") => CameraStanding::Away,
            Some("camera_stalled") => CameraStanding::Stalled,
            _ => CameraStanding::Ready,
        };
        let sample = CameraSample {
            path: "yard".parse().unwrap(),
            title: "The yard".into(),
            standing,
            picture: (standing == CameraStanding::Ready).then_some(picture),
            jumps: u64::from(bad("camera_clock_jump")),
        };
        house.rules.handle_camera(&sample, moment(second, 100));
        told(&mut house.rules)
    }

    // The preset, what happens in the second minute if it is no camera's trouble, and what is told.
    let table = [
        ("temperature", "attic=36", "attic warning 36"),
        ("motion", "motion!yard", "yard info motion"),
        ("smoke", "smoke=true", "smoke critical true"),
        ("water_leak", "leak=true", "leak critical true"),
        ("door", "door=true", "door info true"),
        ("doorbell", "doorbell_pressed!yard", "yard info doorbell_pressed"),
        ("face", "face_recognized!yard", "yard info face_recognized"),
        ("person", "person_detected!yard", "yard info person_detected"),
        ("camera_offline", "", "yard critical offline"),
        ("camera_stalled", "", "yard warning stalled"),
        ("camera_frozen", "", "yard warning frozen"),
        ("camera_low_frame_rate", "", "yard warning low_frame_rate"),
        ("camera_bit_rate_collapse", "", "yard warning bit_rate_collapse"),
        ("camera_clock_jump", "", "yard warning clock_jump"),
        ("disk_low", "disk:4", "server critical 4"),
        ("sensor_silent", "-", "attic warning no_data"),
        ("refusals", "security:refusals", "server warning refusals"),
    ];
    assert_eq!(table.map(|(preset, ..)| preset), Preset::ALL.map(Preset::name));
    for (preset, happens, expected) in table {
        let mut house = House::new(&[&format!("preset: {preset}")]);
        for (id, kind) in [("smoke", "smoke"), ("leak", "water")] {
            house.rules.handle_device(device(id, kind, None), moment(0, 100));
        }
        for second in 1..=60 {
            for well in ["attic=20", "door=false", "smoke=false", "leak=false", "disk:50"] {
                assert_eq!(house.at(second, well), [""; 0], "{preset}, second {second}");
            }
            assert_eq!(films(&mut house, second, None), [""; 0], "{preset}, second {second}");
        }
        let mut said = Vec::new();
        for second in 61..=125 {
            said.extend(match happens {
                "" => films(&mut house, second, Some(preset)),
                "-" => house.at(second, happens),
                _ if second == 61 || happens.starts_with("disk") => house.at(second, happens),
                _ => house.at(second, "-"),
            });
        }
        let raised: Vec<_> = said.iter().filter(|word| word.starts_with("raise")).collect();
        assert_eq!(raised, [&format!("raise {preset} {expected}")], "{said:?}");
    }
}

#[test]
fn outside_of_its_schedule_a_rule_raises_nothing_and_its_alarms_end() {
    // The wall clock stands at 08:00:00 UTC, 15 January 2027, a Friday.
    let nights = "{ id: nights, preset: door, for: 0s, schedule: [ { days: [fri], from: '08:01', to: '08:02' } ] }";
    House::new(&[nights]).plays(&[
        (1, "door=true", &[]),
        (59, "-", &[]),
        (60, "-", &["raise nights door info true"]),
        (119, "-", &[]),
        (120, "-", &["clear nights door"]),
    ]);
}

#[test]
fn a_rule_that_goes_ends_its_alarms_and_a_new_one_knows_the_last_readings() {
    let mut house = House::new(&["preset: temperature"]);
    assert_eq!(house.at(1, "attic=36").len(), 1);
    let now = moment(2, 100);
    house.rules.set_rules([rule("preset: temperature"), rule("{ id: warm, preset: temperature, above: 30 }")], now);
    assert_eq!(told(&mut house.rules), ["raise warm attic warning 36"]);
    house.rules.set_rules([rule("{ id: warm, preset: temperature, above: 35 }")], now);
    assert_eq!(told(&mut house.rules), ["clear temperature attic", "clear warm attic", "raise warm attic warning 36"]);
}

#[test]
fn a_camera_that_is_gone_has_no_trouble_and_is_forgotten() {
    let mut house = House::new(&["{ preset: camera_offline, for: 0s, clear_after: 0s }"]);
    assert_eq!(house.at(1, "away@yard"), ["raise camera_offline yard critical offline"]);
    house.rules.handle_cameras(&[], moment(2, 100));
    assert_eq!(told(&mut house.rules), ["clear camera_offline yard"]);
    assert_eq!((house.rules.leaves.len(), house.rules.cameras.len()), (0, 0));
}

#[test]
fn nothing_is_remembered_without_end() {
    let mut rules = Rules::default();
    rules.set_rules([rule("preset: motion")], moment(0, 0));
    for i in 0..60_000_u64 {
        let path = Some(format!("label-{i}").parse().unwrap());
        let now = moment(i / 10_000, 0);
        rules.handle_event(&Occurrence { kind: "motion".into(), security: false, path, time: now.wall }, now);
        while rules.poll_output().is_some() {}
    }
    assert_eq!(rules.refused(), 10_000);
    rules.handle_timeout(moment(3600, 0));
    assert_eq!((rules.leaves.len(), rules.alarms.len(), rules.poll_deadline()), (0, 0, None));
}

/// One condition of the naive model.
#[derive(Clone, Debug)]
enum Naive {
    Above { sensor: &'static str, limit: i32, hysteresis: i32 },
    Rises { sensor: &'static str, by: i32, within: u64 },
    Absent { times: u32 },
    Motion { hold: u64 },
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

#[derive(Clone, Debug)]
enum Input {
    Nothing,
    Reading(&'static str, i32),
    Motion,
    Restart,
}

/// How often the attic's sensor should show something.
const EVERY: u64 = 3;

impl Naive {
    fn yaml(&self) -> String {
        let list = |list: &[Self]| list.iter().map(Self::yaml).collect::<Vec<_>>().join(", ");
        match self {
            Self::Above { sensor, limit, hysteresis } => {
                format!("{{ threshold: {{ sensor: {sensor}, above: {limit}, hysteresis: {hysteresis} }} }}")
            }
            Self::Rises { sensor, by, within } => {
                format!("{{ rate: {{ sensor: {sensor}, rises: {by}, within: {within}s }} }}")
            }
            Self::Absent { times } => format!("{{ absent: {{ sensor: attic, times: {times} }} }}"),
            Self::Motion { hold } => format!("{{ event: {{ kind: motion, path: yard, hold: {hold}s }} }}"),
            Self::All(below) => format!("{{ all: [{}] }}", list(below)),
            Self::Any(below) => format!("{{ any: [{}] }}", list(below)),
            Self::Not(below) => format!("{{ not: {} }}", below.yaml()),
        }
    }

    /// What it says at `second`, of all that came before the end of `history`.
    fn truth(&self, history: &[Input], second: u64) -> Truth {
        let readings = |wanted: &str| -> Vec<(u64, i32)> {
            let all = history.iter().enumerate();
            all.filter_map(|(at, input)| match input {
                Input::Reading(sensor, value) if *sensor == wanted => Some((at as u64, *value)),
                _ => None,
            })
            .collect()
        };
        let known = |holds| if holds { Truth::True } else { Truth::False };
        match self {
            Self::Above { sensor, limit, hysteresis } => {
                let readings = readings(sensor);
                let so =
                    readings.iter().fold(false, |so, (_, value)| value > limit || (so && *value > limit - hysteresis));
                if readings.is_empty() { Truth::Unknown } else { known(so) }
            }
            Self::Rises { sensor, by, within } => {
                let readings = readings(sensor);
                let span = readings.iter().filter(|(at, _)| at + within > second);
                let lowest = span.map(|(_, value)| *value).min();
                match (readings.last(), lowest) {
                    (None, _) => Truth::Unknown,
                    (Some((_, newest)), Some(lowest)) => known(newest - lowest >= *by),
                    (Some(_), None) => Truth::False,
                }
            }
            Self::Absent { times } => {
                let last = readings("attic").last().map_or(0, |(at, _)| *at);
                known(second - last >= u64::from(*times) * EVERY)
            }
            Self::Motion { hold } => {
                let last = history.iter().rposition(|input| matches!(input, Input::Motion));
                known(last.is_some_and(|at| second < at as u64 + hold))
            }
            Self::All(below) => below.iter().map(|node| node.truth(history, second)).min().unwrap(),
            Self::Any(below) => below.iter().map(|node| node.truth(history, second)).max().unwrap(),
            Self::Not(below) => match below.truth(history, second) {
                Truth::True => Truth::False,
                Truth::Unknown => Truth::Unknown,
                Truth::False => Truth::True,
            },
        }
    }
}

/// Every second, before and after what comes at it.
fn model(condition: &Naive, spans: [u64; 3], history: &[Input]) -> Vec<(u64, bool)> {
    let [holds_for, clear_after, hold_off] = spans;
    let (mut active, mut turning, mut quiet, mut changes) = (false, None, 0, Vec::new());
    for second in 0..history.len() as u64 {
        for seen in [second, second + 1] {
            let truth = condition.truth(&history[..seen as usize], second);
            let turns = if active { Truth::False } else { Truth::True };
            if truth != turns {
                turning = None;
                continue;
            }
            let since = *turning.get_or_insert(second);
            let due = if active { since + clear_after } else { (since + holds_for).max(quiet) };
            if second >= due {
                active = !active;
                turning = None;
                quiet = second + hold_off;
                changes.push((second, active));
            }
        }
    }
    changes
}

/// The same, by the machine; it is asked only when something comes or when it wants to be.
fn machine(condition: &Naive, spans: [u64; 3], history: &[Input]) -> Vec<(u64, bool)> {
    let [holds_for, clear_after, hold_off] = spans;
    let yaml = format!(
        "{{ id: r, for: {holds_for}s, clear_after: {clear_after}s, hold_off: {hold_off}s, when: {} }}",
        condition.yaml()
    );
    let rule = rule(&yaml);
    let devices = |rules: &mut Rules, now| {
        for (id, every) in [("attic", Some(EVERY)), ("cellar", None)] {
            rules.handle_device(device(id, "temperature", every), now);
        }
    };
    let (mut zero, mut changes, mut active) = (1000, Vec::new(), BTreeMap::<(RuleId, Subject), ()>::new());
    let mut rules = Rules::default();
    rules.set_rules([rule.clone()], moment(0, zero));
    devices(&mut rules, moment(0, zero));
    let mut take = |rules: &mut Rules, active: &mut BTreeMap<_, _>| {
        while let Some(transition) = rules.poll_output() {
            let second = (transition.at.unix_nanos() / 1_000_000_000 - 1_800_000_000) as u64;
            let key = (transition.rule.id.clone(), transition.subject.clone());
            match transition.change {
                Change::Raised(_) => {
                    changes.push((second, true));
                    active.insert(key, ());
                }
                Change::Changed(_) => {}
                Change::Cleared => {
                    changes.push((second, false));
                    active.remove(&key);
                }
            }
        }
    };
    for (second, input) in history.iter().enumerate() {
        let second = second as u64;
        let now = moment(second, zero);
        match input {
            Input::Nothing => {}
            Input::Reading(sensor, value) => drop(rules.handle_reading(number(sensor, f64::from(*value), now), now)),
            Input::Motion => {
                let path = Some("yard".parse().unwrap());
                rules.handle_event(&Occurrence { kind: "motion".into(), security: false, path, time: now.wall }, now);
            }
            Input::Restart => {
                rules.handle_timeout(now);
                take(&mut rules, &mut active);
                let text = serde_json::to_string(&rules.save(now)).unwrap();
                zero += 7;
                let saved: SavedRules = serde_json::from_str(&text).unwrap();
                let active: Vec<_> = active.keys().cloned().collect();
                rules = Rules::resume([rule.clone()], Some(&saved), &active, [], moment(second, zero));
                devices(&mut rules, moment(second, zero));
            }
        }
        take(&mut rules, &mut active);
    }
    rules.handle_timeout(moment(history.len() as u64 - 1, zero));
    take(&mut rules, &mut active);
    changes
}

fn conditions() -> impl Strategy<Value = Naive> {
    let sensor = || prop::sample::select(vec!["attic", "cellar"]);
    let leaf = prop_oneof![
        (sensor(), 2..8_i32, 0..4_i32).prop_map(|(sensor, limit, hysteresis)| Naive::Above {
            sensor,
            limit,
            hysteresis
        }),
        (sensor(), 1..6_i32, 1..9_u64).prop_map(|(sensor, by, within)| Naive::Rises { sensor, by, within }),
        (1..4_u32).prop_map(|times| Naive::Absent { times }),
        (0..9_u64).prop_map(|hold| Naive::Motion { hold }),
    ];
    leaf.prop_recursive(3, 8, 3, |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 1..4).prop_map(Naive::All),
            prop::collection::vec(below.clone(), 1..4).prop_map(Naive::Any),
            below.prop_map(|below| Naive::Not(Box::new(below))),
        ]
    })
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => Just(Input::Nothing),
        4 => (prop::sample::select(vec!["attic", "cellar"]), 0..10_i32).prop_map(|(sensor, value)| Input::Reading(sensor, value)),
        2 => Just(Input::Motion),
        1 => Just(Input::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_machine_finds_what_a_naive_model_finds_over_restarts_as_well(
        condition in conditions(),
        spans in prop::array::uniform3(0..6_u64),
        history in prop::collection::vec(inputs(), 1..80),
    ) {
        prop_assert_eq!(machine(&condition, spans, &history), model(&condition, spans, &history));
    }
}

#[test]
fn a_sensor_that_is_not_known_is_not_taken() {
    let mut house = House::new(&["preset: temperature"]);
    let (now, sensor) = (moment(1, 100), "nobody".parse::<SensorId>().unwrap());
    assert!(!house.rules.handle_reading(number(sensor.as_str(), 99.0, now), now));
    assert_eq!(told(&mut house.rules), [""; 0]);
}
