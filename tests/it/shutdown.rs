//! Signals: the first one drains and the exit is clean, the second ends at once; nothing hangs whatever others do.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    hls_client::HlsClient,
    process::PATIENCE,
    relay,
    rtsp_client::{RtspReader, set_up_tcp},
    scripted_camera::{Behaviour, Fault, Reply, ScriptedCamera, Then},
    server::Server,
};

/// What is promised for a drain is 5 s; this is the bound of a slow machine.
const DRAIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn both_signals_end_readers_and_cameras_with_their_goodbyes() {
    for signal in ["TERM", "INT"] {
        let (camera, mut server) = relay(Behaviour::default()).await;
        let reader = RtspReader::play(&server.rtsp("cam")).await;
        reader.more(20).await;
        HlsClient::open(&server, "cam").await.follow(Duration::from_millis(500)).await;
        let asked = Instant::now();
        server.signal(signal);
        let status = server.ended(DRAIN).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{signal}: after {:?}", asked.elapsed());
        let deadline = Instant::now() + PATIENCE;
        while !reader.ended() {
            assert!(Instant::now() < deadline, "the reader's connection outlived the server");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(camera.count("TEARDOWN"), 1, "the camera is told: {:?}", camera.asked());
    }
}

#[tokio::test]
async fn blocked_playlist_request_does_not_hold_up_the_end() {
    let camera = ScriptedCamera::start().await;
    // The camera falls silent, so that what is waited for never comes.
    let path = json!({ "source": camera.url(), "stalled_after": "60s", "reconnect_after": "120s" });
    let mut server = Server::start(json!({ "paths": { "cam": path } })).await;
    server.state("cam", "ready").await;
    let (url, msn) = {
        let mut client = HlsClient::open(&server, "cam").await;
        let playlist = client.playlist().await;
        camera.change(|camera| camera.silent = true);
        tokio::time::sleep(Duration::from_millis(500)).await;
        (server.http(&client.media), playlist.next_part().0 + 1)
    };
    let waiting = tokio::spawn(server.client().get(format!("{url}?_HLS_msn={msn}")).send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished(), "the request waits");
    server.signal("TERM");
    let status = server.ended(DRAIN).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert!(waiting.await.unwrap().map_or(true, |response| response.status() != 200), "it got no playlist");
}

#[tokio::test]
async fn camera_that_answers_nothing_does_not_hold_up_the_end() {
    let (camera, mut server) = relay(Behaviour::default()).await;
    camera.strike(Fault::HalfOpen);
    server.signal("TERM");
    let status = server.ended(DRAIN).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.log().join("\n"));
}

#[tokio::test]
async fn camera_that_is_being_asked_does_not_hold_up_the_end() {
    let behaviour = Behaviour {
        reply: Arc::new(|asked, reply| {
            let then = if asked.method == "DESCRIBE" { Then::NeverAnswer } else { Then::GoOn };
            Reply { then, ..reply }
        }),
        ..Behaviour::default()
    };
    let camera = ScriptedCamera::behaving(behaviour).await;
    let nobody = "rtsp://127.0.0.1:9/nothing";
    let paths = json!({ "mute": { "source": camera.url() }, "refused": { "source": nobody } });
    let mut server = Server::start(json!({ "paths": paths })).await;
    while camera.count("DESCRIBE") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.signal("TERM");
    let status = server.ended(DRAIN).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.log().join("\n"));
}

#[tokio::test]
async fn reader_that_takes_nothing_does_not_hold_up_the_end() {
    let (_camera, mut server) = relay(Behaviour::default()).await;
    let (mut client, _, base) = set_up_tcp(&server.rtsp("cam")).await;
    client.ask("PLAY", &base, &[]).await.ok();
    // It plays, and its socket is never read again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.signal("TERM");
    let status = server.ended(DRAIN).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    drop(client);
}

#[tokio::test]
async fn second_signal_ends_at_once() {
    let (camera, mut server) = relay(Behaviour::default()).await;
    camera.strike(Fault::HalfOpen);
    server.signal("TERM");
    server.signal("INT");
    let asked = Instant::now();
    assert!(server.ended(DRAIN).await.is_some());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn stopped_server_starts_again_on_its_state() {
    let (camera, server) = relay(Behaviour::default()).await;
    let server = server.restart(json!({ "paths": { "cam": { "source": camera.url() } } })).await;
    server.state("cam", "ready").await;
    assert_eq!(server.get("/readyz").await.status(), 200);
}
