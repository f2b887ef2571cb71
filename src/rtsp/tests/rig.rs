//! A server on a free port with one path `cam`, whose source is the test; and a client that speaks RTSP by the line.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    auth::Gate,
    base::{Clock, Monotonic, Tasks, WallTime},
    hub::{Feed, Hub, MediaThreads, PathSpec, RingLimits, Source, StreamPolicy},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, PictureSize, TrackDescription, TrackId, nal,
        track::{H264Parameters, H265Parameters, OpaqueParameters},
    },
    net::listen,
    rtsp::{
        Listeners, RtspOptions, RtspServer,
        framing::{Framing, Incoming},
    },
    stats::Sessions,
};

/// Longer than anything here takes; what is asserted is behaviour, not speed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const VIDEO: TrackId = TrackId(0);
pub(super) const SOUND: TrackId = TrackId(1);

/// A source that hands its feed to the test.
#[derive(Debug)]
struct Handed(mpsc::Sender<Feed>);

impl Source for Handed {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        let (stop, feeds) = (feed.stopping().clone(), self.0.clone());
        Box::pin(async move {
            let _ = feeds.send(feed).await;
            stop.cancelled().await;
        })
    }

    fn description(&self) -> String {
        "test".to_owned()
    }
}

/// The server, and what feeds it.
pub(super) struct Rig {
    pub(super) server: RtspServer,
    pub(super) address: SocketAddr,
    pub(super) sessions: Sessions,
    pub(super) gate: Gate,
    pub(super) feed: Arc<Camera>,
    pub(super) tasks: Tasks,
    /// Where RTSP over TLS listens, and the certificate it shows.
    pub(super) secure: (SocketAddr, CertificateDer<'static>),
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::with(RtspOptions::default(), RingLimits::default()).await
    }

    pub(super) async fn with(options: RtspOptions, ring: RingLimits) -> Self {
        let (feeds_tx, mut feeds) = mpsc::channel(4);
        let spec = PathSpec {
            name: "cam".parse().unwrap(),
            title: Some("The gate".into()),
            group: None,
            policy: StreamPolicy { start_timeout: Duration::from_secs(2), ..StreamPolicy::default() },
            ring,
            main: Arc::new(Handed(feeds_tx)),
            sub: None,
        };
        let tasks = Tasks::new();
        let hub = Hub::start(Box::new(vec![spec]), Clock, &tasks);
        let local = "127.0.0.1:0".parse().unwrap();
        let tcp = listen::bind_tcp("rtsp.address", &[local]).unwrap();
        let address = listen::addresses(&tcp)[0];
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let shown = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let tls = listen::bind_tcp("rtsp.tls_address", &[local]).unwrap();
        let secure = (listen::addresses(&tls)[0], certificate);
        let udp = vec![listen::bind_udp_pair("rtsp.udp_ports", local.ip(), [0, 0], &[]).unwrap()];
        let sessions = Sessions::default();
        let threads = MediaThreads::start(1).unwrap();
        let listeners = Listeners { tcp, tls: Some((tls, Arc::new(shown))), udp };
        let gate = Gate::default();
        let server =
            RtspServer::start(options, listeners, hub, gate.clone(), sessions.clone(), threads, Clock, &tasks).unwrap();
        let feed = feeds.recv().await.unwrap();
        let feed = Arc::new(Camera { feed, next: Mutex::new(0), zero: Clock.now() });
        Self { server, address, sessions, gate, feed, tasks, secure }
    }

