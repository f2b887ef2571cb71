//! The dialogue of RFC 2326, by the line: what clients depend on (RT-01 to RT-16).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Client, PATIENCE, Rig, wait_until};
use crate::{
    rtp::{packet::Packet, rtcp},
    rtsp::{RtspOptions, Transports, framing::Incoming},
};

/// A server whose path shows pictures.
async fn playing() -> (Rig, Client) {
    let rig = Rig::start().await;
    rig.feed.begin();
    rig.feed.push_gop(5000, 5);
    let client = rig.client().await;
    (rig, client)
}

fn rtp(payload: &[u8]) -> Packet<'_> {
    Packet::parse(payload).unwrap()
}

#[tokio::test]
async fn options_lists_what_works_before_any_question_of_rights_rt_01() {
    let (_rig, mut client) = playing().await;
    for url in ["*", "", "/", "rtsp://127.0.0.1/nothing"] {
        let answered = client.ask("OPTIONS", url, &[]).await;
        assert_eq!(answered.status, 200);
        let methods: Vec<_> = answered.header("public").unwrap().split(", ").collect();
        for method in ["DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"] {
            assert!(methods.contains(&method), "{method}");
        }
        assert!(!methods.contains(&"ANNOUNCE") && !methods.contains(&"RECORD"));
    }
}

