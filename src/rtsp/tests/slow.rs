//! Readers that do not read: what they cost, what they miss, and that nobody else notices.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
};

use super::rig::{Client, PATIENCE, Rig, wait_until};
use crate::{
    rtp::packet::Packet,
    rtsp::{
        RtspOptions,
        framing::{Framing, Incoming},
    },
    stats::Session,
};

/// A client whose socket takes little.
async fn narrow(rig: &Rig) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let stream = socket.connect(rig.address).await.unwrap();
    Client::on(stream, rig.url())
}

/// The session whose client came last.
fn newest(rig: &Rig) -> std::sync::Arc<Session> {
    rig.sessions.all().into_iter().max_by_key(|session| session.details.since).unwrap()
}

fn dropped(session: &Session) -> u64 {
    session.units_dropped.load(Ordering::Relaxed)
}

/// Reads frames until `done`; they are whole, numbers go on by one, and after a jump of the clock comes a picture that
/// a decoder can start with. The number of jumps comes back.
fn check(frames: &[(u8, bytes::Bytes)]) -> usize {
    let (mut last, mut jumps) = (None, 0);
    for (channel, payload) in frames.iter().filter(|(channel, _)| *channel == 0) {
        let packet = Packet::parse(payload).unwrap_or_else(|error| panic!("channel {channel}: {error}"));
        let (sequence, timestamp) = (packet.header.sequence, packet.header.timestamp);
        if let Some((before, at)) = last {
            assert_eq!(sequence, u16::wrapping_add(before, 1), "numbers count what was sent");
            let step: u32 = timestamp.wrapping_sub(at);
            if step > 3600 {
                jumps += 1;
                assert_eq!(packet.payload[0] & 0x1f, 7, "parameter sets head a random access point");
            }
        }
        last = Some((sequence, timestamp));
    }
    jumps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_moved_on_and_others_miss_nothing() {
    let options = RtspOptions { write_timeout: 4 * PATIENCE, ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    rig.feed.push_gop(20_000, 5);
    let mut swift = rig.client().await;
    swift.play().await;
    let swift_session = newest(&rig);
    let mut slow = narrow(&rig).await;
    slow.play().await;
    let slow_session = newest(&rig);
    assert_ne!(swift_session.id, slow_session.id);

    let reading = async {
        let mut frames = Vec::new();
        // Until the last picture of all: 61 GOPs of which the first was short.
        let mut pictures = 0;
        while pictures < 6 + 60 * 50 {
            let (channel, payload) = swift.frame().await;
            pictures += usize::from(channel == 0 && Packet::parse(&payload).unwrap().header.marker);
            frames.push((channel, payload));
        }
        frames
    };
    // Two minutes of stream in a few seconds: lag is judged by the units' own time.
    let pushing = async {
        for n in 0..60 * 50 {
            rig.feed.push(n % 50 == 0, if n % 50 == 0 { 60_000 } else { 5_000 });
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    };
    let (frames, ()) = tokio::join!(reading, pushing);
    assert_eq!(check(&frames), 0, "the swift one saw every picture");
    assert_eq!(dropped(&swift_session), 0);

    // What the slow one was given fits into its socket and ours, not the sixteen megabytes that flowed.
    let given = slow_session.bytes_sent.load(Ordering::Relaxed);
    assert!(given < 4_000_000, "{given} bytes were taken by a reader that reads nothing");
    assert!(rig.sessions.find(slow_session.id).is_some(), "slow is no reason to be sent away");
    // It reads again: whole frames, and a random access point where it goes on.
    let mut frames = std::mem::take(&mut slow.frames);
    while check(&frames) == 0 || frames.len() < 300 {
        frames.push(slow.frame().await);
        if frames.len() % 50 == 0 {
            rig.feed.push(frames.len() % 200 == 0, 5000);
        }
        assert!(frames.len() < 5000, "it never went on");
    }
    assert!(dropped(&slow_session) > 1000, "{} units were skipped for it", dropped(&slow_session));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_blocked_socket_is_dropped_and_pictures_go_on_with_a_random_access_point() {
    // Lag is judged here by the time the socket takes nothing; the units are young.
    let options = RtspOptions { max_lag: Duration::from_millis(300), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    (0..30).for_each(|n| rig.feed.push(n == 0, 60_000));
    let mut client = narrow(&rig).await;
    client.play().await;
    let session = newest(&rig);
    // The start burst fills the socket, and most of it waits in the box.
    wait_until(|| dropped(&session) > 0).await;
    assert!(dropped(&session) < 30);
    let mut frames = std::mem::take(&mut client.frames);
    while check(&frames) == 0 {
        if frames.len() % 20 == 0 {
            rig.feed.push(frames.len() % 100 == 0, 10_000);
        }
        frames.push(client.frame().await);
        assert!(frames.len() < 5000, "it never went on");
    }
}

#[tokio::test]
async fn what_is_held_back_of_a_start_burst_is_dropped_with_what_waits() {
    let options = RtspOptions { max_lag: Duration::from_millis(300), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    // The first picture blocks the socket before the others of the burst are due.
    rig.feed.push_gop(1_000_000, 300);
    let mut client = narrow(&rig).await;
    client.play().await;
    let session = newest(&rig);
    wait_until(|| dropped(&session) > 0).await;
    // One look gives 32 units, every third a picture; the one that was begun is finished.
    assert_eq!(dropped(&session), 10);
    rig.feed.push(true, 1000);
    let mut frames = std::mem::take(&mut client.frames);
    while check(&frames) == 0 {
        frames.push(client.frame().await);
        assert!(frames.len() < 5000, "it never went on");
    }
}

#[tokio::test]
async fn a_reader_whose_socket_takes_nothing_for_too_long_is_gone() {
    let options = RtspOptions { write_timeout: Duration::from_millis(800), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    rig.feed.push(true, 1000);
    let mut client = narrow(&rig).await;
    client.play().await;
    for n in 0..100 {
        rig.feed.push(n % 10 == 0, 100_000);
    }
    wait_until(|| rig.sessions.all().is_empty()).await;
    // Whole frames up to where it was cut.
    let (mut framing, mut buffer) = (Framing::default(), vec![0; 65_536]);
    while let Ok(read @ 1..) = client.tcp.read(&mut buffer).await {
        framing.push(&buffer[..read]);
        while let Some(message) = framing.next_message().unwrap() {
            assert!(matches!(message, Incoming::Data { .. }));
        }
    }
}

#[tokio::test]
async fn connections_that_say_nothing_or_half_a_request_are_closed() {
    let options = RtspOptions { request_timeout: Duration::from_millis(500), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    for said in [&b""[..], b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n"] {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, said).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert_eq!(ended.expect("it should close").unwrap_or(0), 0);
    }
    wait_until(|| rig.server.connections() == 0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_room_is_made_by_leaving() {
    let rig = Rig::with(RtspOptions { max_connections: 2, ..RtspOptions::default() }, Default::default()).await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    assert_eq!(first.ask("OPTIONS", "*", &[]).await.status, 200);
    assert_eq!(second.ask("OPTIONS", "*", &[]).await.status, 200);
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, third.read_to_end(&mut rest)).await.expect("it should close");
    assert_eq!(ended.unwrap_or(0), 0);
    drop(first);
    wait_until(|| rig.server.connections() < 2).await;
    assert_eq!(rig.client().await.ask("OPTIONS", "*", &[]).await.status, 200);
}
