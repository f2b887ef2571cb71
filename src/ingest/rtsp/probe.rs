//! One call to a camera, measured: what it sends, how much of it, how soon the first picture comes; and when it sends
//! nothing, why, and which of the usual names would do.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;

use super::{
    CameraHosts, REDIRECTS_MAX,
    bridge::{self, Bridge},
    call,
    failure::Failure,
    intake::{Effect, Intake},
    is_for_udp,
    receive::take,
    session::{self, Call, Opened},
};
use crate::{
    base::{Clock, Monotonic, secret::without_passwords},
    config::CameraOptions,
    media::{AccessUnit, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId, rfc6381::codec_string},
};

/// What is asked, and for how long.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The camera, and how it is called.
    pub camera: CameraOptions,
    /// How long the stream is watched once it plays.
    pub duration: Duration,
    /// How long the first picture is waited for.
    pub picture_wait: Duration,
    /// Whether the usual names are tried when there is nothing under the one given.
    pub try_names: bool,
}

impl ProbeOptions {
    /// Five seconds of a camera.
    pub const fn new(camera: CameraOptions) -> Self {
        Self { camera, duration: Duration::from_secs(5), picture_wait: Duration::from_secs(15), try_names: true }
    }
}

/// What a camera sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// Where it was found in the end, without a login.
    pub url: String,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// Whether the way there is encrypted.
    pub tls: bool,
    /// Whether what it says had to be mended.
    pub mended: bool,
    /// From the call to the first picture, or the first sound where there is no picture.
    pub first_unit_ms: u64,
    /// How long it was watched.
    pub watched_ms: u64,
    /// Its tracks.
    pub tracks: Vec<ProbeTrack>,
    /// Tracks that were left out, and why.
    pub left_out: Vec<String>,
    /// Packets that did not arrive.
    pub packets_lost: u64,
    /// Packets that could not be taken.
    pub packets_bad: u64,
}

/// One track of a camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeTrack {
    /// `video`, `audio` or `application`.
    pub kind: &'static str,
    /// The codec as people call it.
    pub codec: String,
    /// The codec as RFC 6381 spells it, with its profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_string: Option<String>,
    /// Nobody here can take it apart: it is passed on over RTSP only.
    pub opaque: bool,
    /// Width and height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
    /// Pictures per second, measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// From one random access point to the next, the longest that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gop_ms: Option<u64>,
    /// Pictures come in another order than they are shown.
    pub b_frames: bool,
    /// Samples per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Bits per second, measured.
    pub bit_rate_bps: u64,
}

/// Why a camera sends nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeFailure {
    /// The stable word.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The usual names under which the camera does have something.
    pub found: Vec<String>,
    /// How many names were tried.
    pub tried: usize,
}

/// Names under which cameras have their streams, by how common they are.
const NAMES: &[&str] = &[
    "/stream1",
    "/Streaming/Channels/101",
    "/cam/realmonitor?channel=1&subtype=0",
    "/h264Preview_01_main",
    "/live",
    "/live/ch0",
    "/live/ch00_0",
    "/axis-media/media.amp",
    "/onvif1",
    "/ch0_0.h264",
    "/videoMain",
    "/11",
    "/h264",
    "/",
];

/// How long one name may take, and all of them.
const NAME_LIMIT: Duration = Duration::from_secs(2);
const NAMES_LIMIT: Duration = Duration::from_secs(15);

/// Enough names for a user to choose from.
const FOUND_MAX: usize = 3;

/// Calls a camera once and says what it sends.
///
/// # Errors
/// What keeps it from sending anything.
pub async fn probe(options: ProbeOptions) -> Result<ProbeReport, ProbeFailure> {
    let clock = Clock;
    let began = clock.now();
    let (hosts, mut elsewhere, mut mended) = (CameraHosts::default(), None, false);
    let (mut redirects, mut udp) = (0, false);
    let failure = loop {
        let call = call(&options.camera, elsewhere.as_ref(), udp, &hosts);
        match once(&options, call.clone(), mended, began).await {
            Ok(report) => return Ok(report),
            Err(Failure::Redirect(Some(url))) if redirects < REDIRECTS_MAX => {
                redirects += 1;
                elsewhere = Some(url);
            }
            Err(Failure::Redirect(Some(_))) => break Failure::TooManyRedirects,
            Err(failure) if is_for_udp(&options.camera, &call, &failure) => udp = true,
            // As the source does: what cannot be read may be mended on its way, as it is with media over UDP.
            Err(Failure::Protocol(..) | Failure::Garbled(_) | Failure::TooLong(_)) if !mended && !call.udp => {
                mended = true
            }
            Err(failure) => break failure,
        }
    };
    let (mut found, mut tried) = (Vec::new(), 0);
    if options.try_names && matches!(failure, Failure::NotFound(_)) {
        let all = timeout(NAMES_LIMIT, names(&options.camera, &hosts, &mut found, &mut tried));
        let _ = all.await;
    }
    let error = failure.error(&options.camera.url);
    let hint = match found.first() {
        Some(name) => Some(format!("the camera has a stream at {name}")),
        None => error.hint().map(str::to_owned),
    };
    Err(ProbeFailure { code: error.code(), message: error.chain(), hint, found, tried })
}

