//! AAC in LATM from RTP (RFC 6416 §6; AudioMuxElement and StreamMuxConfig of ISO/IEC 14496-3 §1.7.3).
//!
//! One programme with one layer is read, which is all that cameras send; access units come out as RFC 3640 would
//! carry them. Not here: a planner; readers get AAC as RFC 3640.

use bytes::{Bytes, BytesMut};

use super::depacketise::{Assembled, Assembly, DepacketiseError, Position, fmtp_value};
use crate::media::{
    ClockRate, CodecParameters,
    aac::{AacConfig, SBR_SYNC},
    bits::{BitReader, BitWriter, BitstreamError},
    track::AacParameters,
};

/// How access units lie in an element (§1.7.3.2 StreamMuxConfig).
#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamMuxConfig {
    parameters: AacParameters,
    /// Access units per element.
    sub_frames: u32,
    frame_length: FrameLength,
    other_data_bits: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameLength {
    /// `frameLengthType` 0: the length stands before each access unit.
    Coded,
    /// `frameLengthType` 1: all have so many bytes.
    Fixed(usize),
}

#[derive(Debug)]
pub(super) struct Assembler {
    clock: ClockRate,
    config_in_band: bool,
    config: Option<StreamMuxConfig>,
    /// The configuration in force was told to whoever asks for units.
    announced: bool,
    assembly: Assembly,
    /// The element after a gap may be the end of one that was lost: it must come out even to be believed.
    doubtful: bool,
}

impl Assembler {
    /// RFC 6416 §7.3: `cpresent` is 1 unless it is said to be 0, and then `config` must be there.
    pub(super) fn new(clock: ClockRate, fmtp: Option<&str>) -> Result<Self, DepacketiseError> {
        let config_in_band = fmtp_value(fmtp, "cpresent") != Some("0");
        let config = match fmtp_value(fmtp, "config").map(parse_hex) {
            Some(Some(mut bytes)) => {
                // GStreamer ends it with the AudioSpecificConfig; what is left out is zero.
                bytes.extend_from_slice(&[0; 4]);
                StreamMuxConfig::read(&mut BitReader::new(&bytes)).map_err(fault).map(Some)
            }
            Some(None) => Err(DepacketiseError::Malformed { format: "MP4A-LATM", what: "config" }),
            None => Ok(None),
        };
        let config = match config {
            // In band it comes again, and right.
            Err(_) if config_in_band => None,
            Ok(None) if !config_in_band => {
                return Err(DepacketiseError::Malformed { format: "MP4A-LATM", what: "missing config" });
            }
            config => config?,
        };
        let announced = config.is_some();
        Ok(Self { clock, config_in_band, config, announced, assembly: Assembly::default(), doubtful: false })
    }

    pub(super) fn parameters(&self) -> Option<CodecParameters> {
        self.config.as_ref().map(|config| CodecParameters::Aac(config.parameters.clone()))
    }

    /// §6.1: an element may be cut over packets, the last of which has the marker; there is no sign of the first.
    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        // A sender that never sets the marker ends an element by the next timestamp.
        let unmarked = self.assembly.arrive(&position);
        let mut done = match unmarked {
            Some((timestamp, element)) => self.finish(timestamp, &element).unwrap_or_default(),
            None => Vec::new(),
        };
        self.doubtful |= position.after_gap;
        self.assembly.begin(&position);
        self.assembly.append(payload)?;
        if position.marker
            && let Some((timestamp, element)) = self.assembly.end()
        {
            done.extend(self.finish(timestamp, &element)?);
        }
        Ok(done)
    }

    /// The access units of an element.
    fn finish(&mut self, timestamp: i64, element: &[u8]) -> Result<Vec<Assembled>, DepacketiseError> {
        let units = self.read_element(element).map_err(fault).inspect_err(|_| self.assembly.lose())?;
        let Some(config) = &self.config else { return Ok(Vec::new()) };
        let mut parameters =
            (!std::mem::replace(&mut self.announced, true)).then(|| CodecParameters::Aac(config.parameters.clone()));
        let (samples, rate) = (i64::from(config.parameters.frame_samples), i64::from(config.parameters.sample_rate));
        let mut after_loss = self.assembly.take_loss();
        let unit = |(index, payload)| Assembled {
            timestamp: timestamp.wrapping_add(index * samples * i64::from(self.clock.hz()) / rate),
            payload,
            random_access: true,
            after_loss: std::mem::take(&mut after_loss),
            parameters: parameters.take(),
        };
        Ok((0..).zip(units).map(unit).collect())
    }

    /// §1.7.3.1 AudioMuxElement.
    fn read_element(&mut self, element: &[u8]) -> Result<Vec<Bytes>, BitstreamError> {
        let r = &mut BitReader::new(element);
        let same_config = !self.config_in_band || r.flag()?;
        if !same_config {
            let config = StreamMuxConfig::read(r)?;
            if self.config.as_ref() != Some(&config) {
                self.announced &= self.config.as_ref().is_some_and(|known| known.parameters == config.parameters);
                self.config = Some(config);
            }
        }
        // Until a configuration comes nothing can be read, and that is no fault.
        let Some(config) = &self.config else { return Ok(Vec::new()) };
        let mut units = Vec::new();
        for _ in 0..config.sub_frames {
            let len = match config.frame_length {
                FrameLength::Fixed(len) => len,
                FrameLength::Coded => read_length(r)?,
            };
            units.push(read_bytes(r, len)?);
        }
        r.skip(config.other_data_bits)?;
        // Only the bits that fill the last byte may be left.
        if std::mem::replace(&mut self.doubtful, false) && r.remaining() >= 8 {
            return Err(r.invalid("element after a gap"));
        }
        units.retain(|unit| !unit.is_empty());
        Ok(units)
    }
}

