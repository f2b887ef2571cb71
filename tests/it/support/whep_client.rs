//! A WHEP viewer: signalling over HTTP, media by str0m (sans-IO) over a real socket, UDP or TCP. It decodes nothing; it
//! keeps what came of each frame, and can lose packets on purpose.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::SdpAnswer,
    media::{Direction, KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive, TcpType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket, tcp},
};

/// How a viewer is.
#[derive(Clone)]
pub struct WhepOptions {
    /// Whether it offers sound.
    pub sound: bool,
    /// Whether it offers H.264; else it offers VP8 alone.
    pub h264: bool,
    /// Whether it comes over TCP.
    pub tcp: bool,
    /// Whether it comes over IPv6.
    pub v6: bool,
    /// Every so many media packets one is lost; 0 is never.
    pub loses: u64,
    /// The query of its URL, with its question mark.
    pub query: &'static str,
}

impl Default for WhepOptions {
    fn default() -> Self {
        Self { sound: true, h264: true, tcp: false, v6: false, loses: 0, query: "" }
    }
}

/// A refusal of the server.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub body: String,
}

/// A frame that was received whole.
#[derive(Clone, Debug)]
pub struct Frame {
    /// After the offer was sent.
    pub at: Duration,
    pub video: bool,
    pub key: bool,
    /// The RTP time in seconds.
    pub time: f64,
    /// Nothing is missing between it and the frame before it.
    pub contiguous: bool,
}

/// What happened to a viewer.
#[derive(Debug, Default)]
pub struct Seen {
    /// From the offer until ICE and DTLS were done.
    pub connected: Option<Duration>,
    /// The server said goodbye, or ICE gave up.
    pub ended: Option<Duration>,
    pub first_packet: Option<Duration>,
    pub packets: u64,
    pub lost_on_purpose: u64,
    pub last_packet: Option<Instant>,
    pub frames: Vec<Frame>,
}

impl Seen {
    pub fn video(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.video)
    }

    pub fn sound(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| !frame.video)
    }

    /// When the first key frame was there as a whole.
    pub fn first_key_frame(&self) -> Option<Duration> {
        self.video().find(|frame| frame.key).map(|frame| frame.at)
    }
}

enum Way {
    Udp(UdpSocket),
    Tcp { read: tcp::OwnedReadHalf, write: tcp::OwnedWriteHalf, waiting: Vec<u8> },
}

/// A viewer with a session.
pub struct WhepClient {
    rtc: Rtc,
    way: Way,
    local: SocketAddr,
    /// The server's end of a connection.
    remote: SocketAddr,
    http: reqwest::Client,
    begun: Instant,
    options: WhepOptions,
    video: Option<Mid>,
    answer: String,
    /// The session's URL.
    pub session: String,
    pub etag: String,
    pub seen: Seen,
}

