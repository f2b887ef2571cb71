//! What AV1 says of itself (AV1 bitstream specification): open bitstream units (§5.3), the sequence header (§5.5) and
//! key frames (§5.9.2). It decodes nothing.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{
    bits::{BitReader, BitstreamError},
    track::{Av1Parameters, PictureSize},
};

/// `obu_type` (§6.2.2).
#[expect(missing_docs, reason = "the names are the specification's")]
pub mod obu_type {
    pub const SEQUENCE_HEADER: u8 = 1;
    pub const TEMPORAL_DELIMITER: u8 = 2;
    pub const FRAME_HEADER: u8 = 3;
    pub const TILE_GROUP: u8 = 4;
    pub const METADATA: u8 = 5;
    pub const FRAME: u8 = 6;
    pub const REDUNDANT_FRAME_HEADER: u8 = 7;
    pub const TILE_LIST: u8 = 8;
    pub const PADDING: u8 = 15;
}

const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// The header of an OBU without its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObuHeader {
    first: u8,
    extension: Option<u8>,
}

impl ObuHeader {
    /// Reads the header at the start of some bytes; the bytes behind it, and whether they begin with a size.
    pub fn parse(bytes: &[u8]) -> Option<(Self, bool, &[u8])> {
        let (&first, mut rest) = bytes.split_first()?;
        // §6.2.2: obu_forbidden_bit
        if first & 0x80 != 0 {
            return None;
        }
        let mut extension = None;
        if first & HAS_EXTENSION != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (Some(byte), after);
        }
        Some((Self { first, extension }, first & HAS_SIZE != 0, rest))
    }

    /// `obu_type`.
    pub const fn kind(self) -> u8 {
        self.first >> 3 & 0xf
    }

    /// The header's one or two bytes with `obu_has_size_field` as wanted, and how many they are.
    pub const fn bytes(self, sized: bool) -> ([u8; 2], usize) {
        let first = self.first & !HAS_SIZE | if sized { HAS_SIZE } else { 0 };
        match self.extension {
            Some(extension) => ([first, extension], 2),
            None => ([first, 0], 1),
        }
    }
}

/// An OBU within a temporal unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obu {
    /// Its header.
    pub header: ObuHeader,
    /// All of it, header and size included.
    pub whole: Range<usize>,
    /// What follows header and size.
    pub body: Range<usize>,
}

/// Walks the OBUs of a temporal unit. One without a size reaches to the end; what does not hold together ends the walk.
pub fn obus(unit: &[u8]) -> impl Iterator<Item = Obu> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = unit.get(at..)?;
        let (header, sized, mut body) = ObuHeader::parse(rest)?;
        if sized {
            let (size, after) = read_leb128(body)?;
            body = after.get(..usize::try_from(size).ok()?)?;
        }
        let start = at + body.as_ptr().addr().wrapping_sub(rest.as_ptr().addr());
        let end = start + body.len();
        let obu = Obu { header, whole: at..end, body: start..end };
        at = end;
        Some(obu)
    })
}

/// `leb128()` (§4.10.5) and the bytes behind it; nothing when it does not end or exceeds 32 bits.
pub fn read_leb128(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

/// Appends a number as `leb128()` in as few bytes as it takes.
pub fn write_leb128(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.extend_from_slice(&[value as u8 | 0x80]);
        value >>= 7;
    }
    out.extend_from_slice(&[value as u8]);
}

/// Appends an OBU with a size field, whether or not it comes with one; nothing happens when it has no header.
pub fn push_sized(out: &mut BytesMut, obu: &[u8]) {
    let Some((header, sized, body)) = ObuHeader::parse(obu) else { return };
    if sized {
        out.extend_from_slice(obu);
        return;
    }
    let (bytes, len) = header.bytes(true);
    out.extend_from_slice(&bytes[..len]);
    write_leb128(out, u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(body);
}

/// Whether a decoder that knows the sequence header can start at this temporal unit: its first frame is a key frame
/// that is shown (§5.9.2, §7.6.1).
pub fn is_key_frame(unit: &[u8]) -> bool {
    let mut still = false;
    for obu in obus(unit) {
        let body = &unit[obu.body];
        match obu.header.kind() {
            obu_type::SEQUENCE_HEADER => {
                still = SequenceHeader::parse_body(body).is_ok_and(|header| header.reduced_still)
            }
            obu_type::FRAME | obu_type::FRAME_HEADER => {
                // show_existing_frame, frame_type (0 is KEY_FRAME), show_frame
                return still || matches!(body.first(), Some(first) if first >> 4 == 0b0001);
            }
            _ => {}
        }
    }
    false
}

/// What a sequence header says (§5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct SequenceHeader {
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    pub tier: u8,
    pub high_bitdepth: bool,
    pub twelve_bit: bool,
    pub bit_depth: u8,
    pub monochrome: bool,
    pub subsampling_x: bool,
    pub subsampling_y: bool,
    pub chroma_sample_position: u8,
    /// The largest size; frames may be smaller.
    pub size: PictureSize,
    /// Frames per second × 1000, when the timing says that pictures come at equal intervals.
    pub frame_rate_milli: Option<u32>,
    reduced_still: bool,
}

