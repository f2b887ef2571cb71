//! What the tests of this room and of `hls` share: tracks, and a camera that makes units.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub(crate) use crate::media::testing::track_set;

use super::{
    CmafPolicy, Recalled, RunToken, Selection,
    line::{Line, Place},
    production::Production,
};
use crate::{
    base::{Monotonic, Rendition, WallTime},
    media::{
        self, ClockRate, Codec, CodecParameters, MediaKind, MediaTime, PictureSize, Plan, Track, TrackDescription,
        TrackId, TrackSet, Unit,
        aac::AacConfig,
        nal,
        time::FLICKS_PER_SECOND,
        track::{AacParameters, H264Parameters, H265Parameters, OpaqueParameters, OpusParameters, PcmParameters},
    },
};

fn hex(digits: &str) -> Bytes {
    media::testing::hex(digits).into()
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
    frame: MediaTime,
    /// Pictures from one random access point to the next.
    pub(crate) gop: u64,
    /// How many pictures later than decoded each picture of a cycle is shown: `[1, 3, 0, 0]` has two B-frames.
    pub(crate) reorder: Vec<i64>,
    /// How far timestamps are off, either way.
    pub(crate) jitter: MediaTime,
    /// Random access points are no IDR pictures.
    pub(crate) recovery_points: bool,
    /// Pictures sent.
    pub(crate) frames: u64,
    in_gop: u64,
    picture_at: MediaTime,
    sound_at: MediaTime,
    /// From its timeline to the clock that arrivals are counted by.
    late: MediaTime,
}

/// A unit on its way.
#[derive(Debug)]
pub(crate) struct Sent(Unit);

impl Sent {
    pub(crate) fn arrived(&self) -> Monotonic {
        self.0.arrived
    }

    pub(crate) fn track(&self) -> TrackId {
        self.0.track.id
    }

    pub(crate) fn spliced(&mut self, spliced: bool) {
        self.0.spliced = spliced;
    }

    pub(crate) fn into_unit(self) -> Arc<Unit> {
        Arc::new(self.0)
    }
}

/// Bytes that say as much of themselves as anybody here asks.
fn payload(codec: Codec, random_access: bool, len: usize) -> Bytes {
    let header: &[u8] = match (codec, random_access) {
        (Codec::H264, true) => &[0x65, 0x88],
        (Codec::H264, false) => &[0x41, 0x9a],
        (Codec::H265, true) => &[0x26, 0x01],
        (Codec::H265, false) => &[0x02, 0x01],
        // Opus: 20 ms.
        _ => return vec![0xfc; len].into(),
    };
    let mut unit = header.to_vec();
    unit.resize(len, 0xfc);
    nal::join([&unit[..]])
}

/// Where a ring's timeline begins.
const ORIGIN: MediaTime = MediaTime::from_millis(10_000);

fn interval(fps: f64) -> MediaTime {
    MediaTime::from_flicks((FLICKS_PER_SECOND as f64 / fps).round() as i64)
}

impl Camera {
    pub(crate) fn new(tracks: Vec<TrackDescription>, fps: f64, gop: u64) -> Self {
        Self {
            set: Arc::new(track_set(tracks)),
            frame: interval(fps),
            gop,
            reorder: vec![0],
            jitter: MediaTime::ZERO,
            recovery_points: false,
            frames: 0,
            in_gop: 0,
            picture_at: ORIGIN,
            sound_at: ORIGIN,
            late: MediaTime::ZERO,
        }
    }

    fn has(&self, kind: MediaKind) -> Option<&Arc<Track>> {
        self.set.tracks.iter().find(|track| track.kind == kind)
    }

    /// When the next picture arrives, or the next sound if there are no pictures.
    pub(crate) fn time(&self) -> MediaTime {
        let next = if self.has(MediaKind::Video).is_some() { self.picture_at } else { self.sound_at };
        next + self.late
    }

    /// When the next unit arrives.
    pub(crate) fn arrives(&self) -> Monotonic {
        self.clone().next_sent().arrived()
    }

