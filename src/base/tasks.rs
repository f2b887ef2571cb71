//! Owned tasks: every task has an owner, a name, a span and an end. The only file that may spawn.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Instrument, Span};

/// How many tasks of this process ended in a panic.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Numbers of tasks, over all sets.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How many tasks of this process ended in a panic; shown in the metrics.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// A set of tasks with one owner. Clones share the set; it is told to stop by [`Tasks::stop`] or by its parent.
#[derive(Clone, Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parent: Option<Arc<Self>>,
    runtime: Handle,
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// Names of live tasks, for the message about those that outlive the drain. Held for an insert or a removal.
    alive: Mutex<BTreeMap<u64, String>>,
}

impl Shared {
    /// This set and those it belongs to, from the inside out.
    fn lineage(self: &Arc<Self>) -> impl Iterator<Item = Arc<Self>> + use<> {
        std::iter::successors(Some(self.clone()), |set| set.parent.clone())
    }

    fn alive(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task. Dropping it does not end the task; its owner's stop does.
#[derive(Debug)]
pub struct Task {
    done: CancellationToken,
    abort: tokio::task::AbortHandle,
}

impl Task {
    /// Waits until the task has ended, whichever way.
    pub async fn ended(&self) {
        self.done.cancelled().await;
    }

    /// Whether the task has ended.
    pub fn is_ended(&self) -> bool {
        self.done.is_cancelled()
    }

    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

impl Tasks {
    /// A root set on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Self {
        Self::on(None, Handle::current(), CancellationToken::new())
    }

    fn on(parent: Option<Arc<Shared>>, runtime: Handle, stopping: CancellationToken) -> Self {
        let tracker = TaskTracker::new();
        tracker.close();
        Self { shared: Arc::new(Shared { parent, runtime, tracker, stopping, alive: Mutex::default() }) }
    }

    /// A set within this one: it stops when this one does and may stop earlier; its tasks are this one's too.
    #[must_use]
    pub fn child(&self) -> Self {
        self.child_on(self.shared.runtime.clone())
    }

    /// The same as [`Tasks::child`], its tasks running on another runtime.
    #[must_use]
    pub fn child_on(&self, runtime: Handle) -> Self {
        Self::on(Some(self.shared.clone()), runtime, self.shared.stopping.child_token())
    }

    /// Starts a task. A panic in it is counted and logged with `name`; it ends that task alone.
    pub fn spawn<F>(&self, name: impl Into<String>, span: Span, future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (name, shared) = (name.into(), &self.shared);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let done = CancellationToken::new();
        let sets: Vec<_> = shared.lineage().collect();
        for set in &sets {
            set.alive().insert(id, name.clone());
        }
        let tokens = sets.iter().map(|set| set.tracker.token()).collect();
        let leave = Leave { sets, id, name, finished: false, _tokens: tokens, _done: done.clone().drop_guard() };
        let task = async move {
            let mut leave = leave;
            future.await;
            leave.finished = true;
        };
        let joined = shared.runtime.spawn(task.instrument(span));
        Task { done, abort: joined.abort_handle() }
    }

    /// Tells every task of this set and its children to stop.
    pub fn stop(&self) {
        self.shared.stopping.cancel();
    }

    /// The token that fires when this set is told to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Waits until no task of this set and the sets within it is left, for `limit` at most; the names of those still alive come back.
    pub async fn drained(&self, limit: Duration) -> Vec<String> {
        if tokio::time::timeout(limit, self.shared.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        self.shared.alive().values().cloned().collect()
    }

    /// How many tasks of this set and the sets within it are alive.
    pub fn alive(&self) -> usize {
        self.shared.tracker.len()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// Strikes a task from the list however it ends.
struct Leave {
    sets: Vec<Arc<Shared>>,
    id: u64,
    name: String,
    finished: bool,
    _tokens: Vec<TaskTrackerToken>,
    _done: DropGuard,
}

impl Drop for Leave {
    fn drop(&mut self) {
        for set in &self.sets {
            set.alive().remove(&self.id);
        }
        if !self.finished && std::thread::panicking() {
            PANICS.fetch_add(1, Ordering::Relaxed);
            tracing::error!(task = %self.name, "task ended in a panic; this is a fault of campanile");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_task_and_is_counted() {
        let tasks = Tasks::new();
        let before = panics();
        let broken = tasks.spawn("broken", Span::none(), async { panic!("on purpose") });
        broken.ended().await;
        assert!(panics() > before);
        assert!(tasks.drained(Duration::from_secs(5)).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn drain_names_the_tasks_that_do_not_stop() {
        let tasks = Tasks::new();
        let deaf = tasks.spawn("deaf", Span::none(), std::future::pending());
        let stopping = tasks.stopping().clone();
        tasks.spawn("polite", Span::none(), async move { stopping.cancelled().await });
        tasks.stop();
        assert_eq!(tasks.drained(Duration::from_secs(1)).await, ["deaf"]);
        deaf.abort();
        assert!(tasks.drained(Duration::from_secs(1)).await.is_empty());
    }

    #[tokio::test]
    async fn a_child_set_stops_with_its_parent() {
        let parent = Tasks::new();
        let child = parent.child();
        let stopping = child.stopping().clone();
        child.spawn("grandchild", Span::none(), async move { stopping.cancelled().await });
        assert_eq!(parent.alive(), 1);
        parent.stop();
        assert!(parent.drained(Duration::from_secs(5)).await.is_empty());
        assert_eq!((parent.alive(), child.alive()), (0, 0));
    }
}
