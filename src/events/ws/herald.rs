//! Tells the connections that sleep, one after another: an event costs a client a look and a write, and no task wakes.
//!
//! A connection's task that has nothing to do leaves its [`Talk`] at a [`Berth`] and sleeps. A few tasks of the door's
//! own follow the log and the board; each goes along its berths and tells what there is. Only where that is not enough (the
//! socket is full, the store has to be asked, the connection ends) it wakes the connection's task. Order there is: leave
//! the talk, look, sleep; so nothing falls between the two.

use std::{
    collections::BTreeMap,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::watch,
    task::{unconstrained, yield_now},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info_span};

use super::talk::Talk;
use crate::{
    base::{Clock, Monotonic, Tasks},
    events::{Events, follower::News},
    stats::EventDoors,
};

/// Where a connection lies while its task sleeps.
#[derive(Debug, Default)]
pub(super) struct Berth {
    /// Held while somebody is told; nothing is awaited meanwhile.
    talk: Mutex<Option<Box<Talk>>>,
}

/// The berths of one task.
type Berths = Mutex<BTreeMap<u64, Arc<Berth>>>;

/// Who tells.
#[derive(Debug)]
pub(super) struct Herald {
    /// One set for each task.
    quays: Vec<Arc<Berths>>,
    next: AtomicU64,
}

/// A berth of its own; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Moored {
    quay: Arc<Berths>,
    number: u64,
    berth: Arc<Berth>,
}

/// Connections told in one go, before other tasks of the thread have their turn: about 0.2 ms.
const TURN: usize = 32;

impl Herald {
    /// Begins to tell, with so many tasks.
    pub(super) fn start(count: usize, events: &Events, doors: &Arc<EventDoors>, clock: Clock, tasks: &Tasks) -> Self {
        let quays: Vec<Arc<Berths>> = (0..count.max(1)).map(|_| Arc::default()).collect();
        for quay in &quays {
            let (quay, stopping) = (quay.clone(), tasks.stopping().clone());
            let (facts, board) = (events.log().watch(), events.board().watch());
            // Without the budget of tokio: it would make a socket look full. Turns are counted here.
            let telling = unconstrained(run(quay, facts, board, doors.clone(), clock, stopping));
            tasks.spawn("events/herald", info_span!("events"), telling);
        }
        Self { quays, next: AtomicU64::new(0) }
    }

    /// A berth for one connection.
    pub(super) fn moor(&self) -> Moored {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let quay = self.quays[usize::try_from(number).unwrap_or(0) % self.quays.len()].clone();
        let berth = Arc::<Berth>::default();
        berths(&quay).insert(number, berth.clone());
        Moored { quay, number, berth }
    }
}

fn berths(quay: &Berths) -> MutexGuard<'_, BTreeMap<u64, Arc<Berth>>> {
    quay.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    quay: Arc<Berths>,
    mut facts: watch::Receiver<u64>,
    mut board: watch::Receiver<u64>,
    doors: Arc<EventDoors>,
    clock: Clock,
    stopping: CancellationToken,
) {
    loop {
        // Of senders that are gone there is no more news; the door ends by its own token.
        let news = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            changed = facts.changed() => changed.map(|()| News { facts: true, values: board.has_changed().unwrap_or(false) }),
            changed = board.changed() => changed.map(|()| News { facts: false, values: true }),
        };
        let Ok(news) = news else { return };
        board.mark_unchanged();
        let mut from = Bound::Unbounded;
        loop {
            let turn: Vec<_> = {
                let berths = berths(&quay);
                berths
                    .range((from, Bound::Unbounded))
                    .take(TURN)
                    .map(|(number, berth)| (*number, berth.clone()))
                    .collect()
            };
            let Some((last, _)) = turn.last() else { break };
            from = Bound::Excluded(*last);
            let now = clock.now();
            for (_, berth) in &turn {
                // A fault in one conversation is not the end of the others.
                if catch_unwind(AssertUnwindSafe(|| berth.tell(news, &doors, now))).is_err() {
                    error!("an event could not be told; this is a fault of campanile");
                    let talk = berth.talk().take();
                    talk.inspect(|talk| talk.waker.wake_by_ref());
                }
            }
            yield_now().await;
        }
    }
}

impl Berth {
    fn talk(&self) -> MutexGuard<'_, Option<Box<Talk>>> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what there is. Who is not here is awake, and looks before it comes.
    fn tell(&self, news: News, doors: &EventDoors, now: Monotonic) {
        if let Some(talk) = &mut *self.talk() {
            talk.tell(news, doors, now);
        }
    }
}

impl Moored {
    /// Leaves the talk there, unless there is something to tell; then it comes back.
    pub(super) fn leave(&self, talk: Box<Talk>) -> Option<Box<Talk>> {
        let mut place = self.berth.talk();
        if talk.wants_events() && talk.follower.is_behind() {
            return Some(talk);
        }
        *place = Some(talk);
        None
    }

    /// Takes it back.
    pub(super) fn fetch(&self) -> Option<Box<Talk>> {
        self.berth.talk().take()
    }
}

impl Drop for Moored {
    fn drop(&mut self) {
        berths(&self.quay).remove(&self.number);
    }
}
