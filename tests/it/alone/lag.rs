//! How far behind the camera a viewer's picture is, read from the pictures themselves: real players join a stream late
//! in a long GOP, each picture they show is known by its hash, and the camera knows which one it is at.
//!
//! What an instant start must not do is put a player a GOP behind for ever. The bounds are those of a busy machine; the
//! figures stand in `docs/performance.md`.

use std::{
    collections::HashMap,
    io::Read as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    process::{PATIENCE, Process},
    relay, scale,
    scripted_camera::{Behaviour, ScriptedCamera, Video},
};

/// Pictures in twenty seconds, after which they repeat.
const PERIOD: i64 = 500;
const PICTURE: usize = 640 * 360 * 3 / 2;

/// How far behind the camera a picture was when it was shown: how long after the first one, and how late.
struct Seen {
    after: Duration,
    late: f64,
}

/// The pictures of a sample by their hash.
fn catalogue(video: Video) -> HashMap<md5_hash::Hash, i64> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(video.file()).args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    let output = ffmpeg.output().unwrap();
    let hashes = output.stdout.chunks_exact(PICTURE).map(md5_hash::of);
    let catalogue: HashMap<_, _> = hashes.zip(0..).collect();
    assert_eq!(catalogue.len() as i64, PERIOD, "every picture of {video:?} is another");
    catalogue
}

mod md5_hash {
    //! A picture as its hash.

    use md5::Digest as _;

    pub type Hash = [u8; 16];

    pub fn of(picture: &[u8]) -> Hash {
        md5::Md5::digest(picture).into()
    }
}

/// Seconds from picture `shown` to where the camera is now, the shorter way round.
fn late(camera: &ScriptedCamera, shown: i64) -> f64 {
    let now = camera.pictures() as i64 - 1;
    let behind = (now - shown).rem_euclid(PERIOD);
    (if behind > PERIOD * 9 / 10 { behind - PERIOD } else { behind }) as f64 / 25.0
}

/// Waits until the camera is half way through a GOP of 10 s: whoever begins at its beginning and stays there shows.
async fn late_in_the_gop(camera: &ScriptedCamera) {
    while !(125..235).contains(&(camera.pictures() % 250)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What GStreamer shows: its sink waits for each picture's time, and then the picture's bytes come out.
async fn gstreamer(camera: Arc<ScriptedCamera>, url: &str, video: Video, protocol: &str) -> Vec<Seen> {
    let catalogue = catalogue(video);
    late_in_the_gop(&camera).await;
    let decoder = match video {
        Video::H265 | Video::H265Long => "rtph265depay ! h265parse ! avdec_h265",
        _ => "rtph264depay ! h264parse ! avdec_h264",
    };
    let pipeline = format!(
        "rtspsrc location={url} protocols={protocol} latency=200 ! application/x-rtp,media=video ! {decoder} ! videoconvert ! video/x-raw,format=I420 ! fdsink fd=1 sync=true"
    );
    let mut gst = Command::new("gst-launch-1.0");
    gst.arg("-q").args(pipeline.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = gst.spawn().unwrap();
    let mut pictures = child.stdout.take().unwrap();
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let (notes, cam) = (seen.clone(), camera.clone());
    let reading = thread::spawn(move || {
        let (mut picture, mut first) = (vec![0; PICTURE], None);
        while pictures.read_exact(&mut picture).is_ok() {
            if let Some(number) = catalogue.get(&md5_hash::of(&picture)) {
                let first = *first.get_or_insert_with(Instant::now);
                notes.lock().unwrap().push(Seen { after: first.elapsed(), late: late(&cam, *number) });
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    while seen.lock().unwrap().last().is_none_or(|seen| seen.after < Duration::from_secs(5))
        && Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap();
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

/// What ffplay shows: its last filter tells the checksum of each picture on its way to the (absent) screen.
async fn ffplay(camera: Arc<ScriptedCamera>, url: &str, video: Video, transport: &str) -> Vec<Seen> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "info", "-i"]).arg(video.file()).args(["-vf", "showinfo", "-f", "null", "-"]);
    let told = String::from_utf8_lossy(&ffmpeg.output().unwrap().stderr).into_owned();
    let checksum = |line: &str| Some(line.split_once(" checksum:")?.1.split_whitespace().next()?.to_owned());
    let catalogue: HashMap<String, i64> = told.lines().filter_map(checksum).zip(0..).collect();
    assert_eq!(catalogue.len() as i64, PERIOD);
    late_in_the_gop(&camera).await;
    let mut ffplay = Command::new("ffplay");
    ffplay.args(["-v", "info", "-nostats", "-fflags", "nobuffer", "-rtsp_transport", transport]);
    ffplay.args(["-vf", "showinfo", url]).envs([("SDL_VIDEODRIVER", "dummy"), ("SDL_AUDIODRIVER", "dummy")]);
    let player = Process::spawn("ffplay", &mut ffplay);
    let (mut seen, mut read, mut first) = (Vec::<Seen>::new(), 0, None);
    let deadline = Instant::now() + PATIENCE;
    while seen.last().is_none_or(|seen| seen.after < Duration::from_secs(5)) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let output = player.output();
        for number in output[read..].iter().filter_map(|line| catalogue.get(&checksum(line)?)) {
            let first = *first.get_or_insert_with(Instant::now);
            seen.push(Seen { after: first.elapsed(), late: late(&camera, *number) });
        }
        read = output.len();
    }
    seen
}

/// From a second after the first picture on, every one is young.
fn is_live(what: &str, seen: &[Seen]) {
    let settled: Vec<f64> =
        seen.iter().filter(|seen| seen.after > Duration::from_secs(1)).map(|seen| seen.late).collect();
    assert!(settled.len() > 40, "{what}: only {} pictures: a slide show", settled.len());
    let worst = settled.iter().copied().fold(f64::MIN, f64::max);
    let middle = {
        let mut sorted = settled;
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    eprintln!("{what}: {middle:.2} s behind in the middle, {worst:.2} s at worst");
    assert!(worst < 2.0, "{what}: {worst:.2} s behind the camera");
}

/// Picture and sound. The ordinary run plays the first, `make soak` and `make bench` all of them.
type Cameras = [(Video, bool); 4];

const OVER_TCP: Cameras =
    [(Video::H264LongB, true), (Video::H264Long, false), (Video::H264Long, true), (Video::H265Long, true)];
const OVER_UDP: Cameras =
    [(Video::H264Long, true), (Video::H264Long, false), (Video::H264LongB, true), (Video::H265Long, true)];

async fn joins_late(transport: &str, cameras: Cameras) {
    let played = if scale() > 1 { cameras.len() } else { 1 };
    for (video, audio) in cameras.into_iter().take(played) {
        let (camera, server) = relay(Behaviour { video: Some(video), audio, ..Behaviour::default() }).await;
        let (camera, url) = (Arc::new(camera), server.rtsp("cam"));
        let what = |player: &str| format!("{player} over {transport}, {video:?}, sound {audio}");
        is_live(&what("GStreamer"), &gstreamer(camera.clone(), &url, video, transport).await);
        is_live(&what("ffplay"), &ffplay(camera.clone(), &url, video, transport).await);
    }
}

#[tokio::test]
async fn player_that_joins_late_in_a_long_gop_over_tcp_is_live_within_a_second() {
    joins_late("tcp", OVER_TCP).await;
}

#[tokio::test]
async fn player_that_joins_late_in_a_long_gop_over_udp_is_live_within_a_second() {
    joins_late("udp", OVER_UDP).await;
}
