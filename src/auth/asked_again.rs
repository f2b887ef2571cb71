//! Questions on whose yes somebody stands, and when each is asked again: one question, however many stand on it. A yes is
//! good for two intervals and the time that an answer may take; so one silence ends nothing, and two in a row do. Sans-IO.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    decisions::{Answered, QuestionKey, Verdict},
    outsider::Outsider,
    question::{Deed, Question},
};
use crate::base::Monotonic;

/// Questions at most; whoever comes with one more has to come back later.
const MOST: usize = 8192;

/// A question, and those who stand on the yes to it.
#[derive(Debug)]
struct Stood {
    deed: Deed,
    by: Vec<Weak<Outsider>>,
    /// When the last yes was said.
    said: Monotonic,
    due: Monotonic,
}

/// What was allowed, and is no more.
#[derive(Debug)]
pub(super) struct Withdrawn {
    pub(super) deed: Deed,
    pub(super) from: Vec<Arc<Outsider>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct AskedAgain {
    every: Duration,
    /// How long a yes is good without another.
    good: Duration,
    stood: HashMap<QuestionKey, Stood>,
    /// Those that are due, the first first.
    line: VecDeque<QuestionKey>,
}

impl Stood {
    fn living(&self) -> impl Iterator<Item = Arc<Outsider>> + '_ {
        self.by.iter().filter_map(Weak::upgrade)
    }

    fn is_left(&self) -> bool {
        self.by.iter().all(|one| one.strong_count() == 0)
    }

    fn withdraw(self) -> Withdrawn {
        Withdrawn { from: self.living().collect(), deed: self.deed }
    }
}

impl AskedAgain {
    /// Nothing yet; an answer takes `timeout` at most.
    pub(super) fn new(every: Duration, timeout: Duration) -> Self {
        Self { every, good: every * 2 + timeout, stood: HashMap::new(), line: VecDeque::new() }
    }

    /// How often it is worth to look.
    pub(super) fn pace(&self) -> Duration {
        (self.every / 4).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// Somebody stands on a yes from now on; false if there are too many questions already.
    pub(super) fn enter(&mut self, key: QuestionKey, deed: &Deed, who: &Arc<Outsider>, yes: Answered) -> bool {
        if self.stood.len() >= MOST && !self.stood.contains_key(&key) {
            self.stood.retain(|_, stood| !stood.is_left());
            if self.stood.len() >= MOST {
                return false;
            }
        }
        // Those who came together are asked about one after the other: the first time after half of the interval to all
        // of it, by a number that the question has by chance.
        let half = self.every / 2;
        let part = half.mul_f64(f64::from(u16::from_be_bytes([key[0], key[1]])) / f64::from(u16::MAX));
        let new = || Stood { deed: deed.clone(), by: Vec::new(), said: yes.at, due: yes.at + half + part };
        let stood = self.stood.entry(key).or_insert_with(new);
        if stood.by.len() == stood.by.capacity() {
            stood.by.retain(|one| one.strong_count() > 0);
        }
        stood.by.push(Arc::downgrade(who));
        true
    }

    /// Somebody stands on a yes no more.
    pub(super) fn leave(&mut self, key: &QuestionKey, who: &Arc<Outsider>) {
        let Some(stood) = self.stood.get_mut(key) else { return };
        stood.by.retain(|one| !std::ptr::eq(one.as_ptr(), Arc::as_ptr(who)));
        if stood.is_left() {
            self.stood.remove(key);
        }
    }

    /// Takes an answer, whoever asked; what ends with it comes back.
    pub(super) fn handle_answer(&mut self, key: &QuestionKey, answer: Answered) -> Option<Withdrawn> {
        match answer.verdict {
            Verdict::Allowed => {
                let stood = self.stood.get_mut(key)?;
                (stood.said, stood.due) = (answer.at, answer.at + self.every);
                None
            }
            Verdict::Refused => self.stood.remove(key).map(Stood::withdraw),
            // It may be starting again: the yes before is good for a while.
            Verdict::Silent => None,
        }
    }

    /// Looks who is due; what was not said again for too long ends, and comes back.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) -> Vec<Withdrawn> {
        let (mut over, mut due) = (Vec::new(), Vec::new());
        self.stood.retain(|key, stood| {
            if stood.is_left() {
                return false;
            }
            if now >= stood.said + self.good {
                over.push(*key);
            } else if now >= stood.due {
                due.push((stood.due, *key));
                // If it is not answered, then.
                stood.due = now + self.every;
            }
            true
        });
        due.sort_unstable_by_key(|(due, _)| *due);
        self.line.extend(due.into_iter().map(|(_, key)| key));
        over.iter().filter_map(|key| self.stood.remove(key)).map(Stood::withdraw).collect()
    }

