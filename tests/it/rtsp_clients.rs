//! RTSP out: what ffmpeg, GStreamer and VLC really send, and what they get.

use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    clients::{ffmpeg_decode, ffprobe, gst_read},
    process::PATIENCE,
    relay,
    rtsp_client::{Rtp, RtspClient, RtspReader, controls, set_up_tcp},
    scripted_camera::{Behaviour, ScriptedCamera, Video},
    server::Server,
    tls,
    vlc_like::VlcLikeClient,
};

/// The NAL unit type of an H.264 payload, that inside a fragment or an aggregate included.
fn h264_types(payload: &[u8]) -> Vec<u8> {
    match payload[0] & 0x1f {
        28 => vec![payload[1] & 0x1f],
        24 => {
            let (mut types, mut at) = (Vec::new(), 1);
            while at + 2 < payload.len() {
                types.push(payload[at + 2] & 0x1f);
                at += 2 + usize::from(u16::from_be_bytes([payload[at], payload[at + 1]]));
            }
            types
        }
        one => vec![one],
    }
}

/// Sequence number and timestamp that `RTP-Info` promises for a track (RFC 2326 §12.33).
fn promised(rtp_info: &str, track: usize) -> (u16, u32) {
    let entry = rtp_info.split(',').nth(track).unwrap_or_else(|| panic!("RTP-Info has track {track}: {rtp_info}"));
    let field = |name: &str| {
        let value = entry.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{name} in {entry}")).parse::<u32>().unwrap()
    };
    (u16::try_from(field("seq")).unwrap(), field("rtptime"))
}

#[tokio::test]
async fn ffmpeg_decodes_every_picture_over_tcp_and_udp() {
    let (_camera, server) = relay(Behaviour::default()).await;
    for transport in ["tcp", "udp"] {
        let frames = ffmpeg_decode(&server.rtsp("cam"), Some(transport), 3.0).await;
        let count = |stream| frames.iter().filter(|frame| frame.stream == stream).count();
        assert!(count(0) >= 60 && count(1) >= 100, "{transport}: {} pictures, {} sounds", count(0), count(1));
    }
}

#[tokio::test]
async fn gstreamer_reads_h264_and_h265_over_tcp_and_udp() {
    for (video, elements) in [(Video::H264, "rtph264depay ! h264parse"), (Video::H265, "rtph265depay ! h265parse")] {
        let (_camera, server) = relay(Behaviour { video: Some(video), audio: false, ..Behaviour::default() }).await;
        for protocol in ["tcp", "udp"] {
            gst_read(&server.rtsp("cam"), protocol, elements, 75).await;
        }
    }
}

#[tokio::test]
async fn vlc_gets_over_udp_what_its_dialogue_asks_for() {
    vlc_plays(false).await;
}

#[tokio::test]
async fn vlc_gets_over_tcp_what_its_dialogue_asks_for() {
    vlc_plays(true).await;
}

async fn vlc_plays(tcp: bool) {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut vlc = VlcLikeClient::open(&server.rtsp("cam"), tcp).await;
    assert!(vlc.sdp.contains("a=range:npt="), "VLC asks the SDP whether it may seek: {}", vlc.sdp);
    let info = vlc.played.header("RTP-Info").expect("PLAY tells where it begins").to_owned();
    // RFC 2326 §12.33: the sequence number is that of the first packet, the timestamp that of where playing begins: of
    // the first picture, and of the same moment in the sound, whose first packet comes a little later.
    let mut packet = vlc.packet(0).await;
    assert_eq!((packet.sequence, packet.timestamp), promised(&info, 0), "{info}");
    let sound = vlc.packet(1).await;
    let (sequence, timestamp) = promised(&info, 1);
    assert_eq!(sound.sequence, sequence, "{info}");
    let later = sound.timestamp.wrapping_sub(timestamp);
    assert!(later < 48_000, "the sound begins within a second: {later} ticks after {timestamp}");
    let begins = h264_types(&packet.payload)[0];
    assert!([5, 6, 7, 9].contains(&begins), "the first packet belongs to a random access point: NAL type {begins}");
    for _ in 0..200 {
        let next = vlc.packet(0).await;
        let step = next.sequence.wrapping_sub(packet.sequence);
        // A machine that is busy enough loses datagrams even to itself.
        assert!(step == 1 || !tcp && (1..500).contains(&step), "{step} packets further");
        assert_eq!((next.ssrc, next.payload_type), (packet.ssrc, packet.payload_type));
        // RFC 6184 §5.1: the marker stands on the last packet of an access unit.
        assert!(step > 1 || packet.marker == (next.timestamp != packet.timestamp), "the marker ends an access unit");
        assert!(next.timestamp.wrapping_sub(packet.timestamp) < 90_000 * 3, "timestamps rise");
        packet = next;
    }
    // A sender report names the packets' source (RFC 3550 §6.4.1), and receiver reports are welcome.
    let report = vlc.report(0).await;
    assert_eq!((report[1], &report[4..8]), (200, &packet.ssrc.to_be_bytes()[..]));
    vlc.send_receiver_report(0, packet.ssrc).await;
    assert_eq!(vlc.keep_alive().await.status, 200);
    assert_eq!(vlc.session_timeout, 60);
    let (paused, resumed) = vlc.pause_and_resume().await;
    assert!([200, 455].contains(&paused.status) && resumed.status == 200, "{paused:?} {resumed:?}");
    vlc.packet(0).await;
    assert_eq!(vlc.close().await.status, 200);
    assert!(tcp || vlc.falls_silent(0, Duration::from_secs(1)).await, "what was torn down is sent no more");
    server.path_until("cam", "without readers", |path| path["readers"]["rtsp"] == 0).await;
}

