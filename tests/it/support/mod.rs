//! What the tests are made of: the server, cameras, clients, samples. Nothing here asserts behaviour of the product.

pub mod bad_network;
pub mod browser;
pub mod camera;
pub mod clients;
pub mod coturn;
pub mod decider;
pub mod followers;
pub mod hls_client;
pub mod issuer;
pub mod mail_server;
pub mod mosquitto;
pub mod pebble;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod rtsp_client;
pub mod samples;
pub mod scripted_camera;
pub mod server;
pub mod small_server;
pub mod tls;
pub mod vlc_like;
pub mod webrtc_viewer;
pub mod whep_client;

use serde_json::json;
use tokio::net::UdpSocket;

use self::{
    scripted_camera::{Behaviour, ScriptedCamera},
    server::Server,
};

/// How long the long runs are: 1 in `make test`.
pub fn scale() -> usize {
    std::env::var("CAMPANILE_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// A scripted camera and a server that relays it as `cam`, ready.
pub async fn relay(behaviour: Behaviour) -> (ScriptedCamera, Server) {
    let camera = ScriptedCamera::behaving(behaviour).await;
    let server = Server::start(json!({ "paths": { "cam": { "source": camera.url() } } })).await;
    server.state("cam", "ready").await;
    (camera, server)
}

/// An even UDP port and the next one, as RTP and RTCP use them (RFC 3550 §11), with room for what comes while a busy
/// machine does something else.
pub async fn udp_pair() -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1)).await
        {
            // The system gives what it allows.
            let _ = socket2::SockRef::from(&rtp).set_recv_buffer_size(4 << 20);
            return (rtp, rtcp);
        }
    }
}
