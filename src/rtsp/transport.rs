//! The `Transport` header (RFC 2326 §12.39): which of the offered transports a track gets. Sans-IO.
//!
//! Read by hand: cameras' recorders and players write it with spaces, odd case and parameters of their own, and the
//! parser of `rtsp-types` does not survive a lone quote.

use std::fmt;

use crate::media::TrackId;

/// What carries media to an RTSP reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lower {
    /// `$` frames in the connection.
    Tcp,
    /// Datagrams to a pair of ports of the client.
    Udp,
}

/// Which of them are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// Interleaved.
    pub tcp: bool,
    /// UDP unicast.
    pub udp: bool,
}

impl Transports {
    /// Both.
    pub const ALL: Self = Self { tcp: true, udp: true };

    /// What this and `other` allow both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { tcp: self.tcp && other.tcp, udp: self.udp && other.udp }
    }

    pub(super) const fn allows(self, lower: Lower) -> bool {
        match lower {
            Lower::Tcp => self.tcp,
            Lower::Udp => self.udp,
        }
    }
}

/// One acceptable offer of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// With the channels it asked for, if any.
    Tcp(Option<(u8, u8)>),
    /// With its ports of RTP and RTCP.
    Udp((u16, u16)),
}

impl Offer {
    pub(super) const fn lower(self) -> Lower {
        match self {
            Self::Tcp(_) => Lower::Tcp,
            Self::Udp(_) => Lower::Udp,
        }
    }
}

/// What a track travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    /// Channels of RTP and RTCP.
    Tcp { rtp: u8, rtcp: u8 },
    /// Ports of the client and of the server.
    Udp { client: (u16, u16), server: (u16, u16) },
}

impl Agreed {
    pub(super) const fn lower(self) -> Lower {
        match self {
            Self::Tcp { .. } => Lower::Tcp,
            Self::Udp { .. } => Lower::Udp,
        }
    }

    /// The channels it takes in its connection.
    pub(super) const fn channels(self) -> Option<(u8, u8)> {
        match self {
            Self::Tcp { rtp, rtcp } => Some((rtp, rtcp)),
            Self::Udp { .. } => None,
        }
    }
}

/// The answer to a `Transport` header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) agreed: Agreed,
    pub(super) ssrc: u32,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.agreed {
            Agreed::Tcp { rtp, rtcp } => write!(f, "RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}")?,
            Agreed::Udp { client, server } => write!(
                f,
                "RTP/AVP;unicast;client_port={}-{};server_port={}-{}",
                client.0, client.1, server.0, server.1
            )?,
        }
        write!(f, ";ssrc={:08X}", self.ssrc)
    }
}

/// The first offer that `allowed` takes: the list is in the client's order of preference.
pub(super) fn choose(header: &str, allowed: Transports) -> Option<Offer> {
    header.split(',').filter_map(offer).find(|offer| allowed.allows(offer.lower()))
}

/// Reads one item of the list; `None` if it is nothing that is spoken here.
fn offer(item: &str) -> Option<Offer> {
    let mut parameters = item.split(';').map(str::trim);
    let profile = parameters.next()?.to_ascii_uppercase();
    let lower = match profile.as_str() {
        // Without a lower transport it is UDP. Secure profiles have no keys here and are passed over.
        "RTP/AVP" | "RTP/AVP/UDP" => Lower::Udp,
        "RTP/AVP/TCP" => Lower::Tcp,
        _ => return None,
    };
    let (mut ports, mut channels) = (None, None);
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "multicast" => return None,
            "interleaved" => channels = Some(channel_pair(value)?),
            "client_port" => ports = Some(pair(value)?),
            // Publishing has a door of its own.
            "mode" if !value.trim().trim_matches('"').eq_ignore_ascii_case("play") => return None,
            // `destination` is never followed: media go where the requests come from.
            _ => {}
        }
    }
    match lower {
        Lower::Tcp => Some(Offer::Tcp(channels)),
        Lower::Udp => ports.filter(|(rtp, rtcp)| *rtp != 0 && *rtcp != 0).map(Offer::Udp),
    }
}

/// `5000-5001`, or `5000` with the next one meant.
fn pair(text: &str) -> Option<(u16, u16)> {
    let text = text.trim().trim_matches('"');
    match text.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first: u16 = text.parse().ok()?;
            Some((first, first.checked_add(1)?))
        }
    }
}

fn channel_pair(text: &str) -> Option<(u8, u8)> {
    let (rtp, rtcp) = pair(text)?;
    Some((u8::try_from(rtp).ok()?, u8::try_from(rtcp).ok()?))
}

