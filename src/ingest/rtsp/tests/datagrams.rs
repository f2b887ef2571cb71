//! Cameras that send over UDP.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

use super::{
    super::testing::{FRAME, Film, Request, Talk},
    *,
};

/// The camera's ports, and where it sends to.
struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    to: Option<SocketAddr>,
}

/// An even port and the next one.
async fn port_pair() -> (UdpSocket, UdpSocket) {
    for _ in 0..100 {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1)).await
        {
            return (rtp, rtcp);
        }
    }
    panic!("no pair of ports");
}

impl Ports {
    /// Serves a session over UDP up to and with PLAY; TCP is refused.
    async fn serve(talk: &mut Talk, names_its_port: bool) -> io::Result<Self> {
        let (rtp, rtcp) = port_pair().await;
        let mut ports = Self { rtp, rtcp, to: None };
        loop {
            let request = talk.request().await?;
            ports.obey(talk, &request, names_its_port).await?;
            if request.method == "PLAY" {
                return Ok(ports);
            }
        }
    }

    async fn obey(&mut self, talk: &mut Talk, request: &Request, names_its_port: bool) -> io::Result<()> {
        match request.header("Transport") {
            Some(transport) if transport.contains("TCP") => {
                talk.answer(request, "461 Unsupported transport", "", "").await
            }
            Some(transport) => {
                let asked =
                    transport.split("client_port=").nth(1).and_then(|ports| ports.split('-').next()?.parse().ok());
                self.to = asked.map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
                let own = self.rtp.local_addr()?.port();
                let named = if names_its_port { format!(";server_port={own}-{}", own + 1) } else { String::new() };
                talk.answer(request, "200 OK", &format!("Session: 1\r\nTransport: {transport}{named}\r\n"), "").await
            }
            None => talk.obey(request, H264_SDP).await,
        }
    }

