//! Which of many alike lines of the log are written: what peers do over and over must not fill a disk. Sans-IO.

use std::{collections::HashMap, hash::Hash, time::Duration};

use crate::base::Monotonic;

/// How many alike lines are written within [`WITHIN`]; a burst of viewers or cameras is still seen one by one.
const MOST: u32 = 20;
/// See [`MOST`].
const WITHIN: Duration = Duration::from_secs(10);
/// Kinds of lines that are remembered; with more of them everything is forgotten and counted anew.
const KINDS_MAX: usize = 1024;

/// What was written and what was not, by kind of line.
#[derive(Debug)]
pub(super) struct Repeats<K> {
    kinds: HashMap<K, Kind>,
}

#[derive(Debug)]
struct Kind {
    began: Monotonic,
    written: u32,
    held_back: u64,
}

impl<K: Eq + Hash> Repeats<K> {
    pub(super) fn new() -> Self {
        Self { kinds: HashMap::new() }
    }

    /// Whether a line of this kind is written at `now`: `Some(n)` writes it, and says that `n` like it were held back
    /// before; `None` holds it back.
    pub(super) fn note(&mut self, kind: K, now: Monotonic) -> Option<u64> {
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.kinds.clear();
        }
        let known = self.kinds.entry(kind).or_insert(Kind { began: now, written: 0, held_back: 0 });
        if now.since(known.began) >= WITHIN {
            (known.began, known.written) = (now, 0);
        }
        if known.written >= MOST {
            known.held_back += 1;
            return None;
        }
        known.written += 1;
        Some(std::mem::take(&mut known.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_flood_of_alike_lines_is_cut_and_counted() {
        let mut repeats = Repeats::new();
        let written = (0..500).filter(|_| repeats.note("closed", at(5)).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(repeats.note("opened", at(5)), Some(0), "another kind has its own measure");
        assert_eq!(repeats.note("closed", at(14)), None);
        assert_eq!(repeats.note("closed", at(15)), Some(481));
        assert_eq!(repeats.note("closed", at(15)), Some(0));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut repeats = Repeats::new();
        for kind in 0..10 * KINDS_MAX {
            assert_eq!(repeats.note(kind, at(1)), Some(0));
        }
        assert!(repeats.kinds.len() <= KINDS_MAX);
    }
}
