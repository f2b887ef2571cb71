//! Whether a track fits one of the formats a viewer offers, and what the answer says of it (RFC 6184 §8.2.2, RFC 7798
//! §7.2.2, RFC 9628 §6, AV1's payload format §7.2.3, RFC 7587 §7). Sans-IO.

use super::{Format, Section, codecs::encodings};
use crate::media::{
    CodecParameters, Track,
    track::{H264Parameters, H265Parameters},
};

/// A format that takes the track.
#[derive(Debug)]
pub(super) struct Fit<'a> {
    pub(super) format: &'a Format,
    /// The `fmtp` of the answer.
    pub(super) parameters: Option<String>,
    /// What is not quite as offered: a stable word and a sentence.
    pub(super) notice: Option<(&'static str, String)>,
}

impl<'a> Fit<'a> {
    /// With the viewer's own words about the format.
    fn as_offered(format: &'a Format) -> Self {
        Self { format, parameters: joined(&format.parameters), notice: None }
    }
}

/// The best of the section's formats for a track.
///
/// # Errors
/// Why none takes it, in words.
pub(super) fn fit<'a>(section: &'a Section, track: &Track) -> Result<Fit<'a>, String> {
    let hz = track.clock_rate.hz();
    let named = |encoding: &'static str| {
        section.formats.iter().filter(move |format| format.is(encoding) && format.clock_rate == hz)
    };
    let simply = |format: Option<&'a Format>| format.map(Fit::as_offered).ok_or_else(|| absent(section, track));
    match &track.parameters {
        CodecParameters::H264(own) => h264(section, track, named("H264"), own),
        CodecParameters::H265(own) => h265(section, track, named("H265"), own),
        // RFC 7741 §6: no parameter that would matter.
        CodecParameters::Vp8(_) => simply(named("VP8").next()),
        CodecParameters::Vp9(own) => {
            let of = |format: &Format| number(format, "profile-id").unwrap_or(0);
            found_or(
                section,
                track,
                named("VP9"),
                |format| of(format) == u32::from(own.profile),
                || format!("VP9 of profile {}", own.profile),
            )
        }
        CodecParameters::Av1(own) => {
            let of = |format: &Format| number(format, "profile").unwrap_or(0);
            found_or(
                section,
                track,
                named("AV1"),
                |format| of(format) == u32::from(own.profile),
                || format!("AV1 of profile {}", own.profile),
            )
        }
        CodecParameters::Opus(own) => {
            let format = section.formats.iter().find(|format| is_opus(format)).ok_or_else(|| absent(section, track))?;
            Ok(Fit { format, parameters: opus_parameters(format, own.channels > 1), notice: None })
        }
        CodecParameters::G711A(own) => simply(named("PCMA").find(|format| format.channels == own.channels)),
        CodecParameters::G711U(own) => simply(named("PCMU").find(|format| format.channels == own.channels)),
        CodecParameters::G722(own) => simply(named("G722").find(|format| format.channels == own.channels)),
        CodecParameters::L16(own) => simply(named("L16").find(|format| format.channels == own.channels)),
        CodecParameters::Jpeg(_) | CodecParameters::Aac(_) => Err(absent(section, track)),
        CodecParameters::Opaque(_) => {
            Err(format!("{} is passed on as it comes, which only RTSP can do", track.codec_name()))
        }
    }
}

fn absent(section: &Section, track: &Track) -> String {
    let takes = encodings(section);
    let takes = if takes.is_empty() { "nothing that is known here".to_owned() } else { takes.join(", ") };
    format!("the viewer does not take {}; it takes {takes}", track.codec_name())
}

fn found_or<'a>(
    section: &Section,
    track: &Track,
    formats: impl Iterator<Item = &'a Format>,
    fits: impl Fn(&Format) -> bool,
    wanted: impl Fn() -> String,
) -> Result<Fit<'a>, String> {
    let mut any = false;
    for format in formats {
        any = true;
        if fits(format) {
            return Ok(Fit::as_offered(format));
        }
    }
    Err(if any { format!("the viewer does not take {}", wanted()) } else { absent(section, track) })
}