    pub(super) fn url(&self) -> String {
        format!("rtsp://{}/cam", self.address)
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// The camera: pictures of H.264 at 25 a second, and sound nobody here takes apart.
pub(super) struct Camera {
    feed: Feed,
    next: Mutex<i64>,
    zero: Monotonic,
}

pub(super) const FRAME_MS: i64 = 40;

pub(super) fn h264(sps: &[u8], pps: &[u8]) -> TrackDescription {
    TrackDescription {
        kind: MediaKind::Video,
        clock_rate: ClockRate::VIDEO,
        parameters: CodecParameters::H264(H264Parameters {
            sps: vec![Bytes::copy_from_slice(sps)],
            pps: vec![Bytes::copy_from_slice(pps)],
            size: Some(PictureSize { width: 640, height: 360 }),
            frame_rate_milli: Some(25_000),
            reorder_depth: None,
        }),
    }
}

pub(super) fn h265(sets: &[Vec<u8>; 3]) -> TrackDescription {
    let [vps, sps, pps] = sets.each_ref().map(|set| vec![Bytes::copy_from_slice(set)]);
    let parameters = CodecParameters::H265(H265Parameters { vps, sps, pps, ..H265Parameters::default() });
    TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }
}

pub(super) fn jpeg(width: u32, height: u32) -> TrackDescription {
    let parameters = CodecParameters::Jpeg(PictureSize { width, height });
    TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }
}

/// G.711 as an opaque track: 20 ms in a packet.
pub(super) fn pcmu() -> TrackDescription {
    TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::TELEPHONE,
        parameters: CodecParameters::Opaque(OpaqueParameters {
            encoding: "PCMU".into(),
            channels: None,
            fmtp: None,
            static_payload_type: Some(0),
        }),
    }
}

/// When what is shown at `pts` milliseconds was taken.
pub(super) fn captured(pts: i64) -> WallTime {
    WallTime::from_unix_nanos(1_700_000_000_000_000_000 + pts * 1_000_000)
}

impl Camera {
    /// Begins with pictures that are no pictures, and sound.
    pub(super) fn begin(&self) {
        self.feed.begin(vec![h264(&[0x67, 66, 0, 30, 1], &[0x68, 1]), pcmu()]);
    }

    pub(super) fn begin_with(&self, tracks: Vec<TrackDescription>) {
        self.feed.begin(tracks);
    }

    /// The next picture, `len` bytes in one NAL unit, with the sound that goes with it.
    pub(super) fn push(&self, random_access: bool, len: usize) {
        let mut nal = vec![if random_access { 0x65 } else { 0x41 }, 0x80];
        nal.extend((2..len).map(|n| n as u8));
        self.push_picture(random_access, 0, nal::join([&nal[..]]));
    }

    /// The next picture, shown so many pictures after it is decoded, with the sound that goes with it.
    pub(super) fn push_picture(&self, random_access: bool, shown_after: i64, payload: Bytes) {
        let mut next = self.next.lock().unwrap();
        let dts = *next * FRAME_MS;
        *next += 1;
        self.push_at(VIDEO, dts, dts + shown_after * FRAME_MS, random_access, payload);
        for half in [0, 20] {
            self.push_at(SOUND, dts + half, dts + half, true, Bytes::from_static(&[0xff; 160]));
        }
    }

    /// Sound alone, as the only track.
    pub(super) fn push_sound_only(&self) {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        self.push_at(TrackId(0), *next * FRAME_MS, *next * FRAME_MS, true, Bytes::from_static(&[0xff; 160]));
    }

    /// A packet of the sound, `len` bytes long.
    pub(super) fn push_packet(&self, len: usize) {
        let at = *self.next.lock().unwrap() * FRAME_MS;
        self.push_at(SOUND, at, at, true, vec![0xff; len].into());
    }

    fn push_at(&self, track: TrackId, dts: i64, pts: i64, random_access: bool, payload: Bytes) {
        self.feed.push(AccessUnit {
            track,
            pts: MediaTime::from_millis(pts),
            dts: MediaTime::from_millis(dts),
            captured: Some(captured(pts)),
            arrived: self.zero + Duration::from_millis(dts as u64),
            random_access,
            after_loss: false,
            marker: true,
            payload,
        });
    }

    /// A GOP: a random access point of `key` bytes and `rest` pictures of 1000.
    pub(super) fn push_gop(&self, key: usize, rest: usize) {
        self.push(true, key);
        (0..rest).for_each(|_| self.push(false, 1000));
    }
}

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A client that says what a test says.
pub(super) struct Client {
    pub(super) tcp: Box<dyn Duplex>,
    framing: Framing,
    cseq: u32,
    pub(super) session: Option<String>,
    pub(super) base: String,
    /// `$` frames that came in between answers.
    pub(super) frames: Vec<(u8, Bytes)>,
}

