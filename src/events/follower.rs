//! A subscriber that waits: the thin driver of [`super::subscriber`], for every door alike.

use std::{fmt, pin::Pin, sync::Arc};

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

/// Somebody who follows. It holds a place, not a queue: who does not ask costs nothing.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    subscriber: Subscriber,
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
        Self { events, subscriber, facts, board, over }
    }

    /// The place after the last fact that was told or passed over: where another door goes on.
    pub fn cursor(&self) -> Cursor {
        self.events.log().tail().at(self.subscriber.place())
    }

    /// Goes on after this fact, with a gap if that cannot be told.
    pub fn resume(&mut self, after: Cursor) {
        self.subscriber.resume(after, &self.events.log().tail());
    }

    /// Wants something else from now on; the values it wants now are told again.
    pub fn refine(&mut self, filter: Filter) {
        self.subscriber.refine(filter);
        self.board = self.subscriber.wants_values().then(|| self.events.board().watch());
    }

    /// What there is to tell now, without waiting for anything to happen; nothing if there is nothing.
    pub async fn ready(&mut self) -> Option<Delivery> {
        self.ready_at_most(BATCH).await
    }

    /// [`Follower::ready`], with `most` facts at most; at least one.
    pub async fn ready_at_most(&mut self, most: usize) -> Option<Delivery> {
        let most = most.max(1);
        loop {
            if self.subscriber.is_over() {
                return Some(Delivery::Over);
            }
            // Order is: arm, look, sleep.
            self.facts.mark_unchanged();
            if let Some(board) = &mut self.board {
                board.mark_unchanged();
            }
            let step = self.subscriber.poll(&self.events.log().tail(), self.events.board(), most);
            match step {
                Step::Facts(facts) if facts.is_empty() => {}
                Step::Facts(facts) => return Some(Delivery::Facts(facts)),
                Step::Values(values) => return Some(Delivery::Values(values)),
                Step::Gap(lost) => return Some(Delivery::Gap { lost }),
                Step::Older { after, floor } => match self.events.log().older(after, floor).await {
                    Ok((facts, upto)) => {
                        let facts = self.subscriber.handle_older(facts, upto, most);
                        if !facts.is_empty() {
                            return Some(Delivery::Facts(facts));
                        }
                    }
                    Err(error) => {
                        tracing::warn!("facts that are not in memory cannot be read: {}", error.chain());
                        return Some(Delivery::Gap { lost: self.subscriber.handle_unreadable(floor) });
                    }
                },
                Step::Nothing => return None,
            }
        }
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
