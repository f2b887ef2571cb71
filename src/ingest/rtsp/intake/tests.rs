//! What the hub is told, and when.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{ingest::rtsp::testing::hex, media::Codec};

const SPS: &str = "6742c01fd9005005bb011000000300100000030320f183192480";
const PPS: &str = "68ce3c80";

fn offer(media: &str, encoding: &str, payload_type: u8, clock_rate: u32) -> Offer {
    Offer { media: media.into(), encoding: encoding.into(), payload_type, clock_rate, ..Offer::default() }
}

fn camera() -> Vec<Offer> {
    vec![offer("video", "H264", 96, 90_000), offer("audio", "PCMA", 8, 8_000)]
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000 + ms * 1_000_000)
}

fn packet(ms: u64, clock_rate: i64, payload_type: u8, payload: &[u8]) -> Incoming {
    Incoming {
        timestamp: ms as i64 * clock_rate / 1000,
        sequence: ms as u16,
        payload_type,
        marker: true,
        lost: 0,
        payload: Bytes::copy_from_slice(payload),
        arrived: at(ms),
        arrived_wall: WallTime::from_unix_nanos(1_795_169_700_000_000_000 + ms as i64 * 1_000_000),
    }
}

struct Bench(Intake);

impl Bench {
    fn new(offers: &[Offer]) -> Self {
        Self(Intake::new(offers, at(0)))
    }

    /// STAP-A with the parameter sets, and an IDR slice.
    fn key(&mut self, track: usize, ms: u64) {
        let (sps, pps) = (hex(SPS), hex(PPS));
        let mut stap = vec![0x78, 0, sps.len() as u8];
        stap.extend(sps);
        stap.extend([0, pps.len() as u8]);
        stap.extend(pps);
        stap.extend([0, 3, 0x65, 0x88, ms as u8]);
        self.0.handle_packet(track, packet(ms, 90_000, 96, &stap)).unwrap();
    }

    fn slice(&mut self, track: usize, ms: u64) {
        self.0.handle_packet(track, packet(ms, 90_000, 96, &[0x41, 0x9a, ms as u8])).unwrap();
    }

    fn sound(&mut self, track: usize, ms: u64) {
        self.0.handle_packet(track, packet(ms, 8_000, 8, &[0xd5; 160])).unwrap();
    }

    /// What was told since the last time: `begin(…)`, `par 0`, `0*` for a random access point of track 0, `1` for a unit.
    fn told(&mut self) -> String {
        let mut told = Vec::new();
        while let Some(effect) = self.0.poll_effect() {
            told.push(match effect {
                Effect::Begin(tracks) => {
                    let names: Vec<_> = tracks.iter().map(|track| track.parameters.codec().name()).collect();
                    format!("begin({})", names.join(","))
                }
                Effect::Parameters(track, _) => format!("par {track}"),
                Effect::Jump => "jump".into(),
                Effect::Unit(unit) => {
                    let star = unit.random_access && unit.payload.len() != 160;
                    format!("{}{}", unit.track, if star { "*" } else { "" })
                }
            });
        }
        told.join(" ")
    }
}

#[test]
fn it_begins_with_the_first_picture_that_can_be_shown() {
    let mut bench = Bench::new(&camera());
    bench.sound(1, 0);
    bench.slice(0, 10);
    assert_eq!(bench.told(), "");
    bench.key(0, 20);
    bench.sound(1, 25);
    bench.slice(0, 60);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0* 1 0");
}

#[test]
fn sound_alone_begins_at_once() {
    let mut bench =
        Bench::new(&[offer("audio", "PCMA", 8, 8_000), offer("application", "vnd.onvif.metadata", 107, 90_000)]);
    bench.sound(0, 0);
    assert_eq!(bench.told(), "begin(G.711 A-law,other) 0");
}

#[test]
fn a_track_that_does_not_show_what_it_is_is_waited_for_a_moment_and_joins_later() {
    let mut offers = camera();
    offers.push(offer("video", "H264", 96, 90_000));
    let mut bench = Bench::new(&offers);
    bench.slice(2, 0);
    bench.key(0, 10);
    bench.slice(0, 50);
    assert_eq!(bench.told(), "", "the other picture may still show itself");
    bench.0.handle_timeout(at(600));
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0* 0");
    bench.slice(2, 700);
    bench.slice(0, 710);
    assert_eq!(bench.told(), "0");
    bench.key(2, 720);
    assert_eq!(bench.told(), "");
    bench.slice(0, 730);
    bench.key(0, 2010);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law,H.264) 0*");
    bench.slice(2, 2020);
    assert_eq!(bench.told(), "2");
}

