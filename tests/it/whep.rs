//! WHEP viewers that are no browsers, against the real binary.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    relay, scale,
    scripted_camera::Behaviour,
    server::Server,
    whep_client::{Whep, WhepClient, WhepOptions},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn demo(more: Value) -> Server {
    let mut config = json!({ "paths": { "demo": { "source": "demo" } } });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    Server::start(config).await
}

fn whep(server: &Server, path: &str) -> Whep {
    let tcp = Some(server.address("webrtc_tcp"));
    Whep { http: server.client().clone(), url: server.http(&format!("/{path}/whep")), tcp }
}

async fn join(server: &Server, options: WhepOptions) -> WhepClient {
    let joined = WhepClient::join(&whep(server, "demo"), options).await;
    joined.unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// The sessions on WHEP as the API lists them.
async fn sessions(server: &Server) -> Vec<Value> {
    let list = server.json("/api/v1/sessions?limit=1000").await;
    list["items"].as_array().unwrap().iter().filter(|session| session["protocol"] == "webrtc").cloned().collect()
}

async fn sessions_until(server: &Server, count: usize, within: Duration) -> Duration {
    let begun = Instant::now();
    loop {
        let found = sessions(server).await.len();
        if found == count {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < within, "{found} sessions, not {count}, after {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn viewer_connects_gets_a_key_frame_at_once_and_pictures_with_sound() {
    let server = demo(json!({})).await;
    let mut keep_warm = join(&server, WhepOptions::default()).await;
    assert!(keep_warm.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await, "{:?}", keep_warm.seen);
    keep_warm.play(Duration::from_millis(700)).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await, "{:?}", viewer.seen);
    viewer.play(Duration::from_secs(3)).await;
    let seen = &viewer.seen;
    let (connected, key) = (seen.connected.unwrap(), seen.first_key_frame().unwrap());
    eprintln!("connected after {connected:?}, first key frame after {key:?}");
    assert!(connected < Duration::from_secs(1) && key < connected + Duration::from_secs(1), "{connected:?} {key:?}");
    let frames: Vec<_> = seen.video().collect();
    assert!(frames.len() > 60, "{} frames in three seconds", frames.len());
    assert!(frames[0].key, "the first frame is one a decoder can begin with");
    assert!(frames.iter().all(|frame| frame.contiguous), "nothing is missing");
    assert!(frames.windows(2).all(|pair| pair[0].time < pair[1].time), "time moves on");
    assert!(seen.sound().count() > 60, "{} packets of sound", seen.sound().count());
    let listed = sessions(&server).await;
    let one = listed.iter().find(|session| viewer.session.ends_with(session["id"].as_str().unwrap())).unwrap();
    assert_eq!((&one["transport"], &one["path"]), (&json!("udp"), &json!("demo")));
    assert!(one["packets_sent"].as_u64() > Some(100), "{one:#}");
    assert_eq!(server.path("demo").await["readers"]["webrtc"], 2);
}

#[tokio::test]
async fn lost_packets_are_sent_again() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions { loses: 30, ..WhepOptions::default() }).await;
    viewer.play(Duration::from_secs(5)).await;
    let seen = &viewer.seen;
    assert!(seen.lost_on_purpose > 10, "{seen:?}");
    let (frames, whole) = (seen.video().count(), seen.video().filter(|frame| frame.contiguous).count());
    assert!(frames > 90 && whole * 100 >= frames * 95, "{whole} of {frames} frames are whole");
}

#[tokio::test]
async fn a_viewer_that_asks_for_a_key_frame_gets_one() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    viewer.play(Duration::from_secs(2)).await;
    let before = viewer.seen.video().filter(|frame| frame.key).count();
    viewer.ask_for_key_frame();
    let more = viewer.play_until(PATIENCE, |seen| seen.video().filter(|frame| frame.key).count() > before).await;
    assert!(more, "{before} key frames");
}

