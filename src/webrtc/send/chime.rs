//! How the rings of a send thread wake it: each rings its chime, and the thread learns which ones did.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

use futures_util::task::AtomicWaker;

use crate::hub::RingKey;

/// Which rings struck, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Chimes {
    struck: Mutex<Vec<RingKey>>,
    waker: AtomicWaker,
}

impl Chimes {
    fn strike(&self, ring: RingKey) {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
        self.waker.wake();
    }

    /// Moves what struck into `into`.
    pub(super) fn take(&self, into: &mut Vec<RingKey>) {
        into.append(&mut self.struck.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn poll_struck(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        let silent = self.struck.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if silent { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// What a ring wakes: it says which ring it was, once until that is looked at.
#[derive(Debug)]
pub(super) struct Chime {
    ring: RingKey,
    struck: AtomicBool,
    chimes: Arc<Chimes>,
}

impl Chime {
    /// As if its ring had struck: it is looked at once, and its ears are armed.
    pub(super) fn struck(ring: RingKey, chimes: Arc<Chimes>) -> Self {
        chimes.strike(ring);
        Self { ring, struck: AtomicBool::new(true), chimes }
    }

    /// The ring is looked at: what strikes from now on is news.
    pub(super) fn reset(&self) {
        self.struck.store(false, Ordering::Release);
    }
}

impl Wake for Chime {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.struck.swap(true, Ordering::AcqRel) {
            self.chimes.strike(self.ring);
        }
    }
}
