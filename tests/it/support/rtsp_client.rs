//! An RTSP connection written by hand: requests exactly as a test spells them, answers and interleaved frames as they
//! come. What real programs cannot be made to do, and what they do not tell.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::process::PATIENCE;

/// One RTSP connection.
pub struct RtspClient {
    socket: TcpStream,
    received: Vec<u8>,
    cseq: u32,
    /// Interleaved frames that came while an answer was awaited, and answers that came while a frame was.
    frames: VecDeque<(u8, Vec<u8>)>,
    answers: VecDeque<Answer>,
    /// Sent as `User-Agent` unless empty.
    pub user_agent: String,
    /// Sent as `Session` once a SETUP has told it.
    pub session: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Itself, if the status is 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }
}

enum Received {
    Answer(Answer),
    Frame(u8, Vec<u8>),
}

impl RtspClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let user_agent = "campanile-tests".to_owned();
        let (frames, answers) = (VecDeque::new(), VecDeque::new());
        Self { socket, received: Vec::new(), cseq: 0, frames, answers, user_agent, session: None }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.socket.write_all(bytes)).await.expect("the server reads").unwrap();
    }

    /// Sends bytes to a server that may have closed the connection.
    ///
    /// # Errors
    /// If it has.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Sends a request with `CSeq`, `User-Agent`, `Session` and the headers given; returns without its answer.
    pub async fn request(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        if !self.user_agent.is_empty() {
            text += &format!("User-Agent: {}\r\n", self.user_agent);
        }
        if let Some(session) = &self.session {
            text += &format!("Session: {session}\r\n");
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.send(format!("{text}\r\n").as_bytes()).await;
    }

    /// Sends a request and waits for its answer, which must carry its `CSeq`.
    pub async fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.request(method, url, headers).await;
        let answer = self.answer().await.unwrap_or_else(|| panic!("{method} {url}: the connection was closed"));
        assert_eq!(answer.header("CSeq"), Some(self.cseq.to_string().as_str()), "{method}: {answer:?}");
        if method == "SETUP" && answer.status == 200 {
            let session = answer.header("Session").expect("SETUP names a session");
            self.session = Some(session.split(';').next().unwrap().to_owned());
        }
        answer
    }

    /// The next answer; frames that come before it are kept. `None` when the connection ends.
    pub async fn answer(&mut self) -> Option<Answer> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.next()).await.expect("an answer comes in time")? {
                Received::Answer(answer) => return Some(answer),
                Received::Frame(channel, frame) => self.frames.push_back((channel, frame)),
            }
        }
    }

    /// The next interleaved frame with its channel. `None` when the connection ends or none comes in time.
    pub async fn frame(&mut self, within: Duration) -> Option<(u8, Vec<u8>)> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        let wait = async {
            loop {
                match self.next().await? {
                    Received::Frame(channel, frame) => return Some((channel, frame)),
                    Received::Answer(answer) => self.answers.push_back(answer),
                }
            }
        };
        timeout(within, wait).await.ok().flatten()
    }

    /// Whether the server closes the connection in time; what it still sends is dropped.
    pub async fn closed(&mut self, within: Duration) -> bool {
        let wait = async { while self.next().await.is_some() {} };
        timeout(within, wait).await.is_ok()
    }

    async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(found) = self.parse() {
                return Some(found);
            }
            let mut buffer = [0; 16_384];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.received.extend(&buffer[..length]),
            }
        }
    }

    fn parse(&mut self) -> Option<Received> {
        if self.received.first() == Some(&b'$') {
            let header = self.received.get(..4)?;
            let (channel, length) = (header[1], usize::from(u16::from_be_bytes([header[2], header[3]])));
            self.received.get(..4 + length)?;
            let frame = self.received.drain(..4 + length).skip(4).collect();
            return Some(Received::Frame(channel, frame));
        }
        let end = self.received.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&self.received[..end]).into_owned();
        let mut lines = text.split("\r\n");
        let status_line = lines.next()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer begins like this: {status_line:?}"));
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let length: usize = answer.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        let body = self.received.get(end + 4..end + 4 + length)?;
        answer.body = String::from_utf8_lossy(body).into_owned();
        self.received.drain(..end + 4 + length);
        Some(Received::Answer(answer))
    }
}

