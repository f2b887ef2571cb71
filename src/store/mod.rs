//! What outlives a restart, in SQLite: the only room with SQL.
//!
//! Files of their own, so that a slow one never holds up the others: `facts.db` and `documents.db`, where a commit is on
//! the disk when it returns (`synchronous=FULL`), and `history.db`, where the last moments may be lost with the machine's
//! power (`NORMAL`).
//! Each has one writer at a time with a bounded queue, and a few readers beside it. A file that is torn is set aside
//! under another name, never deleted, and a new one begins; one that cannot be opened is tried again with every write.
//! The room decides nothing: what to do without a disk is for those who call.

mod database;
mod documents;
mod facts;
mod figures;
mod file;
mod history;
mod migrations;
mod readings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::{
    database::Database,
    documents::{DocumentChange, Documents},
    facts::{FactRow, Facts, Mark, Retained, Standing},
    figures::{FigureHistory, Figures, STEPS},
    readings::{Bucket, ReadingRow, Readings, SINGLE_FOR_MS},
};
use crate::base::{Clock, Error, Result};

/// The files of the state directory. Clones share them.
#[derive(Clone, Debug)]
pub struct Store {
    facts: Facts,
    history: Database,
    documents: Documents,
}

/// Something that was wrong with a file when it was opened.
#[derive(Debug)]
pub enum Incident {
    /// It was damaged: it has another name now, and a new one began.
    SetAside {
        /// Its name in the state directory.
        file: &'static str,
        /// What it is called now.
        now: PathBuf,
    },
    /// It cannot be opened; every write tries again.
    Unavailable {
        /// Its name in the state directory.
        file: &'static str,
        /// Why.
        error: Error,
    },
}

impl Store {
    /// Opens the files, made if they are not there. Whatever is wrong with them, there is a store; what was wrong
    /// comes back beside it.
    pub async fn open(state_dir: &Path, clock: Clock) -> (Self, Vec<Incident>) {
        let (facts, mut incidents) = Facts::open(state_dir, clock).await;
        let (history, more) = history::open(state_dir, clock).await;
        incidents.extend(more);
        let (documents, more) = Documents::open(state_dir, clock).await;
        incidents.extend(more);
        (Self { facts, history, documents }, incidents)
    }

    /// A store whose files are opened with the first write, but for the documents.
    #[cfg(test)]
    pub(crate) fn lazy(state_dir: &Path, clock: Clock) -> Self {
        let history = Database::with(history::spec(state_dir), clock, None);
        let documents = Documents::now(state_dir, clock);
        Self { facts: Facts::lazy(state_dir, clock), history, documents }
    }

    /// The last thing to do: leaves every file whole, without its journal.
    ///
    /// # Errors
    /// The first file that could not be; what is in its journal is read with the next start.
    pub async fn settle(&self) -> Result<()> {
        let documents = self.documents.database().settle().await;
        let history = self.history.settle().await;
        self.facts.database().settle().await.and(history).and(documents)
    }

    /// The facts of the log.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How the server did over time.
    pub fn figures(&self) -> FigureHistory {
        FigureHistory(self.history.clone())
    }

    /// What is kept by name.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// The file of readings and figures over time; whoever keeps some puts its SQL beside this file.
    pub fn history(&self) -> &Database {
        &self.history
    }

    /// What sensors read over time.
    pub fn readings(&self) -> Readings {
        Readings::new(self.history.clone())
    }
}
