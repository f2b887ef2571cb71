//! Waits that hardly ever end, beside a loop that wakes for every picture. Only what was woken is looked at: a look at a
//! cancellation token takes two locks, and a reader would look at three of them 25 times a second (measured: a
//! twentieth of what it costs).

use std::future::pending;

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

/// Some of them.
pub(super) struct Alarms<T> {
    waits: FuturesUnordered<BoxFuture<'static, T>>,
}

impl<T: Send + 'static> Alarms<T> {
    /// `token` firing means what stands beside it.
    pub(super) fn new(tokens: impl IntoIterator<Item = (CancellationToken, T)>) -> Self {
        let wait = |(token, meaning): (CancellationToken, T)| -> BoxFuture<'static, T> {
            Box::pin(async move {
                token.cancelled_owned().await;
                meaning
            })
        };
        Self { waits: tokens.into_iter().map(wait).collect() }
    }

    /// What the next of them means; each comes once.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> T {
        match self.waits.next().await {
            Some(meaning) => meaning,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_token_is_told_of_once_whenever_it_fires() {
        let (early, late, never) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        early.cancel();
        let mut alarms = Alarms::new([(early, 1), (late.clone(), 2), (never, 3)]);
        assert_eq!(alarms.next().await, 1);
        let quiet = tokio::time::timeout(Duration::from_secs(1), alarms.next()).await;
        assert!(quiet.is_err());
        late.cancel();
        assert_eq!(alarms.next().await, 2);
        assert!(tokio::time::timeout(Duration::from_secs(1), alarms.next()).await.is_err());
    }
}
