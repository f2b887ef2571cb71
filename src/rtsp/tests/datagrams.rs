//! RTP over UDP, by the datagram: ports, reports in both directions, signs of life, pacing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::UdpSocket, time::Instant};

use super::rig::{Client, FRAME_MS, PATIENCE, Rig, captured, wait_until};
use crate::{
    base::WallTime,
    media::{ClockRate, MediaTime},
    rtp::{
        packet::Packet,
        rtcp::{self, ReportBlock, SenderReport},
    },
    rtsp::RtspOptions,
};

/// A track's two sockets, and what the server said of its own.
pub(super) struct Ports {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(super) server: (u16, u16),
    pub(super) ssrc: u32,
}

pub(super) async fn set_up(client: &mut Client, track: usize) -> Ports {
    let (rtp, rtcp) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let [own, own_rtcp] = [&rtp, &rtcp].map(|socket| socket.local_addr().unwrap().port());
    let transport = format!("RTP/AVP;unicast;client_port={own}-{own_rtcp}");
    let answered = client.ask("SETUP", &format!("/trackID={track}"), &[("Transport", &transport)]).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let answer = answered.header("transport").unwrap().to_owned();
    let value = |key: &str| answer.split(';').find_map(|part| part.strip_prefix(key)).unwrap().to_owned();
    assert_eq!(value("client_port="), format!("{own}-{own_rtcp}"));
    let ports = value("server_port=");
    let (first, second) = ports.split_once('-').unwrap();
    let server = (first.parse().unwrap(), second.parse().unwrap());
    assert!(server.0 % 2 == 0 && server.1 == server.0 + 1, "{ports}");
    Ports { rtp, rtcp, server, ssrc: u32::from_str_radix(&value("ssrc="), 16).unwrap() }
}

pub(super) async fn datagram(socket: &UdpSocket) -> (Bytes, u16) {
    let mut buffer = vec![0; 2048];
    let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("a datagram should come");
    let (len, from) = received.unwrap();
    buffer.truncate(len);
    (buffer.into(), from.port())
}

async fn report(ports: &Ports) -> SenderReport {
    let (compound, from) = datagram(&ports.rtcp).await;
    assert_eq!(from, ports.server.1);
    let packets: Vec<_> = rtcp::packets(&compound).collect::<Result<_, _>>().unwrap();
    let [rtcp::Packet::SenderReport(report, _), rtcp::Packet::SourceDescription { cname: Some(_), .. }] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(report.ssrc, ports.ssrc);
    report
}

async fn rig(options: RtspOptions) -> (Rig, Client) {
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    rig.feed.push_gop(5000, 5);
    let client = rig.client().await;
    (rig, client)
}

#[tokio::test]
async fn packets_leave_from_the_ports_that_were_named_and_reports_tell_true_time_rt_13() {
    let (rig, mut client) = rig(RtspOptions::default()).await;
    let (video, sound) = (set_up(&mut client, 0).await, set_up(&mut client, 1).await);
    let answered = client.ask("PLAY", "", &[]).await;
    assert!(answered.header("rtp-info").is_some());
    rig.feed.push(false, 100);
    // Seven packets of the key frame with its parameter sets, five pictures and the live one.
    let mut stamps = Vec::new();
    for _ in 0..13 {
        let (packet, from) = datagram(&video.rtp).await;
        let header = Packet::parse(&packet).unwrap().header;
        assert_eq!((from, header.ssrc), (video.server.0, video.ssrc));
        stamps.push((header.sequence, header.timestamp));
    }
    assert!(stamps.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)), "{stamps:?}");
    let (packet, _) = datagram(&sound.rtp).await;
    let first_sound = Packet::parse(&packet).unwrap().header.timestamp;
    rig.feed.push(false, 100);
    let (of_video, of_sound) = (report(&video).await, report(&sound).await);
    // Both speak of one moment: when the picture at the live edge was taken, or the live one after it.
    assert_eq!(of_video.ntp, of_sound.ntp);
    let at = stamps.iter().rposition(|(_, timestamp)| *timestamp == of_video.rtp_timestamp).unwrap();
    assert_eq!(of_video.packets as usize, at + 1);
    let taken = (at as i64 - 6) * FRAME_MS;
    let told = WallTime::from_ntp(of_video.ntp);
    assert!(told.nanos_since(captured(taken)).abs() < 1_000_000, "{told} for {taken} ms");
    // The sound began with the live picture.
    let before = MediaTime::from_millis(6 * FRAME_MS - taken).ticks(ClockRate::TELEPHONE);
    assert_eq!(i64::from(first_sound.wrapping_sub(of_sound.rtp_timestamp)), before);
    let (packet, _) = datagram(&video.rtp).await;
    let step = Packet::parse(&packet).unwrap().header.timestamp.wrapping_sub(stamps[12].1);
    assert_eq!(i64::from(step), MediaTime::from_millis(FRAME_MS).ticks(ClockRate::VIDEO));
}

/// What a receiver says of a sender.
pub(super) fn receiver_report(ssrc: u32, lost: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let block = ReportBlock { ssrc, fraction_lost: 64, cumulative_lost: lost, jitter: 450, ..ReportBlock::default() };
    rtcp::write_receiver_report(&mut out, 99, &[block], "player");
    out
}

