//! The demo camera: a moving picture with a clock, and a quiet sound, made here. It runs only while somebody watches,
//! since its path is pulled on demand.
//!
//! H.264 640×360 at 25 frames a second with a random access point every 2 s, and Opus in frames of 20 ms. What it shows
//! is the wall clock: in letters for people, as a barcode ([`barcode`]) for tests that measure latency from pixels.
//! Drawing and encoding run on a thread of their own, never on one that moves media.

pub mod barcode;
mod font;
mod picture;
mod tone;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use openh264::{
    OpenH264API,
    encoder::{
        BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, RateControlMode, UsageType, VuiConfig,
    },
};

use self::{picture::Picture, tone::Tone};
use crate::{
    base::{Error, Kind, Monotonic, Result, WallTime},
    hub::{Feed, Source},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, PictureSize, TrackDescription, TrackId, nal,
        track::{H264Parameters, OpusParameters},
    },
};

/// A camera that needs no camera.
#[derive(Clone, Copy, Debug, Default)]
pub struct DemoSource;

const FRAME: Duration = Duration::from_millis(40);
const FRAME_MS: i64 = 40;
const SOUND_MS: i64 = 20;
const GOP: u32 = 50;
const BIT_RATE: u32 = 400_000;
const SOUND_BIT_RATE: i32 = 32_000;

/// Later than this, frames are left out: the machine slept, or has no time to spare.
const LATE: Duration = Duration::from_millis(500);

/// A wall clock this far from where it should be was set, and the sound follows.
const CLOCK_SET_MS: i64 = 500;

const VIDEO: TrackId = TrackId(0);
const SOUND: TrackId = TrackId(1);

impl Source for DemoSource {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // It lives as long as it is watched; the thread looks at `stopping` at every frame.
            let ended = tokio::task::spawn_blocking(move || Camera::new(feed).run()).await;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("demo camera: {}", error.chain()),
                Err(broken) if broken.is_panic() => std::panic::resume_unwind(broken.into_panic()),
                Err(_) => {}
            }
        })
    }

    fn description(&self) -> String {
        "demo".to_owned()
    }
}

/// One run.
struct Camera {
    feed: Feed,
    picture: Picture,
    tone: Tone,
    /// The next frame's number; frame 0 is at `zero`.
    frame: i64,
    zero: Monotonic,
    /// The wall clock's time at `zero`, for the sound.
    wall_zero: i64,
    begun: bool,
}

impl Camera {
    fn new(feed: Feed) -> Self {
        let (zero, wall_zero) = (feed.now(), feed.clock().wall().unix_millis());
        Self { feed, picture: Picture::new(), tone: Tone::new(), frame: 0, zero, wall_zero, begun: false }
    }

    fn run(mut self) -> Result<()> {
        let mut video = video_encoder()?;
        let mut sound = sound_encoder()?;
        while !self.feed.stopping().is_cancelled() {
            self.wait();
            let wall = self.feed.clock().wall();
            self.picture.draw(wall.unix_millis());
            let payload = video.encode(&self.picture).map_err(|error| broken("H.264", error))?;
            let (sets, random_access, payload) = take_apart(&payload);
            if !self.begun {
                // The encoder begins with a random access point, parameter sets in front.
                self.feed.begin(tracks(sets));
                self.begun = true;
            }
            self.push_sound(&mut sound, wall)?;
            self.push(VIDEO, self.frame * FRAME_MS, wall, random_access, payload);
            self.frame += 1;
        }
        Ok(())
    }

    /// Sleeps until the next frame is due; passes over frames there was no time for.
    fn wait(&mut self) {
        let due = self.zero + FRAME * u32::try_from(self.frame).unwrap_or(u32::MAX);
        let now = self.feed.now();
        if due > now {
            std::thread::sleep(due.since(now));
        } else if now.since(due) > LATE {
            self.frame = i64::try_from(now.since(self.zero).as_millis()).unwrap_or(i64::MAX) / FRAME_MS;
        }
    }