#[tokio::test]
async fn vlc_that_vanishes_without_teardown_is_forgotten() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut vlc = VlcLikeClient::open(&server.rtsp("cam"), true).await;
    vlc.packet(0).await;
    server.path_until("cam", "read once", |path| path["readers"]["rtsp"] == 1).await;
    drop(vlc);
    server.path_until("cam", "without readers", |path| path["readers"]["rtsp"] == 0).await;
}

#[tokio::test]
async fn new_reader_starts_at_the_newest_random_access_point_at_once() {
    let (camera, server) = relay(Behaviour { audio: false, ..Behaviour::default() }).await;
    // Into the second half of a GOP of two seconds.
    while camera.packets() < 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (mut client, _, base) = set_up_tcp(&server.rtsp("cam")).await;
    client.ask("PLAY", &base, &[]).await.ok();
    let (_, first) = client.frame(Duration::from_secs(3)).await.expect("a picture comes before the next GOP does");
    let first = Rtp::parse(&first);
    let mut types = h264_types(&first.payload);
    let mut packet = first.clone();
    while !types.contains(&5) {
        let (channel, frame) = client.frame(PATIENCE).await.unwrap();
        if channel == 0 {
            packet = Rtp::parse(&frame);
            types.extend(h264_types(&packet.payload));
        }
    }
    assert!(types.contains(&7) && types.contains(&8), "parameter sets come before the picture: {types:?}");
    assert_eq!(packet.timestamp, first.timestamp, "one access unit, one timestamp");
}

#[tokio::test]
async fn reader_may_ask_for_the_live_edge() {
    let (_camera, server) = relay(Behaviour { audio: false, ..Behaviour::default() }).await;
    let (mut client, _, base) = set_up_tcp(&server.rtsp("cam?start=live")).await;
    client.ask("PLAY", &base, &[]).await.ok();
    let (_, first) = client.frame(PATIENCE).await.unwrap();
    let begins = h264_types(&Rtp::parse(&first).payload)[0];
    assert!([5, 6, 7, 9].contains(&begins), "it begins at a random access point: NAL type {begins}");
}

#[tokio::test]
async fn many_readers_get_the_same_packets() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let url = server.rtsp("cam");
    let (one, other) = (RtspReader::play(&url).await, RtspReader::play(&url).await);
    one.more(150).await;
    other.more(150).await;
    server.path_until("cam", "read twice", |path| path["readers"]["rtsp"] == 2).await;
    for reader in [one, other] {
        for track in [0, 1] {
            let packets = reader.noted().packets.into_iter().filter(|(of, ..)| *of == track).collect::<Vec<_>>();
            let gapless = packets.windows(2).all(|pair| pair[1].1.sequence == pair[0].1.sequence.wrapping_add(1));
            assert!(gapless && packets.len() > 10, "track {track}: {} packets", packets.len());
        }
    }
}

#[tokio::test]
async fn path_that_allows_tcp_alone_refuses_udp_so_that_clients_fall_back() {
    let camera = ScriptedCamera::start().await;
    let path = json!({ "source": camera.url(), "rtsp_transports": ["tcp"] });
    let server = Server::start(json!({ "paths": { "cam": path } })).await;
    server.state("cam", "ready").await;
    let url = server.rtsp("cam");
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    let described = client.ask("DESCRIBE", &url, &[]).await.ok();
    let control = &controls(&described.body, described.header("Content-Base").unwrap())[0];
    let refused = client.ask("SETUP", control, &[("Transport", "RTP/AVP;unicast;client_port=50000-50001")]).await;
    assert_eq!(refused.status, 461, "RFC 2326 §11.3.12");
    // ffmpeg asks for UDP first and falls back by itself.
    assert_eq!(ffprobe(&url, None).await.codecs, ["h264", "aac"]);
}

