//! Samples in, readings and snapshots out, as tables.

use proptest::prelude::*;

use super::*;
use crate::{config::HumanDuration, sensors::time::Stated};

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_nanos((seconds + 1_000) * 1_000_000_000)
}

fn wall(seconds: u64) -> WallTime {
    WallTime::from_unix_nanos((1_795_169_700 + seconds as i64) * 1_000_000_000)
}

fn arrival(seconds: u64) -> Arrival {
    Arrival { origin: "mqtt:home".into(), retained: false, wall: wall(seconds), now: at(seconds) }
}

fn number(sensor: &str, value: f64) -> Sample {
    Sample::new(sensor, ReadingValue::Number(value))
}

fn cellar() -> (SensorId, SensorConfig) {
    let config = SensorConfig {
        name: Some("Cellar".into()),
        kind: "temperature".parse().ok(),
        expected_interval: Some(HumanDuration::from_secs(10)),
        path: "garden".parse().ok(),
        ..SensorConfig::default()
    };
    ("cellar".parse().unwrap(), config)
}

fn registry() -> Registry {
    let (id, config) = cellar();
    Registry::new([(&id, &config)], 2, at(0))
}

fn seen(registry: &mut Registry, id: &str) -> Arc<SensorSnapshot> {
    registry.snapshot().sensor(&id.parse().unwrap()).unwrap_or_else(|| panic!("no {id}")).clone()
}

#[test]
fn readings_are_kept_in_the_sensors_unit() {
    let mut registry = registry();
    let hot = Sample { unit: "°F".parse().ok(), ..number("cellar", 95.0) };
    assert_eq!(registry.take(&hot, &arrival(1)), Ok(Taken::Newest));
    let cellar = seen(&mut registry, "cellar");
    let reading = cellar.reading.clone().unwrap();
    assert_eq!((reading.value, reading.time), (ReadingValue::Number(35.0), wall(1)));
    assert_eq!((cellar.name.as_str(), cellar.unit.as_ref().unwrap().symbol()), ("Cellar", "°C"));
    let accepted = registry.changes().accepted;
    assert_eq!((accepted.len(), &accepted[0].value), (1, &ReadingValue::Number(35.0)));
    assert_eq!(accepted[0].path.as_ref().unwrap().as_str(), "garden");
}

#[test]
fn what_does_not_fit_is_refused_counted_and_shown() {
    let mut registry = registry();
    let refused =
        |registry: &mut Registry, sample: &Sample| registry.take(sample, &arrival(1)).unwrap_err().to_string();
    let bright = Sample { unit: "lx".parse().ok(), ..number("cellar", 1.0) };
    assert_eq!(refused(&mut registry, &bright), "`lx` does not convert to `°C`");
    let word = Sample::new("cellar", ReadingValue::Text("warm".into()));
    assert_eq!(refused(&mut registry, &word), "expected a number, found `warm`");
    let cellar = seen(&mut registry, "cellar");
    assert_eq!((cellar.counts.bad, cellar.counts.readings), (2, 0));
    assert_eq!(cellar.last_error.as_ref().unwrap().message, "expected a number, found `warm`");
    let strange = Sample { kind: "motion".parse().ok(), ..Sample::new("hall", ReadingValue::Text("perhaps".into())) };
    assert_eq!(refused(&mut registry, &strange), "expected yes or no, found `perhaps`");
    assert!(registry.snapshot().sensor(&"hall".parse().unwrap()).is_none(), "what never gave a reading is no sensor");
}

