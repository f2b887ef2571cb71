//! Media over UDP, as `retina` is shown it: interleaved on its connection (RFC 2326 §10.12). Sans-IO; `bridge` drives it.
//!
//! `retina` drops what comes out of order, wants a `server_port` (§12.39), and hides a camera's ports. Here SETUP asks
//! for ports of ours, what comes on them is put in order, and whoever the camera sends from is answered.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    base::Monotonic,
    rtp::{
        packet::{self, HEADER_LEN, Header},
        resequence::{Patience, Resequencer},
        rtcp,
    },
};

/// How long a gap in a track's packets is waited for: Wi-Fi repeats a frame within that.
const PATIENCE: Patience = Patience { wait: std::time::Duration::from_millis(50), packets: 64 };

/// Reports are due this often, and with them the firewall is kept open (RFC 3550 §6.2 has 5 s at least).
const REPORT_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// Our own source in reports; it sends nothing else.
const OUR_SSRC: u32 = 0x6361_6d70;

/// One track, in the order of SETUP.
#[derive(Debug)]
struct Lane {
    /// The channels that `retina` asked for.
    channels: (u8, u8),
    /// Where the camera said it sends from.
    theirs: Option<(SocketAddr, SocketAddr)>,
    /// Whom packets are taken from; `None` until SETUP was granted.
    sender: Option<IpAddr>,
    order: Resequencer<Bytes>,
}

/// What is to be sent to the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transmit {
    /// The track whose sockets it leaves by.
    pub(super) lane: usize,
    /// By the socket for reports.
    pub(super) control: bool,
    pub(super) to: SocketAddr,
    pub(super) contents: Vec<u8>,
}

/// The tracks of one session.
#[derive(Debug)]
pub(super) struct Datagrams {
    camera: IpAddr,
    /// Ports of ours for the next track.
    spare: Option<(u16, u16)>,
    lanes: Vec<Lane>,
    transmits: Vec<Transmit>,
    report_at: Option<Monotonic>,
    out: BytesMut,
}

impl Datagrams {
    /// For a conversation with the camera at an address.
    pub(super) fn new(camera: IpAddr) -> Self {
        let (lanes, transmits) = (Vec::new(), Vec::new());
        Self { camera, spare: None, lanes, transmits, report_at: None, out: BytesMut::new() }
    }

    /// The track that needs ports before its SETUP is asked for.
    pub(super) const fn wants_ports(&self) -> bool {
        self.spare.is_none()
    }

    pub(super) const fn offer_ports(&mut self, ports: (u16, u16)) {
        self.spare = Some(ports);
    }

    /// What to ask the camera for instead of what `retina` asks for.
    pub(super) fn request(&mut self, transport: &str) -> Option<String> {
        let channels = pair(transport, "interleaved")
            .and_then(|(rtp, rtcp)| Some((rtp.try_into().ok()?, rtcp.try_into().ok()?)))?;
        let (rtp, rtcp) = self.spare.take()?;
        self.lanes.push(Lane { channels, theirs: None, sender: None, order: Resequencer::new(PATIENCE) });
        Some(format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}"))
    }

    /// What to tell `retina` instead of what the camera granted for the newest track; `None` if that cannot be had.
    pub(super) fn answer(&mut self, transport: &str) -> Option<String> {
        if pair(transport, "interleaved").is_some() {
            // It sends on the connection whatever it was asked for.
            return Some(transport.to_owned());
        }
        if transport.to_ascii_lowercase().contains(";multicast") {
            return None;
        }
        let lane = self.lanes.last_mut()?;
        let sender = parameter(transport, "source").and_then(|source| source.parse().ok()).unwrap_or(self.camera);
        // OpenIPC names no port: it is seen by what comes from it.
        lane.theirs = pair(transport, "server_port")
            .filter(|ports| ports.0 != 0)
            .map(|(rtp, rtcp)| (SocketAddr::new(sender, rtp), SocketAddr::new(sender, rtcp)));
        lane.sender = Some(sender);
        if let Some((rtp, _)) = lane.theirs {
            // A firewall on our side lets in what answers us. A header without a payload is nobody's packet.
            let header = Header { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: OUR_SSRC };
            let lane = self.lanes.len() - 1;
            self.transmits.push(Transmit { lane, control: false, to: rtp, contents: header.bytes().to_vec() });
        }
        // A report opens the other port, at once.
        self.report_at = Some(Monotonic::default());
        let (rtp, rtcp) = self.lanes.last()?.channels;
        // `ssrc` is left out: cameras that announce a wrong one are not worth a session.
        Some(format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}"))
    }

