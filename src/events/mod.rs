//! What happened, and how things stand: one durable log of facts, one board of values, and whoever follows them.
//!
//! A *fact* (an alert, a camera event) has a [`Cursor`] and is never dropped; a *value* (statistics, a reading, a
//! status) has a key, and only the newest counts. A subscriber is a cursor, a board version and a filter: no queue.

pub mod alarms;
pub mod alerts;
mod board;
mod disk;
mod envelope;
mod event;
mod filter;
mod follower;
mod forms;
mod log;
pub mod payload;
pub mod rules;
pub mod spread;
mod statistics;
mod steadiness;
mod subscriber;
mod tally;
pub mod ws;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::oneshot;

use self::{board::Board, log::Log, payload::AuditEvent};
pub use self::{
    envelope::{Cursor, Draft, Epoch, EventType, SensorId, SensorIdError, Severity},
    event::{Fact, Topic, Value},
    filter::{Filter, Scope, Types},
    follower::{Delivery, Follower},
    forms::{Form, Forms},
    log::{LogFigures, Receipt, Retention},
    statistics::{Shown, StatisticsReader, StatisticsWriter, statistics},
    subscriber::From,
    tally::{Tally, Totals},
};
use crate::{
    base::{Clock, Error, Kind, Result, Tasks, WallTime},
    store::{Incident, Store},
};

/// The log and the board: what every room puts events into, and every door takes them from. Clones share them.
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Log,
    board: Board,
}

impl Events {
    /// Starts the log on what the store kept; what was wrong with the store when it was opened becomes alerts.
    pub async fn start(
        store: &Store,
        incidents: &[Incident],
        retention: Retention,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let log = Log::start(store.facts().clone(), incidents, retention, clock, &tasks.child()).await;
        Self { shared: Arc::new(Shared { log, board: Board::new() }) }
    }

    /// Events on a file that is opened with the first fact.
    #[cfg(test)]
    pub(crate) fn lazy(store: &Store, clock: Clock, tasks: &Tasks) -> Self {
        let log = Log::lazy(store.facts().clone(), clock, &tasks.child());
        Self { shared: Arc::new(Shared { log, board: Board::new() }) }
    }

    fn log(&self) -> &Log {
        &self.shared.log
    }

    fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Puts a fact into the log. It is on the disk, or given out marked as not durable, when this returns; a caller
    /// that goes away does not take it back.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: too many wait for the disk. [`Kind::Cancelled`]: the server ends.
    /// [`Kind::InvalidArgument`]: it is a value.
    pub async fn append(&self, draft: Draft) -> Result<Receipt> {
        is_fact(&draft)?;
        self.log().append(draft).await
    }

    /// [`Events::append`] for those who wait later, or not at all: facts have the order of these calls. The receipt does
    /// not come if the server ends before.
    ///
    /// # Errors
    /// As there.
    pub fn enqueue(&self, draft: Draft) -> Result<oneshot::Receiver<Receipt>> {
        is_fact(&draft)?;
        self.log().enqueue(draft)
    }

    /// Writes down that somebody did something; that it cannot be written is said, and is no reason not to do it.
    pub fn write_down(&self, action: &str, by: String, target: String, at: WallTime) {
        self.write_down_with(action, by, target, None, at);
    }

    /// The same with a note.
    pub fn write_down_with(&self, action: &str, by: String, target: String, note: Option<String>, at: WallTime) {
        let deed = AuditEvent { action: action.to_owned(), by, target, note, command: None };
        if let Err(error) = self.enqueue(audit_draft(&deed, at)) {
            tracing::warn!("`{action}` is not in the audit: {}", error.chain());
        }
    }

    /// Puts a value on the board, in the place of the one of the same type, path and sensor.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: there are too many keys. [`Kind::InvalidArgument`]: it is a fact.
    pub fn set(&self, draft: Draft) -> Result<()> {
        if draft.kind.is_fact() {
            return Err(misplaced(&draft, "a fact, it belongs into the log"));
        }
        self.board().set(draft)
    }

    /// Takes values off the board; nobody is told.
    pub fn remove(&self, matching: impl Fn(&Topic) -> bool) {
        self.board().remove(matching);
    }

    /// Follows both: what the filter asks for and the scope lets through.
    pub fn follow(&self, scope: Scope, filter: Filter, from: From) -> Follower {
        Follower::new(self.clone(), scope, filter, from)
    }

    /// The place after the newest fact.
    pub fn cursor(&self) -> Cursor {
        self.log().cursor()
    }

    /// The newest facts that pass, the oldest first, `most` at most. While the store cannot be read these are the ones in
    /// memory.
    pub async fn recent(&self, scope: &Scope, filter: &Filter, most: usize) -> Vec<Arc<Fact>> {
        self.log().recent(most, |topic| filter.wants(topic) && scope.sees(topic)).await
    }

    /// The values that pass, as they are now.
    pub fn values(&self, scope: &Scope, filter: &Filter) -> Vec<Arc<Value>> {
        self.board().since(0, |topic| filter.wants(topic) && scope.sees(topic)).0
    }

    /// How the log does.
    pub fn figures(&self) -> LogFigures {
        self.log().figures()
    }
}

/// The fact that somebody did something, for whoever has to know that it is in the log.
pub fn audit_draft(deed: &AuditEvent, at: WallTime) -> Draft {
    alarms::of_deed(deed, None, at)
}

fn is_fact(draft: &Draft) -> Result<()> {
    if draft.kind.is_fact() { Ok(()) } else { Err(misplaced(draft, "a value, it belongs on the board")) }
}

fn misplaced(draft: &Draft, why: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("{}: this is {why}", draft.kind.name()))
}
