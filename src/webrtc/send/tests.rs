//! Viewers against rings filled by hand: every packet is written down as it is sealed and as it leaves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{
    Joining, Key, Readers, SendEnd,
    line::Seal,
    viewer::{Outcome, Taken, Turn, Viewer},
};
use crate::{
    base::{Monotonic, Rendition, WallTime},
    hub::{BurstPolicy, ReaderOptions, testing::Camera},
    media::{
        AccessUnit, ClockRate, Codec, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId,
        track::{H264Parameters, OpusParameters},
    },
    rtp::{
        packet::Packet,
        rtcp::{self, ReportBlock},
    },
    stats::{Protocol, Session, SessionDetails, SessionGuard, Sessions},
    webrtc::{
        sdp::ChosenLine,
        srtp::{MediaKeys, Profile},
        transport::{Link, Route},
    },
};

pub(super) const VIDEO: TrackId = TrackId(0);
const SOUND: TrackId = TrackId(1);
const VIDEO_SSRC: u32 = 0x1111_1111;
const VIDEO_RTX: u32 = 0x2222_2222;
const SOUND_SSRC: u32 = 0x3333_3333;
const TAG: usize = 16;

pub(super) fn picture() -> TrackDescription {
    let parameters = CodecParameters::H264(H264Parameters::default());
    TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }
}

fn sound() -> TrackDescription {
    let parameters = CodecParameters::Opus(OpusParameters { channels: 1 });
    TrackDescription { kind: MediaKind::Audio, clock_rate: ClockRate::OPUS, parameters }
}

fn at(millis: u64) -> Monotonic {
    Monotonic::from_nanos((3_600_000 + millis) * 1_000_000)
}

fn wall(millis: i64) -> WallTime {
    WallTime::from_unix_nanos((1_700_000_000_000 + millis) * 1_000_000)
}

/// A unit that came at `millis`, its own number in every byte, taken 200 ms before.
fn unit(track: TrackId, millis: u64, random_access: bool, len: usize) -> AccessUnit {
    unit_at(track, millis, at(millis), random_access, len)
}

/// A unit of the media time `millis` that came when it `arrived`.
pub(super) fn unit_at(track: TrackId, millis: u64, arrived: Monotonic, random_access: bool, len: usize) -> AccessUnit {
    let time = MediaTime::from_millis(millis as i64);
    let mark = (millis / 20) as u8;
    let payload = if track == VIDEO {
        let mut nal = (len as u32).to_be_bytes().to_vec();
        nal.push(if random_access { 0x65 } else { 0x41 });
        nal.resize(4 + len, mark);
        Bytes::from(nal)
    } else {
        Bytes::from([&[0xfc][..], &vec![mark; len]].concat())
    };
    AccessUnit {
        track,
        pts: time,
        dts: time,
        captured: Some(wall(millis as i64 - 200)),
        arrived,
        random_access,
        after_loss: false,
        marker: true,
        payload,
    }
}

pub(super) fn line(kind: MediaKind) -> ChosenLine {
    let video = kind == MediaKind::Video;
    ChosenLine {
        mid: if video { "0" } else { "1" }.into(),
        kind,
        track: if video { VIDEO } else { SOUND },
        codec: if video { Codec::H264 } else { Codec::Opus },
        payload_type: if video { 102 } else { 111 },
        rtx_payload_type: video.then_some(103),
        ssrc: if video { VIDEO_SSRC } else { SOUND_SSRC },
        rtx_ssrc: if video { VIDEO_RTX } else { 0 },
        clock_rate: if video { 90_000 } else { 48_000 },
        parameters: None,
        abs_capture_time: Some(3),
        playout_delay: Some(6),
        transport_cc: None,
        transcoded: false,
    }
}

/// What was sealed, by SSRC and index: header and payload in the clear.
type Sealed = Arc<Mutex<HashMap<(u32, u64), Vec<u8>>>>;

/// Appends a tag of zeros and notes what it is given; panics when an index comes twice, whatever it stands for.
struct Notary(Sealed);

impl Seal for Notary {
    fn overhead(&self) -> usize {
        TAG
    }

    fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
        let packet = buffer[start..].to_vec();
        let read = Packet::parse(&packet).unwrap();
        assert_eq!((read.header.ssrc, read.header.sequence), (ssrc, index as u16));
        assert!(packet.len() - header_len >= read.payload.len());
        let twice = self.0.lock().unwrap().insert((ssrc, index), packet);
        assert!(twice.is_none(), "index {index} of {ssrc:x} was sealed twice");
        buffer.extend_from_slice(&[0; TAG]);
    }

    fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) {
        assert!((192..=223).contains(&buffer[start + 1]));
        buffer.extend_from_slice(&[0; 20]);
    }
}

