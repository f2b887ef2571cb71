//! Units and their times, codec by codec.

use super::*;
use crate::{ingest::rtsp::testing::hex, media::Codec};

const SPS: &str = "6742c01fd9005005bb011000000300100000030320f183192480";
const PPS: &str = "68ce3c80";
const ZERO_WALL: i64 = 1_795_169_700_000_000_000;

fn offer(media: &str, encoding: &str, clock_rate: u32, fmtp: Option<&str>) -> Offer {
    Offer {
        media: media.into(),
        encoding: encoding.into(),
        payload_type: 96,
        clock_rate,
        fmtp: fmtp.map(str::to_owned),
        ..Offer::default()
    }
}

fn incoming(ms: i64, clock_rate: i64, payload: &[u8]) -> Incoming {
    let arrived = u64::try_from(ms.rem_euclid(100_000_000)).unwrap();
    Incoming {
        timestamp: ms * clock_rate / 1000,
        sequence: (ms / 20) as u16,
        payload_type: 96,
        marker: true,
        lost: 0,
        payload: Bytes::copy_from_slice(payload),
        arrived: Monotonic::from_nanos(1_000_000_000 + arrived * 1_000_000),
        arrived_wall: WallTime::from_unix_nanos(ZERO_WALL + ms * 1_000_000),
    }
}

fn run(track: &mut Track, packets: impl IntoIterator<Item = Incoming>) -> Vec<Outcome> {
    let mut out = Vec::new();
    for packet in packets {
        let _ = track.handle_packet(packet, &mut out);
    }
    out
}

fn units(outcomes: &[Outcome]) -> Vec<&TrackUnit> {
    outcomes.iter().filter_map(|outcome| if let Outcome::Unit(unit) = outcome { Some(unit) } else { None }).collect()
}

#[test]
fn every_encoding_is_what_it_says() {
    let table = [
        ("video", "H264", 90_000, None, Codec::H264, 90_000),
        ("video", "h265", 90_000, None, Codec::H265, 90_000),
        ("video", "JPEG", 90_000, None, Codec::Jpeg, 90_000),
        ("video", "VP8", 90_000, None, Codec::Vp8, 90_000),
        (
            "audio",
            "MPEG4-GENERIC",
            48_000,
            Some("streamtype=5;config=1190;mode=AAC-hbr;SizeLength=13;IndexLength=3;IndexDeltaLength=3;"),
            Codec::Aac,
            48_000,
        ),
        ("audio", "mpeg4-generic", 48_000, Some("config=1190"), Codec::Aac, 48_000),
        ("audio", "opus", 44_100, None, Codec::Opus, 48_000),
        ("audio", "PCMU", 8_000, None, Codec::G711U, 8_000),
        ("audio", "PCMA", 16_000, None, Codec::G711A, 16_000),
        ("audio", "G722", 16_000, None, Codec::G722, 8_000),
        ("audio", "L16", 44_100, None, Codec::L16, 44_100),
        ("audio", "MPEG4-GENERIC", 48_000, None, Codec::Other, 48_000),
        ("audio", "AMR", 8_000, None, Codec::Other, 8_000),
        ("application", "vnd.onvif.metadata", 90_000, None, Codec::Other, 90_000),
        ("video", "H264", 0, None, Codec::Other, 90_000),
    ];
    for (media, encoding, clock, fmtp, codec, rate) in table {
        let track = Track::new(&offer(media, encoding, clock, fmtp));
        let known = track.parameters().map(CodecParameters::codec);
        let learns = [Codec::H264, Codec::H265, Codec::Jpeg, Codec::Vp8].contains(&codec);
        assert_eq!(known, (!learns).then_some(codec), "{encoding}");
        assert_eq!((track.clock_rate().hz(), track.is_opaque()), (rate, codec == Codec::Other), "{encoding}");
    }
    let static_type = Track::new(&Offer { payload_type: 11, ..offer("audio", "l16", 441_000, None) });
    assert_eq!(static_type.clock_rate().hz(), 44_100, "a zero too many in retina's table");
}

#[test]
fn long_packets_of_samples_become_several_units() {
    let mut track = Track::new(&offer("audio", "PCMA", 8_000, None));
    let out = run(&mut track, [incoming(100, 8_000, &[0xd5; 2400])]);
    let units = units(&out);
    assert_eq!(units.iter().map(|unit| unit.payload.len()).sum::<usize>(), 2400);
    assert!(units.len() >= 3 && units.iter().all(|unit| unit.random_access));
    let span = units[1].pts - units[0].pts;
    assert_eq!(span.ticks(ClockRate::TELEPHONE) as usize, units[0].payload.len());
}

