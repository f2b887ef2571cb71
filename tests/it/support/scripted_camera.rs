//! A camera that does as a test says: well behaved by default, and wrong in exactly one way when asked.
//!
//! What it answers passes through [`Behaviour::reply`] and [`Behaviour::sdp`], what it sends is bent by the numbers of
//! [`Behaviour`], both changeable while it plays; a [`Fault`] strikes every connection at once. It is an RTSP server on
//! `rtsp-types`, one task per connection, TCP and UDP.

mod bitstream;
mod login;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use bitstream::Video;
use bitstream::{Elementary, audio, video};
pub use login::{Login, PASSWORD, USER};
use rtsp_types::{Message, Method, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::broadcast,
    time::Instant,
};

use super::ports::free_port;

/// How an answer is bent: the request, the answer in good order, the answer that is sent.
pub type Bend = Arc<dyn Fn(&Asked, Reply) -> Reply + Send + Sync>;

/// What the camera does. Changed by [`ScriptedCamera::change`]; in force from the next answer or picture on.
#[derive(Clone)]
pub struct Behaviour {
    /// What it films. A change is in force for connections to come, as after a reboot.
    pub video: Option<Video>,
    /// Whether it has a microphone.
    pub audio: bool,
    /// Whether and how a login is asked for.
    pub login: Option<Login>,
    /// Whether RTP over UDP is offered.
    pub udp: bool,
    /// Bends the SDP.
    pub sdp: Arc<dyn Fn(String) -> String + Send + Sync>,
    /// Bends an answer.
    pub reply: Bend,
    /// No picture and no sound leave, answers do.
    pub silent: bool,
    /// The first access unit sent to a new connection; 0 is a random access point.
    pub first_unit: usize,
    /// The synchronisation source of the picture; the sound's is one more.
    pub ssrc: u32,
    /// Added to RTP timestamps: a change is a jump.
    pub timestamp_offset: u32,
    /// Added to RTP sequence numbers: a change is a gap.
    pub sequence_offset: u16,
    /// How many seconds its clock gains in one.
    pub drift: f64,
    /// How far its wall clock (in sender reports) is off, in seconds.
    pub wall_offset: f64,
    /// Whether sender reports are sent, one a second and track.
    pub reports: bool,
    /// Every so many packets one is lost; 0 for none.
    pub lose_every: u64,
    /// Every so many packets one is sent twice; 0 for none.
    pub repeat_every: u64,
    /// Bytes sent before every packet of the picture, on the RTSP connection.
    pub noise: Vec<u8>,
    /// The payload type in the packets of the picture, whatever the SDP says.
    pub video_payload_type: u8,
    /// The interleaved channel of a track, whatever the client asked for.
    pub channel: Option<fn(u8) -> u8>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            video: Some(Video::H264),
            audio: true,
            login: None,
            udp: false,
            sdp: Arc::new(|sdp| sdp),
            reply: Arc::new(|_, reply| reply),
            silent: false,
            first_unit: 0,
            ssrc: 0x1020_3040,
            timestamp_offset: 0,
            sequence_offset: 0,
            drift: 0.0,
            wall_offset: 0.0,
            reports: true,
            lose_every: 0,
            repeat_every: 0,
            noise: Vec::new(),
            video_payload_type: 96,
            channel: None,
        }
    }
}

/// A request the camera got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer before it is written.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Sent instead of all the above.
    pub raw: Option<Vec<u8>>,
    pub then: Then,
}

/// What the camera does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    GoOn,
    /// Closes the connection.
    Close,
    /// Sends nothing, not even the answer; the connection stays.
    NeverAnswer,
}

impl Reply {
    fn new(status: u16, cseq: &str) -> Self {
        let headers = vec![("CSeq".to_owned(), cseq.to_owned()), ("Server".to_owned(), "Scripted/1.0".to_owned())];
        Self { status, headers, body: String::new(), raw: None, then: Then::GoOn }
    }

    /// The answer with a header replaced or added.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The answer as it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let reason = match self.status {
            200 => "OK",
            301 | 302 => "Moved",
            401 => "Unauthorized",
            404 => "Not Found",
            461 => "Unsupported Transport",
            _ => "Whatever",
        };
        let mut text = format!("RTSP/1.0 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        (text + "\r\n" + &self.body).into_bytes()
    }
}