#[tokio::test]
async fn deleted_session_says_goodbye_and_is_gone() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    assert_eq!(viewer.delete().await, StatusCode::OK);
    assert!(!viewer.play_until(Duration::from_secs(5), |_| false).await);
    assert!(viewer.seen.ended.is_some(), "DTLS said goodbye");
    sessions_until(&server, 0, Duration::from_secs(2)).await;
    assert_eq!(viewer.delete().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn viewer_without_udp_plays_over_tcp() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions { tcp: true, ..WhepOptions::default() }).await;
    viewer.play(Duration::from_secs(3)).await;
    let seen = &viewer.seen;
    assert!(seen.connected.is_some(), "{seen:?}");
    assert!(seen.video().count() > 50 && seen.sound().count() > 50, "{} frames", seen.frames.len());
    assert_eq!(sessions(&server).await[0]["transport"], "tcp");
    drop(viewer);
    // The connection broke: nothing is sent, and an ICE restart could still come.
    let sent = |listed: &[Value]| listed[0]["packets_sent"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = sent(&sessions(&server).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sent(&sessions(&server).await), before, "nothing goes to a connection that broke");
}

#[tokio::test]
async fn viewers_of_both_address_families_play_side_by_side_over_udp_and_over_tcp() {
    if let Err(error) = std::net::TcpListener::bind("[::1]:0") {
        eprintln!("skipped: this machine has no IPv6 loopback ({error})");
        return;
    }
    let server = demo(json!({ "webrtc": { "address": ["[::1]:0", "127.0.0.1:0"] } })).await;
    assert!(server.address("webrtc_tcp").is_ipv6());
    let mut viewers = Vec::new();
    for (v6, tcp) in [(true, false), (true, true), (false, false)] {
        viewers.push(join(&server, WhepOptions { v6, tcp, ..WhepOptions::default() }).await);
    }
    let played = futures_util::future::join_all(
        viewers
            .iter_mut()
            .map(|viewer| viewer.play_until(PATIENCE, |seen| seen.video().count() > 60 && seen.sound().count() > 60)),
    );
    assert_eq!(played.await, [true; 3]);
    let mut travels: Vec<_> =
        sessions(&server).await.iter().map(|session| session["transport"].as_str().unwrap().to_owned()).collect();
    travels.sort_unstable();
    assert_eq!(travels, ["tcp", "udp", "udp"]);
    // A restart, and a lost picture, over IPv6 too.
    assert_eq!(viewers[0].restart().await, StatusCode::OK);
    let before = viewers[0].seen.video().count();
    viewers[0].ask_for_key_frame();
    assert!(viewers[0].play_until(PATIENCE, |seen| seen.video().count() > before + 40).await, "it plays on");
}

#[tokio::test]
async fn nothing_is_sent_to_a_closed_port() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    drop(viewer);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sent = |listed: &[Value]| listed[0]["packets_sent"].as_u64().unwrap();
    let before = sent(&sessions(&server).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sent(&sessions(&server).await), before, "the system told us that nobody is there");
}

#[tokio::test]
async fn a_silent_viewer_is_sent_nothing_after_ten_seconds_and_is_gone_after_thirty() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    // It keeps its socket and says nothing more.
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(13)).await;
    let sent = |listed: &[Value]| listed[0]["packets_sent"].as_u64().unwrap();
    let before = sent(&sessions(&server).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sent(&sessions(&server).await), before);
    sessions_until(&server, 0, Duration::from_secs(25)).await;
    assert!(begun.elapsed() > Duration::from_secs(25), "{:?}", begun.elapsed());
    drop(viewer);
}

