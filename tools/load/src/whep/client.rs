//! One viewer: offers, connects, counts, and leaves when told to.
//!
//! `str0m` does ICE, DTLS and, until the first picture is there, opens the packets; from then on packets are counted by
//! their headers, so that one core can be many viewers. Such a viewer reports no loss and asks for nothing again.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::SdpAnswer,
    media::{Direction, MediaKind},
    net::{Protocol, Receive},
};
use tokio::{net::UdpSocket, sync::watch};
use url::Url;

use super::{exchange::exchange, tracks::Tracks};
use crate::{
    clock,
    shared::{Scratch, Shared},
};

/// What every viewer of a run does.
#[derive(Clone, Debug)]
pub(crate) struct WhepOptions {
    /// The WHEP endpoint.
    pub(crate) url: Url,
}

/// Why a viewer ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{status} to the offer: {body}")]
    Refused { status: u16, body: String },
    #[error("the answer cannot be read: {0}")]
    Answer(String),
    #[error("{0}")]
    Rtc(#[from] str0m::RtcError),
    #[error("the server ended the session")]
    Ended,
}

/// Room for the start burst of a camera in 4K; the kernel gives what it allows.
const UDP_BUFFER: usize = 4 << 20;

/// Plays until `stop` says so or the server ends it.
///
/// # Errors
/// Whatever kept the viewer from playing or ended it early.
pub(crate) async fn run(
    options: &WhepOptions,
    shared: &Rc<Shared>,
    scratch: &Scratch,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut viewer = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        viewer = Viewer::join(options, shared, scratch) => viewer?,
    };
    let played = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        played = viewer.play() => played,
    };
    // A server that is gone already is none the worse.
    if let Some(session) = &viewer.session {
        let _ = exchange("DELETE", session, None).await;
    }
    played
}

struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    session: Option<Url>,
    tracks: Tracks,
    shared: Rc<Shared>,
    scratch: Scratch,
}

impl Viewer {
    async fn join(options: &WhepOptions, shared: &Rc<Shared>, scratch: &Scratch) -> Result<Self, Error> {
        let local = local_address(&options.url).await?;
        let socket = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).await?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER);
        let local = socket.local_addr()?;
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let codecs = RtcConfig::new().set_crypto_provider(crypto).set_rtp_mode(true).clear_codecs();
        let mut rtc = codecs
            .enable_h264(true)
            .enable_h265(true)
            .enable_vp8(true)
            .enable_opus(true, false)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .build(clock::now());
        let candidate = Candidate::host(local, "udp").map_err(|error| Error::Answer(error.to_string()))?;
        rtc.add_local_candidate(candidate);
        let mut change = rtc.sdp_api();
        change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().ok_or_else(|| Error::Answer("nothing to offer".to_owned()))?;
        let answer = exchange("POST", &options.url, Some(&offer.to_sdp_string())).await?;
        if answer.status != 201 {
            return Err(Error::Refused { status: answer.status, body: detail(&answer.body) });
        }
        let parsed = SdpAnswer::from_sdp_string(&answer.body).map_err(|error| Error::Answer(error.to_string()))?;
        rtc.sdp_api().accept_answer(pending, parsed)?;
        let session = answer.location.and_then(|location| options.url.join(&location).ok());
        let tracks = Tracks::of(&answer.body, shared.clone());
        Ok(Self { rtc, socket, local, session, tracks, shared: shared.clone(), scratch: scratch.clone() })
    }

    async fn play(&mut self) -> Result<(), Error> {
        loop {
            let due = self.drain()?;
            tokio::select! {
                ready = self.socket.readable() => {
                    ready?;
                    self.receive()?;
                }
                () = tokio::time::sleep_until(due.into()) => self.rtc.handle_input(Input::Timeout(clock::now()))?,
            }
        }
    }

    /// Does what `str0m` wants done; when it wants to be asked again.
    fn drain(&mut self) -> Result<Instant, Error> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(_) if !self.rtc.is_alive() => return Err(Error::Ended),
                Output::Timeout(due) => return Ok(due),
                Output::Transmit(packet) => match self.socket.try_send_to(&packet.contents, packet.destination) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                    _ => {}
                },
                Output::Event(Event::Connected) => self.shared.counters.playing_us.mark(self.shared.began),
                Output::Event(Event::RtpPacket(packet)) => {
                    let header = &packet.header;
                    self.tracks.handle_opened(
                        *header.payload_type,
                        header.marker,
                        header.timestamp,
                        false,
                        &packet.payload,
                    );
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Takes what has arrived.
    fn receive(&mut self) -> Result<(), Error> {
        let scratch = self.scratch.clone();
        let mut buffer = scratch.borrow_mut();
        loop {
            let (length, source) = match self.socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let datagram = &buffer[..length];
            if is_media(datagram) {
                self.tracks.handle_sealed(datagram);
                if !self.tracks.awaits_picture() {
                    continue;
                }
            }
            let Ok(contents) = datagram.try_into() else { continue };
            let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
            self.rtc.handle_input(Input::Receive(clock::now(), receive))?;
            self.drain()?;
        }
    }
}

/// What a problem body (RFC 9457) says in words, so that a hundred equal refusals are one line.
fn detail(body: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    problem["detail"].as_str().unwrap_or(body).chars().take(200).collect()
}

/// RFC 7983 §7, RFC 5761 §4: RTP, and not RTCP, whose second byte is 192 to 223.
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !matches!(kind & 0x7f, 64..=95))
}

/// The address this machine reaches the server from.
async fn local_address(url: &Url) -> io::Result<SocketAddr> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let target = tokio::net::lookup_host((host, url.port_or_known_default().unwrap_or(80))).await?.next();
    let target = target.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
    let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let probe = UdpSocket::bind(any).await?;
    probe.connect(target).await?;
    probe.local_addr()
}