fn number(format: &Format, name: &str) -> Option<u32> {
    format.parameter(name)?.parse().ok()
}

fn joined(parameters: &[(String, String)]) -> Option<String> {
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join(";"))
}

/// RFC 7587 §7: always 48000 and 2, whatever is inside.
pub(super) fn is_opus(format: &Format) -> bool {
    format.is("opus") && format.clock_rate == 48_000 && format.channels == 2
}

/// The viewer's words, and whether two channels come: a receiver may go down to one otherwise.
pub(super) fn opus_parameters(format: &Format, stereo: bool) -> Option<String> {
    let about_us = ["stereo", "sprop-stereo"];
    let kept = format.parameters.iter().filter(|(name, _)| !about_us.iter().any(|own| name.eq_ignore_ascii_case(own)));
    let mut parameters: Vec<_> = kept.cloned().collect();
    if stereo {
        parameters.extend(about_us.map(|name| (name.to_owned(), "1".to_owned())));
    }
    joined(&parameters)
}

/// The profiles of H.264 as far as they matter for who can decode what (RFC 6184 §8.1, table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    /// High 10, 4:2:2, 4:4:4 and others, by number.
    Beyond(u8),
}

impl Profile {
    fn of(idc: u8, constraints: u8) -> Self {
        let set = |bit: u8| constraints & (0x80 >> bit) != 0;
        match idc {
            66 if set(1) => Self::ConstrainedBaseline,
            66 => Self::Baseline,
            77 if set(0) => Self::ConstrainedBaseline,
            77 => Self::Main,
            88 if set(0) && set(1) => Self::ConstrainedBaseline,
            88 if set(0) => Self::Baseline,
            100 if set(4) && set(5) => Self::ConstrainedHigh,
            100 => Self::High,
            idc => Self::Beyond(idc),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ConstrainedBaseline => "constrained baseline",
            Self::Baseline => "baseline",
            Self::Main => "main",
            Self::ConstrainedHigh => "constrained high",
            Self::High => "high",
            Self::Beyond(110) => "high 10",
            Self::Beyond(122) => "high 4:2:2",
            Self::Beyond(244) => "high 4:4:4",
            Self::Beyond(_) => "an unusual",
        }
    }

    /// How far a stream of this profile is from a decoder that announced `decoder`: 0 the same, 1 to 9 one that must be
    /// able to, 10 and more one that is able to in practice, without B-frames, although it does not say so: browsers
    /// announce 42e01f and decode high profile. None: it will not.
    fn distance(self, decoder: Self) -> Option<u8> {
        use Profile::{Baseline, Beyond, ConstrainedBaseline, ConstrainedHigh, High, Main};
        if self == decoder {
            return Some(0);
        }
        Some(match (self, decoder) {
            // High 10 is part of 4:2:2, that of 4:4:4. As the profile of simpler streams they come last: few decoders
            // of hardware know them.
            (Beyond(own), Beyond(other)) if own < other && matches!(own, 110 | 122) => 1,
            (Beyond(_), _) => return None,
            (_, Beyond(110 | 122 | 244)) => 20,
            (_, Beyond(_)) => return None,
            (ConstrainedBaseline, Baseline) => 1,
            (ConstrainedBaseline, Main) | (Main | ConstrainedHigh, High) => 2,
            (ConstrainedBaseline, ConstrainedHigh) => 3,
            (ConstrainedBaseline, High) => 4,
            // No camera uses what baseline has and constrained baseline has not.
            (Baseline, ConstrainedBaseline) => 5,
            (Baseline, Main) => 6,
            (Baseline, ConstrainedHigh | High) => 7,
            (Main | High, ConstrainedHigh) => 10,
            (ConstrainedHigh | High, Main) => 11,
            (Main | ConstrainedHigh | High, ConstrainedBaseline) => 12,
            (Main | ConstrainedHigh | High, Baseline) => 13,
            (ConstrainedBaseline | Baseline | Main | ConstrainedHigh | High, _) => 0,
        })
    }
}

/// The first distance that a viewer did not promise to bridge.
const UNPROMISED: u8 = 10;

