//! The newest facts in memory, and where the log begins and ends. Sans-IO: the log puts facts in, subscribers look.

use std::{collections::VecDeque, sync::Arc};

use crate::events::{
    envelope::{Cursor, Epoch},
    event::{Fact, Topic},
};

/// Facts in memory, at most.
const FACTS: usize = 4096;
/// Their size, at most.
const BYTES: usize = 8 << 20;
/// Facts looked at under one lock.
const LOOKED_AT: usize = 256;
/// Facts that one look gives.
pub(in crate::events) const BATCH: usize = 64;
/// Their size, but for the first.
pub(in crate::events) const BATCH_BYTES: usize = 256 << 10;

/// What a subscriber finds beyond its place.
#[derive(Debug)]
pub(in crate::events) enum Look {
    /// Nothing yet.
    Nothing,
    /// These, and with them everything up to `upto` has been looked at.
    Facts { facts: Vec<Arc<Fact>>, upto: u64 },
    /// They are in the store, up to `floor`.
    Older { floor: u64 },
    /// They are gone: at most so many, up to `upto`.
    Gone { lost: u64, upto: u64 },
}

/// The newest facts.
#[derive(Debug)]
pub(in crate::events) struct Tail {
    epoch: Epoch,
    facts: VecDeque<Arc<Fact>>,
    bytes: usize,
    /// Every fact beyond this number, up to `newest`, is here.
    floor: u64,
    /// The last one that was released.
    newest: u64,
    /// The newest one that is too old even for the store.
    gone: u64,
}

impl Tail {
    /// Nothing in memory: everything up to `newest` is in the store, but for what is `gone`.
    pub(super) fn new(epoch: Epoch, newest: u64, gone: u64) -> Self {
        Self { epoch, facts: VecDeque::new(), bytes: 0, floor: newest, newest, gone }
    }

    /// The place after the newest fact.
    pub(in crate::events) fn cursor(&self) -> Cursor {
        self.at(self.newest)
    }

    /// The place after the fact of this number.
    pub(in crate::events) fn at(&self, offset: u64) -> Cursor {
        Cursor { epoch: self.epoch, offset }
    }

    /// The number to go on from after `cursor`; nothing if it belongs to another log, or to a time to come.
    pub(in crate::events) fn place(&self, cursor: Cursor) -> Option<u64> {
        (cursor.epoch == self.epoch && cursor.offset <= self.newest).then_some(cursor.offset)
    }

    /// A fact was released.
    pub(super) fn push(&mut self, fact: Arc<Fact>) {
        (self.epoch, self.newest) = (fact.cursor.epoch, fact.cursor.offset);
        self.bytes += fact.body.len();
        self.facts.push_back(fact);
        while self.facts.len() > FACTS || (self.bytes > BYTES && self.facts.len() > 1) {
            let Some(oldest) = self.facts.pop_front() else { break };
            self.bytes -= oldest.body.len();
            self.floor = oldest.cursor.offset;
        }
    }

    /// The store took away everything up to this number.
    pub(super) fn forget(&mut self, gone: u64) {
        self.gone = self.gone.max(gone);
    }

    /// What there is beyond `after` that is wanted, `most` of it at most.
    pub(in crate::events) fn look(&self, after: u64, most: usize, wanted: impl Fn(&Topic) -> bool) -> Look {
        if after >= self.newest {
            return Look::Nothing;
        }
        if after < self.gone {
            return Look::Gone { lost: self.gone - after, upto: self.gone };
        }
        if after < self.floor {
            return Look::Older { floor: self.floor };
        }
        let begin = self.facts.partition_point(|fact| fact.cursor.offset <= after);
        let (mut facts, mut bytes, mut upto) = (Vec::new(), 0, after);
        for fact in self.facts.range(begin..).take(LOOKED_AT) {
            if wanted(&fact.topic) {
                bytes += fact.body.len();
                if facts.len() >= most.min(BATCH) || (bytes > BATCH_BYTES && !facts.is_empty()) {
                    break;
                }
                facts.push(fact.clone());
            }
            upto = fact.cursor.offset;
        }
        Look::Facts { facts, upto }
    }

    /// The newest facts that are wanted, the newest first, `most` at most; and below which number to go on in the store.
    pub(super) fn recent(&self, most: usize, wanted: impl Fn(&Topic) -> bool) -> (Vec<Arc<Fact>>, u64) {
        let found = self.facts.iter().rev().filter(|fact| wanted(&fact.topic)).take(most).cloned();
        (found.collect(), self.floor + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{EventType, event::testing::draft};

    const EPOCH: Epoch = Epoch(7);

    fn fact(offset: u64) -> Arc<Fact> {
        let kind = if offset.is_multiple_of(2) { EventType::Alert } else { EventType::CameraEvent };
        Arc::new(Fact::new(Cursor { epoch: EPOCH, offset }, draft(kind, "motion")))
    }

    #[test]
    fn what_is_beyond_a_place_is_in_memory_in_the_store_or_gone() {
        let mut tail = Tail::new(EPOCH, 100, 40);
        assert!(matches!(tail.look(100, BATCH, |_| true), Look::Nothing));
        (8_200..8_300).for_each(|offset| tail.push(fact(offset)));
        assert!(matches!(tail.look(30, BATCH, |_| true), Look::Gone { lost: 10, upto: 40 }));
        assert!(matches!(tail.look(99, BATCH, |_| true), Look::Older { floor: 100 }));
        let Look::Facts { facts, upto } = tail.look(100, BATCH, |_| true) else { panic!("a missing number is no gap") };
        assert_eq!((facts.len(), facts[0].cursor.offset, upto), (BATCH, 8_200, 8_263));
        let Look::Facts { facts, upto } = tail.look(8_263, BATCH, |topic| topic.kind == EventType::Audit) else {
            panic!()
        };
        assert_eq!((facts.len(), upto), (0, 8_299), "what is not wanted is passed over");
        let (recent, below) = tail.recent(3, |topic| topic.kind == EventType::Alert);
        let offsets: Vec<_> = recent.iter().map(|fact| fact.cursor.offset).collect();
        assert_eq!((offsets.as_slice(), below), (&[8_298, 8_296, 8_294][..], 101));
    }

    #[test]
    fn memory_is_bounded_and_what_leaves_it_is_in_the_store() {
        let mut tail = Tail::new(EPOCH, 0, 0);
        (1..=FACTS as u64 + 10).for_each(|offset| tail.push(fact(offset)));
        assert!(matches!(tail.look(9, BATCH, |_| true), Look::Older { floor: 10 }));
        assert!(matches!(tail.look(10, BATCH, |_| true), Look::Facts { .. }));
    }

    #[test]
    fn a_place_of_another_log_or_of_a_time_to_come_is_none() {
        let tail = Tail::new(EPOCH, 9, 0);
        assert_eq!(tail.place(Cursor { epoch: EPOCH, offset: 9 }), Some(9));
        assert_eq!(tail.place(Cursor { epoch: EPOCH, offset: 10 }), None);
        assert_eq!(tail.place(Cursor { epoch: Epoch(8), offset: 1 }), None);
    }
}