#[test]
fn random_access_is_read_from_the_bitstream() {
    let mut track = Track::new(&offer(
        "video",
        "H264",
        90_000,
        Some("sprop-parameter-sets=Z0LAH9kAUAW7ARAAAAMAEAAAAwMg8YMZJIA=,aM48gA=="),
    ));
    // SEI with a recovery point, exact and after five frames, in STAP-A with a slice.
    let exact: &[u8] = &[0x78, 0, 5, 0x06, 6, 1, 0xc4, 0x80, 0, 3, 0x41, 0x9a, 1];
    let gradual: &[u8] = &[0x78, 0, 5, 0x06, 6, 1, 0x34, 0x80, 0, 3, 0x41, 0x9a, 1];
    let plain: &[u8] = &[0x41, 0x9a, 1];
    let rows = [
        (0, exact, true),
        (40, plain, false),
        (80, gradual, false),
        (9_000, plain, false),
        (10_100, gradual, true),
        (10_140, &[0x65, 0x88, 1][..], true),
        (10_180, gradual, false),
    ];
    for (ms, payload, random_access) in rows {
        let out = run(&mut track, [incoming(ms, 90_000, payload)]);
        assert_eq!(units(&out)[0].random_access, random_access, "at {ms} ms");
    }
}

#[test]
fn pictures_that_wait_get_decode_times_of_their_own() {
    let mut track = Track::new(&offer("video", "H265", 90_000, None));
    // Depth 0 is assumed until pictures come out of order, and the order holds from then on.
    let sets = [
        "40010c01ffff016000000300900000030000030078959409",
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
        "4401c172b46240",
    ];
    let first = |ms| Incoming { marker: false, ..incoming(ms, 90_000, &[]) };
    for set in sets {
        run(&mut track, [Incoming { payload: hex(set).into(), ..first(0) }]);
    }
    let order = [0, 160, 80, 40, 120, 320, 240, 200, 280, 480, 400];
    let picture = |ms: &i64| incoming(*ms, 90_000, if *ms == 0 { &[0x2a, 1, 0xaf] } else { &[0x02, 1, 0xd0] });
    let out = run(&mut track, order.iter().map(picture));
    let units = units(&out);
    assert!(units[0].random_access, "CRA");
    assert_eq!(units.len(), order.len());
    assert!(units.windows(2).all(|pair| pair[1].dts > pair[0].dts), "decode times grow");
    assert!(units.iter().all(|unit| unit.dts <= unit.pts));
    assert!(units.iter().zip(order).all(|(unit, ms)| unit.pts == MediaTime::from_millis(ms)));
}

#[test]
fn jumps_are_told_and_capture_times_begin_anew() {
    let mut track = Track::new(&offer("audio", "PCMA", 8_000, None));
    run(&mut track, [incoming(0, 8_000, &[1; 160]), incoming(20, 8_000, &[1; 160])]);
    let jumped = Incoming { timestamp: 8_000 * 3600, ..incoming(40, 8_000, &[1; 160]) };
    let out = run(&mut track, [jumped]);
    assert_eq!(out[0], Outcome::Jump);
    let captured = units(&out)[0].captured.nanos_since(WallTime::from_unix_nanos(ZERO_WALL));
    assert!(captured.abs() < 100_000_000, "an hour of media is no hour on the wall: {captured}");
}

#[test]
fn capture_times_are_those_of_the_sender() {
    let mut track = Track::new(&offer("audio", "PCMA", 8_000, None));
    let wall = WallTime::from_unix_nanos(ZERO_WALL);
    // The camera took it 300 ms before it arrived.
    track.handle_report(wall.plus_nanos(-300_000_000).to_ntp(), 0, wall);
    let out = run(&mut track, [incoming(0, 8_000, &[1; 160])]);
    let before = wall.nanos_since(units(&out)[0].captured);
    assert!((before - 300_000_000).abs() < 1_000_000, "{before}");
}

#[test]
fn a_unit_after_a_loss_says_so() {
    let mut track = Track::new(&offer("video", "H264", 90_000, None));
    let sets = |unit: &str| Incoming { marker: false, ..incoming(0, 90_000, &hex(unit)) };
    run(&mut track, [sets(SPS), sets(PPS), incoming(0, 90_000, &[0x65, 0x88, 1])]);
    let lost = Incoming { lost: 2, ..incoming(40, 90_000, &[0x41, 0x9a, 1]) };
    let out = run(&mut track, [lost, incoming(80, 90_000, &[0x41, 0x9a, 1])]);
    assert_eq!(units(&out).iter().map(|unit| unit.after_loss).collect::<Vec<_>>(), [true, false]);
}
