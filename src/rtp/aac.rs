//! AAC over RTP: the planner (RFC 3640, mode AAC-hbr: `sizeLength=13`, `indexLength=3`, `indexDeltaLength=3`).
//!
//! One access unit per packet; one that does not fit is cut (§3.1). `aac_assembler.rs` puts incoming
//! packets together, LATM has a file of its own.

use bytes::Bytes;

use super::slices;
use crate::media::{
    Fragment,
    plan::{Body, PAYLOAD_MAX},
};

/// AU-headers-length and one AU-header.
const HEAD: usize = 4;

/// What 13 bits can say (§3.3.6).
const MAX_UNIT: usize = (1 << 13) - 1;

/// Cuts an access unit. One of more than 8191 bytes has no AU-header, and yields nothing.
pub(super) fn plan(payload: &Bytes) -> Box<[Fragment]> {
    if payload.is_empty() || payload.len() > MAX_UNIT {
        return Box::default();
    }
    // §3.2.1: the headers' length in bits, then size and index. Fragments of a unit all bear the size of the whole
    // (§3.2.3.1).
    let header = (payload.len() as u16) << 3;
    let [high, low] = header.to_be_bytes();
    let cut = slices(0..payload.len(), PAYLOAD_MAX - HEAD, 0);
    // §3.1: the marker stands where a unit ends.
    cut.filter_map(|slice| Fragment::new(&[0, 16, high, low], Body::Payload, slice.range, slice.last)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::{CodecParameters, aac::AacConfig, track::AacParameters},
        rtp::testing::{assert_marker_ends, assert_one_size, sent},
    };

    fn parameters() -> CodecParameters {
        CodecParameters::Aac(AacParameters::from_config(&AacConfig::lc(48_000, 2)))
    }

    #[test]
    fn a_unit_is_headed_by_its_size_in_bits_shifted_over_the_index() {
        let packets = sent(&parameters(), &Bytes::from_static(&[1, 2, 3]), true);
        assert_eq!(packets.len(), 1);
        assert!(packets[0].marker);
        assert_eq!(packets[0].payload, [0, 16, 0, 24, 1, 2, 3]);
    }

    #[test]
    fn a_unit_that_no_header_can_name_is_left_out() {
        assert!(sent(&parameters(), &Bytes::from(vec![0; MAX_UNIT + 1]), false).is_empty());
        assert!(sent(&parameters(), &Bytes::new(), false).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(payload in proptest::collection::vec(any::<u8>(), 1..=MAX_UNIT)) {
            let packets = sent(&parameters(), &payload.clone().into(), false);
            assert_marker_ends(&packets);
            assert_one_size(&packets);
            let mut together = Vec::new();
            for packet in &packets {
                let (head, body) = packet.payload.split_at(HEAD);
                prop_assert_eq!(u16::from_be_bytes([head[0], head[1]]), 16);
                prop_assert_eq!(usize::from(u16::from_be_bytes([head[2], head[3]]) >> 3), payload.len());
                together.extend_from_slice(body);
            }
            prop_assert_eq!(together, payload);
        }
    }
}
