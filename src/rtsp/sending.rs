//! What one reader is sent: its tracks with their numbers, its clock, and its sender reports. Sans-IO.
//!
//! Sequence numbers count the packets a reader is sent, so that they are contiguous also where units were skipped for
//! it: loss in its reports is loss on its way (RFC 3550 §6.4.1). Timestamps are the unit's times on the reader's
//! timeline ([`StartClock`]) in ticks of the track.

use std::{sync::Arc, time::Duration};

use super::{
    reports::Feedback,
    session::{Setup, TrackPosition},
    start_clock::StartClock,
    transport::Agreed,
};
use crate::{
    base::{Monotonic, WallTime},
    hub::Backlog,
    media::{ClockRate, MediaTime, TrackId, TrackSet, Unit},
    rtp::rtcp::SenderReport,
};

/// The longest RTP payload that a `$` frame and a UDP datagram can carry.
const PAYLOAD_MAX: usize = 65_000;

/// A unit on its way to one reader.
#[derive(Clone, Debug)]
pub(super) struct Stamped {
    pub(super) unit: Arc<Unit>,
    /// The channel of its packets, if they are interleaved.
    pub(super) channel: u8,
    pub(super) payload_type: u8,
    /// The number of its first packet.
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// It is part of the start burst.
    pub(super) backlog: bool,
}

/// One track of a reader.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) track: TrackId,
    pub(super) agreed: Agreed,
    pub(super) ssrc: u32,
    payload_type: u8,
    clock_rate: ClockRate,
    /// The start burst and the live edge are counted by this track.
    leads: bool,
    /// The next packet's number.
    sequence: u16,
    /// The RTP timestamp of the reader's time zero.
    zero: u32,
    packets: u32,
    octets: u32,
    /// What its reader reports.
    pub(super) feedback: Arc<Feedback>,
}

impl Outgoing {
    /// Whether reports on this track come in on `channel`.
    pub(super) fn is_control_channel(&self, channel: u8) -> bool {
        matches!(self.agreed, Agreed::Tcp { rtcp, .. } if rtcp == channel)
    }

    fn timestamp(&self, place: MediaTime) -> u32 {
        self.zero.wrapping_add(place.ticks(self.clock_rate) as u32)
    }
}

/// What one reader is sent.
#[derive(Debug, Default)]
pub(super) struct Sending {
    tracks: Vec<Outgoing>,
    clock: StartClock,
    /// The newest live unit of the track that reports go by.
    newest: Option<Newest>,
    /// Nanoseconds from the ring's timeline to the wall clock.
    wall_offset: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    pts: MediaTime,
    captured: Option<WallTime>,
    arrived: Monotonic,
}

impl Sending {
    /// Takes the tracks that were set up, those it has with the numbers they have reached. Tracks the set does not
    /// have are left out.
    pub(super) fn set_up(&mut self, setups: &[Setup], set: &TrackSet) {
        let leading = set.leading().map(|track| track.id);
        let outgoing = |setup: &Setup| {
            if let Some(known) = self.tracks.iter().find(|out| out.ssrc == setup.ssrc) {
                return Some(known.clone());
            }
            let track = set.track(setup.track)?;
            Some(Outgoing {
                track: setup.track,
                agreed: setup.agreed,
                ssrc: setup.ssrc,
                payload_type: setup.payload_type,
                clock_rate: track.clock_rate,
                leads: leading.is_none_or(|leading| leading == setup.track),
                sequence: setup.sequence,
                zero: setup.timestamp,
                packets: 0,
                octets: 0,
                feedback: Arc::default(),
            })
        };
        self.tracks = setups.iter().filter_map(outgoing).collect();
    }

    /// Begins, or begins again after a pause, at `npt` on the reader's timeline, with what lies between the reader's
    /// start and the live edge.
    pub(super) fn begin(&mut self, npt: MediaTime, backlog: Option<Backlog>) {
        self.clock = StartClock::new(npt, backlog);
        self.newest = None;
    }

    /// The numbers that the first packets from `npt` on will have.
    pub(super) fn positions(&self, npt: MediaTime) -> Vec<TrackPosition> {
        let position =
            |out: &Outgoing| TrackPosition { track: out.track, sequence: out.sequence, timestamp: out.timestamp(npt) };
        self.tracks.iter().map(position).collect()
    }

    pub(super) fn tracks(&self) -> &[Outgoing] {
        &self.tracks
    }

    /// Stops sending a track.
    pub(super) fn remove(&mut self, track: TrackId) {
        self.tracks.retain(|out| out.track != track);
    }