    /// A datagram came on a port of a track.
    pub(super) fn handle_datagram(&mut self, lane: usize, from: SocketAddr, datagram: &[u8], now: Monotonic) {
        let Self { camera, lanes, out, .. } = self;
        let Some(lane) = lanes.get_mut(lane) else { return };
        if lane.sender != Some(from.ip().to_canonical())
            && (lane.sender.is_none() || from.ip().to_canonical() != *camera)
        {
            return;
        }
        let (rtp, control) = lane.channels;
        if packet::is_rtcp(datagram) {
            frame(out, control, datagram);
            return;
        }
        let Some(&[first, _, s0, s1, _, _, _, _, i0, i1, i2, i3]) = datagram.first_chunk::<HEADER_LEN>() else {
            return;
        };
        if first >> 6 != 2 {
            return;
        }
        lane.theirs.get_or_insert_with(|| (from, SocketAddr::new(from.ip(), from.port().wrapping_add(1))));
        let (ssrc, sequence) = (u32::from_be_bytes([i0, i1, i2, i3]), u16::from_be_bytes([s0, s1]));
        lane.order
            .handle_packet(ssrc, sequence, Bytes::copy_from_slice(datagram), now, |packet| frame(out, rtp, &packet));
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) {
        let Self { lanes, out, .. } = self;
        for lane in lanes.iter_mut() {
            let channel = lane.channels.0;
            lane.order.handle_timeout(now, |packet| frame(out, channel, &packet));
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_EVERY);
            self.report();
        }
    }

    /// When time matters next.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.lanes.iter().filter_map(|lane| lane.order.poll_timeout()).chain(self.report_at).min()
    }

    /// What is to be sent next.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop()
    }

    /// What goes to `retina`.
    pub(super) fn take_for_client(&mut self) -> BytesMut {
        self.out.split()
    }

    /// §6.4.2: a report about nothing is a sign of life.
    fn report(&mut self) {
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some((_, to)) = lane.theirs else { continue };
            let mut contents = Vec::new();
            rtcp::write_receiver_report(&mut contents, OUR_SSRC, &[], "campanile");
            self.transmits.push(Transmit { lane: index, control: true, to, contents });
        }
    }
}

/// A packet on a channel. A datagram is never longer than its length can say.
fn frame(out: &mut BytesMut, channel: u8, packet: &[u8]) {
    let Ok(length) = u16::try_from(packet.len()) else { return };
    out.reserve(4 + packet.len());
    out.put_slice(&[b'$', channel]);
    out.put_u16(length);
    out.put_slice(packet);
}

