//! A rendition that a test fills by hand, for the doors' tests.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{
    demand::Demands,
    path::{Stream, StreamSnapshot},
    ring::{EndReason, Ring, RingLimits},
    source::{Feed, Inlet, Source, SourceCounters},
    state::{StreamPolicy, StreamState},
    writer::Writer,
};
use crate::{
    auth::{Grant, View},
    base::{Clock, Rendition, WallTime},
    media::{AccessUnit, TrackDescription},
};

#[derive(Debug)]
struct ByHand;

impl Source for ByHand {
    fn run(&self, _: Feed) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn description(&self) -> String {
        "by hand".to_owned()
    }
}

/// A rendition without a path: what is pushed is what readers read.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) stream: Stream,
    _snapshot: watch::Sender<StreamSnapshot>,
}

impl Camera {
    pub(crate) fn new(rendition: Rendition, tracks: Vec<TrackDescription>) -> Self {
        let ring = Arc::new(Ring::new(RingLimits::default()));
        let writer = std::sync::Mutex::new(Writer::new(ring.clone()));
        let inlet = Arc::new(Inlet { writer, counters: SourceCounters::default(), announce: false.into() });
        let now = StreamSnapshot {
            state: StreamState::Ready,
            since: WallTime::from_unix_nanos(0),
            error: None,
            refuses: false,
        };
        let (sender, snapshot) = watch::channel(now);
        let (policy, source) = (StreamPolicy::default(), Arc::new(ByHand));
        let stream = Stream::by_hand(rendition, ring, inlet, Demands::default(), snapshot, policy, source, Clock);
        let camera = Self { stream, _snapshot: sender };
        camera.begin(tracks);
        camera
    }

    pub(crate) fn begin(&self, tracks: Vec<TrackDescription>) {
        self.stream.inlet().writer().begin(tracks);
    }

    pub(crate) fn push(&self, unit: AccessUnit) {
        self.stream.inlet().writer().push(unit);
    }

    pub(crate) fn end(&self) {
        self.stream.ring().set_end(Some(EndReason::Closed));
    }

    pub(crate) fn grant() -> Grant<View> {
        Grant::house("test", "cam".parse().unwrap())
    }
}
