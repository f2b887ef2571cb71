//! One track of a camera as a machine: what its SDP announces, and packets into access units. Sans-IO.
//!
//! A track begins *known* when the announcement is enough for a decoder, else it becomes known by what its packets carry.
//! One that nobody here can take apart is opaque: its packets pass as they are.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::{depacketizer::FrameDepacketizer, parameters::ParameterSets, sdp};
use crate::{
    base::{Monotonic, WallTime},
    media::{
        ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription,
        h264::{self, RandomAccess},
        h265,
        jpeg::Jpeg,
        reorder::DecodeOrder,
        track::{AacParameters, OpaqueParameters, OpusParameters, PcmParameters},
    },
    rtp::{
        aac_assembler::{AacAssembler, AuHeaderLayout},
        capture::CaptureClock,
        nal_assembler::{AssembledUnit, NalAssembler, NalFormat, format_of},
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

/// A packet of a track.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// Ticks on the track's own timeline, unwrapped.
    pub(super) timestamp: i64,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    /// Packets missing before this one.
    pub(super) lost: u16,
    pub(super) payload: Bytes,
    pub(super) arrived: Monotonic,
    pub(super) arrived_wall: WallTime,
}

/// A unit of a track, on the track's own timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrackUnit {
    pub(super) pts: MediaTime,
    pub(super) dts: MediaTime,
    pub(super) captured: WallTime,
    pub(super) arrived: Monotonic,
    pub(super) random_access: bool,
    pub(super) after_loss: bool,
    pub(super) marker: bool,
    pub(super) payload: Bytes,
}

/// What a packet led to, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The track's parameters are others from the next unit on.
    Parameters,
    /// The track is of another coding than announced; what it was before is no more.
    Coding,
    Unit(TrackUnit),
    /// Timestamps jumped.
    Jump,
}

/// A track that is being received.
#[derive(Debug)]
pub(super) struct Track {
    kind: MediaKind,
    clock_rate: ClockRate,
    others: Vec<u8>,
    parameters: Option<CodecParameters>,
    form: Form,
    order: DecodeOrder,
    capture: CaptureClock,
    /// The newest unit's time and arrival, to see jumps.
    newest: Option<(MediaTime, Monotonic)>,
    /// When the stream of pictures last had an IDR picture, and when it began.
    refresh: Refresh,
}

/// How packets become units.
#[derive(Debug)]
enum Form {
    Nal(Box<NalForm>),
    Aac(AacAssembler),
    Frames(Box<FrameDepacketizer>),
    /// One packet is one unit.
    Whole,
    Opaque,
}

#[derive(Debug)]
struct NalForm {
    format: NalFormat,
    assembler: NalAssembler,
    sets: ParameterSets,
}

/// Whether gradual refresh counts as random access: only in a stream that has nothing better.
#[derive(Debug, Default)]
struct Refresh {
    since: Option<Monotonic>,
    idr: Option<Monotonic>,
}

/// A stream without IDR pictures for so long has none.
const NO_IDR: std::time::Duration = std::time::Duration::from_secs(10);

/// Timestamps and arrival further apart than this from one unit to the next are a jump.
const JUMP: MediaTime = MediaTime::from_millis(10_000);

impl Track {
    pub(super) fn new(offer: &Offer) -> Self {
        let kind = match offer.media.as_str() {
            "video" | "image" => MediaKind::Video,
            "audio" => MediaKind::Audio,
            _ => MediaKind::Application,
        };
        let (form, clock_rate, parameters) = form(kind, offer).unwrap_or_else(|| opaque(offer));
        let order = DecodeOrder::new(None, None);
        let mut track = Self {
            kind,
            clock_rate,
            others: offer.others.clone(),
            parameters,
            form,
            order,
            capture: CaptureClock::new(),
            newest: None,
            refresh: Refresh::default(),
        };
        track.retime();
        track
    }

    pub(super) const fn kind(&self) -> MediaKind {
        self.kind
    }

    pub(super) const fn is_opaque(&self) -> bool {
        matches!(self.form, Form::Opaque)
    }

    pub(super) const fn clock_rate(&self) -> ClockRate {
        self.clock_rate
    }

    /// What a decoder needs, once that is known.
    pub(super) const fn parameters(&self) -> Option<&CodecParameters> {
        self.parameters.as_ref()
    }

    /// What the hub is told of it, once that is known.
    pub(super) fn description(&self) -> Option<TrackDescription> {
        let parameters = self.parameters.clone()?;
        Some(TrackDescription { kind: self.kind, clock_rate: self.clock_rate, parameters })
    }

