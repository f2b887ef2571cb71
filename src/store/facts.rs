//! `facts.db`: the rows of the log, and the two numbers that keep its ids unique: the epoch and the reserve.

use std::{borrow::Cow, path::Path, sync::Arc};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::{Incident, database::Database, file::FileSpec, migrations};
use crate::base::{Clock, PathName, Result};

/// A fact as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// Its number in the log.
    pub offset: u64,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// Its type, as on the wire.
    pub kind: Cow<'static, str>,
    /// The finer word.
    pub name: Arc<str>,
    /// The camera.
    pub path: Option<PathName>,
    /// The sensor.
    pub sensor: Option<Arc<str>>,
    /// How bad, as on the wire.
    pub severity: Option<Cow<'static, str>>,
    /// The envelope, as on the wire.
    pub body: Bytes,
}

/// Where the numbers of the log stand on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which log.
    pub epoch: u32,
    /// No number beyond this one was given out before it was raised here.
    pub reserve: u64,
}

/// What was found when the file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The numbers.
    pub mark: Mark,
    /// The newest fact that was too old to keep; 0 if there was none.
    pub gone: u64,
}

/// What is left after some facts were too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The newest fact that was too old to keep, and with it all before it.
    pub gone: u64,
    /// There is more to take away.
    pub more: bool,
}

/// Facts that one step of the retention takes away.
const STEP: i64 = 500;

/// The file. Clones share it.
#[derive(Clone, Debug)]
pub struct Facts {
    database: Database,
    standing: Option<Standing>,
}

impl Facts {
    pub(super) async fn open(state_dir: &Path, clock: Clock) -> (Self, Vec<Incident>) {
        let (database, mut incidents) = Database::open(spec(state_dir), clock).await;
        let mut standing = None;
        if !incidents.iter().any(|incident| matches!(incident, Incident::Unavailable { .. })) {
            match database.write(|connection| read_standing(connection)).await {
                Ok(found) => standing = found,
                Err(error) => incidents.push(Incident::Unavailable { file: database.name(), error }),
            }
        }
        (Self { database, standing }, incidents)
    }

    /// A file that is opened with the first write.
    #[cfg(test)]
    pub(super) fn lazy(state_dir: &Path, clock: Clock) -> Self {
        Self { database: Database::with(spec(state_dir), clock, None), standing: None }
    }

    /// What was found when the file was opened; nothing if it could not be, or if it is a new one.
    pub fn standing(&self) -> Option<Standing> {
        self.standing
    }

    /// The file itself.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Writes facts and the numbers in one transaction, which is on the disk when this returns.
    ///
    /// # Errors
    /// Nothing was written: the disk is full or read-only, another program holds the file, or too many wait.
    pub async fn append(&self, rows: Vec<FactRow>, mark: Mark) -> Result<()> {
        self.database.write(move |connection| insert(connection, &rows, mark)).await
    }