/// The channels a track gets: those its client asked for, unless another track has them, else the next free pair.
pub(super) fn channels(wanted: Option<(u8, u8)>, track: TrackId, taken: &[(u8, u8)]) -> Option<(u8, u8)> {
    let free = |(rtp, rtcp): (u8, u8)| {
        rtp != rtcp && taken.iter().all(|(a, b)| ![*a, *b].contains(&rtp) && ![*a, *b].contains(&rtcp))
    };
    let own = track.0.checked_mul(2).and_then(|rtp| Some((rtp, rtp.checked_add(1)?)));
    let any = (0..=127_u8).map(|n| (2 * n, 2 * n + 1));
    wanted.into_iter().chain(own).chain(any).find(|pair| free(*pair))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_acceptable_transport_of_a_list_is_taken_rt_04() {
        let tcp = Transports { tcp: true, udp: false };
        let udp = Transports { tcp: false, udp: true };
        let table = [
            ("RTP/AVP;unicast;client_port=5000-5001", Transports::ALL, Some(Offer::Udp((5000, 5001)))),
            ("RTP/AVP/UDP;unicast;client_port=5000-5001;mode=play", Transports::ALL, Some(Offer::Udp((5000, 5001)))),
            ("RTP/AVP/TCP;unicast;interleaved=2-3", Transports::ALL, Some(Offer::Tcp(Some((2, 3))))),
            ("RTP/AVP/TCP;unicast", Transports::ALL, Some(Offer::Tcp(None))),
            ("rtp/avp/tcp; Interleaved=4 - 5 ;mode=\"PLAY\"", Transports::ALL, Some(Offer::Tcp(Some((4, 5))))),
            ("RTP/AVP;unicast;client_port=5000", udp, Some(Offer::Udp((5000, 5001)))),
            (
                "RTP/AVP;multicast,RTP/AVP;unicast;client_port=6-7,RTP/AVP/TCP;interleaved=0-1",
                Transports::ALL,
                Some(Offer::Udp((6, 7))),
            ),
            ("RTP/AVP;unicast;client_port=6-7, RTP/AVP/TCP;interleaved=0-1", tcp, Some(Offer::Tcp(Some((0, 1))))),
            ("RTP/AVP;unicast;client_port=6-7", tcp, None),
            ("RTP/AVP/TCP;interleaved=0-1", udp, None),
            ("RTP/SAVP;unicast;client_port=6-7", Transports::ALL, None),
            ("RTP/AVP;unicast;client_port=0-1", Transports::ALL, None),
            ("RTP/AVP;unicast", Transports::ALL, None),
            ("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record", Transports::ALL, None),
            ("RTP/AVP;unicast;client_port=70000-70001", Transports::ALL, None),
            ("", Transports::ALL, None),
        ];
        for (header, allowed, offer) in table {
            assert_eq!(choose(header, allowed), offer, "{header}");
        }
    }

    #[test]
    fn the_answer_names_channels_or_ports_and_the_source() {
        let agreed = Agreed::Tcp { rtp: 2, rtcp: 3 };
        let answer = Answer { agreed, ssrc: 0xbeef }.to_string();
        assert_eq!(answer, "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=0000BEEF");
        let agreed = Agreed::Udp { client: (5000, 5001), server: (8000, 8001) };
        let answer = Answer { agreed, ssrc: 1 }.to_string();
        assert_eq!(answer, "RTP/AVP;unicast;client_port=5000-5001;server_port=8000-8001;ssrc=00000001");
    }

    #[test]
    fn channels_never_collide() {
        assert_eq!(channels(Some((4, 5)), TrackId(0), &[]), Some((4, 5)));
        assert_eq!(channels(None, TrackId(1), &[(0, 1)]), Some((2, 3)));
        assert_eq!(channels(Some((0, 1)), TrackId(1), &[(0, 1)]), Some((2, 3)));
        assert_eq!(channels(Some((1, 2)), TrackId(1), &[(0, 1), (2, 3)]), Some((4, 5)));
        assert_eq!(channels(Some((7, 7)), TrackId(0), &[]), Some((0, 1)));
        assert_eq!(channels(None, TrackId(200), &[]), Some((0, 1)));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in "[ -~]{0,80}", odd in "RTP/AVP(/TCP|/UDP)?(;[a-z_]{0,12}=?[\"0-9a-z/-]{0,6}){0,4},?") {
            let _ = choose(&header, Transports::ALL);
            let _ = choose(&odd, Transports::ALL);
        }
    }
}
