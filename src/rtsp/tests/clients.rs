//! Real players against the server: ffmpeg and GStreamer, over TCP and UDP.

use std::{process::Stdio, sync::Arc, time::Duration};

use tokio::process::Command;

use super::rig::{Camera, FRAME_MS, PATIENCE, Rig, h264, pcmu};
use crate::media::nal;

/// A test picture as ffmpeg's encoder makes it: parameter sets, and pictures of NAL units.
struct Film {
    sps: Vec<u8>,
    pps: Vec<u8>,
    pictures: Vec<(bool, Vec<Vec<u8>>)>,
}

impl Film {
    /// `gop` pictures, the first a random access point.
    async fn shoot(gop: usize) -> Self {
        let source = format!("testsrc2=size=640x360:rate=25:duration={}", gop as f64 / 25.0);
        let encoder = format!("keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:aud=1:sliced-threads=0:threads=1");
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-preset", "ultrafast"])
            .args(["-pix_fmt", "yuv420p", "-x264-params", &encoder, "-f", "h264", "-"])
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        assert!(output.status.success());
        let mut film = Self { sps: Vec::new(), pps: Vec::new(), pictures: Vec::new() };
        for unit in nal::annex_b_units(&output.stdout) {
            match unit[0] & 0x1f {
                7 => film.sps = unit.to_vec(),
                8 => film.pps = unit.to_vec(),
                9 => film.pictures.push((false, Vec::new())),
                kind => {
                    let picture = film.pictures.last_mut().unwrap();
                    picture.0 |= kind == 5;
                    picture.1.push(unit.to_vec());
                }
            }
        }
        assert_eq!(film.pictures.len(), gop);
        film
    }

    fn begin(&self, camera: &Camera) {
        camera.begin_with(vec![h264(&self.sps, &self.pps), pcmu()]);
    }

    fn push(&self, camera: &Camera, number: usize) {
        let (random_access, nals) = &self.pictures[number % self.pictures.len()];
        let nals: Vec<&[u8]> = nals.iter().map(Vec::as_slice).collect();
        camera.push_nals(*random_access, &nals);
    }

    /// Pushes pictures in real time until the guard goes, after `backlog` pictures at once.
    fn roll(self, rig: &Rig, backlog: usize) -> Rolling {
        self.begin(&rig.feed);
        (0..backlog).for_each(|number| self.push(&rig.feed, number));
        let camera = rig.feed.clone();
        let stop = rig.tasks.stopping().clone();
        let rolling = Rolling(Arc::new(()));
        let weak = Arc::downgrade(&rolling.0);
        rig.tasks.spawn("film", tracing::Span::none(), async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(FRAME_MS as u64));
            for number in backlog.. {
                ticks.tick().await;
                if stop.is_cancelled() || weak.upgrade().is_none() {
                    break;
                }
                self.push(&camera, number);
            }
        });
        rolling
    }
}

/// The film rolls as long as this lives.
struct Rolling(Arc<()>);

/// Runs a player; what it printed, if it ended well.
async fn run(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the player should end").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {}\n{out}\n{err}", output.status);
    format!("{out}{err}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffprobe_reads_tracks_and_pictures_over_tcp() {
    let rig = Rig::start().await;
    let _film = Film::shoot(50).await.roll(&rig, 60);
    let args = ["-v", "error", "-rtsp_transport", "tcp", "-count_packets", "-read_intervals", "%+2"];
    let shown = ["-show_entries", "stream=codec_name,width,height,avg_frame_rate,nb_read_packets", "-of", "compact"];
    let printed = run("ffprobe", &[&args[..], &shown[..], &[&rig.url()]].concat()).await;
    assert!(printed.contains("codec_name=h264|width=640|height=360"), "{printed}");
    assert!(printed.contains("codec_name=pcm_mulaw"), "{printed}");
}
