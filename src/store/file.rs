//! Opening one file: its settings, the check that it is whole, setting a damaged one aside, and its migrations.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

use super::migrations::Migration;
use crate::base::{Error, Kind, WallTime};

/// What one file is.
#[derive(Clone, Debug)]
pub(super) struct FileSpec {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name in messages.
    pub(super) name: &'static str,
    /// A commit is on the disk when it returns.
    pub(super) full: bool,
    /// Its shapes.
    pub(super) migrations: &'static [Migration],
}

/// A file that is open for writing.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// What a damaged one is called now.
    pub(super) set_aside: Option<PathBuf>,
}

/// How long to wait for another process that holds the file.
const BUSY: Duration = Duration::from_millis(200);

impl FileSpec {
    /// Opens the file, made if it is not there; a damaged one makes room for a new one.
    ///
    /// # Errors
    /// See [`explain`]; [`Kind::FailedPrecondition`] for a file of a newer program.
    pub(super) fn open(&self, now: WallTime) -> Result<Opened, Error> {
        match self.open_whole(now) {
            Err(Damage::Broken) => {
                let set_aside = self.set_aside(now)?;
                let connection = self.open_whole(now).map_err(|damage| damage.into_error(self.name))?;
                Ok(Opened { connection, set_aside: Some(set_aside) })
            }
            Err(damage) => Err(damage.into_error(self.name)),
            Ok(connection) => Ok(Opened { connection, set_aside: None }),
        }
    }

    fn open_whole(&self, now: WallTime) -> Result<Connection, Damage> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(|error| Damage::Other(unwritable(self.name).caused_by(error)))?;
        }
        let existed = fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
        self.keep_private().map_err(|error| Damage::Other(unwritable(self.name).caused_by(error)))?;
        let mut connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY)?;
        if !existed {
            // Only before the first page can it be said that space is given back step by step.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        if existed {
            let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if said != "ok" {
                tracing::error!(file = self.name, "damaged: {said}");
                return Err(Damage::Broken);
            }
        }
        // A string comes back, so that an update would be an error.
        let _mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", if self.full { "FULL" } else { "NORMAL" })?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        self.migrate(&mut connection, existed, now)?;
        Ok(connection)
    }

    /// Makes the file, if it is not there, so that nobody else on this machine reads it: hashes of passwords are in one.
    /// What SQLite puts beside it is as private as it.
    fn keep_private(&self) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn migrate(&self, connection: &mut Connection, existed: bool, now: WallTime) -> Result<(), Damage> {
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let (version, known) = (version as usize, self.migrations.len());
        if version > known {
            let message = format!("{}: made by a newer version of campanile", self.name);
            return Err(Damage::Other(Error::new(Kind::FailedPrecondition, message).with_code("store_newer")));
        }
        if version == known {
            return Ok(());
        }
        if existed && version > 0 {
            let copy = self.beside(&format!("before-{}", version + 1), now);
            connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
            tracing::info!(file = self.name, copy = %copy.display(), "copied before its shape changes");
        }
        for (number, step) in self.migrations.iter().enumerate().skip(version) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", (number + 1) as i64)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Opens the file for reading beside its writer.
    pub(super) fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// Gives the file another name; what belongs to it goes along.
    fn set_aside(&self, now: WallTime) -> Result<PathBuf, Error> {
        let aside = self.beside("corrupt", now);
        let named = |path: &Path, end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let rename = || -> io::Result<()> {
            fs::rename(&self.path, &aside)?;
            for end in ["-wal", "-shm"] {
                match fs::rename(named(&self.path, end), named(&aside, end)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        };
        rename().map_err(|error| unwritable(self.name).caused_by(error))?;
        tracing::error!(file = self.name, now = %aside.display(), "set aside; a new one begins");
        Ok(aside)
    }

    fn beside(&self, why: &str, now: WallTime) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        // No colons: they are not everywhere allowed in file names.
        name.push(format!(".{why}-{}", now.to_string().replace([':', '.'], "")));
        PathBuf::from(name)
    }
}

/// Why a file was not opened.
enum Damage {
    /// It is not what was written; a new one can begin.
    Broken,
    /// Something that a new file would not mend.
    Other(Error),
    /// What SQLite says.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Damage {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Broken,
            _ => Self::Sqlite(error),
        }
    }
}

impl Damage {
    fn into_error(self, file: &str) -> Error {
        match self {
            Self::Broken => Error::new(Kind::Unavailable, format!("{file}: damaged")).with_code("store_damaged"),
            Self::Other(error) => error,
            Self::Sqlite(error) => explain(file, error),
        }
    }
}

fn unwritable(file: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{file}: the state directory cannot be written"))
        .with_code("disk_read_only")
        .with_hint("state_dir in the configuration names it; the server needs to write there")
}

/// What SQLite's complaint means for this program, with a stable code.
pub(super) fn explain(file: &str, error: rusqlite::Error) -> Error {
    let say = |what: &str, code, hint| {
        Error::new(Kind::Unavailable, format!("{file}: {what}")).with_code(code).with_hint(hint)
    };
    let explained = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => say("the disk is full", "disk_full", "free some space"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            say("cannot be written", "disk_read_only", "the server needs to write to its state directory")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            say("locked by another program", "store_locked", "one server has one state directory")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            say("damaged", "store_damaged", "a restart sets it aside and begins a new one")
        }
        Some(ErrorCode::SystemIoFailure)
            if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE) =>
        {
            say("cannot be written", "disk_failed", "look at the disk")
        }
        _ => say("failed", "store_failed", "look at the disk"),
    };
    explained.caused_by(error)
}
