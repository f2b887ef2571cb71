//! A subscriber that waits: the thin driver of [`super::subscriber`], for every door alike.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::watch;

use super::{
    Events,
    envelope::Cursor,
    event::{Fact, Value},
    filter::{Filter, Scope},
    log::BATCH,
    subscriber::{From, Step, Subscriber},
};

/// What a follower tells, each thing once: facts in order, values newest per key.
#[derive(Debug)]
pub enum Delivery {
    /// Facts.
    Facts(Vec<Arc<Fact>>),
    /// Values.
    Values(Vec<Arc<Value>>),
    /// Facts are missing: at most so many, if that is known. What follows begins after [`Follower::cursor`].
    Gap {
        /// How many, at most.
        lost: Option<u64>,
    },
    /// Nothing may be seen any more: every grant ended.
    Over,
}

/// What there is to tell without waiting for the store.
#[derive(Debug)]
pub(super) enum Glance {
    /// This.
    Tell(Delivery),
    /// What is next stands in the store: beyond `after`, up to `floor`.
    Older { after: u64, floor: u64 },
    /// Nothing.
    Nothing,
}

/// What came since the last look: facts, values, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) facts: bool,
    pub(super) values: bool,
}

/// Somebody who follows. It holds a place, not a queue: who does not ask costs nothing.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    subscriber: Subscriber,
    /// The last fact that was told, or is known by who resumed.
    told: Option<Cursor>,
    facts: watch::Receiver<u64>,
    /// Only for those who want values, so that nobody else wakes for them.
    board: Option<watch::Receiver<u64>>,
    over: Over,
}

/// Comes when nothing may be seen any more. Made once, so that to wait for it beside everything else costs nothing.
struct Over {
    waits: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    came: bool,
}

impl fmt::Debug for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Over({})", self.came)
    }
}

impl Follower {
    pub(super) fn new(events: Events, scope: Scope, filter: Filter, from: From) -> Self {
        let subscriber = Subscriber::new(scope, filter, from, &events.log().tail());
        let facts = events.log().watch();
        let board = subscriber.wants_values().then(|| events.board().watch());
        let over = Over { waits: Box::pin(subscriber.over()), came: false };
        let told = if let From::After(cursor) = from { Some(cursor) } else { None };
        Self { events, subscriber, told, facts, board, over }
    }

    /// The place after the last fact that was told or passed over: where another door goes on.
    pub fn cursor(&self) -> Cursor {
        self.events.log().tail().at(self.subscriber.place())
    }

    /// The last fact that the other side has, as far as that is known.
    pub fn told(&self) -> Option<Cursor> {
        self.told
    }

    /// Goes on after this fact, with a gap if that cannot be told.
    pub fn resume(&mut self, after: Cursor) {
        self.told = Some(after);
        self.subscriber.resume(after, &self.events.log().tail());
    }

    /// Wants something else from now on; the values it wants now are told again.
    pub fn refine(&mut self, filter: Filter) {
        self.subscriber.refine(filter);
        self.board = self.subscriber.wants_values().then(|| self.events.board().watch());
    }

    /// May see this from now on, whatever it could see before; the values it wants are told again.
    pub fn renew(&mut self, scope: Scope) {
        self.subscriber.renew(scope);
        self.board = self.subscriber.wants_values().then(|| self.events.board().watch());
        self.over = Over { waits: Box::pin(self.subscriber.over()), came: false };
    }

    /// Whether nothing may be seen any more, until [`Follower::renew`].
    pub fn is_over(&self) -> bool {
        self.subscriber.is_over()
    }

    /// What there is to tell now, without waiting for anything to happen; nothing if there is nothing.
    pub async fn ready(&mut self) -> Option<Delivery> {
        self.ready_at_most(BATCH).await
    }

    /// [`Follower::ready`], with `most` facts at most; at least one.
    pub async fn ready_at_most(&mut self, most: usize) -> Option<Delivery> {
        loop {
            if self.subscriber.is_over() {
                return Some(Delivery::Over);
            }
            // Order is: arm, look, sleep.
            self.facts.mark_unchanged();
            if let Some(board) = &mut self.board {
                board.mark_unchanged();
            }
            match self.glance(most) {
                Glance::Tell(delivery) => return Some(delivery),
                Glance::Nothing => return None,
                Glance::Older { after, floor } => match self.events.log().older(after, floor).await {
                    Ok((facts, upto)) => {
                        let facts = self.subscriber.handle_older(facts, upto, most.max(1));
                        if !facts.is_empty() {
                            return Some(self.facts(facts));
                        }
                    }
                    Err(error) => {
                        tracing::warn!("facts that are not in memory cannot be read: {}", error.chain());
                        return Some(Delivery::Gap { lost: self.subscriber.handle_unreadable(floor) });
                    }
                },
            }
        }
    }

    /// What there is to tell that is in memory, `most` facts at most. A right that ended shows in [`Follower::poll_over`].
    pub(super) fn glance(&mut self, most: usize) -> Glance {
        loop {
            let step = self.subscriber.poll(&self.events.log().tail(), self.events.board(), most.max(1));
            return match step {
                Step::Facts(facts) if facts.is_empty() => continue,
                Step::Facts(facts) => Glance::Tell(self.facts(facts)),
                Step::Values(values) => Glance::Tell(Delivery::Values(values)),
                Step::Gap(lost) => Glance::Tell(Delivery::Gap { lost }),
                Step::Older { after, floor } => Glance::Older { after, floor },
                Step::Nothing => Glance::Nothing,
            };
        }
    }

    fn facts(&mut self, facts: Vec<Arc<Fact>>) -> Delivery {
        self.told = facts.last().map(|fact| fact.cursor).or(self.told);
        Delivery::Facts(facts)
    }

    /// Whether news may be something to tell.
    pub(super) fn minds(&self, news: News) -> bool {
        news.facts || news.values && self.subscriber.wants_values()
    }

    /// Whether a look would see something that the last one did not.
    pub(super) fn is_behind(&self) -> bool {
        self.subscriber.is_behind(&self.events.log().tail(), self.events.board())
    }

    /// Comes once, when nothing may be seen any more.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Over { waits, came } = &mut self.over;
        if *came || waits.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        *came = true;
        Poll::Ready(())
    }

    /// What there is to tell next, whenever that is.
    ///
    /// # Cancel safety
    /// Nothing is lost: the place moves only with what is returned, or past what nobody wanted.
    pub async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.ready().await {
                return delivery;
            }
            self.changed().await;
        }
    }

    /// Sleeps until there may be something to tell that there was not when it was last asked for.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn changed(&mut self) {
        let board = async {
            match &mut self.board {
                Some(board) => board.changed().await,
                None => std::future::pending().await,
            }
        };
        let Over { waits, came } = &mut self.over;
        tokio::select! {
            () = waits, if !*came => *came = true,
            // A sender that is gone belongs to a server that is; its doors end by their own tokens.
            changed = self.facts.changed() => if changed.is_err() { std::future::pending::<()>().await },
            changed = board => if changed.is_err() { std::future::pending::<()>().await },
        }
    }
}
