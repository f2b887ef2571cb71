//! How the packets of a track become units, chosen by what the SDP announces. Sans-IO.
//!
//! What the announcement lacks is learnt from the packets, and where they contradict it they are believed: a sequence
//! parameter set of the other codec makes an announced H.264 into H.265. What nobody here can take apart is opaque.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use bytes::Bytes;

use super::{depacketizer::FrameDepacketizer, parameters::ParameterSets, sdp, track::Incoming};
use crate::{
    base::Monotonic,
    media::{
        ClockRate, CodecParameters, MediaKind,
        h264::{self, RandomAccess},
        h265,
        jpeg::Jpeg,
        track::{AacParameters, OpaqueParameters, PcmParameters},
    },
    rtp::{
        aac_assembler::{AacAssembler, AuHeaderLayout},
        depacketise::Depacketiser,
        nal_assembler::{NalAssembler, NalFormat, format_of},
        packet::Header,
        pcm::{self, Sampling},
    },
};

/// What the SDP says of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// `video`, `audio`, `application` …
    pub(super) media: String,
    /// The encoding's name as the camera spells it.
    pub(super) encoding: String,
    pub(super) payload_type: u8,
    pub(super) clock_rate: u32,
    pub(super) channels: Option<u16>,
    pub(super) fmtp: Option<String>,
    /// Payload types of other formats in the same section, whose packets are not ours.
    pub(super) others: Vec<u8>,
}

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Yield {
    /// [`Form::parameters`] are others from the next piece on.
    Parameters,
    /// Another coding than before; its parameters are not known.
    Coding,
    Piece(Piece),
}

/// A unit before it has its times.
#[derive(Debug)]
pub(super) struct Piece {
    /// Ticks on the track's own timeline.
    pub(super) timestamp: i64,
    pub(super) payload: Bytes,
    pub(super) random_access: bool,
    pub(super) after_loss: bool,
    pub(super) marker: bool,
}

/// What a track is made of.
#[derive(Debug)]
pub(super) struct Form {
    kind: FormKind,
    parameters: Option<CodecParameters>,
}

#[derive(Debug)]
enum FormKind {
    Nal(Box<NalForm>),
    Aac(AacAssembler),
    /// By `rtp`: VP8, VP9, AV1, Opus, AAC in LATM.
    Packets(Box<Depacketiser>),
    /// By `retina`: JPEG.
    Frames(Box<FrameDepacketizer>),
    /// Samples: a packet is a unit, or several where it is too long for one.
    Samples(Sampling),
    Opaque,
}

#[derive(Debug)]
struct NalForm {
    format: NalFormat,
    assembler: NalAssembler,
    sets: ParameterSets,
    /// When the stream began, and when it last had an IDR picture.
    began: Option<Monotonic>,
    idr: Option<Monotonic>,
}

/// A stream without IDR pictures for so long has none: then gradual refresh is a beginning, too.
const NO_IDR: Duration = Duration::from_secs(10);

impl Form {
    /// The form of an offer, and the clock its timestamps count by.
    pub(super) fn new(kind: MediaKind, offer: &Offer) -> (Self, ClockRate) {
        let (kind, rate, parameters) = formed(kind, offer).unwrap_or_else(|| opaque(offer));
        (Self { kind, parameters }, rate)
    }

    pub(super) const fn parameters(&self) -> Option<&CodecParameters> {
        self.parameters.as_ref()
    }

    pub(super) const fn is_opaque(&self) -> bool {
        matches!(self.kind, FormKind::Opaque)
    }

    /// Whether units may be shown in another order than they come, and what is known of it: how many frames may wait,
    /// and frames per second × 1000.
    pub(super) fn reordering(&self) -> Option<(Option<u8>, Option<u32>)> {
        match &self.kind {
            FormKind::Nal(form) => Some(form.sets.timing()),
            _ => None,
        }
    }