#[test]
fn sensors_come_by_themselves_up_to_a_bound() {
    let mut registry = registry();
    assert_eq!(registry.take(&number("a b/c", 1.0), &arrival(1)), Ok(Taken::Newest));
    assert_eq!(registry.take(&number("second", 1.0), &arrival(1)), Ok(Taken::Newest));
    assert_eq!(registry.take(&number("third", 1.0), &arrival(1)), Err(Refused::Full));
    assert_eq!(registry.take(&number("second", 2.0), &arrival(2)), Ok(Taken::Newest), "known ones go on");
    assert_eq!(registry.take(&number("cellar", 2.0), &arrival(2)), Ok(Taken::Newest));
    let ids: Vec<_> = registry.snapshot().sensors.iter().map(|sensor| sensor.id.to_string()).collect();
    assert_eq!(ids, ["a_b_c", "cellar", "second"]);
    registry.handle_time(at(8 * 86_400));
    assert_eq!(registry.changes().gone.len(), 2, "after a week of silence they are forgotten");
    assert_eq!(registry.take(&number("third", 1.0), &arrival(8 * 86_400)), Ok(Taken::Newest));
}

#[test]
fn a_reading_of_a_known_time_is_a_repetition_and_a_late_one_is_history() {
    let mut registry = registry();
    let when = |seconds: u64, value: f64| Sample { time: Some(Stated::Utc(wall(seconds))), ..number("cellar", value) };
    let taken: Vec<_> = [when(10, 1.0), when(20, 2.0), when(10, 1.0), when(15, 1.5)]
        .iter()
        .map(|s| registry.take(s, &arrival(21)).unwrap())
        .collect();
    assert_eq!(taken, [Taken::Newest, Taken::Newest, Taken::Duplicate, Taken::Older]);
    let cellar = seen(&mut registry, "cellar");
    assert_eq!(cellar.reading.as_ref().unwrap().value, ReadingValue::Number(2.0));
    assert_eq!((cellar.counts.readings, cellar.counts.duplicates), (3, 1));
    let accepted = registry.changes().accepted;
    let told: Vec<_> = accepted.iter().map(|reading| (reading.time, reading.newest)).collect();
    assert_eq!(told, [(wall(10), true), (wall(20), true), (wall(15), false)]);
}

#[test]
fn a_time_that_cannot_be_is_ours_and_flagged() {
    let mut registry = registry();
    let wrong = Sample { time: Some(Stated::Utc(wall(3_600))), ..number("cellar", 1.0) };
    registry.take(&wrong, &arrival(1)).unwrap();
    let reading = seen(&mut registry, "cellar").reading.clone().unwrap();
    assert_eq!((reading.time, reading.flaw.unwrap().name()), (wall(1), "time_in_future"));
}

#[test]
fn silence_makes_a_sensor_stale_and_a_reading_wakes_it() {
    let mut registry = registry();
    registry.handle_time(at(29));
    assert!(!seen(&mut registry, "cellar").stale);
    registry.changes();
    registry.handle_time(at(30));
    assert!(seen(&mut registry, "cellar").stale, "three intervals after the start without a reading");
    assert_eq!(registry.changes().changed.len(), 1);
    registry.handle_time(at(31));
    assert!(registry.changes().changed.is_empty(), "it is said once");
    registry.take(&number("cellar", 1.0), &arrival(40)).unwrap();
    assert!(!seen(&mut registry, "cellar").stale);
    registry.handle_time(at(70));
    assert!(seen(&mut registry, "cellar").stale);
}

#[test]
fn a_device_that_goes_takes_its_sensors_along() {
    let mut registry = registry();
    let of = |sensor: &str| Sample { device: Some("plug".into()), ..number(sensor, 1.0) };
    registry.take(&of("plug.power"), &arrival(1)).unwrap();
    registry.take(&number("cellar", 1.0), &arrival(1)).unwrap();
    registry.availability("mqtt:home", "plug", false);
    let plug = seen(&mut registry, "plug.power");
    assert_eq!((plug.available, plug.stale), (Some(false), true));
    assert_eq!(seen(&mut registry, "cellar").available, None);
    registry.take(&of("plug.power"), &arrival(2)).unwrap();
    let plug = seen(&mut registry, "plug.power");
    assert_eq!((plug.available, plug.stale), (Some(true), false), "whoever speaks is there");
}