/// A packet as it left.
#[derive(Clone, Debug)]
struct Left {
    at: u64,
    /// Which call it left in.
    call: usize,
    bytes: Vec<u8>,
}

impl Left {
    fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.bytes[..self.bytes.len() - TAG]).unwrap()
    }

    fn ssrc(&self) -> u32 {
        self.packet().header.ssrc
    }
}

/// One viewer of one or two cameras.
struct Stage {
    main: Camera,
    sub: Camera,
    viewer: Viewer<Notary>,
    session: SessionGuard,
    sealed: Sealed,
    left: Vec<Left>,
    reports: Vec<(u64, rtcp::SenderReport)>,
    calls: usize,
    now: u64,
    due: Option<Monotonic>,
    ended: Option<SendEnd>,
    /// Runs that find no room.
    full: usize,
    /// Room in the queue of a connection, at each turn.
    room: usize,
}

impl Stage {
    /// A camera that has played for `played` pictures, a random access point every `gop`, and a viewer that comes then.
    fn new(played: u64, gop: u64, bytes: usize, with_sound: bool) -> Self {
        Self::with(played, gop, bytes, with_sound, None)
    }

    /// The viewer can say when packets arrived.
    fn gauged(played: u64, gop: u64, bytes: usize, with_sound: bool) -> Self {
        Self::with(played, gop, bytes, with_sound, Some(5))
    }

    fn with(played: u64, gop: u64, bytes: usize, with_sound: bool, transport_cc: Option<u8>) -> Self {
        let tracks = || if with_sound { vec![picture(), sound()] } else { vec![picture()] };
        let (main, sub) = (Camera::new(Rendition::Main, tracks()), Camera::new(Rendition::Sub, tracks()));
        for i in 0..played {
            main.push(unit(VIDEO, i * 40, i % gop == 0, bytes));
            sub.push(unit(VIDEO, i * 40, i % gop == 0, bytes / 8));
        }
        let now = played.saturating_sub(1) * 40;
        let sessions = Sessions::default();
        let details = SessionDetails {
            protocol: Protocol::WebRtc,
            transport: "udp",
            path: "cam".parse().unwrap(),
            rendition: Rendition::Main,
            peer: "127.0.0.1:9".parse().unwrap(),
            user_agent: None,
            since: wall(0),
        };
        let session = sessions.open(details).unwrap();
        let burst = BurstPolicy::Within { bytes: 4_000_000, units: 400, readers: 9 };
        let options = ReaderOptions { burst, ..super::reader_options() };
        let reader = main.stream.open(Camera::grant(), options);
        let readers = Readers {
            reader,
            rendition: Rendition::Main,
            main: main.stream.clone(),
            sub: Some(sub.stream.clone()),
            adapts: true,
        };
        let mut lines = vec![line(MediaKind::Audio), line(MediaKind::Video)];
        lines.retain(|line| with_sound || line.kind == MediaKind::Video);
        lines.iter_mut().for_each(|line| line.transport_cc = transport_cc);
        let joining = Joining {
            key: Key(1),
            lines,
            keys: MediaKeys { profile: Profile::AeadAes128Gcm, key: [0; 16], salt: [0; 14] },
            route: Route { link: Link::Udp { socket: 0, local: None }, peer: "127.0.0.1:9".parse().unwrap() },
            readers,
            session: Session::clone_of(&session),
            cname: "campanile".into(),
            ended: oneshot::channel().0,
        };
        let sealed = Sealed::default();
        let viewer = Viewer::new(joining, Notary(sealed.clone()), 60_000_000, at(now)).unwrap();
        let (left, reports) = (Vec::new(), Vec::new());
        Self {
            main,
            sub,
            viewer,
            session,
            sealed,
            left,
            reports,
            calls: 0,
            now,
            due: None,
            ended: None,
            full: 0,
            room: usize::MAX,
        }
    }

