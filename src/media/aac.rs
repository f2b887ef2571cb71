//! AAC's AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1, GASpecificConfig §4.4.1): read and written, with SBR and PS
//! signalled in either of the explicit ways (§1.6.5, §1.6.6).
//!
//! Not here: ADTS, which no source of ours speaks, and LATM, which is a payload format (`rtp/latm.rs`).

use bytes::Bytes;

use super::{
    bits::{BitReader, BitWriter, BitstreamError},
    track::AacParameters,
};

/// Audio object types (table 1.17) that something here tells apart.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod object_type {
    pub const MAIN: u8 = 1;
    pub const LC: u8 = 2;
    pub const SSR: u8 = 3;
    pub const LTP: u8 = 4;
    pub const SBR: u8 = 5;
    pub const SCALABLE: u8 = 6;
    pub const ER_LC: u8 = 17;
    pub const ER_LTP: u8 = 19;
    pub const ER_SCALABLE: u8 = 20;
    pub const ER_BSAC: u8 = 22;
    pub const ER_LD: u8 = 23;
    pub const PS: u8 = 29;
    pub const ER_ELD: u8 = 39;
}

/// `samplingFrequencyIndex` (table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The index that says the rate follows in 24 bits.
const EXPLICIT_RATE: u32 = 15;

/// `syncExtensionType`, 11 bits: SBR is signalled behind the config (§1.6.6).
pub const SBR_SYNC: u32 = 0x2b7;

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// The core's audio object type; 2 is AAC-LC.
    pub object_type: u8,
    /// Samples per second of the core coder.
    pub core_rate: u32,
    /// `channelConfiguration`; 0 when a program config element spells the channels out.
    pub channel_configuration: u8,
    /// Channels of the core coder.
    pub core_channels: u8,
    /// Samples of the core coder per access unit: 1024 or 960; 512 or 480 for low delay.
    pub core_samples: u32,
    /// The rate after spectral band replication, when it is signalled.
    pub sbr: Option<u32>,
    /// Whether parametric stereo is signalled: one core channel becomes two.
    pub ps: bool,
}

impl AacConfig {
    /// Plain AAC-LC with 1024 samples per access unit.
    pub const fn lc(sample_rate: u32, channels: u8) -> Self {
        Self {
            object_type: object_type::LC,
            core_rate: sample_rate,
            channel_configuration: if channels == 8 { 7 } else { channels },
            core_channels: channels,
            core_samples: 1024,
            sbr: None,
            ps: false,
        }
    }

    /// Reads a whole AudioSpecificConfig.
    pub fn parse(config: &[u8]) -> Result<Self, BitstreamError> {
        let mut reader = BitReader::new(config);
        let mut parsed = Self::read(&mut reader)?;
        parsed.read_sync_extension(&mut reader);
        Ok(parsed)
    }

    /// Reads the part that tells its own length, and leaves the reader behind it. A backward compatible extension may
    /// follow; only who knows the length of the whole can look for it.
    pub fn read(r: &mut BitReader<'_>) -> Result<Self, BitstreamError> {
        let origin = r.position();
        let mut kind = read_object_type(r)?;
        let core_rate = read_rate(r)?;
        let channel_configuration = r.bits(4)? as u8;
        let mut sbr = None;
        let ps = kind == object_type::PS;
        if matches!(kind, object_type::SBR | object_type::PS) {
            // §1.6.5.1, hierarchical signalling: the extension stands first, the core's type behind it.
            sbr = Some(read_rate(r)?);
            kind = read_object_type(r)?;
            if kind == object_type::ER_BSAC {
                r.skip(4)?; // extensionChannelConfiguration
            }
        }
        let (core_samples, element_channels) = match kind {
            object_type::ER_ELD => read_eld(r)?,
            1..=4 | 6 | 7 | 17 | 19..=23 => read_general_audio(r, kind, channel_configuration, origin)?,
            _ => return Err(BitstreamError::Unsupported { what: "audio object type" }),
        };
        // Table 1.19. Values above 7 came with later editions.
        let core_channels = match channel_configuration {
            0 => element_channels.ok_or_else(|| r.invalid("channelConfiguration"))?,
            channels @ 1..=6 => channels,
            7 | 12 | 14 => 8,
            11 => 7,
            _ => return Err(r.invalid("channelConfiguration")),
        };
        // §1.6.2.1: error resilient types say how they are protected, and only 0 leaves access units as they are.
        if matches!(kind, 17 | 19..=23 | object_type::ER_ELD) && r.bits(2)? > 1 {
            return Err(BitstreamError::Unsupported { what: "epConfig" });
        }
        Ok(Self { object_type: kind, core_rate, channel_configuration, core_channels, core_samples, sbr, ps })
    }

