//! The ring: what a unit costs its publisher, whoever reads, and what a read costs its reader.
//!
//! The claim it shows: publishing costs the same with no reader, with a thousand that read, and with one that does not.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod stage;

use std::hint::black_box;

use bytes::Bytes;
use campanile::{
    base::Rendition,
    hub::{Reader, ReaderOptions},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId, track::H264Parameters,
    },
};
use divan::{Bencher, counter::ItemsCount};

use stage::Stage;

fn main() {
    divan::main();
}

/// The stage and a picture to put on it.
struct Scene {
    stage: Stage,
    payload: Bytes,
    next: i64,
}

impl Scene {
    fn new() -> Self {
        let parameters = CodecParameters::H264(H264Parameters::default());
        let track = TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters };
        // One NAL unit of 20 kB: a picture of 4 Mbit/s at 25 per second.
        let mut payload = 20_000_u32.to_be_bytes().to_vec();
        payload.resize(20_004, 0x41);
        Self { stage: Stage::new(vec![track]), payload: payload.into(), next: 0 }
    }

    fn push(&mut self) {
        let time = MediaTime::from_millis(self.next * 40);
        let arrived = campanile::base::Monotonic::from_nanos(1 + self.next as u64 * 40_000_000);
        self.stage.feed.push(AccessUnit {
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
        let _inside = self.stage.runtime.enter();
        let stream = self.stage.hub.stream(&self.stage.grant, Rendition::Main).unwrap();
        (0..count).map(|_| stream.open(self.stage.grant.clone(), ReaderOptions::viewer())).collect()
    }
}

/// One unit of 20 kB: splice, plan, append, strike.
#[divan::bench(args = [0, 1, 100, 1000])]
fn publish_beside_readers_that_never_read(bencher: Bencher<'_, '_>, readers: usize) {
    let mut scene = Scene::new();
    let _stalled = scene.readers(readers);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| scene.push());
}

/// One unit published and taken by every reader: the slope is what a reader costs.
#[divan::bench(args = [1, 10, 100, 1000])]
fn publish_and_read(bencher: Bencher<'_, '_>, readers: usize) {
    let mut scene = Scene::new();
    scene.push();
    let mut readers = scene.readers(readers);
    let mut batch = Vec::new();
    bencher.counter(ItemsCount::new(readers.len())).bench_local(|| {
        scene.push();
        for reader in &mut readers {
            black_box(reader.try_read(&mut batch));
        }
        batch.clear();
    });
}
