//! Pictures for real players: a loop that ffmpeg encodes, each picture showing its own number in bars, pushed in real
//! time; and screens, players that write what they show.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::Instant,
};

use super::rig::{FRAME_MS, PATIENCE, Rig, h264, h265, pcmu};
use crate::media::{TrackDescription, nal};

const WIDTH: usize = 160;
const HEIGHT: usize = 96;
/// The width of one bar: one bit of the picture's number, the lowest first.
const BAR: usize = 16;

/// How a film is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    /// With two pictures between those they are made from.
    H264Reordered,
    H265,
}

/// A loop of one GOP.
pub(super) struct Film {
    track: TrackDescription,
    /// In decoding order: random access, shown so many pictures after it is decoded, NAL units.
    pictures: Vec<(bool, i64, Bytes)>,
}

impl Film {
    /// `gop` pictures.
    pub(super) async fn shoot(coding: Coding, gop: usize) -> Self {
        let source = format!("color=size={WIDTH}x{HEIGHT}:rate=25:duration={}", gop as f64 / 25.0);
        let bars = format!("geq=lum='16+210*mod(floor(N/pow(2,floor(X/{BAR}))),2)':cb=128:cr=128");
        let between = if coding == Coding::H264Reordered { 2 } else { 0 };
        let gops = format!("keyint={gop}:min-keyint={gop}:scenecut=0:bframes={between}:b-adapt=0:aud=1");
        let (encoder, format, options) = match coding {
            Coding::H265 => {
                ("libx265", "hevc", ["-x265-params", &format!("{gops}:log-level=error:pools=1:open-gop=0")])
            }
            _ => ("libx264", "h264", ["-x264-params", &format!("{gops}:b-pyramid=0:sliced-threads=0:threads=1")]),
        };
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-vf", &bars, "-c:v", encoder, "-preset", "ultrafast"])
            .args(["-pix_fmt", "yuv420p"])
            .args(options)
            .args(["-f", format, "-"])
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        assert!(output.status.success());
        let (mut sets, mut pictures) = ([const { Vec::new() }; 3], Vec::<(bool, Vec<&[u8]>)>::new());
        for unit in nal::annex_b_units(&output.stdout) {
            let kind = if coding == Coding::H265 { unit[0] >> 1 & 0x3f } else { unit[0] & 0x1f };
            match (coding, kind) {
                (Coding::H265, 32..=34) => sets[usize::from(kind - 32)] = unit.to_vec(),
                (Coding::H264 | Coding::H264Reordered, 7 | 8) => sets[usize::from(kind - 6)] = unit.to_vec(),
                // Delimiters: a picture begins.
                (Coding::H265, 35) | (Coding::H264 | Coding::H264Reordered, 9) => pictures.push((false, Vec::new())),
                _ => {
                    let picture = pictures.last_mut().unwrap();
                    picture.0 |= if coding == Coding::H265 { (16..=23).contains(&kind) } else { kind == 5 };
                    picture.1.push(unit);
                }
            }
        }
        assert_eq!(pictures.len(), gop);
        let track = match coding {
            Coding::H265 => h265(&sets),
            _ => h264(&sets[1], &sets[2]),
        };
        // I P B B P B B …: shown one later than decoded, P two more, the others one less.
        let shown_after = |index: usize| match (coding, index) {
            (Coding::H264Reordered, 0) => 1,
            (Coding::H264Reordered, n) if n % 3 == 1 => 3,
            (Coding::H264Reordered, _) => 0,
            _ => 0,
        };
        let picture = |(index, (random_access, units)): (usize, (bool, Vec<&[u8]>))| {
            (random_access, shown_after(index), nal::join(units))
        };
        Self { track, pictures: pictures.into_iter().enumerate().map(picture).collect() }
    }

    /// Pushes `backlog` pictures at once and then in real time, as long as the guard lives.
    pub(super) fn roll(self, rig: &Rig, backlog: usize) -> Rolling {
        let camera = rig.feed.clone();
        camera.begin_with(vec![self.track.clone(), pcmu()]);
        let push = move |number: usize| {
            let (random_access, shown_after, payload) = &self.pictures[number % self.pictures.len()];
            camera.push_picture(*random_access, *shown_after, payload.clone());
        };
        (0..backlog).for_each(&push);
        let rolling = Rolling(Arc::new(AtomicUsize::new(backlog)));
        let (weak, stop) = (Arc::downgrade(&rolling.0), rig.tasks.stopping().clone());
        rig.tasks.spawn("film", tracing::Span::none(), async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(FRAME_MS as u64));
            for number in backlog.. {
                ticks.tick().await;
                let Some(newest) = weak.upgrade().filter(|_| !stop.is_cancelled()) else { break };
                push(number);
                newest.store(number, Ordering::Relaxed);
            }
        });
        rolling
    }
}

/// The film rolls as long as this lives. It knows the number of the newest picture.
pub(super) struct Rolling(Arc<AtomicUsize>);

impl Rolling {
    /// How many pictures of a loop of `gop` lie between the one shown and the newest.
    pub(super) fn lag(&self, shown: usize, gop: usize) -> usize {
        (self.0.load(Ordering::Relaxed) % gop + gop - shown) % gop
    }
}

/// A player that writes grey pictures to its output.
pub(super) struct Screen {
    child: Child,
    started: Instant,
}

impl Screen {
    fn open(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        Self { child: command.spawn().unwrap(), started: Instant::now() }
    }

    /// GStreamer, which shows each picture when it is due, its sound beside it.
    pub(super) fn gstreamer(url: &str, protocols: &str, coding: Coding) -> Self {
        let decode = match coding {
            Coding::H265 => "rtph265depay ! h265parse ! avdec_h265",
            _ => "rtph264depay ! h264parse ! avdec_h264",
        };
        let pipeline = format!(
            "rtspsrc name=s location={url} protocols={protocols} latency=200 tls-validation-flags=0 \
             s. ! application/x-rtp,media=video ! {decode} ! videoconvert ! \
             video/x-raw,format=GRAY8 ! queue ! fdsink fd=1 sync=true \
             s. ! application/x-rtp,media=audio ! rtppcmudepay ! mulawdec ! queue ! fakesink sync=true"
        );
        Self::open("gst-launch-1.0", &[&["-q"], &pipeline.split_whitespace().collect::<Vec<_>>()[..]].concat())
    }

    /// ffmpeg, which shows every picture as soon as it is decoded.
    pub(super) fn ffmpeg(url: &str, transport: &str) -> Self {
        let input = ["-v", "error", "-rtsp_transport", transport, "-i", url];
        let output = ["-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
        Self::open("ffmpeg", &[&input[..], &output[..]].concat())
    }

    /// The number of the next picture, and when it came.
    pub(super) async fn picture(&mut self) -> (usize, Duration) {
        let mut picture = vec![0; WIDTH * HEIGHT];
        let read = self.child.stdout.as_mut().unwrap().read_exact(&mut picture);
        tokio::time::timeout(PATIENCE, read).await.expect("a picture should come").expect("the player should go on");
        (number(&picture), self.started.elapsed())
    }
}

/// The number a picture shows, given as its grey values.
fn number(picture: &[u8]) -> usize {
    let line = &picture[HEIGHT / 2 * WIDTH..][..WIDTH];
    line.chunks(BAR).enumerate().map(|(bit, bar)| usize::from(bar[BAR / 2] > 128) << bit).sum()
}