    /// The oldest facts beyond `after`, `most` at most, and no more than `bytes` of them but for the first.
    ///
    /// # Errors
    /// As [`Facts::append`].
    pub async fn read(&self, after: u64, most: usize, bytes: usize) -> Result<Vec<FactRow>> {
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT offset, time_ms, type, name, path, sensor, severity, body FROM facts
                     WHERE offset > ?1 ORDER BY offset LIMIT ?2",
                )?;
                let mut found = statement.query(params![signed(after), most as i64])?;
                let (mut rows, mut held) = (Vec::new(), 0);
                while let Some(row) = found.next()? {
                    let row = read_row(row)?;
                    held += row.body.len();
                    if held > bytes && !rows.is_empty() {
                        break;
                    }
                    rows.push(row);
                }
                Ok(rows)
            })
            .await
    }

    /// The newest facts below `before`, the newest first, `most` at most.
    ///
    /// # Errors
    /// As [`Facts::append`].
    pub async fn before(&self, before: u64, most: usize) -> Result<Vec<FactRow>> {
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT offset, time_ms, type, name, path, sensor, severity, body FROM facts
                     WHERE offset < ?1 ORDER BY offset DESC LIMIT ?2",
                )?;
                let rows = statement.query_map(params![signed(before), most as i64], read_row)?;
                rows.collect()
            })
            .await
    }

    /// One small step of taking away what happened before `oldest_ms`, and the oldest while the file is larger than
    /// `bytes`. Always from the front, so that what is left has no hole.
    ///
    /// # Errors
    /// As [`Facts::append`].
    pub async fn retain(&self, oldest_ms: i64, bytes: u64) -> Result<Retained> {
        self.database
            .write(move |connection| {
                let pragma = |name: &str| connection.query_row(name, [], |row| row.get::<_, i64>(0));
                let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
                let too_large = unsigned(pages * pragma("PRAGMA page_size")?) > bytes;
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                // The newest of those to go: the oldest few, but those that are young enough and what follows them.
                let front = "SELECT offset, time_ms FROM facts ORDER BY offset LIMIT ?1";
                let end: Option<i64> = if too_large {
                    transaction
                        .query_row(&format!("SELECT max(offset) FROM ({front})"), [STEP / 5], |row| row.get(0))?
                } else {
                    let last = format!(
                        "WITH front AS ({front}) SELECT max(offset) FROM front WHERE offset <
                         coalesce((SELECT min(offset) FROM front WHERE time_ms >= ?2), offset + 1)"
                    );
                    transaction.query_row(&last, [STEP, oldest_ms], |row| row.get(0))?
                };
                let mut taken = 0;
                if let Some(end) = end {
                    taken = transaction.execute("DELETE FROM facts WHERE offset <= ?1", [end])?;
                    transaction.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('gone', ?1)", [end])?;
                }
                let gone = unsigned(meta(&transaction, "gone")?.unwrap_or(0));
                transaction.commit()?;
                if taken > 0 {
                    // It gives a page back with every row it returns.
                    let mut statement = connection.prepare("PRAGMA incremental_vacuum(256)")?;
                    let mut rows = statement.query([])?;
                    while rows.next()?.is_some() {}
                }
                Ok(Retained { gone, more: taken > 0 && (too_large || taken as i64 == STEP) })
            })
            .await
    }
}

fn spec(state_dir: &Path) -> FileSpec {
    FileSpec { path: state_dir.join("facts.db"), name: "facts.db", full: true, migrations: migrations::FACTS }
}

fn read_standing(connection: &Connection) -> rusqlite::Result<Option<Standing>> {
    let epoch = meta(connection, "epoch")?.and_then(|epoch| u32::try_from(epoch).ok());
    let (Some(epoch), Some(reserve)) = (epoch, meta(connection, "reserve")?) else { return Ok(None) };
    let gone = unsigned(meta(connection, "gone")?.unwrap_or(0));
    Ok(Some(Standing { mark: Mark { epoch, reserve: unsigned(reserve) }, gone }))
}

fn insert(connection: &mut Connection, rows: &[FactRow], mark: Mark) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        // A commit whose answer was lost is sent again; the row is the same.
        let mut insert = transaction.prepare_cached(
            "INSERT OR REPLACE INTO facts (offset, time_ms, type, name, path, sensor, severity, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for row in rows {
            let body = std::str::from_utf8(&row.body).map_err(|error| rusqlite::Error::Utf8Error(0, error))?;
            insert.execute(params![
                signed(row.offset),
                row.time_ms,
                row.kind,
                row.name,
                row.path.as_ref().map(PathName::as_str),
                row.sensor,
                row.severity,
                body
            ])?;
        }
        let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
        put.execute(params!["epoch", mark.epoch])?;
        put.execute(params!["reserve", signed(mark.reserve)])?;
    }
    transaction.commit()
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<FactRow> {
    let path: Option<String> = row.get(4)?;
    let body: String = row.get(7)?;
    Ok(FactRow {
        offset: unsigned(row.get(0)?),
        time_ms: row.get(1)?,
        kind: Cow::Owned(row.get(2)?),
        name: row.get(3)?,
        path: path.and_then(|path| path.parse().ok()),
        sensor: row.get(5)?,
        severity: row.get::<_, Option<String>>(6)?.map(Cow::Owned),
        body: body.into(),
    })
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// SQLite's numbers have a sign; ours never come near its end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