    /// The viewer has its turn, and further ones as they become due within the next `millis`.
    fn play(&mut self, millis: u64) {
        let until = self.now + millis;
        loop {
            self.turn();
            let next = self.due.map(|due| due.as_nanos().div_ceil(1_000_000) - 3_600_000);
            match next {
                Some(next) if next <= until && self.ended.is_none() => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = until;
    }

    fn turn(&mut self) {
        let (mut buffer, mut batch, mut sent) = (Vec::new(), Vec::new(), None);
        let Self { viewer, left, reports, calls, now, full, room, .. } = self;
        let mut turn = Turn {
            now: at(*now),
            wall: wall(*now as i64),
            segments: 64,
            room: *room,
            buffer: &mut buffer,
            batch: &mut batch,
            sent: &mut sent,
            out: |run: &[u8], segment: usize| {
                assert!(run.len() <= 65_000 && run.len().div_ceil(segment) <= 64);
                if *full > 0 {
                    *full -= 1;
                    return Taken::Full;
                }
                *calls += 1;
                for bytes in run.chunks(segment) {
                    if (192..=223).contains(&bytes[1]) {
                        for packet in rtcp::packets(&bytes[..bytes.len() - 20]).map_while(Result::ok) {
                            if let rtcp::Packet::SenderReport(report, _) = packet {
                                reports.push((*now, report));
                            }
                        }
                    } else {
                        left.push(Left { at: *now, call: *calls, bytes: bytes.to_vec() });
                    }
                }
                Taken::Sent
            },
        };
        let repairs = viewer.repair(&mut turn);
        let outcome = viewer.turn(&mut turn);
        self.due = match outcome {
            Outcome::Due(due) => Some(due),
            Outcome::Waits if repairs => Some(at(self.now)),
            Outcome::Waits => None,
            Outcome::End(end) => {
                self.ended = Some(end);
                None
            }
        };
    }

    /// Pictures every 40 ms from now on, with two packets of sound each, and a turn after each.
    fn live(&mut self, pictures: u64, gop: u64, bytes: usize, with_sound: bool) {
        for i in 0..pictures {
            let millis = self.now / 40 * 40 + 40;
            self.now = millis;
            for (camera, bytes) in [(&self.main, bytes), (&self.sub, bytes / 8)] {
                if with_sound {
                    camera.push(unit(SOUND, millis - 20, true, 60 + (i as usize * 7) % 40));
                    camera.push(unit(SOUND, millis, true, 60 + (i as usize * 13) % 40));
                }
                camera.push(unit(VIDEO, millis, i % gop == 0, bytes));
            }
            self.play(0);
        }
    }

    fn feedback(&mut self, compound: &[u8]) -> bool {
        self.viewer.handle_feedback(compound, at(self.now))
    }

    fn of(&self, ssrc: u32) -> Vec<&Left> {
        self.left.iter().filter(|left| left.ssrc() == ssrc).collect()
    }

    /// What was sent on a line: sequence numbers and timestamps in the order they left.
    fn numbers(&self, ssrc: u32) -> Vec<(u16, u32)> {
        self.of(ssrc).iter().map(|left| (left.packet().header.sequence, left.packet().header.timestamp)).collect()
    }
}

impl Session {
    fn clone_of(guard: &SessionGuard) -> Arc<Self> {
        Arc::clone(guard)
    }
}

fn nack(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in sequences.chunks(60) {
        let words = 2 + chunk.len() as u16;
        out.extend_from_slice(&[0x81, 205]);
        out.extend_from_slice(&words.to_be_bytes());
        out.extend_from_slice(&[0, 0, 0, 9]);
        out.extend_from_slice(&ssrc.to_be_bytes());
        for sequence in chunk {
            out.extend_from_slice(&sequence.to_be_bytes());
            out.extend_from_slice(&[0, 0]);
        }
    }
    out
}

/// That packets from `base` on came at these times, in quarters of a millisecond; not those that have none.
fn arrivals(base: u16, times: &[Option<u8>]) -> Vec<u8> {
    let mut fci = [base.to_be_bytes(), (times.len() as u16).to_be_bytes()].concat();
    fci.extend_from_slice(&[0, 0, 1, 0]);
    times.iter().for_each(|time| fci.extend_from_slice(&(u16::from(time.is_some()) << 13 | 1).to_be_bytes()));
    let mut before = 0;
    for time in times.iter().flatten() {
        fci.push(time - before);
        before = *time;
    }
    fci.resize(fci.len().next_multiple_of(4), 0);
    let words = (2 + fci.len() / 4) as u16;
    [&[0x8f, 205][..], &words.to_be_bytes(), &[0, 0, 0, 9], &VIDEO_SSRC.to_be_bytes(), &fci].concat()
}

fn pli(ssrc: u32) -> Vec<u8> {
    [&[0x81, 206, 0, 2, 0, 0, 0, 9][..], &ssrc.to_be_bytes()].concat()
}

fn receiver_report(ssrc: u32, fraction_lost: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let block = ReportBlock { ssrc, fraction_lost, jitter: 900, ..ReportBlock::default() };
    rtcp::write_receiver_report(&mut out, 9, &[block], "viewer");
    out
}

#[test]
fn a_viewer_begins_at_the_random_access_point_and_is_live_within_the_time_of_its_burst() {
    let mut stage = Stage::new(100, 250, 10_000, false);
    stage.play(1000);
    let first = stage.left[0].packet();
    assert_eq!(first.payload[1] & 0x1f, 5, "the random access point, as FU-A");
    let pictures = stage.left.iter().filter(|left| left.packet().header.marker).count();
    assert_eq!(pictures, 100);
    let bits: usize = stage.left.iter().map(|left| left.bytes.len() * 8).sum();
    let expected = bits as u64 / 60_000;
    let took = stage.left.last().unwrap().at - stage.left[0].at;
    assert!((expected / 2..=expected + 10).contains(&took), "{took} ms for {expected}");
    assert_eq!(stage.left[0].at, stage.left[8].at, "the first picture leaves at once");
    let numbers = stage.numbers(VIDEO_SSRC);
    assert!(numbers.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)), "contiguous");
    assert!(numbers[0].0 < 0x8000);
    let ticks: Vec<_> = numbers.iter().map(|(_, time)| time.wrapping_sub(numbers[0].1)).collect();
    assert_eq!(*ticks.last().unwrap(), 99 * 3600, "timestamps are true");
}

