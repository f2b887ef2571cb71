//! The log of facts: numbered, durable, in order.
//!
//! One task ([`driver`]) around [`machine`] and the store's file commits whatever waits as soon as the last commit has
//! returned, with no timer; it alone releases, into the [`tail`] and to the senders. Another takes away what is too old,
//! in small steps.

mod driver;
mod machine;
mod tail;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info_span};

pub(super) use self::tail::{BATCH, BATCH_BYTES, Look, Tail};
use self::{
    driver::Driver,
    machine::{BLOCK, Disk, LogMachine},
};
use super::{
    disk::set_aside,
    envelope::{Cursor, Draft, Epoch},
    event::{Fact, Topic},
};
use crate::{
    base::{Clock, Error, Kind, Result, Tasks},
    store::{Facts, Incident, Mark},
};

/// How long facts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Facts that happened longer ago go.
    pub age: Duration,
    /// The oldest go while the file is larger, in bytes.
    pub size: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(30 * 86_400), size: 512 << 20 }
    }
}

/// What a sender learns of its fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place, which is its id.
    pub cursor: Cursor,
    /// It is on the disk.
    pub durable: bool,
}

/// How the log does, for metrics and statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Facts released since the start.
    pub released: u64,
    /// Those among them that were given out before they were on the disk.
    pub not_durable: u64,
    /// Facts that were given out and will never be on the disk.
    pub unsaved: u64,
    /// Drafts that were refused because too many waited.
    pub refused: u64,
}

/// The log. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    clock: Clock,
    state: Mutex<State>,
    /// Held for a push, or for cloning a batch.
    tail: Mutex<Tail>,
    newest: watch::Sender<u64>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    machine: LogMachine<oneshot::Sender<Receipt>>,
    figures: LogFigures,
    open: bool,
}

/// Where a log stands when it starts.
struct Beginning {
    epoch: Epoch,
    /// The last number that may have been given out.
    last: u64,
    /// The last one that may be given out before the next commit.
    reserve: u64,
    /// The newest fact that is too old to be kept.
    gone: u64,
    /// What the first commit failed with.
    failed: Option<String>,
}

/// The first commit, which reserves numbers, is not waited for any longer.
const FIRST_COMMIT: Duration = Duration::from_secs(2);
/// Between two looks at what is too old.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// Rows of one look back in the store.
const LOOK_BACK: usize = 256;
/// Rows looked at in all for the newest that match a filter.
const LOOK_BACK_MOST: usize = 20_000;

