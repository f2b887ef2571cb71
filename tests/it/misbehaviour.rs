//! Cameras that do wrong, one way at a time: what the API says meanwhile, what becomes of those who watch, and that it
//! passes. Times are short here by configuration; the defaults stand in `docs/configuration.md`.

mod dialogue;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    camera::Camera,
    hls_client::{HlsClient, Playlist},
    process::PATIENCE,
    rtsp_client::{Noted, RtspClient, RtspReader},
    scripted_camera::{Behaviour, Fault, Login, Reply, ScriptedCamera, Video},
    server::Server,
    whep_client::{Whep, WhepClient, WhepOptions},
};

/// A path that loses its patience quickly.
fn impatient(source: &str) -> Value {
    json!({
        "source": source,
        "request_timeout": "2s",
        "stalled_after": "1s",
        "reconnect_after": "2s",
        "backoff": { "first": "100ms", "most": "500ms" },
    })
}

/// A camera, its relay, and somebody who watches over RTSP.
struct Scene {
    camera: ScriptedCamera,
    server: Server,
    reader: RtspReader,
}

impl Scene {
    async fn new(behaviour: Behaviour) -> Self {
        let camera = ScriptedCamera::behaving(behaviour).await;
        let server = Server::start(json!({ "paths": { "cam": impatient(&camera.url()) } })).await;
        server.state("cam", "ready").await;
        let reader = RtspReader::play(&server.rtsp("cam")).await;
        reader.more(20).await;
        Self { camera, server, reader }
    }

    /// The playlist as it is before a fault.
    async fn playlist(&self) -> Playlist {
        HlsClient::open(&self.server, "cam").await.playlist().await
    }

    /// Waits for a state, and says how long it took.
    async fn reaches(&self, state: &str) -> Duration {
        let asked = Instant::now();
        self.server.state("cam", state).await;
        asked.elapsed()
    }

    /// The reader was kept and gets packets again, on one line of numbers and times.
    async fn reader_plays_on(&self) {
        self.reader.more(60).await;
        one_timeline(&self.reader.noted());
    }