    /// §1.6.6: SBR and PS appended where old decoders do not look.
    pub fn read_sync_extension(&mut self, reader: &mut BitReader<'_>) {
        const PS_SYNC: u32 = 0x548;
        if self.sbr.is_some() || reader.remaining() < 16 {
            return;
        }
        // What does not hold together is not an extension: the bits behind a config mean nothing in themselves.
        let mut read = || -> Result<(Option<u32>, bool), BitstreamError> {
            let r = &mut *reader;
            if r.bits(11)? != SBR_SYNC || read_object_type(r)? != object_type::SBR || !r.flag()? {
                return Ok((None, false));
            }
            let rate = read_rate(r)?;
            let ps = r.remaining() >= 12 && r.bits(11)? == PS_SYNC && r.flag()?;
            Ok((Some(rate), ps))
        };
        if let Ok((Some(rate), ps)) = read() {
            self.sbr = Some(rate);
            self.ps = ps;
        }
    }

    /// Writes an AudioSpecificConfig with hierarchical signalling. Channels must fit `channelConfiguration`.
    pub fn write(&self) -> Bytes {
        let mut w = BitWriter::new();
        match self.sbr {
            Some(_) if self.ps => write_object_type(&mut w, object_type::PS),
            Some(_) => write_object_type(&mut w, object_type::SBR),
            None => write_object_type(&mut w, self.object_type),
        }
        write_rate(&mut w, self.core_rate);
        w.bits(u32::from(self.channel_configuration), 4);
        if let Some(rate) = self.sbr {
            write_rate(&mut w, rate);
            write_object_type(&mut w, self.object_type);
        }
        w.flag(matches!(self.core_samples, 960 | 480));
        w.bits(0, 2); // dependsOnCoreCoder, extensionFlag
        w.finish().into()
    }

    /// Samples per second of what is heard.
    pub fn sample_rate(&self) -> u32 {
        self.sbr.unwrap_or(self.core_rate)
    }

    /// Channels of what is heard.
    pub const fn channels(&self) -> u8 {
        if self.ps && self.core_channels == 1 { 2 } else { self.core_channels }
    }

    /// Samples that one access unit becomes, at [`Self::sample_rate`].
    pub fn frame_samples(&self) -> u32 {
        // SBR at the core's own rate ("down-sampled") leaves the count as it is.
        if self.sbr.is_some_and(|rate| rate > self.core_rate) { self.core_samples * 2 } else { self.core_samples }
    }
}

impl AacParameters {
    /// Parameters from an AudioSpecificConfig.
    pub fn parse(config: Bytes) -> Result<Self, BitstreamError> {
        AacConfig::parse(&config).map(|parsed| Self::new(&parsed, config))
    }

    /// Parameters for sound that is made here.
    pub fn from_config(parsed: &AacConfig) -> Self {
        Self::new(parsed, parsed.write())
    }

