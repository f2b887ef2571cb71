//! Paths that are added, changed and removed over the API: judged, kept, and at work when the answer is there.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{Mutex, oneshot};
use tracing::info_span;

use super::{
    directory::Directory,
    path_book::{PATHS, PathBook, complaints},
};
use crate::{
    base::{Error, Kind, PathName, Result, Tasks},
    config::{PathConfig, PathKey, Source},
    http::{PathDesk, PathEntry},
    hub::Hub,
    ingest::SourceGuard,
    net::interfaces,
    store::{DocumentChange, Documents},
};

/// Paths that may be added.
const MOST: usize = 1000;

/// The desk of the API. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    book: Arc<PathBook>,
    directory: Directory,
    guard: SourceGuard,
    documents: Documents,
    hub: Hub,
    /// Changes go on when whoever asked has left: what is kept and what is at work are the same.
    tasks: Tasks,
    /// One change at a time: each looks at what there is before it writes.
    turn: Mutex<()>,
}

impl Desk {
    pub(super) fn new(directory: Directory, documents: Documents, hub: Hub, tasks: &Tasks) -> Self {
        let (book, guard) = (directory.book().clone(), directory.guard().clone());
        Self(Arc::new(Inside { book, directory, guard, documents, hub, tasks: tasks.child(), turn: Mutex::default() }))
    }

    /// Makes a change, to its end.
    fn change<T, F>(&self, change: impl FnOnce(Self) -> F) -> BoxFuture<'_, Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let change = change(self.clone());
        self.0.tasks.spawn("paths/change", info_span!("paths"), async move {
            // Whoever asked may have left.
            let _ = done.send(change.await);
        });
        async {
            let ending = || Error::new(Kind::Unavailable, "the server is ending").with_code("draining");
            answer.await.unwrap_or_else(|_gone| Err(ending()))
        }
        .boxed()
    }
}

impl Inside {
    async fn put(&self, name: PathName, mut config: PathConfig) -> Result<bool> {
        let _turn = self.turn.lock().await;
        self.is_of_store(&name)?;
        let added = self.book.added();
        let before = added.get(&name);
        config.take_credentials();
        config.restore_secrets(before.map(|before| &**before)).map_err(|error| invalid(error.to_string()))?;
        self.judge(&name, &config)?;
        if before.is_none() && added.len() >= MOST {
            let message = format!("{MOST} paths were added over the API, as many as may be");
            return Err(Error::new(Kind::FailedPrecondition, message).with_code("too_many_paths"));
        }
        self.keep(&name, Some(config.to_stored().to_string())).await?;
        let is_new = before.is_none();
        self.book.change(&name, Some(Arc::new(config)));
        if let Some(spec) = self.directory.spec_of(&name) {
            self.hub.put(spec);
        }
        Ok(is_new)
    }

    async fn remove(&self, name: PathName) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.is_of_store(&name)?;
        if !self.book.added().contains_key(&name) {
            return Err(crate::auth::path_not_found(&name));
        }
        self.keep(&name, None).await?;
        self.book.change(&name, None);
        self.hub.remove(&name);
        Ok(())
    }

    async fn keep(&self, name: &PathName, body: Option<String>) -> Result<()> {
        self.documents.apply(vec![DocumentChange { collection: PATHS, key: name.to_string(), body }]).await
    }

    fn is_of_store(&self, name: &PathName) -> Result<()> {
        if self.book.of_file().named(name).is_none() {
            return Ok(());
        }
        let error = Error::new(Kind::FailedPrecondition, format!("path {name}: it stands in the configuration file"));
        Err(error.with_code("path_in_file").with_hint("change it there, under `paths`"))
    }

    /// Whether it can be a path, and its cameras stand where they may.
    fn judge(&self, name: &PathName, config: &PathConfig) -> Result<()> {
        if let Some(complaint) = complaints(name, config).first() {
            let key = complaint.key();
            let key = key.strip_prefix(&format!("paths.{name}")).unwrap_or(&key).trim_start_matches('.');
            let place = if key.is_empty() { String::new() } else { format!("{key}: ") };
            let error = invalid(format!("{place}{}", complaint.message()));
            return Err(complaint.hint().map(str::to_owned).into_iter().fold(error, Error::with_hint));
        }
        let sub = config.sub.as_ref();
        // A file of this machine is nobody's to read from elsewhere.
        if config.password_file.is_some() || sub.is_some_and(|sub| sub.password_file.is_some()) {
            return Err(invalid(
                "password_file: only the configuration file may name files of this machine".to_owned(),
            ));
        }
        let here = interfaces::addresses();
        for source in config.source.iter().chain(sub.and_then(|sub| sub.source.as_ref())) {
            let Source::Camera(url) = source else { continue };
            let Some(url) = url.url(None) else { continue };
            self.guard.judge_url(&url, &here).map_err(|forbidden| {
                let host = url.host_str().unwrap_or_default();
                let message = format!("source: a camera that is added over the API may not be at {host}: {forbidden}");
                let hint = "put it into the configuration file, or its network into `http.allowed_sources`";
                Error::new(Kind::InvalidArgument, message).with_code("source_not_allowed").with_hint(hint)
            })?;
        }
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_path")
}

impl PathDesk for Desk {
    fn list(&self) -> Vec<PathEntry> {
        let book = &self.0.book;
        let file = book.of_file().iter().map(|(key, config)| (key.clone(), true, config.clone()));
        let added = book.added().into_iter().map(|(name, config)| (PathKey::Name(name), false, config));
        file.chain(added).map(|(key, of_file, config)| PathEntry { key, of_file, config }).collect()
    }

    fn find(&self, name: &PathName) -> Option<PathEntry> {
        let book = &self.0.book;
        let of_file = book.of_file().named(name).cloned();
        let (of_file, config) = match of_file {
            Some(config) => (true, config),
            None => (false, book.added().remove(name)?),
        };
        Some(PathEntry { key: PathKey::Name(name.clone()), of_file, config })
    }

    fn put(&self, name: PathName, config: PathConfig) -> BoxFuture<'_, Result<bool>> {
        self.change(|desk| async move { desk.0.put(name, config).await })
    }

    fn remove(&self, name: PathName) -> BoxFuture<'_, Result<()>> {
        self.change(|desk| async move { desk.0.remove(name).await })
    }
}
