//! The paths there are: those of the file, and those that were added over the API. What a name stands for is asked here,
//! whoever asks.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tracing::warn;

use crate::{
    base::PathName,
    config::{Complaint, Config, PathConfig, PathKey, PathsConfig, ResolvedPath},
    store::Documents,
};

/// Where the store keeps those that were added, by name.
pub(super) const PATHS: &str = "paths";

/// The paths.
pub(super) struct PathBook {
    file: PathsConfig,
    /// Held for a look-up, a copy or a change.
    now: RwLock<Now>,
}

#[derive(Default)]
struct Now {
    all: PathsConfig,
    added: BTreeMap<PathName, Arc<PathConfig>>,
}

impl PathBook {
    /// The paths of the file, and those the store keeps. One that the file has as well, or that can be no path any more, is
    /// left out and said to the log.
    pub(super) async fn open(file: PathsConfig, documents: &Documents) -> Self {
        let kept = documents.all(PATHS).await.unwrap_or_else(|error| {
            warn!("the paths that were added over the API are not there: {}", error.chain());
            Vec::new()
        });
        let mut added = BTreeMap::new();
        for (key, body) in kept {
            match read(&file, &key, &body) {
                Ok((name, config)) => drop(added.insert(name, config)),
                Err(why) => warn!("path {key}, which was added over the API, is left out: {why}"),
            }
        }
        let book = Self { file, now: RwLock::default() };
        book.set(added);
        book
    }

    fn set(&self, added: BTreeMap<PathName, Arc<PathConfig>>) {
        let mut all = self.file.clone();
        for (name, config) in &added {
            all.insert(PathKey::Name(name.clone()), PathConfig::clone(config));
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Now { all, added };
    }

    fn look<T>(&self, look: impl FnOnce(&Now) -> T) -> T {
        look(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a name stands for, and whether it was added over the API.
    pub(super) fn resolve(&self, name: &PathName) -> Option<(ResolvedPath, bool)> {
        self.look(|now| Some((now.all.resolve(name)?, now.added.contains_key(name))))
    }

    /// The names of all that have one.
    pub(super) fn names(&self) -> Vec<PathName> {
        self.look(|now| now.all.names().cloned().collect())
    }

    /// The paths and patterns of the file.
    pub(super) const fn of_file(&self) -> &PathsConfig {
        &self.file
    }

    /// Those that were added, by name.
    pub(super) fn added(&self) -> BTreeMap<PathName, Arc<PathConfig>> {
        self.look(|now| now.added.clone())
    }

    /// What was added under this name is this from now on, or nothing.
    pub(super) fn change(&self, name: &PathName, config: Option<Arc<PathConfig>>) {
        let mut added = self.added();
        match config {
            Some(config) => added.insert(name.clone(), config),
            None => added.remove(name),
        };
        self.set(added);
    }
}

impl fmt::Debug for PathBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathBook({} paths)", self.look(|now| now.all.len()))
    }
}

fn read(file: &PathsConfig, key: &str, body: &str) -> Result<(PathName, Arc<PathConfig>), String> {
    let name: PathName = key.parse().map_err(|error| format!("{error}"))?;
    if file.named(&name).is_some() {
        return Err("the file has one of this name".to_owned());
    }
    let config: PathConfig = serde_json::from_str(body).map_err(|_unreadable| "it cannot be read".to_owned())?;
    match complaints(&name, &config).first() {
        Some(complaint) => Err(format!("{}: {}", complaint.key(), complaint.message())),
        None => Ok((name, Arc::new(config))),
    }
}

/// What is wrong with an entry, as the file would be told.
pub(super) fn complaints(name: &PathName, config: &PathConfig) -> Vec<Complaint> {
    let mut whole = Config { paths: PathsConfig::default(), ..Config::default() };
    whole.paths.insert(PathKey::Name(name.clone()), config.clone());
    whole.check()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{base::Clock, store::DocumentChange};

    #[tokio::test]
    async fn the_file_stands_above_what_was_added_and_what_can_be_no_path_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, _) = Documents::open(folder.path(), Clock).await;
        let keep = |key: &str, body: &str| DocumentChange {
            collection: PATHS,
            key: key.to_owned(),
            body: Some(body.to_owned()),
        };
        let changes = vec![
            keep("door", r#"{"source":"rtsp://10.0.0.9/added"}"#),
            keep("yard/1", r#"{"source":"rtsp://10.0.0.5/1","title":"Yard"}"#),
            keep("..", r#"{"source":"demo"}"#),
            keep("torn", r#"{"source":"#),
            keep("old", r#"{"source":"rtsp://10.0.0.5/1","gone_since":1}"#),
            keep("empty", "{}"),
        ];
        documents.apply(changes).await.unwrap();
        let file = serde_json::from_value(json!({
            "door": { "source": "rtsp://10.0.0.9/file" }, "~^yard/": { "source": "rtsp://10.0.0.7/pattern" },
        }));
        let book = PathBook::open(file.unwrap(), &documents).await;
        let source = |name: &str| {
            let (path, added) = book.resolve(&name.parse().unwrap())?;
            Some((path.config.source.clone().unwrap().to_string(), added))
        };
        assert_eq!(source("door"), Some(("rtsp://10.0.0.9/file".to_owned(), false)));
        assert_eq!(source("yard/1"), Some(("rtsp://10.0.0.5/1".to_owned(), true)), "a name stands above patterns");
        assert_eq!(source("yard/2"), Some(("rtsp://10.0.0.7/pattern".to_owned(), false)));
        assert_eq!(["torn", "old", "empty"].map(source), [const { None }; 3]);
        assert_eq!(book.names().len(), 2);

        let name: PathName = "yard/1".parse().unwrap();
        book.change(&name, None);
        assert_eq!(source("yard/1"), Some(("rtsp://10.0.0.7/pattern".to_owned(), false)));
        book.change(&name, Some(Arc::new(serde_json::from_value(json!({ "source": "demo" })).unwrap())));
        assert_eq!(source("yard/1"), Some(("demo".to_owned(), true)));
        assert_eq!((book.added().len(), book.of_file().len()), (1, 2));
    }
}