    /// Parameters whose AudioSpecificConfig, `config`, has been read already.
    pub fn new(parsed: &AacConfig, config: Bytes) -> Self {
        // The type a player must know is the outermost: `mp4a.40.5` for SBR, `mp4a.40.29` for PS.
        let object_type = match parsed.sbr {
            Some(_) if parsed.ps => object_type::PS,
            Some(_) => object_type::SBR,
            None => parsed.object_type,
        };
        Self {
            config,
            object_type,
            sample_rate: parsed.sample_rate(),
            channels: parsed.channels(),
            frame_samples: parsed.frame_samples(),
        }
    }
}

fn read_object_type(r: &mut BitReader<'_>) -> Result<u8, BitstreamError> {
    Ok(match r.bits(5)? {
        31 => 32 + r.bits(6)? as u8,
        kind => kind as u8,
    })
}

fn write_object_type(w: &mut BitWriter, kind: u8) {
    if kind < 31 {
        w.bits(u32::from(kind), 5);
    } else {
        w.bits(31, 5);
        w.bits(u32::from(kind - 32), 6);
    }
}

fn read_rate(r: &mut BitReader<'_>) -> Result<u32, BitstreamError> {
    let rate = match r.bits(4)? {
        EXPLICIT_RATE => r.bits(24)?,
        index => SAMPLE_RATES.get(index as usize).copied().unwrap_or(0),
    };
    if rate == 0 { Err(r.invalid("samplingFrequency")) } else { Ok(rate) }
}

fn write_rate(w: &mut BitWriter, rate: u32) {
    match SAMPLE_RATES.iter().position(|known| *known == rate) {
        Some(index) => w.bits(index as u32, 4),
        None => {
            w.bits(EXPLICIT_RATE, 4);
            w.bits(rate, 24);
        }
    }
}

/// §4.4.1: samples per access unit, and channels if an element spells them out.
fn read_general_audio(
    r: &mut BitReader<'_>,
    kind: u8,
    channel_configuration: u8,
    origin: usize,
) -> Result<(u32, Option<u8>), BitstreamError> {
    let short = r.flag()?;
    if r.flag()? {
        r.skip(14)?; // coreCoderDelay
    }
    let extended = r.flag()?;
    let channels = if channel_configuration == 0 { Some(read_program_config(r, origin)?) } else { None };
    if matches!(kind, object_type::SCALABLE | object_type::ER_SCALABLE) {
        r.skip(3)?; // layerNr
    }
    if extended {
        match kind {
            object_type::ER_BSAC => r.skip(5 + 11)?, // numOfSubFrame, layer_length
            17 | 19 | object_type::ER_SCALABLE | object_type::ER_LD => r.skip(3)?, // resilience flags
            _ => {}
        }
        r.skip(1)?; // extensionFlag3
    }
    let samples = match (kind, short) {
        (object_type::ER_LD, false) => 512,
        (object_type::ER_LD, true) => 480,
        (_, false) => 1024,
        (_, true) => 960,
    };
    Ok((samples, channels))
}

/// §4.6.20.3: ELDSpecificConfig without SBR.
fn read_eld(r: &mut BitReader<'_>) -> Result<(u32, Option<u8>), BitstreamError> {
    let samples = if r.flag()? { 480 } else { 512 };
    r.skip(3)?; // resilience flags
    if r.flag()? {
        return Err(BitstreamError::Unsupported { what: "ldSbr" });
    }
    // eldExtType: anything but the terminator carries a length that nothing here needs to read past.
    if r.bits(4)? != 0 {
        return Err(BitstreamError::Unsupported { what: "eldExtType" });
    }
    Ok((samples, None))
}