/// The value of a transport's parameter.
fn parameter<'a>(transport: &'a str, name: &str) -> Option<&'a str> {
    // §12.39: the first of several is what counts; an answer has one.
    let first = transport.split(',').next()?;
    first.split(';').skip(1).find_map(|part| {
        let (found, value) = part.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// Two ports or channels, of which the second may be left out.
fn pair(transport: &str, name: &str) -> Option<(u16, u16)> {
    let (first, second) = match parameter(transport, name)?.split_once('-') {
        Some((first, second)) => (first, second.trim().parse::<u16>().ok()),
        None => (parameter(transport, name)?, None),
    };
    let first: u16 = first.trim().parse().ok()?;
    Some((first, second.unwrap_or_else(|| first.wrapping_add(1))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMERA: &str = "10.0.0.5";

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn session(granted: &str) -> Datagrams {
        let mut media = Datagrams::new(CAMERA.parse().unwrap());
        media.offer_ports((40_000, 40_001));
        let asked = media.request("RTP/AVP/TCP;unicast;interleaved=2-3").unwrap();
        assert_eq!(asked, "RTP/AVP;unicast;client_port=40000-40001");
        assert!(media.wants_ports());
        assert_eq!(media.answer(granted).as_deref(), Some("RTP/AVP/TCP;unicast;interleaved=2-3"));
        media
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let header = Header { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc: 7 };
        [&header.bytes()[..], &[sequence as u8]].concat()
    }

    /// Channel and last byte of each frame that left.
    fn left(media: &mut Datagrams) -> Vec<(u8, u8)> {
        let bytes = media.take_for_client();
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while let [b'$', channel, high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            frames.push((*channel, tail[length - 1]));
            rest = &tail[length..];
        }
        frames
    }

    #[test]
    fn packets_out_of_order_reach_the_connection_in_order() {
        let mut media = session("RTP/AVP;unicast;client_port=40000-40001;server_port=6970-6971;ssrc=00000001");
        let from = SocketAddr::new(CAMERA.parse().unwrap(), 6970);
        for sequence in [1, 3, 2, 2, 5] {
            media.handle_datagram(0, from, &packet(sequence), at(0));
        }
        assert_eq!(left(&mut media), [(2, 1), (2, 2), (2, 3)]);
        media.handle_timeout(at(49));
        assert_eq!(left(&mut media), []);
        media.handle_timeout(at(50));
        assert_eq!(left(&mut media), [(2, 5)], "what is lost is waited for no longer");
    }

    #[test]
    fn reports_go_on_their_own_channel_whichever_port_they_come_to() {
        let mut media = session("RTP/AVP;unicast;server_port=6970-6971");
        media.handle_datagram(0, SocketAddr::new(CAMERA.parse().unwrap(), 6971), &[0x80, 201, 0, 1, 0, 0, 0, 9], at(0));
        assert_eq!(left(&mut media), [(3, 9)]);
    }

    #[test]
    fn strangers_and_what_is_no_packet_are_not_taken() {
        let mut media = session("RTP/AVP;unicast;server_port=6970-6971");
        media.handle_datagram(0, "10.0.0.6:6970".parse().unwrap(), &packet(1), at(0));
        for junk in [&b""[..], b"x", &[0x80; 11], &[0x16; 40]] {
            media.handle_datagram(0, SocketAddr::new(CAMERA.parse().unwrap(), 6970), junk, at(0));
        }
        media.handle_datagram(7, SocketAddr::new(CAMERA.parse().unwrap(), 6970), &packet(1), at(0));
        assert_eq!(left(&mut media), []);
    }

    #[test]
    fn media_of_another_host_of_the_camera_is_taken_when_announced() {
        let mut media = session("RTP/AVP;unicast;source=10.0.0.9;server_port=6970-6971");
        media.handle_datagram(0, "10.0.0.9:6970".parse().unwrap(), &packet(1), at(0));
        assert_eq!(left(&mut media), [(2, 1)]);
    }

    #[test]
    fn signs_of_life_go_to_the_ports_announced_and_keep_going() {
        let mut media = session("RTP/AVP;unicast;server_port=6970-6971");
        let sent = |media: &mut Datagrams| {
            std::iter::from_fn(|| media.poll_transmit()).map(|one| (one.control, one.to.port())).collect::<Vec<_>>()
        };
        media.handle_timeout(at(0));
        assert_eq!(sent(&mut media), [(true, 6971), (false, 6970)]);
        assert_eq!(media.poll_timeout(), Some(at(5_000)));
        media.handle_timeout(at(5_000));
        assert_eq!(sent(&mut media), [(true, 6971)]);
    }

    #[test]
    fn ports_that_nobody_announced_are_those_that_packets_come_from() {
        for granted in ["RTP/AVP;unicast;client_port=40000-40001", "RTP/AVP/UDP;unicast", "RTP/AVP;server_port=0-0", ""]
        {
            let mut media = session(granted);
            media.handle_timeout(at(0));
            assert_eq!(media.poll_transmit(), None, "{granted}");
            media.handle_datagram(0, SocketAddr::new(CAMERA.parse().unwrap(), 5000), &packet(1), at(1));
            assert_eq!(left(&mut media), [(2, 1)], "{granted}");
            media.handle_timeout(at(5_000));
            assert_eq!(media.poll_transmit().map(|one| one.to.port()), Some(5001), "{granted}");
        }
    }

    #[test]
    fn cameras_that_send_by_other_ways_than_asked_for_are_told_apart() {
        let grants = |granted| {
            let mut media = Datagrams::new(CAMERA.parse().unwrap());
            media.offer_ports((40_000, 40_001));
            media.request("RTP/AVP/TCP;unicast;interleaved=0-1").unwrap();
            media.answer(granted)
        };
        let interleaved = "RTP/AVP/TCP;unicast;interleaved=4-5";
        assert_eq!(grants(interleaved).as_deref(), Some(interleaved));
        assert_eq!(grants("RTP/AVP;multicast;destination=239.0.0.1;port=5000-5001"), None);
    }

    proptest! {
        #[test]
        fn any_answers_and_datagrams_are_taken_without_a_panic(
            granted in "[ -~]{0,60}",
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40),
        ) {
            let mut media = Datagrams::new(CAMERA.parse().unwrap());
            media.offer_ports((1, 2));
            let _ = media.request(&granted);
            let _ = media.answer(&format!("RTP/AVP;{granted}"));
            for (i, datagram) in datagrams.iter().enumerate() {
                media.handle_datagram(0, SocketAddr::new(CAMERA.parse().unwrap(), 1), datagram, at(i as u64 * 7));
                media.handle_timeout(at(i as u64 * 7));
            }
        }
    }
}