/// What WHEP is served on.
#[derive(Clone)]
pub struct Whep {
    pub http: reqwest::Client,
    /// The URL of a path's WHEP endpoint.
    pub url: String,
    /// Where WebRTC listens on TCP.
    pub tcp: Option<SocketAddr>,
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

impl WhepClient {
    /// Offers, and takes the answer. It does not connect yet: [`WhepClient::play`] drives it.
    pub async fn join(whep: &Whep, options: WhepOptions) -> Result<Self, Refused> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let config = RtcConfig::new().set_crypto_provider(crypto).clear_codecs();
        let config = if options.h264 { config.enable_h264(true) } else { config.enable_vp8(true) };
        let mut rtc =
            config.enable_opus(true, false).enable_pcmu(true, false).enable_pcma(true, false).build(Instant::now());
        let begun = Instant::now();
        let (way, local, remote) = if options.tcp {
            let remote = whep.tcp.unwrap();
            let stream = TcpStream::connect(remote).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let local = stream.local_addr().unwrap();
            let (read, write) = stream.into_split();
            (Way::Tcp { read, write, waiting: Vec::new() }, local, remote)
        } else {
            let socket = UdpSocket::bind(if options.v6 { "[::1]:0" } else { "127.0.0.1:0" }).await.unwrap();
            socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
            let local = socket.local_addr().unwrap();
            (Way::Udp(socket), local, local)
        };
        let candidate = if options.tcp {
            Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build().unwrap()
        } else {
            Candidate::host(local, "udp").unwrap()
        };
        rtc.add_local_candidate(candidate).unwrap();
        let mut change = rtc.sdp_api();
        let video = change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        if options.sound {
            change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = change.apply().unwrap();
        let url = format!("{}{}", whep.url, options.query);
        let request = whep.http.post(url).header("content-type", "application/sdp").body(offer.to_sdp_string());
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::CREATED {
            let (status, retry_after) = (response.status(), header(&response, "retry-after"));
            return Err(Refused { status, retry_after, body: response.text().await.unwrap() });
        }
        let location = header(&response, "location").expect("a session has a URL");
        let session = response.url().join(&location).unwrap().to_string();
        let etag = header(&response, "etag").expect("a session has an entity tag");
        let answer = response.text().await.unwrap();
        let mut accepted = answer.clone();
        if options.tcp {
            // A viewer whose UDP is blocked.
            accepted =
                accepted.lines().filter(|line| !is_udp_candidate(line)).map(|line| format!("{line}\r\n")).collect();
        }
        let parsed = SdpAnswer::from_sdp_string(&accepted).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        rtc.sdp_api().accept_answer(pending, parsed).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        Ok(Self {
            rtc,
            way,
            local,
            remote,
            http: whep.http.clone(),
            begun,
            options,
            video: Some(video),
            answer,
            session,
            etag,
            seen: Seen::default(),
        })
    }

    /// The offer of a viewer who will never be there.
    pub fn offer() -> String {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let config = RtcConfig::new().set_crypto_provider(crypto).clear_codecs().enable_h264(true);
        let mut rtc = config.build(Instant::now());
        let mut change = rtc.sdp_api();
        change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        change.apply().unwrap().0.to_sdp_string()
    }

    /// Plays for so long.
    pub async fn play(&mut self, span: Duration) -> &Seen {
        self.play_until(span, |_| false).await;
        &self.seen
    }

    /// Plays until `enough` says so, for `limit` at most; whether it did.
    pub async fn play_until(&mut self, limit: Duration, enough: impl Fn(&Seen) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; 65_536];
        loop {
            let due = self.poll().await;
            if enough(&self.seen) {
                return true;
            }
            let now = Instant::now();
            if now >= deadline || self.seen.ended.is_some() {
                return false;
            }
            let wait = due.min(deadline).saturating_duration_since(now);
            match tokio::time::timeout(wait, self.receive(&mut buffer)).await {
                Ok(Some(datagrams)) => {
                    for datagram in datagrams {
                        self.handle(&datagram);
                        self.poll().await;
                    }
                }
                Ok(None) => self.seen.ended = Some(self.begun.elapsed()),
                Err(_) => self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
            }
        }
    }