    /// The sound since the frame before.
    fn push_sound(&mut self, encoder: &mut opus::Encoder, wall: WallTime) -> Result<()> {
        let now_ms = self.frame * FRAME_MS;
        if (wall.unix_millis() - (self.wall_zero + now_ms)).abs() > CLOCK_SET_MS {
            self.wall_zero = wall.unix_millis() - now_ms;
        }
        let mut packet = [0; 512];
        for before_ms in [2 * SOUND_MS, SOUND_MS] {
            let at_ms = now_ms - before_ms;
            if at_ms < 0 {
                continue;
            }
            let samples = self.tone.frame(self.wall_zero + at_ms);
            let len = encoder.encode(&samples, &mut packet).map_err(|error| broken("Opus", error))?;
            let captured = wall.plus_nanos(-before_ms * 1_000_000);
            self.push(SOUND, at_ms, captured, true, Bytes::copy_from_slice(&packet[..len]));
        }
        Ok(())
    }

    fn push(&self, track: TrackId, at_ms: i64, captured: WallTime, random_access: bool, payload: Bytes) {
        let time = MediaTime::from_millis(at_ms);
        self.feed.push(AccessUnit {
            track,
            pts: time,
            dts: time,
            captured: Some(captured),
            arrived: self.feed.now(),
            random_access,
            after_loss: false,
            marker: false,
            payload,
        });
    }
}

/// Parameter sets, whether a decoder can start here, and the rest as length-prefixed NAL units.
fn take_apart(stream: &openh264::encoder::EncodedBitStream<'_>) -> (H264Parameters, bool, Bytes) {
    let mut sets = H264Parameters {
        size: Some(PictureSize { width: picture::WIDTH as u32, height: picture::HEIGHT as u32 }),
        frame_rate_milli: Some(25_000),
        reorder_depth: Some(0),
        ..H264Parameters::default()
    };
    let (mut random_access, mut payload) = (false, BytesMut::with_capacity(4096));
    let layers = (0..stream.num_layers()).filter_map(|i| stream.layer(i));
    for layer in layers {
        for unit in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)).flat_map(nal::annex_b_units) {
            match unit[0] & 0x1f {
                7 => sets.sps.push(Bytes::copy_from_slice(unit)),
                8 => sets.pps.push(Bytes::copy_from_slice(unit)),
                kind => {
                    random_access |= kind == 5;
                    nal::push(&mut payload, unit);
                }
            }
        }
    }
    (sets, random_access, payload.freeze())
}

fn tracks(sets: H264Parameters) -> Vec<TrackDescription> {
    let video = TrackDescription {
        kind: MediaKind::Video,
        clock_rate: ClockRate::VIDEO,
        parameters: CodecParameters::H264(sets),
    };
    let sound = TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::OPUS,
        parameters: CodecParameters::Opus(OpusParameters { channels: 1 }),
    };
    vec![video, sound]
}

fn video_encoder() -> Result<Encoder> {
    let config = EncoderConfig::new()
        .bitrate(BitRate::from_bps(BIT_RATE))
        .max_frame_rate(FrameRate::from_hz(25.0))
        .intra_frame_period(IntraFramePeriod::from_num_frames(GOP))
        .rate_control_mode(RateControlMode::Off)
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .scene_change_detect(false)
        .adaptive_quantization(false)
        .background_detection(false)
        .skip_frames(false)
        .num_threads(1)
        .vui(VuiConfig::bt601());
    Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| broken("H.264", error))
}

fn sound_encoder() -> Result<opus::Encoder> {
    let encoder = || {
        let mut encoder = opus::Encoder::new(tone::RATE as u32, opus::Channels::Mono, opus::Application::LowDelay)?;
        encoder.set_bitrate(opus::Bitrate::Bits(SOUND_BIT_RATE))?;
        encoder.set_complexity(1)?;
        Ok(encoder)
    };
    encoder().map_err(|error: opus::Error| broken("Opus", error))
}

fn broken(codec: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, format!("{codec} encoder does not work")).caused_by(error)
}

#[cfg(test)]
mod tests;
