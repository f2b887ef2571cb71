//! What H.264 says of itself (ITU-T H.264): sequence parameter sets (§7.3.2.1, annex E), NAL unit types (§7.4.1),
//! random access (§8.2.1, recovery point D.2.8) and slice types (§7.3.3). It decodes nothing.

use bytes::Bytes;

use super::{
    bits::{BitReader, BitstreamError, unescape},
    nal,
    track::{H264Parameters, PictureSize},
};

/// `nal_unit_type` (table 7-1) of the units that something here looks at.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod nal_type {
    pub const SLICE: u8 = 1;
    pub const PARTITION_A: u8 = 2;
    pub const IDR_SLICE: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const DELIMITER: u8 = 9;
    pub const END_OF_SEQUENCE: u8 = 10;
    pub const END_OF_STREAM: u8 = 11;
    pub const FILLER: u8 = 12;
}

/// The type of a NAL unit; 0, which no unit may have, when there is none.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1f)
}

/// The parts of a sequence parameter set that something here needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct Sps {
    pub profile_idc: u8,
    pub constraint_flags: u8,
    pub level_idc: u8,
    pub id: u8,
    pub chroma_format_idc: u8,
    pub bit_depth_luma: u8,
    pub bit_depth_chroma: u8,
    pub frame_mbs_only: bool,
    /// Size after cropping.
    pub size: PictureSize,
    /// Frames per second × 1000, from the VUI.
    pub frame_rate_milli: Option<u32>,
    /// How many frames may stand before one in decoding order and after it in output order, if anything tells.
    pub reorder_depth: Option<u8>,
}

/// A decoded picture buffer holds 16 frames at most (§A.3.1), so that none can wait for more.
const MAX_REORDER: u32 = 16;

/// Macroblocks per side that a picture may have; levels end far below (table A-1).
const MAX_MACROBLOCKS: u32 = 4096;

impl Sps {
    /// Reads the NAL unit of a sequence parameter set, header included.
    pub fn parse(unit: &[u8]) -> Result<Self, BitstreamError> {
        if unit_type(unit) != nal_type::SPS {
            return Err(BitstreamError::Invalid { what: "nal_unit_type", at: 8 });
        }
        let payload = unescape(&unit[1..], usize::MAX);
        let r = &mut BitReader::new(&payload);
        let (profile_idc, constraint_flags, level_idc) = (r.byte()?, r.byte()?, r.byte()?);
        let id = r.ue_up_to(31, "seq_parameter_set_id")? as u8;
        let mut format = Format { chroma_format_idc: 1, separate_planes: false, luma: 8, chroma: 8 };
        if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            format = Format::parse(r)?;
        }
        r.ue_up_to(12, "log2_max_frame_num_minus4")?;
        let order_type = r.ue_up_to(2, "pic_order_cnt_type")?;
        skip_order(r, order_type)?;
        r.ue()?; // max_num_ref_frames
        r.flag()?; // gaps_in_frame_num_value_allowed_flag
        let columns = r.ue_up_to(MAX_MACROBLOCKS - 1, "pic_width_in_mbs_minus1")? + 1;
        let rows = r.ue_up_to(MAX_MACROBLOCKS - 1, "pic_height_in_map_units_minus1")? + 1;
        let frame_mbs_only = r.flag()?;
        if !frame_mbs_only {
            r.flag()?; // mb_adaptive_frame_field_flag
        }
        r.flag()?; // direct_8x8_inference_flag
        let crop = if r.flag()? { [r.ue()?, r.ue()?, r.ue()?, r.ue()?] } else { [0; 4] };
        let size = format.cropped(columns, rows, frame_mbs_only, crop).ok_or_else(|| r.invalid("frame_crop"))?;
        // Reolink and others write VUIs that do not hold together: what was read before the break is kept.
        let mut vui = Vui::default();
        if let Ok(true) = r.flag() {
            let _ = vui.read(r);
        }
        let implied = implied_reorder_depth(profile_idc, constraint_flags, order_type);
        Ok(Self {
            profile_idc,
            constraint_flags,
            level_idc,
            id,
            chroma_format_idc: format.chroma_format_idc,
            bit_depth_luma: format.luma,
            bit_depth_chroma: format.chroma,
            frame_mbs_only,
            size,
            frame_rate_milli: vui.frame_rate_milli,
            reorder_depth: vui.reorder_depth.or(implied),
        })
    }
}

struct Format {
    chroma_format_idc: u8,
    separate_planes: bool,
    luma: u8,
    chroma: u8,
}

