//! H.264 over RTP: the planner (RFC 6184, non-interleaved mode, `packetization-mode=1`).
//!
//! NAL units that fit travel alone (§5.6), others as FU-A (§5.8). Nothing is aggregated: a STAP-A would need its bytes
//! copied together. `nal_assembler.rs` puts incoming packets together.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::slices;
use crate::media::{
    Fragment, nal,
    plan::{Body, PAYLOAD_MAX},
    track::H264Parameters,
};

const FU_A: u8 = 28;
const FU_A_HEAD: usize = 2;
const START: u8 = 0x80;
const END: u8 = 0x40;

/// Cuts an access unit of length-prefixed NAL units; parameter sets head it at a random access point.
pub(super) fn plan(parameters: &H264Parameters, payload: &Bytes, random_access: bool) -> (Bytes, Box<[Fragment]>) {
    let sets: &[&[Bytes]] = if random_access { &[&parameters.sps, &parameters.pps] } else { &[] };
    plan_nal_units(sets, payload, cut)
}

/// What H.264 and H.265 share: the sets go into the lead, each NAL unit of either is cut by `cut`, and the marker
/// stands on the last packet of the access unit (RFC 6184 §5.1).
pub(super) fn plan_nal_units(
    sets: &[&[Bytes]],
    payload: &Bytes,
    cut: fn(&mut Vec<Fragment>, Body, &[u8], Range<usize>, bool),
) -> (Bytes, Box<[Fragment]>) {
    let mut lead = BytesMut::with_capacity(sets.iter().flat_map(|sets| sets.iter()).map(Bytes::len).sum());
    let mut fragments = Vec::with_capacity(payload.len() / (PAYLOAD_MAX / 2) + 8);
    let mut units = nal::ranges(payload).peekable();
    let alone = units.peek().is_none();
    let mut sets = sets.iter().flat_map(|sets| sets.iter()).filter(|set| !set.is_empty()).peekable();
    while let Some(set) = sets.next() {
        let start = lead.len();
        lead.extend_from_slice(set);
        cut(&mut fragments, Body::Lead, set, start..lead.len(), alone && sets.peek().is_none());
    }
    while let Some(range) = units.next() {
        cut(&mut fragments, Body::Payload, &payload[range.clone()], range, units.peek().is_none());
    }
    (lead.freeze(), fragments.into_boxed_slice())
}

/// Cuts one NAL unit, `unit`, that lies at `range` of its body.
fn cut(fragments: &mut Vec<Fragment>, body: Body, unit: &[u8], range: Range<usize>, last: bool) {
    if unit.len() <= PAYLOAD_MAX {
        // RFC 6184 §5.6: the NAL unit is the payload.
        fragments.extend(Fragment::new(&[], body, range, last));
        return;
    }
    // §5.8: the NAL unit's own header is taken off and split over FU indicator and FU header.
    let (indicator, kind) = (unit[0] & 0xe0 | FU_A, unit[0] & 0x1f);
    for slice in slices(range.start + 1..range.end, PAYLOAD_MAX - FU_A_HEAD, 0) {
        let position = if slice.first { START } else { 0 } | if slice.last { END } else { 0 };
        fragments.extend(Fragment::new(&[indicator, kind | position], body, slice.range, last && slice.last));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::CodecParameters,
        rtp::testing::{Sent, assert_marker_ends, assert_one_size, sent},
    };

    fn parameters() -> CodecParameters {
        CodecParameters::H264(H264Parameters {
            sps: vec![Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e])],
            pps: vec![Bytes::from_static(&[0x68, 0xce]), Bytes::from_static(&[0x68, 0xcf])],
            ..H264Parameters::default()
        })
    }

    /// RFC 6184 §5.6 and §5.8 read backwards; runs of FU-A must be of one size.
    fn reassemble(packets: &[Sent]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        let mut run = Vec::new();
        for packet in packets {
            let [head, body @ ..] = &packet.payload[..] else { panic!("empty packet") };
            if head & 0x1f != FU_A {
                units.push(packet.payload.clone());
                continue;
            }
            let (fu, body) = body.split_first().unwrap();
            assert_ne!(fu & (START | END), START | END, "start and end together");
            if fu & START != 0 {
                units.push(vec![head & 0xe0 | fu & 0x1f]);
            }
            units.last_mut().unwrap().extend_from_slice(body);
            run.push(packet.clone());
            if fu & END != 0 {
                assert_one_size(&run);
                run.clear();
            }
        }
        assert!(run.is_empty(), "a run without an end");
        units
    }

    #[test]
    fn parameter_sets_head_a_random_access_point_and_only_that() {
        let payload = nal::join([&[0x65, 1, 2][..]]);
        let packets = sent(&parameters(), &payload, true);
        assert_marker_ends(&packets);
        let units = reassemble(&packets);
        assert_eq!(units, [&[0x67, 0x42, 0xc0, 0x1e][..], &[0x68, 0xce], &[0x68, 0xcf], &[0x65, 1, 2]]);
        assert_eq!(sent(&parameters(), &payload, false).len(), 1);
    }

    #[test]
    fn a_unit_one_byte_too_long_for_a_packet_becomes_two_of_one_size() {
        for (len, count) in [(PAYLOAD_MAX, 1), (PAYLOAD_MAX + 1, 2), (2 * (PAYLOAD_MAX - 2) + 1, 2)] {
            let packets = sent(&parameters(), &nal::join([&vec![0x65; len][..]]), false);
            assert_eq!(packets.len(), count, "{len} bytes");
            assert!(packets[0].payload.len() - packets[count - 1].payload.len() <= 1);
        }
    }

    #[test]
    fn a_random_access_point_without_slices_still_ends_with_the_marker() {
        assert_marker_ends(&sent(&parameters(), &Bytes::new(), true));
        assert!(sent(&parameters(), &Bytes::new(), false).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(lens in proptest::collection::vec(1_usize..9000, 1..6), key: bool) {
            let units: Vec<Vec<u8>> =
                lens.iter().map(|len| (0..*len).map(|i| if i == 0 { 0x65 } else { (i % 251) as u8 }).collect()).collect();
            let packets = sent(&parameters(), &nal::join(units.iter().map(Vec::as_slice)), key);
            assert_marker_ends(&packets);
            let together = reassemble(&packets);
            prop_assert_eq!(&together[if key { 3 } else { 0 }..], &units[..]);
        }

        #[test]
        fn arbitrary_payloads_are_cut_without_a_panic(payload in proptest::collection::vec(0_u8..4, 0..3000), key: bool) {
            sent(&parameters(), &payload.into(), key);
        }
    }
}
