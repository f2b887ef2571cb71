//! One server for each state directory: two would count the same numbers twice and take each other's files away.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use crate::base::{Error, Kind, Result};

/// The file that is locked while a server runs. The system gives the lock back however the process ends.
const FILE: &str = "lock";

/// Held while the directory is ours.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: Option<File>,
}

impl StateLock {
    /// Takes the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// Another server has it, or it cannot be made or written.
    pub(super) fn take(state_dir: &Path) -> Result<Self> {
        let open = || -> io::Result<File> {
            fs::create_dir_all(state_dir)?;
            File::options().create(true).truncate(false).write(true).open(state_dir.join(FILE))
        };
        let shown = state_dir.display();
        let file = open().map_err(|error| {
            Error::new(Kind::FailedPrecondition, format!("state directory {shown}: cannot be written"))
                .with_hint("state_dir in the configuration names it; the server needs to write there")
                .caused_by(error)
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                Kind::FailedPrecondition,
                format!("state directory {shown}: another server is using it"),
            )
            .with_code("state_dir_in_use")
            .with_hint("stop the other server, or give this one a state_dir of its own")),
            // Some network file systems know no locks: better without than not at all.
            Err(TryLockError::Error(_)) => Ok(Self { _file: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_by_one_server_and_given_back_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("a/b");
        let first = StateLock::take(&state_dir).unwrap();
        let error = StateLock::take(&state_dir).unwrap_err();
        assert_eq!(error.code(), "state_dir_in_use");
        assert!(error.to_string().contains("another server is using it"), "{error}");
        drop(first);
        StateLock::take(&state_dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = StateLock::take(&folder.path().join("file/state")).unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
}
