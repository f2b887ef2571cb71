//! What others have for one connection: a few frames, and a bell. It is bounded, and who finds it full is told.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

/// Frames that may wait.
const MOST: usize = 16;

/// The mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    bell: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Newest wins: who is online matters as it is now.
    presence: Option<Bytes>,
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a frame; false if there is no room.
    pub(super) fn post(&self, frame: Bytes) -> bool {
        let room = {
            let mut state = self.state();
            let room = state.frames.len() < MOST;
            if room {
                state.frames.push_back(frame);
            }
            room
        };
        self.bell.wake();
        room
    }

    /// Leaves a frame in the place of the last one of this kind.
    pub(super) fn post_presence(&self, frame: Bytes) {
        self.state().presence = Some(frame);
        self.bell.wake();
    }

    /// The next thing; the order is: arm, look, sleep.
    pub(super) fn poll_mail(&self, cx: &Context<'_>) -> Poll<Bytes> {
        self.bell.register(cx.waker());
        let mut state = self.state();
        let frame = state.frames.pop_front();
        match frame.or_else(|| state.presence.take()) {
            Some(frame) => Poll::Ready(frame),
            None => {
                // An empty queue keeps no room.
                state.frames = VecDeque::new();
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(mailbox: &Mailbox) -> Option<Bytes> {
        match mailbox.poll_mail(&Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        }
    }

    #[test]
    fn mail_comes_in_order_a_full_box_says_so_and_presence_is_the_newest() {
        let mailbox = Mailbox::default();
        for number in 0..MOST as u8 {
            assert!(mailbox.post(Bytes::from(vec![number])));
        }
        assert!(!mailbox.post(Bytes::from_static(b"one too many")));
        mailbox.post_presence(Bytes::from_static(b"older"));
        mailbox.post_presence(Bytes::from_static(b"newest"));
        for number in 0..MOST as u8 {
            assert_eq!(take(&mailbox), Some(Bytes::from(vec![number])));
        }
        assert_eq!(take(&mailbox), Some(Bytes::from_static(b"newest")));
        assert_eq!(take(&mailbox), None);
    }
}