impl Log {
    /// Starts the log on what the store kept. What was wrong with the store becomes alerts.
    pub(super) async fn start(
        facts: Facts,
        incidents: &[Incident],
        retention: Retention,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let unread = incidents.iter().any(|incident| matches!(incident, Incident::Unavailable { .. }));
        let (epoch, last, gone) = match facts.standing() {
            Some(standing) => (Epoch(standing.mark.epoch), standing.mark.reserve, standing.gone),
            // What stands in a file that cannot be read yet has lower numbers than these, and keeps its place.
            None if unread => (draw(), u64::try_from(clock.wall().unix_millis()).unwrap_or(0), 0),
            None => (draw(), 0, 0),
        };
        let reserve = last + BLOCK;
        let first = facts.append(Vec::new(), Mark { epoch: epoch.0, reserve });
        let failed = match timeout(FIRST_COMMIT, first).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.chain()),
            Err(_elapsed) => Some("the first commit did not end".to_owned()),
        };
        let new = facts.standing().is_none();
        // Numbers of an epoch that was drawn just now are nobody else's; those of an old one have to be reserved.
        let reserve = if failed.is_none() || new { reserve } else { last };
        let log = Self::begin(facts, Beginning { epoch, last, reserve, gone, failed }, retention, clock, tasks);
        for incident in incidents {
            if let Incident::SetAside { file, now } = incident {
                let now = now.file_name().unwrap_or_default().to_string_lossy();
                // The log is new and empty: there is room.
                let _ = log.enqueue(set_aside(file, &now, clock.wall()));
            }
        }
        log
    }

    /// Starts the log where it is known to stand.
    fn begin(facts: Facts, beginning: Beginning, retention: Retention, clock: Clock, tasks: &Tasks) -> Self {
        let Beginning { epoch, last, reserve, gone, failed } = beginning;
        let disk = if failed.is_none() { Disk::Well } else { Disk::Failing(clock.now()) };
        let machine = LogMachine::new(epoch, last, reserve, disk, draw);
        let shared = Arc::new(Shared {
            facts,
            clock,
            state: Mutex::new(State { machine, figures: LogFigures::default(), open: true }),
            tail: Mutex::new(Tail::new(epoch, last, gone)),
            newest: watch::Sender::new(last),
            wake: Notify::new(),
        });
        let driver = Driver::new(shared.clone(), failed);
        let stopping = tasks.stopping().clone();
        tasks.spawn("events/log", info_span!("events"), async move { driver.run(stopping).await });
        let (keeper, stopping) = (shared.clone(), tasks.stopping().clone());
        tasks.spawn("events/retention", info_span!("events"), async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = retain(keeper, retention) => {}
            }
        });
        Self { shared }
    }

    /// A log on a new file that is opened with the first commit.
    #[cfg(test)]
    pub(super) fn lazy(facts: Facts, clock: Clock, tasks: &Tasks) -> Self {
        let beginning = Beginning { epoch: draw(), last: 0, reserve: BLOCK, gone: 0, failed: None };
        Self::begin(facts, beginning, Retention::default(), clock, tasks)
    }

    /// Puts a fact into the log; it is on the disk, or marked as not durable, when this returns. A sender that goes
    /// away does not take it back.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: too many wait for the disk. [`Kind::Cancelled`]: the server ends.
    pub(super) async fn append(&self, draft: Draft) -> Result<Receipt> {
        let receipt = self.enqueue(draft)?;
        receipt.await.map_err(|_| ending())
    }

    /// [`Log::append`] without waiting: the receipt comes later. Facts have the order of these calls.
    ///
    /// # Errors
    /// As there.
    pub(super) fn enqueue(&self, draft: Draft) -> Result<oneshot::Receiver<Receipt>> {
        let (ticket, receipt) = oneshot::channel();
        let mut state = self.shared.state();
        if !state.open {
            return Err(ending());
        }
        if state.machine.handle_draft(draft, ticket).is_err() {
            state.figures.refused += 1;
            return Err(Error::new(Kind::ResourceExhausted, "event log: too many facts wait for the disk")
                .with_code("events_full")
                .with_hint("send fewer events, or look at the disk"));
        }
        drop(state);
        self.shared.wake.notify_one();
        Ok(receipt)
    }

    /// The place after the newest fact.
    pub(super) fn cursor(&self) -> Cursor {
        self.shared.tail().cursor()
    }

    /// How it does.
    pub(super) fn figures(&self) -> LogFigures {
        let state = self.shared.state();
        LogFigures { unsaved: state.machine.unsaved(), ..state.figures }
    }

    /// Looks at the newest facts, under a lock.
    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.shared.tail()
    }

    /// Wakes whoever follows.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// Facts beyond `after` that are not in memory, up to `floor`, and how far they go.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn older(&self, after: u64, floor: u64) -> Result<(Vec<Arc<Fact>>, u64)> {
        let rows = self.shared.facts.read(after, BATCH, BATCH_BYTES).await?;
        let epoch = self.cursor().epoch;
        let whole = rows.last().is_some_and(|last| last.offset <= floor);
        let upto = if whole { rows.last().map_or(floor, |last| last.offset) } else { floor };
        let rows = rows.into_iter().filter(|row| row.offset <= floor);
        Ok((rows.filter_map(|row| Fact::from_row(epoch, row)).map(Arc::new).collect(), upto))
    }

    /// The newest facts that are wanted, the oldest first, `most` at most. While the store cannot be read these are the
    /// ones in memory.
    pub(super) async fn recent(&self, most: usize, wanted: impl Fn(&Topic) -> bool) -> Vec<Arc<Fact>> {
        let (mut found, mut below) = self.shared.tail().recent(most, &wanted);
        let epoch = self.cursor().epoch;
        let mut looked_at = 0;
        while found.len() < most && looked_at < LOOK_BACK_MOST {
            let rows = self.shared.facts.before(below, LOOK_BACK).await;
            let rows = rows.inspect_err(|error| debug!("facts that are not in memory: {}", error.chain()));
            let Ok(rows) = rows else { break };
            let Some(last) = rows.last() else { break };
            (below, looked_at) = (last.offset, looked_at + rows.len());
            let facts = rows.into_iter().filter_map(|row| Fact::from_row(epoch, row));
            found.extend(facts.filter(|fact| wanted(&fact.topic)).map(Arc::new).take(most - found.len()));
        }
        found.reverse();
        found
    }
}

fn ending() -> Error {
    Error::new(Kind::Cancelled, "event log: the server ends")
}

fn draw() -> Epoch {
    Epoch(rand::random())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes away what is too old.
async fn retain(shared: Arc<Shared>, retention: Retention) {
    loop {
        sleep(RETAIN_EVERY).await;
        let age = i64::try_from(retention.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = shared.clock.wall().unix_millis().saturating_sub(age);
        // A disk that does not write says so elsewhere.
        while let Ok(retained) = shared.facts.retain(oldest, retention.size).await {
            shared.tail().forget(retained.gone);
            if !retained.more {
                break;
            }
        }
    }
}
