//! VLC's dialogue, which is live555's, as a scripted client: Debian's VLC has no RTSP client inside.
//!
//! Its requests and their order, the spelling of its headers, `client_port` before anything else, its two dummy packets
//! to open firewalls (0xFEEDFACE), receiver reports from the RTCP port, GET_PARAMETER as keep-alive only when OPTIONS
//! offered it, TEARDOWN on the URL it played.

use std::{collections::VecDeque, time::Duration};

use tokio::{net::UdpSocket, time::timeout};

use super::{
    process::PATIENCE,
    rtsp_client::{Answer, Rtp, RtspClient, controls},
};

const USER_AGENT: &str = "LibVLC/3.0.21 (LIVE555 Streaming Media v2016.11.28)";

/// A playing VLC.
pub struct VlcLikeClient {
    client: RtspClient,
    /// The URL of aggregate requests: the base the server gave.
    base: String,
    keep_alive: &'static str,
    /// Seconds of the session's time-out.
    pub session_timeout: u64,
    pub sdp: String,
    /// The answer to PLAY.
    pub played: Answer,
    udp: Vec<(UdpSocket, UdpSocket)>,
    /// Frames of one channel that came while another was awaited.
    passed_over: VecDeque<(u8, Vec<u8>)>,
}

impl VlcLikeClient {
    /// Opens a URL as `vlc URL` does (over UDP), or as `vlc --rtsp-tcp URL`.
    pub async fn open(url: &str, tcp: bool) -> Self {
        let parsed = url::Url::parse(url).unwrap();
        let address = format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap());
        let mut client = RtspClient::connect(address.parse().unwrap()).await;
        client.user_agent = USER_AGENT.to_owned();
        let options = client.ask("OPTIONS", url, &[]).await.ok();
        let public = options.header("Public").unwrap_or_default().to_owned();
        let keep_alive = if public.contains("GET_PARAMETER") { "GET_PARAMETER" } else { "OPTIONS" };
        let described = client.ask("DESCRIBE", url, &[("Accept", "application/sdp")]).await.ok();
        assert_eq!(described.header("Content-Type"), Some("application/sdp"));
        let base = described.header("Content-Base").unwrap_or(url).to_owned();
        let (mut udp, mut session_timeout) = (Vec::new(), 60);
        for (index, control) in controls(&described.body, &base).iter().enumerate() {
            let transport = if tcp {
                format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * index, 2 * index + 1)
            } else {
                let (rtp, rtcp) = super::udp_pair().await;
                let port = rtp.local_addr().unwrap().port();
                udp.push((rtp, rtcp));
                format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
            };
            let answer = client.ask("SETUP", control, &[("Transport", &transport)]).await.ok();
            let session = answer.header("Session").unwrap();
            if let Some((_, seconds)) = session.split_once(";timeout=") {
                session_timeout = seconds.parse().unwrap();
            }
            let transport = answer.header("Transport").unwrap();
            if let Some((rtp, rtcp)) = udp.get(index) {
                let ports = transport.split(';').find_map(|part| part.strip_prefix("server_port=")).unwrap();
                let (first, second) = ports.split_once('-').unwrap();
                let host = parsed.host_str().unwrap();
                rtp.connect((host, first.parse().unwrap())).await.unwrap();
                rtcp.connect((host, second.parse().unwrap())).await.unwrap();
            }
        }
        let played = client.ask("PLAY", &base, &[("Range", "npt=0.000-")]).await.ok();
        for (rtp, rtcp) in &udp {
            // live555 sends two, so that a loss does no harm.
            for _ in 0..2 {
                rtp.send(&[0xfe, 0xed, 0xfa, 0xce]).await.unwrap();
                rtcp.send(&[0xfe, 0xed, 0xfa, 0xce]).await.unwrap();
            }
        }
        Self {
            client,
            base,
            keep_alive,
            session_timeout,
            sdp: described.body,
            played,
            udp,
            passed_over: VecDeque::new(),
        }
    }

    /// The next RTP packet of a track.
    pub async fn packet(&mut self, track: usize) -> Rtp {
        if let Some((rtp, _)) = self.udp.get(track) {
            let mut buffer = [0; 2048];
            let length = timeout(PATIENCE, rtp.recv(&mut buffer)).await.expect("RTP comes over UDP").unwrap();
            return Rtp::parse(&buffer[..length]);
        }
        Rtp::parse(&self.frame(2 * track).await)
    }

    /// The next RTCP packet of a track.
    pub async fn report(&mut self, track: usize) -> Vec<u8> {
        if let Some((_, rtcp)) = self.udp.get(track) {
            let mut buffer = [0; 2048];
            let length = timeout(PATIENCE, rtcp.recv(&mut buffer)).await.expect("RTCP comes over UDP").unwrap();
            return buffer[..length].to_vec();
        }
        self.frame(2 * track + 1).await
    }

    /// The next interleaved frame of a channel.
    async fn frame(&mut self, channel: usize) -> Vec<u8> {
        let found = self.passed_over.iter().position(|(of, _)| usize::from(*of) == channel);
        if let Some((_, frame)) = found.and_then(|position| self.passed_over.remove(position)) {
            return frame;
        }
        let wait = async {
            loop {
                let (of, frame) = self.client.frame(PATIENCE).await.expect("the connection stays");
                if usize::from(of) == channel {
                    return frame;
                }
                self.passed_over.push_back((of, frame));
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("nothing comes on channel {channel}"))
    }

    /// Sends a receiver report with one report block, as live555 does every five seconds or so.
    pub async fn send_receiver_report(&mut self, track: usize, about: u32) {
        let mut report = vec![0x81, 201, 0, 7];
        report.extend(0x5649_4c43_u32.to_be_bytes());
        report.extend(about.to_be_bytes());
        report.extend([0; 20]);
        if let Some((_, rtcp)) = self.udp.get(track) {
            rtcp.send(&report).await.unwrap();
        } else {
            let mut frame = vec![b'$', u8::try_from(2 * track + 1).unwrap()];
            frame.extend(u16::try_from(report.len()).unwrap().to_be_bytes());
            frame.extend(report);
            self.client.send(&frame).await;
        }
    }

    /// The keep-alive it chose from OPTIONS.
    pub async fn keep_alive(&mut self) -> Answer {
        self.client.ask(self.keep_alive, &self.base.clone(), &[]).await
    }

    /// Pause and play again, as the space bar does.
    pub async fn pause_and_resume(&mut self) -> (Answer, Answer) {
        let base = self.base.clone();
        let paused = self.client.ask("PAUSE", &base, &[]).await;
        (paused, self.client.ask("PLAY", &base, &[("Range", "npt=now-")]).await)
    }

    /// TEARDOWN, after which the server may close the connection.
    pub async fn close(&mut self) -> Answer {
        let base = self.base.clone();
        self.client.ask("TEARDOWN", &base, &[]).await
    }

    /// Whether a UDP track falls silent: no packet for `span` within thrice that time.
    pub async fn falls_silent(&self, track: usize, span: Duration) -> bool {
        let (rtp, _) = &self.udp[track];
        let mut buffer = [0; 2048];
        let silence = async { while timeout(span, rtp.recv(&mut buffer)).await.is_ok() {} };
        timeout(span * 3, silence).await.is_ok()
    }
}
