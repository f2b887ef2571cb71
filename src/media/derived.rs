//! Which sound becomes Opus when a door needs it: browsers take no AAC over WebRTC, and players of fMP4 no sampled sound.
//! The rule alone; who does it is the room `audio`.

use super::{
    aac::{AacConfig, object_type},
    time::ClockRate,
    track::{Codec, CodecParameters, MediaKind, OpusParameters, PcmParameters, TrackDescription},
};

/// Sampling rates that can be brought to Opus.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=96_000;

/// The Opus track that can be made of this one; `None` when it needs none, or cannot be taken apart here.
pub fn opus_of(sent: &TrackDescription) -> Option<TrackDescription> {
    let sound = match &sent.parameters {
        CodecParameters::Aac(aac) => {
            let core = AacConfig::parse(&aac.config).ok().filter(decodable)?;
            PcmParameters { sample_rate: core.core_rate, channels: core.core_channels }
        }
        CodecParameters::G711A(pcm) | CodecParameters::G711U(pcm) | CodecParameters::L16(pcm) => *pcm,
        _ => return None,
    };
    let takes = RATES.contains(&sound.sample_rate) && matches!(sound.channels, 1 | 2);
    takes.then(|| TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::OPUS,
        parameters: CodecParameters::Opus(OpusParameters { channels: sound.channels }),
    })
}

/// AAC-LC, alone or as the core of HE-AAC, whose upper half is then left out.
const fn decodable(config: &AacConfig) -> bool {
    config.object_type == object_type::LC && config.core_samples == 1024
}

/// All tracks of a source's list: those it sends, then those that are made of them, each with what it is made of.
pub fn with_derived(sent: Vec<TrackDescription>) -> Vec<(TrackDescription, Option<usize>)> {
    // A source that sends Opus itself needs nobody to make some.
    let has_opus = sent.iter().any(|track| track.parameters.codec() == Codec::Opus);
    let first_sound = sent.iter().position(|track| opus_of(track).is_some()).filter(|_| !has_opus);
    let derived = first_sound.and_then(|from| Some((opus_of(&sent[from])?, Some(from))));
    sent.into_iter().map(|track| (track, None)).chain(derived).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::AacParameters;

    fn sound(parameters: CodecParameters) -> TrackDescription {
        TrackDescription { kind: MediaKind::Audio, clock_rate: ClockRate::TELEPHONE, parameters }
    }

    fn aac(config: &AacConfig) -> TrackDescription {
        sound(CodecParameters::Aac(AacParameters::from_config(config)))
    }

    fn opus_channels(track: &TrackDescription) -> Option<u8> {
        opus_of(track).map(|opus| opus.parameters.sound().map_or(0, |sound| sound.channels))
    }

    #[test]
    fn aac_and_sampled_sound_become_opus_with_their_channels() {
        let telephone = PcmParameters { sample_rate: 8_000, channels: 1 };
        assert_eq!(opus_channels(&aac(&AacConfig::lc(48_000, 2))), Some(2));
        assert_eq!(opus_channels(&aac(&AacConfig::lc(11_025, 1))), Some(1));
        assert_eq!(opus_channels(&sound(CodecParameters::G711A(telephone))), Some(1));
        assert_eq!(opus_channels(&sound(CodecParameters::G711U(telephone))), Some(1));
        assert_eq!(
            opus_channels(&sound(CodecParameters::L16(PcmParameters { sample_rate: 44_100, channels: 2 }))),
            Some(2)
        );
    }

    #[test]
    fn of_he_aac_the_core_is_taken() {
        let he = AacConfig { sbr: Some(48_000), ..AacConfig::lc(24_000, 2) };
        let v2 = AacConfig { sbr: Some(48_000), ps: true, ..AacConfig::lc(24_000, 1) };
        assert_eq!((opus_channels(&aac(&he)), opus_channels(&aac(&v2))), (Some(2), Some(1)));
    }

    #[test]
    fn what_cannot_be_taken_apart_or_needs_no_help_stays() {
        let six = PcmParameters { sample_rate: 48_000, channels: 6 };
        for track in [
            aac(&AacConfig::lc(48_000, 6)),
            aac(&AacConfig { object_type: object_type::ER_LD, core_samples: 512, ..AacConfig::lc(48_000, 1) }),
            sound(CodecParameters::L16(six)),
            sound(CodecParameters::Opus(OpusParameters { channels: 2 })),
            sound(CodecParameters::G722(PcmParameters { sample_rate: 16_000, channels: 1 })),
        ] {
            assert_eq!(opus_of(&track), None, "{track:?}");
        }
    }

    #[test]
    fn one_opus_track_is_made_of_the_first_sound_unless_the_source_sends_some() {
        let (pcm, opus) = (PcmParameters { sample_rate: 8_000, channels: 1 }, OpusParameters { channels: 1 });
        let made = |tracks| with_derived(tracks).into_iter().map(|(_, from)| from).collect::<Vec<_>>();
        let g711 = || sound(CodecParameters::G711A(pcm));
        assert_eq!(made(vec![g711(), aac(&AacConfig::lc(48_000, 1))]), [None, None, Some(0)]);
        assert_eq!(made(vec![g711(), sound(CodecParameters::Opus(opus))]), [None, None]);
    }
}
