//! Media threads: a few one-thread runtimes that viewers are spread over.
//!
//! A ring wakes a thread once and the thread its readers: waking a task on another thread costs twice the write that
//! follows (measured: 0.011 % against 0.026 % of a core per reader). A reader that is made on a media thread listens
//! to the thread's own copy of the ring's bell; one task per thread and ring passes the strokes on.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::bell::{Bell, Listener};
use crate::base::Tasks;

/// Every so many seats taken make a thread's pause longer by one.
const SEATS_PER_PAUSE: usize = 8;
/// The longest pause, in pauses of a thread with few seats taken.
const MOST_PAUSES: usize = 4;

/// What a media thread knows of itself.
struct Context {
    tasks: Tasks,
    /// The thread's copies of the bells its readers listen to, by the address of the original.
    copies: HashMap<usize, Arc<Bell>>,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The bell a reader made here listens to: on a media thread the thread's copy, elsewhere the ring's own.
pub(super) fn nearest(bell: &Arc<Bell>) -> Arc<Bell> {
    CONTEXT.with_borrow_mut(|context| {
        let Some(context) = context else { return bell.clone() };
        let key = Arc::as_ptr(bell) as usize;
        if let Some(copy) = context.copies.get(&key) {
            return copy.clone();
        }
        let copy = Bell::new();
        context.copies.insert(key, copy.clone());
        // It listens from now on, not from when its task first runs.
        let listener = Listener::new(bell.clone());
        context.tasks.spawn("media-thread/relay", Span::none(), relay(listener, copy.clone(), key));
        copy
    })
}

/// Passes the strokes of a ring's bell on to the thread's copy, while anybody listens there.
async fn relay(mut original: Listener, copy: Arc<Bell>, key: usize) {
    loop {
        original.heard().await;
        original.arm();
        if original.is_closed() || !copy.has_listeners() {
            break;
        }
        copy.strike();
    }
    // No await since the check: nobody on this thread began to listen in between.
    CONTEXT.with_borrow_mut(|context| context.as_mut().and_then(|context| context.copies.remove(&key)));
    copy.close();
}

/// The media threads of this process.
#[derive(Clone, Debug)]
pub struct MediaThreads {
    threads: Arc<[MediaThread]>,
    /// Ends the threads when the last handle goes.
    _end: Arc<EndOnDrop>,
}

#[derive(Debug)]
struct MediaThread {
    runtime: Handle,
    load: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct EndOnDrop(CancellationToken);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A viewer's or a path's seat on a thread; dropping it makes room.
#[derive(Debug)]
pub struct Seat {
    number: usize,
    runtime: Handle,
    load: Arc<AtomicUsize>,
}

impl Seat {
    /// The thread's place among [`MediaThreads::runtimes`].
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The runtime of the thread.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MediaThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(count: usize) -> io::Result<Self> {
        Self::start_named("media", count, None)
    }

    /// [`MediaThreads::start`] with threads of another name, for work beside that of viewers' media.
    ///
    /// With a `pause` a thread that has done what there was to do waits for so long before it looks again: packets that
    /// come one after the other then wake it once, as an interrupt of a network card is held back. A crowded thread waits
    /// longer, up to [`MOST_PAUSES`] of them: what it does less often is then the larger part of what it costs.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_named(name: &str, count: usize, pause: Option<Duration>) -> io::Result<Self> {
        let end = CancellationToken::new();
        let thread = |number| start_thread(format!("{name}-{number}"), pause, end.clone());
        let threads = (0..count.max(1)).map(thread).collect::<io::Result<_>>()?;
        Ok(Self { threads, _end: Arc::new(EndOnDrop(end)) })
    }

    /// The number that suits a machine: one per two cores, at least one.
    pub fn suitable() -> usize {
        thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
    }

    /// A seat on the thread that has the fewest taken.
    pub fn seat(&self) -> Seat {
        let least = self.threads.iter().enumerate().min_by_key(|(_, thread)| thread.load.load(Ordering::Relaxed));
        let (number, thread) = least.expect("there should be at least one media thread");
        thread.load.fetch_add(1, Ordering::Relaxed);
        Seat { number, runtime: thread.runtime.clone(), load: thread.load.clone() }
    }

    /// The runtimes of all threads, for work that has a part on each.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.threads.iter().map(|thread| &thread.runtime)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

fn start_thread(name: String, pause: Option<Duration>, end: CancellationToken) -> io::Result<MediaThread> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    let load = Arc::new(AtomicUsize::new(0));
    if let Some(pause) = pause {
        let load = load.clone();
        builder.on_thread_park(move || thread::sleep(pause * pauses(load.load(Ordering::Relaxed))));
    }
    let runtime = builder.build()?;
    let handle = runtime.handle().clone();
    let body = move || {
        runtime.block_on(async {
            CONTEXT.set(Some(Context { tasks: Tasks::new(), copies: HashMap::new() }));
            end.cancelled().await;
        });
    };
    thread::Builder::new().name(name).spawn(body)?;
    Ok(MediaThread { runtime: handle, load })
}

/// How many pauses a thread with so many seats taken makes at a time.
fn pauses(seats: usize) -> u32 {
    (1 + seats / SEATS_PER_PAUSE).min(MOST_PAUSES) as u32
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn a_crowded_thread_pauses_longer_and_never_longer_than_four_times() {
        for (seats, expected) in [(0, 1), (1, 1), (7, 1), (8, 2), (16, 3), (24, 4), (40, 4), (4000, 4)] {
            assert_eq!(pauses(seats), expected, "{seats} seats");
        }
    }

    #[test]
    fn strokes_that_come_within_a_pause_wake_a_thread_once() {
        const STROKES: usize = 20;
        let threads = MediaThreads::start_named("test", 1, Some(Duration::from_millis(500))).unwrap();
        let (bell, woken) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let seat = threads.seat();
        let (listener, count) = (bell.clone(), woken.clone());
        let waits = async move {
            loop {
                listener.notified().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let _in = seat.runtime().enter();
        let tasks = Tasks::new();
        tasks.spawn("waits", Span::none(), waits);
        for _ in 0..STROKES {
            bell.notify_one();
            thread::sleep(Duration::from_millis(1));
        }
        let began = crate::base::Clock.now();
        while woken.load(Ordering::Relaxed) == 0 && crate::base::Clock.now().since(began) < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(5));
        }
        let woken = woken.load(Ordering::Relaxed);
        assert!((1..STROKES).contains(&woken), "{woken}");
    }
}