impl StreamMuxConfig {
    fn read(r: &mut BitReader<'_>) -> Result<Self, BitstreamError> {
        let version = r.flag()?;
        if version && r.flag()? {
            return Err(BitstreamError::Unsupported { what: "audioMuxVersionA" });
        }
        if version {
            read_value(r)?; // taraBufferFullness
        }
        if !r.flag()? {
            return Err(BitstreamError::Unsupported { what: "allStreamsSameTimeFraming 0" });
        }
        let sub_frames = r.bits(6)? + 1;
        if r.bits(4)? != 0 || r.bits(3)? != 0 {
            return Err(BitstreamError::Unsupported { what: "more than one programme or layer" });
        }
        let parameters = if version {
            let len = read_value(r)? as usize;
            let config = copy_bits(&mut r.clone(), len)?;
            r.skip(len)?;
            AacParameters::parse(config)?
        } else {
            let start = r.clone();
            let mut parsed = AacConfig::read(r)?;
            // Nothing says where it ends but itself, so that no extension may stand behind it. GStreamer puts one there
            // all the same; what it begins with would be the reserved frameLengthType 2.
            if r.clone().bits(11).is_ok_and(|bits| bits == SBR_SYNC) {
                parsed.read_sync_extension(r);
            }
            let config = copy_bits(&mut start.clone(), r.position() - start.position())?;
            AacParameters::new(&parsed, config)
        };
        let frame_length = match r.bits(3)? {
            0 => {
                r.skip(8)?; // latmBufferFullness
                FrameLength::Coded
            }
            // §1.7.3.2: frameLength counts bytes from 20.
            1 => FrameLength::Fixed(r.bits(9)? as usize + 20),
            _ => return Err(BitstreamError::Unsupported { what: "frameLengthType" }),
        };
        let mut other_data_bits = 0_usize;
        if r.flag()? {
            if version {
                other_data_bits = read_value(r)? as usize;
            } else {
                while {
                    let more = r.flag()?;
                    other_data_bits = (other_data_bits << 8 | r.bits(8)? as usize) & 0xffff_ffff;
                    more
                } {}
            }
        }
        if r.flag()? {
            r.skip(8)?; // crcCheckSum
        }
        Ok(Self { parameters, sub_frames, frame_length, other_data_bits })
    }
}

/// §1.7.3.1 LatmGetValue.
fn read_value(r: &mut BitReader<'_>) -> Result<u32, BitstreamError> {
    let bytes = r.bits(2)? + 1;
    r.bits(bytes * 8)
}

/// §1.7.3.1 PayloadLengthInfo: bytes are added up to the first that is not 255.
fn read_length(r: &mut BitReader<'_>) -> Result<usize, BitstreamError> {
    let mut len = 0;
    loop {
        let byte = r.byte()?;
        len += usize::from(byte);
        if byte != 255 {
            return Ok(len);
        }
    }
}

/// Bytes that may lie across byte boundaries.
fn read_bytes(r: &mut BitReader<'_>, len: usize) -> Result<Bytes, BitstreamError> {
    if len > r.remaining() / 8 {
        return Err(BitstreamError::Truncated { at: r.position() + r.remaining() });
    }
    let mut out = BytesMut::with_capacity(len);
    for _ in 0..len {
        out.extend_from_slice(&[r.byte()?]);
    }
    Ok(out.freeze())
}

