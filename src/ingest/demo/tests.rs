//! The demo camera as its readers see it.

use std::time::Duration;

use super::*;
use crate::{
    hub::StreamState,
    ingest::testing::{Watched, assert_timeline},
    media::MediaKind,
};

#[tokio::test]
async fn the_demo_camera_delivers_picture_and_sound_in_real_time() {
    let path = Watched::start(DemoSource);
    let mut reader = path.reader().await;
    let units = reader
        .until(|units| {
            units.iter().filter(|unit| unit.random_access && unit.track.kind == MediaKind::Video).count() >= 2
        })
        .await;
    assert_timeline(&units);
    let video: Vec<_> = units.iter().filter(|unit| unit.track.kind == MediaKind::Video).collect();
    let starts: Vec<_> = video.iter().filter(|unit| unit.random_access).collect();
    assert!(video[0].random_access);
    assert_eq!(starts[1].dts - starts[0].dts, MediaTime::from_millis(2000));
    let sound = units.iter().filter(|unit| unit.track.kind == MediaKind::Audio).count();
    assert!(sound.abs_diff(video.len() * 2) < 10, "{sound} frames of sound with {} pictures", video.len());
    let (first, last) = (video[0], video[video.len() - 1]);
    let captured = last.captured.unwrap().nanos_since(first.captured.unwrap());
    assert!((captured - (last.pts - first.pts).nanos()).abs() < 200_000_000, "capture time runs with media time");
    assert!(units.iter().map(|unit| unit.payload.len()).sum::<usize>() < 400_000, "it is a small stream");
    drop(reader);
    path.stop().await;
}

#[tokio::test]
async fn the_time_in_the_picture_survives_the_encoder_and_is_its_capture_time() {
    let path = Watched::start(DemoSource);
    let mut reader = path.reader().await;
    let units = reader.until(|units| units.iter().filter(|unit| unit.track.id == VIDEO).count() >= 30).await;
    let mut decoder = openh264::decoder::Decoder::new().unwrap();
    let CodecParameters::H264(sets) = units[0].track.parameters.clone() else { panic!("{:?}", units[0].track) };
    let sets = nal::to_annex_b(&nal::join(sets.sps.iter().chain(&sets.pps).map(|set| &set[..])));
    let _ = decoder.decode(&sets);
    let mut read = 0;
    for unit in units.iter().filter(|unit| unit.track.id == VIDEO) {
        use openh264::formats::YUVSource;
        let Some(shown) = decoder.decode(&nal::to_annex_b(&unit.payload)).unwrap() else { continue };
        let (width, height) = shown.dimensions();
        let time = barcode::read_luma(shown.y(), width, height, shown.strides().0);
        assert_eq!(time, u64::try_from(unit.captured.unwrap().unix_millis()).ok());
        read += 1;
    }
    assert!(read >= 25, "{read} pictures decoded");
    path.stop().await;
}

#[tokio::test]
async fn the_demo_camera_ends_when_it_is_told_to() {
    let path = Watched::start(DemoSource);
    path.until(StreamState::Ready).await;
    let before = tokio::time::Instant::now();
    path.stop().await;
    assert!(before.elapsed() < Duration::from_secs(5));
}