#[test]
fn a_silent_picture_track_does_not_hold_up_the_sound() {
    let mut bench = Bench::new(&camera());
    for ms in (0..4_900).step_by(20) {
        bench.sound(1, ms);
    }
    assert_eq!(bench.told(), "");
    for ms in (4_900..5_100).step_by(20) {
        bench.sound(1, ms);
    }
    let told = bench.told();
    assert!(told.starts_with("begin(G.711 A-law) 0"), "{told}");
    bench.key(0, 6_000);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0*", "the picture came after all");
}

#[test]
fn a_long_gop_is_waited_for_within_bounds() {
    let mut bench = Bench::new(&camera());
    for ms in (0..20_000).step_by(10) {
        bench.slice(0, ms);
    }
    assert!(bench.0.held.len() <= HELD_MAX);
    assert_eq!((bench.told().as_str(), bench.0.has_begun()), ("", false));
    bench.key(0, 20_000);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0*");
}

#[test]
fn another_coding_within_a_session_begins_anew() {
    let mut bench = Bench::new(&camera());
    bench.key(0, 0);
    bench.sound(1, 10);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0* 1");
    for (ms, unit) in [
        "40010c01ffff016000000300900000030000030078959409",
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
        "4401c172b46240",
        "2601af01",
    ]
    .into_iter()
    .map(|unit| (40, hex(unit)))
    {
        bench.0.handle_packet(0, Incoming { marker: unit[0] == 0x26, ..packet(ms, 90_000, 96, &unit) }).ok();
    }
    // The video parameter set before it is no NAL unit of H.264, and comes again with the next picture.
    for unit in ["40010c01ffff016000000300900000030000030078959409", "2601af01"].map(hex) {
        bench.0.handle_packet(0, Incoming { marker: unit[0] == 0x26, ..packet(80, 90_000, 96, &unit) }).unwrap();
    }
    assert_eq!(bench.told(), "begin(H.265,G.711 A-law) 0*");
    assert_eq!(bench.0.lanes[0].track.parameters().map(CodecParameters::codec), Some(Codec::H265));
}

#[test]
fn new_parameters_are_told_before_the_unit_they_hold_for() {
    let mut bench = Bench::new(&camera());
    bench.key(0, 0);
    assert_eq!(bench.told(), "begin(H.264,G.711 A-law) 0*");
    bench.key(0, 40);
    assert_eq!(bench.told(), "0*");
    let (sps, pps) = (hex("6742c01eda0280bfe5c044000003000400000300c83c58ba80"), hex(PPS));
    for unit in [&sps[..], &pps, &[0x65, 0x88, 1]] {
        bench.0.handle_packet(0, Incoming { marker: unit[0] == 0x65, ..packet(80, 90_000, 96, unit) }).unwrap();
    }
    assert_eq!(bench.told(), "par 0 0*");
}

