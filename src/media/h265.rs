//! What H.265 says of itself (ITU-T H.265): video and sequence parameter sets (§7.3.2.1, §7.3.2.2, annex E), profile,
//! tier and level (§7.3.3), NAL unit types (§7.4.2.2), random access and leading pictures. It decodes nothing.

use bytes::Bytes;

use super::{
    bits::{BitReader, BitstreamError, unescape},
    h264::frame_rate_milli,
    nal,
    track::{H265Parameters, PictureSize},
};

/// `nal_unit_type` (table 7-1) of the units that something here looks at.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod nal_type {
    pub const RADL_N: u8 = 6;
    pub const RADL_R: u8 = 7;
    pub const RASL_N: u8 = 8;
    pub const RASL_R: u8 = 9;
    pub const BLA_W_LP: u8 = 16;
    pub const BLA_N_LP: u8 = 18;
    pub const IDR_W_RADL: u8 = 19;
    pub const IDR_N_LP: u8 = 20;
    pub const CRA: u8 = 21;
    pub const IRAP_LAST: u8 = 23;
    pub const SLICE_LAST: u8 = 31;
    pub const VPS: u8 = 32;
    pub const SPS: u8 = 33;
    pub const PPS: u8 = 34;
    pub const DELIMITER: u8 = 35;
    pub const END_OF_SEQUENCE: u8 = 36;
    pub const END_OF_BITSTREAM: u8 = 37;
    pub const FILLER: u8 = 38;
    pub const SEI_PREFIX: u8 = 39;
    pub const SEI_SUFFIX: u8 = 40;
}

/// The type of a NAL unit; 63, which means nothing, when there is none.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(63, |header| header >> 1 & 0x3f)
}

/// What a picture is to a decoder that starts, in the order of what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// IDR: nothing after it refers to anything before it.
    Idr,
    /// Clean random access: its RASL pictures cannot be decoded when a decoder starts here.
    Cra,
    /// Broken link access: its RASL pictures cannot be decoded at all.
    Bla,
    /// A random access picture of a type not yet given out (22, 23).
    ReservedRandomAccess,
    /// Random access decodable leading: shown before the random access picture it follows, and refers to no more.
    Radl,
    /// Random access skipped leading: not decodable if the decoder started at the random access picture before it.
    Rasl,
    /// Any other.
    Trailing,
}

impl Picture {
    /// What a coded slice belongs to; nothing if the unit is none.
    pub fn of_unit(unit: &[u8]) -> Option<Self> {
        Some(match unit_type(unit) {
            nal_type::IDR_W_RADL | nal_type::IDR_N_LP => Self::Idr,
            nal_type::CRA => Self::Cra,
            nal_type::BLA_W_LP..=nal_type::BLA_N_LP => Self::Bla,
            22..=nal_type::IRAP_LAST => Self::ReservedRandomAccess,
            nal_type::RADL_N | nal_type::RADL_R => Self::Radl,
            nal_type::RASL_N | nal_type::RASL_R => Self::Rasl,
            0..=nal_type::SLICE_LAST => Self::Trailing,
            _ => return None,
        })
    }

    /// What an access unit of length-prefixed NAL units is, by its first slice.
    pub fn of(payload: &[u8]) -> Option<Self> {
        nal::units(payload).find_map(Self::of_unit)
    }

    /// Whether a decoder can start here: every type from 16 to 23, not only IDR.
    pub const fn is_random_access(self) -> bool {
        matches!(self, Self::Idr | Self::Cra | Self::Bla | Self::ReservedRandomAccess)
    }

    /// Whether it is shown before the random access picture that it follows.
    pub const fn is_leading(self) -> bool {
        matches!(self, Self::Radl | Self::Rasl)
    }
}

/// Whether a decoder can start at this access unit of length-prefixed NAL units.
pub fn random_access(payload: &[u8]) -> bool {
    Picture::of(payload).is_some_and(Picture::is_random_access)
}

/// `profile_tier_level()`, its general part: what `hvcC` and the codec string repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct ProfileTierLevel {
    pub profile_space: u8,
    pub high_tier: bool,
    pub profile_idc: u8,
    pub compatibility_flags: u32,
    pub constraint_flags: [u8; 6],
    pub level_idc: u8,
}

