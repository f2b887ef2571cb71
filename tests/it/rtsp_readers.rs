//! RTSP out in its less travelled forms: the smaller rendition, a start at the live edge, IPv6, readers on several
//! threads.

use std::{fs, net::TcpListener, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    clients::{ffmpeg_decode, ffprobe, gst_read},
    process::PATIENCE,
    relay,
    rtsp_client::{Rtp, RtspReader, set_up_tcp},
    scripted_camera::{Behaviour, ScriptedCamera, Video},
    server::Server,
};

#[tokio::test]
async fn real_players_read_the_smaller_rendition_by_its_name() {
    let main = ScriptedCamera::start().await;
    let small = Behaviour { video: Some(Video::H265), audio: false, ..Behaviour::default() };
    let sub = ScriptedCamera::behaving(small).await;
    let server = Server::start(json!({ "paths": { "cam": { "source": main.url(), "sub": sub.url() } } })).await;
    server.state("cam", "ready").await;
    for transport in ["tcp", "udp"] {
        assert_eq!(ffprobe(&server.rtsp("cam"), Some(transport)).await.codecs, ["h264", "aac"], "{transport}");
        assert_eq!(ffprobe(&server.rtsp("cam/main"), Some(transport)).await.codecs, ["h264", "aac"], "{transport}");
        assert_eq!(ffprobe(&server.rtsp("cam/sub"), Some(transport)).await.codecs, ["hevc"], "{transport}");
        gst_read(&server.rtsp("cam/sub"), transport, "rtph265depay ! h265parse", 50).await;
    }
    let reader = RtspReader::play(&server.rtsp("cam/sub")).await;
    reader.more(10).await;
    let sessions = server.json("/api/v1/sessions").await;
    let session = &sessions["items"][0];
    assert_eq!((&session["path"], &session["rendition"]), (&json!("cam"), &json!("sub")), "{session:#}");
}

/// How long the first `count` pictures take to come.
async fn first_pictures(url: &str, count: usize) -> Duration {
    let (mut client, _, base) = set_up_tcp(url).await;
    client.ask("PLAY", &base, &[]).await.ok();
    let (mut pictures, mut began) = (0, None);
    while pictures < count {
        let (channel, frame) = client.frame(PATIENCE).await.expect("a picture comes");
        began.get_or_insert_with(Instant::now);
        pictures += usize::from(channel == 0 && Rtp::parse(&frame).marker);
    }
    began.unwrap().elapsed()
}

#[tokio::test]
async fn reader_at_the_live_edge_is_sent_no_burst() {
    let (camera, server) = relay(Behaviour { audio: false, ..Behaviour::default() }).await;
    // Into the second half of a GOP of two seconds.
    while camera.packets() < 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Twenty pictures are 0.76 s of film.
    let live = first_pictures(&server.rtsp("cam?start=live"), 20).await;
    assert!(live > Duration::from_millis(500), "twenty live pictures came within {live:?}");
    for url in [server.rtsp("cam?start=live"), server.rtsp("cam/?start=live")] {
        for transport in ["tcp", "udp"] {
            let frames = ffmpeg_decode(&url, Some(transport), 2.0).await;
            assert!(frames.len() >= 40, "{url} over {transport}: {} pictures", frames.len());
        }
    }
    gst_read(&server.rtsp("cam?start=live"), "tcp", "rtph264depay ! h264parse", 50).await;
}

#[tokio::test]
async fn real_players_read_over_ipv6() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: this machine has no IPv6 loopback ({error})");
        return;
    }
    let camera = ScriptedCamera::start().await;
    let rtsp = json!({ "address": ["127.0.0.1:0", "[::1]:0"] });
    let server = Server::start(json!({ "rtsp": rtsp, "paths": { "cam": { "source": camera.url() } } })).await;
    server.state("cam", "ready").await;
    let addresses = fs::read(server.folder().join("state/addresses.json")).unwrap();
    let addresses: Value = serde_json::from_slice(&addresses).unwrap();
    let v6 = addresses["rtsp"].as_array().unwrap().iter().filter_map(Value::as_str).find(|at| at.starts_with('['));
    let url = format!("rtsp://{}/cam", v6.expect("an IPv6 listener"));
    for transport in ["tcp", "udp"] {
        assert_eq!(ffprobe(&url, Some(transport)).await.codecs, ["h264", "aac"], "{transport}");
        let frames = ffmpeg_decode(&url, Some(transport), 2.0).await;
        let pictures = frames.iter().filter(|frame| frame.stream == 0).count();
        assert!(pictures >= 40, "{transport}: {pictures} pictures");
        gst_read(&url, transport, "rtph264depay ! h264parse", 50).await;
    }
    let reader = RtspReader::play(&url).await;
    reader.more(10).await;
    let sessions = server.json("/api/v1/sessions").await;
    let peer = sessions["items"][0]["peer"].as_str().unwrap();
    assert!(peer.starts_with("[::1]:"), "{peer}");
}

/// How often each media thread of a process went to sleep by itself: once for every beat it served.
fn rests(process: u32) -> Vec<(String, u64)> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let rests = |thread: fs::DirEntry| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?.trim().to_owned();
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        name.starts_with("media-").then(|| (name, line.trim().parse().unwrap()))
    };
    let mut all: Vec<_> = threads.filter_map(|thread| rests(thread.unwrap())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn readers_are_spread_over_threads_and_none_holds_another_up() {
    let camera = ScriptedCamera::start().await;
    let server = Server::start(json!({
        "media_threads": 3,
        // Who takes no byte at all is gone after a while; here that is not the point.
        "rtsp": { "write_timeout": "5m" },
        "paths": { "cam": { "source": camera.url() } },
    }))
    .await;
    server.state("cam", "ready").await;
    let url = server.rtsp("cam");
    // One on each thread, as they come, that plays and never reads.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let (mut client, _, base) = set_up_tcp(&url).await;
        client.request("PLAY", &base, &[]).await;
        stalled.push(client);
    }
    let mut readers = Vec::new();
    for _ in 0..9 {
        readers.push(RtspReader::play(&url).await);
    }
    let before = rests(server.id());
    assert_eq!(before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["media-0", "media-1", "media-2"]);
    for reader in &readers {
        reader.more(200).await;
    }
    for ((name, before), (_, after)) in before.iter().zip(rests(server.id())) {
        assert!(after >= before + 50, "{name} served nobody: it rested {before} times before and {after} after");
    }
    for reader in &readers {
        let packets = reader.noted().packets;
        for track in [0, 1] {
            let of_track = packets.iter().filter(|(of, ..)| *of == track).map(|(_, packet, _)| packet.sequence);
            let numbers: Vec<u16> = of_track.collect();
            assert!(numbers.len() > 30 && numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
        }
    }
    assert_eq!(server.path("cam").await["readers"]["rtsp"], 12, "slow is no reason to be sent away");
    drop(stalled);
    server.path_until("cam", "read by nine", |path| path["readers"]["rtsp"] == 9).await;
}