#[tokio::test]
async fn describe_gives_the_same_text_again_and_a_base_that_ends_with_a_slash_rt_02() {
    let (rig, mut client) = playing().await;
    let mut texts = Vec::new();
    for url in ["", "/", "", "?key=x", "/?key=x"] {
        let answered = client.ask("DESCRIBE", url, &[("Accept", "application/sdp")]).await;
        assert_eq!((answered.status, answered.header("content-type")), (200, Some("application/sdp")));
        let base = answered.header("content-base").unwrap();
        assert!(base.starts_with(&rig.url()) && base.ends_with('/') && !base.ends_with("//"), "{base}");
        assert_eq!(base.contains("key=x"), url.contains("key=x"));
        texts.push(answered.text.split_once("\r\n\r\n").unwrap().1.to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    assert_eq!(texts[0].matches("m=").count(), 2);
    assert!(texts[0].contains("s=The gate") && texts[0].contains("a=range:npt=now-"));
}

#[tokio::test]
async fn what_cannot_be_described_says_why() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    // There, and nothing to see within its time-out.
    assert_eq!(client.ask("DESCRIBE", "", &[]).await.status, 503);
    assert_eq!(client.ask("DESCRIBE", &rig.url().replace("cam", "other"), &[]).await.status, 404);
    assert_eq!(client.ask("DESCRIBE", &rig.url().replace("cam", "cam/sub"), &[]).await.status, 404);
    assert_eq!(client.ask("DESCRIBE", &rig.url().replace("cam", ""), &[]).await.status, 404);
    assert_eq!(client.ask("DESCRIBE", "", &[("Accept", "text/parameters")]).await.status, 406);
    assert_eq!(client.ask("DESCRIBE", "?tracks=smell", &[]).await.status, 400);
    rig.feed.begin();
    rig.feed.push(true, 100);
    assert_eq!(client.ask("DESCRIBE", "?tracks=video", &[]).await.text.matches("m=").count(), 1);
}

#[tokio::test]
async fn setup_takes_the_first_acceptable_transport_and_refuses_with_461_rt_04() {
    let no_udp = RtspOptions { transports: Transports { tcp: true, udp: false }, ..RtspOptions::default() };
    let rig = Rig::with(no_udp, Default::default()).await;
    rig.feed.begin();
    rig.feed.push(true, 100);
    let mut client = rig.client().await;
    let answered = client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP;unicast;client_port=5000-5001")]).await;
    assert_eq!((answered.status, answered.header("session")), (461, None));
    assert_eq!(client.ask("SETUP", "/trackID=0", &[]).await.status, 461);
    let both = "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=6-7";
    let answered = client.ask("SETUP", "/trackID=0", &[("Transport", both)]).await;
    assert_eq!(answered.status, 200);
    assert!(answered.header("transport").unwrap().starts_with("RTP/AVP/TCP;unicast;interleaved=6-7;ssrc="));
}

#[tokio::test]
async fn a_path_may_allow_less_than_the_server() {
    let path_transports = std::sync::Arc::new(|path: &crate::base::PathName| {
        (path.as_str() == "cam").then_some(Transports { tcp: false, udp: true })
    });
    let rig = Rig::with(RtspOptions { path_transports, ..RtspOptions::default() }, Default::default()).await;
    rig.feed.begin();
    rig.feed.push(true, 100);
    let mut client = rig.client().await;
    assert_eq!(client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP/TCP;unicast")]).await.status, 461);
    let answered = client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP;unicast;client_port=5000-5001")]).await;
    assert_eq!(answered.status, 200);
}

#[tokio::test]
async fn setup_names_a_session_that_cannot_be_guessed_and_its_timeout_rt_05() {
    let (rig, mut client) = playing().await;
    let answered = client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP/TCP;unicast")]).await;
    let session = answered.header("session").unwrap();
    let (id, timeout) = session.split_once(';').unwrap();
    assert_eq!((id.len(), timeout), (32, "timeout=60"));
    let listed = rig.sessions.all();
    assert_eq!((listed.len(), listed[0].id.to_string().as_str()), (1, id));
    assert_eq!((listed[0].details.transport, listed[0].details.path.as_str()), ("tcp", "cam"));
    // Another connection does not control it (RT-10), whatever it knows.
    let mut thief = rig.client().await;
    thief.session = Some(id.to_owned());
    for method in ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"] {
        assert_eq!(thief.ask(method, "", &[]).await.status, 454, "{method}");
    }
    let answered = thief.ask("SETUP", "/trackID=1", &[("Transport", "RTP/AVP/TCP;unicast")]).await;
    assert_eq!(answered.status, 454);
    assert_eq!(client.ask("PLAY", "", &[]).await.status, 200);
}

#[tokio::test]
async fn a_session_without_a_sign_of_life_ends() {
    // Long enough for a loaded machine to say one thing, short enough to be waited for.
    let options = RtspOptions { session_timeout: Duration::from_millis(1500), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    rig.feed.push(true, 100);
    let mut client = rig.client().await;
    let transport = [("Transport", "RTP/AVP;unicast;client_port=5000-5001")];
    assert_eq!(client.ask("SETUP", "/trackID=0", &transport).await.status, 200);
    assert_eq!(client.ask("PLAY", "", &[]).await.status, 200);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(client.ask("GET_PARAMETER", "", &[]).await.status, 200);
    }
    client.rest().await;
    wait_until(|| rig.sessions.all().is_empty()).await;
}

#[tokio::test]
async fn play_promises_the_numbers_of_the_first_packets_rt_07() {
    let (rig, mut client) = playing().await;
    let answered = client.play().await;
    assert_eq!(answered.header("range"), Some("npt=0.000-"));
    let infos: Vec<_> = answered.header("rtp-info").unwrap().split(',').collect();
    assert_eq!(infos.len(), 2);
    rig.feed.push(false, 100);
    let mut first = [None, None];
    while first.iter().any(Option::is_none) {
        let (channel, payload) = client.frame().await;
        if channel % 2 == 0 {
            let header = rtp(&payload).header;
            first[usize::from(channel / 2)].get_or_insert((header.sequence, header.timestamp));
        }
    }
    for (track, info) in infos.iter().enumerate() {
        let (sequence, timestamp) = first[track].unwrap();
        let url = format!("url={}/trackID={track};", rig.url());
        assert!(info.starts_with(&format!("{url}seq={sequence};rtptime=")), "{info}");
        let promised: u32 = info.rsplit_once('=').unwrap().1.parse().unwrap();
        // The sound begins with the next picture, 40 ms after the live edge, which lies a little after the start.
        let late = if track == 0 { 0..1 } else { 8 * 40..8 * 41 };
        assert!(late.contains(&timestamp.wrapping_sub(promised)), "{timestamp} was promised as {promised}");
    }
}

#[tokio::test]
async fn the_range_is_answered_in_the_unit_it_was_asked_in_rt_07() {
    let table = [
        ("npt=0.000-", "npt=0.000-"),
        ("npt=now-", "npt=now-"),
        ("npt = now -", "npt=now-"),
        ("clock=19961108T143720.25Z-", "clock=2"),
        ("smpte=0:10:00-", "npt=0.000-"),
    ];
    for (asked, answer) in table {
        let (_rig, mut client) = playing().await;
        client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP/TCP;unicast")]).await;
        let answered = client.ask("PLAY", "", &[("Range", asked), ("Scale", "2.0")]).await;
        assert_eq!((answered.status, answered.header("scale")), (200, Some("1.000")));
        let range = answered.header("range").unwrap();
        assert!(range.starts_with(answer) && range.ends_with('-'), "{asked} was answered {range}");
    }
}

#[tokio::test]
async fn play_while_playing_changes_nothing_and_pause_stops_the_packets_rt_08() {
    let (rig, mut client) = playing().await;
    client.play().await;
    let answered = client.ask("PLAY", "", &[]).await;
    assert_eq!(answered.status, 200);
    let answered = client.ask("PAUSE", "", &[]).await;
    assert_eq!(answered.status, 200);
    client.frames.clear();
    rig.feed.push_gop(100, 3);
    // What was sent before the answer is not after it.
    assert_eq!(client.ask("GET_PARAMETER", "", &[]).await.status, 200);
    assert!(client.frames.is_empty(), "{} frames came", client.frames.len());
    let resumed = client.ask("PLAY", "", &[]).await;
    assert_eq!(resumed.status, 200);
    let promised: u16 = number(resumed.header("rtp-info").unwrap(), "seq=");
    let (_, payload) = client.frame().await;
    assert_eq!(rtp(&payload).header.sequence, promised);
}

fn number(info: &str, key: &str) -> u16 {
    let rest = info.split_once(key).unwrap().1;
    rest.split([';', ',']).next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn one_track_may_leave_and_a_new_session_may_follow_on_the_same_connection_rt_08() {
    let (rig, mut client) = playing().await;
    client.play().await;
    assert_eq!(client.ask("TEARDOWN", "/trackID=1", &[]).await.status, 200);
    assert_eq!(client.ask("TEARDOWN", "/trackID=1", &[]).await.status, 404);
    client.frames.clear();
    rig.feed.push_gop(100, 3);
    for _ in 0..4 {
        assert!(client.frame().await.0 < 2, "only pictures and their reports are left");
    }
    assert_eq!(client.ask("TEARDOWN", "", &[]).await.status, 200);
    assert_eq!(rig.sessions.all().len(), 0);
    assert_eq!(client.ask("PLAY", "", &[]).await.status, 454);
    client.session = None;
    client.frames.clear();
    client.play().await;
    assert_eq!(rig.sessions.all().len(), 1);
}

#[tokio::test]
async fn requests_in_the_wrong_state_are_refused() {
    let (_rig, mut client) = playing().await;
    assert_eq!(client.ask("PLAY", "", &[]).await.status, 454);
    assert_eq!(client.ask("TEARDOWN", "", &[]).await.status, 454);
    // Two tracks and no word which one.
    assert_eq!(client.ask("SETUP", "", &[("Transport", "RTP/AVP/TCP;unicast")]).await.status, 459);
    assert_eq!(client.ask("SETUP", "/trackID=7", &[("Transport", "RTP/AVP/TCP;unicast")]).await.status, 404);
    let answered = client.ask("ANNOUNCE", "", &[]).await;
    assert_eq!(answered.status, 405);
    assert!(answered.header("allow").unwrap().contains("DESCRIBE"));
    assert_eq!(client.ask("RECORD", "", &[]).await.status, 405);
    assert_eq!(client.ask("JUGGLE", "", &[]).await.status, 501);
    let answered = client.ask("OPTIONS", "*", &[("Require", "www.onvif.org/ver20/backchannel")]).await;
    assert_eq!((answered.status, answered.header("unsupported")), (551, Some("www.onvif.org/ver20/backchannel")));
    client.play().await;
    assert_eq!(client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP/TCP;unicast")]).await.status, 455);
    assert_eq!(client.ask("SET_PARAMETER", "", &[]).await.status, 200);
    assert_eq!(client.ask("GET_PARAMETER", "*", &[]).await.status, 200);
}

#[tokio::test]
async fn one_session_travels_one_way() {
    let (_rig, mut client) = playing().await;
    assert_eq!(client.ask("SETUP", "/trackID=0", &[("Transport", "RTP/AVP/TCP;unicast")]).await.status, 200);
    let udp = ("Transport", "RTP/AVP;unicast;client_port=5000-5001");
    assert_eq!(client.ask("SETUP", "/trackID=1", &[udp]).await.status, 461);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_between_whole_frames_rt_09() {
    let (rig, mut client) = playing().await;
    client.play().await;
    for n in 0..20 {
        rig.feed.push(n % 10 == 0, 30_000);
        for _ in 0..5 {
            client.send("GET_PARAMETER", "", &[]).await;
        }
        // Receiver reports of the client in between.
        client.tcp.write_all(&[b'$', 1, 0, 8, 0x80, 201, 0, 1, 0, 0, 0, 9]).await.unwrap();
    }
    for n in 0..100 {
        let answered = client.answer().await;
        assert_eq!(answered.header("cseq"), Some((4 + n).to_string().as_str()));
    }
    let mut sequences: Vec<u16> = Vec::new();
    for (channel, payload) in &client.frames {
        if *channel == 0 {
            sequences.push(rtp(payload).header.sequence);
        }
    }
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
}

#[tokio::test]
async fn what_passes_the_bounds_is_refused_and_the_connection_closed_rt_16() {
    let rig = Rig::start().await;
    let long = "a".repeat(5000);
    let table = [
        (format!("OPTIONS rtsp://h/{long} RTSP/1.0\r\n"), "RTSP/1.0 414"),
        (format!("OPTIONS * RTSP/1.0\r\nA: {}\r\n", "b".repeat(20_000)), "RTSP/1.0 400"),
        ("SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 1000000\r\n\r\n".to_owned(), "RTSP/1.0 413"),
        ("\u{3}\u{0}\u{0}".to_owned(), "RTSP/1.0 400"),
        ("OPTIONS * RTSP/3.0\r\nCSeq: 1\r\n\r\n".to_owned(), "RTSP/1.0 505"),
        ("OPTIONS * RTSP/1.1\r\nCSeq: 1\r\n\r\n".to_owned(), "RTSP/1.0 505"),
        ("OPTIONS * RTSP/x.0\r\nCSeq: 1\r\n\r\n".to_owned(), "RTSP/1.0 400"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "HTTP/1.0 404"),
    ];
    for (request, answer) in table {
        let mut client = rig.client().await;
        client.tcp.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = tokio::time::timeout(PATIENCE, client.tcp.read_to_end(&mut text)).await.expect("it should close");
        assert!(String::from_utf8_lossy(&text).starts_with(answer), "{}", String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn without_a_number_a_request_is_bad_and_versions_to_come_are_not_spoken() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    client.tcp.write_all(b"OPTIONS * RTSP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.status, 400);
    client.tcp.write_all(b"OPTIONS * RTSP/2.0\r\nCSeq: 7\r\nTimestamp: 1.5\r\n\r\n").await.unwrap();
    let answered = client.answer().await;
    assert_eq!((answered.status, answered.header("cseq"), answered.header("timestamp")), (505, Some("7"), Some("1.5")));
}

#[tokio::test]
async fn a_stream_whose_tracks_change_ends_with_a_goodbye() {
    let (rig, mut client) = playing().await;
    client.play().await;
    rig.feed.begin_with(vec![super::rig::pcmu()]);
    for _ in 0..3 {
        rig.feed.push_sound_only();
    }
    let last: Vec<_> = client.rest().await;
    let goodbyes = last.iter().filter(|message| {
        let Incoming::Data { channel, payload } = message else { return false };
        let gone = |packet: &Result<rtcp::Packet<'_>, _>| {
            matches!(packet, Ok(rtcp::Packet::Goodbye { reason: Some(reason), .. }) if reason.contains("tracks changed"))
        };
        channel % 2 == 1 && rtcp::packets(payload).any(|packet| gone(&packet))
    });
    assert_eq!(goodbyes.count(), 2);
    wait_until(|| rig.sessions.all().is_empty()).await;
}

fn channel(message: &Incoming) -> Option<u8> {
    match message {
        Incoming::Data { channel, .. } => Some(*channel),
        _ => None,
    }
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let (rig, mut client) = playing().await;
    client.play().await;
    assert_eq!(rig.server.drain(PATIENCE).await, 0);
    let last = client.rest().await;
    let channels: Vec<_> = last.iter().filter_map(channel).collect();
    assert!(channels.ends_with(&[1, 3]), "{channels:?}");
    assert!(tokio::net::TcpStream::connect(rig.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_kicked_session_ends() {
    let (rig, mut client) = playing().await;
    client.play().await;
    assert!(rig.sessions.kick(rig.sessions.all()[0].id));
    client.rest().await;
}
