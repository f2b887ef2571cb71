//! A hub with one path whose camera is the bench itself.

use std::sync::{Arc, mpsc};

use campanile::{
    auth::{Caller, Gate, Grant, View},
    base::{Clock, PathName, Tasks},
    hub::{Feed, Hub, PathSpec, RingLimits, Source, StreamPolicy},
    media::TrackDescription,
};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Runtime;

/// Hands its feed to the bench and stays.
#[derive(Debug)]
struct Hand(mpsc::SyncSender<Feed>);

impl Source for Hand {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        let stopping = feed.stopping().clone();
        self.0.send(feed).expect("the bench should wait for the feed");
        async move { stopping.cancelled().await }.boxed()
    }

    fn description(&self) -> String {
        "bench".into()
    }
}

/// A path, the way in and the right to look.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) feed: Feed,
    pub(crate) grant: Grant<View>,
    pub(crate) runtime: Runtime,
}

impl Stage {
    /// The path carries `tracks`.
    pub(crate) fn new(tracks: Vec<TrackDescription>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (feeds, feed) = mpsc::sync_channel(1);
        let name: PathName = "bench".parse().unwrap();
        let spec = PathSpec {
            name: name.clone(),
            title: None,
            group: None,
            policy: StreamPolicy::default(),
            ring: RingLimits::default(),
            main: Arc::new(Hand(feeds)),
            sub: None,
        };
        let inside = runtime.enter();
        let hub = Hub::start(Box::new(vec![spec]), Clock, &Tasks::new());
        drop(inside);
        let feed = feed.recv().unwrap();
        feed.begin(tracks);
        let grant = Gate::default().check(&Caller::direct("127.0.0.1:1".parse().unwrap()), &name).unwrap();
        Self { hub, feed, grant, runtime }
    }
}
