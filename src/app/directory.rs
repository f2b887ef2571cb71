//! The paths of the configuration, as the hub wants them.

use std::{fmt, sync::Arc};

use crate::{
    base::PathName,
    config::{CameraOptions, Config, PathConfig, ResolvedPath, ResolvedSource},
    hub::{PathDirectory, PathSpec, RingLimits, Source, StreamPolicy},
    ingest::{CameraHosts, DemoSource, RtspSource, RtspSourceOptions},
};

/// Answers the hub from the configuration.
pub(super) struct Directory {
    config: Arc<Config>,
    hosts: CameraHosts,
}

impl Directory {
    /// The paths of `config`.
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, hosts: CameraHosts::default() }
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
        resolved.filter_map(|path| self.spec(&path)).collect()
    }

    fn matching(&self, name: &PathName) -> Option<PathSpec> {
        let path = self.config.resolve(name)?;
        let mut spec = self.spec(&path)?;
        // Whoever asks for a name makes the path: without an end of its own it would be pulled for ever.
        spec.policy.close_after =
            spec.policy.close_after.or_else(|| Some(path.config.on_demand.close_after.duration()));
        Some(spec)
    }

    fn matching_max(&self) -> usize {
        self.config.limits.dynamic_paths as usize
    }
}

impl Directory {
    fn spec(&self, path: &ResolvedPath) -> Option<PathSpec> {
        let config = &path.config;
        let sub = path.sub.as_ref().and_then(|sub| self.source(path, sub));
        Some(PathSpec {
            name: path.name.clone(),
            title: config.title.is_some().then(|| path.title.clone()),
            group: path.group.clone(),
            policy: policy(config, &path.main),
            ring: ring(config),
            main: self.source(path, &path.main)?,
            sub,
        })
    }

    /// The source of one rendition; a path that waits for a publisher has none yet.
    fn source(&self, path: &ResolvedPath, source: &ResolvedSource) -> Option<Arc<dyn Source>> {
        match source {
            ResolvedSource::Demo => Some(Arc::new(DemoSource)),
            ResolvedSource::Camera(camera) => {
                let options = RtspSourceOptions::new(CameraOptions::clone(camera), &path.config);
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