    /// A sender report: an NTP time and the same moment in ticks of the track.
    pub(super) fn handle_report(&mut self, ntp: u64, timestamp: i64, arrived: WallTime) {
        self.capture.report(ntp, MediaTime::from_ticks(timestamp, self.clock_rate), arrived);
    }

    /// Takes the next packet and adds what came of it to `out`.
    ///
    /// # Errors
    /// The packet is of no use, for the reason given; the next ones are taken as ever.
    pub(super) fn handle_packet(&mut self, packet: Incoming, out: &mut Vec<Outcome>) -> Result<(), String> {
        if self.others.contains(&packet.payload_type) {
            // Comfort noise, telephone events and the like are no part of the track.
            return Ok(());
        }
        let Incoming { timestamp, marker, lost, payload, arrived, arrived_wall, .. } = packet;
        let at = At { arrived, wall: arrived_wall };
        match &mut self.form {
            Form::Nal(_) => self.handle_nal(timestamp, marker, lost > 0, payload, at, out),
            Form::Aac(assembler) => {
                let mut units = Vec::new();
                let result = assembler.push(timestamp, lost > 0, payload, |unit| units.push(unit));
                for unit in units {
                    self.give(unit.timestamp, unit.payload, true, unit.after_loss, false, at, out);
                }
                result.map_err(|error| error.to_string())
            }
            Form::Frames(frames) => {
                let mut result = frames.push(timestamp, marker, lost, &payload);
                while let Form::Frames(frames) = &mut self.form
                    && let Some(frame) = frames.pull()
                {
                    match frame {
                        Ok(frame) => {
                            self.learn_picture(&frame.payload, out);
                            self.give(frame.timestamp, frame.payload, true, frame.after_loss, false, at, out);
                        }
                        Err(error) => result = Err(error),
                    }
                }
                result
            }
            Form::Whole if payload.is_empty() => Ok(()),
            Form::Whole | Form::Opaque => {
                self.give(timestamp, payload, true, lost > 0, marker, at, out);
                Ok(())
            }
        }
    }

    fn handle_nal(
        &mut self,
        timestamp: i64,
        marker: bool,
        lost: bool,
        payload: Bytes,
        at: At,
        out: &mut Vec<Outcome>,
    ) -> Result<(), String> {
        let Form::Nal(form) = &mut self.form else { return Ok(()) };
        if let Some(format) = format_of(&payload)
            && format != form.format
        {
            **form = NalForm::new(format, None);
            self.parameters = None;
            self.order = DecodeOrder::new(None, None);
            out.push(Outcome::Coding);
        }
        let Form::Nal(form) = &mut self.form else { return Ok(()) };
        let result = form.assembler.push(timestamp, marker, lost, payload).map_err(|error| error.to_string());
        while let Form::Nal(form) = &mut self.form
            && let Some(unit) = form.assembler.pull()
        {
            let AssembledUnit { timestamp, payload, parameter_sets, after_loss } = unit;
            if form.sets.offer(&parameter_sets) {
                self.parameters = form.sets.parameters().cloned();
                out.push(Outcome::Parameters);
                self.retime();
            }
            let random_access = self.is_random_access(&payload, at.arrived);
            self.give(timestamp, payload, random_access, after_loss, false, at, out);
        }
        result
    }

    fn is_random_access(&mut self, payload: &[u8], now: Monotonic) -> bool {
        let Form::Nal(form) = &self.form else { return true };
        if form.format == NalFormat::H265 {
            // NAL unit types 16 to 23: IDR, BLA and CRA.
            return h265::random_access(payload);
        }
        let since = *self.refresh.since.get_or_insert(now);
        match h264::random_access(payload) {
            None => false,
            Some(RandomAccess::Idr) => {
                self.refresh.idr = Some(now);
                true
            }
            Some(RandomAccess::RecoveryPoint { frames: 0 }) => true,
            // Gradual refresh: a picture that gets better over some frames is worth showing where there is no other.
            Some(RandomAccess::RecoveryPoint { .. }) => now.since(self.refresh.idr.unwrap_or(since)) >= NO_IDR,
        }
    }

    /// Decode times follow what the parameter sets say of waiting frames.
    fn retime(&mut self) {
        if let Form::Nal(form) = &self.form {
            let (depth, rate) = form.sets.timing();
            if depth.is_some_and(|depth| depth != self.order.depth()) || self.newest.is_none() {
                self.order = DecodeOrder::new(depth, rate);
            }
        }
    }