/// §4.5.1.2: how many channels a program config element has.
fn read_program_config(r: &mut BitReader<'_>, origin: usize) -> Result<u8, BitstreamError> {
    r.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let (front, side, back) = (r.bits(4)?, r.bits(4)?, r.bits(4)?);
    let (lfe, associated, coupling) = (r.bits(2)?, r.bits(3)?, r.bits(4)?);
    for bits in [4, 4, 3] {
        if r.flag()? {
            r.skip(bits)?; // mono, stereo and matrix mixdown
        }
    }
    let mut channels = lfe;
    for _ in 0..front + side + back {
        channels += if r.flag()? { 2 } else { 1 };
        r.skip(4)?;
    }
    r.skip((4 * lfe + 4 * associated + 5 * coupling) as usize)?;
    r.align(origin)?;
    let comment = r.bits(8)? as usize;
    r.skip(comment * 8)?;
    // 3 × 15 pairs and 3 more fit easily.
    if channels == 0 { Err(r.invalid("program_config_element")) } else { Ok(channels as u8) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    #[test]
    fn configs_of_real_encoders_are_read() {
        // (config, outermost type, rate heard, channels heard, samples heard per access unit)
        for (config, kind, rate, channels, samples) in [
            ("1190", 2, 48_000, 2, 1024),       // LC
            ("1588", 2, 8_000, 1, 1024),        // LC at a camera's rate
            ("1408", 2, 16_000, 1, 1024),       // LC
            ("119056e500", 2, 48_000, 2, 1024), // LC of ffmpeg: "no SBR" appended
            ("131056e598", 5, 48_000, 2, 2048), // SBR, backward compatible, 24 kHz core
            ("2b118800", 5, 48_000, 2, 2048),   // SBR, hierarchical
            ("eb098800", 29, 48_000, 2, 2048),  // PS, hierarchical: mono core
            ("139056e5a5", 5, 44_100, 2, 2048), // SBR, 22.05 kHz core
            ("1614", 2, 7_350, 2, 960),         // 960 samples
            ("1780181c88", 2, 12_345, 1, 1024), // rate written out
        ] {
            let parameters = AacParameters::parse(hex(config).into()).unwrap();
            assert_eq!(parameters.object_type, kind, "{config}");
            assert_eq!((parameters.sample_rate, parameters.channels), (rate, channels), "{config}");
            assert_eq!(parameters.frame_samples, samples, "{config}");
        }
    }

    #[test]
    fn channels_that_a_program_config_element_spells_out_are_counted() {
        // AAC-LC 48 kHz, channelConfiguration 0: one front pair, one front single, one back pair, one LFE.
        let mut w = BitWriter::new();
        for (value, count) in [(2, 5), (3, 4), (0, 4), (0, 3)] {
            w.bits(value, count);
        }
        for (value, count) in [(0, 4), (1, 2), (3, 4), (2, 4), (0, 4), (1, 4), (1, 2), (0, 3), (0, 4), (0, 3)] {
            w.bits(value, count);
        }
        for (pair, tag) in [(0, 0), (1, 0), (1, 1)] {
            w.bits(pair, 1);
            w.bits(tag, 4);
        }
        w.bits(0, 4);
        let mut config = w.finish();
        config.push(0);
        assert_eq!(AacConfig::parse(&config).unwrap().channels(), 6);
    }

    #[test]
    fn what_nothing_can_be_made_of_is_refused() {
        for config in ["", "11", "1690", "f8ff", "ffff", "1780000000", "11f8"] {
            assert!(AacConfig::parse(&hex(config)).is_err(), "{config}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rate in prop_oneof![proptest::sample::select(&SAMPLE_RATES[..]), 1_u32..(1 << 24)],
            channel_configuration in 1_u8..8,
            short: bool,
            sbr: bool,
            ps: bool,
        ) {
            let core_channels = if channel_configuration == 7 { 8 } else { channel_configuration };
            let config = AacConfig {
                channel_configuration,
                core_samples: if short { 960 } else { 1024 },
                sbr: sbr.then_some((rate * 2).min((1 << 24) - 1)),
                ps: ps && sbr,
                ..AacConfig::lc(rate, core_channels)
            };
            prop_assert_eq!(AacConfig::parse(&config.write()), Ok(config));
        }

        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(config in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(parameters) = AacParameters::parse(config.into()) {
                prop_assert!(parameters.sample_rate > 0 && parameters.channels > 0 && parameters.frame_samples > 0);
            }
        }
    }
}