fn copy_bits(r: &mut BitReader<'_>, len: usize) -> Result<Bytes, BitstreamError> {
    if len > r.remaining() {
        return Err(BitstreamError::Truncated { at: r.position() + r.remaining() });
    }
    let mut out = BitWriter::new();
    for _ in 0..len {
        out.flag(r.flag()?);
    }
    Ok(out.finish().into())
}

fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u8>> = digits.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let nibbles = nibbles?;
    // A half byte at the end is filled with zeros, as some write it.
    (!nibbles.is_empty()).then(|| nibbles.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect())
}

const fn fault(error: BitstreamError) -> DepacketiseError {
    match error {
        BitstreamError::Invalid { what, .. } => DepacketiseError::Malformed { format: "MP4A-LATM", what },
        BitstreamError::Unsupported { what } => DepacketiseError::Unsupported { format: "MP4A-LATM", what },
        BitstreamError::Truncated { .. } => DepacketiseError::Malformed { format: "MP4A-LATM", what: "length" },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::testing::hex,
        rtp::{depacketise::Depacketiser, packet::Header},
    };

    fn new(fmtp: &str) -> Result<Depacketiser, DepacketiseError> {
        Depacketiser::new("MP4A-LATM", ClockRate::OPUS, Some(fmtp)).map(Option::unwrap)
    }

    fn header(sequence: u16, timestamp: u32, marker: bool) -> Header {
        Header { marker, payload_type: 96, sequence, timestamp, ssrc: 1 }
    }

    fn aac(parameters: Option<CodecParameters>) -> AacParameters {
        let Some(CodecParameters::Aac(parameters)) = parameters else { panic!("{parameters:?}") };
        parameters
    }

    /// An element in band: its configuration if there is one, then units with coded lengths.
    fn element(config: Option<&AacConfig>, units: &[&[u8]]) -> Vec<u8> {
        let mut w = BitWriter::new();
        w.flag(config.is_none());
        if let Some(config) = config {
            for (value, count) in [(0, 1), (1, 1), (units.len() as u32 - 1, 6), (0, 4), (0, 3)] {
                w.bits(value, count);
            }
            config.write().iter().for_each(|byte| w.bits(u32::from(*byte), 8));
            for (value, count) in [(0, 3), (255, 8), (0, 1), (0, 1)] {
                w.bits(value, count);
            }
        }
        for unit in units {
            (0..unit.len() / 255).for_each(|_| w.bits(255, 8));
            w.bits((unit.len() % 255) as u32, 8);
            unit.iter().for_each(|byte| w.bits(u32::from(*byte), 8));
        }
        w.finish()
    }

    #[test]
    fn configurations_of_real_senders_are_read() {
        for (fmtp, config, rate, channels) in [
            // An example of RFC 6416 §7.4.
            ("profile-level-id=1; object=2; cpresent=0; config=400026203fc0", "1310", 24_000, 2),
            // GStreamer: no bits behind the AudioSpecificConfig, which may bring the extension that says "no SBR".
            ("cpresent=0; config=4000231000", "1188", 48_000, 1),
            ("CPRESENT=0; CONFIG=40002310adca00; object=2", "118856e500", 48_000, 1),
        ] {
            let parameters = aac(new(fmtp).unwrap().parameters());
            assert!(parameters.config.starts_with(&hex(config)[..2]), "{fmtp}");
            assert_eq!((parameters.sample_rate, parameters.channels), (rate, channels), "{fmtp}");
            assert_eq!((parameters.object_type, parameters.frame_samples), (2, 1024), "{fmtp}");
        }
        for fmtp in ["cpresent=0", "cpresent=0;config=xyz", "cpresent=0;config=c0", "cpresent=0;config="] {
            assert!(new(fmtp).is_err(), "{fmtp}");
        }
        assert_eq!(new("cpresent=1;config=zz").unwrap().parameters(), None, "it will come in band");
    }

    #[test]
    fn units_with_a_configuration_out_of_band_are_taken_whole_and_cut() {
        let mut latm = new("cpresent=0;config=400023203fc0").unwrap();
        let units = latm.push(&header(1, 1024, true), &hex("03 aabbcc").into()).unwrap();
        assert_eq!((&units[0].payload[..], units[0].timestamp), (&[0xaa, 0xbb, 0xcc][..], 1024));
        assert!(units[0].random_access && !units[0].after_loss && units[0].parameters.is_none());
        assert!(latm.push(&header(2, 2048, false), &hex("ff 00").into()).unwrap().is_empty());
        let error = latm.push(&header(3, 2048, true), &hex("00").into());
        assert!(error.is_err(), "255 bytes were announced");
        assert!(latm.push(&header(4, 3072, false), &hex("03 aa").into()).unwrap().is_empty());
        let units = latm.push(&header(5, 3072, true), &hex("bbcc").into()).unwrap();
        assert_eq!((&units[0].payload[..], units[0].after_loss), (&[0xaa, 0xbb, 0xcc][..], true));
    }

    #[test]
    fn a_configuration_in_band_is_told_when_it_is_new() {
        let mut latm = new("").unwrap();
        let (one, other) = (AacConfig::lc(48_000, 2), AacConfig::lc(44_100, 1));
        let pushes = [
            (element(None, &[&[9]]), 0, None),
            (element(Some(&one), &[&[1; 300], &[2; 255]]), 2, Some(48_000)),
            (element(Some(&one), &[&[1], &[2]]), 2, None),
            (element(None, &[&[3], &[4]]), 2, None),
            (element(Some(&other), &[&[5]]), 1, Some(44_100)),
        ];
        for (index, (element, count, rate)) in (0_u16..).zip(pushes) {
            let timestamp = u32::from(index) * 2048;
            let units = latm.push(&header(index, timestamp, true), &element.into()).unwrap();
            assert_eq!(units.len(), count);
            let told = units.first().and_then(|unit| unit.parameters.clone());
            assert_eq!(told.map(|parameters| aac(Some(parameters)).sample_rate), rate);
            let times: Vec<i64> = units.iter().map(|unit| unit.timestamp - i64::from(timestamp)).collect();
            assert_eq!(times, [0, 1024][..count]);
        }
    }

    #[test]
    fn the_end_of_an_element_whose_beginning_was_lost_is_not_taken_for_one() {
        let mut latm = new("cpresent=0;config=400023203fc0").unwrap();
        assert_eq!(latm.push(&header(1, 0, true), &hex("01 aa").into()).unwrap().len(), 1);
        assert!(latm.push(&header(3, 1024, true), &hex("01 bb cc dd").into()).is_err());
        let units = latm.push(&header(4, 2048, true), &hex("01 cc").into()).unwrap();
        assert!(units[0].after_loss);
        // What comes out even is taken.
        let units = latm.push(&header(6, 4096, true), &hex("01 cc").into()).unwrap();
        assert!(units[0].after_loss);
    }

    #[test]
    fn version_one_tells_the_length_of_its_configuration() {
        // audioMuxVersion 1, fullness, one layer, 40 bits of AudioSpecificConfig with SBR appended, fixed length 20.
        let mut w = BitWriter::new();
        for (value, count) in [(1, 1), (0, 1), (0, 2), (7, 8), (1, 1), (0, 6), (0, 4), (0, 3), (0, 2), (40, 8)] {
            w.bits(value, count);
        }
        hex("131056e598").iter().for_each(|byte| w.bits(u32::from(*byte), 8));
        for (value, count) in [(1, 3), (0, 9), (1, 1), (0, 2), (4, 8), (0, 1)] {
            w.bits(value, count);
        }
        let config = w.finish();
        let read = StreamMuxConfig::read(&mut BitReader::new(&config)).unwrap();
        assert_eq!((read.parameters.object_type, read.parameters.sample_rate), (5, 48_000));
        assert_eq!((read.frame_length, read.other_data_bits), (FrameLength::Fixed(20), 4));
    }

    proptest! {
        #[test]
        fn elements_cut_anywhere_come_together(lens in proptest::collection::vec(1_usize..700, 1..8), cuts in proptest::collection::vec(1_usize..400, 1..9)) {
            let units: Vec<Vec<u8>> = lens.iter().map(|len| (0..*len).map(|i| i as u8).collect()).collect();
            let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let element = element(Some(&AacConfig::lc(48_000, 2)), &units);
            let mut latm = new("cpresent=1").unwrap();
            let (mut out, mut rest) = (Vec::new(), &element[..]);
            for (index, cut) in (0_u16..).zip(cuts.iter().cycle()) {
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                out.extend(latm.push(&header(index, 5, after.is_empty()), &Bytes::copy_from_slice(piece)).unwrap());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out.iter().map(|unit| &unit.payload[..]).collect::<Vec<_>>(), units);
        }

        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(
            in_band: bool,
            stream in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        ) {
            let mut latm = new(if in_band { "" } else { "cpresent=0;config=400023203fc0" }).unwrap();
            for (index, (marker, payload)) in (0_u16..).zip(stream) {
                let _ = latm.push(&header(index, u32::from(index / 2), marker), &payload.into());
            }
        }

        #[test]
        fn arbitrary_configurations_are_read_without_a_panic(config in "[0-9a-f]{0,60}") {
            let _ = new(&format!("cpresent=0;config={config}"));
        }
    }
}