#[test]
fn a_broker_that_is_away_is_another_thing_than_silence() {
    let mut registry = registry();
    registry.take(&number("cellar", 1.0), &arrival(1)).unwrap();
    registry.changes();
    registry.source_error("mqtt:home", Some("connection refused"));
    registry.source_error("mqtt:home", Some("connection refused"));
    let cellar = seen(&mut registry, "cellar");
    assert_eq!((cellar.source_error.as_deref(), cellar.stale), (Some("connection refused"), false));
    assert_eq!(registry.changes().changed.len(), 1);
    registry.source_error("mqtt:home", None);
    assert_eq!(seen(&mut registry, "cellar").source_error, None);
}

#[test]
fn what_a_broker_kept_counts_once_and_is_no_sign_of_life() {
    let mut registry = registry();
    let kept = |seconds: u64| Arrival { retained: true, ..arrival(seconds) };
    assert_eq!(registry.take(&number("cellar", 1.0), &kept(1)), Ok(Taken::Newest));
    assert!(seen(&mut registry, "cellar").reading.as_ref().unwrap().retained);
    assert_eq!(
        registry.take(&number("cellar", 1.0), &kept(2)),
        Ok(Taken::Duplicate),
        "after a reconnect it comes again"
    );
    assert_eq!(registry.take(&number("cellar", 2.0), &kept(3)), Ok(Taken::Newest), "it changed while we were away");
    registry.handle_time(at(30));
    assert!(seen(&mut registry, "cellar").stale);
}

#[test]
fn a_snapshot_is_the_same_copy_until_something_changes() {
    let mut registry = registry();
    registry.take(&number("other", 1.0), &arrival(1)).unwrap();
    let first = registry.snapshot();
    assert!(Arc::ptr_eq(&first, &registry.snapshot()));
    registry.take(&number("cellar", 1.0), &arrival(1)).unwrap();
    let second = registry.snapshot();
    assert!(second.version > first.version);
    assert!(Arc::ptr_eq(&first.sensors[1], &second.sensors[1]), "what did not change is not copied again");
}

#[test]
fn readings_that_nobody_fetches_make_room_for_newer_ones() {
    let mut registry = registry();
    for second in 0..=WAITING as u64 {
        registry.take(&number("cellar", second as f64), &arrival(second)).unwrap();
    }
    let changes = registry.changes();
    assert_eq!((changes.accepted.len(), changes.lost), (WAITING, 1));
    assert_eq!(changes.accepted[0].value, ReadingValue::Number(1.0));
}

#[test]
fn long_names_stay_apart() {
    let (a, b) = ("x".repeat(200) + "a", "x".repeat(200) + "b");
    let (a, b) = (id_of(&a).unwrap(), id_of(&b).unwrap());
    assert!(a != b && a.as_str().len() == SensorId::LONGEST);
    assert_eq!(id_of(".."), None);
    assert_eq!(id_of(""), None);
    assert_eq!(id_of("küche/licht").unwrap().as_str(), "k_che_licht");
}

proptest! {
    #[test]
    fn whatever_comes_the_bounds_hold_and_the_newest_is_the_newest(
        samples in prop::collection::vec((0..6_u8, -50.0..50.0_f64, 0..100_u64), 1..200)
    ) {
        let mut registry = registry();
        let mut newest = BTreeMap::new();
        for (sensor, value, second) in samples {
            let name = format!("s{sensor}");
            let sample = Sample { time: Some(Stated::Utc(wall(second))), ..number(&name, value) };
            if registry.take(&sample, &arrival(100)).is_ok() {
                let known = newest.entry(name).or_insert(second);
                *known = second.max(*known);
            }
        }
        let snapshot = registry.snapshot();
        prop_assert!(snapshot.sensors.len() <= 3);
        for sensor in snapshot.sensors.iter().filter(|sensor| !sensor.configured) {
            prop_assert_eq!(sensor.reading.as_ref().unwrap().time, wall(newest[sensor.id.as_str()]));
        }
    }
}
