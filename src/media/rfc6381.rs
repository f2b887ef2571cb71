//! The `codecs` parameter of RFC 6381, as playlists, manifests and players want it: `avc1.640028`, `hvc1.1.6.L93.B0`,
//! `mp4a.40.2`, `opus`, `av01.0.08M.08`, `vp09.00.41.08`.

use std::fmt::Write as _;

use super::{h265::ProfileTierLevel, track::CodecParameters};

/// The codec string of a track, or nothing for what has none or does not know its profile yet.
pub fn codec_string(parameters: &CodecParameters) -> Option<String> {
    match parameters {
        CodecParameters::H264(p) => p.profile_level_id().map(|[a, b, c]| format!("avc1.{a:02x}{b:02x}{c:02x}")),
        CodecParameters::H265(p) => p.profile_tier_level().map(|profile| h265("hvc1", &profile)),
        CodecParameters::Av1(p) => {
            // AV1 in ISO base media file format §5: profile, level and tier, bit depth.
            let tier = if p.tier == 0 { 'M' } else { 'H' };
            Some(format!("av01.{}.{:02}{tier}.{:02}", p.profile, p.level, p.bit_depth))
        }
        CodecParameters::Vp8(_) => Some("vp08.00.10.08".into()),
        CodecParameters::Vp9(p) => Some(format!("vp09.{:02}.{:02}.{:02}", p.profile, p.level(), p.bit_depth)),
        CodecParameters::Aac(p) => Some(format!("mp4a.40.{}", p.object_type)),
        CodecParameters::Opus(_) => Some("opus".into()),
        CodecParameters::Jpeg(_)
        | CodecParameters::G711A(_)
        | CodecParameters::G711U(_)
        | CodecParameters::G722(_)
        | CodecParameters::L16(_)
        | CodecParameters::Opaque(_) => None,
    }
}

/// ISO/IEC 14496-15 §E.3.
fn h265(entry: &str, profile: &ProfileTierLevel) -> String {
    let space = ["", "A", "B", "C"][usize::from(profile.profile_space & 3)];
    // The compatibility flags stand in reverse bit order, without leading zeros.
    let compatibility = profile.compatibility_flags.reverse_bits();
    let tier = if profile.high_tier { 'H' } else { 'L' };
    let mut out = format!("{entry}.{space}{}.{compatibility:X}.{tier}{}", profile.profile_idc, profile.level_idc);
    let constraints = &profile.constraint_flags;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        let _ = write!(out, ".{byte:X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        PictureSize,
        aac::AacConfig,
        testing::hex,
        track::{
            AacParameters, Av1Parameters, H264Parameters, H265Parameters, OpusParameters, PcmParameters, Vp9Parameters,
        },
    };

    #[test]
    fn codec_strings_are_those_that_players_know() {
        let h264 = H264Parameters { sps: vec![hex("67640028ac").into()], ..<_>::default() };
        let h265 = |sps| H265Parameters { sps: vec![hex(sps).into()], ..<_>::default() };
        let main = h265("420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84");
        let main_10 = h265("42010102200000030090000003000003003fa005220171c448d96e929385e02d");
        let mut plain_sbr = AacConfig::lc(24_000, 2);
        plain_sbr.sbr = Some(48_000);
        let hd = Some(PictureSize { width: 1920, height: 1080 });
        let av1 = Av1Parameters { level: 8, bit_depth: 8, size: hd, ..<_>::default() };
        let vp9 = Vp9Parameters { profile: 2, bit_depth: 10, size: hd };
        for (parameters, expected) in [
            (CodecParameters::H264(h264), Some("avc1.640028")),
            (CodecParameters::H264(H264Parameters::default()), None),
            (CodecParameters::H265(main), Some("hvc1.1.6.L120.90")),
            (CodecParameters::H265(main_10), Some("hvc1.2.4.L63.90")),
            (CodecParameters::H265(H265Parameters::default()), None),
            (CodecParameters::Aac(AacParameters::from_config(&AacConfig::lc(48_000, 2))), Some("mp4a.40.2")),
            (CodecParameters::Aac(AacParameters::from_config(&plain_sbr)), Some("mp4a.40.5")),
            (CodecParameters::Opus(OpusParameters { channels: 2 }), Some("opus")),
            (CodecParameters::Av1(av1), Some("av01.0.08M.08")),
            (CodecParameters::Vp9(vp9), Some("vp09.02.40.10")),
            (CodecParameters::Vp8(PictureSize::default()), Some("vp08.00.10.08")),
            (CodecParameters::G711A(PcmParameters { sample_rate: 8_000, channels: 1 }), None),
        ] {
            assert_eq!(codec_string(&parameters).as_deref(), expected, "{parameters:?}");
        }
    }

    #[test]
    fn profile_space_tier_and_constraints_of_h265_are_spelt() {
        let profile = ProfileTierLevel {
            profile_space: 1,
            high_tier: true,
            profile_idc: 4,
            compatibility_flags: 0x0800_0000,
            constraint_flags: [0x9f, 0, 0x08, 0, 0, 0],
            level_idc: 153,
        };
        assert_eq!(h265("hev1", &profile), "hev1.A4.10.H153.9F.0.8");
    }
}
