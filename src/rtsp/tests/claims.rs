//! Sessions over UDP and the connections that name them (RFC 2326 §1.1): they outlive their connection, and only their
//! own caller may take them over (RT-10).

use std::time::Duration;

use tokio::net::{TcpSocket, UdpSocket};

use super::{
    datagrams::{Ports, datagram, receiver_report, set_up},
    rig::{Client, PATIENCE, Rig, wait_until},
};
use crate::{
    rtp::{packet::Packet, rtcp},
    rtsp::RtspOptions,
};

async fn playing(options: RtspOptions) -> (Rig, Client, Ports) {
    let rig = Rig::with(options, Default::default()).await;
    rig.feed.begin();
    rig.feed.push_gop(1000, 5);
    let mut client = rig.client().await;
    let video = set_up(&mut client, 0).await;
    assert_eq!(client.ask("PLAY", "", &[]).await.status, 200);
    (rig, client, video)
}

/// Reads what the reader was sent until a picture of `len` bytes comes.
async fn sees(video: &Ports, len: usize) {
    while Packet::parse(&datagram(&video.rtp).await.0).unwrap().payload.len() != len {}
}

/// A client on a new connection who knows the session of another.
async fn successor(rig: &Rig, of: &Client) -> Client {
    let mut client = rig.client().await;
    client.session = of.session.clone();
    client
}

#[tokio::test]
async fn a_session_outlives_its_connection_and_is_controlled_from_another() {
    let (rig, client, video) = playing(RtspOptions::default()).await;
    let mut next = successor(&rig, &client).await;
    drop(client);
    // The server has noticed: only the new connection is left, and the session that has none.
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.feed.push(false, 333);
    sees(&video, 333).await;
    assert_eq!(rig.sessions.all().len(), 1);

    assert_eq!(next.ask("GET_PARAMETER", "", &[]).await.status, 200);
    assert_eq!(next.ask("PAUSE", "", &[]).await.status, 200);
    rig.feed.push(false, 334);
    assert_eq!(next.ask("PLAY", "", &[]).await.status, 200);
    rig.feed.push(true, 335);
    rig.feed.push(false, 336);
    sees(&video, 336).await;
    assert_eq!(next.ask("TEARDOWN", "", &[]).await.status, 200);
    assert_eq!(rig.sessions.all().len(), 0);
    assert_eq!(next.ask("PLAY", "", &[]).await.status, 454);
}

#[tokio::test]
async fn a_session_without_a_connection_lives_by_reports_and_dies_with_a_goodbye() {
    let options = RtspOptions { session_timeout: Duration::from_millis(1500), ..RtspOptions::default() };
    let (rig, client, video) = playing(options).await;
    drop(client);
    for _ in 0..5 {
        video.rtcp.send_to(&receiver_report(video.ssrc, 0), ("127.0.0.1", video.server.1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.sessions.all().len(), 1, "it lives on");
    }
    assert_eq!(goodbye(&video).await, "the session timed out");
    wait_until(|| rig.sessions.all().is_empty()).await;
}

/// The reason the reader is given at the end.
async fn goodbye(video: &Ports) -> String {
    loop {
        let (compound, _) = datagram(&video.rtcp).await;
        if let Some(Ok(rtcp::Packet::Goodbye { ssrc, reason })) = rtcp::packets(&compound).last() {
            assert_eq!(ssrc, Some(video.ssrc));
            return reason.unwrap_or_default().to_owned();
        }
    }
}

#[tokio::test]
async fn a_session_without_a_connection_ends_when_it_is_kicked_or_the_server_stops() {
    let (rig, client, video) = playing(RtspOptions::default()).await;
    drop(client);
    assert!(rig.sessions.kick(rig.sessions.all()[0].id));
    assert_eq!(goodbye(&video).await, "an operator ended the session");
    wait_until(|| rig.sessions.all().is_empty()).await;

    let mut client = rig.client().await;
    let video = set_up(&mut client, 0).await;
    client.ask("PLAY", "", &[]).await;
    drop(client);
    assert_eq!(rig.server.drain(PATIENCE).await, 0);
    assert_eq!(goodbye(&video).await, "the server stops");
}

#[tokio::test]
async fn a_session_that_was_set_up_and_not_played_waits_for_its_client_too() {
    let (rig, mut client, _) = playing(RtspOptions::default()).await;
    client.ask("PAUSE", "", &[]).await;
    let mut next = successor(&rig, &client).await;
    drop(client);
    let ports = set_up(&mut next, 1).await;
    assert_eq!(next.ask("PLAY", "", &[]).await.status, 200);
    rig.feed.push(true, 100);
    datagram(&ports.rtp).await;
    assert_eq!(rig.sessions.all().len(), 1, "the second track joined the session");
}

#[tokio::test]
async fn a_session_goes_back_and_forth_between_connections_that_stand() {
    let (rig, mut first, video) = playing(RtspOptions::default()).await;
    let mut second = successor(&rig, &first).await;
    for n in 0..10 {
        let asks = if n % 2 == 0 { &mut second } else { &mut first };
        for method in ["GET_PARAMETER", "PLAY", "OPTIONS"] {
            assert_eq!(asks.ask(method, "", &[]).await.status, 200, "{method} {n}");
        }
        rig.feed.push(false, 500 + n);
        sees(&video, 500 + n).await;
    }
    assert_eq!(second.ask("TEARDOWN", "", &[]).await.status, 200);
    assert_eq!(first.ask("GET_PARAMETER", "", &[]).await.status, 454);
    assert_eq!(first.ask("OPTIONS", "*", &[]).await.status, 200, "whatever it names");
}

#[tokio::test]
async fn many_connections_that_name_a_session_at_once_are_all_answered() {
    let (rig, client, _video) = playing(RtspOptions::default()).await;
    let ask = async |n: usize| {
        let mut client = successor(&rig, &client).await;
        for _ in 0..20 {
            assert!([200, 454].contains(&client.ask("GET_PARAMETER", "", &[]).await.status), "{n}");
        }
    };
    tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5), ask(6), ask(7));
    assert_eq!(rig.sessions.all().len(), 1);
    let mut last = successor(&rig, &client).await;
    assert_eq!(last.ask("TEARDOWN", "", &[]).await.status, 200);
}

