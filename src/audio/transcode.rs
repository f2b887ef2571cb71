//! One sound track into Opus packets of 20 ms: decoded, brought to a rate Opus takes, encoded. Sans-IO.
//!
//! The times of the packets are counted in samples from the time of the first unit, and put right when the units'
//! own times run away from that: sound stays with the picture however a camera's clocks drift.

use bytes::Bytes;
use thiserror::Error;

use super::{decode::Decoder, resample::Resampler};
use crate::{
    base::{Monotonic, WallTime},
    media::{AccessUnit, ClockRate, MediaTime, Track, TrackId, Unit},
};

/// The length of a packet: what browsers expect, and a good balance of delay and overhead (RFC 7587 §4.2).
const PACKET: MediaTime = MediaTime::from_millis(20);

/// Times that differ by more than this are put right.
const DRIFT: MediaTime = MediaTime::from_millis(40);

/// Times that differ by more than this are another run.
const JUMP: MediaTime = MediaTime::from_millis(500);

/// Bits per second and channel: transparent for speech and good for anything a camera hears.
const BIT_RATE: i32 = 32_000;

/// Of 10; what remains is hardly heard and costs half as much again.
const COMPLEXITY: i32 = 5;

/// The largest packet (RFC 6716 §3.4).
const PACKET_MAX: usize = 1275;

/// Why there is no sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum AudioError {
    /// No decoder here.
    #[error("its coding cannot be taken apart here")]
    Unsupported,
    /// This unit alone.
    #[error("a unit cannot be decoded")]
    Broken,
    /// The encoder refuses.
    #[error("libopus refuses: {}", .0.description())]
    Encoder(opus::ErrorCode),
}

/// Makes the units of a derived track.
pub(super) struct Transcoder {
    source: TrackId,
    track: TrackId,
    decoder: Decoder,
    resampler: Resampler,
    encoder: opus::Encoder,
    /// Clocks of the samples before and after resampling.
    rates: (ClockRate, ClockRate),
    channels: usize,
    decoded: Vec<f32>,
    /// Samples that make no whole packet yet.
    queue: Vec<f32>,
    line: Option<Line>,
}

/// Where the samples stand on the ring's timeline.
#[derive(Clone, Copy)]
struct Line {
    /// The time of the first sample in the queue.
    head: MediaTime,
    /// The time the next unit should have.
    expected: MediaTime,
    /// No packet was made since the run began.
    fresh: bool,
}

/// A packet, and whether it begins another run.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) unit: AccessUnit,
    pub(super) spliced: bool,
}

impl Transcoder {
    /// From the track `source` to the track `derived`, which is Opus.
    ///
    /// # Errors
    /// [`AudioError::Unsupported`], [`AudioError::Encoder`].
    pub(super) fn new(source: &Track, derived: &Track) -> Result<Self, AudioError> {
        let decoder = Decoder::new(&source.parameters)?;
        let sound = decoder.sound();
        let (channels, mode) = match sound.channels {
            1 => (1, opus::Channels::Mono),
            2 => (2, opus::Channels::Stereo),
            _ => return Err(AudioError::Unsupported),
        };
        let resampler = Resampler::new(sound.sample_rate, channels)?;
        let encoder = || {
            let mut encoder = opus::Encoder::new(resampler.rate(), mode, opus::Application::Audio)?;
            encoder.set_bitrate(opus::Bitrate::Bits(BIT_RATE * channels as i32))?;
            encoder.set_complexity(COMPLEXITY)?;
            Ok(encoder)
        };
        let encoder = encoder().map_err(|error: opus::Error| AudioError::Encoder(error.code()))?;
        let clock = |hz| ClockRate::new(hz).ok_or(AudioError::Unsupported);
        Ok(Self {
            source: source.id,
            track: derived.id,
            rates: (clock(sound.sample_rate)?, clock(resampler.rate())?),
            decoder,
            resampler,
            encoder,
            channels,
            decoded: Vec::new(),
            queue: Vec::new(),
            line: None,
        })
    }

    /// Which track it takes.
    pub(super) const fn source(&self) -> TrackId {
        self.source
    }

