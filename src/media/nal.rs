//! NAL units of H.264 and H.265: walking them in the house's form, each preceded by its length in 4 bytes
//! (ISO 14496-15 §4.3.3 with `lengthSizeMinusOne` 3), and coming from and to start codes (H.264 and H.265 Annex B).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the length before each NAL unit of a payload.
pub const LENGTH_SIZE: usize = 4;

/// The ranges of the NAL units in a length-prefixed payload. Empty units are passed over; a length that points past
/// the end closes the walk.
#[derive(Clone, Debug)]
pub struct NalRanges<'a> {
    payload: &'a [u8],
    at: usize,
}

/// Walks the NAL units of a length-prefixed payload by their places.
pub const fn ranges(payload: &[u8]) -> NalRanges<'_> {
    NalRanges { payload, at: 0 }
}

/// Walks the NAL units of a length-prefixed payload.
pub fn units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    ranges(payload).filter_map(move |range| payload.get(range))
}

impl Iterator for NalRanges<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let rest = self.payload.get(self.at..)?;
            let (length, rest) = rest.split_first_chunk::<LENGTH_SIZE>()?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > rest.len() {
                self.at = self.payload.len();
                return None;
            }
            let start = self.at + LENGTH_SIZE;
            self.at = start + length;
            if length > 0 {
                return Some(start..self.at);
            }
        }
    }
}

/// Appends one NAL unit with its length. A unit of 4 GiB or more does not exist here: sources bound their units.
pub fn push(out: &mut BytesMut, unit: &[u8]) {
    out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
    out.put_slice(unit);
}

/// Writes NAL units as a length-prefixed payload.
pub fn join<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::new();
    for unit in units {
        push(&mut out, unit);
    }
    out.freeze()
}

/// The NAL units of a byte stream with start codes of 3 or 4 bytes (Annex B §B.1.1). What stands before the first
/// start code is not a unit; zeros at the end of a unit are padding.
pub fn annex_b_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream).unwrap_or_default();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (end, next) = match find_start_code(rest) {
                Some(at) => (at, at + 3),
                None => (rest.len(), rest.len()),
            };
            let unit = trim_zeros(&rest[..end]);
            rest = &rest[next..];
            if !unit.is_empty() {
                return Some(unit);
            }
        }
        None
    })
}

/// A length-prefixed payload as a byte stream with start codes, for decoders.
pub fn to_annex_b(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    for unit in units(payload) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
    }
    out
}

/// A byte stream with start codes as a length-prefixed payload.
pub fn from_annex_b(stream: &[u8]) -> Bytes {
    join(annex_b_units(stream))
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    stream.get(find_start_code(stream)? + 3..)
}

/// Whether a start code stands within what should be one NAL unit, where emulation prevention forbids it: some cameras
/// put a whole byte stream into one packet.
pub fn holds_start_code(unit: &[u8]) -> bool {
    find_start_code(unit).is_some()
}

/// Every byte of every unit passes here: `memmem` compares 32 at a time.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, &[0, 0, 1])
}

/// A NAL unit without the zeros that padding left behind it; its own last byte is never zero (H.264 §7.4.1).
pub fn trim_zeros(mut unit: &[u8]) -> &[u8] {
    while let [head @ .., 0] = unit {
        unit = head;
    }
    unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_walked_up_to_a_length_that_lies() {
        let payload = [0, 0, 0, 2, 0x65, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x41, 0, 0, 0, 9, 1];
        assert_eq!(units(&payload).collect::<Vec<_>>(), [&[0x65, 1][..], &[0x41]]);
        assert_eq!(ranges(&payload).collect::<Vec<_>>(), [4..6, 14..15]);
    }

    #[test]
    fn start_codes_of_both_lengths_part_units() {
        let stream = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 3, 0, 0];
        assert_eq!(annex_b_units(&stream).collect::<Vec<_>>(), [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(annex_b_units(&[1, 2, 3]).count(), 0);
    }

    proptest! {
        #[test]
        fn a_start_code_is_found_wherever_it_stands(bytes in proptest::collection::vec(0_u8..3, 0..40)) {
            prop_assert_eq!(find_start_code(&bytes), bytes.windows(3).position(|window| window == [0, 0, 1]));
        }

        #[test]
        fn arbitrary_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(0_u8..3, 0..200)) {
            let _ = units(&bytes).count();
            prop_assert_eq!(from_annex_b(&to_annex_b(&bytes)), from_annex_b(&to_annex_b(&from_annex_b(&to_annex_b(&bytes)))));
        }

        #[test]
        fn what_was_joined_comes_apart_again(units_in in proptest::collection::vec(proptest::collection::vec(1_u8.., 1..9), 0..9)) {
            let payload = join(units_in.iter().map(Vec::as_slice));
            prop_assert_eq!(units(&payload).collect::<Vec<_>>(), units_in.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(from_annex_b(&to_annex_b(&payload)), payload);
        }
    }
}
