//! Values: the newest one per key, and a version that counts their changes. It knows no cursor and keeps no past.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    envelope::{Draft, EventType, SensorId},
    event::{Topic, Value},
};
use crate::base::{Error, Kind, PathName, Result};

/// Values at once; a sender that makes up keys runs into this.
const MOST: usize = 20_000;

type Key = (EventType, Option<PathName>, Option<SensorId>);

/// The board. Its lock is held for an insert, or for cloning what is new.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    values: HashMap<Key, (u64, Arc<Value>)>,
    changes: BTreeMap<u64, Arc<Value>>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), version: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value in the place of the one before it.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: it is a new key, and there are too many.
    pub(super) fn set(&self, draft: Draft) -> Result<()> {
        let value = Arc::new(Value::new(draft));
        let key = (value.topic.kind, value.topic.path.clone(), value.topic.sensor.clone());
        let version = {
            let mut state = self.state();
            if state.values.len() >= MOST && !state.values.contains_key(&key) {
                let message = format!("event board: it holds {MOST} values already");
                return Err(Error::new(Kind::ResourceExhausted, message).with_code("too_many_values"));
            }
            state.version += 1;
            let version = state.version;
            if let Some((before, _)) = state.values.insert(key, (version, value.clone())) {
                state.changes.remove(&before);
            }
            state.changes.insert(version, value);
            version
        };
        self.version.send_modify(|seen| *seen = version.max(*seen));
        Ok(())
    }

    /// Takes the values away that match; nobody is told.
    pub(super) fn remove(&self, matching: impl Fn(&Topic) -> bool) {
        let state = &mut *self.state();
        state.values.retain(|_, (version, value)| {
            let goes = matching(&value.topic);
            if goes {
                state.changes.remove(version);
            }
            !goes
        });
    }

    /// The values set after `version` that are wanted, in the order they were set, and the version they stand for.
    pub(super) fn since(&self, version: u64, wanted: impl Fn(&Topic) -> bool) -> (Vec<Arc<Value>>, u64) {
        let state = self.state();
        let new = state.changes.range(version + 1..).map(|(_, value)| value);
        (new.filter(|value| wanted(&value.topic)).cloned().collect(), state.version)
    }

    /// The version of the newest change.
    pub(super) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Wakes whoever follows.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::testing::draft;

    fn reading(board: &Board, sensor: &str, name: &str) {
        let mut reading = draft(EventType::SensorReading, name);
        reading.sensor = Some(sensor.parse().unwrap());
        board.set(reading).unwrap();
    }

    fn names(values: &[Arc<Value>]) -> Vec<&str> {
        values.iter().map(|value| &*value.topic.name).collect()
    }

    #[test]
    fn only_the_newest_value_of_a_key_is_there_and_only_what_is_new_is_given() {
        let board = Board::new();
        reading(&board, "cellar", "one");
        reading(&board, "attic", "two");
        reading(&board, "cellar", "three");
        let (values, version) = board.since(0, |_| true);
        assert_eq!((names(&values).as_slice(), version, *board.watch().borrow()), (&["two", "three"][..], 3, 3));
        reading(&board, "attic", "four");
        assert_eq!(names(&board.since(version, |_| true).0), ["four"]);
        assert!(board.since(4, |_| true).0.is_empty());
        let cellar = |topic: &Topic| topic.sensor.as_ref().is_some_and(|sensor| sensor.as_str() == "cellar");
        assert_eq!(names(&board.since(0, cellar).0), ["three"]);
        board.remove(cellar);
        assert_eq!(names(&board.since(0, |_| true).0), ["four"]);
    }

    #[test]
    fn made_up_keys_run_into_a_bound_and_known_ones_do_not() {
        let board = Board::new();
        (0..MOST).for_each(|number| reading(&board, &format!("s{number}"), "x"));
        let mut more = draft(EventType::SensorReading, "x");
        more.sensor = Some("more".parse().unwrap());
        assert_eq!(board.set(more).unwrap_err().code(), "too_many_values");
        reading(&board, "s1", "again");
        assert_eq!(board.since(MOST as u64, |_| true).0.len(), 1);
    }
}
