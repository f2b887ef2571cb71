//! What the API needs of whoever keeps the paths there are: a small trait, which the process fills.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    base::{PathName, Result},
    config::{PathConfig, PathKey},
};

/// A path, or a pattern of paths, as it was written.
#[derive(Clone, Debug)]
pub struct PathEntry {
    /// Its name, or the expression that makes names paths.
    pub key: PathKey,
    /// It stands in the file, which the server does not write.
    pub of_file: bool,
    /// What was written; its secrets show themselves as `***`.
    pub config: Arc<PathConfig>,
}

/// Whoever keeps the paths. What is changed here holds when the answer is there, and over restarts.
pub trait PathDesk: fmt::Debug + Send + Sync {
    /// All of them: those of the file as they stand there, then those that were added, by name.
    fn list(&self) -> Vec<PathEntry>;

    /// The one of this name.
    fn find(&self, name: &PathName) -> Option<PathEntry>;

    /// Adds a path, or puts it in the place of the one that was added under its name; `true`: it is new.
    fn put(&self, name: PathName, config: PathConfig) -> BoxFuture<'_, Result<bool>>;

    /// Takes away a path that was added.
    fn remove(&self, name: PathName) -> BoxFuture<'_, Result<()>>;
}