impl Format {
    fn parse(r: &mut BitReader<'_>) -> Result<Self, BitstreamError> {
        let chroma_format_idc = r.ue_up_to(3, "chroma_format_idc")? as u8;
        let separate_planes = chroma_format_idc == 3 && r.flag()?;
        let luma = 8 + r.ue_up_to(6, "bit_depth_luma_minus8")? as u8;
        let chroma = 8 + r.ue_up_to(6, "bit_depth_chroma_minus8")? as u8;
        r.flag()?; // qpprime_y_zero_transform_bypass_flag
        if r.flag()? {
            for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
                if r.flag()? {
                    skip_scaling_list(r, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(Self { chroma_format_idc, separate_planes, luma, chroma })
    }

    /// §7.4.2.1.1, equations 7-19 to 7-22: cropping counts in chroma samples, and in field lines unless all is frames.
    fn cropped(
        &self,
        columns: u32,
        rows: u32,
        frames: bool,
        [left, right, top, bottom]: [u32; 4],
    ) -> Option<PictureSize> {
        let lines = if frames { 1 } else { 2 };
        let (x, y) = match self.chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            // Monochrome, 4:4:4 and separately coded planes crop by the sample.
            _ => (1, 1),
        };
        let (x, y) = if self.separate_planes { (1, 1) } else { (x, y) };
        let crop = |whole: u32, a: u32, b: u32, unit: u32| whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?);
        let width = crop(columns * 16, left, right, x)?;
        let height = crop(rows * 16 * lines, top, bottom, y * lines)?;
        (width > 0 && height > 0).then_some(PictureSize { width, height })
    }
}

/// §7.3.2.1.1.1.
fn skip_scaling_list(r: &mut BitReader<'_>, size: usize) -> Result<(), BitstreamError> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(r.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn skip_order(r: &mut BitReader<'_>, order_type: u32) -> Result<(), BitstreamError> {
    match order_type {
        0 => {
            r.ue_up_to(12, "log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            r.flag()?; // delta_pic_order_always_zero_flag
            r.se()?; // offset_for_non_ref_pic
            r.se()?; // offset_for_top_to_bottom_field
            for _ in 0..r.ue_up_to(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                r.se()?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What the profile tells of reordering when no VUI does.
const fn implied_reorder_depth(profile_idc: u8, constraint_flags: u8, order_type: u32) -> Option<u8> {
    let constraint_set3 = constraint_flags & 0x10 != 0;
    match profile_idc {
        // §7.4.2.1.1: order type 2 means that output order is decoding order.
        _ if order_type == 2 => Some(0),
        // §A.2.1: Baseline has no B slices.
        66 => Some(0),
        // §E.2.1: the intra profiles.
        44 | 86 | 100 | 110 | 122 | 244 if constraint_set3 => Some(0),
        _ => None,
    }
}

#[derive(Default)]
struct Vui {
    frame_rate_milli: Option<u32>,
    reorder_depth: Option<u8>,
}

impl Vui {
    /// §E.1.1.
    fn read(&mut self, r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
        const EXTENDED_SAR: u8 = 255;
        if r.flag()? && r.byte()? == EXTENDED_SAR {
            r.skip(32)?;
        }
        if r.flag()? {
            r.skip(1)?; // overscan_appropriate_flag
        }
        if r.flag()? {
            r.skip(4)?; // video_format, video_full_range_flag
            if r.flag()? {
                r.skip(24)?; // colour_primaries, transfer_characteristics, matrix_coefficients
            }
        }
        if r.flag()? {
            r.ue()?;
            r.ue()?; // chroma_sample_loc_type_*
        }
        if r.flag()? {
            let (units_in_tick, time_scale) = (r.bits(32)?, r.bits(32)?);
            r.skip(1)?; // fixed_frame_rate_flag
            // A tick is a field's time (§E.2.1).
            self.frame_rate_milli = frame_rate_milli(time_scale, u64::from(units_in_tick) * 2);
        }
        let mut has_hrd = false;
        for _nal_then_vcl in 0..2 {
            if r.flag()? {
                has_hrd = true;
                skip_hrd(r)?;
            }
        }
        if has_hrd {
            r.skip(1)?; // low_delay_hrd_flag
        }
        r.skip(1)?; // pic_struct_present_flag
        if r.flag()? {
            r.skip(1)?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                r.ue()?;
            }
            self.reorder_depth = Some(r.ue_up_to(MAX_REORDER, "max_num_reorder_frames")? as u8);
        }
        Ok(())
    }
}

/// §E.1.2.
fn skip_hrd(r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let count = r.ue_up_to(31, "cpb_cnt_minus1")? + 1;
    r.skip(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..count {
        r.ue()?;
        r.ue()?;
        r.skip(1)?;
    }
    r.skip(20)
}

/// `time_scale / units` in thousandths, if it is a rate that pictures have.
pub(super) fn frame_rate_milli(time_scale: u32, units: u64) -> Option<u32> {
    let rate = (u64::from(time_scale) * 1000).checked_div(units)?;
    u32::try_from(rate).ok().filter(|rate| (1..=1_000_000).contains(rate))
}

impl H264Parameters {
    /// Parameters from the NAL units of the parameter sets.
    ///
    /// # Errors
    /// When there is no sequence parameter set or the first cannot be read. The sets may still be worth passing on.
    pub fn parse(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, BitstreamError> {
        let first = Sps::parse(sps.first().map_or(&[], |unit| &unit[..]))?;
        Ok(Self {
            size: Some(first.size),
            frame_rate_milli: first.frame_rate_milli,
            reorder_depth: first.reorder_depth,
            sps,
            pps,
        })
    }

    /// `profile_idc`, constraint flags and `level_idc`: SDP's `profile-level-id` (RFC 6184 §8.1) and the tail of
    /// `avc1.…`.
    pub fn profile_level_id(&self) -> Option<[u8; 3]> {
        self.sps.first()?.get(1..4)?.try_into().ok()
    }
}

/// How a decoder may start at an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomAccess {
    /// An IDR picture: nothing after it refers to anything before it.
    Idr,
    /// A recovery point (§D.2.8): pictures are right after this many more frames. Zero is an I picture in an open GOP,
    /// more than zero is gradual refresh.
    RecoveryPoint {
        /// `recovery_frame_cnt`.
        frames: u32,
    },
}

/// Whether a decoder can start at this access unit of length-prefixed NAL units, and how.
pub fn random_access(payload: &[u8]) -> Option<RandomAccess> {
    let mut found = None;
    for unit in nal::units(payload) {
        match unit_type(unit) {
            nal_type::IDR_SLICE => return Some(RandomAccess::Idr),
            nal_type::SEI if found.is_none() => {
                found = recovery_point(unit).map(|frames| RandomAccess::RecoveryPoint { frames });
            }
            // SEI stands before the first slice (§7.4.1.2.3): nothing after it can change the answer.
            nal_type::SLICE | nal_type::PARTITION_A => break,
            _ => {}
        }
    }
    found
}

/// `recovery_frame_cnt` of the recovery point in an SEI unit (§7.3.2.3.1, §D.1.8).
fn recovery_point(unit: &[u8]) -> Option<u32> {
    const RECOVERY_POINT: usize = 6;
    // Whoever writes longer messages before a recovery point than this does so to be looked at.
    const MOST: usize = 4096;
    let payload = unescape(unit.get(1..)?, MOST);
    let mut rest = &payload[..];
    loop {
        let kind = take_ff_coded(&mut rest)?;
        let size = take_ff_coded(&mut rest)?;
        if kind == RECOVERY_POINT {
            return BitReader::new(rest.get(..size).unwrap_or(rest)).ue().ok();
        }
        rest = rest.get(size..)?;
    }
}

/// A number as SEI headers code it: a run of 255s and a last byte. Shared with H.265.
fn take_ff_coded(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value += usize::from(byte);
        if byte != 0xff {
            return Some(value);
        }
    }
}

/// `slice_type` (table 7-6) without telling apart the types from 5 up, which only promise more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SliceType {
    P,
    B,
    I,
    Sp,
    Si,
}

/// The type of a coded slice, or nothing if the unit is none.
pub fn slice_type(unit: &[u8]) -> Option<SliceType> {
    if !matches!(unit_type(unit), nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR_SLICE) {
        return None;
    }
    // Two codes of 63 bits at most, with what they may be escaped by.
    let payload = unescape(&unit[1..], 32);
    let r = &mut BitReader::new(&payload);
    r.ue().ok()?; // first_mb_in_slice
    Some(match r.ue().ok()? {
        0 | 5 => SliceType::P,
        1 | 6 => SliceType::B,
        2 | 7 => SliceType::I,
        3 | 8 => SliceType::Sp,
        4 | 9 => SliceType::Si,
        _ => return None,
    })
}

/// Whether an access unit has slices and all of them are intra coded. Such a picture is not yet a random access point:
/// what follows may refer to what was before.
pub fn is_intra(payload: &[u8]) -> bool {
    let mut types = nal::units(payload).filter_map(slice_type).peekable();
    types.peek().is_some() && types.all(|kind| matches!(kind, SliceType::I | SliceType::Si))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    #[test]
    fn sequence_parameter_sets_of_real_encoders_are_read() {
        // (unit, width, height, frame rate, reorder depth): x264 main 1080p CBR with HRD and B-pyramid, baseline
        // cropped to odd macroblocks at 29.97, high interlaced with scaling matrices, high 4:4:4 with B-frames.
        for (unit, width, height, rate, depth) in [
            ("674d4028eca03c0113f2e02200000300020000030064c4c001e848003d09c98600f1831960", 1920, 1080, 25_000, 2),
            ("6742c01ed900a02fea6c04400000fa40003a9803c58b92", 638, 358, 29_970, 0),
            ("6764001eacd940b424d8088000000300800000190f8a14cb", 720, 576, 25_000, 2),
            ("67f4000d919b28283f6022000003000200000300641e28532c", 320, 240, 25_000, 2),
            ("6764000dacb40a0fd808800000030080000019078a1550", 320, 240, 25_000, 0),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!(sps.size, PictureSize { width, height }, "{unit}");
            assert_eq!((sps.frame_rate_milli, sps.reorder_depth), (Some(rate), Some(depth)), "{unit}");
        }
    }

    #[test]
    fn profile_and_level_stand_as_sdp_wants_them() {
        let sps = Bytes::from(hex("6742c01ed900a02fea6c04400000fa40003a9803c58b92"));
        let parameters = H264Parameters::parse(vec![sps], vec![]).unwrap();
        assert_eq!(parameters.profile_level_id(), Some([0x42, 0xc0, 0x1e]));
    }

    #[test]
    fn a_vui_that_breaks_off_does_not_cost_the_size() {
        let whole = hex("674d4028eca03c0113f2e02200000300020000030064c4c001e848003d09c98600f1831960");
        let sps = Sps::parse(&whole[..14]).unwrap();
        assert_eq!(sps.size, PictureSize { width: 1920, height: 1080 });
        assert_eq!((sps.frame_rate_milli, sps.reorder_depth), (None, None));
    }

    #[test]
    fn random_access_is_idr_or_a_recovery_point() {
        let (user_data, open_gop, refresh) = (hex("0605020102 80"), hex("060601c480"), hex("060602151080"));
        let slice = hex("419a236c467f");
        for (units, expected) in [
            (vec![&user_data, &hex("658884")], Some(RandomAccess::Idr)),
            (vec![&open_gop, &slice], Some(RandomAccess::RecoveryPoint { frames: 0 })),
            (vec![&user_data, &refresh, &slice], Some(RandomAccess::RecoveryPoint { frames: 9 })),
            (vec![&user_data, &slice], None),
            (vec![&slice, &open_gop], None),
        ] {
            assert_eq!(random_access(&nal::join(units.iter().map(|unit| &unit[..]))), expected);
        }
    }

    #[test]
    fn slices_tell_their_type() {
        let types = ["658884017f9e", "419a236c467f", "019e626a42df", "67640010"].map(|unit| slice_type(&hex(unit)));
        assert_eq!(types, [Some(SliceType::I), Some(SliceType::P), Some(SliceType::B), None]);
        assert!(is_intra(&nal::join([&hex("0605020102 80")[..], &hex("658884017f9e")])));
        assert!(!is_intra(&nal::join([&hex("658884017f9e")[..], &hex("419a236c467f")])));
        assert!(!is_intra(&[]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(mut unit in proptest::collection::vec(any::<u8>(), 1..80), kind in 0_u8..32) {
            unit[0] = kind;
            let _ = (Sps::parse(&unit), slice_type(&unit), recovery_point(&unit));
            unit[0] = nal_type::SPS;
            unit[1..].iter_mut().take(1).for_each(|profile| *profile = 100);
            let _ = Sps::parse(&unit);
            let _ = (random_access(&unit), is_intra(&unit));
        }

        #[test]
        fn a_set_with_flipped_bits_is_read_without_a_panic(bit in 8_usize..288, more in 8_usize..288) {
            let mut unit = hex("674d4028eca03c0113f2e02200000300020000030064c4c001e848003d09c98600f1831960");
            for bit in [bit, more] {
                unit[bit / 8] ^= 1 << (bit % 8);
            }
            if let Ok(sps) = Sps::parse(&unit) {
                prop_assert!(sps.size.width > 0 && sps.size.height > 0);
            }
        }
    }
}
