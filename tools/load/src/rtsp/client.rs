//! One RTSP reader: connects, sets up every track, plays, counts, and leaves when told to.
//!
//! All readers of a thread share one read buffer: between two reads a reader keeps only what was cut.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use url::Url;

use super::{
    answer::{Answer, request},
    credentials::{Credentials, Scheme},
    description::{self, Media},
    frames::{FrameError, Frames, Item},
    receiver::Receiver,
};
use crate::shared::{Scratch, Shared};

/// How the packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What every reader of a run does.
#[derive(Clone, Debug)]
pub(crate) struct RtspOptions {
    pub(crate) url: Url,
    pub(crate) transport: Transport,
}

/// Why a reader ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frames(#[from] FrameError),
    #[error("{status} {reason} to {method}")]
    Refused { method: &'static str, status: u16, reason: String },
    #[error("the server closed the connection")]
    Closed,
    #[error("no answer to {0} in {STEP_S} s")]
    Silent(&'static str),
    #[error("{0}")]
    Odd(&'static str),
}

/// Reads until `stop` says so or the server ends it.
///
/// # Errors
/// Whatever kept the reader from playing or ended it early.
pub(crate) async fn run(
    options: &RtspOptions,
    shared: &Rc<Shared>,
    scratch: &Scratch,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut session = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        session = Session::open(options, shared, scratch) => session?,
    };
    let played = session.play_on(&mut stop).await;
    session.leave().await;
    played
}

struct Session {
    stream: TcpStream,
    frames: Frames,
    receiver: Rc<RefCell<Receiver>>,
    scratch: Scratch,
    answers: Vec<Answer>,
    sequence: u32,
    who: Option<Credentials>,
    scheme: Option<Scheme>,
    aggregate: String,
    id: String,
    keep_alive: Duration,
    /// One task per UDP socket; they end with the session.
    sockets: JoinSet<io::Result<()>>,
}

impl Session {
    async fn open(options: &RtspOptions, shared: &Rc<Shared>, scratch: &Scratch) -> Result<Self, Error> {
        let (who, url) = split_credentials(&options.url);
        let host = url.host_str().ok_or(Error::Odd("the URL has no host"))?.trim_matches(['[', ']']).to_owned();
        let connect = TcpStream::connect((host, url.port().unwrap_or(554)));
        let stream = timeout(STEP, connect).await.map_err(|_| Error::Silent("connect"))?.map_err(Error::Connect)?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            stream,
            frames: Frames::default(),
            receiver: Rc::new(RefCell::new(Receiver::new(shared.clone()))),
            scratch: scratch.clone(),
            answers: Vec::new(),
            sequence: 0,
            who,
            scheme: None,
            aggregate: url.to_string(),
            id: String::new(),
            keep_alive: Duration::from_secs(30),
            sockets: JoinSet::new(),
        };
        session.ask("OPTIONS", url.as_str(), &[]).await?;
        let described = session.ask("DESCRIBE", url.as_str(), &[("Accept", "application/sdp")]).await?;
        let base = described.header("content-base").or_else(|| described.header("content-location"));
        let sdp = String::from_utf8_lossy(&described.body);
        let (aggregate, tracks) = description::parse(&sdp, base.unwrap_or(url.as_str()));
        if tracks.is_empty() {
            return Err(Error::Odd("the description has no track"));
        }
        for (index, media) in tracks.iter().enumerate() {
            session.set_up(options.transport, index, media).await?;
        }
        session.aggregate = aggregate;
        let (url, id) = (session.aggregate.clone(), session.id.clone());
        session.ask("PLAY", &url, &[("Session", &id), ("Range", "npt=now-")]).await?;
        shared.counters.playing_us.mark(shared.began);
        Ok(session)
    }

    async fn set_up(&mut self, transport: Transport, index: usize, media: &Media) -> Result<(), Error> {
        let first = u8::try_from(index * 2).map_err(|_| Error::Odd("more tracks than channels"))?;
        let mut channel = first;
        let pair = match transport {
            Transport::Tcp => None,
            Transport::Udp => Some(udp_pair(self.stream.local_addr()?).await?),
        };
        let wanted = match &pair {
            None => format!("RTP/AVP/TCP;unicast;interleaved={first}-{}", first + 1),
            Some((rtp, _)) => {
                let port = rtp.local_addr()?.port();
                format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
            }
        };
        let id = self.id.clone();
        let session = (!id.is_empty()).then_some(("Session", id.as_str()));
        let headers: Vec<(&str, &str)> = [("Transport", wanted.as_str())].into_iter().chain(session).collect();
        let answer = self.ask("SETUP", &media.control, &headers).await?;
        if let Some((id, seconds)) = answer.session() {
            self.id = id;
            self.keep_alive = Duration::from_secs((seconds / 2).clamp(1, 30));
        }
        if let Some((chosen, _)) = answer.transport("interleaved") {
            channel = u8::try_from(chosen).map_err(|_| Error::Odd("a channel over 255"))?;
        }
        self.receiver.borrow_mut().add_track(channel, media);
        if let Some((rtp, rtcp)) = pair {
            let (receiver, scratch) = (self.receiver.clone(), self.scratch.clone());
            self.sockets.spawn_local(async move {
                // RTCP is not read: its port has to be there, and the kernel drops what comes.
                let _rtcp = rtcp;
                loop {
                    rtp.readable().await?;
                    let mut buffer = scratch.borrow_mut();
                    while let Some(length) = ready(rtp.try_recv(&mut buffer))? {
                        receiver.borrow_mut().handle_packet(index, &buffer[..length], length);
                    }
                }
            });
        }
        Ok(())
    }

    /// Sends a request and reads until its answer is there; a 401 is answered once.
    async fn ask(&mut self, method: &'static str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        let answer = self.ask_once(method, url, headers).await?;
        if answer.status != 401 || self.who.is_none() {
            return accept(method, answer);
        }
        self.scheme = Scheme::choose(answer.headers("www-authenticate"));
        if self.scheme.is_none() {
            return accept(method, answer);
        }
        let answer = self.ask_once(method, url, headers).await?;
        accept(method, answer)
    }

    async fn ask_once(&mut self, method: &'static str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        let sequence = self.send(method, url, headers).await?;
        let wait = async {
            loop {
                let at = self.answers.iter().position(|answer| answer.sequence.is_none_or(|seq| seq == sequence));
                if let Some(at) = at {
                    return Ok(self.answers.swap_remove(at));
                }
                self.stream.readable().await?;
                self.read()?;
            }
        };
        timeout(STEP, wait).await.map_err(|_| Error::Silent(method))?
    }

    async fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<u32, Error> {
        self.sequence += 1;
        let authorization = match (&self.who, &mut self.scheme) {
            (Some(who), Some(scheme)) => Some(scheme.authorize(who, method, url)),
            _ => None,
        };
        let extra = authorization.as_deref().map(|value| ("Authorization", value));
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(extra).collect();
        self.stream.write_all(request(method, url, self.sequence, &headers).as_bytes()).await?;
        Ok(self.sequence)
    }

    /// Takes what has arrived.
    fn read(&mut self) -> Result<(), Error> {
        let mut buffer = self.scratch.borrow_mut();
        while let Some(length) = ready(self.stream.try_read(&mut buffer))? {
            if length == 0 {
                return Err(Error::Closed);
            }
            let mut receiver = self.receiver.borrow_mut();
            let answers = &mut self.answers;
            self.frames.handle_bytes(&buffer[..length], |item| match item {
                Item::Frame { channel, data, length } => receiver.handle_frame(channel, data, length),
                Item::Message { head, body } => answers.extend(Answer::parse(head, body)),
            })?;
            // A full buffer may mean more; anything less was all there was.
            if length < buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn play_on(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Error> {
        let mut keep_alive = interval(self.keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                ready = self.stream.readable() => {
                    ready?;
                    self.read()?;
                    self.answers.clear();
                }
                Some(ended) = self.sockets.join_next() => {
                    ended.map_err(io::Error::other)??;
                }
                _ = keep_alive.tick() => {
                    let (url, id) = (self.aggregate.clone(), self.id.clone());
                    self.send("GET_PARAMETER", &url, &[("Session", &id)]).await?;
                }
            }
        }
    }

    /// Says goodbye; a server that is gone already is none the worse.
    async fn leave(&mut self) {
        let (url, id) = (self.aggregate.clone(), self.id.clone());
        let _ = timeout(GOODBYE, self.send("TEARDOWN", &url, &[("Session", &id)])).await;
    }
}

fn accept(method: &'static str, answer: Answer) -> Result<Answer, Error> {
    // A server may not know OPTIONS; the rest has to work.
    if (200..300).contains(&answer.status) || method == "OPTIONS" {
        return Ok(answer);
    }
    Err(Error::Refused { method, status: answer.status, reason: answer.reason })
}

/// A pair of UDP ports, the first one even (RFC 3550 §11).
async fn udp_pair(local: SocketAddr) -> Result<(UdpSocket, UdpSocket), Error> {
    let bind = |port: u16| -> io::Result<UdpSocket> {
        let address = SocketAddr::new(local.ip(), port);
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
        // Room for a random access point of a camera in 4K; the kernel gives what it allows.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    for _ in 0..200 {
        let rtp = bind(0)?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = bind(port + 1)
        {
            return Ok((rtp, rtcp));
        }
        tokio::task::yield_now().await;
    }
    Err(Error::Odd("no pair of UDP ports is free"))
}

/// Nothing there is no error.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn split_credentials(url: &Url) -> (Option<Credentials>, Url) {
    let mut bare = url.clone();
    // Both fail only for URLs without a host, which has none of either.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let decode = |text: &str| percent_decode(text);
    let who = (!url.username().is_empty())
        .then(|| Credentials { user: decode(url.username()), password: decode(url.password().unwrap_or_default()) });
    (who, bare)
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const STEP_S: u64 = 20;
const STEP: Duration = Duration::from_secs(STEP_S);
const GOODBYE: Duration = Duration::from_millis(200);
const UDP_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    async fn read_request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(request).unwrap()
    }

    /// A server that wants a password, puts its tracks on channels of its own, and sends pictures before it answers PLAY.
    async fn serve(listener: TcpListener) -> Vec<String> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut methods = Vec::new();
        loop {
            let request = read_request(&mut stream).await;
            let method = request.split(' ').next().unwrap().to_owned();
            let sequence = super::super::frames::header(&request, "cseq").unwrap().to_owned();
            let known = request.contains("Authorization: Digest username=\"u\"");
            let answer = match method.as_str() {
                "DESCRIBE" if !known => {
                    format!(
                        "RTSP/1.0 401 Unauthorized\r\nCSeq: {sequence}\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n"
                    )
                }
                "DESCRIBE" => {
                    let sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t0\r\n";
                    format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
                }
                "SETUP" => format!(
                    "RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: s;timeout=60\r\nTransport: RTP/AVP/TCP;interleaved=8-9\r\n\r\n"
                ),
                _ => format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n\r\n"),
            };
            let ends = method == "TEARDOWN";
            if method == "PLAY" {
                assert!(request.contains("Session: s\r\n"));
                for (number, nal) in [0x67_u8, 0x68, 0x65].into_iter().enumerate() {
                    let marker = if nal == 0x65 { 0xe0 } else { 0x60 };
                    let number = u8::try_from(number).unwrap();
                    let frame = [b'$', 8, 0, 13, 0x80, marker, 0, number, 0, 0, 0, 1, 0, 0, 0, 7, nal];
                    stream.write_all(&frame).await.unwrap();
                }
            }
            methods.push(method);
            if ends {
                return methods;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_reader_logs_in_plays_counts_and_says_goodbye() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("rtsp://u:p@{}/cam", listener.local_addr().unwrap())).unwrap();
        let counters = std::sync::Arc::<crate::counters::Counters>::default();
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::begin(&counters);
        let scratch = crate::shared::scratch();
        let options = RtspOptions { url, transport: Transport::Tcp };
        let reader = run(&options, &shared, &scratch, stopped);
        let stopper = async {
            while counters.playing_us.read() == 0 {
                tokio::task::yield_now().await;
            }
            stop.send_replace(true);
        };
        let (methods, result, ()) = tokio::join!(serve(listener), reader, stopper);
        result.unwrap();
        assert_eq!(methods, ["OPTIONS", "DESCRIBE", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]);
        assert_eq!((counters.packets.read(), counters.bytes.read(), counters.gaps.read()), (3, 39, 0));
        assert!(counters.first_picture_us.read() > 0);
    }

    #[test]
    fn credentials_leave_the_url_decoded() {
        let url = Url::parse("rtsp://us%40er:p%3Aass%@cam:554/x").unwrap();
        let (who, bare) = split_credentials(&url);
        assert_eq!(who.unwrap(), Credentials { user: "us@er".to_owned(), password: "p:ass%".to_owned() });
        assert_eq!(bare.as_str(), "rtsp://cam:554/x");
        assert_eq!(split_credentials(&bare).0, None);
    }
}