/// An answer: its status and its text.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.split("\r\n").skip(1).take_while(|line| !line.is_empty());
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap(), format!("rtsp://{address}/cam"))
    }

    /// A client on a connection that stands, for the URL of a path.
    pub(super) fn on(stream: impl Duplex + 'static, base: String) -> Self {
        Self { tcp: Box::new(stream), framing: Framing::default(), cseq: 0, session: None, base, frames: Vec::new() }
    }

    /// Sends a request for `url`, relative to the path if it does not begin with `rtsp:`, and waits for its answer.
    pub(super) async fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Answered {
        self.send(method, url, headers).await;
        self.answer().await
    }

    pub(super) async fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) {
        self.cseq += 1;
        let url = match url {
            "*" => "*".to_owned(),
            url if url.starts_with("rtsp") => url.to_owned(),
            url => format!("{}{url}", self.base),
        };
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        if let Some(session) = &self.session {
            text += &format!("Session: {session}\r\n");
        }
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        self.tcp.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    }

    /// The next answer; `$` frames before it are kept.
    pub(super) async fn answer(&mut self) -> Answered {
        let wait = async {
            let mut text = Vec::new();
            loop {
                match self.tcp.read_u8().await.expect("the connection should stay open") {
                    b'$' if text.is_empty() => {
                        let frame = self.rest_of_frame().await;
                        self.frames.push(frame);
                    }
                    byte => text.push(byte),
                }
                if text.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let mut text = String::from_utf8(text).unwrap();
            let head = Answered { status: 0, text: text.clone() };
            let length: usize = head.header("content-length").map_or(0, |value| value.parse().unwrap());
            let mut body = vec![0; length];
            self.tcp.read_exact(&mut body).await.unwrap();
            text += &String::from_utf8(body).unwrap();
            let status = text.split(' ').nth(1).unwrap().parse().unwrap();
            Answered { status, text }
        };
        let answered = tokio::time::timeout(PATIENCE, wait).await.expect("an answer should come");
        if let Some(session) = answered.header("session") {
            self.session = Some(session.split(';').next().unwrap().to_owned());
        }
        answered
    }

    async fn rest_of_frame(&mut self) -> (u8, Bytes) {
        let channel = self.tcp.read_u8().await.unwrap();
        let mut payload = vec![0; usize::from(self.tcp.read_u16().await.unwrap())];
        self.tcp.read_exact(&mut payload).await.unwrap();
        (channel, payload.into())
    }

    /// The next `$` frame.
    pub(super) async fn frame(&mut self) -> (u8, Bytes) {
        if !self.frames.is_empty() {
            return self.frames.remove(0);
        }
        let wait = async {
            assert_eq!(self.tcp.read_u8().await.unwrap(), b'$', "a frame should begin here");
            self.rest_of_frame().await
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("a frame should come")
    }

    /// Sets both tracks up, interleaved, and plays.
    pub(super) async fn play(&mut self) -> Answered {
        for (track, channels) in [(0, "0-1"), (1, "2-3")] {
            let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
            let answered = self.ask("SETUP", &format!("/trackID={track}"), &[("Transport", &transport)]).await;
            assert_eq!(answered.status, 200, "{}", answered.text);
        }
        let answered = self.ask("PLAY", "", &[("Range", "npt=0.000-")]).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered
    }

    /// Everything up to the end of the connection, cut into messages.
    pub(super) async fn rest(&mut self) -> Vec<Incoming> {
        let mut messages = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let read = tokio::time::timeout(PATIENCE, self.tcp.read(&mut buffer)).await.expect("it should end");
            let read = read.unwrap_or(0);
            self.framing.push(&buffer[..read]);
            while let Some(message) = self.framing.next_message().expect("what the server sends should be whole") {
                messages.push(message);
            }
            if read == 0 {
                return messages;
            }
        }
    }
}

/// Waits for what another thread brings about.
pub(super) async fn wait_until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            // The other thread has a clock of its own.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it should happen");
}