#[tokio::test]
async fn loss_that_a_reader_reports_is_counted_and_only_from_its_own_address_rt_10() {
    let (rig, mut client) = rig(RtspOptions::default()).await;
    let video = set_up(&mut client, 0).await;
    client.ask("PLAY", "", &[]).await;
    let session = rig.sessions.all().remove(0);
    let lost = || session.packets_lost.load(Ordering::Relaxed);
    let server = ("127.0.0.1", video.server.1);
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(&receiver_report(video.ssrc, 1000), server).await.unwrap();
    for told in [7, 9] {
        video.rtcp.send_to(&receiver_report(video.ssrc, told), server).await.unwrap();
        wait_until(|| lost() == told as u64).await;
    }
    // A receiver whose duplicates outnumber the lost, garbage, and reports on others change nothing.
    for bytes in [&receiver_report(video.ssrc, -3)[..], &receiver_report(1, 50), &[0x80, 201, 0xff, 0xff, 0]] {
        video.rtcp.send_to(bytes, server).await.unwrap();
    }
    video.rtcp.send_to(&receiver_report(video.ssrc, 10), server).await.unwrap();
    wait_until(|| lost() >= 10).await;
    let reports = session.receiver_reports.load(Ordering::Relaxed);
    let (loss, jitter) = (session.reception.loss(), session.reception.jitter());
    assert_eq!((loss, jitter), (Some(0.25), Some(Duration::from_millis(5))), "450 ticks of 90 kHz");
    assert_eq!(reports, 4, "its own, and only those that speak of what it is sent");
}

/// What was counted of the packets of the newest session: sent, and refused.
fn counted(rig: &Rig) -> (u64, u64) {
    let session = rig.sessions.all().into_iter().max_by_key(|session| session.details.since).unwrap();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (count(&session.packets_sent), count(&session.packets_refused))
}

#[tokio::test]
async fn a_packet_that_is_too_large_for_its_transport_is_counted_and_the_next_one_comes() {
    let (rig, mut client) = rig(RtspOptions::default()).await;
    let sound = set_up(&mut client, 1).await;
    client.ask("PLAY", "", &[]).await;
    // The first is longer than a datagram can be, the second than anything.
    for len in [65_520, 65_530, 99] {
        rig.feed.push_packet(len);
    }
    assert_eq!(Packet::parse(&datagram(&sound.rtp).await.0).unwrap().payload.len(), 99);
    wait_until(|| counted(&rig) == (1, 2)).await;

    let mut client = rig.client().await;
    client.play().await;
    for len in [65_520, 65_530, 99] {
        rig.feed.push_packet(len);
    }
    let mut lens = Vec::new();
    while lens.last() != Some(&99) {
        let (channel, payload) = client.frame().await;
        lens.extend((channel == 2).then(|| Packet::parse(&payload).unwrap().payload.len()));
    }
    assert_eq!(lens, [65_520, 99]);
    assert_eq!(counted(&rig).1, 1);
}

#[tokio::test]
async fn who_gets_no_datagram_may_pause_and_go_on_over_tcp_as_ffmpeg_does() {
    let (rig, mut client) = rig(RtspOptions::default()).await;
    for track in [0, 1] {
        set_up(&mut client, track).await;
    }
    client.ask("PLAY", "", &[]).await;
    let before = client.session.clone();
    assert_eq!(client.ask("PAUSE", "", &[]).await.status, 200);
    client.session = None;
    client.play().await;
    assert_ne!(client.session, before);
    let sessions = rig.sessions.all();
    assert_eq!((sessions.len(), sessions[0].details.transport), (1, "tcp"));
    rig.feed.push(true, 100);
    while client.frame().await.0 != 0 {}
}

#[tokio::test]
async fn a_datagram_from_the_ports_of_a_reader_is_a_sign_of_life() {
    let options = RtspOptions { session_timeout: Duration::from_millis(1500), ..RtspOptions::default() };
    let (rig, mut client) = rig(options).await;
    let video = set_up(&mut client, 0).await;
    client.ask("PLAY", "", &[]).await;
    for _ in 0..5 {
        // Players open the way through a firewall so.
        video.rtp.send_to(b"", ("127.0.0.1", video.server.0)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.sessions.all().len(), 1, "it lives on");
    }
    client.rest().await;
    wait_until(|| rig.sessions.all().is_empty()).await;
}

#[tokio::test]
async fn a_start_burst_over_udp_is_paced_and_leaves_whole() {
    let rig = Rig::start().await;
    rig.feed.begin();
    rig.feed.push(true, 1_000_000);
    let mut client = rig.client().await;
    let video = set_up(&mut client, 0).await;
    client.ask("PLAY", "", &[]).await;
    let began = Instant::now();
    assert_eq!(Packet::parse(&datagram(&video.rtp).await.0).unwrap().header.ssrc, video.ssrc);
    // Counted where it leaves: what waits to be read may get lost.
    let session = rig.sessions.all().remove(0);
    wait_until(|| session.bytes_sent.load(Ordering::Relaxed) > 1_000_000).await;
    // 60 Mbit/s would take 125 ms; the kernel alone would take 3.
    assert!(began.elapsed() > Duration::from_millis(60), "{:?}", began.elapsed());
    assert_eq!(counted(&rig).1, 0, "and none was refused");
}

#[tokio::test]
async fn a_session_that_ends_says_goodbye_on_the_port_of_reports() {
    let (rig, mut client) = rig(RtspOptions::default()).await;
    let video = set_up(&mut client, 0).await;
    client.ask("PLAY", "", &[]).await;
    rig.server.drain(PATIENCE).await;
    loop {
        let (compound, _) = datagram(&video.rtcp).await;
        if let Some(Ok(rtcp::Packet::Goodbye { ssrc, reason })) = rtcp::packets(&compound).last() {
            assert_eq!((ssrc, reason), (Some(video.ssrc), Some("the server stops")));
            break;
        }
    }
}
