//! What the tests of this room and of `hls` share: tracks, and a camera that makes units.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    base::{Monotonic, WallTime},
    media::{
        ClockRate, CodecParameters, MediaKind, MediaTime, PictureSize, Plan, Track, TrackDescription, TrackId,
        TrackSet, Unit,
        aac::AacConfig,
        time::FLICKS_PER_SECOND,
        track::{AacParameters, H264Parameters, H265Parameters, OpaqueParameters, OpusParameters, PcmParameters},
    },
};

fn hex(digits: &str) -> Bytes {
    let digits: Vec<u32> = digits.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect::<Vec<_>>().into()
}

fn video(parameters: CodecParameters) -> TrackDescription {
    TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }
}

fn audio(rate: u32, parameters: CodecParameters) -> TrackDescription {
    TrackDescription { kind: MediaKind::Audio, clock_rate: ClockRate::new(rate).unwrap(), parameters }
}

/// 640×360, Constrained Baseline.
pub(crate) fn h264() -> TrackDescription {
    let sps = hex("6742c01ed900a02ff97011000003000100000300320f162e48");
    let mut parameters = H264Parameters { sps: vec![sps], pps: vec![hex("68cb83cb20")], ..<_>::default() };
    parameters.size = Some(PictureSize { width: 640, height: 360 });
    video(CodecParameters::H264(parameters))
}

pub(crate) fn h265() -> TrackDescription {
    let parameters = H265Parameters {
        vps: vec![hex("40010c01ffff01600000030090000003000003003f959409")],
        sps: vec![hex("42010101600000030090000003000003003fa005020171f2e595952930bc05a02000000300200000030321")],
        pps: vec![hex("4401c073c189")],
        size: Some(PictureSize { width: 640, height: 360 }),
        ..<_>::default()
    };
    video(CodecParameters::H265(parameters))
}

pub(crate) fn jpeg() -> TrackDescription {
    video(CodecParameters::Jpeg(PictureSize { width: 640, height: 360 }))
}

pub(crate) fn aac(rate: u32) -> TrackDescription {
    audio(rate, CodecParameters::Aac(AacParameters::from_config(&AacConfig::lc(rate, 2))))
}

pub(crate) fn opus() -> TrackDescription {
    audio(48_000, CodecParameters::Opus(OpusParameters { channels: 2 }))
}

pub(crate) fn g711() -> TrackDescription {
    audio(8_000, CodecParameters::G711A(PcmParameters { sample_rate: 8_000, channels: 1 }))
}

pub(crate) fn onvif() -> TrackDescription {
    let parameters = opaque("vnd.onvif.metadata");
    TrackDescription { kind: MediaKind::Application, clock_rate: ClockRate::VIDEO, parameters }
}

pub(crate) fn opaque_audio() -> TrackDescription {
    audio(8_000, opaque("G723"))
}

fn opaque(encoding: &str) -> CodecParameters {
    let encoding = encoding.to_owned();
    CodecParameters::Opaque(OpaqueParameters { encoding, channels: None, fmtp: None, static_payload_type: None })
}

pub(crate) fn track_set(tracks: Vec<TrackDescription>) -> TrackSet {
    let track = |(id, description): (usize, TrackDescription)| {
        let TrackDescription { kind, clock_rate, parameters } = description;
        Arc::new(Track { id: TrackId(id as u8), kind, clock_rate, parameters, generation: 1, revision: 0 })
    };
    TrackSet { generation: 1, tracks: tracks.into_iter().enumerate().map(track).collect() }
}

/// The wall time at which the tests' monotonic clock shows zero: 2026-11-20T10:00:00Z.
pub(crate) const EPOCH: WallTime = WallTime::from_unix_nanos(1_795_168_800_000_000_000);

pub(crate) fn wall(at: Monotonic) -> WallTime {
    EPOCH.plus_nanos(at.as_nanos() as i64)
}

pub(crate) fn ms(ms: u64) -> Monotonic {
    Monotonic::from_nanos(ms * 1_000_000)
}

/// A camera that sends pictures, and sound if it has it, in real time.
#[derive(Clone, Debug)]
pub(crate) struct Camera {
    pub(crate) set: Arc<TrackSet>,
    /// Between two pictures.
    pub(crate) frame: MediaTime,
    /// Pictures from one random access point to the next.
    pub(crate) gop: u64,
    /// Pictures shown later than decoded: `[2, 0]` is one B-frame.
    pub(crate) reorder: Vec<i64>,
    pub(crate) frames: u64,
    pub(crate) sounds: u64,
    /// Where its timeline begins.
    pub(crate) origin: MediaTime,
}

impl Camera {
    pub(crate) fn new(tracks: Vec<TrackDescription>, fps: f64, gop: u64) -> Self {
        let frame = MediaTime::from_flicks((FLICKS_PER_SECOND as f64 / fps).round() as i64);
        let (set, origin) = (Arc::new(track_set(tracks)), MediaTime::from_millis(10_000));
        Self { set, frame, gop, reorder: vec![0], frames: 0, sounds: 0, origin }
    }

    fn unit(
        &self,
        track: &Arc<Track>,
        dts: MediaTime,
        shown_later: MediaTime,
        random_access: bool,
        len: usize,
    ) -> Unit {
        Unit {
            track: track.clone(),
            index: 0,
            pts: dts + shown_later,
            dts,
            captured: None,
            arrived: Monotonic::from_nanos(dts.nanos() as u64),
            random_access,
            after_loss: false,
            spliced: false,
            // An Opus packet of 20 ms by its first byte, whatever it is.
            payload: vec![0xfc; len].into(),
            plan: Plan::default(),
        }
    }

    fn sound_length(track: &Track) -> MediaTime {
        match &track.parameters {
            CodecParameters::Aac(p) => {
                MediaTime::from_ticks(p.frame_samples.into(), ClockRate::new(p.sample_rate).unwrap())
            }
            _ => MediaTime::from_millis(20),
        }
    }

    /// The next unit of any track in the order of decode times.
    pub(crate) fn next_unit(&mut self) -> Arc<Unit> {
        let times = |span: MediaTime, n: u64| self.origin + MediaTime::from_flicks(span.flicks() * n as i64);
        let picture = self.set.first(MediaKind::Video).map(|track| (track, times(self.frame, self.frames)));
        let sound = self.set.tracks.iter().find(|track| track.kind == MediaKind::Audio);
        let sound = sound.map(|track| (track, times(Self::sound_length(track), self.sounds)));
        let unit = match (picture, sound) {
            (Some((track, dts)), sound) if sound.is_none_or(|(_, sound)| dts <= sound) => {
                let later = self.reorder[(self.frames % self.gop) as usize % self.reorder.len()];
                let later = MediaTime::from_flicks(self.frame.flicks() * later);
                let unit = self.unit(track, dts, later, self.frames.is_multiple_of(self.gop), 1000);
                self.frames += 1;
                unit
            }
            (_, Some((track, dts))) => {
                let unit = self.unit(track, dts, MediaTime::ZERO, true, 100);
                self.sounds += 1;
                unit
            }
            (_, None) => panic!("a camera has a track"),
        };
        Arc::new(unit)
    }
}
