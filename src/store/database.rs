//! One file at work: a writer at a time, and a few readers beside it. What blocks runs on the runtime's threads for
//! that, never on those that serve.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::{Mutex as Turn, Semaphore};

use super::{
    Incident,
    file::{FileSpec, explain},
};
use crate::base::{Clock, Error, Kind, Result};

/// Writes that may wait for their turn; a further one is refused.
const WAITING: usize = 64;
/// Reads at once; further ones wait.
const READERS: usize = 2;
/// Reads that may wait.
const READS_WAITING: usize = 256;

/// A file of the store. Clones share it.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    spec: FileSpec,
    writer: Arc<Turn<Writer>>,
    writes: Semaphore,
    idle: Mutex<Vec<Connection>>,
    reads: Semaphore,
    reads_waiting: Semaphore,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.shared.spec.name)
    }
}

/// The one connection that writes; opened when it is wanted and not there.
struct Writer {
    spec: FileSpec,
    clock: Clock,
    connection: Option<Connection>,
}

impl Writer {
    /// The connection.
    ///
    /// # Errors
    /// The file cannot be opened.
    fn connection(&mut self) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(self.spec.open(self.clock.wall())?.connection);
        }
        self.connection.as_mut().ok_or_else(|| Error::new(Kind::Internal, "a connection that was made is gone"))
    }
}

impl Database {
    /// Opens a file; one that cannot be opened is tried again with every write.
    pub(super) async fn open(spec: FileSpec, clock: Clock) -> (Self, Vec<Incident>) {
        let name = spec.name;
        let opening = spec.clone();
        let opened = blocking(move || opening.open(clock.wall())).await.and_then(|opened| opened);
        let (connection, incident) = match opened {
            Ok(opened) => {
                let incident = opened.set_aside.map(|now| Incident::SetAside { file: name, now });
                (Some(opened.connection), incident)
            }
            Err(error) => (None, Some(Incident::Unavailable { file: name, error })),
        };
        (Self::with(spec, clock, connection), incident.into_iter().collect())
    }

    /// A file that is opened with the first write, unless it is open.
    pub(super) fn with(spec: FileSpec, clock: Clock, connection: Option<Connection>) -> Self {
        let writer = Writer { spec: spec.clone(), clock, connection };
        let shared = Shared {
            spec,
            writer: Arc::new(Turn::new(writer)),
            writes: Semaphore::new(WAITING),
            idle: Mutex::default(),
            reads: Semaphore::new(READERS),
            reads_waiting: Semaphore::new(READS_WAITING),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `work` on the connection that writes, after those that asked before. A caller that goes away does not end
    /// it.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`] when too many wait; [`Kind::Unavailable`] with `disk_full`, `disk_read_only`,
    /// `store_locked`, `store_damaged`, `disk_failed` or `store_failed`.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let name = self.shared.spec.name;
        let _place = self.shared.writes.try_acquire().map_err(|_| self.busy())?;
        let mut writer = self.shared.writer.clone().lock_owned().await;
        blocking(move || work(writer.connection()?).map_err(|error| explain(name, error))).await?
    }

    /// Runs `work` on a connection that only reads.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let _place = self.shared.reads_waiting.try_acquire().map_err(|_| self.busy())?;
        let closed = |_| Error::new(Kind::Internal, "the store's readers are gone");
        let _turn = self.shared.reads.acquire().await.map_err(closed)?;
        let shared = self.shared.clone();
        blocking(move || {
            let idle = || shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle().pop();
            let read = || -> rusqlite::Result<(T, Connection)> {
                let connection = match kept {
                    Some(connection) => connection,
                    None => shared.spec.open_reader()?,
                };
                Ok((work(&connection)?, connection))
            };
            let (read, connection) = read().map_err(|error| explain(shared.spec.name, error))?;
            idle().push(connection);
            Ok(read)
        })
        .await?
    }

    /// Moves what is written into the file itself: without this the newest lies in the journal beside it, where it is as
    /// safe, but the file alone is not the whole.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub(super) async fn settle(&self) -> Result<()> {
        self.write(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).await
    }

    /// The file's name in messages.
    pub(super) fn name(&self) -> &'static str {
        self.shared.spec.name
    }

    fn busy(&self) -> Error {
        let message = format!("{}: too many wait for it", self.shared.spec.name);
        Error::new(Kind::ResourceExhausted, message).with_code("store_busy")
    }
}

/// Runs what blocks where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Error::new(Kind::Internal, "a task of the store ended in a panic").caused_by(error))
}
