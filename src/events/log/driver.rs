//! The task that commits and releases: the clock and the store's file around the machine.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Receipt, Shared, draw,
    machine::{Disk, LogMachine, Released},
};
use crate::{
    base::{Monotonic, Result, complaints::Complaints},
    events::{
        disk::{DiskAlert, Trouble},
        envelope::Draft,
    },
    store::Mark,
};

/// How long the last commit may take when the server stops.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// The task that commits and releases.
pub(super) struct Driver {
    shared: Arc<Shared>,
    running: Option<BoxFuture<'static, Result<()>>>,
    alert: DiskAlert,
    /// What the last failure said.
    failure: Option<String>,
    complaints: Complaints,
}

impl Driver {
    /// `failure` is what the first commit failed with.
    pub(super) fn new(shared: Arc<Shared>, failure: Option<String>) -> Self {
        let complaints = Complaints::new(Duration::from_secs(60));
        Self { shared, running: None, alert: DiskAlert::default(), failure, complaints }
    }

    /// Works until it is told to stop, and then until what waits is on the disk.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
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
    fn step(&mut self) -> Option<Monotonic> {
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