    /// Its timeline begins at this time of arrival.
    pub(crate) fn starts_at(&mut self, time: MediaTime) {
        self.late = time - ORIGIN;
    }

    /// It is gone for so long, and begins with a random access point.
    pub(crate) fn away(&mut self, span: MediaTime) {
        self.picture_at += span;
        self.sound_at = self.sound_at.max(self.picture_at);
        self.in_gop = 0;
    }

    /// The next picture is a random access point.
    pub(crate) fn restart_gop(&mut self) {
        self.in_gop = 0;
        self.sound_at = self.sound_at.max(self.picture_at);
    }

    pub(crate) fn change_rhythm(&mut self, fps: f64, gop: u64) {
        (self.frame, self.gop, self.in_gop) = (interval(fps), gop, 0);
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
        self.next_sent().into_unit()
    }

    /// As [`Self::next_unit`], to be tampered with.
    pub(crate) fn next_sent(&mut self) -> Sent {
        let (picture, sound) = (self.has(MediaKind::Video).cloned(), self.has(MediaKind::Audio).cloned());
        let picture_first = sound.is_none() || self.picture_at <= self.sound_at;
        let (track, mut dts, later, random_access, len) = match (picture, sound) {
            (Some(track), _) if picture_first => {
                let dts = self.picture_at;
                let later = self.reorder[self.in_gop as usize % self.reorder.len()];
                let random_access = self.in_gop == 0;
                self.in_gop = (self.in_gop + 1) % self.gop;
                self.frames += 1;
                self.picture_at += self.frame;
                (track, dts, MediaTime::from_flicks(self.frame.flicks() * later), random_access, 1000)
            }
            (_, Some(track)) => {
                let dts = self.sound_at;
                self.sound_at += Self::sound_length(&track);
                (track, dts, MediaTime::ZERO, true, 100)
            }
            (_, None) => panic!("a camera has a track"),
        };
        let payload = payload(track.codec(), random_access && !self.recovery_points, len);
        let arrived = Monotonic::from_nanos((dts + self.late).nanos() as u64);
        // Off by a number that looks like any other (splitmix64).
        let mut noise = (dts.flicks() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        noise = (noise ^ noise >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        noise = (noise ^ noise >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33;
        let span = 2 * self.jitter.flicks() + 1;
        dts += MediaTime::from_flicks(noise as i64 % span - self.jitter.flicks());
        Sent(Unit {
            track,
            index: 0,
            pts: dts + later,
            dts,
            captured: None,
            arrived,
            random_access,
            after_loss: false,
            spliced: false,
            payload,
            plan: Plan::default(),
        })
    }
}

/// What the muxers of one path share.
#[derive(Debug, Default)]
pub(crate) struct SharedLine(Arc<Line>);

/// A muxer without its task.
#[derive(Debug)]
pub(crate) struct Studio {
    pub(crate) production: Production,
    pub(crate) policy: CmafPolicy,
    pub(crate) target: Duration,
}

impl Studio {
    pub(crate) fn new(policy: CmafPolicy, selection: Selection, set: &TrackSet, recalled: Recalled) -> Self {
        let place = SharedLine::default().0.join(
            Rendition::Main,
            None,
            recalled.known.then_some(recalled.discontinuity_sequence),
        );
        Self::at(place, policy, selection, set, recalled)
    }

    pub(crate) fn on_line(
        line: &SharedLine,
        rendition: Rendition,
        policy: CmafPolicy,
        selection: Selection,
        camera: &Camera,
        recalled: Recalled,
    ) -> Self {
        let place = line.0.join(rendition, Some((camera.arrives(), ORIGIN)), None);
        Self::at(place, policy, selection, &camera.set, recalled)
    }

    fn at(place: Place, policy: CmafPolicy, selection: Selection, set: &TrackSet, recalled: Recalled) -> Self {
        let production = Production::new(&policy, selection, set, place, &recalled, RunToken(rand::random())).unwrap();
        Self { production, policy, target: recalled.target_duration }
    }
}