    /// The next question that is to be asked.
    pub(super) fn poll_question(&mut self) -> Option<(QuestionKey, Question)> {
        loop {
            let key = self.line.pop_front()?;
            let Some(stood) = self.stood.get(&key) else { continue };
            if let Some(somebody) = stood.living().next() {
                return Some((key, somebody.question(stood.deed.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credential, Knock};

    const EVERY: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos((1000 + seconds) * 1_000_000_000)
    }

    fn said(verdict: Verdict, seconds: u64) -> Answered {
        Answered { verdict, at: at(seconds) }
    }

    fn anna() -> Arc<Outsider> {
        let shown = Credential::of_password("anna", "pass").ok();
        Arc::new(Outsider::new(shown, Knock::from([10, 0, 0, 9].into()), "0011aabb").unwrap())
    }

    fn front() -> Deed {
        Deed::Read("front".parse().unwrap())
    }

    fn questions(again: &mut AskedAgain) -> Vec<QuestionKey> {
        std::iter::from_fn(|| again.poll_question()).map(|(key, _)| key).collect()
    }

    #[test]
    fn a_question_is_asked_once_an_interval_however_many_stand_on_it_and_while_anybody_does() {
        let mut again = AskedAgain::new(EVERY, TIMEOUT);
        let [one, two] = [anna(), anna()];
        for who in [&one, &two] {
            assert!(again.enter([0xff; 32], &front(), who, said(Verdict::Allowed, 0)));
        }
        assert!(again.handle_timeout(at(29)).is_empty() && questions(&mut again).is_empty());
        assert!(again.handle_timeout(at(30)).is_empty());
        assert_eq!(questions(&mut again), [[0xff; 32]]);
        assert!(again.handle_answer(&[0xff; 32], said(Verdict::Allowed, 31)).is_none());
        drop(one);
        again.handle_timeout(at(60));
        assert!(questions(&mut again).is_empty());
        again.handle_timeout(at(61));
        assert_eq!(questions(&mut again), [[0xff; 32]]);
        drop(two);
        again.handle_timeout(at(100));
        assert!(questions(&mut again).is_empty() && again.stood.is_empty());
    }

    #[test]
    fn a_no_ends_what_stands_on_it_and_of_silences_the_second_in_a_row_does() {
        let mut again = AskedAgain::new(EVERY, TIMEOUT);
        let who = anna();
        again.enter([0xff; 32], &front(), &who, said(Verdict::Allowed, 0));
        let over = again.handle_answer(&[0xff; 32], said(Verdict::Refused, 3)).unwrap();
        assert_eq!((over.deed, over.from.len()), (front(), 1));
        assert!(again.handle_answer(&[0xff; 32], said(Verdict::Refused, 3)).is_none(), "once");

        again.enter([0xff; 32], &front(), &who, said(Verdict::Allowed, 0));
        for silent in [30, 60] {
            assert!(again.handle_timeout(at(silent)).is_empty());
            assert_eq!(questions(&mut again).len(), 1, "{silent}");
            assert!(again.handle_answer(&[0xff; 32], said(Verdict::Silent, silent + 4)).is_none());
        }
        assert!(again.handle_timeout(at(64)).is_empty());
        assert_eq!(again.handle_timeout(at(65)).len(), 1);
        // With a yes between there are no two in a row.
        again.enter([0xff; 32], &front(), &who, said(Verdict::Allowed, 100));
        again.handle_answer(&[0xff; 32], said(Verdict::Silent, 131));
        again.handle_answer(&[0xff; 32], said(Verdict::Allowed, 161));
        again.handle_answer(&[0xff; 32], said(Verdict::Silent, 192));
        assert!(again.handle_timeout(at(225)).is_empty());
    }

    #[test]
    fn whoever_leaves_a_question_leaves_it_to_the_others() {
        let mut again = AskedAgain::new(EVERY, TIMEOUT);
        let [one, two] = [anna(), anna()];
        for who in [&one, &one, &two] {
            again.enter([0xff; 32], &front(), who, said(Verdict::Allowed, 0));
        }
        again.leave(&[0xff; 32], &one);
        again.leave(&[0xee; 32], &one);
        assert_eq!(again.handle_answer(&[0xff; 32], said(Verdict::Refused, 3)).unwrap().from.len(), 1);
        again.enter([0xff; 32], &front(), &one, said(Verdict::Allowed, 4));
        again.leave(&[0xff; 32], &one);
        assert!(again.stood.is_empty());
    }

    #[test]
    fn those_who_came_together_are_not_asked_about_together() {
        let mut again = AskedAgain::new(EVERY, TIMEOUT);
        let who = anna();
        for number in 0..=255 {
            again.enter([number; 32], &front(), &who, said(Verdict::Allowed, 0));
        }
        let mut all = Vec::new();
        for second in 0..=30 {
            again.handle_timeout(at(second));
            let asked = questions(&mut again).len();
            assert!(asked <= 20 && (second >= 15 || asked == 0), "{asked} after {second} s");
            all.push(asked);
        }
        assert_eq!(all.iter().sum::<usize>(), 256, "{all:?}");
    }

    #[test]
    fn questions_that_nobody_stands_on_make_room_and_there_is_no_more_than_that() {
        let mut again = AskedAgain::new(EVERY, TIMEOUT);
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let (stays, goes) = (anna(), anna());
        for number in 0..MOST {
            let who = if number % 2 == 0 { &stays } else { &goes };
            assert!(again.enter(key(number), &front(), who, said(Verdict::Allowed, 0)));
        }
        assert!(!again.enter(key(MOST), &front(), &stays, said(Verdict::Allowed, 0)));
        assert!(again.enter(key(0), &front(), &stays, said(Verdict::Allowed, 0)), "the same question is no other");
        drop(goes);
        assert!(again.enter(key(MOST), &front(), &stays, said(Verdict::Allowed, 0)));
        // A crowd that comes and goes with one question leaves nothing behind.
        for _ in 0..1000 {
            again.enter(key(0), &front(), &anna(), said(Verdict::Allowed, 0));
        }
        assert!(again.stood[&key(0)].by.len() < 10);
    }
}