    /// How long after the start a unit of the start burst may leave.
    pub(super) fn leaves_after(&mut self, unit: &Unit) -> Duration {
        let leads = self.tracks.iter().any(|out| out.track == unit.track.id && out.leads);
        if leads { self.clock.leaves_after(unit.pts) } else { Duration::ZERO }
    }

    /// Gives a unit its numbers; `None` if this reader is not sent it.
    pub(super) fn admit(&mut self, unit: Arc<Unit>, backlog: bool) -> Option<Stamped> {
        let leads = self.tracks.iter().any(|out| out.leads);
        let out = self.tracks.iter_mut().find(|out| out.track == unit.track.id)?;
        // A lone fragment may be as long as its source made it; neither a frame nor a datagram holds more than this.
        match &unit.plan.fragments[..] {
            [] => return None,
            [only] if only.payload_len() > PAYLOAD_MAX => return None,
            _ => {}
        }
        let place = self.clock.place(unit.pts, out.leads)?;
        let sequence = out.sequence;
        out.sequence = sequence.wrapping_add(unit.plan.fragments.len() as u16);
        out.packets = out.packets.wrapping_add(unit.plan.fragments.len() as u32);
        out.octets = out.octets.wrapping_add(unit.plan.payload_len() as u32);
        let channel = match out.agreed {
            Agreed::Tcp { rtp, .. } => rtp,
            Agreed::Udp { .. } => 0,
        };
        let (payload_type, timestamp, ssrc) = (out.payload_type, out.timestamp(place), out.ssrc);
        if self.clock.is_true(unit.pts) && (out.leads || !leads) {
            let (pts, captured, arrived) = (unit.pts, unit.captured, unit.arrived);
            self.newest = Some(Newest { pts, captured, arrived });
        }
        Some(Stamped { unit, channel, payload_type, sequence, timestamp, ssrc, backlog })
    }

    /// Takes back a unit none of whose packets was sent; the newest first.
    pub(super) fn take_back(&mut self, stamped: &Stamped) {
        let Some(out) = self.tracks.iter_mut().find(|out| out.ssrc == stamped.ssrc) else { return };
        out.sequence = stamped.sequence;
        out.packets = out.packets.wrapping_sub(stamped.unit.plan.fragments.len() as u32);
        out.octets = out.octets.wrapping_sub(stamped.unit.plan.payload_len() as u32);
    }

    /// Whether a report can say something true: live units flow.
    pub(super) fn can_report(&self) -> bool {
        self.newest.is_some()
    }

    /// The reports of all tracks: one moment, that of the newest live unit, on the wall clock and on the clock of each
    /// track (RFC 3550 §6.4.1, RT-13). It lies a little in the past, because receivers drop reports that lie ahead of
    /// the newest packet.
    pub(super) fn reports(
        &mut self,
        now: Monotonic,
        wall: WallTime,
    ) -> impl Iterator<Item = (&Outgoing, SenderReport)> {
        let moment = self.newest.and_then(|newest| {
            let place = self.clock.true_place(newest.pts)?;
            Some((place, self.capture_time(newest, now, wall)))
        });
        self.tracks.iter().filter_map(move |out| {
            let (place, wall) = moment?;
            let (packets, octets) = (out.packets, out.octets);
            let rtp_timestamp = out.timestamp(place);
            Some((out, SenderReport { ssrc: out.ssrc, ntp: wall.to_ntp(), rtp_timestamp, packets, octets }))
        })
    }

    /// When the newest unit was taken: as its camera says, else as its arrival tells, with the jitter of arrivals
    /// smoothed away.
    fn capture_time(&mut self, newest: Newest, now: Monotonic, wall: WallTime) -> WallTime {
        /// Beyond this the clock was stepped.
        const STEP: i64 = 500_000_000;
        let pts = newest.pts.nanos();
        let Some(captured) = newest.captured else {
            let ago = i64::try_from(now.since(newest.arrived).as_nanos()).unwrap_or(i64::MAX);
            let seen = wall.unix_nanos().saturating_sub(ago).saturating_sub(pts);
            let offset = match self.wall_offset {
                Some(offset) if (seen - offset).abs() < STEP => offset + (seen - offset) / 8,
                _ => seen,
            };
            self.wall_offset = Some(offset);
            return WallTime::from_unix_nanos(pts.saturating_add(offset));
        };
        self.wall_offset = Some(captured.unix_nanos().saturating_sub(pts));
        captured
    }
}