    /// Plays on, each picture's packets bent by `bend`, and answers what is asked.
    async fn play(
        &self,
        talk: &mut Talk,
        film: &mut Film,
        mut bend: impl FnMut(usize, Vec<Vec<u8>>) -> Vec<Vec<u8>>,
    ) -> io::Result<()> {
        for picture in 0.. {
            for packet in bend(picture, packets(&film.picture())) {
                self.rtp.send_to(&packet, self.to.unwrap()).await?;
            }
            if let Ok(request) = timeout(FRAME, talk.request()).await {
                let request = request?;
                talk.obey(&request, "").await?;
                if request.method == "TEARDOWN" {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The packets of interleaved frames.
fn packets(frames: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut packets) = (frames, Vec::new());
    while let [b'$', _, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        packets.push(tail[..length].to_vec());
        rest = &tail[length..];
    }
    packets
}

/// A source that asks for UDP at once.
fn over_udp(camera: &Camera) -> RtspSource {
    let mut options = options(&camera.url("/stream"));
    options.camera.transport = SourceTransport::Udp;
    options.reconnect_after = Duration::from_secs(2);
    RtspSource::new(options, CameraHosts::default())
}

#[tokio::test]
async fn a_camera_that_refuses_tcp_sends_over_udp() {
    let camera = Camera::start(async |_, mut talk| {
        let ports = Ports::serve(&mut talk, true).await?;
        ports.play(&mut talk, &mut Film::new(), |_, packets| packets).await
    })
    .await;
    let path = Watched::start(source(&camera));
    pictures(&path).await;
    assert_eq!(path.stream.counters().reconnects.load(Ordering::Relaxed), 0, "it is no failure");
    path.stop().await;
    assert_eq!(camera.methods(0), ["DESCRIBE", "SETUP"]);
    assert_eq!(camera.methods(1), ["DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]);
}

#[tokio::test]
async fn packets_out_of_order_over_udp_cost_no_picture() {
    let camera = Camera::start(async |_, mut talk| {
        let ports = Ports::serve(&mut talk, true).await?;
        let mut late = Vec::new();
        // Every fifth picture comes after the next one, and key pictures come back to front.
        ports
            .play(&mut talk, &mut Film::new(), move |picture, mut packets| {
                packets.reverse();
                if picture % 5 == 4 {
                    late = packets;
                    return Vec::new();
                }
                packets.append(&mut late);
                packets
            })
            .await
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    let mut reader = pictures(&path).await;
    let units = reader.take(60).await;
    assert!(units.windows(2).all(|pair| (pair[1].dts - pair[0].dts).millis() == 10), "a picture is missing");
    assert!(units.iter().all(|unit| !unit.after_loss));
    let counters = path.stream.counters();
    assert_eq!((counters.packets_lost.load(Ordering::Relaxed), counters.packets_bad.load(Ordering::Relaxed)), (0, 0));
    path.stop().await;
}

#[tokio::test]
async fn packets_lost_over_udp_are_counted_and_duplicates_are_not() {
    let camera = Camera::start(async |_, mut talk| {
        let ports = Ports::serve(&mut talk, true).await?;
        ports
            .play(&mut talk, &mut Film::new(), |picture, packets| match picture {
                23 => Vec::new(),
                _ => packets.iter().flat_map(|packet| [packet.clone(), packet.clone()]).collect(),
            })
            .await
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    let mut reader = pictures(&path).await;
    let units = reader.take(40).await;
    assert!(units.iter().any(|unit| unit.after_loss));
    let counters = path.stream.counters();
    assert_eq!((counters.packets_lost.load(Ordering::Relaxed), counters.packets_bad.load(Ordering::Relaxed)), (1, 0));
    assert_eq!(path.stream.figures(reader.tracks().tracks[0].id).packets_lost, 1, "the track says so, too");
    path.stop().await;
}

/// OpenIPC names no port of its own.
#[tokio::test]
async fn a_camera_over_udp_without_a_port_of_its_own_plays() {
    let camera = Camera::start(async |_, mut talk| {
        let ports = Ports::serve(&mut talk, false).await?;
        ports.play(&mut talk, &mut Film::new(), |_, packets| packets).await
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    pictures(&path).await;
    path.stop().await;
}

#[tokio::test]
async fn a_camera_over_udp_is_given_signs_of_life() {
    let camera = Camera::start(async |_, mut talk| {
        let ports = Ports::serve(&mut talk, true).await?;
        let mut buffer = [0; 100];
        let (length, from) = timeout(Duration::from_secs(5), ports.rtcp.recv_from(&mut buffer)).await??;
        // It plays only when it was told where the reports come from.
        assert!(length > 8 && buffer[1] == 201 && from.port() == ports.to.unwrap().port() + 1);
        ports.play(&mut talk, &mut Film::new(), |_, packets| packets).await
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    pictures(&path).await;
    path.stop().await;
}

#[tokio::test]
async fn a_camera_that_offers_multicast_alone_is_named() {
    let camera = Camera::start(async |_, mut talk| {
        loop {
            let request = talk.request().await?;
            match request.header("Transport") {
                Some(_) => {
                    let granted = "Session: 1\r\nTransport: RTP/AVP;multicast;destination=239.0.0.1;port=5000-5001\r\n";
                    talk.answer(&request, "200 OK", granted, "").await?;
                }
                None => talk.obey(&request, H264_SDP).await?,
            }
        }
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    assert_eq!(path.failure().await.code(), "source_transport");
    path.stop().await;
}

#[tokio::test]
async fn a_camera_over_udp_that_falls_silent_or_hangs_up_is_called_again() {
    for hangs_up in [false, true] {
        let camera = Camera::start(move |connection, mut talk| async move {
            let ports = Ports::serve(&mut talk, true).await?;
            if connection == 0 {
                let silent = |picture, packets| if picture < 30 { packets } else { Vec::new() };
                let mut film = Film::new();
                let play = ports.play(&mut talk, &mut film, silent);
                return if hangs_up {
                    let _ = timeout(Duration::from_millis(600), play).await;
                    Ok(())
                } else {
                    play.await
                };
            }
            ports.play(&mut talk, &mut Film::new(), |_, packets| packets).await
        })
        .await;
        let path = Watched::start(over_udp(&camera));
        let mut reader = pictures(&path).await;
        assert_eq!(path.failure().await.code(), if hangs_up { "source_closed" } else { "source_silent" });
        reader.until(|units| units.iter().any(|unit| unit.spliced)).await;
        path.stop().await;
    }
}

/// What its answers are wrong in is mended as over TCP.
#[tokio::test]
async fn a_camera_over_udp_that_numbers_answers_wrongly_plays() {
    let camera = Camera::start(async |_, mut talk| {
        let (rtp, rtcp) = port_pair().await;
        let mut ports = Ports { rtp, rtcp, to: None };
        loop {
            let mut request = talk.request().await?;
            request.text = request.text.replace("CSeq: ", "CSeq: 9");
            ports.obey(&mut talk, &request, true).await?;
            if request.method == "PLAY" {
                break;
            }
        }
        ports.play(&mut talk, &mut Film::new(), |_, packets| packets).await
    })
    .await;
    let path = Watched::start(over_udp(&camera));
    pictures(&path).await;
    path.stop().await;
}