    /// Takes the next packet and adds what came of it to `out`.
    pub(super) fn push(&mut self, packet: Incoming, out: &mut Vec<Yield>) -> Result<(), String> {
        let Incoming { timestamp, sequence, payload_type, marker, lost, payload, arrived, .. } = packet;
        match &mut self.kind {
            FormKind::Nal(form) => {
                form.push((timestamp, marker, lost > 0, payload), arrived, &mut self.parameters, out)
            }
            FormKind::Aac(assembler) => {
                let piece = |unit: crate::rtp::aac_assembler::AacUnit| {
                    out.push(Yield::Piece(Piece {
                        timestamp: unit.timestamp,
                        payload: unit.payload,
                        random_access: true,
                        after_loss: unit.after_loss,
                        marker: false,
                    }));
                };
                assembler.push(timestamp, lost > 0, payload, piece).map_err(|error| error.to_string())
            }
            FormKind::Packets(packets) => {
                let header = Header { marker, payload_type, sequence, timestamp: timestamp as u32, ssrc: 0 };
                for unit in packets.push(&header, &payload).map_err(|error| error.to_string())? {
                    if unit.parameters.is_some() && unit.parameters != self.parameters {
                        self.parameters = unit.parameters;
                        out.push(Yield::Parameters);
                    }
                    // It unwraps timestamps by itself, from wherever it began; ours are near.
                    let behind = (timestamp as u32).wrapping_sub(unit.timestamp as u32) as i32;
                    out.push(Yield::Piece(Piece {
                        timestamp: timestamp - i64::from(behind),
                        payload: unit.payload,
                        random_access: unit.random_access,
                        after_loss: unit.after_loss,
                        marker: false,
                    }));
                }
                Ok(())
            }
            FormKind::Frames(frames) => {
                let mut result = frames.push(timestamp, marker, lost, &payload);
                while let Some(frame) = frames.pull() {
                    match frame {
                        Ok(frame) => {
                            // A JPEG says how large it is.
                            let size = Jpeg::parse(&frame.payload).ok().map(|jpeg| CodecParameters::Jpeg(jpeg.size));
                            if size.is_some() && size != self.parameters {
                                self.parameters = size;
                                out.push(Yield::Parameters);
                            }
                            out.push(Yield::Piece(Piece {
                                timestamp: frame.timestamp,
                                payload: frame.payload,
                                random_access: true,
                                after_loss: frame.after_loss,
                                marker: false,
                            }));
                        }
                        Err(error) => result = Err(error),
                    }
                }
                result
            }
            FormKind::Samples(sampling) => {
                for (ticks, range) in pcm::pieces(payload.len(), *sampling) {
                    out.push(Yield::Piece(Piece {
                        timestamp: timestamp + ticks as i64,
                        payload: payload.slice(range),
                        random_access: true,
                        after_loss: lost > 0 && ticks == 0,
                        marker: false,
                    }));
                }
                Ok(())
            }
            FormKind::Opaque => {
                let after_loss = lost > 0;
                out.push(Yield::Piece(Piece { timestamp, payload, random_access: true, after_loss, marker }));
                Ok(())
            }
        }
    }
}

impl NalForm {
    fn new(format: NalFormat, fmtp: Option<&str>) -> Self {
        let numbered = fmtp.and_then(|fmtp| sdp::parameter(fmtp, "sprop-max-don-diff"));
        let numbered = numbered.is_some_and(|value| value.parse().is_ok_and(|most: u32| most > 0));
        Self {
            format,
            assembler: NalAssembler::new(format, numbered),
            sets: ParameterSets::announced(format, fmtp),
            began: None,
            idr: None,
        }
    }

    fn push(
        &mut self,
        (timestamp, marker, lost, payload): (i64, bool, bool, Bytes),
        now: Monotonic,
        parameters: &mut Option<CodecParameters>,
        out: &mut Vec<Yield>,
    ) -> Result<(), String> {
        if let Some(format) = format_of(&payload)
            && format != self.format
        {
            *self = Self::new(format, None);
            *parameters = None;
            out.push(Yield::Coding);
        }
        let result = self.assembler.push(timestamp, marker, lost, payload).map_err(|error| error.to_string());
        while let Some(unit) = self.assembler.pull() {
            if self.sets.offer(&unit.parameter_sets) {
                *parameters = self.sets.parameters().cloned();
                out.push(Yield::Parameters);
            }
            out.push(Yield::Piece(Piece {
                timestamp: unit.timestamp,
                random_access: self.is_random_access(&unit.payload, now),
                payload: unit.payload,
                after_loss: unit.after_loss,
                marker: false,
            }));
        }
        result
    }

    fn is_random_access(&mut self, payload: &[u8], now: Monotonic) -> bool {
        if self.format == NalFormat::H265 {
            // NAL unit types 16 to 23: IDR, BLA and CRA.
            return h265::random_access(payload);
        }
        let began = *self.began.get_or_insert(now);
        match h264::random_access(payload) {
            None => false,
            Some(RandomAccess::Idr) => {
                self.idr = Some(now);
                true
            }
            Some(RandomAccess::RecoveryPoint { frames: 0 }) => true,
            // A picture that gets better over some frames is worth showing where there is no other.
            Some(RandomAccess::RecoveryPoint { .. }) => now.since(self.idr.unwrap_or(began)) >= NO_IDR,
        }
    }
}

type Formed = (FormKind, ClockRate, Option<CodecParameters>);

