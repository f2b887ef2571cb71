//! What the facts of today add up to: alerts by severity, faces that were recognised, people counted, events a minute.
//! Sans-IO.

use std::collections::{BTreeSet, VecDeque};

use serde::Deserialize;

use super::{Fact, Severity, envelope::EventType};
use crate::base::{Monotonic, WallTime};

/// Names that are told apart; a sender that makes them up runs into this.
const NAMES: usize = 10_000;
/// Over which events a minute are counted.
const MINUTE_SECONDS: u64 = 60;

/// Camera events that say a face or a person was recognised.
const RECOGNITIONS: [&str; 5] =
    ["face_detected", "face_recognized", "face_recognised", "person_recognized", "person_recognised"];

/// The machine. Days are numbers that the caller's calendar gives; a fact of a later day begins a new one.
#[derive(Debug, Default)]
pub struct Tally {
    day: i64,
    alerts: [u64; Severity::ALL.len()],
    recognitions: u64,
    last_recognition: Option<WallTime>,
    /// What a `people` event said last.
    people_said: Option<u64>,
    names: BTreeSet<String>,
    /// Facts by the second they came in, the newest at the end.
    seconds: VecDeque<(u64, u64)>,
}

/// What it adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Alerts raised today, the mildest first.
    pub alerts_today: [u64; Severity::ALL.len()],
    /// Faces recognised today.
    pub recognitions_today: u64,
    /// When the last one was, whatever the day.
    pub last_recognition: Option<WallTime>,
    /// What a `people` event said last; else how many names were recognised.
    pub total_people: u64,
    /// Facts in the last minute.
    pub events_per_minute: u64,
}

/// What of the data of a camera event counts.
#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default)]
    data: Details,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    total: Option<u64>,
    #[serde(alias = "name", alias = "person")]
    person_name: Option<String>,
}

impl Tally {
    /// Takes a fact that happened on `day`; it came in at `now`, unless it is told from the past.
    pub fn handle_fact(&mut self, fact: &Fact, day: i64, now: Option<Monotonic>) {
        if let Some(now) = now {
            self.count_second(now);
        }
        self.begin(day);
        match fact.topic.kind {
            EventType::Alert if &*fact.topic.name == "raised" && day == self.day => {
                self.alerts[fact.topic.severity.unwrap_or_default() as usize] += 1;
            }
            EventType::CameraEvent if RECOGNITIONS.contains(&&*fact.topic.name) => {
                self.recognitions += u64::from(day == self.day);
                self.last_recognition = self.last_recognition.max(Some(fact.time));
                if let Some(name) = details(fact).person_name
                    && self.names.len() < NAMES
                {
                    self.names.insert(name);
                }
            }
            EventType::CameraEvent if &*fact.topic.name == "people" => {
                self.people_said = details(fact).total.or(self.people_said);
            }
            _ => {}
        }
    }

    /// It is `day` now: what was counted on an earlier one is over.
    pub fn begin(&mut self, day: i64) {
        if day > self.day {
            (self.day, self.alerts, self.recognitions) = (day, Default::default(), 0);
        }
    }

    fn count_second(&mut self, now: Monotonic) {
        let second = now.as_nanos() / 1_000_000_000;
        match self.seconds.back_mut() {
            Some((last, count)) if *last >= second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        if self.seconds.len() > MINUTE_SECONDS as usize + 1 {
            self.seconds.pop_front();
        }
    }

    /// What it adds up to at `now`.
    pub fn totals(&self, now: Monotonic) -> Totals {
        let oldest = (now.as_nanos() / 1_000_000_000).saturating_sub(MINUTE_SECONDS);
        let recent = self.seconds.iter().filter(|(second, _)| *second > oldest);
        Totals {
            alerts_today: self.alerts,
            recognitions_today: self.recognitions,
            last_recognition: self.last_recognition,
            total_people: self.people_said.unwrap_or(self.names.len() as u64),
            events_per_minute: recent.map(|(_, count)| count).sum(),
        }
    }
}

/// Data that are not as expected count as none.
fn details(fact: &Fact) -> Details {
    serde_json::from_slice::<Envelope>(&fact.body).unwrap_or_default().data
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::events::{Cursor, Draft, Epoch};

    fn fact(kind: EventType, name: &str, severity: Option<Severity>, time_s: i64, data: &str) -> Fact {
        let draft = Draft {
            kind,
            name: name.into(),
            time: WallTime::from_unix_nanos(time_s * 1_000_000_000),
            path: None,
            sensor: None,
            severity,
            data: serde_json::value::RawValue::from_string(data.to_owned()).unwrap(),
        };
        Fact::new(Cursor { epoch: Epoch(1), offset: 1 }, draft)
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn alerts_and_recognitions_are_those_of_the_day() {
        let mut tally = Tally::default();
        let raised = |severity| fact(EventType::Alert, "raised", Some(severity), 10, "{}");
        tally.handle_fact(&raised(Severity::Critical), 1, None);
        tally.handle_fact(&raised(Severity::Warning), 1, None);
        tally.handle_fact(&fact(EventType::Alert, "cleared", Some(Severity::Critical), 11, "{}"), 1, None);
        let seen = fact(EventType::CameraEvent, "face_detected", None, 12, r#"{"person_name":"Ada"}"#);
        tally.handle_fact(&seen, 1, None);
        let totals = tally.totals(at(0));
        assert_eq!((totals.alerts_today, totals.recognitions_today, totals.total_people), ([0, 1, 1], 1, 1));
        tally.begin(2);
        tally.handle_fact(&raised(Severity::Info), 1, None);
        let totals = tally.totals(at(0));
        assert_eq!((totals.alerts_today, totals.recognitions_today, totals.total_people), ([0, 0, 0], 0, 1));
        assert_eq!(totals.last_recognition, Some(WallTime::from_unix_nanos(12_000_000_000)));
    }

    #[test]
    fn people_are_what_was_said_or_else_the_names_that_were_recognised() {
        let mut tally = Tally::default();
        for name in ["Ada", "Ada", "Bo"] {
            let data = format!(r#"{{"person":"{name}"}}"#);
            tally.handle_fact(&fact(EventType::CameraEvent, "face_recognised", None, 1, &data), 1, None);
        }
        assert_eq!(tally.totals(at(0)).total_people, 2);
        for data in [r#"{"total":7}"#, r#"{"total":"many"}"#, "[]"] {
            tally.handle_fact(&fact(EventType::CameraEvent, "people", None, 1, data), 1, None);
        }
        assert_eq!(tally.totals(at(0)).total_people, 7);
    }

    #[test]
    fn events_a_minute_are_those_of_the_last_sixty_seconds() {
        let mut tally = Tally::default();
        let motion = fact(EventType::CameraEvent, "motion", None, 1, "{}");
        for second in 0..100 {
            tally.handle_fact(&motion, 1, Some(at(second)));
            tally.handle_fact(&motion, 1, Some(at(second)));
        }
        assert_eq!(tally.totals(at(99)).events_per_minute, 120);
        assert_eq!(tally.totals(at(129)).events_per_minute, 60);
        assert_eq!(tally.totals(at(200)).events_per_minute, 0);
    }
}