impl ProfileTierLevel {
    /// §7.3.3, with the sub-layers passed over.
    fn parse(r: &mut BitReader<'_>, sub_layers_minus1: u32) -> Result<Self, BitstreamError> {
        let profile_space = r.bits(2)? as u8;
        let high_tier = r.flag()?;
        let profile_idc = r.bits(5)? as u8;
        let compatibility_flags = r.bits(32)?;
        let mut constraint_flags = [0; 6];
        for byte in &mut constraint_flags {
            *byte = r.byte()?;
        }
        let level_idc = r.byte()?;
        let mut present = [(false, false); 8];
        for layer in present.iter_mut().take(sub_layers_minus1 as usize) {
            *layer = (r.flag()?, r.flag()?);
        }
        if sub_layers_minus1 > 0 {
            r.skip(2 * (8 - sub_layers_minus1 as usize))?; // reserved_zero_2bits
        }
        for (profile, level) in present {
            r.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        Ok(Self { profile_space, high_tier, profile_idc, compatibility_flags, constraint_flags, level_idc })
    }
}

/// The parts of a sequence parameter set that something here needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct Sps {
    pub max_sub_layers: u8,
    pub temporal_id_nesting: bool,
    pub profile: ProfileTierLevel,
    pub id: u8,
    pub chroma_format_idc: u8,
    pub bit_depth_luma: u8,
    pub bit_depth_chroma: u8,
    /// Size after the conformance window.
    pub size: PictureSize,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    pub reorder_depth: u8,
    /// Frames per second × 1000, from the VUI.
    pub frame_rate_milli: Option<u32>,
}

/// §A.4.1: level 6.2 ends at 16 888 samples a side.
const MAX_SIDE: u32 = 65_535;

impl Sps {
    /// Reads the NAL unit of a sequence parameter set, header included.
    pub fn parse(unit: &[u8]) -> Result<Self, BitstreamError> {
        if unit_type(unit) != nal_type::SPS {
            return Err(BitstreamError::Invalid { what: "nal_unit_type", at: 8 });
        }
        let payload = unescape(unit.get(2..).unwrap_or_default(), usize::MAX);
        let r = &mut BitReader::new(&payload);
        r.skip(4)?; // sps_video_parameter_set_id
        let sub_layers_minus1 = r.bits(3)?.min(6);
        let temporal_id_nesting = r.flag()?;
        let profile = ProfileTierLevel::parse(r, sub_layers_minus1)?;
        let id = r.ue_up_to(15, "sps_seq_parameter_set_id")? as u8;
        let chroma_format_idc = r.ue_up_to(3, "chroma_format_idc")? as u8;
        let separate_planes = chroma_format_idc == 3 && r.flag()?;
        let width = r.ue_up_to(MAX_SIDE, "pic_width_in_luma_samples")?;
        let height = r.ue_up_to(MAX_SIDE, "pic_height_in_luma_samples")?;
        let window = if r.flag()? { [r.ue()?, r.ue()?, r.ue()?, r.ue()?] } else { [0; 4] };
        // Table 6-1: cropping counts in chroma samples.
        let unit = match chroma_format_idc {
            1 => (2, 2),
            2 if !separate_planes => (2, 1),
            _ => (1, 1),
        };
        let size = cropped((width, height), window, unit).ok_or_else(|| r.invalid("conf_win_offset"))?;
        let bit_depth_luma = 8 + r.ue_up_to(8, "bit_depth_luma_minus8")? as u8;
        let bit_depth_chroma = 8 + r.ue_up_to(8, "bit_depth_chroma_minus8")? as u8;
        let order_bits = 4 + r.ue_up_to(12, "log2_max_pic_order_cnt_lsb_minus4")?;
        let reorder_depth = read_sub_layer_ordering(r, sub_layers_minus1)?;
        // A set that does not hold together behind this point still has what matters.
        let frame_rate_milli = read_frame_rate(r, order_bits).unwrap_or(None);
        Ok(Self {
            max_sub_layers: sub_layers_minus1 as u8 + 1,
            temporal_id_nesting,
            profile,
            id,
            chroma_format_idc,
            bit_depth_luma,
            bit_depth_chroma,
            size,
            reorder_depth,
            frame_rate_milli,
        })
    }
}

fn cropped(
    (width, height): (u32, u32),
    [left, right, top, bottom]: [u32; 4],
    (x, y): (u32, u32),
) -> Option<PictureSize> {
    let crop = |whole: u32, a: u32, b: u32, unit: u32| whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?);
    let (width, height) = (crop(width, left, right, x)?, crop(height, top, bottom, y)?);
    (width > 0 && height > 0).then_some(PictureSize { width, height })
}

