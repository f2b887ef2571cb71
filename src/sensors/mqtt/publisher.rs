//! What the rest of the house publishes through a broker: messages that must arrive. Whoever publishes waits for the
//! broker's word and keeps the message until then; here it is kept in no file.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::base::{Error, Kind, Result};

/// Messages that may wait for a connection or for their turn; a further one is refused.
const WAITING: usize = 64;
/// How long a message may take, waiting for a connection included.
const WITHIN: Duration = Duration::from_secs(30);

/// A message, and who is told what became of it.
#[derive(Debug)]
pub(in crate::sensors) struct Publication {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) told: oneshot::Sender<Result<()>>,
}

/// The way to one broker. Clones share it.
#[derive(Clone, Debug)]
pub struct Publisher {
    broker: String,
    sender: mpsc::Sender<Publication>,
}

impl Publisher {
    pub(in crate::sensors) fn new(broker: &str) -> (Self, mpsc::Receiver<Publication>) {
        let (sender, publications) = mpsc::channel(WAITING);
        (Self { broker: broker.to_owned(), sender }, publications)
    }

    /// Publishes at least once: when this returns the broker has it. With `retain` it keeps it, too.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`], [`Kind::ResourceExhausted`]: it may work later, and the broker
    /// may have the message all the same. [`Kind::FailedPrecondition`]: the broker does not take it.
    pub async fn publish(&self, topic: &str, payload: Bytes, retain: bool) -> Result<()> {
        let (told, word) = oneshot::channel();
        let publication = Publication { topic: topic.to_owned(), payload, retain, told };
        let failed = |kind, what: &str| Error::new(kind, format!("mqtt broker {}: {what}", self.broker));
        self.sender.try_send(publication).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => failed(Kind::ResourceExhausted, "too many messages wait for it"),
            mpsc::error::TrySendError::Closed(_) => failed(Kind::Unavailable, "we are leaving it"),
        })?;
        match timeout(WITHIN, word).await {
            Ok(Ok(taken)) => taken.map_err(|error| error.context(format_args!("mqtt broker {}", self.broker))),
            Ok(Err(_)) => Err(failed(Kind::Unavailable, "the connection ended before it acknowledged the message")),
            Err(_) => Err(failed(Kind::DeadlineExceeded, "it did not take the message within 30 s")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_its_broker_and_no_longer() {
        let (publisher, mut publications) = Publisher::new("home");
        let error = publisher.publish("t", Bytes::new(), false).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::DeadlineExceeded, "mqtt broker home: it did not take the message within 30 s",)
        );
        assert!(publications.recv().await.unwrap().told.is_closed(), "nobody waits for it any more");
        let (publishing, taking) = (publisher.publish("t", Bytes::new(), false), async {
            drop(publications.recv().await);
            publications.recv().await.unwrap().told.send(Ok(())).unwrap();
        });
        let again = async {
            assert_eq!(publishing.await.unwrap_err().kind(), Kind::Unavailable, "the connection broke");
            publisher.publish("t", Bytes::new(), false).await.unwrap();
        };
        tokio::join!(again, taking);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_wait_are_refused_at_once() {
        let (publisher, publications) = Publisher::new("home");
        let waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(publisher.publish("t", Bytes::new(), false))).collect();
        let waiting = futures_util::future::join_all(waiting);
        let further = async {
            tokio::task::yield_now().await;
            publisher.publish("t", Bytes::new(), false).await.unwrap_err().kind()
        };
        let (waited, further) = tokio::join!(waiting, further);
        assert_eq!(further, Kind::ResourceExhausted);
        assert!(waited.iter().all(|ended| ended.as_ref().is_err_and(|e| e.kind() == Kind::DeadlineExceeded)));
        drop(publications);
        assert_eq!(publisher.publish("t", Bytes::new(), false).await.unwrap_err().kind(), Kind::Unavailable);
    }
}
