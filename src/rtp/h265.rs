//! H.265 over RTP: the planner (RFC 7798, one stream, no DONL).
//!
//! NAL units that fit travel alone (§4.4.1), others as fragmentation units (§4.4.3). Nothing is aggregated, for the
//! reason given in `h264.rs`. `nal_assembler.rs` puts incoming packets together.

use std::ops::Range;

use bytes::Bytes;

use super::{h264::plan_nal_units, slices};
use crate::media::{
    Fragment,
    plan::{Body, PAYLOAD_MAX},
    track::H265Parameters,
};

const FU: u8 = 49;
const FU_HEAD: usize = 3;
const START: u8 = 0x80;
const END: u8 = 0x40;

/// Cuts an access unit of length-prefixed NAL units; parameter sets head it at a random access point.
pub(super) fn plan(parameters: &H265Parameters, payload: &Bytes, random_access: bool) -> (Bytes, Box<[Fragment]>) {
    let sets: &[&[Bytes]] = if random_access { &[&parameters.vps, &parameters.sps, &parameters.pps] } else { &[] };
    plan_nal_units(sets, payload, cut)
}

/// Cuts one NAL unit, `unit`, that lies at `range` of its body.
fn cut(fragments: &mut Vec<Fragment>, body: Body, unit: &[u8], range: Range<usize>, last: bool) {
    let &[first, second, _, ..] = unit else {
        // A header alone is no NAL unit (§1.1.4); what there is goes as it is.
        fragments.extend(Fragment::new(&[], body, range, last));
        return;
    };
    if unit.len() <= PAYLOAD_MAX {
        fragments.extend(Fragment::new(&[], body, range, last));
        return;
    }
    // §4.4.3: the payload header is the NAL unit's own but for the type, which moves into the FU header.
    let (payload_header, kind) = (first & 0x81 | FU << 1, first >> 1 & 0x3f);
    for slice in slices(range.start + 2..range.end, PAYLOAD_MAX - FU_HEAD, 0) {
        let position = if slice.first { START } else { 0 } | if slice.last { END } else { 0 };
        let head = [payload_header, second, kind | position];
        fragments.extend(Fragment::new(&head, body, slice.range, last && slice.last));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::{CodecParameters, nal},
        rtp::testing::{Sent, assert_marker_ends, assert_one_size, sent},
    };

    fn parameters() -> CodecParameters {
        CodecParameters::H265(H265Parameters {
            vps: vec![Bytes::from_static(&[0x40, 1, 0x0c])],
            sps: vec![Bytes::from_static(&[0x42, 1, 1])],
            pps: vec![Bytes::from_static(&[0x44, 1, 0xc0])],
            ..H265Parameters::default()
        })
    }

    /// RFC 7798 §4.4.1 and §4.4.3 read backwards; runs of fragments must be of one size.
    fn reassemble(packets: &[Sent]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        let mut run = Vec::new();
        for packet in packets {
            if packet.payload[0] >> 1 & 0x3f != FU {
                units.push(packet.payload.clone());
                continue;
            }
            let [first, second, fu, body @ ..] = &packet.payload[..] else { panic!("short fragment") };
            assert_ne!(fu & (START | END), START | END, "start and end together");
            if fu & START != 0 {
                units.push(vec![first & 0x81 | (fu & 0x3f) << 1, *second]);
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
    fn all_three_kinds_of_sets_head_a_random_access_point() {
        let packets = sent(&parameters(), &nal::join([&[0x2a, 1, 9][..]]), true);
        assert_marker_ends(&packets);
        assert_eq!(reassemble(&packets), [[0x40, 1, 0x0c], [0x42, 1, 1], [0x44, 1, 0xc0], [0x2a, 1, 9]]);
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(lens in proptest::collection::vec(3_usize..9000, 1..6), key: bool, header: [u8; 2]) {
            let header = [if header[0] >> 1 & 0x3f == FU { 0x02 } else { header[0] }, header[1]];
            let unit = |len: usize| header.into_iter().chain((2..len).map(|i| (i % 251) as u8)).collect();
            let units: Vec<Vec<u8>> = lens.into_iter().map(unit).collect();
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