impl SequenceHeader {
    /// Reads a sequence header OBU, with or without a size field.
    pub fn parse(obu: &[u8]) -> Result<Self, BitstreamError> {
        let first = obus(obu).next().ok_or(BitstreamError::Truncated { at: 0 })?;
        if first.header.kind() != obu_type::SEQUENCE_HEADER {
            return Err(BitstreamError::Invalid { what: "obu_type", at: 8 });
        }
        Self::parse_body(&obu[first.body])
    }

    fn parse_body(body: &[u8]) -> Result<Self, BitstreamError> {
        let r = &mut BitReader::new(body);
        let mut header = Self { profile: r.bits(3)? as u8, ..Self::default() };
        r.skip(1)?; // still_picture
        header.reduced_still = r.flag()?;
        if header.reduced_still {
            header.level = r.bits(5)? as u8;
        } else {
            header.read_operating_points(r)?;
        }
        let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
        header.size = PictureSize { width: r.bits(width_bits)? + 1, height: r.bits(height_bits)? + 1 };
        if !header.reduced_still && r.flag()? {
            r.skip(4 + 3)?; // frame id lengths
        }
        r.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        if !header.reduced_still {
            skip_tools(r)?;
        }
        r.skip(3)?; // enable_superres, enable_cdef, enable_restoration
        header.read_color(r)?;
        Ok(header)
    }

    fn read_operating_points(&mut self, r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
        let mut delay_bits = None;
        if r.flag()? {
            // §5.5.3 timing_info
            let (units_in_tick, time_scale) = (r.bits(32)?, r.bits(32)?);
            if r.flag()? {
                let ticks = u64::from(r.ue()?) + 1; // uvlc() is ue(v)
                self.frame_rate_milli = super::h264::frame_rate_milli(time_scale, u64::from(units_in_tick) * ticks);
            }
            if r.flag()? {
                // §5.5.4 decoder_model_info
                delay_bits = Some(r.bits(5)? + 1);
                r.skip(32 + 5 + 5)?;
            }
        }
        let initial_delay = r.flag()?;
        for point in 0..=r.bits(5)? {
            r.skip(12)?; // operating_point_idc
            let level = r.bits(5)? as u8;
            let tier = if level > 7 { r.bits(1)? as u8 } else { 0 };
            if let Some(bits) = delay_bits
                && r.flag()?
            {
                r.skip(2 * bits as usize + 1)?;
            }
            if initial_delay && r.flag()? {
                r.skip(4)?;
            }
            if point == 0 {
                (self.level, self.tier) = (level, tier);
            }
        }
        Ok(())
    }

