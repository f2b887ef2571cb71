//! Events that are sent again, since their sender did not see the answer: they are taken once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use futures_util::future::{FutureExt, Shared};
use tokio::sync::oneshot;

use crate::{base::Result, events::Receipt};

/// Keys that are remembered; the oldest are forgotten first.
const KEYS: usize = 4096;
/// The longest key.
pub(super) const KEY_MAX: usize = 256;

/// What becomes of an event, for all who sent it.
pub(super) type Outcome = Shared<oneshot::Receiver<Receipt>>;

/// The keys and what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, Outcome>,
    order: VecDeque<String>,
}

impl Replays {
    /// What becomes of the event of this key, and whether it was sent before; `take` takes it the first time. A sender
    /// that goes away in between changes nothing.
    ///
    /// # Errors
    /// That of `take`; then it may be sent again.
    pub(super) fn once(
        &self,
        key: &str,
        take: impl FnOnce() -> Result<oneshot::Receiver<Receipt>>,
    ) -> Result<(Outcome, bool)> {
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = state.known.get(key) {
            return Ok((outcome.clone(), true));
        }
        let outcome = take()?.shared();
        state.known.insert(key.to_owned(), outcome.clone());
        state.order.push_back(key.to_owned());
        if state.order.len() > KEYS
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
        Ok((outcome, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Error, Kind},
        events::{Cursor, Epoch},
    };

    #[tokio::test]
    async fn a_key_is_taken_once_unless_the_first_time_failed() {
        let replays = Replays::default();
        assert!(replays.once("a", || Err(Error::new(Kind::ResourceExhausted, "full"))).is_err());
        let (told, outcome) = oneshot::channel();
        let (first, again) = replays.once("a", || Ok(outcome)).unwrap();
        assert!(!again);
        let (second, again) = replays.once("a", || panic!("it was taken")).unwrap();
        assert!(again);
        let receipt = Receipt { cursor: Cursor { epoch: Epoch(1), offset: 2 }, durable: true };
        told.send(receipt).unwrap();
        assert_eq!((first.await, second.await), (Ok(receipt), Ok(receipt)));
        for number in 0..KEYS {
            let _outcome = replays.once(&number.to_string(), || Ok(oneshot::channel().1)).unwrap();
        }
        assert!(!replays.once("a", || Ok(oneshot::channel().1)).unwrap().1, "what is old is forgotten");
        assert_eq!(replays.0.lock().unwrap().known.len(), KEYS);
    }
}
