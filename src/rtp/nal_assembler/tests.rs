//! The assembler against packets as the standards give them, and as cameras do.

use proptest::prelude::*;

use super::*;
use crate::{
    media::{CodecParameters, track::H264Parameters},
    rtp::testing::sent,
};

/// A packet: timestamp, marker, lost before it, payload.
type Row<'a> = (i64, bool, bool, &'a [u8]);

fn run(format: NalFormat, rows: &[Row<'_>]) -> (Vec<AssembledUnit>, Vec<AssembleError>) {
    let mut assembler = NalAssembler::new(format, false);
    let (mut units, mut errors) = (Vec::new(), Vec::new());
    for (timestamp, marker, lost, payload) in rows {
        errors.extend(assembler.push(*timestamp, *marker, *lost, Bytes::copy_from_slice(payload)).err());
        units.extend(std::iter::from_fn(|| assembler.pull()));
    }
    (units, errors)
}

/// What came out, for people: timestamp, NAL units in hexadecimal, `!` after a loss, sets in brackets.
fn shown(units: &[AssembledUnit]) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = |unit: &AssembledUnit| {
        let nals: Vec<String> = nal::units(&unit.payload).map(hex).collect();
        let sets: Vec<String> = unit.parameter_sets.iter().map(|set| format!("[{}]", hex(set))).collect();
        let loss = if unit.after_loss { "!" } else { "" };
        format!("{}{loss} {}{}", unit.timestamp, sets.concat(), nals.join(" "))
    };
    units.iter().map(one).collect()
}