#[test]
fn a_burst_over_a_connection_takes_as_long_as_that_has_room() {
    let mut stage = Stage::new(50, 250, 10_000, false);
    stage.room = 24_000;
    stage.play(5000);
    let took = stage.left.last().unwrap().at - stage.left[0].at;
    assert!((200..=400).contains(&took), "{took} ms for 500 kB, two pictures each 10 ms");
    assert_eq!(stage.left.iter().filter(|left| left.packet().header.marker).count(), 50, "and nothing is left out");
}

#[test]
fn a_burst_beyond_its_bound_is_a_still_and_motion_at_the_next_random_access_point() {
    let mut stage = Stage::new(200, 250, 40_000, false);
    stage.play(1000);
    let pictures = |stage: &Stage| stage.left.iter().filter(|left| left.packet().header.marker).count();
    assert_eq!(pictures(&stage), 1);
    // Its first packet was lost, which a viewer that never saw another cannot know of.
    assert!(stage.feedback(&pli(VIDEO_SSRC)));
    stage.play(200);
    assert_eq!(pictures(&stage), 2, "the still picture once more");
    stage.left.clear();
    stage.main.push(unit(VIDEO, 9000, false, 1000));
    stage.play(40);
    assert!(stage.left.is_empty());
    stage.main.push(unit(VIDEO, 9040, true, 1000));
    stage.play(40);
    assert_eq!(stage.left.len(), 1);
}

#[test]
fn a_live_picture_is_one_call_and_the_sound_of_a_beat_another() {
    let mut stage = Stage::new(1, 1, 1000, true);
    stage.play(0);
    stage.left.clear();
    stage.live(25, 25, 20_000, true);
    let mut calls: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    stage.left.iter().for_each(|left| calls.entry(left.call).or_default().push(left.ssrc()));
    assert_eq!(calls.len(), 50);
    assert!(calls.values().all(|run| run.iter().all(|ssrc| *ssrc == run[0])));
    let sound = stage.of(SOUND_SSRC);
    assert_eq!(sound.len(), 50);
    assert!(sound.iter().any(|left| left.bytes[0] & 0x20 != 0), "padding makes them one run");
    for left in sound {
        let payload = left.packet().payload;
        assert!(payload[0] == 0xfc && payload[1..].iter().all(|byte| *byte == payload[1]), "and is taken off again");
    }
    let times = stage.numbers(SOUND_SSRC);
    assert!(times.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) == 960));
}

#[test]
fn extensions_stand_on_all_packets_of_a_unit_or_on_none() {
    let mut stage = Stage::new(1, 1, 5000, false);
    stage.play(0);
    let first: Vec<_> = stage.left.drain(..).collect();
    for left in &first {
        assert_eq!(left.packet().extension, Some((0xbede, &[6 << 4 | 2, 0, 0, 200][..])), "playout delay at the start");
    }
    stage.live(75, 25, 5000, false);
    let mut per_unit: BTreeMap<u32, Vec<bool>> = BTreeMap::new();
    for left in &stage.left {
        let packet = left.packet();
        if let Some((0xbede, bytes)) = packet.extension {
            assert_eq!((bytes[0], bytes.len()), (3 << 4 | 7, 12));
            let told = WallTime::from_ntp(u64::from_be_bytes(bytes[1..9].try_into().unwrap()));
            let expected = wall(left.at as i64 - 200);
            assert!(told.nanos_since(expected).abs() < 1_000_000, "capture time");
        }
        per_unit.entry(packet.header.timestamp).or_default().push(packet.extension.is_some());
    }
    assert!(per_unit.values().all(|unit| unit.iter().all(|one| *one == unit[0])));
    assert_eq!(per_unit.values().filter(|unit| unit[0]).count(), 3, "once a second, and at random access points");
    assert!(stage.left.iter().all(|left| left.bytes.len() <= 1232), "IPv6 at its least MTU");
}

