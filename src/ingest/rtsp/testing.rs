//! A scripted camera in this process: it answers as a test tells it, so also wrongly, and plays made-up pictures.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};
use tracing::Span;

use crate::base::Tasks;

/// A port that refuses connections, and that nobody else gets while this lives.
pub(super) fn deaf() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A camera that listens until it is dropped.
pub(super) struct Camera {
    pub(super) address: SocketAddr,
    /// The requests of all connections, whole.
    pub(super) requests: Arc<Mutex<Vec<Request>>>,
    tasks: Tasks,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) text: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(super) fn sequence(&self) -> &str {
        self.header("CSeq").unwrap_or("0")
    }
}

impl Camera {
    /// Plays `script` for each connection, which it is told the number of.
    pub(super) async fn start<F, T>(script: F) -> Self
    where
        F: Fn(usize, Talk) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_tls(None, script).await
    }

    pub(super) async fn start_tls<F, T>(tls: Option<tokio_rustls::TlsAcceptor>, script: F) -> Self
    where
        F: Fn(usize, Talk) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, requests) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
        let (all, own) = (requests.clone(), tasks.clone());
        let script = Arc::new(script);
        tasks.spawn("camera", Span::none(), async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (all, script, tls) = (all.clone(), script.clone(), tls.clone());
                own.spawn("camera/connection", Span::none(), async move {
                    let wire: Box<dyn Wire> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let talk = Talk { wire, buffer: BytesMut::new(), requests: all, connection };
                    let _ = script(connection, talk).await;
                });
            }
        });
        Self { address, requests, tasks }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.address)
    }

    /// The methods asked for so far, of one connection.
    pub(super) fn methods(&self, connection: usize) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|r| r.connection == connection).map(|r| r.method.clone()).collect()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// One connection, seen from the camera.
pub(super) struct Talk {
    wire: Box<dyn Wire>,
    buffer: BytesMut,
    requests: Arc<Mutex<Vec<Request>>>,
    connection: usize,
}

/// An ordinary session.
pub(super) const SESSION: &str = "Session: 1234;timeout=60\r\n";

impl Talk {
    /// The next request; an error when there is none.
    pub(super) async fn request(&mut self) -> io::Result<Request> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8(self.buffer.split_to(end + 4).to_vec()).unwrap();
                let mut words = text.split(' ');
                let (method, url) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
                let request = Request { connection: self.connection, method, url, text };
                self.requests.lock().unwrap().push(request.clone());
                return Ok(request);
            }
            if self.wire.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    /// An answer with whole header lines and a body.
    pub(super) async fn answer(
        &mut self,
        request: &Request,
        status: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<()> {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let text = format!("RTSP/1.0 {status}\r\nCSeq: {}\r\n{headers}{length}\r\n{body}", request.sequence());
        self.write(text.as_bytes()).await
    }

    /// The ordinary answer to a request.
    pub(super) async fn obey(&mut self, request: &Request, sdp: &str) -> io::Result<()> {
        match request.method.as_str() {
            "OPTIONS" => self.answer(request, "200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", "").await,
            "DESCRIBE" => {
                let base = format!("Content-Type: application/sdp\r\nContent-Base: {}/\r\n", request.url);
                self.answer(request, "200 OK", &base, sdp).await
            }
            "SETUP" => {
                let transport = request.header("Transport").unwrap().to_owned();
                self.answer(request, "200 OK", &format!("{SESSION}Transport: {transport}\r\n"), "").await
            }
            _ => self.answer(request, "200 OK", SESSION, "").await,
        }
    }

    /// Ordinary answers up to and with the one to PLAY.
    pub(super) async fn serve(&mut self, sdp: &str) -> io::Result<()> {
        loop {
            let request = self.request().await?;
            self.obey(&request, sdp).await?;
            if request.method == "PLAY" {
                return Ok(());
            }
        }
    }

    /// Plays a film on, answering what is asked meanwhile, until it ends or somebody hangs up.
    pub(super) async fn play(&mut self, film: &mut Film, pictures: usize) -> io::Result<()> {
        for _ in 0..pictures {
            let frames = film.picture();
            self.write(&frames).await?;
            match tokio::time::timeout(FRAME, self.request()).await {
                Ok(Ok(request)) => {
                    self.obey(&request, "").await?;
                    if request.method == "TEARDOWN" {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Plays on for as long as anybody listens.
    pub(super) async fn play_on(&mut self, film: &mut Film) -> io::Result<()> {
        self.play(film, usize::MAX).await
    }

    /// Answers nothing and sends nothing until the other side hangs up.
    pub(super) async fn fall_silent(&mut self) -> io::Result<()> {
        loop {
            self.request().await?;
        }
    }
}

/// A picture is played every so often; its timestamps say the same.
pub(super) const FRAME: Duration = Duration::from_millis(10);
const FRAME_TICKS: u32 = 900;
const GOP: usize = 10;

/// An SDP with one H.264 track without parameter sets.
pub(super) const H264_SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n";

/// Parameter sets of x264 at 1280×720 and at 640×360, and of x265 at 1920×1080.
pub(super) const SPS_720: &str = "6742c01fd9005005bb011000000300100000030320f183192480";
pub(super) const SPS_360: &str = "6742c01eda0280bfe5c044000003000400000300c83c58ba80";
pub(super) const PPS: &str = "68ce3c80";
const HEVC: [&str; 3] = [
    "40010c01ffff016000000300900000030000030078959409",
    "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
    "4401c172b46240",
];

pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Pictures that are none, as interleaved frames.
#[derive(Clone, Debug)]
pub(super) struct Film {
    pub(super) channel: u8,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// The size of the pictures, by their sequence parameter set.
    pub(super) sps: &'static str,
    pub(super) hevc: bool,
    pub(super) markers: bool,
    pub(super) number: usize,
}

impl Film {
    pub(super) fn new() -> Self {
        Self {
            channel: 0,
            payload_type: 96,
            ssrc: 0x1234_5678,
            sequence: 65_530,
            timestamp: u32::MAX - 20_000,
            sps: SPS_720,
            hevc: false,
            markers: true,
            number: 0,
        }
    }

    /// The frames of the next picture; the first of a GOP has parameter sets in front.
    pub(super) fn picture(&mut self) -> Vec<u8> {
        let starts = self.number.is_multiple_of(GOP);
        let mut units: Vec<Vec<u8>> = Vec::new();
        match (self.hevc, starts) {
            (false, true) => units.extend([hex(self.sps), hex(PPS), vec![0x65, 0x88, 1, 2, 3]]),
            (false, false) => units.push(vec![0x41, 0x9a, 4, 5, 6]),
            // A clean random access picture: x265 sends no IDR but the first.
            (true, true) => units.extend(HEVC.iter().map(|set| hex(set)).chain([vec![0x2a, 1, 0xaf, 1]])),
            (true, false) => units.push(vec![0x02, 1, 0xd0, 1]),
        }
        let count = units.len();
        let packets = units.into_iter().enumerate().map(|(i, unit)| self.packet(i + 1 == count && self.markers, &unit));
        let bytes: Vec<Vec<u8>> = packets.collect();
        self.number += 1;
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS);
        bytes.concat()
    }

    /// One interleaved packet.
    pub(super) fn packet(&mut self, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        packet.put_u8(b'$');
        packet.put_u8(self.channel);
        packet.put_u16(12 + payload.len() as u16);
        packet.put_u8(0x80);
        packet.put_u8(self.payload_type | if marker { 0x80 } else { 0 });
        packet.put_u16(self.sequence);
        packet.put_u32(self.timestamp);
        packet.put_u32(self.ssrc);
        packet.put_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}