#[tokio::test]
async fn restart_of_ice_goes_on_playing_and_changes_the_entity_tag() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    let (tag, trickle) = (viewer.etag.clone(), "a=ice-ufrag:xxxx\r\na=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy\r\n");
    assert_eq!(viewer.patch(None, trickle).await.status(), StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(viewer.patch(Some("\"old\""), trickle).await.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(viewer.restart().await, StatusCode::OK);
    assert_ne!(viewer.etag, tag);
    let before = viewer.seen.video().count();
    viewer.play(Duration::from_secs(4)).await;
    assert!(viewer.seen.ended.is_none() && viewer.seen.video().count() > before + 70, "it plays on");
    assert_eq!(sessions(&server).await.len(), 1);
}

#[tokio::test]
async fn failed_restart_leaves_the_session_as_it_was() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    // It asks for a restart, and its checks never come.
    let fragment =
        "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    assert_eq!(viewer.patch(Some("*"), fragment).await.status(), StatusCode::OK);
    let before = viewer.seen.video().count();
    viewer.play(Duration::from_secs(14)).await;
    assert!(viewer.seen.video().count() > before + 250, "{} frames", viewer.seen.video().count());
}

#[tokio::test]
async fn viewer_stays_over_a_reboot_of_the_camera_and_hears_its_aac_as_opus() {
    let (mut camera, server) = relay(Behaviour::default()).await;
    let joined = WhepClient::join(&whep(&server, "cam"), WhepOptions::default()).await;
    let mut viewer = joined.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert!(viewer.play_until(PATIENCE, |seen| seen.video().count() > 25 && seen.sound().count() > 25).await);
    camera.power_off().await;
    viewer.play(Duration::from_secs(2)).await;
    camera.power_on().await;
    let before = viewer.seen.frames.len();
    assert!(viewer.play_until(PATIENCE, |seen| seen.video().skip(1).any(|frame| frame.key)).await);
    let back = viewer.play_until(PATIENCE, |seen| {
        let after = &seen.frames[before..];
        after.iter().filter(|frame| frame.video).count() > 50 && after.iter().filter(|frame| !frame.video).count() > 50
    });
    assert!(back.await, "{:?}", viewer.seen);
    assert!(viewer.seen.ended.is_none(), "one session over both");
    assert!(viewer.seen.video().zip(viewer.seen.video().skip(1)).all(|(a, b)| a.time < b.time), "time moves on");
    assert_eq!(sessions(&server).await.len(), 1);
}

#[tokio::test]
async fn stopping_server_says_goodbye_within_its_drain() {
    let mut server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    server.signal("TERM");
    viewer.play_until(Duration::from_secs(5), |_| false).await;
    assert!(viewer.seen.ended.is_some(), "DTLS said goodbye");
    assert!(server.ended(Duration::from_secs(6)).await.is_some());
}

#[tokio::test]
async fn an_operator_ends_a_session() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    let id = sessions(&server).await[0]["id"].as_str().unwrap().to_owned();
    let kicked = server.client().delete(server.http(&format!("/api/v1/sessions/{id}"))).send().await.unwrap();
    assert_eq!(kicked.status(), StatusCode::NO_CONTENT);
    viewer.play_until(Duration::from_secs(5), |_| false).await;
    assert!(viewer.seen.ended.is_some());
}

#[tokio::test]
async fn limits_and_paths_that_are_not_ready_are_refused_with_a_time_to_come_back() {
    let server = Server::start(json!({
        "limits": { "sessions_per_path": 2 },
        "paths": { "demo": { "source": "demo" }, "gone": { "source": "rtsp://127.0.0.1:1/x", "on_demand": { "start_timeout": "1s" } } },
    }))
    .await;
    let _first = join(&server, WhepOptions::default()).await;
    let _second = join(&server, WhepOptions::default()).await;
    let full = WhepClient::join(&whep(&server, "demo"), WhepOptions::default()).await.err().unwrap();
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE, "{full:?}");
    assert!(full.retry_after.is_some() && full.body.contains("sessions_per_path"), "{full:?}");
    let gone = WhepClient::join(&whep(&server, "gone"), WhepOptions::default()).await.err().unwrap();
    assert!(gone.status == StatusCode::CONFLICT && gone.retry_after.is_some(), "{gone:?}");
    let none = WhepClient::join(&whep(&server, "none"), WhepOptions::default()).await.err().unwrap();
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
    let other = WhepOptions { h264: false, sound: false, ..WhepOptions::default() };
    let _ = _first.delete().await;
    sessions_until(&server, 1, PATIENCE).await;
    let common = WhepClient::join(&whep(&server, "demo"), other).await.err().unwrap();
    assert!(common.status == StatusCode::NOT_ACCEPTABLE && common.body.contains("VP8"), "{common:?}");
}

