//! The ring: what a unit costs its publisher, whoever reads, and what a read costs its reader.
//!
//! The claim it shows: publishing costs the same with no reader, with a thousand that read, and with one that does not.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    hint::black_box,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use campanile::{
    auth::{Caller, Gate, Grant, View},
    base::{Clock, PathName, Rendition, Tasks},
    hub::{Feed, Hub, PathDirectory, PathSpec, Reader, ReaderOptions, RingLimits, Source, StreamPolicy},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId, track::H264Parameters,
    },
};
use divan::{Bencher, counter::ItemsCount};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

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

#[derive(Debug)]
struct One(PathSpec);

impl PathDirectory for One {
    fn fixed(&self) -> Vec<PathSpec> {
        vec![self.0.clone()]
    }

    fn matching(&self, _: &PathName) -> Option<PathSpec> {
        None
    }

    fn matching_max(&self) -> usize {
        1
    }
}

struct Stage {
    hub: Hub,
    feed: Feed,
    grant: Grant<View>,
    payload: Bytes,
    next: i64,
    _runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
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
        let hub = Hub::start(Box::new(One(spec)), Clock, &Tasks::new());
        let feed = feed.recv().unwrap();
        let parameters = CodecParameters::H264(H264Parameters::default());
        feed.begin(vec![TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }]);
        let grant = Gate::default().check(&Caller::direct("127.0.0.1:1".parse().unwrap()), &name).unwrap();
        // One NAL unit of 20 kB: a picture of 4 Mbit/s at 25 per second.
        let mut payload = 20_000_u32.to_be_bytes().to_vec();
        payload.resize(20_004, 0x41);
        drop(_inside);
        Self { hub, feed, grant, payload: payload.into(), next: 0, _runtime: runtime }
    }

    fn push(&mut self) {
        let time = MediaTime::from_millis(self.next * 40);
        let arrived = campanile::base::Monotonic::from_nanos(1 + self.next as u64 * 40_000_000);
        self.feed.push(AccessUnit {
            track: TrackId(0),
            pts: time,
            dts: time,
            captured: None,
            arrived,
            random_access: self.next % 50 == 0,
            after_loss: false,
            marker: true,
            payload: self.payload.clone(),
        });
        self.next += 1;
    }

    fn readers(&self, count: usize) -> Vec<Reader> {
        let stream = self.hub.stream(&self.grant, Rendition::Main).unwrap();
        (0..count).map(|_| stream.open(self.grant.clone(), ReaderOptions::viewer())).collect()
    }
}

/// One unit of 20 kB: splice, plan, append, strike.
#[divan::bench(args = [0, 1, 100, 1000])]
fn publish_beside_readers_that_never_read(bencher: Bencher<'_, '_>, readers: usize) {
    let mut stage = Stage::new();
    let _stalled = stage.readers(readers);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| stage.push());
}

/// One unit published and taken by every reader: the slope is what a reader costs.
#[divan::bench(args = [1, 10, 100, 1000])]
fn publish_and_read(bencher: Bencher<'_, '_>, readers: usize) {
    let mut stage = Stage::new();
    stage.push();
    let mut readers = stage.readers(readers);
    let mut batch = Vec::new();
    bencher.counter(ItemsCount::new(readers.len())).bench_local(|| {
        stage.push();
        for reader in &mut readers {
            black_box(reader.try_read(&mut batch));
        }
        batch.clear();
    });
}