#[test]
fn reports_tell_capture_and_come_right_after_the_first_packets() {
    let mut stage = Stage::new(1, 1, 1000, true);
    stage.play(0);
    assert_eq!(stage.reports.len(), 2, "one of each line");
    stage.live(100, 25, 1000, true);
    let (video, sound): (Vec<_>, Vec<_>) =
        stage.reports.iter().copied().partition(|(_, report)| report.ssrc == VIDEO_SSRC);
    assert!((3..=5).contains(&video.len()), "{video:?}");
    let (first, last) = (video[0].1, video.last().unwrap().1);
    let wall_passed = WallTime::from_ntp(last.ntp).nanos_since(WallTime::from_ntp(first.ntp)) / 1_000_000;
    let ticks = last.rtp_timestamp.wrapping_sub(first.rtp_timestamp);
    assert_eq!(i64::from(ticks / 90), wall_passed);
    assert_eq!(sound.last().unwrap().1.ntp, last.ntp, "one moment for all");
    let (_, time) = stage.numbers(VIDEO_SSRC)[0];
    assert_eq!(first.rtp_timestamp, time);
    assert_eq!(WallTime::from_ntp(first.ntp).nanos_since(wall(-200)).abs() / 1_000_000, 0);
    assert!(last.packets > 50);
}

#[test]
fn a_lost_packet_is_sent_again_from_the_ring_with_numbers_of_its_own() {
    let mut stage = Stage::new(10, 10, 9000, false);
    stage.play(200);
    let lost: Vec<_> = [3, 17, 18].map(|at: usize| stage.left[at].clone()).to_vec();
    let sequences: Vec<_> = lost.iter().map(|left| left.packet().header.sequence).collect();
    assert!(stage.feedback(&nack(VIDEO_SSRC, &sequences)));
    stage.left.clear();
    stage.play(0);
    let again = stage.of(VIDEO_RTX);
    assert_eq!(again.len(), 3);
    for (again, lost) in again.iter().zip(&lost) {
        let (again, lost) = (again.packet(), lost.packet());
        assert_eq!(again.payload[..2], lost.header.sequence.to_be_bytes());
        assert_eq!(again.payload[2..], *lost.payload);
        assert_eq!((again.header.timestamp, again.header.marker), (lost.header.timestamp, lost.header.marker));
        assert_eq!(again.header.payload_type, 103);
    }
    assert!(!stage.feedback(&nack(VIDEO_SSRC, &sequences)), "not twice within a round trip");
    stage.now += 300;
    assert!(stage.feedback(&nack(VIDEO_SSRC, &sequences)));
    let never_sent = stage.numbers(VIDEO_SSRC).last().map_or(sequences[0], |(last, _)| *last).wrapping_add(9000);
    stage.play(0);
    assert!(!stage.feedback(&nack(VIDEO_SSRC, &[never_sent])));
    assert!(!stage.feedback(&nack(SOUND_SSRC, &sequences)), "no line of this viewer");
}

#[test]
fn the_packets_of_a_start_are_numbered_for_the_transport_until_it_is_over_and_the_viewer_has_reported() {
    let mut stage = Stage::gauged(10, 250, 5000, true);
    stage.play(0);
    stage.live(5, 250, 5000, true);
    let numbered = |left: &&Left| {
        let packet = left.packet();
        let (profile, bytes) = packet.extension.expect("an extension");
        // Alone, behind the playout delay, or behind the capture time.
        let at = match bytes.len() {
            4 => 0,
            8 => 4,
            _ => 9,
        };
        assert_eq!((profile, bytes[at], left.bytes.len() <= 1232), (0xbede, 5 << 4 | 1, true));
        u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]) == packet.header.sequence
    };
    assert_eq!(stage.of(VIDEO_SSRC).iter().filter(|left| numbered(left)).count(), 75);
    assert!(stage.of(SOUND_SSRC).iter().all(|left| left.packet().extension.is_none_or(|(_, bytes)| bytes.len() == 12)));
    let first = stage.numbers(VIDEO_SSRC)[0].0;
    assert!(!stage.feedback(&arrivals(first, &[Some(0); 50])), "nothing is missing");
    stage.live(1, 250, 5000, true);
    stage.left.clear();
    stage.live(3, 250, 5000, true);
    let captured = |bytes: &[u8]| bytes[0] == 3 << 4 | 7 && bytes[9..] == [0; 3];
    assert!(stage.of(VIDEO_SSRC).iter().all(|left| left.packet().extension.is_none_or(|(_, bytes)| captured(bytes))));
}

#[test]
fn a_lost_head_of_a_start_is_sent_again_unasked_and_no_other_loss_is() {
    let mut stage = Stage::gauged(10, 250, 5000, false);
    stage.play(10);
    let sequences: Vec<_> = stage.numbers(VIDEO_SSRC).iter().map(|(sequence, _)| *sequence).collect();
    let mut times = [Some(4); 40];
    times[7] = None;
    assert!(stage.feedback(&arrivals(sequences[2], &times)));
    stage.play(0);
    let again: Vec<_> = stage.of(VIDEO_RTX).iter().map(|left| left.packet().payload[..2].to_vec()).collect();
    assert_eq!(again, [sequences[0].to_be_bytes(), sequences[1].to_be_bytes()]);
    assert!(!stage.feedback(&arrivals(sequences[4], &times)), "once");
}

