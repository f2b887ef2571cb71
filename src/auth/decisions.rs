//! What a server that decides about callers said of late, by a digest of each question: bounded, and never for long.
//! Sans-IO.

use std::{collections::HashMap, time::Duration};

use crate::base::Monotonic;

/// Answers at most; beyond them the one that is forgotten soonest makes room.
const MOST: usize = 8192;
/// How long a refusal holds at most: somebody may have mistyped.
const REFUSED: Duration = Duration::from_secs(5);
/// How long it holds that there was no answer: a server that is away is not asked for every piece of a playlist.
const SILENT: Duration = Duration::from_secs(1);

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes.
    Allowed,
    /// No.
    Refused,
    /// Nothing, and so no.
    Silent,
}

/// What came of a question, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) verdict: Verdict,
    pub(super) at: Monotonic,
}

/// A question by a digest of it.
pub(super) type QuestionKey = [u8; 32];

/// The answers of late.
#[derive(Debug)]
pub(super) struct Decisions {
    /// And until when each holds.
    kept: HashMap<QuestionKey, (Answered, Monotonic)>,
    remember: Duration,
}

impl Decisions {
    /// Nothing yet; a yes is to hold this long.
    pub(super) fn new(remember: Duration) -> Self {
        Self { kept: HashMap::new(), remember }
    }

    /// What was answered, if that still holds.
    pub(super) fn find(&self, key: &QuestionKey, now: Monotonic) -> Option<Answered> {
        self.kept.get(key).filter(|(_, until)| now < *until).map(|(answered, _)| *answered)
    }

    /// Takes an answer.
    pub(super) fn keep(&mut self, key: QuestionKey, answered: Answered) {
        let now = answered.at;
        let lasts = match answered.verdict {
            Verdict::Allowed => self.remember,
            Verdict::Refused => self.remember.min(REFUSED),
            Verdict::Silent => self.remember.min(SILENT),
        };
        if lasts.is_zero() {
            // Nor does what was said before.
            self.kept.remove(&key);
            return;
        }
        if self.kept.len() >= MOST && !self.kept.contains_key(&key) {
            self.kept.retain(|_, (_, until)| now < *until);
            if self.kept.len() >= MOST {
                let soonest = self.kept.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key);
                soonest.and_then(|key| self.kept.remove(&key));
            }
        }
        self.kept.insert(key, (answered, now + lasts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn each_answer_holds_for_its_time_and_no_longer_than_is_configured() {
        let table = [
            (30_000, Verdict::Allowed, 30_000),
            (30_000, Verdict::Refused, 5000),
            (30_000, Verdict::Silent, 1000),
            (500, Verdict::Allowed, 500),
            (500, Verdict::Refused, 500),
            (0, Verdict::Allowed, 0),
        ];
        for (remember, verdict, lasts) in table {
            let mut decisions = Decisions::new(Duration::from_millis(remember));
            let answered = Answered { verdict, at: at(1000) };
            decisions.keep([1; 32], answered);
            assert_eq!(decisions.find(&[1; 32], at(1000 + lasts)), None, "{verdict:?}");
            assert_eq!(decisions.find(&[2; 32], at(1000)), None);
            if lasts > 0 {
                assert_eq!(decisions.find(&[1; 32], at(1000 + lasts - 1)), Some(answered));
            }
        }
    }

    #[test]
    fn a_flood_of_questions_takes_no_more_room_and_the_newest_answer_stays() {
        let mut decisions = Decisions::new(Duration::from_secs(30));
        for i in 0..(MOST as u64 + 100) {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&i.to_be_bytes());
            let answered = Answered { verdict: Verdict::Allowed, at: at(i) };
            decisions.keep(key, answered);
            assert_eq!(decisions.find(&key, at(i)), Some(answered));
        }
        assert_eq!(decisions.kept.len(), MOST);
        assert_eq!(decisions.find(&[0; 32], at(0)), None, "the oldest made room");
    }
}
