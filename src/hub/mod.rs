//! The media spine: paths, rings and readers. It knows no protocol.
//!
//! A source ([`Source`], implemented in `ingest`) puts access units into a [`Feed`]; they are spliced onto one timeline,
//! numbered and planned once, and appended to the ring of a rendition. A [`Reader`] holds a place in that ring, never a
//! queue: one that falls behind is moved on and told how much it missed.

mod bell;
mod demand;
mod meter;
mod path;
mod reader;
mod ring;
mod source;
mod splice;
mod state;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
mod threads;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

pub use self::{
    demand::Demand,
    meter::TrackFigures,
    path::{PathHandle, PathSpec, Stream, StreamSnapshot},
    reader::{Backlog, BurstPolicy, Ears, Edge, Read, Reader, ReaderOptions, RingKey},
    ring::{BATCH, EndReason, RingLimits, Start},
    source::{DerivedFeed, Feed, Outlook, Source, SourceCounters},
    state::{StreamPolicy, StreamState},
    threads::{MediaThreads, Seat},
};
use crate::{
    auth::{Grant, View, path_not_found},
    base::{Clock, Error, Kind, PathName, Rendition, Result, Tasks},
};

/// What paths there are. Made of the configuration, in `app`.
pub trait PathDirectory: fmt::Debug + Send + Sync {
    /// The paths that have a name of their own.
    fn fixed(&self) -> Vec<PathSpec>;

    /// The path that a pattern makes for this name.
    fn matching(&self, name: &PathName) -> Option<PathSpec>;

    /// How many paths patterns may make; beyond that idle ones make room.
    fn matching_max(&self) -> usize;
}

/// These, and no pattern.
impl PathDirectory for Vec<PathSpec> {
    fn fixed(&self) -> Vec<PathSpec> {
        self.clone()
    }

    fn matching(&self, _: &PathName) -> Option<PathSpec> {
        None
    }

    fn matching_max(&self) -> usize {
        0
    }
}

/// All paths. Clones share them.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: Box<dyn PathDirectory>,
    clock: Clock,
    homes: Homes,
    /// Held for a look-up, an insert or a copy.
    paths: Mutex<Paths>,
}

/// Where the tasks of paths run: each path on one thread, owner and sources together.
#[derive(Debug)]
struct Homes {
    /// One set for each of the threads, or for the runtime of whoever started the hub.
    tasks: Box<[Tasks]>,
    threads: Option<MediaThreads>,
}

impl Homes {
    /// Starts a path on the thread that has the fewest.
    fn start(&self, spec: PathSpec, clock: Clock) -> Resident {
        let seat = self.threads.as_ref().map(MediaThreads::seat);
        let tasks = &self.tasks[seat.as_ref().map_or(0, Seat::number)];
        Resident { path: PathHandle::start(spec, clock, tasks), _seat: seat }
    }
}

#[derive(Debug, Default)]
struct Paths {
    fixed: BTreeMap<PathName, Resident>,
    matched: BTreeMap<PathName, Resident>,
}

/// A path, and the seat it keeps on its thread.
#[derive(Debug)]
struct Resident {
    path: PathHandle,
    _seat: Option<Seat>,
}

impl Hub {
    /// Starts every path of the directory that has a name of its own, all of them on the runtime of `tasks`.
    pub fn start(directory: Box<dyn PathDirectory>, clock: Clock, tasks: &Tasks) -> Self {
        Self::start_in(directory, clock, Homes { tasks: [tasks.child()].into(), threads: None })
    }

    /// [`Hub::start`] with the paths spread over one-thread runtimes. A picture comes as a burst of packets, and each of
    /// them wakes its source: where any of several threads may take that wake-up, it costs half as much again.
    pub fn start_on(directory: Box<dyn PathDirectory>, clock: Clock, tasks: &Tasks, threads: MediaThreads) -> Self {
        let tasks = threads.runtimes().map(|runtime| tasks.child_on(runtime.clone())).collect();
        Self::start_in(directory, clock, Homes { tasks, threads: Some(threads) })
    }

