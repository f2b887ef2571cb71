//! Who follows: a place in the log, a version of the board, a filter. No queue: what there is to tell is looked up when
//! there is time to tell it. Sans-IO.

use std::sync::Arc;

use super::{
    board::Board,
    envelope::Cursor,
    event::{Fact, Value},
    filter::{Filter, Scope},
    log::{Look, Tail},
};

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With what comes next; and with the values as they are now.
    #[default]
    Now,
    /// After this fact. If that cannot be told, with a gap, and then with what there is.
    After(Cursor),
    /// After something that was never of this log: with a gap.
    Elsewhere,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum Step {
    /// Facts, in order. An empty list says that some were passed over.
    Facts(Vec<Arc<Fact>>),
    /// Values, newest per key.
    Values(Vec<Arc<Value>>),
    /// Facts are missing; how many at most, if that is known.
    Gap(Option<u64>),
    /// The facts beyond `after`, up to `floor`, are in the store.
    Older { after: u64, floor: u64 },
    /// Nothing now.
    Nothing,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Subscriber {
    scope: Scope,
    filter: Filter,
    place: u64,
    version: u64,
    gap: Option<Option<u64>>,
    values: bool,
}

impl Subscriber {
    pub(super) fn new(scope: Scope, filter: Filter, from: From, tail: &Tail) -> Self {
        let values = scope.sees_values() && filter.wants_values();
        let place = tail.cursor().offset;
        let mut subscriber = Self { scope, filter, place, version: 0, gap: None, values };
        match from {
            From::Now => {}
            From::After(cursor) => subscriber.resume(cursor, tail),
            From::Elsewhere => subscriber.gap = Some(None),
        }
        subscriber
    }

    /// Goes on after this fact.
    pub(super) fn resume(&mut self, after: Cursor, tail: &Tail) {
        match tail.place(after) {
            Some(place) => (self.place, self.gap) = (place, None),
            // Of another log: what was lost is not known, and nothing before now can be told apart.
            None => (self.place, self.gap) = (tail.cursor().offset, Some(None)),
        }
    }

    /// Wants something else from now on; values it wants now are told again.
    pub(super) fn refine(&mut self, filter: Filter) {
        self.values = self.scope.sees_values() && filter.wants_values();
        (self.filter, self.version) = (filter, 0);
    }

    /// May see this from now on; values it wants are told again.
    pub(super) fn renew(&mut self, scope: Scope) {
        self.values = scope.sees_values() && self.filter.wants_values();
        (self.scope, self.version) = (scope, 0);
    }

    /// Whether it ever wants values.
    pub(super) fn wants_values(&self) -> bool {
        self.values
    }

    /// Whether it may see nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.scope.is_over()
    }

    /// Waits until it may see nothing any more.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.scope.over()
    }

    /// The number of the last fact that was told or passed over.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// What there is to tell: a gap, then facts, `most` at most, then values.
    pub(super) fn poll(&mut self, tail: &Tail, board: &Board, most: usize) -> Step {
        if let Some(lost) = self.gap.take() {
            return Step::Gap(lost);
        }
        let wanted = |topic: &_| self.filter.wants(topic) && self.scope.sees(topic);
        match tail.look(self.place, most, wanted) {
            Look::Facts { facts, upto } => {
                self.place = upto;
                return Step::Facts(facts);
            }
            Look::Gone { lost, upto } => {
                self.place = upto;
                return Step::Gap(Some(lost));
            }
            Look::Older { floor } => return Step::Older { after: self.place, floor },
            Look::Nothing => {}
        }
        if self.values {
            let (values, version) = board.since(self.version, wanted);
            self.version = version;
            if !values.is_empty() {
                return Step::Values(values);
            }
        }
        Step::Nothing
    }

    /// Whether there is something beyond what [`Subscriber::poll`] has looked at.
    pub(super) fn is_behind(&self, tail: &Tail, board: &Board) -> bool {
        self.gap.is_some() || self.place < tail.cursor().offset || self.values && self.version < board.version()
    }

    /// What was in the store, up to `upto`; `most` of it at most is told.
    pub(super) fn handle_older(&mut self, mut facts: Vec<Arc<Fact>>, upto: u64, most: usize) -> Vec<Arc<Fact>> {
        facts.retain(|fact| self.filter.wants(&fact.topic) && self.scope.sees(&fact.topic));
        let told = if facts.len() > most { facts[most - 1].cursor.offset } else { upto };
        facts.truncate(most);
        self.place = self.place.max(told);
        facts
    }

    /// What is not in memory cannot be read: everything up to `floor` is missing.
    pub(super) fn handle_unreadable(&mut self, floor: u64) -> Option<u64> {
        let lost = floor.saturating_sub(self.place);
        self.place = self.place.max(floor);
        Some(lost)
    }
}