    /// Something is missing: what comes next begins another run.
    pub(super) fn handle_loss(&mut self) {
        self.line = None;
    }

    /// Takes a unit of the source track and appends the packets that became whole.
    ///
    /// # Errors
    /// [`AudioError::Broken`], [`AudioError::Encoder`]; the next unit may do.
    pub(super) fn handle(&mut self, unit: &Unit, packets: &mut Vec<Packet>) -> Result<(), AudioError> {
        if unit.spliced {
            self.line = None;
        }
        let off = self.line.map_or(MediaTime::ZERO, |line| unit.pts - line.expected);
        let mut line = match self.line {
            Some(line) if off.abs() <= DRIFT => line,
            // The clock that stamps runs behind the one that samples: this unit is left out.
            Some(_) if off < MediaTime::ZERO && off.abs() <= JUMP => return Ok(()),
            Some(line) if off.abs() <= JUMP => Line { head: line.head + off, expected: unit.pts, ..line },
            _ => self.begin(unit.pts),
        };
        self.decoded.clear();
        self.decoder.decode(&unit.payload, &mut self.decoded)?;
        let samples = (self.decoded.len() / self.channels) as i64;
        line.expected += MediaTime::from_ticks(samples, self.rates.0);
        self.resampler.push(&self.decoded, &mut self.queue);
        let whole = usize::try_from(PACKET.ticks(self.rates.1)).unwrap_or(0) * self.channels;
        let mut taken = 0;
        while let Some(samples) = self.queue.get(taken..taken + whole) {
            let mut payload = [0; PACKET_MAX];
            let encoded = self.encoder.encode_float(samples, &mut payload);
            taken += whole;
            let at = line.head;
            line.head += PACKET;
            let len = encoded.map_err(|error| AudioError::Encoder(error.code()))?;
            packets.push(Packet { unit: self.packet(at, unit, &payload[..len]), spliced: line.fresh });
            line.fresh = false;
        }
        self.queue.drain(..taken);
        self.line = Some(line);
        Ok(())
    }

    fn begin(&mut self, at: MediaTime) -> Line {
        self.queue.clear();
        self.decoder.reset();
        self.resampler.reset();
        let late = MediaTime::from_ticks(self.resampler.delay() as i64, self.rates.1);
        Line { head: at - late, expected: at, fresh: true }
    }