    fn start_in(directory: Box<dyn PathDirectory>, clock: Clock, homes: Homes) -> Self {
        let started = directory.fixed().into_iter().map(|spec| homes.start(spec, clock));
        let fixed = started.map(|resident| (resident.path.name().clone(), resident)).collect();
        let paths = Mutex::new(Paths { fixed, matched: BTreeMap::new() });
        Self { shared: Arc::new(Shared { directory, clock, homes, paths }) }
    }

    /// The path a grant is for, made now if a pattern matches it.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::ResourceExhausted`] when patterns made too many paths that are in use.
    pub fn path(&self, grant: &Grant<View>) -> Result<PathHandle> {
        let name = grant.path().ok_or_else(|| Error::new(Kind::Internal, "a grant to view should name a path"))?;
        let mut paths = self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resident) = paths.fixed.get(name).or_else(|| paths.matched.get(name)) {
            return Ok(resident.path.clone());
        }
        let spec = self.shared.directory.matching(name).ok_or_else(|| path_not_found(name))?;
        let most = self.shared.directory.matching_max();
        if paths.matched.len() >= most {
            paths.matched.retain(|_, Resident { path, .. }| {
                let idle = path.is_idle();
                if idle {
                    path.stop();
                }
                !idle
            });
        }
        if paths.matched.len() >= most {
            return Err(Error::new(
                Kind::ResourceExhausted,
                format!("path {name}: {most} paths of patterns are in use"),
            )
            .with_code("too_many_paths")
            .with_hint("raise limits.dynamic_paths"));
        }
        let resident = self.shared.homes.start(spec, self.shared.clock);
        let path = resident.path.clone();
        paths.matched.insert(name.clone(), resident);
        Ok(path)
    }

    /// Adds a path that has a name of its own, or puts it in the place of the one of that name, whose readers end.
    pub fn put(&self, spec: PathSpec) {
        let resident = self.shared.homes.start(spec, self.shared.clock);
        let name = resident.path.name().clone();
        let mut paths = self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let before = [paths.matched.remove(&name), paths.fixed.insert(name, resident)];
        drop(paths);
        before.iter().flatten().for_each(|resident| resident.path.stop());
    }

    /// Takes away a path that has a name of its own; its readers end. A pattern may make one of that name from then on.
    pub fn remove(&self, name: &PathName) {
        let removed = self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner).fixed.remove(name);
        removed.iter().for_each(|resident| resident.path.stop());
    }

    /// The rendition of a path a grant is for.
    ///
    /// # Errors
    /// As [`Hub::path`]; [`Kind::NotFound`] also when the path has no such rendition.
    pub fn stream(&self, grant: &Grant<View>, rendition: Rendition) -> Result<Stream> {
        let path = self.path(grant)?;
        let missing = || {
            Error::new(Kind::NotFound, format!("path {}: it has no {rendition} rendition", path.name()))
                .with_code("rendition_not_found")
        };
        path.stream(rendition).cloned().ok_or_else(missing)
    }

    /// Opens a reader on the path a grant is for, once the path has something to show.
    ///
    /// # Errors
    /// As [`Hub::stream`] and [`Stream::ready`], with the path's name in front.
    pub async fn open(&self, grant: Grant<View>, rendition: Rendition, options: ReaderOptions) -> Result<Reader> {
        let stream = self.stream(&grant, rendition)?;
        let name = grant.path().map_or_else(String::new, ToString::to_string);
        stream.ready().await.map_err(|error| error.context(format_args!("path {name}")))?;
        Ok(stream.open(grant, options))
    }

    /// The names of all paths that exist now; what a caller may know of them is for the gate to say.
    pub fn names(&self) -> Vec<PathName> {
        let paths = self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.fixed.keys().chain(paths.matched.keys()).cloned().collect()
    }
}