/// The three numbers per sub-layer that both sets carry; the reorder depth of the highest.
fn read_sub_layer_ordering(r: &mut BitReader<'_>, sub_layers_minus1: u32) -> Result<u8, BitstreamError> {
    // §A.4.2: a decoded picture buffer holds 16 pictures.
    const MAX_REORDER: u32 = 16;
    let mut depth = 0;
    for _ in 0..=if r.flag()? { sub_layers_minus1 } else { 0 } {
        r.ue()?; // max_dec_pic_buffering_minus1
        depth = r.ue_up_to(MAX_REORDER, "max_num_reorder_pics")?;
        r.ue()?; // max_latency_increase_plus1
    }
    Ok(depth as u8)
}

/// The rest of a sequence parameter set up to the timing in its VUI.
fn read_frame_rate(r: &mut BitReader<'_>, order_bits: u32) -> Result<Option<u32>, BitstreamError> {
    for _ in 0..6 {
        r.ue()?; // log2 sizes of coding and transform blocks, transform hierarchy depths
    }
    if r.flag()? && r.flag()? {
        skip_scaling_lists(r)?;
    }
    r.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if r.flag()? {
        r.skip(8)?; // pcm bit depths
        r.ue()?;
        r.ue()?;
        r.skip(1)?; // pcm_loop_filter_disabled_flag
    }
    skip_short_term_sets(r)?;
    if r.flag()? {
        for _ in 0..r.ue_up_to(32, "num_long_term_ref_pics_sps")? {
            r.skip(order_bits as usize + 1)?;
        }
    }
    r.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if r.flag()? { read_vui_frame_rate(r) } else { Ok(None) }
}

/// §7.3.4.
fn skip_scaling_lists(r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag()? {
                r.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size > 1 {
                r.se()?; // scaling_list_dc_coef_minus8
            }
            for _ in 0..(1 << (4 + (size << 1))).min(64) {
                r.se()?;
            }
        }
    }
    Ok(())
}

/// §7.3.7: the number of pictures in a set predicted from another follows from that other, so that all are counted.
fn skip_short_term_sets(r: &mut BitReader<'_>) -> Result<(), BitstreamError> {
    let sets = r.ue_up_to(64, "num_short_term_ref_pic_sets")?;
    let mut pictures = 0_u32;
    for set in 0..sets {
        if set > 0 && r.flag()? {
            r.skip(1)?; // delta_rps_sign
            r.ue()?; // abs_delta_rps_minus1
            let mut kept = 0;
            for _ in 0..=pictures {
                // used_by_curr_pic_flag, and use_delta_flag where that is not set
                if r.flag()? || r.flag()? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            // Both are bounded by the decoded picture buffer's 16 (§7.4.8).
            let negative = r.ue_up_to(16, "num_negative_pics")?;
            pictures = negative + r.ue_up_to(16, "num_positive_pics")?;
            for _ in 0..pictures {
                r.ue()?;
                r.skip(1)?;
            }
        }
    }
    Ok(())
}

/// §E.2.1, up to the timing.
fn read_vui_frame_rate(r: &mut BitReader<'_>) -> Result<Option<u32>, BitstreamError> {
    const EXTENDED_SAR: u8 = 255;
    if r.flag()? && r.byte()? == EXTENDED_SAR {
        r.skip(32)?;
    }
    if r.flag()? {
        r.skip(1)?; // overscan_appropriate_flag
    }
    if r.flag()? {
        r.skip(4)?;
        if r.flag()? {
            r.skip(24)?;
        }
    }
    if r.flag()? {
        r.ue()?;
        r.ue()?;
    }
    r.skip(3)?; // neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    if r.flag()? {
        for _ in 0..4 {
            r.ue()?; // default display window
        }
    }
    if r.flag()? { read_timing(r) } else { Ok(None) }
}

fn read_timing(r: &mut BitReader<'_>) -> Result<Option<u32>, BitstreamError> {
    let (units_in_tick, time_scale) = (r.bits(32)?, r.bits(32)?);
    Ok(frame_rate_milli(time_scale, u64::from(units_in_tick)))
}

/// The frame rate that a video parameter set tells (§7.3.2.1). Many encoders write it here and not in the VUI.
pub fn vps_frame_rate_milli(unit: &[u8]) -> Result<Option<u32>, BitstreamError> {
    if unit_type(unit) != nal_type::VPS {
        return Err(BitstreamError::Invalid { what: "nal_unit_type", at: 8 });
    }
    let payload = unescape(unit.get(2..).unwrap_or_default(), usize::MAX);
    let r = &mut BitReader::new(&payload);
    r.skip(4 + 2 + 6)?; // id, base layer flags, vps_max_layers_minus1
    let sub_layers_minus1 = r.bits(3)?.min(6);
    r.skip(1 + 16)?; // vps_temporal_id_nesting_flag, vps_reserved_0xffff_16bits
    ProfileTierLevel::parse(r, sub_layers_minus1)?;
    read_sub_layer_ordering(r, sub_layers_minus1)?;
    let max_layer_id = r.bits(6)? as usize;
    let sets = r.ue_up_to(1023, "vps_num_layer_sets_minus1")? as usize;
    r.skip(sets * (max_layer_id + 1))?;
    if r.flag()? { read_timing(r) } else { Ok(None) }
}

