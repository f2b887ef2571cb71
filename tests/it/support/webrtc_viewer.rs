//! A WHEP viewer made with the `webrtc` crate: a full ICE agent, receiver reports, NACK and transport-wide feedback of
//! its own. It decodes the pictures it gets, so that what counts as one can be shown.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use openh264::decoder::Decoder;
use reqwest::StatusCode;
use rtc::{
    peer_connection::sdp::RTCSessionDescription,
    rtp::{codec::h264::H264Packet, packetizer::Depacketizer as _},
    rtp_transceiver::rtp_sender::RtpCodecKind,
};
use tokio::sync::Notify;
use webrtc::{
    media_stream::track_remote::{TrackRemote, TrackRemoteEvent},
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceGatheringState, RTCPeerConnectionState, Registry, register_default_interceptors,
    },
    rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit},
};

use super::process::PATIENCE;

/// What happened to a viewer.
#[derive(Debug, Default)]
pub struct Seen {
    state: Mutex<RTCPeerConnectionState>,
    gathered: Notify,
    /// Pictures that were decoded.
    pub pictures: AtomicU64,
    /// Packets of sound.
    pub sounds: AtomicU64,
}

impl Seen {
    /// What has become of the connection.
    pub fn state(&self) -> RTCPeerConnectionState {
        *self.state.lock().unwrap()
    }
}

struct Handler(Arc<Seen>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        *self.0.state.lock().unwrap() = state;
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let seen = self.0.clone();
        if track.kind().await == RtpCodecKind::Video {
            tokio::spawn(watch(track, seen));
        } else {
            tokio::spawn(listen(track, seen));
        }
    }
}

async fn watch(track: Arc<dyn TrackRemote>, seen: Arc<Seen>) {
    let (mut packets, mut decoder, mut unit) = (H264Packet::default(), Decoder::new().unwrap(), Vec::new());
    while let Some(event) = track.poll().await {
        let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
        unit.extend_from_slice(&packets.depacketize(&packet.payload).unwrap_or_default());
        if packet.header.marker {
            let shown = decoder.decode(&unit).is_ok_and(|picture| picture.is_some());
            seen.pictures.fetch_add(u64::from(shown), Relaxed);
            unit.clear();
        }
    }
}

async fn listen(track: Arc<dyn TrackRemote>, seen: Arc<Seen>) {
    while let Some(event) = track.poll().await {
        seen.sounds.fetch_add(u64::from(matches!(event, TrackRemoteEvent::OnRtpPacket(_))), Relaxed);
    }
}

/// A viewer with a session.
pub struct WebrtcViewer {
    connection: Arc<dyn PeerConnection>,
    http: reqwest::Client,
    answer: String,
    /// The session's URL.
    pub session: String,
    pub seen: Arc<Seen>,
}

impl WebrtcViewer {
    /// Offers pictures and sound, and takes the answer.
    pub async fn join(http: &reqwest::Client, url: &str) -> Self {
        let seen = Arc::<Seen>::default();
        let mut media = MediaEngine::default();
        media.register_default_codecs().unwrap();
        let interceptors = register_default_interceptors(Registry::new(), &mut media).unwrap();
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_interceptor_registry(interceptors)
            .with_handler(Arc::new(Handler(seen.clone())))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()]);
        let connection: Arc<dyn PeerConnection> = Arc::new(building.build().await.unwrap());
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit { direction, ..Default::default() };
            connection.add_transceiver_from_kind(kind, Some(init)).await.unwrap();
        }
        let offer = offer(&connection, &seen).await;
        let request = http.post(url).header("content-type", "application/sdp").body(offer);
        let response = request.send().await.unwrap();
        let (status, headers, base) = (response.status(), response.headers().clone(), response.url().clone());
        let answer = response.text().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let session = base.join(headers["location"].to_str().unwrap()).unwrap().to_string();
        let taken = connection.set_remote_description(RTCSessionDescription::answer(answer.clone()).unwrap()).await;
        taken.unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        Self { connection, http: http.clone(), answer, session, seen }
    }

    /// Waits until what was seen is `enough`.
    pub async fn until(&self, what: &str, enough: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.seen) {
            assert!(Instant::now() < deadline, "not {what} after {PATIENCE:?}: {:?}", self.seen);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Restarts ICE over the session (RFC 9725 §4.3.3).
    pub async fn restart_ice(&mut self) {
        self.connection.restart_ice().await.unwrap();
        let offer = offer(&self.connection, &self.seen).await;
        let line = |text: &str, name: &str| {
            let found = text.lines().find(|line| line.starts_with(name));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let [ufrag, pwd, mid] = ["a=ice-ufrag:", "a=ice-pwd:", "a=mid:"].map(|name| line(&offer, name));
        let fragment = format!("{ufrag}\r\n{pwd}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\n{mid}\r\n");
        let request = self.http.patch(&self.session).header("if-match", "*").body(fragment);
        let response = request.header("content-type", "application/trickle-ice-sdpfrag").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let theirs = response.text().await.unwrap();
        let renew = |old: &str| match old.split_once(':') {
            Some((name @ ("a=ice-ufrag" | "a=ice-pwd"), _)) => line(&theirs, name),
            _ => old.to_owned(),
        };
        let answer = self.answer.lines().map(|old| renew(old) + "\r\n").collect::<String>();
        assert_ne!(answer, self.answer, "new credentials");
        self.connection.set_remote_description(RTCSessionDescription::answer(answer.clone()).unwrap()).await.unwrap();
        self.answer = answer;
    }

    /// Ends the session, and says what came of it.
    pub async fn delete(&self) -> StatusCode {
        self.http.delete(&self.session).send().await.unwrap().status()
    }
}

/// A new offer, its candidates gathered.
async fn offer(connection: &Arc<dyn PeerConnection>, seen: &Seen) -> String {
    let offer = connection.create_offer(None).await.unwrap();
    connection.set_local_description(offer).await.unwrap();
    // A restart may have none to gather.
    let _ = tokio::time::timeout(Duration::from_secs(2), seen.gathered.notified()).await;
    connection.local_description().await.unwrap().sdp
}
