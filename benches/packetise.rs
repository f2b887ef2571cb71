//! What a plan costs: cutting one H.264 access unit into packets, which happens once per unit for all readers.

use std::hint::black_box;

use bytes::Bytes;
use campanile::{
    media::{ClockRate, CodecParameters, MediaKind, Track, TrackId, nal, track::H264Parameters},
    rtp,
};
use divan::Bencher;

fn main() {
    divan::main();
}

fn track() -> Track {
    let parameters = H264Parameters {
        sps: vec![Bytes::from_static(&[0x67; 24])],
        pps: vec![Bytes::from_static(&[0x68; 6])],
        ..H264Parameters::default()
    };
    Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        clock_rate: ClockRate::VIDEO,
        parameters: CodecParameters::H264(parameters),
        derived_from: None,
        generation: 0,
        revision: 0,
    }
}

/// One slice of 20 kB, a picture of a 4 Mbit/s stream at 25 fps, and of 200 kB, a key frame.
#[divan::bench(args = [20_000, 200_000])]
fn plan_of_one_slice(bencher: Bencher<'_, '_>, len: usize) {
    let (track, payload) = (track(), nal::join([&vec![0x65; len][..]]));
    bencher.bench(|| rtp::plan(&track, black_box(&payload), false, false));
}

/// The same as a random access point: the parameter sets are copied in front.
#[divan::bench(args = [20_000, 200_000])]
fn plan_of_a_random_access_point(bencher: Bencher<'_, '_>, len: usize) {
    let (track, payload) = (track(), nal::join([&vec![0x65; len][..]]));
    bencher.bench(|| rtp::plan(&track, black_box(&payload), true, false));
}

/// A picture of four slices with SEI in front, as encoders for conferences write it.
#[divan::bench]
fn plan_of_four_slices(bencher: Bencher<'_, '_>) {
    let (track, slice) = (track(), vec![0x41; 5_000]);
    let payload = nal::join([&[6, 5, 1][..], &slice, &slice, &slice, &slice]);
    bencher.bench(|| rtp::plan(&track, black_box(&payload), false, false));
}