fn h264(rows: &[Row<'_>]) -> Vec<String> {
    let (units, errors) = run(NalFormat::H264, rows);
    assert_eq!(errors, []);
    shown(&units)
}

fn h265(rows: &[Row<'_>]) -> Vec<String> {
    let (units, errors) = run(NalFormat::H265, rows);
    assert_eq!(errors, []);
    shown(&units)
}

const IDR: &[u8] = &[0x65, 0x88, 0x01];
const SLICE: &[u8] = &[0x41, 0x9a, 0x02];
/// A slice that is not the first of its picture.
const MORE: &[u8] = &[0x41, 0x01, 0x03];

#[test]
fn single_units_aggregates_and_fragments_make_units() {
    // STAP-A of SPS, PPS and AUD; FU-A of an IDR slice in three; a single P slice.
    let stap: &[u8] = &[0x78, 0, 3, 0x67, 0x42, 0x1e, 0, 2, 0x68, 0xce, 0, 2, 0x09, 0xf0];
    let rows: [Row<'_>; 5] = [
        (0, false, false, stap),
        (0, false, false, &[0x7c, 0x85, 0x88, 1]),
        (0, false, false, &[0x7c, 0x05, 2]),
        (0, true, false, &[0x7c, 0x45, 3, 4]),
        (3600, true, false, SLICE),
    ];
    assert_eq!(h264(&rows), ["0 [67421e][68ce]658801020304", "3600 419a02"]);
    // AP of VPS, SPS, PPS; FU of an IDR; a single TRAIL_R.
    let ap: &[u8] = &[0x60, 1, 0, 3, 0x40, 1, 0x0c, 0, 3, 0x42, 1, 1, 0, 3, 0x44, 1, 0xc1];
    let rows: [Row<'_>; 4] = [
        (0, false, false, ap),
        (0, false, false, &[0x62, 1, 0x93, 0xaf, 1]),
        (0, true, false, &[0x62, 1, 0x53, 2]),
        (3000, true, false, &[0x02, 1, 0xd0, 9]),
    ];
    assert_eq!(h265(&rows), ["0 [40010c][420101][4401c1]2601af0102", "3000 0201d009"]);
}

#[test]
fn delimiters_filler_and_padding_zeros_are_left_out() {
    let rows: [Row<'_>; 4] = [
        (0, false, false, &[0x09, 0xf0]),
        (0, false, false, &[0x65, 0x88, 0x01, 0, 0]),
        (0, false, false, &[0x0c, 0xff, 0xff]),
        (0, true, false, &[0x0c, 0x80]),
    ];
    assert_eq!(h264(&rows), ["0 658801"]);
}

#[test]
fn a_camera_without_markers_is_cut_at_timestamps() {
    let rows: [Row<'_>; 3] = [(0, false, false, IDR), (3600, false, false, SLICE), (7200, false, false, SLICE)];
    assert_eq!(h264(&rows), ["0 658801", "3600 419a02"]);
}

#[test]
fn a_marker_on_parameter_sets_or_sei_ends_nothing() {
    let rows: [Row<'_>; 4] = [
        (0, true, false, &[0x67, 0x42]),
        (0, true, false, &[0x68, 0xce]),
        (0, true, false, &[0x06, 5, 1, 0x80]),
        (0, true, false, IDR),
    ];
    assert_eq!(h264(&rows), ["0 [6742][68ce]06050180 658801"]);
}

#[test]
fn parameter_sets_with_the_timestamp_before_go_with_the_next_picture() {
    let rows: [Row<'_>; 4] = [
        (0, true, false, SLICE),
        (0, false, false, &[0x67, 0x42]),
        (0, false, false, &[0x68, 0xce]),
        (3600, true, false, IDR),
    ];
    assert_eq!(h264(&rows), ["0 419a02", "3600 [6742][68ce]658801"]);
}

#[test]
fn a_camera_that_marks_every_slice_is_seen_through() {
    let rows: [Row<'_>; 7] = [
        (0, true, false, SLICE),
        (0, true, false, MORE),
        (3600, true, false, SLICE),
        (3600, true, false, MORE),
        (7200, true, false, SLICE),
        (7200, true, false, MORE),
        (10_800, true, false, SLICE),
    ];
    assert_eq!(h264(&rows), ["0 419a02", "3600! 419a02 410103", "7200 419a02 410103"]);
}

#[test]
fn two_pictures_with_one_timestamp_stay_two() {
    assert_eq!(h264(&[(0, true, false, IDR), (0, true, false, SLICE)]), ["0 658801", "0 419a02"]);
}

#[test]
fn a_byte_stream_inside_a_packet_is_taken_apart() {
    let stream: &[u8] = &[0x67, 0x42, 0x1e, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65, 0x88, 7];
    assert_eq!(h264(&[(0, true, false, stream), (1, true, false, SLICE)]), ["0 [67421e][68ce]658807", "1 419a02"]);
    let slices: &[u8] = &[0x41, 0x9a, 1, 0, 0, 1, 0x41, 0x01, 2, 0, 0, 0, 1, 0x09, 0xf0];
    assert_eq!(h264(&[(0, true, false, slices)]), ["0 419a01 410102"]);
}

#[test]
fn a_unit_that_misses_packets_is_dropped_and_the_next_says_so() {
    let start: &[u8] = &[0x7c, 0x85, 0x88, 1];
    let end: &[u8] = &[0x7c, 0x45, 9];
    let inside: [Row<'_>; 4] =
        [(0, false, false, start), (0, true, true, end), (1, true, false, SLICE), (2, true, false, SLICE)];
    assert_eq!(h264(&inside), ["1! 419a02", "2 419a02"]);
    let tail: [Row<'_>; 2] = [(0, false, false, start), (1, true, true, SLICE)];
    assert_eq!(h264(&tail), ["1! 419a02"]);
    let between: [Row<'_>; 2] = [(0, true, false, IDR), (2, true, true, SLICE)];
    assert_eq!(h264(&between), ["0 658801", "2! 419a02"]);
}

#[test]
fn after_a_loss_a_picture_without_its_first_slice_is_no_picture() {
    let rows: [Row<'_>; 3] = [(0, true, false, IDR), (1, true, true, MORE), (2, true, false, SLICE)];
    assert_eq!(h264(&rows), ["0 658801", "2! 419a02"]);
    // H.265: an IDR slice segment that is not the first must not pass for a random access point.
    let rows: [Row<'_>; 2] = [(0, true, true, &[0x26, 1, 0x2f, 1]), (1, true, false, &[0x26, 1, 0xaf, 1])];
    assert_eq!(h265(&rows), ["1! 2601af01"]);
}

#[test]
fn joining_within_a_picture_costs_that_picture() {
    let rows: [Row<'_>; 3] =
        [(0, false, false, &[0x7c, 0x05, 2]), (0, true, false, &[0x7c, 0x45, 3]), (1, true, false, IDR)];
    let (units, errors) = run(NalFormat::H264, &rows);
    assert_eq!(errors, [AssembleError::NoBeginning], "said once per picture");
    assert_eq!(shown(&units), ["1! 658801"]);
}

#[test]
fn fragments_that_lack_an_end_or_have_both_are_understood() {
    let rows: [Row<'_>; 5] = [
        (0, false, false, &[0x7c, 0x85, 0x88, 1]),
        (0, true, false, &[0x7c, 0x05, 2]),
        (1, true, false, &[0x5c, 0xc1, 0x9a, 3]),
        (2, false, false, &[0x7c, 0x81, 0x9a, 4]),
        (2, true, false, MORE),
    ];
    assert_eq!(h264(&rows), ["0 65880102", "1 419a03", "2 619a04 410103"]);
}

#[test]
fn what_is_not_carried_is_refused_and_harms_nothing_else() {
    for (kind, packet) in [(25, 0x79), (26, 0x7a), (27, 0x7b), (29, 0x7d)] {
        let rows: [Row<'_>; 2] = [(0, true, false, &[packet, 0, 0, 0]), (1, true, false, IDR)];
        let (units, errors) = run(NalFormat::H264, &rows);
        assert_eq!((shown(&units), errors), (vec!["1! 658801".to_owned()], vec![AssembleError::Type(kind)]));
    }
    let rows: [Row<'_>; 3] =
        [(0, false, false, &[0x64, 1, 0, 0]), (0, true, false, &[0x26, 1, 0xaf]), (1, true, false, &[0x26, 1, 0xaf])];
    let (units, errors) = run(NalFormat::H265, &rows);
    assert_eq!((shown(&units), errors), (vec!["1! 2601af".to_owned()], vec![AssembleError::Type(50)]));
    let reserved: [Row<'_>; 2] = [(0, false, false, &[0x7e, 1]), (0, true, false, IDR)];
    let (units, errors) = run(NalFormat::H264, &reserved);
    assert_eq!((shown(&units), errors), (vec!["0 658801".to_owned()], vec![AssembleError::Type(30)]));
}

#[test]
fn decoding_order_numbers_are_taken_off_where_they_are_announced() {
    let mut assembler = NalAssembler::new(NalFormat::H265, true);
    let packets: [(bool, &[u8]); 4] = [
        (false, &[0x60, 1, 0, 1, 0, 3, 0x40, 1, 0x0c, 7, 0, 3, 0x42, 1, 1]),
        (false, &[0x44, 1, 0, 2, 0xc1]),
        (false, &[0x62, 1, 0x93, 0, 3, 0xaf, 1]),
        (true, &[0x62, 1, 0x53, 2]),
    ];
    for (marker, packet) in packets {
        assembler.push(0, marker, false, Bytes::copy_from_slice(packet)).unwrap();
    }
    assert_eq!(shown(&[assembler.pull().unwrap()]), ["0 [40010c][420101][4401c1]2601af0102"]);
}

#[test]
fn a_unit_larger_than_the_bound_is_dropped() {
    let mut assembler = NalAssembler::new(NalFormat::H264, false);
    let piece = Bytes::from(vec![0x7c; 60_000]);
    let mut errors = 0;
    for i in 0..200 {
        let mut packet = vec![0x7c, if i == 0 { 0x85 } else { 0x05 }];
        packet.extend_from_slice(&piece);
        errors += usize::from(assembler.push(0, false, false, packet.into()).is_err());
        assert!(assembler.size <= UNIT_MAX);
    }
    assert_eq!(errors, 1);
    assembler.push(1, true, false, Bytes::copy_from_slice(IDR)).unwrap();
    assert_eq!(shown(&[assembler.pull().unwrap()]), ["1! 658801"]);
}

#[test]
fn the_format_shows_in_sequence_parameter_sets() {
    let hex = |text: &str| {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let avc = hex("6742c01fd9005005bb011000000300100000030320f183192480");
    let hevc = hex("420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84");
    assert_eq!(format_of(&avc), Some(NalFormat::H264));
    assert_eq!(format_of(&hevc), Some(NalFormat::H265));
    let mut stap = vec![0x78, 0, avc.len() as u8];
    stap.extend_from_slice(&avc);
    assert_eq!(format_of(&stap), Some(NalFormat::H264));
    assert_eq!(format_of(&[0x60, 1, 0, 3, 0x40, 1, 0x0c]), Some(NalFormat::H265));
    for unknown in [&[][..], IDR, SLICE, &[0x42, 0x01], &[0x67], &[0x78, 0, 9, 0x67], &[0x60, 1]] {
        assert_eq!(format_of(unknown), None, "{unknown:?}");
    }
}

proptest! {
    #[test]
    fn what_the_planner_cut_comes_together_again(
        lens in proptest::collection::vec(proptest::collection::vec(2_usize..5000, 1..4), 1..5), key: bool,
    ) {
        let parameters = CodecParameters::H264(H264Parameters {
            sps: vec![Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e])],
            pps: vec![Bytes::from_static(&[0x68, 0xce])],
            ..H264Parameters::default()
        });
        let mut assembler = NalAssembler::new(NalFormat::H264, false);
        for (i, lens) in lens.iter().enumerate() {
            let slice = |len: &usize| (0..*len).map(|i| if i == 0 { 0x65 } else { 0x80 | (i % 100) as u8 }).collect::<Vec<u8>>();
            let slices: Vec<Vec<u8>> = lens.iter().map(slice).collect();
            let payload = nal::join(slices.iter().map(Vec::as_slice));
            for packet in sent(&parameters, &payload, key) {
                assembler.push(i as i64, packet.marker, false, packet.payload.into()).unwrap();
            }
            let unit = assembler.pull().unwrap();
            prop_assert_eq!(unit.payload, payload);
            prop_assert_eq!(unit.parameter_sets.len(), if key { 2 } else { 0 });
        }
    }

    #[test]
    fn arbitrary_packets_are_taken_without_a_panic(
        h265: bool, don: bool,
        packets in proptest::collection::vec(
            (0_i64..3, any::<bool>(), any::<bool>(), proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..40)),
            0..60,
        ),
    ) {
        let mut assembler = NalAssembler::new(if h265 { NalFormat::H265 } else { NalFormat::H264 }, don);
        for (timestamp, marker, lost, payload) in packets {
            let _ = format_of(&payload);
            let _ = assembler.push(timestamp, marker, lost, payload.into());
            let pieces: usize = assembler.nals.iter().map(|nal| nal.pieces as usize).sum();
            prop_assert_eq!(pieces, assembler.pieces.len());
            if let Some(unit) = assembler.pull() {
                prop_assert!(nal::units(&unit.payload).count() > 0);
            }
        }
    }
}
