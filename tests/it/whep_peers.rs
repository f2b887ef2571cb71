//! Other WebRTC stacks as viewers: GStreamer's (`tests/viewers/gst_whep.py`) in fine weather and in bad, and the crate
//! `webrtc`.

use std::{
    net::IpAddr,
    path::Path,
    process::Command,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use reqwest::StatusCode;

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use webrtc::peer_connection::RTCPeerConnectionState;

use crate::support::{
    bad_network::{BadNetwork, Weather},
    process::{PATIENCE, run},
    scripted_camera::{Behaviour, ScriptedCamera, Video},
    server::Server,
    webrtc_viewer::WebrtcViewer,
};

/// This machine's address on its network: GStreamer's ICE does not speak UDP over loopback.
async fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    // Nothing is sent: the system chooses the way, and with it the address. Without a network, the test says so.
    socket.connect("192.0.2.200:9").await.expect("this test needs a network card");
    socket.local_addr().unwrap().ip()
}

async fn demo() -> Server {
    let address = own_address().await;
    Server::start(json!({ "webrtc": { "address": format!("{address}:0") }, "paths": { "demo": { "source": "demo" } } }))
        .await
}

async fn view(server: &Server, path: &str, options: &[String]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viewers/gst_whep.py");
    let mut python = Command::new("/usr/bin/python3");
    let ran = run(python.arg(script).arg(server.http(&format!("/{path}/whep"))).args(options)).await.success();
    let seen: Value = serde_json::from_str(ran.text().lines().last().unwrap_or_default()).unwrap();
    assert_eq!((&seen["error"], &seen["state"]), (&Value::Null, &json!("connected")), "{seen}");
    seen
}

fn assert_sees_and_hears(seen: &Value, pictures: u64) {
    assert_eq!(seen["tracks"].as_array().map(Vec::len), Some(2), "{seen}");
    assert!(seen["pictures"].as_u64() >= Some(pictures) && seen["sounds"].as_u64() > Some(0), "{seen}");
}

#[tokio::test]
async fn gstreamer_sees_and_hears_over_udp_and_over_tcp_alone() {
    let server = demo().await;
    for way in ["tcp=0", "tcp=1"] {
        let seen = view(&server, "demo", &[way.to_owned(), "pictures=60".to_owned()]).await;
        assert_sees_and_hears(&seen, 60);
    }
}

#[tokio::test]
async fn gstreamer_sees_and_hears_through_loss_and_jitter() {
    let server = demo().await;
    let weather = Weather { loss: 0.05, jitter: Duration::from_millis(30), ..Weather::default() };
    let network = BadNetwork::before(server.address("webrtc"), weather, 7).await;
    let options = [format!("candidate={}", network.address), "pictures=100".to_owned(), "seconds=25".to_owned()];
    assert_sees_and_hears(&view(&server, "demo", &options).await, 100);
    assert!(network.counted().0 > 10, "{:?}", network.counted());
}

/// No Chromium of a Linux distribution takes H.265 over WebRTC; GStreamer does.
#[tokio::test]
async fn gstreamer_sees_h265_and_hears_what_was_aac() {
    let camera = ScriptedCamera::behaving(Behaviour { video: Some(Video::H265), ..Behaviour::default() }).await;
    let paths = json!({ "cam": { "source": camera.url() } });
    let address = own_address().await;
    let server = Server::start(json!({ "webrtc": { "address": format!("{address}:0") }, "paths": paths })).await;
    server.state("cam", "ready").await;
    let seen = view(&server, "cam", &["video=H265".to_owned(), "pictures=60".to_owned()]).await;
    assert_sees_and_hears(&seen, 60);
    assert_eq!(seen["tracks"], json!(["video/H265", "audio/OPUS"]), "{seen}");
}

#[tokio::test]
async fn the_crate_webrtc_decodes_reports_survives_a_restart_of_ice_and_is_told_the_end() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let mut viewer = WebrtcViewer::join(server.client(), &server.http("/demo/whep")).await;
    viewer.until("decoding", |seen| seen.pictures.load(Relaxed) >= 50 && seen.sounds.load(Relaxed) >= 50).await;
    assert_eq!(viewer.seen.state(), RTCPeerConnectionState::Connected);
    // Its receiver reports name our sender reports: the round trip is known.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sessions = server.json("/api/v1/sessions").await;
        let session = &sessions["items"][0];
        if session["round_trip_ms"].is_number() && session["jitter_ms"].is_number() {
            break;
        }
        assert!(Instant::now() < deadline, "{sessions:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    viewer.restart_ice().await;
    let before = viewer.seen.pictures.load(Relaxed);
    viewer.until("decoding after the restart", |seen| seen.pictures.load(Relaxed) >= before + 50).await;
    assert_eq!(viewer.delete().await, StatusCode::OK);
    viewer.until("told the end", |seen| seen.state() != RTCPeerConnectionState::Connected).await;
    assert_eq!(viewer.delete().await, StatusCode::NOT_FOUND);
    server.path_until("demo", "left", |path| path["readers"]["webrtc"] == 0).await;
}

#[tokio::test]
async fn a_bad_network_loses_its_share_and_lets_datagrams_overtake() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let weather = Weather { loss: 0.2, delay: Duration::from_millis(5), jitter: Duration::from_millis(20), rate: None };
    let network = BadNetwork::before(server.local_addr().unwrap(), weather, 1).await;
    for number in 0..500_u16 {
        client.send_to(&number.to_be_bytes(), network.address).await.unwrap();
    }
    let (mut came, mut buffer) = (Vec::new(), [0; 2]);
    while let Ok(received) = tokio::time::timeout(Duration::from_millis(500), server.recv_from(&mut buffer)).await {
        let (_, back) = received.unwrap();
        if came.is_empty() {
            server.send_to(b"hi", back).await.unwrap();
        }
        came.push(u16::from_be_bytes(buffer));
    }
    let lost = 500 - came.len();
    assert!((60..140).contains(&lost) && !came.is_sorted(), "{lost}");
    // In fine weather nothing is lost and nothing overtakes.
    network.turn(Weather { delay: Duration::from_millis(5), ..Weather::default() });
    let before = network.counted();
    came.clear();
    for number in 0..200_u16 {
        client.send_to(&number.to_be_bytes(), network.address).await.unwrap();
        tokio::task::yield_now().await;
    }
    while let Ok(received) = tokio::time::timeout(Duration::from_millis(500), server.recv_from(&mut buffer)).await {
        received.unwrap();
        came.push(u16::from_be_bytes(buffer));
    }
    // What the system itself loses never reached the proxy, or was carried by it.
    assert!(came.is_sorted() && came.len() > 100, "{came:?}");
    assert_eq!(network.counted().0, before.0);
    assert!(network.counted().1 - before.1 >= came.len() as u64);
    // The answer may have been lost, too.
    assert!((lost as u64..=lost as u64 + 1).contains(&before.0));
}