    /// §5.5.2.
    fn read_color(&mut self, r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
        // BT.709, sRGB, identity: RGB coded without a transform.
        const RGB: [u8; 3] = [1, 13, 0];
        const UNSPECIFIED: [u8; 3] = [2, 2, 2];
        self.high_bitdepth = r.flag()?;
        self.twelve_bit = self.profile == 2 && self.high_bitdepth && r.flag()?;
        self.bit_depth = match (self.twelve_bit, self.high_bitdepth) {
            (true, _) => 12,
            (false, true) => 10,
            (false, false) => 8,
        };
        self.monochrome = self.profile != 1 && r.flag()?;
        let color = if r.flag()? { [r.byte()?, r.byte()?, r.byte()?] } else { UNSPECIFIED };
        if self.monochrome {
            (self.subsampling_x, self.subsampling_y) = (true, true);
            return r.skip(1); // color_range
        }
        if color == RGB {
            return Ok(());
        }
        r.skip(1)?; // color_range
        (self.subsampling_x, self.subsampling_y) = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.twelve_bit => {
                let x = r.flag()?;
                (x, x && r.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_sample_position = r.bits(2)? as u8;
        }
        Ok(())
    }
}

/// The tools that a sequence of more than one picture has, up to `order_hint_bits_minus_1`.
fn skip_tools(r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    r.skip(4)?; // interintra, masked compound, warped motion, dual filter
    let order_hint = r.flag()?;
    if order_hint {
        r.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
    }
    let screen_content = r.flag()? || r.flag()?;
    if screen_content && !r.flag()? {
        r.skip(1)?; // seq_force_integer_mv
    }
    if order_hint {
        r.skip(3)?;
    }
    Ok(())
}

impl Av1Parameters {
    /// Parameters from a sequence header OBU, which is kept with a size field.
    pub fn parse(obu: &[u8]) -> Result<Self, BitstreamError> {
        let header = SequenceHeader::parse(obu)?;
        let mut sequence_header = BytesMut::with_capacity(obu.len() + 2);
        push_sized(&mut sequence_header, obu);
        Ok(Self {
            sequence_header: sequence_header.freeze(),
            profile: header.profile,
            level: header.level,
            tier: header.tier,
            bit_depth: header.bit_depth,
            size: Some(header.size),
        })
    }

    /// Parameters from the sequence header within a temporal unit, if it has one that can be read.
    pub fn of_unit(unit: &Bytes) -> Option<Self> {
        let found = obus(unit).find(|obu| obu.header.kind() == obu_type::SEQUENCE_HEADER)?;
        Self::parse(&unit[found.whole]).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    /// libaom, 320×240, realtime: delimiter, sequence header, the start of a key frame.
    const UNIT: &str = "1200 0a0b00000004 3cffbcdaf90040 3204100080a0";

    #[test]
    fn a_temporal_unit_comes_apart() {
        let unit = hex(UNIT);
        let found: Vec<_> = obus(&unit).map(|obu| (obu.header.kind(), obu.body.len())).collect();
        assert_eq!(found, [(2, 0), (1, 11), (6, 4)]);
        assert_eq!(obus(&unit[..8]).count(), 1, "what is cut off is not an OBU");
        assert_eq!(obus(&hex("30 10 00")).next().unwrap().body, 1..3, "without a size it reaches to the end");
    }

    #[test]
    fn a_sequence_header_is_read_with_and_without_its_size() {
        let unit = hex(UNIT);
        let parameters = Av1Parameters::of_unit(&Bytes::from(unit.clone())).unwrap();
        assert_eq!(parameters.size, Some(PictureSize { width: 320, height: 240 }));
        assert_eq!((parameters.profile, parameters.level, parameters.tier, parameters.bit_depth), (0, 0, 0, 8));
        assert_eq!(&parameters.sequence_header[..], &unit[2..15]);
        let bare = [&[0x08][..], &unit[4..15]].concat();
        assert_eq!(Av1Parameters::parse(&bare), Ok(parameters));
    }

    #[test]
    fn only_a_shown_key_frame_is_one() {
        assert!(is_key_frame(&hex(UNIT)));
        for (frame, key) in [("10", true), ("00", false), ("30", false), ("90", false)] {
            assert_eq!(is_key_frame(&hex(&format!("3201{frame}"))), key, "{frame}");
        }
        assert!(!is_key_frame(&[]) && !is_key_frame(&hex("0a0b0000")));
    }

    #[test]
    fn leb128_ends_or_is_none() {
        assert_eq!(read_leb128(&[0xe5, 0x8e, 0x26, 9]), Some((624_485, &[9][..])));
        assert_eq!(read_leb128(&[0x80; 9]), None);
        assert_eq!(read_leb128(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_leb128(&[]), None);
    }

    proptest! {
        #[test]
        fn numbers_pass_through_leb128(value: u32) {
            let mut out = BytesMut::new();
            write_leb128(&mut out, value);
            prop_assert_eq!(read_leb128(&out), Some((value, &[][..])));
        }

        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (obus(&bytes).count(), is_key_frame(&bytes));
            bytes.insert(0, obu_type::SEQUENCE_HEADER << 3);
            let _ = SequenceHeader::parse(&bytes);
            for obu in obus(&bytes) {
                prop_assert!(obu.whole.end <= bytes.len() && obu.body.start > obu.whole.start);
            }
        }
    }
}
