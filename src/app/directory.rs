//! The paths of the configuration, as the hub wants them.

use std::{fmt, sync::Arc};

use crate::{
    base::PathName,
    config::{Config, PathConfig, ResolvedPath, ResolvedSource},
    hub::{PathDirectory, PathSpec, RingLimits, Source, StreamPolicy},
    ingest::DemoSource,
};

/// Answers the hub from the configuration.
pub(super) struct Directory {
    config: Arc<Config>,
}

impl Directory {
    /// The paths of `config`.
    pub(super) const fn new(config: Arc<Config>) -> Self {
        Self { config }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} paths)", self.config.paths.len())
    }
}

impl PathDirectory for Directory {
    fn fixed(&self) -> Vec<PathSpec> {
        let resolved = self.config.paths.names().filter_map(|name| self.config.resolve(name));
        resolved.filter_map(|path| spec(&path)).collect()
    }

    fn matching(&self, name: &PathName) -> Option<PathSpec> {
        let path = self.config.resolve(name)?;
        let mut spec = spec(&path)?;
        // Whoever asks for a name makes the path: without an end of its own it would be pulled for ever.
        spec.policy.close_after.get_or_insert(path.config.on_demand.close_after.duration());
        Some(spec)
    }

    fn matching_max(&self) -> usize {
        self.config.limits.dynamic_paths as usize
    }
}

fn spec(path: &ResolvedPath) -> Option<PathSpec> {
    let config = &path.config;
    let sub = path.sub.as_ref().and_then(|sub| source(path, sub));
    Some(PathSpec {
        name: path.name.clone(),
        title: config.title.is_some().then(|| path.title.clone()),
        group: path.group.clone(),
        policy: policy(config, &path.main),
        ring: ring(config),
        main: source(path, &path.main)?,
        sub,
    })
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

/// The source of one rendition; a path that waits for a publisher has none yet.
fn source(path: &ResolvedPath, source: &ResolvedSource) -> Option<Arc<dyn Source>> {
    let _ = path;
    match source {
        ResolvedSource::Demo => Some(Arc::new(DemoSource)),
        ResolvedSource::Camera(_) | ResolvedSource::Publisher => None,
    }
}
