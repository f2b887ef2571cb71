//! Real players against the server: ffmpeg and GStreamer, over TCP, UDP, TLS and HTTP.

use std::{process::Stdio, time::Duration};

use bytes::Bytes;
use tokio::process::Command;

use super::{
    film::{Coding, Film, Screen},
    rig::{PATIENCE, Rig, jpeg, pcmu},
};

/// The length of the loop, and of a GOP: ten seconds.
const GOP: usize = 250;
/// Pictures there are when a player joins: eight and a half seconds into the GOP.
const JOIN: usize = 212;

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
async fn ffprobe_reads_tracks_and_pictures() {
    let rig = Rig::start().await;
    let _film = Film::shoot(Coding::H264, 50).await.roll(&rig, 60);
    for transport in ["tcp", "udp", "http"] {
        let args = ["-v", "error", "-rtsp_transport", transport, "-show_entries", "stream=codec_name,width,height"];
        let printed = run("ffprobe", &[&args[..], &["-of", "compact", &rig.url()]].concat()).await;
        assert!(printed.contains("codec_name=h264|width=160|height=96"), "{transport}: {printed}");
        assert!(printed.contains("codec_name=pcm_mulaw"), "{transport}: {printed}");
    }
}

/// From the random access point on, past the live edge, into the next GOP.
async fn shows_every_picture(screen: &mut Screen) {
    for expected in 0..GOP + 10 {
        let (shown, _) = screen.picture().await;
        assert_eq!(shown, expected % GOP);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_shows_every_picture_from_the_random_access_point_on() {
    for coding in [Coding::H264, Coding::H264Reordered, Coding::H265] {
        let rig = Rig::start().await;
        let _film = Film::shoot(coding, GOP).await.roll(&rig, JOIN);
        let mut screens = ["tcp", "udp", "http"].map(|transport| Screen::ffmpeg(&rig.url(), transport));
        let [tcp, udp, http] = &mut screens;
        tokio::join!(shows_every_picture(tcp), shows_every_picture(udp), shows_every_picture(http));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gstreamer_shows_a_picture_at_once_and_is_live_soon_after() {
    for coding in [Coding::H264, Coding::H264Reordered, Coding::H265] {
        let rig = Rig::start().await;
        let film = Film::shoot(coding, GOP).await.roll(&rig, JOIN);
        let look = async |protocols: &str| {
            let mut screen = Screen::gstreamer(&rig.url(), protocols, coding);
            let (_, first) = screen.picture().await;
            let mut last = (0, first);
            while last.1 < first + Duration::from_millis(1500) {
                let (shown, at) = screen.picture().await;
                last = (film.lag(shown, GOP), at);
            }
            println!("{coding:?} over {protocols}: first picture after {first:?}, {} pictures behind", last.0);
            // Ten times what was measured; a GOP behind would be 200 pictures and more.
            assert!(first < Duration::from_secs(4), "first picture after {first:?}");
            assert!(last.0 < 50, "{} pictures behind", last.0);
        };
        tokio::join!(look("tcp"), look("udp"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gstreamer_shows_jpeg_that_is_larger_than_its_payload_header_can_say() {
    let rig = Rig::start().await;
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=2560x1440", "-frames:v", "1", "-pix_fmt", "yuvj420p"];
    let coded = ["-c:v", "mjpeg", "-huffman", "default", "-q:v", "10", "-f", "image2pipe", "-"];
    let made = Command::new("ffmpeg").args(["-v", "error"]).args(picture).args(coded).output().await.unwrap();
    assert!(made.status.success() && !made.stdout.is_empty());
    let picture = Bytes::from(made.stdout);
    rig.feed.begin_with(vec![jpeg(2560, 1440), pcmu()]);
    rig.feed.push_picture(true, 0, picture.clone());
    let (camera, stop) = (rig.feed.clone(), rig.tasks.stopping().clone());
    rig.tasks.spawn("camera", tracing::Span::none(), async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(40));
        while !stop.is_cancelled() {
            ticks.tick().await;
            camera.push_picture(true, 0, picture.clone());
        }
    });
    for protocols in ["tcp", "udp"] {
        // Nothing comes out of the decoder unless it found the size.
        let pipeline = format!(
            "-q rtspsrc location={} protocols={protocols} ! application/x-rtp,media=video ! rtpjpegdepay ! jpegdec ! \
             video/x-raw,width=2560,height=1440 ! fakesink num-buffers=5",
            rig.url()
        );
        run("gst-launch-1.0", &pipeline.split_whitespace().collect::<Vec<_>>()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand"]
async fn by_hand() {
    let coding = match std::env::var("CODING").as_deref() {
        Ok("b") => Coding::H264Reordered,
        Ok("h265") => Coding::H265,
        _ => Coding::H264,
    };
    let rig = Rig::start().await;
    let _film = Film::shoot(coding, GOP).await.roll(&rig, JOIN);
    std::fs::write("/tmp/rtsp_url", rig.url()).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}