#[tokio::test]
async fn nobody_else_takes_a_session_over_rt_10() {
    let (rig, client, video) = playing(RtspOptions::default()).await;
    // The same machine by another address; a guess; one who already has a session of its own.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stranger = Client::on(socket.connect(rig.address).await.unwrap(), rig.url());
    stranger.session = client.session.clone();
    let mut guess = rig.client().await;
    guess.session = Some("0123456789abcdef0123456789abcdef".into());
    let mut busy = rig.client().await;
    set_up(&mut busy, 0).await;
    busy.session = client.session.clone();
    for thief in [&mut stranger, &mut guess, &mut busy] {
        let named = thief.session.clone();
        for method in ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"] {
            // Answers name the session the connection has.
            thief.session = named.clone();
            assert_eq!(thief.ask(method, "", &[]).await.status, 454, "{method}");
        }
        thief.session = named;
        let answered = thief.ask("SETUP", "/trackID=1", &[("Transport", "RTP/AVP;unicast;client_port=9-10")]).await;
        assert_eq!(answered.status, 454);
    }
    rig.feed.push(false, 333);
    sees(&video, 333).await;
}

#[tokio::test]
async fn sessions_without_a_connection_are_bounded() {
    let (rig, first, _video) = playing(RtspOptions { max_orphans: 1, ..RtspOptions::default() }).await;
    drop(first);
    let mut second = rig.client().await;
    set_up(&mut second, 0).await;
    let ids = || rig.sessions.all().iter().map(|session| session.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids().len(), 2);
    // The first went before the second came; both are gone from their connections when one is left.
    wait_until(|| rig.server.connections() == 2).await;
    drop(second);
    wait_until(|| ids().len() == 1).await;
    let mut third = rig.client().await;
    third.session = ids().pop();
    assert_eq!(third.ask("TEARDOWN", "", &[]).await.status, 200);
}

#[tokio::test]
async fn an_interleaved_session_ends_with_its_connection() {
    let (rig, ..) = playing(RtspOptions::default()).await;
    let mut client = rig.client().await;
    client.play().await;
    let mut next = successor(&rig, &client).await;
    assert_eq!(next.ask("GET_PARAMETER", "", &[]).await.status, 454);
    drop(client);
    let id = next.session.clone().unwrap();
    wait_until(|| rig.sessions.all().iter().all(|session| session.id.to_string() != id)).await;
}

#[tokio::test]
async fn a_session_without_a_connection_ends_with_its_stream() {
    let (rig, client, video) = playing(RtspOptions::default()).await;
    drop(client);
    rig.feed.begin_with(vec![super::rig::pcmu()]);
    (0..3).for_each(|_| rig.feed.push_sound_only());
    assert_eq!(goodbye(&video).await, "the stream ended: its tracks changed");
    let _still_bound: &UdpSocket = &video.rtp;
    wait_until(|| rig.sessions.all().is_empty()).await;
}
