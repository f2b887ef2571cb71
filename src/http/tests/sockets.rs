//! Tests of the listener on real sockets, with limits of a fraction of a second: what a client may take its time with,
//! how many there may be, how they end. Bounds are ten times what is expected.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    auth::GatePolicy,
    base::Tasks,
    events::{EventType, Events, testing::draft},
    http::{HttpOptions, HttpServer, assets, serve, testing::rooms},
    stats::Places,
};

struct Server {
    tasks: Tasks,
    events: Events,
    http: HttpServer,
    address: SocketAddr,
    _state_dir: TempDir,
}

const LIMIT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> HttpOptions {
    HttpOptions { header_timeout: LIMIT, idle_timeout: LIMIT * 3, write_timeout: LIMIT * 2, ..HttpOptions::default() }
}

impl Server {
    async fn start(options: HttpOptions) -> Self {
        Self::start_with(options, None).await
    }

    async fn start_with(options: HttpOptions, tls: Option<Arc<ServerConfig>>) -> Self {
        Self::start_for(options, tls, usize::MAX).await
    }

    /// A server that takes so many connections of an address.
    async fn start_for(options: HttpOptions, tls: Option<Arc<ServerConfig>>, per_address: usize) -> Self {
        let tasks = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state_dir = tempfile::tempdir().unwrap();
        let mut rooms = rooms(&tasks, GatePolicy::Local, state_dir.path());
        rooms.connections = Places::new(per_address);
        let events = rooms.events.clone();
        let http = serve(&options, vec![listener], tls, rooms, &tasks);
        http.set_ready();
        Self { tasks, events, http, address, _state_dir: state_dir }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads to the end.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        read_to_end(&mut socket).await
    }