#[test]
fn a_start_goes_on_at_the_rate_at_which_it_arrives() {
    let mut stage = Stage::gauged(200, 250, 15_000, false);
    stage.play(20);
    let sequences: Vec<_> = stage.numbers(VIDEO_SSRC).iter().map(|(sequence, _)| *sequence).collect();
    // Two packets each millisecond: not quite 20 Mbit/s.
    let times: Vec<_> = (0..40).map(|place| Some(place * 2)).collect();
    stage.feedback(&arrivals(sequences[0], &times));
    stage.left.clear();
    stage.play(500);
    let bytes: usize = stage.left.iter().map(|left| left.bytes.len()).sum();
    assert!((700_000..1_100_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_lost_picture_is_answered_with_the_newest_random_access_point_and_time_never_runs_back() {
    let mut stage = Stage::new(30, 100, 3000, false);
    stage.play(1000);
    stage.live(20, 100, 3000, false);
    let before = stage.numbers(VIDEO_SSRC);
    stage.left.clear();
    assert!(stage.feedback(&pli(VIDEO_SSRC)));
    stage.play(39);
    assert_eq!(stage.left.iter().filter(|left| left.packet().header.marker).count(), 20, "the pictures since then");
    assert!(!stage.feedback(&pli(VIDEO_SSRC)), "once in half a second");
    stage.live(5, 100, 3000, false);
    let after = stage.numbers(VIDEO_SSRC);
    let all: Vec<_> = before.iter().chain(&after).collect();
    assert!(all.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)), "one line of numbers");
    assert!(all.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) < 1 << 30), "one line of time");
    let zero = before[0].1;
    let true_time = (stage.now / 40 * 40) as u32 * 90;
    assert_eq!(after.last().unwrap().1.wrapping_sub(zero), true_time, "and live pictures have their true times");
}

#[test]
fn a_viewer_that_lags_goes_on_at_a_random_access_point_with_the_next_number() {
    let mut stage = Stage::new(1, 1, 2000, false);
    stage.play(0);
    for i in 1..200_u64 {
        stage.main.push(unit(VIDEO, i * 40, i % 50 == 0, 2000));
    }
    stage.now = 200 * 40;
    stage.play(500);
    let numbers = stage.numbers(VIDEO_SSRC);
    assert!(numbers.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)));
    assert_eq!(numbers.last().unwrap().1.wrapping_sub(numbers[0].1), 199 * 3600);
    assert!(stage.session.units_dropped.load(std::sync::atomic::Ordering::Relaxed) > 100);
}

#[test]
fn a_run_without_room_uses_its_numbers_and_a_large_hole_ends_at_a_random_access_point() {
    let mut stage = Stage::new(1, 1, 1000, false);
    stage.play(0);
    stage.full = 1;
    stage.live(1, 9, 5000, false);
    stage.live(1, 9, 5000, false);
    let numbers = stage.numbers(VIDEO_SSRC);
    assert_eq!(numbers[1].0.wrapping_sub(numbers[0].0), 6, "five packets are missing");
    let missing: Vec<u16> = (1..6).map(|n| numbers[0].0.wrapping_add(n)).collect();
    assert!(stage.feedback(&nack(VIDEO_SSRC, &missing)));
    stage.play(0);
    assert_eq!(stage.of(VIDEO_RTX).len(), 5, "and are repaired");
    stage.full = 1;
    stage.left.clear();
    stage.main.push(unit(VIDEO, stage.now + 40, false, 30_000));
    stage.main.push(unit(VIDEO, stage.now + 80, false, 1000));
    stage.play(80);
    assert!(stage.left.is_empty());
    stage.main.push(unit(VIDEO, stage.now + 40, true, 1000));
    stage.play(0);
    assert_eq!(stage.left.len(), 1);
}

