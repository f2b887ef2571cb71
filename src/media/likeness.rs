//! Whether two pictures are the same, without decoding them.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Codec, h264, h265, nal};

/// A digest of what is picture in a payload. What stands beside it may differ although the picture does not: many cameras
/// write the time of day into supplemental enhancement information.
pub fn likeness(codec: Codec, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let take = |part: &[u8]| part.hash(&mut hasher);
    match codec {
        // H.264 Table 7-1: slices and their partitions.
        Codec::H264 => nal::units(payload).filter(|unit| matches!(h264::unit_type(unit), 1..=5)).for_each(take),
        // H.265 Table 7-1: VCL units.
        Codec::H265 => nal::units(payload).filter(|unit| h265::unit_type(unit) < 32).for_each(take),
        _ => [payload].into_iter().for_each(take),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_the_same_whatever_is_written_beside_them() {
        let of = |codec, units: &[&[u8]]| likeness(codec, &nal::join(units.iter().copied()));
        let (idr, other) = (&[0x65, 0x88, 0x84][..], &[0x65, 0x88, 0x85][..]);
        let stamped = |second: u8, slice: &[u8]| of(Codec::H264, &[&[0x06, 0x05, second], slice]);
        assert_eq!(stamped(1, idr), stamped(2, idr));
        assert_ne!(stamped(1, idr), stamped(1, other));
        assert_ne!(stamped(1, idr), of(Codec::H264, &[idr, idr]), "two slices");
        let (idr, cra) = (&[0x26, 0x01, 0xaf][..], &[0x2a, 0x01, 0xaf][..]);
        let stamped =
            |second: u8, slice: &[u8]| of(Codec::H265, &[&[0x4e, 0x01, second], slice, &[0x50, 0x01, second]]);
        assert_eq!(stamped(1, idr), stamped(2, idr));
        assert_ne!(stamped(1, idr), stamped(1, cra));
        assert_ne!(likeness(Codec::Jpeg, b"a"), likeness(Codec::Jpeg, b"b"));
    }
}
