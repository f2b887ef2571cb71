//! A second WebRTC stack as a viewer, GStreamer's (`tests/viewers/gst_whep.py`), in fine weather and in bad.

use std::{net::IpAddr, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::support::{
    bad_network::{BadNetwork, Weather},
    process::run,
    server::Server,
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

async fn view(server: &Server, options: &[String]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viewers/gst_whep.py");
    let mut python = Command::new("/usr/bin/python3");
    let ran = run(python.arg(script).arg(server.http("/demo/whep")).args(options)).await.success();
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
        let seen = view(&server, &[way.to_owned(), "pictures=60".to_owned()]).await;
        assert_sees_and_hears(&seen, 60);
    }
}

#[tokio::test]
async fn gstreamer_sees_and_hears_through_loss_and_jitter() {
    let server = demo().await;
    let weather = Weather { loss: 0.05, jitter: Duration::from_millis(30), ..Weather::default() };
    let network = BadNetwork::before(server.address("webrtc"), weather, 7).await;
    let options = [format!("candidate={}", network.address), "pictures=100".to_owned(), "seconds=25".to_owned()];
    assert_sees_and_hears(&view(&server, &options).await, 100);
    assert!(network.counted().0 > 10, "{:?}", network.counted());
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
