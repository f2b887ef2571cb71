//! The muxer: what a part of 200 ms costs from its units to the snapshot that viewers wait for, whoever waits.
//!
//! Five pictures of 20 kB and the sound beside them go into the ring; the bench waits for the snapshot with their part.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod stage;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use campanile::{
    audio::Audio,
    base::{Clock, Rendition, Tasks},
    cmaf::{Cmaf, CmafPolicy, Ledger, MuxerHandle, MuxerKey, Recalled, Selection},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, PictureSize, TrackDescription, TrackId,
        aac::AacConfig,
        track::{AacParameters, H264Parameters},
    },
};
use divan::Bencher;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::task::JoinSet;

use stage::Stage;

fn main() {
    divan::main();
}

/// Remembers nothing.
#[derive(Debug)]
struct Forgetful;

impl Ledger for Forgetful {
    fn open<'a>(&'a self, _: &'a MuxerKey, _: Duration) -> BoxFuture<'a, Recalled> {
        let (known, target_duration) = (false, Duration::from_secs(4));
        async move { Recalled { next_sequence: 0, discontinuity_sequence: 0, known, target_duration } }.boxed()
    }

    fn note(&self, _: &MuxerKey, _: u64, _: u64, _: Duration) {}

    fn close(&self, _: &MuxerKey, _: u64, _: u64) {}
}

/// A camera with picture and sound, and a muxer of it.
struct Scene {
    stage: Stage,
    muxer: MuxerHandle,
    picture: Bytes,
    sound: Bytes,
    pictures: i64,
    sounds: i64,
}

impl Scene {
    fn new() -> Self {
        let sps = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32];
        let video = H264Parameters {
            sps: vec![Bytes::from([&sps[..], &[0x0f, 0x16, 0x2e, 0x48]].concat())],
            pps: vec![Bytes::from_static(&[0x68, 0xcb, 0x83, 0xcb, 0x20])],
            size: Some(PictureSize { width: 640, height: 360 }),
            ..H264Parameters::default()
        };
        let audio = AacParameters::from_config(&AacConfig::lc(RATE, 2));
        let stage = Stage::new(vec![
            TrackDescription {
                kind: MediaKind::Video,
                clock_rate: ClockRate::VIDEO,
                parameters: CodecParameters::H264(video),
            },
            TrackDescription {
                kind: MediaKind::Audio,
                clock_rate: ClockRate::new(RATE).unwrap(),
                parameters: CodecParameters::Aac(audio),
            },
        ]);
        let policy = CmafPolicy {
            part: Duration::from_millis(200),
            segment: Duration::from_secs(2),
            segments: 8,
            max_bytes: 64 << 20,
            close_after: None,
        };
        let inside = stage.runtime.enter();
        let tasks = Tasks::new();
        let audio = Audio::new(Clock, &tasks);
        let cmaf = Cmaf::new(stage.hub.clone(), audio, Clock, &tasks, policy, Arc::new(Forgetful));
        let muxer = cmaf.muxer(&stage.grant, Rendition::Main, Selection::Muxed).unwrap();
        drop(inside);
        let mut picture = 20_000_u32.to_be_bytes().to_vec();
        picture.resize(20_004, 0x41);
        let mut scene =
            Self { stage, muxer, picture: picture.into(), sound: vec![0x21; 170].into(), pictures: 0, sounds: 0 };
        // Until the muxer has found the rhythm and shows its first segment.
        for _ in 0..5 * 5 {
            scene.push_part();
        }
        let snapshot = scene.stage.runtime.block_on(scene.muxer.ready()).unwrap();
        assert!(snapshot.next_sequence > 0 || snapshot.open.is_some());
        scene
    }

    fn push(&self, track: u8, at: MediaTime, random_access: bool, payload: &Bytes) {
        self.stage.feed.push(AccessUnit {
            track: TrackId(track),
            pts: at,
            dts: at,
            captured: None,
            arrived: Clock.now(),
            random_access,
            after_loss: false,
            marker: true,
            payload: payload.clone(),
        });
    }

    /// Five pictures and the sound until then.
    fn push_part(&mut self) {
        for _ in 0..5 {
            let at = MediaTime::from_millis(self.pictures * 40);
            self.push(0, at, self.pictures % 50 == 0, &self.picture);
            self.pictures += 1;
            loop {
                let sound = MediaTime::from_ticks(self.sounds * 1024, ClockRate::new(RATE).unwrap());
                if sound >= at + MediaTime::from_millis(40) {
                    break;
                }
                self.push(1, sound, true, &self.sound);
                self.sounds += 1;
            }
        }
    }
}

const RATE: u32 = 48_000;

/// From the units of a part to its snapshot, with so many tasks that wait for it as viewers do.
#[divan::bench(args = [0, 100, 1000])]
fn units_to_snapshot(bencher: Bencher<'_, '_>, waiting: usize) {
    let mut scene = Scene::new();
    bencher.bench_local(|| {
        let before = scene.muxer.latest().unwrap().version;
        let mut viewers = JoinSet::new();
        for _ in 0..waiting {
            let muxer = scene.muxer.clone();
            viewers.spawn_on(
                async move { muxer.until(|snapshot| snapshot.version > before).await.is_ok() },
                scene.stage.runtime.handle(),
            );
        }
        scene.push_part();
        scene.stage.runtime.block_on(async {
            scene.muxer.until(|snapshot| snapshot.version > before).await.unwrap();
            while viewers.join_next().await.is_some() {}
        });
    });
}