#[tokio::test]
async fn setup_takes_the_first_acceptable_transport_of_a_list() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let url = server.rtsp("cam");
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    let described = client.ask("DESCRIBE", &url, &[]).await.ok();
    let control = &controls(&described.body, described.header("Content-Base").unwrap())[0];
    let list = "RTP/AVP;multicast,RTP/SAVP;unicast;client_port=1-2,RTP/AVP/TCP;unicast;interleaved=6-7";
    let answer = client.ask("SETUP", control, &[("Transport", list)]).await.ok();
    assert!(answer.header("Transport").unwrap().contains("interleaved=6-7"), "{answer:?}");
}

#[tokio::test]
async fn requests_between_frames_and_in_one_packet_are_all_answered() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let (mut client, _, base) = set_up_tcp(&server.rtsp("cam")).await;
    client.ask("PLAY", &base, &[]).await.ok();
    for _ in 0..20 {
        client.request("GET_PARAMETER", &base, &[]).await;
    }
    for _ in 0..20 {
        assert_eq!(client.answer().await.unwrap().status, 200);
        client.frame(PATIENCE).await.unwrap();
    }
    assert_eq!(client.ask("PLAY", &base, &[]).await.status, 200, "PLAY while playing changes nothing");
}

#[tokio::test]
async fn unknown_path_and_unknown_session_have_their_own_status() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    assert_eq!(client.ask("DESCRIBE", &server.rtsp("nothing-here"), &[]).await.status, 404);
    let stray = client.ask("PLAY", &server.rtsp("cam"), &[("Session", "12345678")]).await;
    assert_eq!(stray.status, 454, "RFC 2326 §11.3.5");
    assert_eq!(client.ask("DANCE", &server.rtsp("cam"), &[]).await.status, 501);
}

#[tokio::test]
async fn rtsp_over_tls_plays() {
    let camera = ScriptedCamera::start().await;
    let identity = tls::Identity::new();
    let tls = json!({ "certificate_file": identity.certificate, "key_file": identity.key });
    let server = Server::start(json!({
        "rtsp": { "tls_address": "127.0.0.1:0", "tls": tls },
        "paths": { "cam": { "source": camera.url() } },
    }))
    .await;
    server.state("cam", "ready").await;
    let url = format!("rtsps://{}/cam", server.address("rtsps"));
    assert_eq!(ffprobe(&url, Some("tcp")).await.codecs, ["h264", "aac"]);
}

#[tokio::test]
async fn rtsp_tunnelled_over_http_plays() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let address = server.address("rtsp");
    // live555's way (and ONVIF's): a GET that only answers, a POST that only asks, joined by a cookie.
    let mut down = TcpStream::connect(address).await.unwrap();
    let cookie = "x-sessioncookie: 12345678901234567890AB";
    let get = format!(
        "GET /cam HTTP/1.1\r\nCSeq: 1\r\nUser-Agent: test\r\nHost: {address}\r\n{cookie}\r\nAccept: application/x-rtsp-tunnelled\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
    );
    down.write_all(get.as_bytes()).await.unwrap();
    let mut head = [0; 4096];
    let length = timeout(PATIENCE, down.read(&mut head)).await.unwrap().unwrap();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    assert!(head.contains(" 200 ") && head.contains("application/x-rtsp-tunnelled"), "{head}");
    let mut up = TcpStream::connect(address).await.unwrap();
    let post = format!(
        "POST /cam HTTP/1.1\r\nCSeq: 1\r\nUser-Agent: test\r\nHost: {address}\r\n{cookie}\r\nContent-Type: application/x-rtsp-tunnelled\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nContent-Length: 32767\r\nExpires: Sun, 9 Jan 1972 00:00:00 GMT\r\n\r\n"
    );
    up.write_all(post.as_bytes()).await.unwrap();
    let url = server.rtsp("cam");
    let ask = format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n");
    up.write_all(base64::engine::general_purpose::STANDARD.encode(ask).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("m=audio") {
            let length = down.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend(&buffer[..length]);
        }
    };
    timeout(PATIENCE, read).await.expect("DESCRIBE is answered on the GET");
    assert!(String::from_utf8_lossy(&answer).starts_with("RTSP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn endless_header_and_silent_connection_are_cut_off_and_others_play_on() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    let mut flood = RtspClient::connect(server.address("rtsp")).await;
    flood.send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX-Long: ").await;
    let mut socket_closed = false;
    for _ in 0..64 {
        if timeout(PATIENCE, flood.try_send(&[b'a'; 16_384])).await.expect("the server reads or closes").is_err() {
            socket_closed = true;
            break;
        }
    }
    assert!(socket_closed || flood.closed(PATIENCE).await, "a megabyte of header is not read to its end");
    let before = server.resident_bytes();
    reader.more(50).await;
    assert!(server.resident_bytes() < before + 8 * 1024 * 1024);
    // Half a request, and then nothing.
    let mut slow = RtspClient::connect(server.address("rtsp")).await;
    slow.send(b"OPTIONS * RTSP/1.0\r\nCS").await;
    assert!(slow.closed(PATIENCE).await, "who does not finish a request is let go");
    reader.more(50).await;
}
