//! RTSP inside other things: TLS, and HTTP (RT-12, RT-14).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

use super::{
    film::{Coding, Film, Screen},
    rig::{Client, PATIENCE, Rig},
};
use crate::rtsp::RtspOptions;

pub(super) async fn secure(rig: &Rig) -> Client {
    let (address, certificate) = &rig.secure;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    Client::on(stream, format!("rtsps://{address}/cam"))
}

#[tokio::test]
async fn nothing_leaves_a_tls_connection_in_the_clear_rt_14() {
    let rig = Rig::start().await;
    rig.feed.begin();
    rig.feed.push_gop(200_000, 5);
    let mut client = secure(&rig).await;
    let udp = ("Transport", "RTP/AVP;unicast;client_port=5000-5001");
    assert_eq!(client.ask("SETUP", "/trackID=0", &[udp]).await.status, 461);
    client.play().await;
    assert_eq!(rig.sessions.all()[0].details.transport, "tls");
    for n in 0..300 {
        let (channel, _) = client.frame().await;
        assert!(channel < 4);
        if n % 20 == 0 {
            rig.feed.push(n == 100, 50_000);
        }
    }
    assert_eq!(client.ask("TEARDOWN", "", &[]).await.status, 200);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let options = RtspOptions { request_timeout: std::time::Duration::from_millis(500), ..RtspOptions::default() };
    let rig = Rig::with(options, Default::default()).await;
    for said in [&b""[..], b"OPTIONS * RTSP/1.0\r\n\r\n"] {
        let mut stream = TcpStream::connect(rig.secure.0).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it should close");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_plays_over_tls() {
    let rig = Rig::start().await;
    let _film = Film::shoot(Coding::H264, 50).await.roll(&rig, 30);
    let mut screen = Screen::ffmpeg(&format!("rtsps://{}/cam", rig.secure.0), "tcp");
    for expected in 0..60 {
        assert_eq!(screen.picture().await.0, expected % 50);
    }
}

/// The two connections of a tunnel as one: what is written leaves in base64 on the POST.
async fn tunnel(rig: &Rig, cookie: &str, headers: &str) -> Client {
    let mut down = TcpStream::connect(rig.address).await.unwrap();
    let get = format!("GET /cam HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n{headers}\r\n");
    down.write_all(get.as_bytes()).await.unwrap();
    let head = http_head(&mut down).await;
    assert!(head.starts_with("HTTP/1.0 200 OK") && head.contains("application/x-rtsp-tunnelled"), "{head}");
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut said, mut heard) = tokio::io::split(far);
    let (address, cookie) = (rig.address, cookie.to_owned());
    rig.tasks.spawn("down", tracing::Span::none(), async move {
        let _ = tokio::io::copy(&mut down, &mut heard).await;
    });
    rig.tasks.spawn("up", tracing::Span::none(), async move {
        let mut posted = 0;
        let mut up = post(address, &cookie).await;
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = said.read(&mut buffer).await {
            // Some clients end a POST and begin another.
            if posted == 2 {
                up = post(address, &cookie).await;
            }
            posted += 1;
            up.write_all(STANDARD.encode(&buffer[..read]).as_bytes()).await.unwrap();
        }
    });
    Client::on(near, rig.url())
}

async fn post(address: std::net::SocketAddr, cookie: &str) -> TcpStream {
    let mut up = TcpStream::connect(address).await.unwrap();
    let post = format!("POST /cam HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nContent-Length: 32767\r\n\r\n");
    up.write_all(post.as_bytes()).await.unwrap();
    up
}

async fn http_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("a head should come").unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_carries_requests_up_and_media_down_rt_12() {
    let rig = Rig::start().await;
    rig.feed.begin();
    rig.feed.push_gop(20_000, 5);
    let mut client = tunnel(&rig, "abc", "").await;
    assert_eq!(client.ask("OPTIONS", "*", &[]).await.status, 200);
    let udp = ("Transport", "RTP/AVP;unicast;client_port=5000-5001");
    assert_eq!(client.ask("SETUP", "/trackID=0", &[udp]).await.status, 461);
    client.play().await;
    assert_eq!(rig.sessions.all()[0].details.transport, "http");
    for _ in 0..20 {
        client.frame().await;
    }
    assert_eq!(client.ask("TEARDOWN", "", &[]).await.status, 200);
}

#[tokio::test]
async fn a_tunnel_is_joined_from_its_own_address_only_rt_10() {
    let rig = Rig::start().await;
    let _client = tunnel(&rig, "abc", "").await;
    // The same cookie twice, from elsewhere, and one that nobody has.
    let mut down = TcpStream::connect(rig.address).await.unwrap();
    down.write_all(b"GET /cam HTTP/1.0\r\nx-sessioncookie: abc\r\n\r\n").await.unwrap();
    assert!(http_head(&mut down).await.starts_with("HTTP/1.0 503"));
    for (from, cookie) in [("127.0.0.2:0", "abc"), ("127.0.0.1:0", "xyz")] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let mut up = socket.connect(rig.address).await.unwrap();
        up.write_all(format!("POST / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n").as_bytes()).await.unwrap();
        assert!(http_head(&mut up).await.starts_with("HTTP/1.0 404"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_through_a_proxy_needs_a_credential() {
    let rig = Rig::start().await;
    let mut client = tunnel(&rig, "abc", "X-Forwarded-For: 10.0.0.9\r\n").await;
    assert_eq!(client.ask("OPTIONS", "*", &[]).await.status, 200);
    for path in ["cam", "other"] {
        let url = rig.url().replace("cam", path);
        let answered = client.ask("DESCRIBE", &url, &[]).await;
        assert_eq!(answered.status, 401, "{path}: whether it exists is not told");
        assert!(answered.header("www-authenticate").unwrap().starts_with("Digest realm="));
    }
}

#[tokio::test]
async fn without_the_option_there_is_no_tunnel() {
    let rig = Rig::with(RtspOptions { http_tunnel: false, ..RtspOptions::default() }, Default::default()).await;
    let mut down = TcpStream::connect(rig.address).await.unwrap();
    down.write_all(b"GET /cam HTTP/1.0\r\nx-sessioncookie: abc\r\n\r\n").await.unwrap();
    assert!(http_head(&mut down).await.starts_with("HTTP/1.0 404"));
}
