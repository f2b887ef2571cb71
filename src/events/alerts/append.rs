//! Puts what the alarms want told into the log: in order, with patience.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use crate::{
    base::Kind,
    events::{Cursor, Draft, Events},
};

/// A fact the log does not take is tried again so often, and so long apart.
const TRIES: u32 = 40;
const TRY_EVERY: Duration = Duration::from_millis(250);

/// Hands them over in order, then waits for all of them: a thousand at once are a few commits, not a thousand. The place
/// of the last one comes back.
pub(super) async fn all(events: &Events, drafts: Vec<Draft>) -> Option<Cursor> {
    let (mut sent, mut places) = (Vec::new(), Vec::new());
    for draft in drafts {
        let mut append = Box::pin(one(events, draft));
        match poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await {
            Poll::Ready(place) => places.extend(place),
            Poll::Pending => sent.push(append),
        }
    }
    for append in sent {
        places.extend(append.await);
    }
    places.into_iter().max_by_key(|place| place.offset)
}

/// An alert is worth some patience: the log may be full for a moment.
async fn one(events: &Events, draft: Draft) -> Option<Cursor> {
    for attempt in 1..=TRIES {
        match events.append(draft.clone()).await {
            Ok(receipt) => return Some(receipt.cursor),
            Err(failure) if failure.kind() != Kind::ResourceExhausted || attempt == TRIES => {
                tracing::error!("a fact is lost: {}", failure.chain());
                break;
            }
            Err(_) => tokio::time::sleep(TRY_EVERY).await,
        }
    }
    None
}