#[test]
fn a_burst_that_is_lost_comes_once_more_slower_and_is_given_up_when_that_is_lost_too() {
    let mut stage = Stage::new(200, 250, 15_000, false);
    let lost = |stage: &Stage| -> Vec<u16> {
        stage.numbers(VIDEO_SSRC).iter().map(|(sequence, _)| *sequence).skip(30).take(150).collect()
    };
    stage.play(60);
    let (sent, first) = (stage.left.len(), lost(&stage));
    assert!((100..1000).contains(&sent));
    stage.feedback(&nack(VIDEO_SSRC, &first));
    let newest = stage.numbers(VIDEO_SSRC).last().unwrap().1;
    stage.left.clear();
    stage.play(200);
    assert!(stage.left.is_empty(), "what is under way gets through first");
    stage.feedback(&nack(VIDEO_SSRC, &first));
    stage.play(400);
    let again: Vec<_> = stage.numbers(VIDEO_SSRC);
    assert!(stage.left.iter().all(|left| left.ssrc() == VIDEO_SSRC), "nothing from before is repaired");
    assert!(again.iter().all(|(_, time)| time.wrapping_sub(newest) < 90_000), "time goes on");
    let bytes: usize = stage.left.iter().map(|left| left.bytes.len()).sum();
    // 15 Mbit/s for 350 ms, and what may leave at once.
    assert!((500_000..800_000).contains(&bytes), "{bytes}");

    stage.feedback(&nack(VIDEO_SSRC, &lost(&stage)));
    stage.left.clear();
    stage.play(500);
    assert!(stage.left.is_empty());
    assert!(!stage.feedback(&pli(VIDEO_SSRC)), "it would be lost again");
    stage.main.push(unit(VIDEO, stage.now + 40, false, 1000));
    stage.main.push(unit(VIDEO, stage.now + 80, true, 1000));
    stage.play(0);
    assert_eq!(stage.left.len(), 1);
}

#[test]
fn loss_moves_a_viewer_to_the_sub_stream_and_a_clean_path_back_without_a_break() {
    let mut stage = Stage::new(1, 1, 8000, true);
    stage.play(0);
    for _ in 0..6 {
        stage.live(25, 25, 8000, true);
        stage.feedback(&receiver_report(VIDEO_SSRC, 90));
    }
    assert_eq!((stage.session.reception.rendition(), stage.session.reception.moves()), (Rendition::Sub, 1));
    assert_eq!(stage.session.reception.jitter(), Some(Duration::from_millis(10)));
    let before = stage.left.len();
    for _ in 0..30 {
        stage.live(25, 25, 8000, true);
        stage.feedback(&receiver_report(VIDEO_SSRC, 0));
    }
    assert_eq!((stage.session.reception.rendition(), stage.session.reception.moves()), (Rendition::Main, 2));
    assert!(stage.left[before..].iter().any(|left| left.bytes.len() < 1100 && left.ssrc() == VIDEO_SSRC));
    for ssrc in [VIDEO_SSRC, SOUND_SSRC] {
        let numbers = stage.numbers(ssrc);
        assert!(numbers.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)), "numbers go on");
        assert!(numbers.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) < 48_000), "and time never runs back");
    }
    let rate = |ssrc| if ssrc == VIDEO_SSRC { 90 } else { 48 };
    for ssrc in [VIDEO_SSRC, SOUND_SSRC] {
        let numbers = stage.numbers(ssrc);
        let passed = numbers.last().unwrap().1.wrapping_sub(numbers[0].1) / rate(ssrc);
        let expected = stage.of(ssrc).last().unwrap().at - stage.of(ssrc)[0].at;
        assert!(u64::from(passed).abs_diff(expected) <= 45, "{passed} for {expected}");
    }
}

#[test]
fn a_viewer_that_asks_for_a_rendition_gets_it_and_stays_there() {
    let mut stage = Stage::new(1, 1, 8000, false);
    stage.play(0);
    stage.viewer.ask(Some(Rendition::Sub), at(stage.now));
    stage.live(3, 25, 8000, false);
    assert_eq!(stage.session.reception.rendition(), Rendition::Sub);
    for _ in 0..40 {
        stage.live(25, 25, 8000, false);
        stage.feedback(&receiver_report(VIDEO_SSRC, 0));
    }
    assert_eq!(stage.session.reception.rendition(), Rendition::Sub);
}

#[test]
fn a_viewer_on_the_sub_stream_falls_back_to_main_when_that_ends_and_ends_with_main() {
    let mut stage = Stage::new(1, 1, 8000, true);
    stage.play(0);
    stage.viewer.ask(Some(Rendition::Sub), at(stage.now));
    stage.live(3, 25, 8000, true);
    assert_eq!(stage.session.reception.rendition(), Rendition::Sub);
    stage.sub.end();
    stage.live(3, 2, 8000, true);
    assert_eq!(stage.session.reception.rendition(), Rendition::Main);
    stage.main.end();
    stage.play(0);
    assert!(matches!(stage.ended, Some(SendEnd::Closed)));
}

#[test]
fn another_list_of_tracks_ends_a_viewer_unless_its_own_are_in_it() {
    let mut stage = Stage::new(1, 1, 1000, false);
    stage.play(0);
    stage.main.begin(vec![picture(), sound()]);
    stage.main.push(unit(VIDEO, 40, true, 1000));
    stage.now = 40;
    stage.play(0);
    assert!(stage.ended.is_none() && stage.left.len() == 2, "a microphone more changes nothing");
    stage.main.begin(vec![sound()]);
    stage.main.push(unit(TrackId(0), 80, true, 1000));
    stage.play(40);
    assert!(matches!(stage.ended, Some(SendEnd::TracksChanged)));
}