/// What an offer says of H.264: the bytes of `profile-level-id`, which RFC 6184 §8.1 makes 42000A where it is absent.
fn profile_level_id(format: &Format) -> [u8; 3] {
    let read = |text: &str| -> Option<[u8; 3]> {
        let bytes = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6 && text.is_ascii())?.to_be_bytes();
        Some([bytes[1], bytes[2], bytes[3]])
    };
    format.parameter("profile-level-id").and_then(read).unwrap_or([0x42, 0x00, 0x0a])
}

fn h264<'a>(
    section: &Section,
    track: &Track,
    formats: impl Iterator<Item = &'a Format>,
    own: &H264Parameters,
) -> Result<Fit<'a>, String> {
    // Before the first parameter set the simplest profile is as good a guess as any.
    let [idc, constraints, level] = own.profile_level_id().unwrap_or([0x42, 0xc0, 0x1f]);
    let profile = Profile::of(idc, constraints);
    let (mut any, mut fragments) = (false, false);
    let mut best: Option<(u8, &'a Format)> = None;
    for format in formats {
        any = true;
        // §6.3: our plans have fragments, which mode 0, the default, does not allow. Who says nothing at all of the
        // format (GStreamer's caps) takes what comes.
        let silent = format.parameter("packetization-mode").is_none() && format.parameter("profile-level-id").is_none();
        if !silent && number(format, "packetization-mode") != Some(1) {
            continue;
        }
        fragments = true;
        let [idc, constraints, _] = profile_level_id(format);
        let distance = if silent { Some(UNPROMISED - 1) } else { profile.distance(Profile::of(idc, constraints)) };
        if let Some(distance) = distance
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, format));
        }
    }
    let Some((distance, format)) = best else {
        return Err(match (any, fragments) {
            (false, _) => absent(section, track),
            (true, false) => "the viewer takes H.264 only with `packetization-mode=0`, without fragments".to_owned(),
            (true, true) => format!("the viewer takes no H.264 of {} profile", profile.name()),
        });
    };
    let notice = (distance >= UNPROMISED).then(|| {
        let text = format!("the H.264 has {} profile, which the viewer does not promise to decode", profile.name());
        ("profile_not_offered", text)
    });
    Ok(Fit { format, parameters: h264_parameters(format, level), notice })
}

/// §8.2.2: the profile is the one agreed on; the level is that of the stream where either side may have its own.
fn h264_parameters(format: &Format, level: u8) -> Option<String> {
    let asymmetric = format.parameter("level-asymmetry-allowed") == Some("1");
    let parameters: Vec<_> = format
        .parameters
        .iter()
        .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("sprop-"))
        .map(|(name, value)| {
            let own = asymmetric && name.eq_ignore_ascii_case("profile-level-id");
            let [idc, constraints, _] = profile_level_id(format);
            (name.clone(), if own { format!("{idc:02x}{constraints:02x}{level:02x}") } else { value.clone() })
        })
        .collect();
    joined(&parameters)
}

fn h265<'a>(
    section: &Section,
    track: &Track,
    formats: impl Iterator<Item = &'a Format>,
    own: &H265Parameters,
) -> Result<Fit<'a>, String> {
    let known = own.profile_tier_level();
    // RFC 7798 §7.1: main where nothing is said. A stream may keep to several profiles; its flags count from the top.
    let keeps = |profile: u32| {
        known.as_ref().is_none_or(|ptl| {
            u32::from(ptl.profile_idc) == profile
                || (profile < 32 && ptl.compatibility_flags & (1 << (31 - profile)) != 0)
        })
    };
    let single = |format: &Format| format.parameter("tx-mode").is_none_or(|mode| mode.eq_ignore_ascii_case("SRST"));
    let fits = |format: &Format| {
        let profile = number(format, "profile-id").unwrap_or(1);
        // Main is part of main 10.
        single(format) && (keeps(profile) || (profile == 2 && keeps(1)))
    };
    found_or(section, track, formats, fits, || {
        format!("H.265 of profile {}", known.as_ref().map_or(1, |ptl| ptl.profile_idc))
    })
}