async fn names(camera: &CameraOptions, hosts: &CameraHosts, found: &mut Vec<String>, tried: &mut usize) {
    for name in NAMES {
        let Ok(url) = camera.url.join(name) else { continue };
        if url == camera.url || found.len() >= FOUND_MAX {
            continue;
        }
        *tried += 1;
        let call = call(camera, Some(&url), false, hosts);
        let limit = call.limit.min(NAME_LIMIT);
        let Ok(mut line) = bridge::connect(&url, &call, limit).await else { return };
        let answer = line.describe(&url, call.credentials.as_ref(), limit).await;
        if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            found.push(without_passwords(url.as_str()));
        }
    }
}

async fn once(options: &ProbeOptions, mut call: Call, mended: bool, began: Monotonic) -> Result<ProbeReport, Failure> {
    if call.url.scheme() != "rtsps" && !mended && !call.udp {
        return converse(options, &call, false, began).await;
    }
    let bridge = Bridge::open(&call).await?;
    call.cross(&bridge);
    let carry = async {
        bridge.run().await;
        // What it ended with is seen at the other end.
        std::future::pending().await
    };
    tokio::select! {
        biased;
        report = converse(options, &call, mended, began) => report,
        report = carry => report,
    }
}

async fn converse(options: &ProbeOptions, call: &Call, mended: bool, began: Monotonic) -> Result<ProbeReport, Failure> {
    let mut opened = session::open(call).await?;
    let measured = measure(options, &mut opened, began).await;
    let report = measured.map(|measured| ProbeReport {
        url: without_passwords(call.url.as_str()),
        transport: if call.udp { "udp" } else { "tcp" },
        tls: call.url.scheme() == "rtsps",
        mended,
        left_out: opened.left_out.clone(),
        ..measured.report()
    });
    drop(opened);
    let _ = timeout(super::GOODBYE, call.group.await_teardown()).await;
    report
}

/// Watches a session for a while.
async fn measure(options: &ProbeOptions, opened: &mut Opened, called: Monotonic) -> Result<Measured, Failure> {
    let clock = Clock;
    let mut intake = Intake::new(&opened.offers, clock.now());
    let mut measured = Measured { called, ..Measured::default() };
    let (opened_at, mut last_error) = (clock.now(), None);
    loop {
        let now = clock.now();
        intake.handle_timeout(now);
        let deadline = measured.first.map_or(opened_at + options.picture_wait, |first| first + options.duration);
        if now >= deadline {
            break;
        }
        match tokio::time::timeout_at(clock.instant(deadline), opened.session.next()).await {
            Err(_) => {}
            Ok(None) if measured.first.is_none() => return Err(Failure::Ended),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                measured.bad += 1;
                last_error = Some(super::failure::first_line(&error));
                if measured.bad > 100 && measured.media == 0 {
                    return Err(Failure::Garbled(last_error.unwrap_or_default()));
                }
            }
            Ok(Some(Ok(item))) => {
                let taken = take(item, &opened.track_of, &mut intake, clock.now(), clock.wall());
                measured.media += u64::from(taken.is_media);
                measured.lost += taken.lost;
                measured.bad += u64::from(taken.result.is_err());
            }
        }
        while let Some(effect) = intake.poll_effect() {
            measured.note(effect, clock.now());
        }
    }
    measured.ended = clock.now();
    match (measured.first, measured.media, last_error) {
        (Some(_), ..) => Ok(measured),
        (None, 0, Some(words)) => Err(Failure::Garbled(words)),
        (None, 0, None) => Err(Failure::Silent(options.picture_wait)),
        (None, ..) => Err(Failure::NoStart(options.picture_wait)),
    }
}