    /// A JPEG says how large it is.
    fn learn_picture(&mut self, picture: &[u8], out: &mut Vec<Outcome>) {
        let Ok(jpeg) = Jpeg::parse(picture) else { return };
        let parameters = Some(CodecParameters::Jpeg(jpeg.size));
        if self.parameters != parameters {
            self.parameters = parameters;
            out.push(Outcome::Parameters);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the unit that is made of them")]
    fn give(
        &mut self,
        timestamp: i64,
        payload: Bytes,
        random_access: bool,
        after_loss: bool,
        marker: bool,
        at: At,
        out: &mut Vec<Outcome>,
    ) {
        let mut pts = MediaTime::from_ticks(timestamp, self.clock_rate);
        if let Some((before, arrived)) = self.newest
            && ((pts - before) - MediaTime::from(at.arrived.since(arrived))).abs() > JUMP
        {
            self.order.restart();
            self.capture.restart();
            out.push(Outcome::Jump);
        }
        self.newest = Some((pts, at.arrived));
        let mut dts = pts;
        if matches!(self.form, Form::Nal(_)) {
            let timing = self.order.push(pts).or_else(|| {
                self.order.restart();
                self.order.push(pts)
            });
            if let Some(timing) = timing {
                (pts, dts) = (timing.pts, timing.dts);
            }
        }
        let captured = self.capture.unit(pts, at.wall);
        out.push(Outcome::Unit(TrackUnit {
            pts,
            dts,
            captured,
            arrived: at.arrived,
            random_access,
            after_loss,
            marker,
            payload,
        }));
    }
}

#[derive(Clone, Copy)]
struct At {
    arrived: Monotonic,
    wall: WallTime,
}

impl NalForm {
    fn new(format: NalFormat, fmtp: Option<&str>) -> Self {
        let numbered = fmtp.and_then(|fmtp| sdp::parameter(fmtp, "sprop-max-don-diff"));
        let numbered = numbered.is_some_and(|value| value.parse().is_ok_and(|most: u32| most > 0));
        Self { format, assembler: NalAssembler::new(format, numbered), sets: ParameterSets::announced(format, fmtp) }
    }
}

type Formed = (Form, ClockRate, Option<CodecParameters>);

/// How the packets of an offer become units, if anybody here knows how.
fn form(kind: MediaKind, offer: &Offer) -> Option<Formed> {
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
            (Form::Nal(Box::new(form)), ClockRate::VIDEO, parameters)
        }
        (MediaKind::Video, "jpeg") => {
            let rate = NonZeroU32::new(90_000)?;
            let frames = FrameDepacketizer::new("video", "jpeg", rate, None, fmtp)?;
            (Form::Frames(Box::new(frames)), ClockRate::VIDEO, None)
        }
        (MediaKind::Audio, "mpeg4-generic") => aac(announced, fmtp?)?,
        (MediaKind::Audio, "opus") => {
            // RFC 7587 §4.1, §7: 48 kHz and two channels, whatever is announced; `sprop-stereo` tells of one.
            let stereo = fmtp.and_then(|fmtp| sdp::parameter(fmtp, "sprop-stereo"));
            let channels = if stereo == Some("0") { 1 } else { 2 };
            (Form::Whole, ClockRate::OPUS, Some(CodecParameters::Opus(OpusParameters { channels })))
        }
        (MediaKind::Audio, "pcma") => (Form::Whole, announced, Some(CodecParameters::G711A(pcm(announced)))),
        (MediaKind::Audio, "pcmu") => (Form::Whole, announced, Some(CodecParameters::G711U(pcm(announced)))),
        (MediaKind::Audio, "g722") => {
            // RFC 3551 §4.5.2: sampled at 16 kHz, counted at 8.
            let parameters = PcmParameters { sample_rate: 16_000, channels: channels.unwrap_or(1) };
            (Form::Whole, ClockRate::TELEPHONE, Some(CodecParameters::G722(parameters)))
        }
        (MediaKind::Audio, "l16") => {
            // RFC 3551 table 4: the static types 10 and 11 are 44.1 kHz; retina has a zero too many there.
            let rate = if matches!(offer.payload_type, 10 | 11) { ClockRate::new(44_100)? } else { announced };
            (Form::Whole, rate, Some(CodecParameters::L16(pcm(rate))))
        }
        _ => return None,
    })
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
    Some((Form::Aac(assembler), rate, Some(CodecParameters::Aac(parameters))))
}

fn opaque(offer: &Offer) -> Formed {
    let parameters = OpaqueParameters {
        encoding: offer.encoding.clone(),
        channels: offer.channels.filter(|channels| NonZeroU16::new(*channels).is_some()),
        fmtp: offer.fmtp.clone(),
        static_payload_type: Some(offer.payload_type).filter(|payload_type| *payload_type < 96),
    };
    let rate = ClockRate::new(offer.clock_rate).unwrap_or(ClockRate::VIDEO);
    (Form::Opaque, rate, Some(CodecParameters::Opaque(parameters)))
}

#[cfg(test)]
mod tests;