/// Two crystals, both off, over a wrap of 32 bits and past any bound that would take drift for a jump.
#[test]
fn fifteen_hours_of_drift_keep_sound_picture_and_wall_clock_together() {
    use retina::client::Timeline;
    const WRAPS_AFTER_AN_HOUR: u32 = u32::MAX - 90_000 * 3600;
    let mut intake = Intake::new(&camera(), at(0));
    let mut lines = [Timeline::new(None, 90_000, None).unwrap(), Timeline::new(None, 8_000, None).unwrap()];
    let ticks = |second: u64, rate: u64, millionths: i64| {
        let ticks = (second * rate) as i64;
        (ticks + ticks * millionths / 1_000_000) as u32
    };
    let key = {
        let mut bench = Bench::new(&camera());
        bench.key(0, 0);
        let (sps, pps) = (hex(SPS), hex(PPS));
        [&[0x78, 0, sps.len() as u8], &sps[..], &[0, pps.len() as u8], &pps[..], &[0, 3, 0x65, 0x88, 0]].concat()
    };
    let (mut newest, mut seen) = ([None; 2], 0);
    for second in (0..15 * 3600).step_by(2) {
        let (picture, sound) = (packet(second * 1000, 90_000, 96, &key), packet(second * 1000, 8_000, 8, &[0xd5; 160]));
        let wall = picture.arrived_wall;
        for (track, mut one, stamp) in [
            (0, picture, WRAPS_AFTER_AN_HOUR.wrapping_add(ticks(second, 90_000, 200))),
            (1, sound, ticks(second, 8_000, -100)),
        ] {
            one.timestamp = lines[track].advance_to(stamp).unwrap().elapsed();
            // Half a second before the unit, by a clock that is right.
            let reported = stamp.wrapping_sub(if track == 0 { 45_000 } else { 4_000 });
            let reported = lines[track].place(reported).unwrap().elapsed();
            if second % 6 == 4 {
                intake.handle_report(track, wall.plus_nanos(-500_000_000).to_ntp(), reported, wall);
            }
            intake.handle_packet(track, one).unwrap();
        }
        while let Some(effect) = intake.poll_effect() {
            match effect {
                Effect::Begin(_) => assert_eq!(second, 0, "the list stays as it is"),
                Effect::Parameters(..) => {}
                Effect::Jump => panic!("drift is no jump, at {second} s"),
                Effect::Unit(unit) => {
                    let before = newest[usize::from(unit.track.0)].replace(unit.pts);
                    assert!(before.is_none_or(|before| before < unit.pts), "track {} at {second} s", unit.track);
                    let captured = unit.captured.unwrap().nanos_since(wall) / 1_000_000;
                    assert!(captured.abs() <= 25, "captured {captured} ms off at {second} s");
                    seen += 1;
                }
            }
        }
        if let [Some(picture), Some(sound)] = newest {
            let apart = (picture - sound).millis();
            assert!(apart.abs() <= 60, "{apart} ms apart at {second} s");
        }
    }
    assert!(seen >= 2 * 15 * 1800 - 2, "{seen}");
}

#[test]
fn a_packet_of_no_track_is_refused() {
    let mut bench = Bench::new(&camera());
    assert!(bench.0.handle_packet(9, packet(0, 8_000, 8, b"x")).is_err());
    bench.0.handle_report(9, 1, 1, WallTime::from_unix_nanos(0));
}

proptest! {
    #[test]
    fn arbitrary_packets_of_every_codec_are_taken_without_a_panic(
        packets in proptest::collection::vec((
            0_usize..14, any::<i64>(), any::<u16>(), 0_u8..128, any::<bool>(), 0_u16..3,
            proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..60), 0_u64..3_000,
        ), 0..80),
    ) {
        let names = [
            ("video", "H264"), ("video", "H265"), ("video", "JPEG"), ("video", "VP8"), ("video", "VP9"), ("video", "AV1"),
            ("audio", "MPEG4-GENERIC"), ("audio", "MP4A-LATM"), ("audio", "OPUS"), ("audio", "PCMU"), ("audio", "G722"),
            ("audio", "L16"), ("audio", "X"), ("application", "Y"),
        ];
        let offers: Vec<Offer> = names.iter().map(|(media, encoding)| {
            let fmtp = (*encoding == "MPEG4-GENERIC").then(|| "config=1190;sizelength=13;indexlength=3;indexdeltalength=3".into());
            Offer { fmtp, ..offer(media, encoding, 96, 90_000) }
        }).collect();
        let mut intake = Intake::new(&offers, at(0));
        let mut now = 0;
        for (track, timestamp, sequence, payload_type, marker, lost, payload, step) in packets {
            now += step;
            let incoming = Incoming { timestamp: timestamp >> 20, sequence, payload_type, marker, lost, ..packet(now, 90_000, 96, &payload) };
            let _ = intake.handle_packet(track, incoming);
            intake.handle_report(track, timestamp as u64, timestamp >> 20, WallTime::from_unix_nanos(0));
            intake.handle_timeout(at(now));
            prop_assert!(intake.held.len() <= HELD_MAX);
            let places = intake.lanes.iter().filter(|lane| lane.place.is_some()).count();
            while let Some(effect) = intake.poll_effect() {
                match effect {
                    Effect::Begin(tracks) => prop_assert!(tracks.len() <= names.len()),
                    Effect::Unit(unit) => prop_assert!(usize::from(unit.track.0) < names.len() && unit.dts <= unit.pts),
                    Effect::Parameters(..) | Effect::Jump => {}
                }
            }
            prop_assert!(places <= names.len());
        }
    }
}
