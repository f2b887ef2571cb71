//! The paths there are, as the hub wants them.

use std::sync::Arc;

use super::path_book::PathBook;
use crate::{
    base::PathName,
    config::{CameraOptions, PathConfig, ResolvedPath, ResolvedSource},
    hub::{PathDirectory, PathSpec, RingLimits, Source, StreamPolicy},
    ingest::{CameraHosts, DemoSource, RtspSource, RtspSourceOptions, SourceGuard},
};

/// Answers the hub. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    book: Arc<PathBook>,
    hosts: CameraHosts,
    guard: SourceGuard,
    matching_max: usize,
}

impl PathDirectory for Directory {
    fn fixed(&self) -> Vec<PathSpec> {
        self.book.names().iter().filter_map(|name| self.spec_of(name)).collect()
    }

    fn matching(&self, name: &PathName) -> Option<PathSpec> {
        let (path, added) = self.book.resolve(name)?;
        let mut spec = self.spec(&path, added)?;
        // Whoever asks for a name makes the path: without an end of its own it would be pulled for ever.
        spec.policy.close_after =
            spec.policy.close_after.or_else(|| Some(path.config.on_demand.close_after.duration()));
        Some(spec)
    }

    fn matching_max(&self) -> usize {
        self.matching_max
    }
}

impl Directory {
    /// The paths of a book; `guard` says where the cameras of those may stand that were added over the API.
    pub(super) fn new(book: Arc<PathBook>, guard: SourceGuard, matching_max: usize) -> Self {
        Self { book, hosts: CameraHosts::default(), guard, matching_max }
    }

    pub(super) const fn book(&self) -> &Arc<PathBook> {
        &self.book
    }

    pub(super) const fn guard(&self) -> &SourceGuard {
        &self.guard
    }

    /// The path of a name of its own.
    pub(super) fn spec_of(&self, name: &PathName) -> Option<PathSpec> {
        let (path, added) = self.book.resolve(name)?;
        self.spec(&path, added)
    }

    fn spec(&self, path: &ResolvedPath, added: bool) -> Option<PathSpec> {
        let config = &path.config;
        let guard = added.then_some(&self.guard);
        let sub = path.sub.as_ref().and_then(|sub| self.source(path, sub, guard));
        Some(PathSpec {
            name: path.name.clone(),
            title: config.title.is_some().then(|| path.title.clone()),
            group: path.group.clone(),
            policy: policy(config, &path.main),
            ring: ring(config),
            main: self.source(path, &path.main, guard)?,
            sub,
        })
    }

    /// The source of one rendition; a path that waits for a publisher has none yet.
    fn source(
        &self,
        path: &ResolvedPath,
        source: &ResolvedSource,
        guard: Option<&SourceGuard>,
    ) -> Option<Arc<dyn Source>> {
        match source {
            ResolvedSource::Demo => Some(Arc::new(DemoSource)),
            ResolvedSource::Camera(camera) => {
                let options = RtspSourceOptions::new(CameraOptions::clone(camera), &path.config);
                let options = RtspSourceOptions { guard: guard.cloned(), ..options };
                Some(Arc::new(RtspSource::new(options, self.hosts.clone())))
            }
            ResolvedSource::Publisher => None,
        }
    }
}

fn policy(config: &PathConfig, source: &ResolvedSource) -> StreamPolicy {
    // The demo camera is drawn and encoded only while somebody watches, whatever the file says.
    let on_demand = config.on_demand.enabled || matches!(source, ResolvedSource::Demo);
    StreamPolicy {
        close_after: on_demand.then(|| config.on_demand.close_after.duration()),
        start_timeout: config.on_demand.start_timeout.duration(),
        stalled_after: config.stalled_after.duration(),
        hold_readers: config.hold_readers.duration(),
    }
}

fn ring(config: &PathConfig) -> RingLimits {
    let history = &config.history;
    RingLimits {
        least: history.least.duration(),
        history: history.beyond_gop.duration(),
        bytes: history.size.as_usize(),
        span: history.duration.duration(),
    }
}