    fn packet(&self, at: MediaTime, from: &Unit, payload: &[u8]) -> AccessUnit {
        let since = (at - from.pts).nanos();
        let captured: Option<WallTime> = from.captured.map(|captured| captured.plus_nanos(since));
        let arrived: Monotonic = from.arrived;
        AccessUnit {
            track: self.track,
            pts: at,
            dts: at,
            captured,
            arrived,
            random_access: true,
            after_loss: false,
            marker: false,
            payload: Bytes::copy_from_slice(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{f64::consts::TAU, sync::Arc};

    use super::*;
    use crate::media::{
        CodecParameters, MediaKind, Plan, TrackDescription,
        aac::AacConfig,
        derived::opus_of,
        track::{AacParameters, PcmParameters},
    };

    const START: MediaTime = MediaTime::from_millis(10_000);

    /// One second of 400 Hz, AAC-LC in ADTS, made by ffmpeg's own encoder.
    const TONE: &[u8] = include_bytes!("../../tests/data/tone_400hz_44100_mono.aac");

    fn tracks(parameters: CodecParameters, clock: u32) -> (Arc<Track>, Arc<Track>) {
        let sent = TrackDescription { kind: MediaKind::Audio, clock_rate: ClockRate::new(clock).unwrap(), parameters };
        let made = opus_of(&sent).unwrap();
        let track = |id, of: TrackDescription, derived_from| {
            let TrackDescription { kind, clock_rate, parameters } = of;
            Arc::new(Track { id: TrackId(id), kind, clock_rate, parameters, derived_from, generation: 1, revision: 0 })
        };
        (track(0, sent, None), track(1, made, Some(TrackId(0))))
    }

    fn unit(track: &Arc<Track>, pts: MediaTime, payload: impl Into<Bytes>) -> Unit {
        let arrived = Monotonic::from_nanos(u64::try_from(pts.nanos()).unwrap());
        Unit {
            track: track.clone(),
            index: 0,
            pts,
            dts: pts,
            captured: Some(WallTime::from_unix_nanos(pts.nanos())),
            arrived,
            random_access: true,
            after_loss: false,
            spliced: false,
            payload: payload.into(),
            plan: Plan::default(),
        }
    }

    /// A telephone tone: units of 20 ms of µ-law at `hz`.
    fn telephone(track: &Arc<Track>, count: usize, hz: f64) -> Vec<Unit> {
        let sample = |i: usize| ((i as f64 * hz * TAU / 8_000.0).sin() * 12_000.0) as i16;
        let piece = |n: usize| (n * 160..(n + 1) * 160).map(|i| audio_codec_algorithms::encode_ulaw(sample(i)));
        (0..count)
            .map(|n| unit(track, START + MediaTime::from_millis(20 * n as i64), piece(n).collect::<Vec<u8>>()))
            .collect()
    }

    fn g711() -> (Arc<Track>, Arc<Track>) {
        tracks(CodecParameters::G711U(PcmParameters { sample_rate: 8_000, channels: 1 }), 8_000)
    }

    fn made(transcoder: &mut Transcoder, units: &[Unit]) -> Vec<Packet> {
        let mut packets = Vec::new();
        for unit in units {
            transcoder.handle(unit, &mut packets).unwrap();
        }
        packets
    }

    /// The pitch that a decoder hears, after a moment to settle.
    fn pitch(packets: &[Packet]) -> f64 {
        let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
        let mut heard = Vec::new();
        for packet in packets {
            let mut samples = [0.0; 960];
            assert_eq!(decoder.decode_float(&packet.unit.payload, &mut samples, false).unwrap(), 960);
            heard.extend_from_slice(&samples);
        }
        let settled = &heard[heard.len() / 4..];
        let loudest = settled.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        assert!(loudest > 0.05, "silence");
        settled.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count() as f64 * 48_000.0
            / settled.len() as f64
    }

    fn times(packets: &[Packet]) -> Vec<i64> {
        packets.iter().map(|packet| (packet.unit.pts - START).millis()).collect()
    }

    #[test]
    fn g711_becomes_opus_at_its_own_pitch_and_times() {
        let (source, derived) = g711();
        let mut transcoder = Transcoder::new(&source, &derived).unwrap();
        let packets = made(&mut transcoder, &telephone(&source, 50, 440.0));
        assert_eq!(times(&packets), (0..50).map(|n| n * 20).collect::<Vec<_>>());
        assert!((pitch(&packets) - 440.0).abs() < 5.0, "{}", pitch(&packets));
        assert!(packets[0].spliced && packets[1..].iter().all(|packet| !packet.spliced));
        let captured = packets[7].unit.captured.unwrap();
        assert_eq!(captured.unix_nanos(), packets[7].unit.pts.nanos(), "capture time goes along");
        assert!(packets.iter().all(|packet| packet.unit.track == TrackId(1) && packet.unit.random_access));
    }

    #[test]
    fn aac_at_44100_becomes_opus_at_its_own_pitch_and_times() {
        let config = AacConfig::lc(44_100, 1);
        let (source, derived) = tracks(CodecParameters::Aac(AacParameters::from_config(&config)), 44_100);
        let mut transcoder = Transcoder::new(&source, &derived).unwrap();
        let (mut rest, mut units) = (TONE, Vec::new());
        while rest.len() > 7 {
            // ADTS: 13 bits of length, header included.
            let len = usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
            let pts = START + MediaTime::from_ticks(1024 * units.len() as i64, ClockRate::new(44_100).unwrap());
            units.push(unit(&source, pts, rest[7..len].to_vec()));
            rest = &rest[len..];
        }
        let packets = made(&mut transcoder, &units);
        assert!((45..=53).contains(&packets.len()), "{}", packets.len());
        assert!((pitch(&packets) - 400.0).abs() < 5.0, "{}", pitch(&packets));
        let steps = packets.windows(2).map(|pair| (pair[1].unit.pts - pair[0].unit.pts).millis());
        assert!(steps.into_iter().all(|step| step == 20));
        assert!(
            (packets[0].unit.pts - START).abs() < MediaTime::from_millis(25),
            "what resampling holds back is seen to"
        );
    }

    #[test]
    fn a_gap_is_a_gap_in_the_packets_too() {
        let (source, derived) = g711();
        let mut transcoder = Transcoder::new(&source, &derived).unwrap();
        let mut units = telephone(&source, 20, 440.0);
        units.drain(8..12);
        let times = times(&made(&mut transcoder, &units));
        assert_eq!(times[7..9], [140, 240]);
    }

    #[test]
    fn sound_stays_with_the_picture_when_the_cameras_clocks_drift() {
        for (stretch, what) in [(1.002, "stamps run ahead"), (0.998, "stamps fall behind")] {
            let (source, derived) = g711();
            let mut transcoder = Transcoder::new(&source, &derived).unwrap();
            let mut units = telephone(&source, 3000, 440.0);
            for unit in &mut units {
                unit.pts = START + MediaTime::from_nanos(((unit.pts - START).nanos() as f64 * stretch) as i64);
            }
            let packets = made(&mut transcoder, &units);
            let off = packets.last().unwrap().unit.pts - units.last().unwrap().pts;
            assert!(off.abs() <= MediaTime::from_millis(60), "{what}: {off:?}");
            assert!(packets.is_sorted_by_key(|packet| packet.unit.pts), "{what}");
            assert!((2900..=3000).contains(&packets.len()), "{what}: {}", packets.len());
        }
    }

    #[test]
    fn a_splice_and_a_jump_begin_another_run() {
        let (source, derived) = g711();
        let mut transcoder = Transcoder::new(&source, &derived).unwrap();
        let mut units = telephone(&source, 30, 440.0);
        units[10].spliced = true;
        for unit in &mut units[20..] {
            unit.pts += MediaTime::from_millis(60_000);
        }
        let packets = made(&mut transcoder, &units);
        let begins: Vec<_> =
            packets.iter().filter(|packet| packet.spliced).map(|p| (p.unit.pts - START).millis()).collect();
        assert_eq!(begins, [0, 200, 60_400]);
    }

    #[test]
    fn a_broken_unit_costs_itself_alone() {
        let config = AacConfig::lc(44_100, 1);
        let (source, derived) = tracks(CodecParameters::Aac(AacParameters::from_config(&config)), 44_100);
        let mut transcoder = Transcoder::new(&source, &derived).unwrap();
        for payload in [&[][..], &[0xff; 3], &[0x21, 0x40, 0xff, 0xff, 0xff, 0xff], &[0x55; 700]] {
            let _ = transcoder.handle(&unit(&source, START, payload.to_vec()), &mut Vec::new());
        }
        let frame = &TONE[7..(usize::from(TONE[3] & 3) << 11 | usize::from(TONE[4]) << 3 | usize::from(TONE[5] >> 5))];
        let later = START + MediaTime::from_millis(5_000);
        assert_eq!(transcoder.handle(&unit(&source, later, frame.to_vec()), &mut Vec::new()), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_camera_sends_the_decoders_stand_it(
            units in proptest::collection::vec((proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), -2_000_i64..2_000), 1..20),
            codec in 0..4,
        ) {
            let pcm = PcmParameters { sample_rate: 11_025, channels: 2 };
            let (source, derived) = match codec {
                0 => tracks(CodecParameters::Aac(AacParameters::from_config(&AacConfig::lc(32_000, 2))), 32_000),
                1 => tracks(CodecParameters::G711A(pcm), 11_025),
                2 => tracks(CodecParameters::L16(pcm), 11_025),
                _ => g711(),
            };
            let mut transcoder = Transcoder::new(&source, &derived).unwrap();
            let (mut at, mut packets) = (START, Vec::new());
            for (payload, step) in units {
                at += MediaTime::from_millis(step);
                let _ = transcoder.handle(&unit(&source, at.max(MediaTime::ZERO), payload), &mut packets);
            }
            proptest::prop_assert!(packets.iter().all(|packet| packet.unit.payload.len() <= PACKET_MAX));
        }
    }
}
