//! `documents.db`: small things that are kept by name, as JSON: users, rules that were added over the API, alarms that go
//! on, silences, the numbers of playlists. What they mean is known to the rooms that keep them.

use std::path::Path;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{Incident, database::Database, file::FileSpec, migrations};
use crate::base::{Clock, Result};

/// One change of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    /// What kind of thing it is.
    pub collection: &'static str,
    /// Its name among those.
    pub key: String,
    /// What it is from now on; nothing: it is gone.
    pub body: Option<String>,
}

/// The file. Clones share it.
#[derive(Clone, Debug)]
pub struct Documents {
    database: Database,
    anew: bool,
}

impl Documents {
    /// Opens the file alone, made if it is not there; a server that has it open goes on. What was wrong with it comes back
    /// beside it.
    pub async fn open(state_dir: &Path, clock: Clock) -> (Self, Vec<Incident>) {
        let (database, incidents) = Database::open(spec(state_dir), clock).await;
        let anew = incidents.iter().any(|incident| matches!(incident, Incident::SetAside { .. }));
        (Self { database, anew }, incidents)
    }

    /// The file, opened at once for tests that cannot wait.
    #[cfg(test)]
    pub(super) fn now(state_dir: &Path, clock: Clock) -> Self {
        let opened = spec(state_dir).open(clock.wall()).ok();
        Self { database: Database::with(spec(state_dir), clock, opened.map(|opened| opened.connection)), anew: false }
    }

    /// With this start a damaged file was set aside: what was kept is gone.
    pub fn began_anew(&self) -> bool {
        self.anew
    }

    /// The file itself.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Makes the changes, all of them or none, in this order; they are on the disk when this returns.
    ///
    /// # Errors
    /// Nothing was written: the disk is full or read-only, another program holds the file, or too many wait.
    pub async fn apply(&self, changes: Vec<DocumentChange>) -> Result<()> {
        self.database
            .write(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                for DocumentChange { collection, key, body } in &changes {
                    match body {
                        Some(body) => transaction
                            .prepare_cached(
                                "INSERT OR REPLACE INTO documents (collection, key, body) VALUES (?1, ?2, ?3)",
                            )?
                            .execute(params![collection, key, body])?,
                        None => transaction
                            .prepare_cached("DELETE FROM documents WHERE collection = ?1 AND key = ?2")?
                            .execute(params![collection, key])?,
                    };
                }
                transaction.commit()
            })
            .await
    }

    /// One of a collection, by its name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn one(&self, collection: &'static str, key: String) -> Result<Option<String>> {
        self.database
            .read(move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT body FROM documents WHERE collection = ?1 AND key = ?2")?;
                statement.query_row(params![collection, key], |row| row.get(0)).optional()
            })
            .await
    }

    /// Everything in a collection: names and bodies, by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn all(&self, collection: &'static str) -> Result<Vec<(String, String)>> {
        self.database
            .read(move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT key, body FROM documents WHERE collection = ?1 ORDER BY key")?;
                let rows = statement.query_map([collection], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .await
    }
}

fn spec(state_dir: &Path) -> FileSpec {
    let (path, migrations) = (state_dir.join("documents.db"), migrations::DOCUMENTS);
    FileSpec { path, name: "documents.db", full: true, migrations }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, body: Option<&str>) -> DocumentChange {
        DocumentChange { collection: "rules", key: key.into(), body: body.map(Into::into) }
    }

    #[tokio::test]
    async fn documents_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, incidents) = Documents::open(folder.path(), Clock).await;
        assert!(incidents.is_empty());
        documents.apply(vec![change("a", Some("1")), change("b", Some("2")), change("a", Some("3"))]).await.unwrap();
        documents.apply(vec![change("b", None), change("c", Some("4"))]).await.unwrap();
        drop(documents);
        let (documents, _) = Documents::open(folder.path(), Clock).await;
        let found = documents.all("rules").await.unwrap();
        assert_eq!(found, [("a".into(), "3".into()), ("c".into(), "4".into())]);
        assert_eq!(documents.all("silences").await.unwrap(), []);
        assert_eq!(documents.one("rules", "c".into()).await.unwrap().as_deref(), Some("4"));
        assert_eq!(documents.one("rules", "b".into()).await.unwrap(), None);
    }
}