#[derive(Debug, Default)]
struct Measured {
    called: Monotonic,
    first: Option<Monotonic>,
    ended: Monotonic,
    tracks: BTreeMap<u8, Watched>,
    media: u64,
    lost: u64,
    bad: u64,
}

/// What was seen of one track.
#[derive(Debug)]
struct Watched {
    description: TrackDescription,
    units: u64,
    bytes: u64,
    /// The earliest and the latest presentation time. Decode times begin with a guess.
    span: Option<(MediaTime, MediaTime)>,
    /// The first and the newest random access point: when, and how many units came until then.
    starts: Option<((MediaTime, u64), (MediaTime, u64))>,
    gop: Option<Duration>,
    b_frames: bool,
}

impl Measured {
    fn note(&mut self, effect: Effect, now: Monotonic) {
        match effect {
            Effect::Begin(tracks) => {
                self.first.get_or_insert(now);
                self.tracks.clear();
                self.tracks.extend(tracks.into_iter().enumerate().map(|(i, track)| (i as u8, Watched::new(track))));
            }
            Effect::Parameters(TrackId(track), parameters) => {
                if let Some(track) = self.tracks.get_mut(&track) {
                    track.description.parameters = parameters;
                }
            }
            Effect::Unit(unit) => {
                if let Some(track) = self.tracks.get_mut(&unit.track.0) {
                    track.note(&unit);
                }
            }
            Effect::Jump => {}
        }
    }

    fn report(self) -> ProbeReport {
        let first = self.first.unwrap_or(self.ended);
        let watched = self.ended.since(first);
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        ProbeReport {
            url: String::new(),
            transport: "tcp",
            tls: false,
            mended: false,
            first_unit_ms: millis(first.since(self.called)),
            watched_ms: millis(watched),
            tracks: self.tracks.into_values().map(|track| track.report(watched)).collect(),
            left_out: Vec::new(),
            packets_lost: self.lost,
            packets_bad: self.bad,
        }
    }
}

impl Watched {
    const fn new(description: TrackDescription) -> Self {
        Self { description, units: 0, bytes: 0, span: None, starts: None, gop: None, b_frames: false }
    }

    fn note(&mut self, unit: &AccessUnit) {
        self.units += 1;
        self.bytes += unit.payload.len() as u64;
        self.b_frames |= unit.pts > unit.dts;
        let (first, last) = self.span.unwrap_or((unit.pts, unit.pts));
        self.span = Some((first.min(unit.pts), last.max(unit.pts)));
        if unit.random_access && self.description.parameters.codec().has_dependent_units() {
            let this = (unit.pts, self.units);
            let gop = self.starts.map(|(_, (before, _))| (unit.pts - before).duration());
            self.gop = self.gop.max(gop);
            self.starts = Some((self.starts.map_or(this, |(first, _)| first), this));
        }
    }

    fn report(self, watched: Duration) -> ProbeTrack {
        let parameters = &self.description.parameters;
        let media_seconds = self.span.map_or(0.0, |(first, last)| (last - first).seconds());
        let is_video = self.description.kind == MediaKind::Video;
        // From random access point to random access point no picture is missing; at the end of what was watched one may be
        // that is shown before another that came already. Without two of them, units minus one lie between first and last.
        let (units, seconds) = match self.starts {
            Some(((first, before), (last, upto))) if upto > before => (upto - before, (last - first).seconds()),
            _ => (self.units.saturating_sub(1), media_seconds),
        };
        let frame_rate =
            (is_video && units > 0 && seconds > 0.0).then(|| (units as f64 / seconds * 100.0).round() / 100.0);
        let codec = match parameters {
            CodecParameters::Opaque(opaque) => opaque.encoding.clone(),
            known => known.codec().name().to_owned(),
        };
        ProbeTrack {
            kind: self.description.kind.name(),
            codec,
            codec_string: codec_string(parameters),
            opaque: matches!(parameters, CodecParameters::Opaque(_)),
            size: parameters.picture_size().map(|size| (size.width, size.height)),
            frame_rate,
            gop_ms: self.gop.map(|gop| u64::try_from(gop.as_millis()).unwrap_or(u64::MAX)),
            b_frames: self.b_frames,
            sample_rate: parameters.sound().map(|sound| sound.sample_rate),
            channels: parameters.sound().map(|sound| sound.channels),
            bit_rate_bps: (self.bytes as f64 * 8.0 / watched.as_secs_f64().max(0.001)) as u64,
        }
    }
}
