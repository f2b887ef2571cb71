//! Sound into samples: AAC-LC, G.711 (ITU-T G.711) and L16 (RFC 3551 §4.5.11). Sans-IO.

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use symphonia_codec_aac::AacDecoder;
use symphonia_core::{
    codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_AAC},
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::transcode::AudioError;
use crate::media::{CodecParameters, aac::AacConfig, track::PcmParameters};

/// Takes the units of one track apart.
pub(super) struct Decoder {
    kind: Kind,
    sound: PcmParameters,
}

enum Kind {
    Aac(Box<AacDecoder>),
    G711A,
    G711U,
    L16,
}

impl Decoder {
    /// A decoder for a track with these parameters.
    ///
    /// # Errors
    /// [`AudioError::Unsupported`].
    pub(super) fn new(parameters: &CodecParameters) -> Result<Self, AudioError> {
        Ok(match parameters {
            CodecParameters::Aac(aac) => {
                let config = AacConfig::parse(&aac.config).map_err(|_| AudioError::Unsupported)?;
                // ISO/IEC 14496-3 §1.6.5: a decoder without SBR plays the core, at the core's rate.
                let core = AacConfig { sbr: None, ps: false, ..config };
                let mut wanted = AudioCodecParameters::new();
                wanted.for_codec(CODEC_ID_AAC).with_extra_data(core.write().to_vec().into_boxed_slice());
                let decoder = AacDecoder::try_new(&wanted, &AudioDecoderOptions::default());
                let decoder = decoder.map_err(|_| AudioError::Unsupported)?;
                let sound = PcmParameters { sample_rate: core.core_rate, channels: core.core_channels };
                Self { kind: Kind::Aac(Box::new(decoder)), sound }
            }
            CodecParameters::G711A(sound) => Self { kind: Kind::G711A, sound: *sound },
            CodecParameters::G711U(sound) => Self { kind: Kind::G711U, sound: *sound },
            CodecParameters::L16(sound) => Self { kind: Kind::L16, sound: *sound },
            _ => return Err(AudioError::Unsupported),
        })
    }

    /// Rate and channels of the samples.
    pub(super) const fn sound(&self) -> PcmParameters {
        self.sound
    }

    /// Appends the samples of a unit, channels interleaved, within ±1.
    ///
    /// # Errors
    /// [`AudioError::Broken`] when the unit cannot be decoded; the next one may be.
    pub(super) fn decode(&mut self, payload: &[u8], samples: &mut Vec<f32>) -> Result<(), AudioError> {
        let sampled = |value: i16| f32::from(value) / 32_768.0;
        match &mut self.kind {
            Kind::Aac(decoder) => {
                let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, payload);
                let decoded = decoder.decode_ref(&packet).map_err(|_| AudioError::Broken)?;
                let before = samples.len();
                samples.resize(before + decoded.samples_interleaved(), 0.0);
                decoded.copy_to_slice_interleaved(&mut samples[before..]);
            }
            Kind::G711A => samples.extend(payload.iter().map(|byte| sampled(decode_alaw(*byte)))),
            Kind::G711U => samples.extend(payload.iter().map(|byte| sampled(decode_ulaw(*byte)))),
            Kind::L16 => {
                let pairs = payload.chunks_exact(2).map(|pair| sampled(i16::from_be_bytes([pair[0], pair[1]])));
                samples.extend(pairs);
            }
        }
        Ok(())
    }

    /// Forgets what it knows of units before: the next one does not follow them.
    pub(super) fn reset(&mut self) {
        if let Kind::Aac(decoder) = &mut self.kind {
            decoder.reset();
        }
    }
}
