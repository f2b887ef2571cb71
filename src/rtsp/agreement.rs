//! What a session is: the tracks its client set up, of which target, and whether they play. Values; the machine that
//! changes them is [`super::session`].

use std::sync::Arc;

use rtsp_types::StatusCode;

use super::{
    sdp,
    target::Target,
    transport::{self, Agreed, Lower, Offer, Transports},
};
use crate::{
    base::{WallTime, id::SessionId},
    media::{MediaTime, TrackId, TrackSet},
};

/// What was found behind a target.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) tracks: Arc<TrackSet>,
    /// What people call the path.
    pub(super) title: String,
    /// What the path allows.
    pub(super) transports: Transports,
}

/// A session: what one client and the server agreed on.
#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) id: SessionId,
    pub(super) target: Target,
    /// The tracks stay those it was set up with.
    pub(super) found: Found,
    pub(super) setups: Vec<Setup>,
    pub(super) playing: bool,
}

impl Found {
    /// The track a `SETUP` means; the aggregate URL means the one there is.
    pub(super) fn track_meant(&self, target: &Target, asked: Option<TrackId>) -> Result<TrackId, StatusCode> {
        let mut offered = sdp::offered(&self.tracks, target.choice.tracks);
        let track = match asked {
            Some(id) => offered.find(|track| track.id == id),
            None => match (offered.next(), offered.next()) {
                (Some(_), Some(_)) => return Err(StatusCode::AggregateOperationNotAllowed),
                (only, _) => only,
            },
        };
        track.map(|track| track.id).ok_or(StatusCode::NotFound)
    }
}

impl Agreement {
    /// A session without a track.
    pub(super) const fn new(id: SessionId, target: Target, found: Found) -> Self {
        Self { id, target, found, setups: Vec::new(), playing: false }
    }

    /// What carries its media.
    pub(super) fn lower(&self) -> Option<Lower> {
        self.setups.first().map(|setup| setup.agreed.lower())
    }

    /// What may carry its tracks: one session travels one way.
    pub(super) fn allows(&self) -> Transports {
        let own = self.lower();
        own.map_or(Transports::ALL, |lower| Transports { tcp: lower == Lower::Tcp, udp: lower == Lower::Udp })
    }

    /// Gives a track what its client asked for, in place of what it had; `None` if there is no way for it.
    pub(super) fn set_up(
        &mut self,
        track: TrackId,
        offer: Offer,
        server_ports: Option<(u16, u16)>,
        mut number: impl FnMut() -> u64,
        url: String,
    ) -> Option<&Setup> {
        self.setups.retain(|setup| setup.track != track);
        let agreed = match offer {
            Offer::Tcp(wanted) => {
                let taken: Vec<_> = self.setups.iter().filter_map(|setup| setup.agreed.channels()).collect();
                let (rtp, rtcp) = transport::channels(wanted, track, &taken)?;
                Agreed::Tcp { rtp, rtcp }
            }
            Offer::Udp(client) => Agreed::Udp { client, server: server_ports? },
        };
        let payload_type = self.found.tracks.track(track).map(|track| sdp::payload_type(track))?;
        let (ssrc, sequence, timestamp) = (number() as u32, number() as u16, number() as u32);
        self.setups.push(Setup { track, agreed, payload_type, ssrc, sequence, timestamp, url });
        self.setups.last()
    }
}

/// The numbers of a session that nobody is to guess: a row that looks random (splitmix64).
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// The row that begins with `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A track that was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) track: TrackId,
    pub(super) agreed: Agreed,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    /// The sequence number of the first packet.
    pub(super) sequence: u16,
    /// The RTP timestamp of the start.
    pub(super) timestamp: u32,
    /// The URL its client calls it by; `RTP-Info` repeats it letter by letter, since ffmpeg compares.
    pub(super) url: String,
}

#[cfg(test)]
impl Setup {
    pub(super) fn new(
        track: TrackId,
        agreed: Agreed,
        payload_type: u8,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
    ) -> Self {
        Self { track, agreed, payload_type, ssrc, sequence, timestamp, url: String::new() }
    }
}

/// Where a track stands as it begins to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackPosition {
    pub(super) track: TrackId,
    /// The number of the next packet.
    pub(super) sequence: u16,
    /// The RTP timestamp of `npt`.
    pub(super) timestamp: u32,
}

/// Where a session stands as it begins to play.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The time of the start on the reader's timeline.
    pub(super) npt: MediaTime,
    /// The same moment on the wall clock.
    pub(super) wall: WallTime,
    pub(super) tracks: Vec<TrackPosition>,
}
