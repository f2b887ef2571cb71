//! What one picture costs for one WebRTC viewer before it is sent: headers, a copy, and the cipher, packet by packet.

use bytes::Bytes;
use campanile::{
    media::{ClockRate, Codec, CodecParameters, MediaKind, Track, TrackId, nal, track::H264Parameters},
    webrtc::{ViewerUnit, sdp::ChosenLine, srtp::Profile},
};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

fn viewer(profile: Profile, bytes: usize) -> ViewerUnit {
    let track = Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        clock_rate: ClockRate::VIDEO,
        parameters: CodecParameters::H264(H264Parameters::default()),
        derived_from: None,
        generation: 1,
        revision: 0,
    };
    let line = ChosenLine {
        mid: "0".into(),
        kind: MediaKind::Video,
        track: TrackId(0),
        codec: Codec::H264,
        payload_type: 102,
        rtx_payload_type: Some(103),
        ssrc: 1,
        rtx_ssrc: 2,
        clock_rate: 90_000,
        parameters: None,
        abs_capture_time: Some(3),
        playout_delay: Some(6),
        transport_cc: None,
        transcoded: false,
    };
    let payload: Bytes = nal::join([&vec![0x41; bytes][..]]);
    ViewerUnit::new(track, &line, profile, payload).expect("the track goes over the line")
}

/// Seven packets of 1188 bytes: a picture of 2 Mbit/s at 30 fps.
#[divan::bench(args = [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80])]
fn picture_of_seven_packets(bencher: Bencher<'_, '_>, profile: &Profile) {
    let mut viewer = viewer(*profile, 7 * 1186 + 1);
    assert_eq!(viewer.packets(), 7);
    bencher.counter(ItemsCount::new(7_usize)).bench_local(|| viewer.seal());
}