#[tokio::test]
async fn a_flood_of_offers_disturbs_nobody_who_plays() {
    let server = demo(json!({})).await;
    let mut viewer = join(&server, WhepOptions::default()).await;
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
    let door = whep(&server, "demo");
    let offer = WhepClient::offer();
    let flood = tokio::spawn(async move {
        let mut refused = 0;
        for _ in 0..40 {
            let posts = (0..25).map(|_| {
                door.http.post(&door.url).header("content-type", "application/sdp").body(offer.clone()).send()
            });
            for answer in futures_util::future::join_all(posts).await {
                let answer = answer.unwrap();
                if answer.status() != StatusCode::CREATED {
                    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                    assert!(answer.headers().contains_key("retry-after"));
                    refused += 1;
                }
            }
        }
        refused
    });
    viewer.play(Duration::from_secs(6)).await;
    eprintln!("{} of 1000 offers refused", flood.await.unwrap());
    let waiting = sessions(&server).await.len();
    // Half of all places, since they come from one address, and the one who plays.
    assert!(waiting <= 257, "{waiting}: those who never connect are bounded");
    let frames: Vec<_> = viewer.seen.video().collect();
    let gap = frames.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(frames.iter().all(|frame| frame.contiguous) && gap < Duration::from_millis(1500), "a gap of {gap:?}");
    // Those who never came make room for somebody who does.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut late = join(&server, WhepOptions::default()).await;
    assert!(late.play_until(PATIENCE, |seen| seen.first_key_frame().is_some()).await);
}

#[tokio::test]
async fn viewers_that_come_and_go_leave_nothing_behind() {
    let server = demo(json!({})).await;
    let door = whep(&server, "demo");
    let cycle = |tcp: bool| {
        let door = door.clone();
        async move {
            let options = WhepOptions { tcp, ..WhepOptions::default() };
            let mut viewer = WhepClient::join(&door, options).await.unwrap_or_else(|no| panic!("{no:?}"));
            assert!(viewer.play_until(PATIENCE, |seen| seen.connected.is_some()).await, "{:?}", viewer.seen);
            assert_eq!(viewer.delete().await, StatusCode::OK);
        }
    };
    let round = |count: usize| {
        let cycle = &cycle;
        async move {
            for batch in 0..count / 4 {
                futures_util::future::join_all((0..4).map(|i| cycle(i == 0 && batch % 8 == 0))).await;
            }
        }
    };
    // One stays, so that the demo camera does not come and go too.
    let mut keep = join(&server, WhepOptions::default()).await;
    assert!(keep.play_until(PATIENCE, |seen| seen.connected.is_some()).await);
    let keeping = tokio::spawn(async move {
        keep.play(Duration::from_secs(3600)).await;
    });
    round(100).await;
    sessions_until(&server, 1, PATIENCE).await;
    let (memory, descriptors) = (server.resident_bytes(), server.descriptors());
    let cycles = if scale() > 1 { 24_000 } else { 500 };
    round(cycles).await;
    sessions_until(&server, 1, PATIENCE).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = server.resident_bytes().saturating_sub(memory);
    eprintln!("{cycles} cycles: {} KB more, {descriptors} → {} descriptors", grown >> 10, server.descriptors());
    assert!(grown < 24 << 20, "{} KB more after {cycles} cycles", grown >> 10);
    assert!(server.descriptors() <= descriptors + 8, "{descriptors} → {}", server.descriptors());
    keeping.abort();
}