/// The fixed header of an RTP packet (RFC 3550 §5.1) and what follows it.
#[derive(Clone, Debug)]
pub struct Rtp {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
}

impl Rtp {
    /// Reads a packet without CSRCs, extension or padding, which this server does not send.
    pub fn parse(packet: &[u8]) -> Self {
        assert!(packet.len() > 12, "an RTP packet has a header and a payload: {packet:02x?}");
        assert_eq!(packet[0], 0x80, "version 2, no padding, extension or contributing sources");
        Self {
            marker: packet[1] & 0x80 != 0,
            payload_type: packet[1] & 0x7f,
            sequence: u16::from_be_bytes([packet[2], packet[3]]),
            timestamp: u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]),
            ssrc: u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]),
            payload: packet[12..].to_vec(),
        }
    }
}

/// A reader that plays every track of a URL over TCP in the background and notes what comes.
pub struct RtspReader {
    noted: std::sync::Arc<std::sync::Mutex<Noted>>,
    task: tokio::task::JoinHandle<()>,
    /// The SDP it was given.
    pub sdp: String,
}

/// What a background reader has seen so far.
#[derive(Clone, Default, Debug)]
pub struct Noted {
    /// Packets with their track's index and their arrival.
    pub packets: Vec<(usize, Rtp, Instant)>,
    pub ended: bool,
}

impl RtspReader {
    /// Plays `url`.
    pub async fn play(url: &str) -> Self {
        let (mut client, sdp, _) = set_up_tcp(url).await;
        client.ask("PLAY", url, &[("Range", "npt=0.000-")]).await.ok();
        let noted = std::sync::Arc::<std::sync::Mutex<Noted>>::default();
        let notes = noted.clone();
        let task = tokio::spawn(async move {
            while let Some((channel, frame)) = client.frame(Duration::from_secs(600)).await {
                if channel % 2 == 0 {
                    let packet = Rtp::parse(&frame);
                    notes.lock().unwrap().packets.push((channel as usize / 2, packet, Instant::now()));
                }
            }
            notes.lock().unwrap().ended = true;
        });
        Self { noted, task, sdp }
    }

    /// What it has seen so far.
    pub fn noted(&self) -> Noted {
        self.noted.lock().unwrap().clone()
    }

    /// Whether its connection has ended.
    pub fn ended(&self) -> bool {
        self.noted.lock().unwrap().ended
    }

    /// How many packets have come.
    pub fn count(&self) -> usize {
        self.noted.lock().unwrap().packets.len()
    }

    /// Waits until `more` packets have come from now on.
    pub async fn more(&self, more: usize) {
        let wanted = self.count() + more;
        let wait = async {
            while self.count() < wanted {
                assert!(!self.ended(), "the reader's connection ended");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{} of {wanted} packets came", self.count()));
    }
}

impl Drop for RtspReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// OPTIONS, DESCRIBE and a SETUP over TCP for every track of a URL: the connection, the SDP, the aggregate URL.
pub async fn set_up_tcp(url: &str) -> (RtspClient, String, String) {
    let parsed = url::Url::parse(url).unwrap();
    let address = format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap());
    let mut client = RtspClient::connect(address.parse().unwrap()).await;
    client.ask("OPTIONS", url, &[]).await.ok();
    let described = client.ask("DESCRIBE", url, &[("Accept", "application/sdp")]).await.ok();
    let base = described.header("Content-Base").unwrap_or(url).to_owned();
    for (index, control) in controls(&described.body, &base).iter().enumerate() {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * index, 2 * index + 1);
        client.ask("SETUP", control, &[("Transport", &transport)]).await.ok();
    }
    (client, described.body, base)
}

/// The control URLs of an SDP's tracks, resolved as live555 does: absolute, or appended to the base.
pub fn controls(sdp: &str, base: &str) -> Vec<String> {
    let media = sdp.split("\nm=").skip(1);
    media
        .map(|section| {
            let control = section.lines().find_map(|line| line.strip_prefix("a=control:"));
            let control = control.expect("every track has a control URL").trim();
            if control.starts_with("rtsp://") || control.starts_with("rtsps://") {
                control.to_owned()
            } else {
                format!("{}/{control}", base.trim_end_matches('/'))
            }
        })
        .collect()
}
