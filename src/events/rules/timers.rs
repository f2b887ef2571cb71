//! Timers by name: each is armed once at most. A sans-IO value.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Monotonic;

/// What is due when.
#[derive(Debug)]
pub(super) struct Timers<T> {
    due: BTreeSet<(Monotonic, T)>,
    armed: BTreeMap<T, Monotonic>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), armed: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// A timer is due then, or not any more.
    pub(super) fn arm(&mut self, timer: T, due: Option<Monotonic>) {
        let before = match due {
            Some(due) => self.armed.insert(timer.clone(), due),
            None => self.armed.remove(&timer),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, timer.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, timer));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next one, if it is due exactly then; it is not armed any more.
    pub(super) fn pop(&mut self, due: Monotonic) -> Option<T> {
        if self.next() != Some(due) {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.armed.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_armed_again_is_due_once() {
        let at = Monotonic::from_nanos;
        let mut timers = Timers::default();
        for (timer, due) in [("a", Some(5)), ("b", Some(3)), ("a", Some(2)), ("b", None), ("c", Some(2))] {
            timers.arm(timer, due.map(at));
        }
        assert_eq!((timers.next(), timers.pop(at(1))), (Some(at(2)), None));
        assert_eq!([timers.pop(at(2)), timers.pop(at(2)), timers.pop(at(2))], [Some("a"), Some("c"), None]);
        assert_eq!(timers.next(), None);
    }
}