    async fn until_nobody_is_connected(&self) {
        let started = Instant::now();
        while self.http.connections() > 0 {
            assert!(started.elapsed() < PATIENCE, "{} connections are left", self.http.connections());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("the connection should end");
    String::from_utf8_lossy(&bytes).into_owned()
}

const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn is_alive(socket: &mut TcpStream) {
    socket.write_all(ALIVE).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    while !seen.contains("alive") {
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "closed after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let server = Server::start_for(HttpOptions::default(), None, 2).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    is_alive(&mut one).await;
    is_alive(&mut two).await;
    assert_eq!(server.exchange(ALIVE).await, "", "closed without a word");
    drop((one, two));
    server.until_nobody_is_connected().await;
    is_alive(&mut server.connect().await).await;

    let proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let server = Server::start_for(HttpOptions { proxies, ..HttpOptions::default() }, None, 1).await;
    let mut connections = [server.connect().await, server.connect().await, server.connect().await];
    for connection in &mut connections {
        is_alive(connection).await;
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_and_a_silent_client_too() {
    let server = Server::start(options()).await;
    let started = Instant::now();
    let (mut silent, mut slow) = (server.connect().await, server.connect().await);
    let trickle = async {
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ".iter().chain(std::iter::repeat(&b'x')) {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the slow head should be cut off");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(started.elapsed() >= LIMIT - Duration::from_millis(20), "not before its time");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_kept() {
    let server = Server::start(options()).await;
    let mut socket = server.connect().await;
    let started = Instant::now();
    while started.elapsed() < LIMIT * 6 {
        is_alive(&mut socket).await;
        tokio::time::sleep(LIMIT).await;
    }
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_with_431() {
    let server = Server::start(options()).await;
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    assert!(server.exchange(long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many: String = (0..200).map(|i| format!("X-{i}: x\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert!(server.exchange(many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let endless = server.exchange(&vec![b'x'; 200_000]).await;
    assert!(endless.is_empty() || endless.starts_with("HTTP/1.1 4"), "{endless}");
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn what_is_no_http_1_is_refused() {
    let server = Server::start(options()).await;
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    ] {
        let answer = server.exchange(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let nameless = server.exchange(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.1 400") && nameless.contains("invalid_host"), "{nameless}");
    let old = server.exchange(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

/// The largest file of the pages.
fn large_file() -> &'static assets::Asset {
    assets::ASSETS.iter().max_by_key(|asset| asset.raw.len()).unwrap()
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let server = Server::start(options()).await;
    let mut socket = server.connect().await;
    let file = large_file();
    let request = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", file.path);
    // More than all socket buffers between here and there.
    let times = 16_000_000 / file.raw.len() + 1;
    let asking = request.repeat(times);
    let _ = timeout(LIMIT, socket.write_all(asking.as_bytes())).await;
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let server = Server::start(options()).await;
    let file = large_file();
    let times = 6_000_000 / file.raw.len() + 1;
    let request = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", file.path);
    let (mut reading, mut writing) = server.connect().await.into_split();
    let ask = async {
        for _ in 1..times {
            writing.write_all(request.as_bytes()).await.unwrap();
        }
        writing.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    };
    let read = async {
        let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
        let started = Instant::now();
        loop {
            let count = timeout(PATIENCE, reading.read(&mut buffer)).await.unwrap().unwrap();
            if count == 0 {
                return (total, started.elapsed());
            }
            total += count;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ((), (total, took)) = tokio::join!(ask, read);
    assert!(total >= times * file.raw.len(), "{total} bytes");
    assert!(took > LIMIT * 2, "it was slow: {took:?}");
}

#[tokio::test]
async fn many_idle_connections_leave_the_server_quick_and_a_full_house_waits() {
    let server = Server::start(HttpOptions { max_connections: 301, ..options() }).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(server.connect().await);
    }
    let started = Instant::now();
    is_alive(&mut server.connect().await).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let mut last = Vec::new();
    for _ in 0..2 {
        last.push(server.connect().await);
    }
    for socket in &mut last {
        is_alive(socket).await;
    }
    assert!(server.http.connections() <= 301);
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_accepts_no_more() {
    let server = Server::start(HttpOptions { header_timeout: PATIENCE, idle_timeout: PATIENCE, ..options() }).await;
    let (mut used, mut silent) = (server.connect().await, server.connect().await);
    is_alive(&mut used).await;
    let started = Instant::now();
    assert_eq!(server.http.drain(PATIENCE).await, Vec::<String>::new());
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!((read_to_end(&mut used).await, read_to_end(&mut silent).await), (String::new(), String::new()));
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
}

/// A certificate for `localhost`, for both ends.
fn certificate() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(server), Arc::new(client))
}

type Sender = h2::client::SendRequest<Bytes>;

/// An HTTP/2 connection and the task that drives it.
async fn http2(server: &Server, client: &Arc<ClientConfig>) -> (Sender, crate::base::tasks::Task) {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TlsConnector::from(client.clone()).connect(name, socket).await.unwrap();
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    let task = server.tasks.spawn("client", tracing::Span::none(), async {
        let _ = connection.await;
    });
    (sender, task)
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

#[tokio::test]
async fn with_tls_http_2_is_spoken_and_told_goodbye_when_idle() {
    let (server_tls, client_tls) = certificate();
    let server = Server::start_with(options(), Some(server_tls)).await;
    let (sender, task) = http2(&server, &client_tls).await;
    let mut sender = sender.ready().await.unwrap();
    let (response, _) = sender.send_request(request("/healthz"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let head = Request::head("https://localhost/").body(()).unwrap();
    let (response, _) = sender.send_request(head, true).unwrap();
    let response = response.await.unwrap();
    assert!(response.headers()["content-length"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(response.into_body().data().await.is_none());
    timeout(PATIENCE, task.ended()).await.expect("an idle connection should be closed");
}

/// RFC 9113 §8.1: a server that has answered, and wants no more of a body, says so without calling it an error.
#[tokio::test]
async fn over_http_2_a_body_that_is_too_large_is_answered_whole_before_the_rest_is_declined() {
    let (server_tls, client_tls) = certificate();
    let server = Server::start_with(HttpOptions::default(), Some(server_tls)).await;
    let (sender, _task) = http2(&server, &client_tls).await;
    let login = "https://localhost/api/v1/auth/login";
    for announced in [Some(1_200_000), None] {
        let mut request = Request::post(login).header("content-type", "application/json");
        if let Some(length) = announced {
            request = request.header("content-length", length);
        }
        let request = request.body(()).unwrap();
        let (response, mut body) = sender.clone().ready().await.unwrap().send_request(request, false).unwrap();
        body.send_data(vec![b' '; 1_200_000].into(), false).unwrap();
        let response = timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 413, "{announced:?}");
        let (mut told, mut text) = (response.into_body(), Vec::new());
        while let Some(piece) = timeout(PATIENCE, told.data()).await.unwrap() {
            text.extend_from_slice(&piece.unwrap());
        }
        assert!(String::from_utf8(text).unwrap().contains("body_too_large"));
        let reset = std::future::poll_fn(|cx| body.poll_reset(cx));
        assert_eq!(timeout(PATIENCE, reset).await.unwrap().unwrap(), h2::Reason::NO_ERROR, "{announced:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let (server_tls, _) = certificate();
    let server = Server::start_with(options(), Some(server_tls)).await;
    let mut socket = server.connect().await;
    assert_eq!(read_to_end(&mut socket).await, "");
    server.until_nobody_is_connected().await;
}

/// An HTTP/2 frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// The head of `GET https://localhost/`, from the static table of HPACK and one literal.
const HEAD: &[u8] = b"\x82\x87\x84\x01\x09localhost";

/// Sends frames until the server has enough.
async fn flood(server: &Server, client: &Arc<ClientConfig>, frames: impl Fn(u32) -> Vec<u8>) {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TlsConnector::from(client.clone()).connect(name, socket).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(socket);
    let write = async {
        let opening = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
        writing.write_all(&opening).await.unwrap();
        for round in 0..10_000 {
            let frames: Vec<u8> = (0..100).flat_map(|i| frames(round * 100 + i)).collect();
            if writing.write_all(&frames).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut sink = Vec::new();
        let _ = reading.read_to_end(&mut sink).await;
    };
    let ended = async {
        tokio::select! {
            () = read => {}
            () = async { write.await; std::future::pending().await } => {}
        }
    };
    timeout(PATIENCE, ended).await.expect("the flood should be cut off");
}

#[tokio::test]
async fn a_flood_ends_its_connection_and_hurts_nobody_else() {
    const RST_STREAM: u8 = 3;
    let (server_tls, client_tls) = certificate();
    let server = Server::start_with(options(), Some(server_tls)).await;
    let other = async {
        let (sender, _task) = http2(&server, &client_tls).await;
        let (response, _) = sender.ready().await.unwrap().send_request(request("/healthz"), true).unwrap();
        let started = Instant::now();
        assert_eq!(response.await.unwrap().status(), 200);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    };
    let resets = flood(&server, &client_tls, |i| {
        let stream = i * 2 + 1;
        [frame(1, 4, stream, HEAD), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    // CONTINUATION frames that never end a head (RUSTSEC-2024-0332).
    let continuations =
        flood(&server, &client_tls, |i| if i == 0 { frame(1, 0, 1, HEAD) } else { frame(9, 0, 1, b"\x00\x01a\x01b") });
    tokio::join!(resets, continuations, other);
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_stream_whose_window_never_opens_is_cut_off() {
    let (server_tls, client_tls) = certificate();
    let server = Server::start_with(options(), Some(server_tls)).await;
    let (sender, task) = http2(&server, &client_tls).await;
    // The initial window is 64 KiB; nothing is released.
    let path = format!("/{}", large_file().path);
    assert!(large_file().raw.len() > 70_000, "a larger file is needed");
    let (response, _) = sender.ready().await.unwrap().send_request(request(&path), true).unwrap();
    let response = response.await.unwrap();
    let _body = response.into_body();
    timeout(PATIENCE, task.ended()).await.expect("a stuck stream should end its connection");
}

const FOLLOW: &[u8] = b"GET /stream/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_stream_with_nothing_to_say_is_not_idle_and_ends_with_a_goodbye() {
    let server = Server::start(options()).await;
    let mut socket = server.connect().await;
    socket.write_all(FOLLOW).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while !seen.contains("retry:") {
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "closed after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    tokio::time::sleep(LIMIT * 8).await;
    server.events.append(draft(EventType::CameraEvent, "motion")).await.unwrap();
    while !seen.contains("camera_event") {
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "it was closed for being silent");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let drained = server.http.drain(PATIENCE);
    let (rest, alive) = tokio::join!(read_to_end(&mut socket), drained);
    assert!(rest.contains("retry: ") && rest.ends_with("0\r\n\r\n"), "a whole body: {rest:?}");
    assert_eq!(alive, Vec::<String>::new());
}

#[tokio::test]
async fn a_follower_that_takes_nothing_is_sent_away_and_the_others_get_everything() {
    let server = Server::start(options()).await;
    let (mut deaf, mut other) = (server.connect().await, server.connect().await);
    deaf.write_all(FOLLOW).await.unwrap();
    other.write_all(FOLLOW).await.unwrap();
    let mut big = draft(EventType::CameraEvent, "motion");
    let data = format!(r#"{{"kind":"motion","x":"{}"}}"#, "x".repeat(60_000));
    big.data = serde_json::value::RawValue::from_string(data).unwrap();
    let mut last = big.clone();
    last.name = "last".into();
    last.kind = EventType::Audit;
    let publish = async {
        for _ in 0..300 {
            server.events.append(big.clone()).await.unwrap();
        }
        server.events.append(last).await.unwrap();
    };
    let listen = async {
        let (mut seen, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            let read = timeout(PATIENCE, other.read(&mut buffer)).await.expect("it goes on").unwrap();
            assert!(read > 0, "it was closed");
            let from = seen.len().saturating_sub(20);
            seen.extend_from_slice(&buffer[..read]);
            if memchr::memmem::find(&seen[from..], b"event: audit").is_some() {
                return memchr::memmem::find_iter(&seen, b"event: camera_event\n").count();
            }
        }
    };
    let ((), count) = tokio::join!(publish, listen);
    assert_eq!(count, 300);
    drop(other);
    server.until_nobody_is_connected().await;
    drop(deaf);
}