/// How the packets of an offer become units, if anybody here knows how.
fn formed(kind: MediaKind, offer: &Offer) -> Option<Formed> {
    let encoding = offer.encoding.to_ascii_lowercase();
    let fmtp = offer.fmtp.as_deref();
    let announced = ClockRate::new(offer.clock_rate)?;
    let channels = offer.channels.and_then(|channels| u8::try_from(channels).ok()).filter(|n| *n > 0);
    let pcm = |rate: ClockRate| PcmParameters { sample_rate: rate.hz(), channels: channels.unwrap_or(1) };
    Some(match (kind, encoding.as_str()) {
        (MediaKind::Video, "h264" | "h265" | "hevc") => {
            let format = if encoding == "h264" { NalFormat::H264 } else { NalFormat::H265 };
            let form = NalForm::new(format, fmtp);
            let parameters = form.sets.parameters().cloned();
            // RFC 6184 §8.2.1, RFC 7798 §7.1: the clock is 90 kHz, whatever is announced.
            (FormKind::Nal(Box::new(form)), ClockRate::VIDEO, parameters)
        }
        (MediaKind::Video, "jpeg") => {
            let rate = NonZeroU32::new(90_000)?;
            let frames = FrameDepacketizer::new("video", "jpeg", rate, None, fmtp)?;
            (FormKind::Frames(Box::new(frames)), ClockRate::VIDEO, None)
        }
        (MediaKind::Audio, "mpeg4-generic") => aac(announced, fmtp?)?,
        // RFC 7587 §4.1, §7: 48 kHz and two channels, whatever is announced.
        (MediaKind::Audio, "opus") => packets(&encoding, ClockRate::OPUS, fmtp)?,
        (MediaKind::Audio, "mp4a-latm") => packets(&encoding, announced, fmtp)?,
        (MediaKind::Video, "vp8" | "vp9" | "av1") => packets(&encoding, ClockRate::VIDEO, fmtp)?,
        (MediaKind::Audio, "pcma") => {
            (samples(Sampling::octets, &pcm(announced)), announced, Some(CodecParameters::G711A(pcm(announced))))
        }
        (MediaKind::Audio, "pcmu") => {
            (samples(Sampling::octets, &pcm(announced)), announced, Some(CodecParameters::G711U(pcm(announced))))
        }
        (MediaKind::Audio, "g722") => {
            // RFC 3551 §4.5.2: sampled at 16 kHz, counted at 8.
            let parameters = PcmParameters { sample_rate: 16_000, channels: channels.unwrap_or(1) };
            let form = samples(Sampling::octets, &parameters);
            (form, ClockRate::TELEPHONE, Some(CodecParameters::G722(parameters)))
        }
        (MediaKind::Audio, "l16") => {
            // RFC 3551 table 4: the static types 10 and 11 are 44.1 kHz; retina has a zero too many there.
            let rate = if matches!(offer.payload_type, 10 | 11) { ClockRate::new(44_100)? } else { announced };
            (samples(Sampling::l16, &pcm(rate)), rate, Some(CodecParameters::L16(pcm(rate))))
        }
        _ => return None,
    })
}

fn samples(sampling: fn(&PcmParameters) -> Sampling, parameters: &PcmParameters) -> FormKind {
    FormKind::Samples(sampling(parameters))
}

fn packets(encoding: &str, rate: ClockRate, fmtp: Option<&str>) -> Option<Formed> {
    let depacketiser = Depacketiser::new(encoding, rate, fmtp).ok()??;
    let parameters = depacketiser.parameters();
    Some((FormKind::Packets(Box::new(depacketiser)), rate, parameters))
}

/// RFC 3640 §4.1.
fn aac(rate: ClockRate, fmtp: &str) -> Option<Formed> {
    let config = sdp::parameter(fmtp, "config").and_then(sdp::hexadecimal)?;
    let parameters = AacParameters::parse(config).ok()?;
    let mode = sdp::parameter(fmtp, "mode").unwrap_or("AAC-hbr");
    let usual =
        if mode.eq_ignore_ascii_case("AAC-lbr") { AuHeaderLayout::LOW_BIT_RATE } else { AuHeaderLayout::HIGH_BIT_RATE };
    let bits = |name, usual| sdp::parameter(fmtp, name).and_then(|value| value.parse().ok()).unwrap_or(usual);
    let layout = AuHeaderLayout {
        size_bits: bits("sizelength", usual.size_bits).min(16),
        index_bits: bits("indexlength", usual.index_bits).min(16),
        index_delta_bits: bits("indexdeltalength", usual.index_delta_bits).min(16),
    };
    // The RTP clock may be that of the core coder where the parameters count after the extension.
    let ticks = u64::from(parameters.frame_samples) * u64::from(rate.hz()) / u64::from(parameters.sample_rate.max(1));
    let assembler = AacAssembler::new(layout, u32::try_from(ticks).ok()?);
    Some((FormKind::Aac(assembler), rate, Some(CodecParameters::Aac(parameters))))
}

fn opaque(offer: &Offer) -> Formed {
    let parameters = OpaqueParameters {
        encoding: offer.encoding.clone(),
        channels: offer.channels.filter(|channels| NonZeroU16::new(*channels).is_some()),
        fmtp: offer.fmtp.clone(),
        static_payload_type: Some(offer.payload_type).filter(|payload_type| *payload_type < 96),
    };
    let rate = ClockRate::new(offer.clock_rate).unwrap_or(ClockRate::VIDEO);
    (FormKind::Opaque, rate, Some(CodecParameters::Opaque(parameters)))
}
