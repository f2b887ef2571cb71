//! The log of facts: numbered, durable, in order. The driver around [`machine`] and the store's file.
//!
//! One task commits whatever waits as soon as the last commit has returned, with no timer; it alone releases, into the
//! [`tail`] and to the senders. Another takes away what is too old, in small steps.

mod machine;
mod tail;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{sleep, sleep_until, timeout},
};
use tracing::{info_span, warn};

use self::machine::{BLOCK, Disk, LogMachine, Released};
pub(super) use self::tail::{BATCH, BATCH_BYTES, Look, Tail};
use super::{
    disk::{DiskAlert, Trouble, set_aside},
    envelope::{Cursor, Draft, Epoch},
    event::{Fact, Topic},
};
use crate::{
    base::{Clock, Error, Kind, Result, Tasks, complaints::Complaints},
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

/// The first commit, which reserves numbers, is not waited for any longer.
const FIRST_COMMIT: Duration = Duration::from_secs(2);
/// How long the last commit may take when the server stops.
const LAST_COMMIT: Duration = Duration::from_secs(2);
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
        let (epoch, last, gone) = match facts.standing() {
            Some(standing) => (Epoch(standing.mark.epoch), standing.mark.reserve, standing.gone),
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
        for incident in incidents {
            if let Incident::SetAside { file, now } = incident {
                let now = now.file_name().unwrap_or_default().to_string_lossy();
                driver.tell(set_aside(file, &now, clock.wall()));
            }
        }
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

    /// The newest facts that are wanted, the oldest first, `most` at most.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn recent(&self, most: usize, wanted: impl Fn(&Topic) -> bool) -> Result<Vec<Arc<Fact>>> {
        let (mut found, mut below) = self.shared.tail().recent(most, &wanted);
        let epoch = self.cursor().epoch;
        let mut looked_at = 0;
        while found.len() < most && looked_at < LOOK_BACK_MOST {
            let rows = self.shared.facts.before(below, LOOK_BACK).await?;
            let Some(last) = rows.last() else { break };
            (below, looked_at) = (last.offset, looked_at + rows.len());
            let facts = rows.into_iter().filter_map(|row| Fact::from_row(epoch, row));
            found.extend(facts.filter(|fact| wanted(&fact.topic)).map(Arc::new).take(most - found.len()));
        }
        found.reverse();
        Ok(found)
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

/// The task that commits and releases.
struct Driver {
    shared: Arc<Shared>,
    running: Option<BoxFuture<'static, Result<()>>>,
    alert: DiskAlert,
    /// What the last failure said.
    failure: Option<String>,
    complaints: Complaints,
}

impl Driver {
    fn new(shared: Arc<Shared>, failure: Option<String>) -> Self {
        let complaints = Complaints::new(Duration::from_secs(60));
        Self { shared, running: None, alert: DiskAlert::default(), failure, complaints }
    }

    async fn run(mut self, stopping: tokio_util::sync::CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                () = self.turn() => {}
            }
        }
        let finish = async {
            while self.shared.state().machine.is_busy() && !self.is_failing() {
                self.turn().await;
            }
        };
        if timeout(LAST_COMMIT, finish).await.is_err() {
            warn!("the last facts may not be on the disk");
        }
        let mut state = self.shared.state();
        state.open = false;
        // Whoever still waits learns that the server ends.
        let cursor = state.machine.cursor();
        state.machine = LogMachine::new(cursor.epoch, cursor.offset, cursor.offset, Disk::Well, draw);
    }

    fn is_failing(&self) -> bool {
        matches!(self.shared.state().machine.disk(), Disk::Failing(_))
    }

    /// Does what is due, then waits for the next thing to happen.
    ///
    /// # Cancel safety
    /// The commit that runs stays with the driver.
    async fn turn(&mut self) {
        let (clock, wake) = (self.shared.clock, self.shared.clone());
        let deadline = self.step();
        let timer = async {
            match deadline {
                Some(at) => sleep_until(clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        let committed = async {
            match &mut self.running {
                Some(commit) => commit.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = committed => self.handle_end(ended),
            () = wake.wake.notified() => {}
            () = timer => {}
        }
    }

    fn handle_end(&mut self, ended: Result<()>) {
        self.running = None;
        let now = self.shared.clock.now();
        let machine = &mut self.shared.state().machine;
        match ended {
            Ok(()) => machine.handle_committed(now),
            Err(error) => {
                machine.handle_failed(now, rand::random());
                let chain = error.chain();
                if let Some(times) = self.complaints.note(now) {
                    warn!(times, "{chain}; events go on in memory");
                }
                self.failure = Some(chain);
            }
        }
    }

    /// Runs the machine up to now: releases, starts the next commit, tells of the disk.
    fn step(&mut self) -> Option<crate::base::Monotonic> {
        let clock = self.shared.clock;
        let now = clock.now();
        let disk = {
            let machine = &mut self.shared.state().machine;
            machine.handle_timeout(now);
            machine.disk()
        };
        let trouble = match disk {
            Disk::Well => None,
            Disk::Late => Some(Trouble::Late),
            Disk::Failing(_) => Some(Trouble::Failing(self.failure.clone().unwrap_or_default())),
        };
        if let Some(draft) = self.alert.handle_disk(trouble.as_ref(), now, clock.wall()) {
            self.tell(draft);
        }
        let (released, commit, deadline) = {
            let state = &mut *self.shared.state();
            let released = state.machine.poll_released();
            state.figures.released += released.len() as u64;
            state.figures.not_durable += released.iter().filter(|released| !released.fact.durable).count() as u64;
            let commit = if self.running.is_none() { state.machine.poll_commit(now) } else { None };
            (released, commit, state.machine.poll_deadline())
        };
        self.release(released);
        if let Some(commit) = commit {
            let facts = self.shared.facts.clone();
            self.running = Some(Box::pin(async move {
                let rows = commit.facts.iter().map(|fact| fact.row()).collect();
                facts.append(rows, Mark { epoch: commit.epoch.0, reserve: commit.reserve }).await
            }));
        }
        [deadline, self.alert.poll_deadline()].into_iter().flatten().min()
    }

    /// Gives facts to everybody, then tells their senders.
    fn release(&self, released: Vec<Released<oneshot::Sender<Receipt>>>) {
        let Some(newest) = released.last().map(|released| released.fact.cursor.offset) else { return };
        {
            let mut tail = self.shared.tail();
            released.iter().for_each(|released| tail.push(released.fact.clone()));
        }
        self.shared.newest.send_replace(newest);
        for Released { fact, ticket } in released {
            if let Some(ticket) = ticket {
                // A sender that left does not mind.
                let _ = ticket.send(Receipt { cursor: fact.cursor, durable: fact.durable });
            }
        }
    }

    /// Puts a fact of its own into the log; when nothing more fits, the log's own words wait for another time.
    fn tell(&self, draft: Draft) {
        let (ticket, _nobody) = oneshot::channel();
        let _ = self.shared.state().machine.handle_draft(draft, ticket);
    }
}
