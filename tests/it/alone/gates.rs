//! Figures with a limit. `make bench` holds a release build to the limits (`CAMPANILE_GATES`); `make test` allows ten
//! times as much, so that it finds what is broken and not what is busy. What was measured is printed.

#[path = "../../../benches/stage/login.rs"]
mod login;

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use login::Login;
use serde_json::{Value, json};

use crate::support::{
    browser::open,
    camera::Camera,
    process::PATIENCE,
    relay,
    rtsp_client::{Rtp, set_up_tcp},
    scripted_camera::{Behaviour, ScriptedCamera, Video},
    server::Server,
};

fn gates() -> bool {
    env::var_os("CAMPANILE_GATES").is_some()
}

/// How often a figure is taken.
fn rounds(full: usize) -> usize {
    if gates() { full } else { full.div_ceil(10).max(3) }
}

/// The 95th percentile of `figures` against its limit.
fn holds(what: &str, mut figures: Vec<f64>, limit: f64, unit: &str) {
    figures.sort_by(f64::total_cmp);
    let (middle, late) = (figures[figures.len() / 2], figures[(figures.len() * 95).div_ceil(100) - 1]);
    eprintln!("{what}: median {middle:.1}, p95 {late:.1} {unit} of {} (limit {limit})", figures.len());
    let allowed = if gates() { limit } else { limit * 10.0 };
    assert!(late <= allowed, "{what}: {late:.1} {unit} > {allowed}");
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[tokio::test]
async fn a_token_shown_before_is_judged_in_5_us() {
    const BATCH: u32 = 1000;
    // Ciphers without optimisation take ten times as long.
    let limit = if cfg!(debug_assertions) { 50.0 } else { 5.0 };
    let login = Login::new().await;
    for (what, header) in [("token", &login.token), ("password", &login.password)] {
        let mut figures = Vec::new();
        for _ in 0..rounds(200) {
            let begun = Instant::now();
            for _ in 0..BATCH {
                black_box(login.decide(black_box(header)));
            }
            figures.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
        holds(&format!("decision, {what}"), figures, limit, "µs");
    }
}

#[tokio::test]
async fn server_starts_in_300_ms() {
    let mut figures = Vec::new();
    for _ in 0..rounds(20) {
        let begun = Instant::now();
        let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
        while server.get("/readyz").await.status() != 200 {
            assert!(milliseconds(begun) < 10_000.0, "it should be ready by now");
        }
        figures.push(milliseconds(begun));
    }
    holds("start", figures, 300.0, "ms");
}

#[tokio::test]
async fn first_picture_over_rtsp_comes_in_300_ms_whatever_the_gop() {
    for (video, name) in [(Video::H264, "GOP 2 s"), (Video::H264Long, "GOP 10 s")] {
        let (camera, server) = relay(Behaviour { video: Some(video), ..Behaviour::default() }).await;
        // Into the second half of the first GOP, where waiting for the next one would show.
        while camera.pictures() < if video == Video::H264 { 30 } else { 150 } {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut figures = Vec::new();
        for round in 0..rounds(30) {
            tokio::time::sleep(Duration::from_millis(37 * round as u64 % 211)).await;
            let begun = Instant::now();
            let (mut client, _, base) = set_up_tcp(&server.rtsp("cam")).await;
            client.ask("PLAY", &base, &[]).await.ok();
            let mut parts = Vec::new();
            // The whole access unit: a decoder has a picture when its last packet, the one with the marker, is there.
            loop {
                let (channel, frame) = client.frame(PATIENCE).await.expect("a picture comes");
                if channel == 0 {
                    let packet = Rtp::parse(&frame);
                    parts.push(packet.payload[0] & 0x1f);
                    if packet.marker {
                        break;
                    }
                }
            }
            figures.push(milliseconds(begun));
            assert!(parts.contains(&7) || parts.contains(&24), "it is a random access point: {parts:?}");
        }
        holds(&format!("first picture over RTSP, {name}"), figures, 300.0, "ms");
    }
}

#[tokio::test]
async fn first_playlist_comes_in_300_ms_whatever_the_gop() {
    let camera = ScriptedCamera::behaving(Behaviour { video: Some(Video::H264Long), ..Behaviour::default() }).await;
    let mut figures = Vec::new();
    for round in 0..rounds(10) {
        let server = Server::start(json!({ "paths": { "cam": { "source": camera.url() } } })).await;
        server.state("cam", "ready").await;
        // Half way into the GOP, and just begun.
        tokio::time::sleep(Duration::from_millis(if round % 2 == 0 { 3_000 } else { 100 })).await;
        let begun = Instant::now();
        let mut client = crate::support::hls_client::HlsClient::open(&server, "cam").await;
        let playlist = client.playlist().await;
        figures.push(milliseconds(begun));
        assert!(playlist.finished().count() > 0, "a whole segment, for players that know no parts: {}", playlist.text);
    }
    holds("first playlist", figures, 300.0, "ms");
}

#[tokio::test]
async fn idle_server_with_one_camera_is_small() {
    let camera = Camera::start(&["h264_1080p.mp4"], &[]).await;
    let server = Server::start(json!({ "paths": { "cam": { "source": camera.url("/h264_1080p") } } })).await;
    server.state("cam", "ready").await;
    tokio::time::sleep(Duration::from_secs(if gates() { 60 } else { 5 })).await;
    holds("resident memory, one camera at 4 Mbit/s", vec![server.resident_bytes() as f64 / 1e6], 25.0, "MB");
}

#[tokio::test]
async fn picture_in_the_browser_is_younger_than_a_second_and_a_half() {
    let config = json!({ "webrtc": { "address": "off" }, "paths": { "demo": { "source": "demo" } } });
    let server = Server::start(config).await;
    let seconds = if gates() { 30 } else { 5 };
    let script = format!("{} await sleep(3000); return (await watch({seconds}000)).ages;", super::browser::WATCH);
    let page = open(&server.http("/demo/"), &script, 90).await;
    let ages: Vec<f64> = page.result.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert!(ages.len() > 10, "{page:?}");
    holds("age of the picture in Chromium over Low-Latency HLS", ages, 1500.0, "ms");
}