impl H265Parameters {
    /// Parameters from the NAL units of the parameter sets.
    ///
    /// # Errors
    /// When there is no sequence parameter set or the first cannot be read. The sets may still be worth passing on.
    pub fn parse(vps: Vec<Bytes>, sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, BitstreamError> {
        let first = Sps::parse(sps.first().map_or(&[], |unit| &unit[..]))?;
        let from_vps = || vps.first().and_then(|unit| vps_frame_rate_milli(unit).ok().flatten());
        Ok(Self {
            size: Some(first.size),
            frame_rate_milli: first.frame_rate_milli.or_else(from_vps),
            reorder_depth: Some(first.reorder_depth),
            vps,
            sps,
            pps,
        })
    }

    /// Profile, tier and level of the sequence parameter set in use.
    pub fn profile_tier_level(&self) -> Option<ProfileTierLevel> {
        Sps::parse(self.sps.first()?).ok().map(|sps| sps.profile)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    /// x265: main 1080p25 with B-pyramid; main 10 642×362 at 29.97 with HRD and scaling lists.
    const MAIN: [&str; 2] = [
        "40010c01ffff016000000300900000030000030078959409",
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
    ];
    const MAIN_10: [&str; 2] = [
        "40010c01ffff02200000030090000003000003003fba0240",
        "42010102200000030090000003000003003fa005220171c448d96e929385e02d0100000303e900007530600c965e001e840007a122",
    ];

    fn parameters([vps, sps]: [&str; 2]) -> H265Parameters {
        H265Parameters::parse(vec![hex(vps).into()], vec![hex(sps).into()], vec![]).unwrap()
    }

    #[test]
    fn parameter_sets_of_a_real_encoder_are_read() {
        let main = parameters(MAIN);
        assert_eq!(main.size, Some(PictureSize { width: 1920, height: 1080 }));
        assert_eq!((main.frame_rate_milli, main.reorder_depth), (Some(25_000), Some(2)));
        let profile = main.profile_tier_level().unwrap();
        assert_eq!((profile.profile_idc, profile.level_idc, profile.compatibility_flags), (1, 120, 0x6000_0000));
        assert_eq!(profile.constraint_flags, [0x90, 0, 0, 0, 0, 0]);

        let main_10 = parameters(MAIN_10);
        assert_eq!(main_10.size, Some(PictureSize { width: 642, height: 362 }));
        assert_eq!((main_10.frame_rate_milli, main_10.reorder_depth), (Some(29_970), Some(0)));
        let sps = Sps::parse(&main_10.sps[0]).unwrap();
        assert_eq!((sps.bit_depth_luma, sps.bit_depth_chroma, sps.chroma_format_idc), (10, 10, 1));
        assert_eq!((sps.profile.profile_idc, sps.profile.level_idc), (2, 63));
    }

    #[test]
    fn every_random_access_type_counts_and_leading_pictures_are_known() {
        for kind in 0..64_u8 {
            let unit = [kind << 1, 1, 0x80];
            let payload = nal::join([&[nal_type::SEI_PREFIX << 1, 1, 0][..], &unit]);
            assert_eq!(random_access(&payload), (16..=23).contains(&kind), "type {kind}");
            let leading = Picture::of(&payload).is_some_and(Picture::is_leading);
            assert_eq!(leading, (6..=9).contains(&kind), "type {kind}");
        }
        assert_eq!(Picture::of_unit(&[42, 1]), Some(Picture::Cra));
        assert_eq!(Picture::of(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(mut unit in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = random_access(&unit);
            if let Some(first) = unit.first_mut() {
                *first = nal_type::SPS << 1;
                let _ = Sps::parse(&unit);
                unit[0] = nal_type::VPS << 1;
            }
            let _ = vps_frame_rate_milli(&unit);
        }

        #[test]
        fn a_set_with_flipped_bits_is_read_without_a_panic(bit in 16_usize..400, more in 16_usize..400) {
            let mut unit = hex(MAIN_10[1]);
            for bit in [bit, more] {
                unit[bit / 8] ^= 1 << (bit % 8);
            }
            let _ = Sps::parse(&unit);
        }
    }
}