/// What strikes every connection at once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connections are closed properly.
    Close,
    /// The connections are reset.
    Reset,
    /// Nothing is read, answered or sent any more, the connections stay: a cable pulled out.
    HalfOpen,
    /// These bytes are sent between two frames.
    Inject(Vec<u8>),
}

/// A running scripted camera. Dropping it ends it and its connections.
pub struct ScriptedCamera {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<tokio::task::JoinHandle<()>>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    packets: AtomicUsize,
    pictures: AtomicUsize,
    faults: broadcast::Sender<Fault>,
    /// Dropped with the camera: connections end.
    alive: tokio_util::sync::CancellationToken,
}

impl ScriptedCamera {
    /// A well-behaved camera.
    pub async fn start() -> Self {
        Self::behaving(Behaviour::default()).await
    }

    /// A camera with a behaviour of its own.
    pub async fn behaving(behaviour: Behaviour) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            packets: AtomicUsize::new(0),
            pictures: AtomicUsize::new(0),
            faults: broadcast::channel(16).0,
            alive: tokio_util::sync::CancellationToken::new(),
        });
        let listening = Some(tokio::spawn(listen(listener, shared.clone())));
        Self { address, shared, listening }
    }

    /// Its URL, without a login.
    pub fn url(&self) -> String {
        format!("rtsp://{}/stream1", self.address)
    }

    /// Its URL with the login in it, percent-encoded.
    pub fn url_with_login(&self) -> String {
        format!("rtsp://{USER}:s3cret%3A%40%20%21@{}/stream1", self.address)
    }

    /// Changes what it does.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
    }

    /// Strikes every connection.
    pub fn strike(&self, fault: Fault) {
        let _ = self.shared.faults.send(fault);
    }

    /// Power off: the port is closed and every connection reset.
    pub async fn power_off(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
        self.strike(Fault::Reset);
    }

    /// Power on after [`ScriptedCamera::power_off`], on the same port.
    pub async fn power_on(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listening = Some(tokio::spawn(listen(listener, self.shared.clone())));
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many RTP packets it has sent.
    pub fn packets(&self) -> usize {
        self.shared.packets.load(Ordering::Relaxed)
    }

    /// How many pictures have left on the newest connection.
    pub fn pictures(&self) -> usize {
        self.shared.pictures.load(Ordering::Relaxed)
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests of a method came so far.
    pub fn count(&self, method: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method).count()
    }
}

impl Drop for ScriptedCamera {
    fn drop(&mut self) {
        self.shared.alive.cancel();
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        let behaviour = shared.behaviour.lock().unwrap().clone();
        let connection = Connection::new(number, socket, shared.clone(), &behaviour);
        tokio::spawn(connection.run());
    }
}

/// One track as a connection sends it.
struct Sending {
    stream: Arc<Elementary>,
    /// RTP ticks from one unit to the next, and the ticks of a second.
    step: u32,
    clock: u32,
    payload_type: u8,
    unit: usize,
    sequence: u16,
    packets: u32,
    bytes: u32,
    reported_at: f64,
    way: Option<Way>,
}

enum Way {
    Interleaved(u8),
    Udp { rtp: UdpSocket, rtcp: UdpSocket },
}

struct Connection {
    number: usize,
    socket: TcpStream,
    shared: Arc<Shared>,
    tracks: Vec<Sending>,
    nonce: String,
    received: Vec<u8>,
    playing_since: Option<Instant>,
    half_open: bool,
}

/// Whether a connection goes on.
type Ends = Result<(), ()>;

impl Connection {
    fn new(number: usize, socket: TcpStream, shared: Arc<Shared>, behaviour: &Behaviour) -> Self {
        socket.set_nodelay(true).unwrap();
        let track = |stream: Arc<Elementary>, step, clock, payload_type, unit| Sending {
            stream,
            step,
            clock,
            payload_type,
            unit,
            // Not zero, so that whoever assumes zero is found out.
            sequence: 41_000,
            packets: 0,
            bytes: 0,
            reported_at: f64::MIN,
            way: None,
        };
        let mut tracks = Vec::new();
        if let Some(kind) = behaviour.video {
            tracks.push(track(video(kind), 3600, 90_000, 96, behaviour.first_unit));
        }
        if behaviour.audio {
            tracks.push(track(audio(), 1024, 48_000, 97, 0));
        }
        let nonce = format!("nonce{number}");
        Self { number, socket, shared, tracks, nonce, received: Vec::new(), playing_since: None, half_open: false }
    }