    /// What came by one read; `None` if the connection ended.
    async fn receive(&mut self, buffer: &mut [u8]) -> Option<VecDeque<Vec<u8>>> {
        let mut datagrams = VecDeque::new();
        match &mut self.way {
            Way::Udp(socket) => {
                let (length, from) = socket.recv_from(buffer).await.ok()?;
                self.remote = from;
                datagrams.push_back(buffer[..length].to_vec());
            }
            Way::Tcp { read, waiting, .. } => {
                let length = read.read(buffer).await.ok().filter(|length| *length > 0)?;
                waiting.extend_from_slice(&buffer[..length]);
                while let Some([high, low]) = waiting.first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if waiting.len() < 2 + length {
                        break;
                    }
                    datagrams.push_back(waiting[2..2 + length].to_vec());
                    waiting.drain(..2 + length);
                }
            }
        }
        Some(datagrams)
    }

    fn handle(&mut self, datagram: &[u8]) {
        // RFC 5761 §4: payload types of RTCP are 64 to 95 there.
        let media = matches!(datagram.first(), Some(128..=191)) && !matches!(datagram[1] & 0x7f, 64..=95);
        if media {
            self.seen.packets += 1;
            self.seen.first_packet.get_or_insert_with(|| self.begun.elapsed());
            self.seen.last_packet = Some(Instant::now());
            if self.options.loses > 0 && self.seen.packets.is_multiple_of(self.options.loses) {
                self.seen.lost_on_purpose += 1;
                return;
            }
        }
        let Ok(contents) = datagram.try_into() else { return };
        let proto = if self.options.tcp { Protocol::Tcp } else { Protocol::Udp };
        let receive = Receive { proto, source: self.remote, destination: self.local, contents };
        let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
    }

    /// Drains what the viewer wants to do; when it wants to be asked again.
    async fn poll(&mut self) -> Instant {
        loop {
            let Ok(output) = self.rtc.poll_output() else {
                self.seen.ended.get_or_insert_with(|| self.begun.elapsed());
                return Instant::now();
            };
            match output {
                Output::Timeout(due) => {
                    if !self.rtc.is_alive() {
                        self.seen.ended.get_or_insert_with(|| self.begun.elapsed());
                    }
                    return due;
                }
                Output::Transmit(packet) => match &mut self.way {
                    Way::Udp(socket) => {
                        let _ = socket.send_to(&packet.contents, packet.destination).await;
                    }
                    Way::Tcp { write, .. } => {
                        let length = u16::try_from(packet.contents.len()).unwrap();
                        let frame = [&length.to_be_bytes()[..], &packet.contents].concat();
                        let _ = write.write_all(&frame).await;
                    }
                },
                Output::Event(event) => self.note(&event),
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let at = self.begun.elapsed();
        match event {
            Event::Connected => self.seen.connected = Some(at),
            Event::MediaData(data) => {
                let video = self.video == Some(data.mid);
                let frame = Frame {
                    at,
                    video,
                    key: video && has_idr(&data.data),
                    time: data.time.as_seconds(),
                    contiguous: data.contiguous,
                };
                self.seen.frames.push(frame);
            }
            _ => {}
        }
    }

    /// Asks for a key frame.
    pub fn ask_for_key_frame(&mut self) {
        let mid = self.video.unwrap();
        self.rtc.writer(mid).unwrap().request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
    }

    /// Ends the session as a viewer should.
    pub async fn delete(&self) -> StatusCode {
        self.http.delete(&self.session).send().await.unwrap().status()
    }

    /// Sends a fragment with a condition.
    pub async fn patch(&self, if_match: Option<&str>, fragment: &str) -> reqwest::Response {
        let request = self.http.patch(&self.session).header("content-type", "application/trickle-ice-sdpfrag");
        let request = if_match.into_iter().fold(request, |request, tag| request.header("if-match", tag));
        request.body(fragment.to_owned()).send().await.unwrap()
    }

    /// Restarts ICE from another address, as a telephone that changes its network.
    pub async fn restart(&mut self) -> StatusCode {
        let mut change = self.rtc.sdp_api();
        let credentials = change.ice_restart(true);
        let (_, pending) = change.apply().unwrap();
        let fragment = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{}\r\n",
            credentials.ufrag,
            credentials.pass,
            self.video.unwrap()
        );
        let response = self.patch(Some("*"), &fragment).await;
        let status = response.status();
        if status != StatusCode::OK {
            return status;
        }
        self.etag = header(&response, "etag").expect("an ICE session has an entity tag");
        let fragment = response.text().await.unwrap();
        let fresh = |name: &str| fragment.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let answer: Vec<_> = self
            .answer
            .lines()
            .map(|line| match line {
                line if line.starts_with("a=ice-ufrag:") => fresh("a=ice-ufrag:"),
                line if line.starts_with("a=ice-pwd:") => fresh("a=ice-pwd:"),
                line => line.to_owned(),
            })
            .collect();
        self.answer = answer.join("\r\n") + "\r\n";
        let parsed = SdpAnswer::from_sdp_string(&self.answer).unwrap();
        self.rtc.sdp_api().accept_answer(pending, parsed).unwrap();
        status
    }
}

fn is_udp_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") && line.to_ascii_lowercase().contains(" udp ")
}

/// Whether an access unit in Annex B form has an IDR slice.
fn has_idr(data: &[u8]) -> bool {
    data.windows(4).any(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 5)
}
