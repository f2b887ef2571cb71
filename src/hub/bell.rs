//! The edge readers wait on: a count of strokes and the wakers of those who sleep.
//!
//! Order is: arm, look, sleep. [`Listener::arm`] notes the stroke count, the caller looks at the ring, and
//! [`Listener::heard`] sleeps only while no stroke has come since; a stroke between look and sleep is never missed
//! (`tests/bell` holds that over all interleavings).

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use super::sync::{Arc, Mutex, MutexGuard, lock};

/// Wakes whoever listens, all at once.
pub(super) struct Bell {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    strokes: u64,
    closed: bool,
    listeners: usize,
    sleeping: usize,
    /// One place per listener; a place is filled while its listener sleeps.
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// The buffer of the last stroke, kept so that a stroke allocates nothing.
    spare: Vec<Waker>,
}

impl Bell {
    /// A bell nobody listens to.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::default()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Wakes every sleeper. Wakers are called after the lock is given back.
    pub(super) fn strike(&self) {
        let mut awake = {
            let mut state = self.state();
            state.strokes += 1;
            if state.sleeping == 0 {
                return;
            }
            state.sleeping = 0;
            let mut awake = std::mem::take(&mut state.spare);
            awake.extend(state.places.iter_mut().filter_map(Option::take));
            awake
        };
        for waker in awake.drain(..) {
            waker.wake();
        }
        self.state().spare = awake;
    }

    /// Wakes every sleeper for good: from now on nobody sleeps here.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.strike();
    }

    /// How many listen.
    #[cfg(test)]
    pub(super) fn listeners(&self) -> usize {
        self.state().listeners
    }

    /// Whether anybody listens.
    pub(super) fn has_listeners(&self) -> bool {
        self.state().listeners > 0
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

/// One who waits for strokes.
pub(super) struct Listener {
    bell: Arc<Bell>,
    place: usize,
    seen: u64,
}

impl Listener {
    /// Listens to `bell`, armed as of now.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        let mut state = bell.state();
        let place = state.free.pop().unwrap_or_else(|| {
            state.places.push(None);
            state.places.len() - 1
        });
        state.listeners += 1;
        let seen = state.strokes;
        drop(state);
        Self { bell, place, seen }
    }

    /// Notes the stroke count. Call it before looking at what the bell announces.
    pub(super) fn arm(&mut self) {
        self.seen = self.bell.state().strokes;
    }

    /// Whether no stroke came since the last [`Listener::arm`].
    #[cfg(test)]
    pub(super) fn is_silent(&self) -> bool {
        self.bell.state().strokes == self.seen
    }

    /// Whether the bell is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.bell.state().closed
    }

    /// Sleeps until a stroke after the last [`Listener::arm`], or until the bell closes.
    ///
    /// # Cancel safety
    /// Nothing is lost: the stroke count stays where `arm` left it.
    pub(super) async fn heard(&self) {
        poll_fn(|cx| self.poll_heard(cx)).await;
    }

    /// [`Listener::heard`] for hand-written futures.
    pub(super) fn poll_heard(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.bell.state();
        if state.strokes != self.seen || state.closed {
            return Poll::Ready(());
        }
        let place = &mut state.places[self.place];
        match place {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *place = Some(cx.waker().clone());
                state.sleeping += 1;
            }
        }
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.bell.state();
        let waker = state.places[self.place].take();
        if waker.is_some() {
            state.sleeping -= 1;
        }
        state.free.push(self.place);
        state.listeners -= 1;
        drop(state);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.seen)
    }
}