    async fn run(mut self) {
        let alive = self.shared.alive.clone();
        let mut faults = self.shared.faults.subscribe();
        let mut buffer = vec![0; 65_536];
        loop {
            let due = self.due();
            let step = tokio::select! {
                biased;
                () = alive.cancelled() => return,
                fault = faults.recv() => match fault {
                    Ok(fault) => self.suffer(fault).await,
                    Err(_) => return,
                },
                read = self.socket.read(&mut buffer), if !self.half_open => match read {
                    Ok(0) | Err(_) => Err(()),
                    Ok(length) => {
                        self.received.extend(&buffer[..length]);
                        self.answer_all().await
                    }
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !self.half_open => {
                    self.send_due().await
                }
            };
            if step.is_err() {
                return;
            }
        }
    }

    async fn suffer(&mut self, fault: Fault) -> Ends {
        match fault {
            Fault::Close => Err(()),
            Fault::Reset => {
                // Lingering for no time is how a reset is asked for.
                socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
                Err(())
            }
            Fault::HalfOpen => {
                self.half_open = true;
                Ok(())
            }
            Fault::Inject(bytes) => self.write(&bytes).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Ends {
        self.socket.write_all(bytes).await.map_err(|_| ())
    }

    async fn answer_all(&mut self) -> Ends {
        loop {
            let (request, length) = match Message::<Vec<u8>>::parse(&self.received[..]) {
                Ok((Message::Request(request), length)) => (Some(request), length),
                Ok((_, length)) => (None, length),
                Err(rtsp_types::ParseError::Incomplete(_)) => return Ok(()),
                Err(rtsp_types::ParseError::Error) => return Err(()),
            };
            self.received.drain(..length);
            let Some(request) = request else { continue };
            let behaviour = self.shared.behaviour.lock().unwrap().clone();
            let asked = self.note(&request);
            let plays = request.method() == Method::Play;
            let reply = self.answer(&asked, &behaviour).await;
            let ok = reply.status == 200;
            let reply = (behaviour.reply)(&asked, reply);
            if reply.then != Then::NeverAnswer {
                self.write(&reply.to_bytes()).await?;
            }
            if reply.then == Then::Close || asked.method == "TEARDOWN" {
                return Err(());
            }
            if plays && ok && self.playing_since.is_none() {
                self.playing_since = Some(Instant::now());
            }
        }
    }

    fn note(&self, request: &Request<Vec<u8>>) -> Asked {
        let headers = request.headers().map(|(name, value)| (name.to_string(), value.as_str().to_owned())).collect();
        let url = request.request_uri().map_or_else(|| "*".to_owned(), ToString::to_string);
        let method: &str = request.method().into();
        let asked = Asked { method: method.to_owned(), url, headers };
        self.shared.asked.lock().unwrap().push(asked.clone());
        asked
    }

    /// The answer of a camera in good order.
    async fn answer(&mut self, asked: &Asked, behaviour: &Behaviour) -> Reply {
        let reply = |status| Reply::new(status, asked.header("CSeq").unwrap_or("0"));
        if let Some(login) = behaviour.login.filter(|_| asked.method != "OPTIONS") {
            let shown = asked.header("Authorization").unwrap_or_default();
            if !login.accepts(&asked.method, &self.nonce, shown) {
                return reply(401).with("WWW-Authenticate", login.challenge(&self.nonce));
            }
        }
        let session = format!("5C21{:04};timeout=60", self.number);
        match asked.method.as_str() {
            "OPTIONS" => reply(200)
                .with("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"),
            "DESCRIBE" => {
                let mut reply = reply(200).with("Content-Type", "application/sdp");
                reply = reply.with("Content-Base", format!("{}/", asked.url.trim_end_matches('/')));
                reply.body = (behaviour.sdp)(self.sdp());
                reply
            }
            "SETUP" => {
                let number = asked.url.rsplit_once("trackID=").map(|(_, rest)| rest);
                let track = number.and_then(|text| text.split(['/', '?', '&']).next()?.parse().ok());
                let Some(track) = track.filter(|track: &usize| *track < self.tracks.len()) else {
                    return reply(404);
                };
                let wanted = asked.header("Transport").unwrap_or_default();
                match self.set_up(track, wanted, behaviour).await {
                    Some(transport) => reply(200).with("Transport", transport).with("Session", session),
                    None => reply(461),
                }
            }
            "PLAY" => {
                let base = asked.url.trim_end_matches('/');
                let info = |(index, track): (usize, &Sending)| {
                    let timestamp = Self::timestamp(track, behaviour);
                    let sequence = track.sequence.wrapping_add(behaviour.sequence_offset);
                    format!("url={base}/trackID={index};seq={sequence};rtptime={timestamp}")
                };
                let infos: Vec<String> = self.tracks.iter().enumerate().map(info).collect();
                reply(200).with("Session", session).with("Range", "npt=now-").with("RTP-Info", infos.join(","))
            }
            "PAUSE" => {
                self.playing_since = None;
                reply(200).with("Session", session)
            }
            "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN" => reply(200).with("Session", session),
            _ => reply(501),
        }
    }

    fn sdp(&self) -> String {
        let mut sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Scripted camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                       a=control:*\r\na=range:npt=now-\r\n"
            .to_owned();
        for (index, track) in self.tracks.iter().enumerate() {
            let (kind, number) = (if track.clock == 90_000 { "video" } else { "audio" }, track.payload_type);
            let (encoding, fmtp) = (track.stream.encoding, &track.stream.fmtp);
            sdp += &format!(
                "m={kind} 0 RTP/AVP {number}\r\na=rtpmap:{number} {encoding}\r\na=fmtp:{number} {fmtp}\r\na=control:trackID={index}\r\n"
            );
        }
        sdp
    }

    async fn set_up(&mut self, track: usize, wanted: &str, behaviour: &Behaviour) -> Option<String> {
        let parameter =
            |name: &str| wanted.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let pair = |text: &str| {
            let first = text.split('-').next()?;
            first.parse::<u16>().ok()
        };
        if wanted.contains("/TCP") {
            let asked = parameter("interleaved").and_then(pair).unwrap_or(2 * track as u16) as u8;
            let channel = behaviour.channel.map_or(asked, |channel| channel(track as u8));
            self.tracks[track].way = Some(Way::Interleaved(channel));
            return Some(format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1));
        }
        let port = parameter("client_port").and_then(pair).filter(|_| behaviour.udp)?;
        let (rtp, rtcp) = super::udp_pair().await;
        let peer = self.socket.peer_addr().unwrap().ip();
        rtp.connect((peer, port)).await.unwrap();
        rtcp.connect((peer, port + 1)).await.unwrap();
        let server = rtp.local_addr().unwrap().port();
        self.tracks[track].way = Some(Way::Udp { rtp, rtcp });
        Some(format!(
            "RTP/AVP;unicast;client_port={port}-{};server_port={server}-{};ssrc={:08X}",
            port + 1,
            server + 1,
            behaviour.ssrc + track as u32
        ))
    }

    fn seconds(track: &Sending) -> f64 {
        track.unit as f64 * f64::from(track.step) / f64::from(track.clock)
    }

    fn timestamp(track: &Sending, behaviour: &Behaviour) -> u32 {
        let length = track.stream.units.len();
        let shown = track.unit / length * length + track.stream.shown[track.unit % length];
        let ticks = shown as f64 * f64::from(track.step) * (1.0 + behaviour.drift);
        (0x4000_0000_u64 + ticks as u64) as u32
    }

    /// When the next unit of any track is to leave.
    fn due(&self) -> Option<Instant> {
        let since = self.playing_since?;
        let first = self.tracks.first().map_or(0.0, |track| Self::start(track, &self.shared));
        let times = self.tracks.iter().filter(|track| track.way.is_some()).map(|track| {
            let lead = if track.clock == 90_000 { first } else { 0.0 };
            Self::seconds(track) - lead
        });
        times.min_by(f64::total_cmp).map(|seconds| since + Duration::from_secs_f64(seconds.max(0.0)))
    }

    fn start(track: &Sending, shared: &Shared) -> f64 {
        let first = shared.behaviour.lock().unwrap().first_unit;
        if track.clock == 90_000 { first as f64 * f64::from(track.step) / f64::from(track.clock) } else { 0.0 }
    }

    async fn send_due(&mut self) -> Ends {
        let Some(since) = self.playing_since else { return Ok(()) };
        let behaviour = self.shared.behaviour.lock().unwrap().clone();
        let now = since.elapsed().as_secs_f64() + 0.000_5;
        for index in 0..self.tracks.len() {
            let lead = Self::start(&self.tracks[index], &self.shared);
            while self.tracks[index].way.is_some() && Self::seconds(&self.tracks[index]) - lead <= now {
                self.send_unit(index, &behaviour).await?;
                self.tracks[index].unit += 1;
            }
        }
        Ok(())
    }

    async fn send_unit(&mut self, index: usize, behaviour: &Behaviour) -> Ends {
        let track = &mut self.tracks[index];
        let timestamp = Self::timestamp(track, behaviour).wrapping_add(behaviour.timestamp_offset);
        let ssrc = behaviour.ssrc.wrapping_add(index as u32);
        let is_video = track.clock == 90_000;
        let payloads = track.stream.units[track.unit % track.stream.units.len()].clone();
        let report = behaviour.reports && Self::seconds(track) - track.reported_at >= 1.0;
        if report {
            track.reported_at = Self::seconds(track);
        }
        let report = report.then(|| sender_report(ssrc, timestamp, behaviour.wall_offset, track.packets, track.bytes));
        let last = payloads.len() - 1;
        let mut packets = Vec::new();
        for (position, payload) in payloads.into_iter().enumerate() {
            let payload_type = if is_video { behaviour.video_payload_type } else { track.payload_type };
            let mut packet = vec![0x80, payload_type | (u8::from(position == last) << 7)];
            packet.extend(track.sequence.wrapping_add(behaviour.sequence_offset).to_be_bytes());
            packet.extend(timestamp.to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            packet.extend(&payload);
            track.sequence = track.sequence.wrapping_add(1);
            (track.packets, track.bytes) = (track.packets + 1, track.bytes.wrapping_add(payload.len() as u32));
            let every = |count: u64| count > 0 && u64::from(track.packets) % count == 0;
            if !every(behaviour.lose_every) {
                packets.push(packet.clone());
            }
            if every(behaviour.repeat_every) {
                packets.push(packet);
            }
        }
        if behaviour.silent {
            return Ok(());
        }
        self.shared.packets.fetch_add(packets.len(), Ordering::Relaxed);
        if is_video {
            self.shared.pictures.store(self.tracks[index].unit + 1, Ordering::Relaxed);
        }
        match self.tracks[index].way.as_ref() {
            None => Ok(()),
            Some(Way::Udp { rtp, rtcp }) => {
                for packet in packets {
                    let _ = rtp.send(&packet).await;
                }
                if let Some(report) = report {
                    let _ = rtcp.send(&report).await;
                }
                Ok(())
            }
            Some(Way::Interleaved(channel)) => {
                let channel = *channel;
                let mut bytes = Vec::new();
                let mut frame = |channel: u8, packet: &[u8], noise: &[u8]| {
                    bytes.extend(noise);
                    bytes.extend([b'$', channel]);
                    bytes.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
                    bytes.extend(packet);
                };
                let noise: &[u8] = if is_video { &behaviour.noise } else { &[] };
                packets.iter().for_each(|packet| frame(channel, packet, noise));
                if let Some(report) = report {
                    frame(channel + 1, &report, &[]);
                }
                self.write(&bytes).await
            }
        }
    }
}

/// A sender report (RFC 3550 §6.4.1) with its CNAME.
fn sender_report(ssrc: u32, timestamp: u32, wall_offset: f64, packets: u32, bytes: u32) -> Vec<u8> {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let ntp = since_1970 + wall_offset + 2_208_988_800.0;
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(ssrc.to_be_bytes());
    report.extend((ntp.trunc() as u32).to_be_bytes());
    report.extend(((ntp.fract() * 4_294_967_296.0) as u32).to_be_bytes());
    report.extend(timestamp.to_be_bytes());
    report.extend(packets.to_be_bytes());
    report.extend(bytes.to_be_bytes());
    report.extend([0x81, 202, 0, 3]);
    report.extend(ssrc.to_be_bytes());
    report.extend(*b"\x01\x05scrip\0");
    report
}
