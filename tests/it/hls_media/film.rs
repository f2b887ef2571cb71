//! A film: a file made by ffmpeg, taken apart into the units a camera would send, and a source that has just sent them.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use campanile::{
    base::{Monotonic, WallTime},
    hub::{Feed, Source},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId, av1, h264, h265,
        track::{
            AacParameters, Av1Parameters, H264Parameters, H265Parameters, OpusParameters, PcmParameters, Vp9Parameters,
        },
        vp9,
    },
};
use futures_util::{FutureExt as _, future::BoxFuture};
use mp4_atom::{Any, Codec, ReadFrom as _};

use crate::support::process::run;

/// Tracks and units in the order of their decode times, the first at zero.
#[derive(Clone, Debug)]
pub struct Film {
    pub tracks: Vec<TrackDescription>,
    pub units: Vec<AccessUnit>,
    pub length: MediaTime,
}

impl Film {
    /// Makes a file with ffmpeg's `options` at `path` and takes it apart.
    pub async fn make(path: &Path, options: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-y"]).args(options.split_whitespace());
        command.args(["-movflags", "empty_moov+default_base_moof+frag_keyframe", "-f", "mp4"]).arg(path);
        run(&mut command).await.success();
        Self::read(&fs::read(path).unwrap())
    }

    /// Takes a fragmented file apart.
    pub fn read(file: &[u8]) -> Self {
        let (mut rest, mut tracks, mut scales, mut units) = (file, Vec::new(), Vec::new(), Vec::new());
        while let Some(atom) = Option::<Any>::read_from(&mut rest).unwrap() {
            let start = file.len() - rest.len();
            match atom {
                Any::Moov(moov) => {
                    for trak in &moov.trak {
                        scales.push(ClockRate::new(trak.mdia.mdhd.timescale).unwrap());
                        tracks.push(description(&trak.mdia.minf.stbl.stsd.codecs[0]));
                    }
                }
                Any::Moof(moof) => {
                    // The offsets count from the first byte of the box, whose length is not kept.
                    let length = mp4_length(file, start);
                    for traf in &moof.traf {
                        let track = traf.tfhd.track_id as usize - 1;
                        let mut dts = traf.tfdt.as_ref().unwrap().base_media_decode_time as i64;
                        for trun in &traf.trun {
                            let mut at = start - length + trun.data_offset.unwrap() as usize;
                            for (index, entry) in trun.samples.iter().enumerate() {
                                let size = entry.size.or(traf.tfhd.default_sample_size).unwrap() as usize;
                                let duration = entry.duration.or(traf.tfhd.default_sample_duration).unwrap();
                                let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap_or(0);
                                let (scale, cts) = (scales[track], entry.cts.unwrap_or(0));
                                units.push(AccessUnit {
                                    track: TrackId(track as u8),
                                    pts: MediaTime::from_ticks(dts + cts, scale),
                                    dts: MediaTime::from_ticks(dts, scale),
                                    captured: None,
                                    arrived: Monotonic::default(),
                                    random_access: flags & 0x1_0000 == 0 && (index == 0 || entry.flags.is_some()),
                                    after_loss: false,
                                    marker: true,
                                    payload: Bytes::copy_from_slice(&file[at..at + size]),
                                });
                                at += size;
                                dts += i64::from(duration);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        units.sort_by_key(|unit| unit.dts);
        for unit in &mut units {
            // The bitstream decides, as in `ingest`.
            let payload = &unit.payload;
            unit.random_access = match &mut tracks[usize::from(unit.track.0)].parameters {
                CodecParameters::H264(_) => h264::random_access(payload).is_some(),
                CodecParameters::H265(_) => h265::random_access(payload),
                CodecParameters::Av1(_) => av1::is_key_frame(payload),
                CodecParameters::Vp9(parameters) => {
                    if let Ok(Some(found)) = Vp9Parameters::parse(payload) {
                        *parameters = found;
                    }
                    vp9::is_key_frame(payload)
                }
                _ => true,
            };
        }
        let length = units.iter().map(|unit| unit.dts).max().unwrap();
        Self { tracks, units, length }
    }

    /// The units of one kind.
    pub fn count(&self, kind: MediaKind) -> usize {
        self.units.iter().filter(|unit| self.tracks[usize::from(unit.track.0)].kind == kind).count()
    }
}

/// The length of the box that ends at `end`, found by walking the file.
fn mp4_length(file: &[u8], end: usize) -> usize {
    let mut at = 0;
    loop {
        let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        at += length;
        if at == end {
            return length;
        }
    }
}

fn description(codec: &Codec) -> TrackDescription {
    let all = |units: &[Vec<u8>]| units.iter().map(|unit| Bytes::copy_from_slice(unit)).collect::<Vec<_>>();
    let video = |parameters| TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters };
    let audio = |rate, parameters| TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::new(rate).unwrap(),
        parameters,
    };
    match codec {
        Codec::Avc1(avc1) => {
            let (sps, pps) = (&avc1.avcc.sequence_parameter_sets, &avc1.avcc.picture_parameter_sets);
            video(CodecParameters::H264(H264Parameters::parse(all(sps), all(pps)).unwrap()))
        }
        Codec::Hvc1(hvc1) => {
            let sets = |kind| {
                let array = hvc1.hvcc.arrays.iter().find(|array| array.nal_unit_type == kind);
                array.map(|array| all(&array.nalus)).unwrap_or_default()
            };
            video(CodecParameters::H265(H265Parameters::parse(sets(32), sets(33), sets(34)).unwrap()))
        }
        Codec::Av01(av01) => video(CodecParameters::Av1(Av1Parameters::parse(&av01.av1c.config_obus).unwrap())),
        Codec::Vp09(_) => video(CodecParameters::Vp9(Vp9Parameters::default())),
        Codec::Mp4a(mp4a) => {
            let config = mp4a.esds.es_desc.dec_config.dec_specific.as_ref().unwrap().raw.clone();
            let aac = AacParameters::parse(config.into()).unwrap();
            audio(aac.sample_rate, CodecParameters::Aac(aac))
        }
        Codec::Opus(opus) => {
            audio(48_000, CodecParameters::Opus(OpusParameters { channels: opus.dops.output_channel_count }))
        }
        other => panic!("no camera sends {other:?}"),
    }
}

/// G.722, which no fMP4 carries.
pub fn g722() -> TrackDescription {
    TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::TELEPHONE,
        parameters: CodecParameters::G722(PcmParameters { sample_rate: 16_000, channels: 1 }),
    }
}

/// A source that has sent a film by now, and sends no more.
#[derive(Clone, Debug)]
pub struct Projector {
    pub film: Arc<Film>,
    /// The wall time of the last unit, if the camera says.
    pub captured: Option<WallTime>,
}

impl Source for Projector {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        let Self { film, captured } = self.clone();
        async move {
            feed.begin(film.tracks.clone());
            let now = feed.now();
            for unit in &film.units {
                let age = (film.length - unit.dts).duration();
                let captured = captured.map(|last| last.plus_nanos(-(age.as_nanos() as i64)));
                feed.push(AccessUnit { arrived: now - age, captured, ..unit.clone() });
            }
            feed.stopping().cancelled().await;
        }
        .boxed()
    }

    fn description(&self) -> String {
        "projector".into()
    }
}

/// How long rings remember in these tests: all of a film.
pub const HISTORY: Duration = Duration::from_secs(30);
