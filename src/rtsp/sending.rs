//! What one reader is sent: its tracks with their numbers, its clock, and its sender reports. Sans-IO.
//!
//! Sequence numbers count the packets a reader is sent, so that they are contiguous also where units were skipped for
//! it: loss in its reports is loss on its way (RFC 3550 §6.4.1). Timestamps are the unit's times on the reader's
//! timeline ([`StartClock`]) in ticks of the track.

use std::{sync::Arc, time::Duration};

use super::{
    agreement::{Setup, TrackPosition},
    reports::Feedback,
    start_clock::StartClock,
    transport::Agreed,
};
use crate::{
    base::{Monotonic, WallTime},
    hub::Backlog,
    media::{ClockRate, Fragment, MediaTime, TrackId, TrackSet, Unit},
    rtp::{packet, rtcp::SenderReport},
};

/// The longest RTP payload that a `$` frame can carry: its length has 16 bits.
const PAYLOAD_MAX: usize = u16::MAX as usize - packet::HEADER_LEN;

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

impl Stamped {
    /// The header of the packet that carries its fragment `number`.
    pub(super) const fn header(&self, number: usize, fragment: &Fragment) -> packet::Header {
        packet::Header {
            marker: fragment.marker(),
            payload_type: self.payload_type,
            sequence: self.sequence.wrapping_add(number as u16),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
    }
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
    /// Packets that are longer than anything carries, since this was last asked.
    oversized: u64,
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
            let leads = leading.is_none_or(|leading| leading == setup.track);
            let feedback = if leads { Feedback::leading(track.clock_rate) } else { Feedback::default() };
            Some(Outgoing {
                track: setup.track,
                agreed: setup.agreed,
                ssrc: setup.ssrc,
                payload_type: setup.payload_type,
                clock_rate: track.clock_rate,
                leads,
                sequence: setup.sequence,
                zero: setup.timestamp,
                packets: 0,
                octets: 0,
                feedback: Arc::new(feedback),
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
            [only] if only.payload_len() > PAYLOAD_MAX => {
                self.oversized += 1;
                return None;
            }
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

    /// How many packets were left out since this was last asked, being longer than anything carries.
    pub(super) fn take_oversized(&mut self) -> u64 {
        std::mem::take(&mut self.oversized)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        media::{
            CodecParameters, MediaKind, PictureSize, Plan, TrackDescription, plan::Body, testing::track_set,
            track::OpaqueParameters,
        },
        rtsp::transport::Agreed,
    };

    const SECOND: u64 = 1_000_000_000;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(86_400 * SECOND + millis * 1_000_000)
    }

    fn wall(millis: i64) -> WallTime {
        WallTime::from_unix_nanos(1_700_000_000 * SECOND as i64 + millis * 1_000_000)
    }

    fn tracks() -> TrackSet {
        let opaque =
            OpaqueParameters { encoding: "PCMU".into(), channels: None, fmtp: None, static_payload_type: None };
        let parameters = [CodecParameters::Vp8(PictureSize::default()), CodecParameters::Opaque(opaque)];
        let track = |(id, parameters): (usize, CodecParameters)| {
            let (kind, clock_rate) =
                if id == 0 { (MediaKind::Video, ClockRate::VIDEO) } else { (MediaKind::Audio, ClockRate::TELEPHONE) };
            TrackDescription { kind, clock_rate, parameters }
        };
        track_set(parameters.into_iter().enumerate().map(track).collect())
    }

    fn unit(set: &TrackSet, track: usize, millis: i64, packets: usize, captured: Option<WallTime>) -> Arc<Unit> {
        let payload = Bytes::from(vec![0; packets * 10]);
        let fragment = |n| Fragment::new(&[1], Body::Payload, n * 10..n * 10 + 10, n + 1 == packets).unwrap();
        Arc::new(Unit {
            track: set.tracks[track].clone(),
            index: 0,
            pts: MediaTime::from_millis(millis),
            dts: MediaTime::from_millis(millis),
            captured,
            arrived: at(millis as u64),
            random_access: true,
            after_loss: false,
            spliced: false,
            payload,
            plan: Plan { first_packet: 77, lead: Bytes::new(), fragments: (0..packets).map(fragment).collect() },
        })
    }

    fn sending(set: &TrackSet) -> Sending {
        let setup = |track: u8| {
            let agreed = Agreed::Tcp { rtp: 2 * track, rtcp: 2 * track + 1 };
            Setup::new(TrackId(track), agreed, 96 + track, 100 + u32::from(track), 65_534, u32::MAX - 10)
        };
        let mut sending = Sending::default();
        sending.set_up(&[setup(0), setup(1)], set);
        sending.begin(MediaTime::ZERO, None);
        sending
    }

    #[test]
    fn numbers_wrap_and_count_what_is_sent_whatever_was_skipped() {
        let set = tracks();
        let mut sending = sending(&set);
        assert_eq!(sending.positions(MediaTime::ZERO)[0].sequence, 65_534);
        let first = sending.admit(unit(&set, 0, 1000, 3, None), true).unwrap();
        let second = sending.admit(unit(&set, 0, 9000, 2, None), false).unwrap();
        assert_eq!((first.sequence, first.timestamp), (65_534, u32::MAX - 10));
        assert_eq!((second.sequence, second.timestamp), (1, 8 * 90_000 - 11));
        let sound = sending.admit(unit(&set, 1, 1020, 1, None), false).unwrap();
        assert_eq!((sound.sequence, sound.timestamp, sound.channel), (65_534, 160 - 11, 2));
        assert!(sending.admit(unit(&set, 0, 9040, 0, None), false).is_none(), "nothing to send");
    }

    #[test]
    fn what_is_taken_back_was_never_counted() {
        let set = tracks();
        let mut sending = sending(&set);
        sending.admit(unit(&set, 0, 0, 3, None), false).unwrap();
        let before = sending.tracks[0].clone();
        let stamped: Vec<_> =
            [40, 80].iter().map(|millis| sending.admit(unit(&set, 0, *millis, 3, None), false).unwrap()).collect();
        stamped.iter().rev().for_each(|stamped| sending.take_back(stamped));
        let after = &sending.tracks[0];
        assert_eq!((after.sequence, after.packets, after.octets), (before.sequence, before.packets, before.octets));
    }

    #[test]
    fn tracks_that_stay_keep_their_numbers_when_a_session_is_set_up_again() {
        let set = tracks();
        let mut sending = sending(&set);
        sending.admit(unit(&set, 0, 0, 3, None), false).unwrap();
        let next = sending.positions(MediaTime::ZERO)[0].sequence;
        let kept = Setup::new(TrackId(0), Agreed::Tcp { rtp: 0, rtcp: 1 }, 96, 100, 5, 5);
        sending.set_up(&[kept], &set);
        assert_eq!((sending.tracks.len(), sending.positions(MediaTime::ZERO)[0].sequence), (1, next));
    }

    #[test]
    fn reports_speak_of_capture_and_of_one_moment_on_all_tracks_rt_13() {
        let set = tracks();
        let mut sending = sending(&set);
        assert_eq!(sending.reports(at(0), wall(0)).count(), 0, "nothing true to say yet");
        sending.admit(unit(&set, 0, 1000, 1, Some(wall(-5000))), false).unwrap();
        sending.admit(unit(&set, 0, 1040, 2, Some(wall(-4960))), false).unwrap();
        sending.admit(unit(&set, 1, 1060, 1, None), false).unwrap();
        let reports: Vec<_> = sending.reports(at(1100), wall(1100)).map(|(_, report)| report).collect();
        let [video, sound] = reports[..] else { panic!("{reports:?}") };
        assert_eq!((video.ntp, sound.ntp), (wall(-4960).to_ntp(), wall(-4960).to_ntp()));
        assert_eq!((video.rtp_timestamp, sound.rtp_timestamp), (3600 - 11, 320 - 11));
        assert_eq!((video.packets, video.octets, sound.packets), (3, 33, 1));
    }

    #[test]
    fn without_capture_times_arrivals_tell_and_their_jitter_is_smoothed() {
        let set = tracks();
        let mut sending = sending(&set);
        let mut ntp = |millis: i64, late: u64| {
            sending.admit(unit(&set, 0, millis, 1, None), false).unwrap();
            // The wall clock and the monotonic one go together; the unit came `late` after its time.
            let now = millis as u64 + 100;
            let reports = sending.reports(at(now - late), wall(now as i64)).next().unwrap().1;
            WallTime::from_ntp(reports.ntp).nanos_since(wall(millis)) / 1_000_000
        };
        assert_eq!(ntp(1000, 0), 0);
        assert!((1..=10).contains(&ntp(6000, 80)), "80 ms of jitter move it by a tenth");
        assert!(ntp(11_000, 0) < 10);
    }
}