    /// The playlist went on: numbers never fall, the break is marked, the target duration stays.
    async fn playlist_goes_on(&self, before: &Playlist) -> Playlist {
        let mut client = HlsClient::open(&self.server, "cam").await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = client.playlist().await;
            assert!(now.media_sequence >= before.media_sequence, "{}\n{}", before.text, now.text);
            assert_eq!(now.target_duration, before.target_duration);
            let broken = now.segments.iter().any(|segment| segment.discontinuity)
                || now.discontinuity_sequence > before.discontinuity_sequence;
            if broken && now.next_part() > before.next_part() {
                return now;
            }
            assert!(Instant::now() < deadline, "no discontinuity:\n{}\n{}", before.text, now.text);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Per track: one source, no number missing, time that never runs backwards and never leaps.
fn one_timeline(noted: &Noted) {
    assert!(!noted.ended, "the reader's connection ended");
    for track in [0, 1] {
        let packets: Vec<_> =
            noted.packets.iter().filter(|(of, ..)| *of == track).map(|(_, packet, _)| packet).collect();
        for pair in packets.windows(2) {
            assert_eq!(pair[1].ssrc, pair[0].ssrc, "track {track}: one source");
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "track {track}: no number is missing");
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!(step < 90_000 * 60, "track {track}: time runs on by {step} ticks, it neither leaps nor turns back");
        }
    }
}

#[tokio::test]
async fn camera_that_falls_silent_is_stalled_and_then_ready_again() {
    let scene = Scene::new(Behaviour::default()).await;
    scene.camera.change(|camera| camera.silent = true);
    let stalled = scene.reaches("stalled").await;
    assert!(stalled >= Duration::from_millis(500), "a moment of silence is no stall: {stalled:?}");
    let path = scene.server.path("cam").await;
    assert_eq!(path["readers"]["rtsp"], 1, "who watches is kept: {path:#}");
    scene.camera.change(|camera| camera.silent = false);
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
}

#[tokio::test]
async fn camera_that_stays_silent_is_connected_anew() {
    let scene = Scene::new(Behaviour::default()).await;
    let before = scene.playlist().await;
    scene.camera.change(|camera| camera.silent = true);
    let connections = scene.camera.connections();
    let deadline = Instant::now() + PATIENCE;
    while scene.camera.connections() == connections {
        assert!(Instant::now() < deadline, "no new connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.camera.change(|camera| camera.silent = false);
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
    scene.playlist_goes_on(&before).await;
}

#[tokio::test]
async fn reset_and_closed_connections_come_back_and_readers_are_held() {
    for fault in [Fault::Reset, Fault::Close] {
        let scene = Scene::new(Behaviour::default()).await;
        let before = scene.playlist().await;
        let connections = scene.camera.connections();
        scene.camera.strike(fault.clone());
        scene.server.path_until("cam", "reconnected", |_| scene.camera.connections() > connections).await;
        scene.reaches("ready").await;
        let path = scene.server.path("cam").await;
        assert!(path["reconnects"].as_u64() >= Some(1), "{fault:?}: {path:#}");
        scene.reader_plays_on().await;
        scene.playlist_goes_on(&before).await;
    }
}

#[tokio::test]
async fn half_open_connection_is_noticed_and_replaced() {
    let scene = Scene::new(Behaviour::default()).await;
    let connections = scene.camera.connections();
    scene.camera.strike(Fault::HalfOpen);
    scene.reaches("stalled").await;
    scene.server.path_until("cam", "reconnected", |_| scene.camera.connections() > connections).await;
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
}

#[tokio::test]
async fn camera_without_power_is_lost_with_a_hint_and_comes_back() {
    let mut scene = Scene::new(Behaviour::default()).await;
    let before = scene.playlist().await;
    scene.camera.power_off().await;
    scene.reaches("lost").await;
    let path = scene.server.path_until("cam", "explained", |path| path["error"]["hint"].is_string()).await;
    assert!(path["error"]["code"].is_string() && path["error"]["message"].is_string(), "{path:#}");
    scene.camera.power_on().await;
    scene.reaches("ready").await;
    let path = scene.server.path("cam").await;
    assert!(path["error"].is_null(), "what is mended is not complained about: {path:#}");
    scene.reader_plays_on().await;
    scene.playlist_goes_on(&before).await;
}

#[tokio::test]
async fn new_synchronisation_source_mid_stream_does_not_end_the_stream() {
    let scene = Scene::new(Behaviour::default()).await;
    scene.camera.change(|camera| camera.ssrc = 0x5555_0000);
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
}

#[tokio::test]
async fn timestamps_that_jump_are_spliced_onto_one_line() {
    // An hour on, an hour back, and over the edge of 32 bits.
    for jump in [324_000_000_u32, 324_000_000_u32.wrapping_neg(), 0xbfff_0000] {
        let scene = Scene::new(Behaviour::default()).await;
        scene.camera.change(|camera| camera.timestamp_offset = jump);
        scene.reader_plays_on().await;
        scene.reaches("ready").await;
        scene.reader_plays_on().await;
    }
}

#[tokio::test]
async fn wall_clock_that_steps_moves_captions_and_not_the_stream() {
    for step in [3600.0, -3600.0] {
        let scene = Scene::new(Behaviour::default()).await;
        scene.camera.change(|camera| camera.wall_offset = step);
        scene.reader.more(150).await;
        one_timeline(&scene.reader.noted());
        assert_eq!(scene.server.path("cam").await["state"], "ready");
    }
}

#[tokio::test]
async fn clock_that_drifts_does_no_harm() {
    let scene = Scene::new(Behaviour { drift: 0.01, ..Behaviour::default() }).await;
    scene.reader.more(300).await;
    one_timeline(&scene.reader.noted());
    assert_eq!(scene.server.path("cam").await["state"], "ready");
}

#[tokio::test]
async fn missing_packets_are_counted_and_the_stream_goes_on() {
    let scene = Scene::new(Behaviour { lose_every: 40, ..Behaviour::default() }).await;
    scene.reader.more(150).await;
    one_timeline(&scene.reader.noted());
    scene.server.path_until("cam", "seen to lose packets", counts_loss).await;
}

/// Whether any figure of loss in the description of a path is above zero.
fn counts_loss(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (key.contains("lost") || key.contains("loss")) && value.as_f64().is_some_and(|count| count > 0.0)
                || counts_loss(value)
        }),
        Value::Array(items) => items.iter().any(counts_loss),
        _ => false,
    }
}