#[test]
fn a_viewer_without_consent_is_sent_nothing_and_begins_anew_with_it() {
    let mut stage = Stage::new(1, 1, 1000, true);
    stage.play(0);
    stage.viewer.set_silent(true, at(stage.now));
    stage.left.clear();
    stage.reports.clear();
    stage.live(60, 25, 1000, true);
    assert!(stage.left.is_empty() && stage.reports.is_empty());
    stage.viewer.set_silent(false, at(stage.now));
    stage.play(0);
    assert_eq!(stage.of(VIDEO_SSRC)[0].packet().payload[0] & 0x1f, 5);
    assert_eq!(stage.of(VIDEO_SSRC).len(), 10, "from the newest random access point");
    assert_eq!(stage.reports.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The notary panics when an index is sealed twice; what is sent again carries what the lost packet did.
    #[test]
    fn no_index_is_ever_sealed_twice_whatever_happens(
        steps in proptest::collection::vec((0..10_u8, any::<u16>()), 20..120),
        bytes in 500_usize..30_000,
    ) {
        let mut stage = Stage::gauged(60, 40, bytes, true);
        let mut pictures = 0;
        for (what, how) in steps {
            match what {
                0 => stage.full = usize::from(how % 5),
                1 => {
                    stage.feedback(&arrivals(how, &[Some((how % 200) as u8); 30]));
                    let sent: Vec<_> = stage.numbers(VIDEO_SSRC).iter().map(|(sequence, _)| *sequence).collect();
                    let lost: Vec<_> = sent.iter().rev().skip(usize::from(how % 50)).step_by(3).take(40).copied().collect();
                    stage.feedback(&nack(VIDEO_SSRC, &lost));
                    stage.feedback(&nack(VIDEO_SSRC, &[how, how.wrapping_add(1)]));
                }
                2 => {
                    stage.feedback(&pli(VIDEO_SSRC));
                }
                3 => {
                    stage.feedback(&receiver_report(VIDEO_SSRC, how as u8));
                }
                4 => stage.viewer.ask([None, Some(Rendition::Main), Some(Rendition::Sub)][usize::from(how % 3)], at(stage.now)),
                5 => {
                    // Nobody looks for up to five seconds.
                    let until = stage.now + u64::from(how % 5000);
                    while stage.now < until {
                        stage.now += 40;
                        pictures += 1;
                        for camera in [&stage.main, &stage.sub] {
                            camera.push(unit(VIDEO, stage.now / 40 * 40, pictures % 40 == 0, bytes));
                        }
                    }
                }
                6 => stage.viewer.set_silent(how % 2 == 0, at(stage.now)),
                7 => stage.play(u64::from(how % 300)),
                _ => stage.live(u64::from(how % 12), 5, bytes, true),
            }
        }
        stage.viewer.set_silent(false, at(stage.now));
        stage.full = 0;
        stage.live(10, 5, bytes, true);
        let sealed = stage.sealed.lock().unwrap();
        let mut indices: HashMap<u32, Vec<u64>> = HashMap::new();
        for (ssrc, index) in sealed.keys() {
            indices.entry(*ssrc).or_default().push(*index);
        }
        for left in stage.of(VIDEO_RTX) {
            let again = left.packet();
            let original = u16::from_be_bytes([again.payload[0], again.payload[1]]);
            let candidates = sealed.iter().filter(|((ssrc, index), _)| *ssrc == VIDEO_SSRC && *index as u16 == original);
            let mut originals = candidates.map(|(_, bytes)| Packet::parse(bytes).unwrap()).peekable();
            // A packet there was no room for is sealed as retransmission only.
            if originals.peek().is_some() {
                prop_assert!(originals.any(|first| first.payload == &again.payload[2..] && first.header.timestamp == again.header.timestamp));
            }
        }
        for ssrc in [VIDEO_SSRC, SOUND_SSRC] {
            let sent = stage.numbers(ssrc);
            prop_assert!(sent.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) < 1 << 31), "time runs back");
        }
    }

    #[test]
    fn whatever_a_viewer_says_does_no_harm(compound in proptest::collection::vec(any::<u8>(), 0..200), kind in 199_u8..208) {
        let mut stage = Stage::gauged(3, 3, 2000, true);
        stage.play(100);
        stage.feedback(&compound);
        let mut formed = compound;
        formed.resize(formed.len() / 4 * 4 + 4, 0);
        let words = (formed.len() / 4 - 1) as u16;
        (formed[0], formed[1]) = (0x80 | formed[0] & 0x1f, kind);
        formed[2..4].copy_from_slice(&words.to_be_bytes());
        stage.feedback(&formed);
        stage.live(3, 3, 2000, true);
    }
}
