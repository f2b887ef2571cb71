//! What the tests of this room share: a hub with one path, filled by the source under test, and a reader on it.

use std::{sync::Arc, time::Duration};

use crate::{
    auth::Grant,
    base::{Clock, Error, PathName, Rendition, Tasks},
    hub::{Hub, PathSpec, Read, Reader, ReaderOptions, RingLimits, Source, Stream, StreamPolicy, StreamState},
    media::{TrackSet, Unit},
};

/// Longer than anything here takes; what is asserted is behaviour, not speed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A path that is pulled as long as this lives.
pub(super) struct Watched {
    pub(super) stream: Stream,
    tasks: Tasks,
    name: PathName,
}

impl Watched {
    pub(super) fn start(source: impl Source + 'static) -> Self {
        let name: PathName = "cam".parse().unwrap();
        let spec = PathSpec {
            name: name.clone(),
            title: None,
            group: None,
            policy: StreamPolicy { start_timeout: PATIENCE, ..StreamPolicy::default() },
            ring: RingLimits::default(),
            main: Arc::new(source),
            sub: None,
        };
        let tasks = Tasks::new();
        let hub = Hub::start(Box::new(vec![spec]), Clock, &tasks);
        let grant = Grant::house("test", name.clone());
        let stream = hub.stream(&grant, Rendition::Main).unwrap();
        Self { stream, tasks, name }
    }

    /// A reader that gets every unit, once there are some.
    pub(super) async fn reader(&self) -> Units {
        self.stream.ready().await.unwrap();
        let reader = self.stream.open(Grant::house("test", self.name.clone()), ReaderOptions::house());
        Units { reader, batch: Vec::new(), changes: Vec::new() }
    }

    /// Waits until the path is in this state.
    pub(super) async fn until(&self, state: StreamState) {
        let wait = async {
            while self.stream.snapshot().state != state {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let now = || self.stream.snapshot();
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {state:?}: {:?}", now()));
    }

    /// Waits until the source says what is wrong.
    pub(super) async fn failure(&self) -> Arc<Error> {
        let wait = async {
            loop {
                if let Some(error) = self.stream.snapshot().error {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("nothing is wrong"))
    }

    /// Ends the path and waits for its source to be gone.
    pub(super) async fn stop(self) {
        self.tasks.stop();
        assert_eq!(self.tasks.drained(PATIENCE).await, Vec::<String>::new());
    }
}

/// What a reader reads, and the changes of tracks it met.
pub(super) struct Units {
    reader: Reader,
    batch: Vec<Arc<Unit>>,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Parameters,
    Tracks,
}

impl Units {
    pub(super) fn tracks(&self) -> &Arc<TrackSet> {
        self.reader.tracks()
    }

    /// The units that come until `enough` says so.
    pub(super) async fn until(&mut self, mut enough: impl FnMut(&[Arc<Unit>]) -> bool) -> Vec<Arc<Unit>> {
        let mut all = Vec::new();
        let collect = async {
            while !enough(&all) {
                match self.reader.read(&mut self.batch).await {
                    Read::Units => all.append(&mut self.batch),
                    Read::ParametersChanged(_) => self.changes.push(Change::Parameters),
                    Read::TracksChanged(_) => self.changes.push(Change::Tracks),
                    other => panic!("{other:?}"),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, collect).await.is_err() {
            panic!("only {} units in {PATIENCE:?}", all.len());
        }
        all
    }

    pub(super) async fn take(&mut self, count: usize) -> Vec<Arc<Unit>> {
        self.until(|units| units.len() >= count).await
    }
}

/// Decode times of each track never run back, and no picture is shown before it is decoded.
pub(super) fn assert_timeline(units: &[Arc<Unit>]) {
    let mut last = std::collections::HashMap::new();
    for unit in units {
        assert!(unit.pts >= unit.dts, "{unit:?}");
        if let Some(before) = last.insert(unit.track.id, unit.dts) {
            assert!(unit.dts >= before, "track {}: {:?} after {before:?}", unit.track.id, unit.dts);
        }
    }
}