#[tokio::test]
async fn repeated_packets_are_passed_over() {
    let scene = Scene::new(Behaviour { repeat_every: 10, ..Behaviour::default() }).await;
    scene.reader.more(150).await;
    one_timeline(&scene.reader.noted());
    assert_eq!(scene.server.path("cam").await["state"], "ready");
}

#[tokio::test]
async fn gap_in_sequence_numbers_is_no_end() {
    let scene = Scene::new(Behaviour::default()).await;
    scene.camera.change(|camera| camera.sequence_offset = 1000);
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
}

#[tokio::test]
async fn garbage_between_frames_is_survived() {
    for garbage in [b"\r\n\r\n".to_vec(), vec![0; 300], b"$$$$$$$$".to_vec(), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()] {
        let scene = Scene::new(Behaviour::default()).await;
        scene.camera.strike(Fault::Inject(garbage));
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.reaches("ready").await;
        scene.reader_plays_on().await;
    }
}

#[tokio::test]
async fn frames_of_unknown_channels_and_empty_frames_are_passed_over() {
    let scene = Scene::new(Behaviour::default()).await;
    for frame in [b"$\x63\x00\x04abcd".to_vec(), b"$\x00\x00\x00".to_vec(), b"$\x00\x00\x01\x80".to_vec()] {
        scene.camera.strike(Fault::Inject(frame));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
}

#[tokio::test]
async fn other_resolution_after_a_reboot_keeps_rtsp_readers_and_breaks_the_playlist_cleanly() {
    let mut scene = Scene::new(Behaviour::default()).await;
    let before = scene.playlist().await;
    let map = before.segments[0].map.clone();
    scene.camera.power_off().await;
    scene.camera.change(|camera| camera.video = Some(Video::H264Small));
    scene.camera.power_on().await;
    scene.reaches("ready").await;
    scene.reader_plays_on().await;
    let now = scene.playlist_goes_on(&before).await;
    let newest = now.segments.last().unwrap();
    assert!(newest.map.is_some() && newest.map != map, "HLS-04: a new initialisation section: {}", now.text);
    let path = scene.server.path("cam").await;
    assert!(path["tracks"][0].to_string().contains("320"), "the API knows the new size: {path:#}");
}

#[tokio::test]
async fn other_codec_after_a_reboot_ends_rtsp_readers_and_breaks_the_playlist_cleanly() {
    let mut scene = Scene::new(Behaviour::default()).await;
    let before = scene.playlist().await;
    scene.camera.power_off().await;
    scene.camera.change(|camera| camera.video = Some(Video::H265));
    scene.camera.power_on().await;
    let changed = |path: &Value| path["state"] == "ready" && path["tracks"][0]["codec"] == "H.265";
    scene.server.path_until("cam", "H.265", changed).await;
    let deadline = Instant::now() + PATIENCE;
    while !scene.reader.ended() {
        assert!(Instant::now() < deadline, "an SDP cannot change under a reader: it is let go, and asks again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.playlist_goes_on(&before).await;
    let again = RtspReader::play(&scene.server.rtsp("cam")).await;
    assert!(again.sdp.contains("H265"), "{}", again.sdp);
    again.more(20).await;
}

#[tokio::test]
async fn sound_that_went_away_after_a_reboot_leaves_the_picture() {
    let mut scene = Scene::new(Behaviour::default()).await;
    let before = scene.playlist().await;
    scene.camera.power_off().await;
    scene.camera.change(|camera| camera.audio = false);
    scene.camera.power_on().await;
    let changed = |path: &Value| path["state"] == "ready" && path["tracks"].as_array().map(Vec::len) == Some(1);
    scene.server.path_until("cam", "without sound", changed).await;
    scene.playlist_goes_on(&before).await;
}

#[tokio::test]
async fn real_camera_program_that_hangs_or_dies_is_noticed() {
    let camera = Camera::start(&["h264_aac.mp4"], &[]).await;
    let server = Server::start(json!({ "paths": { "cam": impatient(&camera.url("/h264_aac")) } })).await;
    server.state("cam", "ready").await;
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    reader.more(20).await;
    camera.signal("STOP");
    server.path_until("cam", "stalled or lost", |path| path["state"] == "stalled" || path["state"] == "lost").await;
    camera.signal("CONT");
    server.state("cam", "ready").await;
    reader.more(60).await;
    camera.signal("KILL");
    server.state("cam", "lost").await;
    assert!(!reader.ended(), "readers are held");
}

#[tokio::test]
async fn one_bad_camera_costs_the_good_one_nothing() {
    let (good, mut bad) = (ScriptedCamera::start().await, ScriptedCamera::start().await);
    let paths = json!({ "good": impatient(&good.url()), "bad": impatient(&bad.url()) });
    let server = Server::start(json!({ "paths": paths })).await;
    for name in ["good", "bad"] {
        server.state(name, "ready").await;
    }
    let reader = RtspReader::play(&server.rtsp("good")).await;
    for _ in 0..5 {
        bad.power_off().await;
        server.state("bad", "lost").await;
        bad.power_on().await;
        server.state("bad", "ready").await;
        bad.strike(Fault::Inject(vec![0xff; 4000]));
    }
    reader.more(50).await;
    let noted = reader.noted();
    one_timeline(&noted);
    let pictures: Vec<_> = noted.packets.iter().filter(|(track, ..)| *track == 0).collect();
    let longest = pictures.windows(2).map(|pair| pair[1].2 - pair[0].2).max().unwrap();
    assert!(longest < Duration::from_secs(2), "a gap of {longest:?} on the good camera");
}

#[tokio::test]
async fn viewers_of_a_camera_that_says_no_are_told_why_at_once() {
    let locked = ScriptedCamera::behaving(Behaviour { login: Some(Login::Md5), ..Behaviour::default() }).await;
    let unknown = Behaviour {
        reply: Arc::new(|asked, reply| if asked.method == "DESCRIBE" { Reply { status: 404, ..reply } } else { reply }),
        ..Behaviour::default()
    };
    let unknown = ScriptedCamera::behaving(unknown).await;
    // A minute that nobody is to wait.
    let path = |source: &str| json!({ "source": source, "on_demand": { "start_timeout": "1m", "close_after": "1m" } });
    let server = Server::start(json!({ "paths": {
        "refused": path("rtsp://127.0.0.1:1/x"), "locked": path(&locked.url()), "unknown": path(&unknown.url()),
    } }))
    .await;
    let asked = Instant::now();
    for (name, why) in [("refused", "connection refused"), ("locked", "401: a login is required"), ("unknown", "404: ")]
    {
        let url = server.rtsp(name);
        let mut client = RtspClient::connect(server.address("rtsp")).await;
        let answer = client.ask("DESCRIBE", &url, &[("Accept", "application/sdp")]).await;
        assert!(answer.status == 503, "{name}: {answer:?}");
        let answer = server.client().get(server.http(&format!("/{name}/index.m3u8"))).send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == 503 && problem["code"] == "path_not_ready" && detail.contains(why), "{name}: {problem:#}");
        assert!(problem["hint"].is_string(), "{name}: {problem:#}");
        let door = Whep { http: server.client().clone(), url: server.http(&format!("/{name}/whep")), tcp: None };
        let answer = WhepClient::join(&door, WhepOptions::default()).await.err().unwrap();
        assert!(answer.body.contains(why) && answer.retry_after.is_some(), "{name}: {answer:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}
