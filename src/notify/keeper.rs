//! What of the outbox outlives a restart: letters, and the notices that lie in the store until they have become letters.
//! The driver around the store's documents; what could not be written waits, and is written with the next change.

use std::{collections::BTreeMap, sync::Arc};

use super::Letter;
use crate::{
    base::Result,
    events::{alarms::Notice, alerts::NOTICES},
    store::{DocumentChange, Documents},
};

const LETTERS: &str = "letters";

/// The documents of the room.
#[derive(Debug)]
pub(super) struct Keeper {
    documents: Documents,
    /// By collection and key; `None` takes it away.
    waiting: BTreeMap<(&'static str, String), Option<Arc<Letter>>>,
}

fn key(number: u64) -> String {
    // The store sorts keys as texts.
    format!("{number:020}")
}

impl Keeper {
    pub(super) const fn new(documents: Documents) -> Self {
        Self { documents, waiting: BTreeMap::new() }
    }

    /// Every letter, in order. What cannot be read is left out, and said.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn letters(&self) -> Result<Vec<Letter>> {
        let found = self.documents.all(LETTERS).await?;
        Ok(found.into_iter().filter_map(|(key, body)| read(LETTERS, &key, &body)).collect())
    }

    /// The notices that have not become letters yet, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn notices(&self) -> Result<Vec<Arc<Notice>>> {
        let found = self.documents.all(NOTICES).await?;
        let read = |(key, body): (String, String)| read(NOTICES, &key, &body).map(Arc::new);
        let gone = |notice: &Arc<Notice>| self.waiting.contains_key(&(NOTICES, notice.id.clone()));
        Ok(found.into_iter().filter_map(read).filter(|notice| !gone(notice)).collect())
    }

    pub(super) fn keep(&mut self, letter: Arc<Letter>) {
        self.waiting.insert((LETTERS, key(letter.number)), Some(letter));
    }

    pub(super) fn forget(&mut self, number: u64) {
        self.waiting.insert((LETTERS, key(number)), None);
    }

    /// A notice has become letters.
    pub(super) fn taken(&mut self, notice: &Notice) {
        self.waiting.insert((NOTICES, notice.id.clone()), None);
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes what waits, all of it or nothing.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn write(&mut self) -> Result<()> {
        let changes = self.waiting.iter().map(|((collection, key), letter)| {
            let body = letter.as_ref().map(|letter| serde_json::to_string(&**letter).unwrap_or_default());
            DocumentChange { collection, key: key.clone(), body }
        });
        self.documents.apply(changes.collect()).await?;
        self.waiting.clear();
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(collection: &str, key: &str, body: &str) -> Option<T> {
    let read = serde_json::from_str(body);
    read.inspect_err(|error| tracing::warn!("{collection} {key} is left out: {error}")).ok()
}
