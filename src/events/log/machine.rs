//! What becomes of a draft: its number, its commit, its release. Sans-IO: the driver brings time and the disk's answers.
//!
//! ```text
//! draft ─► numbered, waiting ─► in the commit that runs ─► released, in order, durable
//!                    └── the commit takes longer than 250 ms, or fails ─► released, not durable; saved later
//! ```
//!
//! Numbers are reserved on the disk in blocks, raised with every commit far enough that all that may wait fits: no
//! number is given out twice, whatever ends the process. When the disk has failed for so long that the reserve is used
//! up, a new epoch begins, whose numbers nobody has seen.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    base::{
        Monotonic,
        backoff::{Backoff, BackoffPolicy},
    },
    events::{
        envelope::{Cursor, Draft, Epoch},
        event::Fact,
    },
};

/// A commit that takes longer lets its facts go before they are on the disk.
pub(super) const LATE: Duration = Duration::from_millis(250);
/// Facts that may wait for the disk; then senders are refused, or, while the disk fails, the oldest are not saved.
pub(super) const WAITING: usize = 4096;
/// Their size.
const WAITING_BYTES: usize = 8 << 20;
/// Facts of one commit.
const COMMIT: usize = 512;
/// Numbers reserved beyond the last one given out: more than may wait.
pub(super) const BLOCK: u64 = 2 * WAITING as u64;
/// Attempts after a failure.
const RETRY: BackoffPolicy = BackoffPolicy {
    first: Duration::from_secs(1),
    most: Duration::from_secs(30),
    stable_after: Duration::from_secs(60),
};

/// How the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// As it should.
    Well,
    /// A commit takes too long.
    Late,
    /// A commit failed; the next attempt is at this time.
    Failing(Monotonic),
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) facts: Vec<Arc<Fact>>,
    pub(super) epoch: Epoch,
    /// The reserve to write with them.
    pub(super) reserve: u64,
}

/// A fact for everybody, and the ticket its draft came with.
#[derive(Debug)]
pub(super) struct Released<T> {
    pub(super) fact: Arc<Fact>,
    pub(super) ticket: Option<T>,
}

#[derive(Debug)]
struct Entry<T> {
    fact: Arc<Fact>,
    ticket: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    count: usize,
    began: Monotonic,
    epoch: Epoch,
    reserve: u64,
}

/// The machine; `T` is what a sender waits with.
#[derive(Debug)]
pub(super) struct LogMachine<T> {
    epoch: Epoch,
    /// Draws another epoch.
    draw: fn() -> Epoch,
    /// The last number given out.
    last: u64,
    /// The last number that may be given out in this epoch.
    reserve: u64,
    /// Accepted and not known to be on the disk, in order; the first `released` of them are out already.
    entries: VecDeque<Entry<T>>,
    released: usize,
    bytes: usize,
    flight: Option<Flight>,
    disk: Disk,
    backoff: Backoff,
    out: Vec<Released<T>>,
    unsaved: u64,
}

/// Nothing more may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<T> LogMachine<T> {
    /// Goes on after `last` in this epoch, up to `reserve` for now, which is on the disk already or in an epoch that
    /// was drawn just now.
    pub(super) fn new(epoch: Epoch, last: u64, reserve: u64, disk: Disk, draw: fn() -> Epoch) -> Self {
        Self {
            epoch,
            draw,
            last,
            reserve,
            entries: VecDeque::new(),
            released: 0,
            bytes: 0,
            flight: None,
            disk,
            backoff: Backoff::new(RETRY),
            out: Vec::new(),
            unsaved: 0,
        }
    }

    /// The place after the last fact that was released.
    pub(super) fn cursor(&self) -> Cursor {
        let waiting = self.entries.get(self.released).map(|entry| entry.fact.cursor.offset - 1);
        Cursor { epoch: self.epoch, offset: waiting.unwrap_or(self.last) }
    }

    /// How the disk does.
    pub(super) fn disk(&self) -> Disk {
        self.disk
    }

    /// Facts that were released and will never be on the disk.
    pub(super) fn unsaved(&self) -> u64 {
        self.unsaved
    }

    /// Whether something is not on the disk yet.
    pub(super) fn is_busy(&self) -> bool {
        self.flight.is_some() || !self.entries.is_empty()
    }

    /// A draft comes in; its ticket comes back with its release.
    pub(super) fn handle_draft(&mut self, draft: Draft, ticket: T) -> Result<(), Full> {
        let size = draft.data.get().len();
        let full = self.entries.len() >= WAITING || self.bytes + size > WAITING_BYTES;
        if full && (self.disk == Disk::Well || !self.make_room(size)) {
            return Err(Full);
        }
        if self.last >= self.reserve {
            // The disk did not take a higher reserve for thousands of facts.
            (self.epoch, self.reserve) = ((self.draw)(), self.last + BLOCK);
        }
        self.last += 1;
        let fact = Arc::new(Fact::new(Cursor { epoch: self.epoch, offset: self.last }, draft));
        self.bytes += fact.body.len();
        self.entries.push_back(Entry { fact, ticket: Some(ticket) });
        if self.disk != Disk::Well {
            self.release_all();
        }
        Ok(())
    }

    /// Gives up saving the oldest facts that are out, but not those in the commit that runs.
    fn make_room(&mut self, size: usize) -> bool {
        let kept = self.flight.map_or(0, |flight| flight.count);
        while self.entries.len() >= WAITING || self.bytes + size > WAITING_BYTES {
            if self.released <= kept {
                return false;
            }
            let Some(entry) = self.entries.remove(kept) else { return false };
            self.bytes -= entry.fact.body.len();
            self.released -= 1;
            self.unsaved += 1;
        }
        true
    }

    /// The next commit, if it is time for one.
    pub(super) fn poll_commit(&mut self, now: Monotonic) -> Option<Commit> {
        let due = match self.disk {
            Disk::Failing(at) => now >= at,
            Disk::Well | Disk::Late => true,
        };
        // A disk that failed is tried again, whether there are facts or not.
        let wanted = !self.entries.is_empty() || self.disk != Disk::Well;
        if self.flight.is_some() || !due || !wanted {
            return None;
        }
        let facts: Vec<_> = self.entries.iter().take(COMMIT).map(|entry| entry.fact.clone()).collect();
        let flight = Flight { count: facts.len(), began: now, epoch: self.epoch, reserve: self.last + BLOCK };
        self.flight = Some(flight);
        Some(Commit { facts, epoch: flight.epoch, reserve: flight.reserve })
    }

    /// The commit that ran is on the disk.
    pub(super) fn handle_committed(&mut self, now: Monotonic) {
        let Some(flight) = self.flight.take() else { return };
        self.backoff.succeeded(now);
        self.disk = Disk::Well;
        if flight.epoch == self.epoch {
            self.reserve = self.reserve.max(flight.reserve);
        }
        for _ in 0..flight.count {
            let Some(mut entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.fact.body.len();
            if self.released > 0 {
                self.released -= 1;
            } else {
                self.out.push(Released { fact: entry.fact, ticket: entry.ticket.take() });
            }
        }
    }

    /// The commit that ran failed; `chance` is uniform in `0.0..1.0`.
    pub(super) fn handle_failed(&mut self, now: Monotonic, chance: f64) {
        self.flight = None;
        self.disk = Disk::Failing(now + self.backoff.failed(now, chance));
        self.release_all();
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) {
        if self.disk == Disk::Well && self.flight.is_some_and(|flight| now >= flight.began + LATE) {
            self.disk = Disk::Late;
            self.release_all();
        }
    }

    /// When to look again.
    pub(super) fn poll_deadline(&self) -> Option<Monotonic> {
        match (self.disk, self.flight) {
            (Disk::Well, Some(flight)) => Some(flight.began + LATE),
            (Disk::Failing(at), None) => Some(at),
            _ => None,
        }
    }

    /// What everybody may see now, in order.
    pub(super) fn poll_released(&mut self) -> Vec<Released<T>> {
        std::mem::take(&mut self.out)
    }

    /// Gives out what waits, whatever the disk does.
    fn release_all(&mut self) {
        for entry in self.entries.iter_mut().skip(self.released) {
            self.out.push(Released { fact: Arc::new(entry.fact.not_durable()), ticket: entry.ticket.take() });
        }
        self.released = self.entries.len();
    }
}

#[cfg(test)]
mod tests;
