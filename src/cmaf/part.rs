//! One part: a `moof` with a `traf` per track and one `mdat` (ISO 14496-12 §8.8; ISO 23000-19 §7.3.2.3). Bytes out of
//! values; it cuts nothing.
//!
//! The payload of each sample is copied once, into the part's own bytes, which segment and viewers share. Offsets are
//! worked out before anything is written, so that `moof` is written once.

use bytes::{Bytes, BytesMut};
use mp4_atom::{Encode as _, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

/// A unit once inside fMP4, in ticks of its track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// How long it is shown.
    pub(super) duration: u32,
    /// Presentation after decoding.
    pub(super) composition: i32,
    /// A decoder can start here.
    pub(super) random_access: bool,
    /// The coded bytes.
    pub(super) payload: Bytes,
}

/// The samples of one track within a part, without a hole between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The track's number in the init segment.
    pub(super) track: u32,
    /// Pictures: samples depend on each other and may be shown in another order than decoded.
    pub(super) pictures: bool,
    /// Decode time of the first sample.
    pub(super) base: u64,
    /// The samples.
    pub(super) samples: Vec<Sample>,
}

impl Run {
    fn payload_len(&self) -> usize {
        self.samples.iter().map(|sample| sample.payload.len()).sum()
    }

    fn traf_len(&self) -> usize {
        let (default_flags, entry) = if self.pictures { (0, 16) } else { (4, 8) };
        TRAF_FIXED + default_flags + entry * self.samples.len()
    }
}

/// §8.8.3.1: depends on nothing, a sync sample.
const SYNC: u32 = 0x0200_0000;
/// §8.8.3.1: depends on others, not a sync sample.
const NOT_SYNC: u32 = 0x0101_0000;

/// `moof` and `mfhd`.
const MOOF_FIXED: usize = 8 + 16;
/// `traf`, `tfhd`, `tfdt` of version 1, and `trun` with its count and data offset.
const TRAF_FIXED: usize = 8 + 16 + 20 + 20;
const MDAT_HEADER: usize = 8;

/// Writes a part. `sequence` counts parts; runs without samples are passed over.
pub(super) fn encode(sequence: u32, runs: &[Run]) -> Bytes {
    let runs = || runs.iter().filter(|run| !run.samples.is_empty());
    let moof_len = MOOF_FIXED + runs().map(Run::traf_len).sum::<usize>();
    let payload_len: usize = runs().map(Run::payload_len).sum();
    let mut offset = moof_len + MDAT_HEADER;
    let mut traf = Vec::with_capacity(2);
    for run in runs() {
        traf.push(fragment(run, offset));
        offset += run.payload_len();
    }
    let moof = Moof { mfhd: Mfhd { sequence_number: sequence }, traf };
    let mut out = BytesMut::with_capacity(offset);
    moof.encode(&mut out).expect("a moof of values in range should be written");
    debug_assert_eq!(out.len(), moof_len, "data offsets point behind the moof");
    out.extend_from_slice(&u32::try_from(MDAT_HEADER + payload_len).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(b"mdat");
    for sample in runs().flat_map(|run| &run.samples) {
        out.extend_from_slice(&sample.payload);
    }
    out.freeze()
}

/// Writes a part of tracks that have nothing to show from a time on: what stands behind the name of a gap. Players that do
/// not know gaps ask for it; VLC 3 stops at an error, and at bytes without a fragment.
pub(super) fn encode_nothing(sequence: u32, tracks: impl IntoIterator<Item = (u32, u64)>) -> Bytes {
    let nothing = |(track, base)| {
        let run = Run { track, pictures: false, base, samples: Vec::new() };
        fragment(&run, 0)
    };
    let moof = Moof { mfhd: Mfhd { sequence_number: sequence }, traf: tracks.into_iter().map(nothing).collect() };
    let mut out = BytesMut::with_capacity(256);
    moof.encode(&mut out).expect("a moof of values in range should be written");
    out.extend_from_slice(&(MDAT_HEADER as u32).to_be_bytes());
    out.extend_from_slice(b"mdat");
    out.freeze()
}

fn fragment(run: &Run, data_offset: usize) -> Traf {
    let entry = |sample: &Sample| TrunEntry {
        duration: Some(sample.duration),
        size: Some(u32::try_from(sample.payload.len()).unwrap_or(u32::MAX)),
        flags: run.pictures.then_some(if sample.random_access { SYNC } else { NOT_SYNC }),
        cts: run.pictures.then_some(sample.composition.into()),
    };
    let samples: Vec<_> = run.samples.iter().map(entry).collect();
    Traf {
        tfhd: Tfhd {
            track_id: run.track,
            default_base_is_moof: true,
            default_sample_flags: (!run.pictures).then_some(SYNC),
            ..Tfhd::default()
        },
        tfdt: Some(Tfdt { base_media_decode_time: run.base }),
        trun: vec![Trun { data_offset: i32::try_from(data_offset).ok(), samples: samples.into() }],
        ..Traf::default()
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Any, Decode as _, Header, ReadFrom as _};
    use proptest::prelude::*;

    use super::*;

    fn sample(duration: u32, composition: i32, random_access: bool, payload: &'static [u8]) -> Sample {
        Sample { duration, composition, random_access, payload: Bytes::from_static(payload) }
    }

    fn atoms(mut part: &[u8]) -> Vec<Any> {
        let mut found = Vec::new();
        while let Some(atom) = Option::<Any>::read_from(&mut part).unwrap() {
            found.push(atom);
        }
        found
    }

    #[test]
    fn every_sample_is_found_where_its_run_says() {
        let picture = vec![sample(3600, 7200, true, b"IDR picture"), sample(3600, 0, false, b"P")];
        let sound = vec![sample(1024, 0, true, b"first"), sample(1024, 0, true, b"second")];
        let base = u64::from(u32::MAX) + 5;
        let part = encode(
            7,
            &[
                Run { track: 1, pictures: true, base, samples: picture.clone() },
                Run { track: 2, pictures: false, base: 48_000, samples: sound.clone() },
            ],
        );
        let [Any::Moof(moof), Any::Mdat(mdat)] = &atoms(&part)[..] else { panic!("a moof and an mdat") };
        assert_eq!((moof.mfhd.sequence_number, moof.traf.len()), (7, 2));
        assert_eq!(mdat.data.len(), 11 + 1 + 5 + 6);
        for (traf, (samples, base)) in moof.traf.iter().zip([(&picture, base), (&sound, 48_000)]) {
            assert!(traf.tfhd.default_base_is_moof && traf.tfhd.base_data_offset.is_none());
            assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, base);
            let run = &traf.trun[0];
            let mut at = run.data_offset.unwrap() as usize;
            for (entry, sample) in run.samples.iter().zip(samples) {
                let size = entry.size.unwrap() as usize;
                assert_eq!(&part[at..at + size], &sample.payload[..]);
                assert_eq!(entry.duration, Some(sample.duration));
                let flags = entry.flags.or(traf.tfhd.default_sample_flags);
                assert_eq!(flags, Some(if sample.random_access { SYNC } else { NOT_SYNC }));
                assert_eq!(entry.cts.unwrap_or(0), i64::from(sample.composition));
                at += size;
            }
        }
    }

    #[test]
    fn runs_are_written_with_signed_composition_and_64_bit_decode_time() {
        let run = Run { track: 1, pictures: true, base: 1, samples: vec![sample(1, -5, true, b"x")] };
        let part = encode(1, &[run]);
        let mut moof = &part[..];
        let header = Header::decode(&mut moof).unwrap();
        assert_eq!(header.kind, b"moof".into());
        let version_of = |kind: &[u8; 4]| {
            let at = part.windows(4).position(|window| window == kind).unwrap();
            part[at + 4]
        };
        assert_eq!((version_of(b"tfdt"), version_of(b"trun")), (1, 1));
    }

    proptest! {
        #[test]
        fn moof_is_as_long_as_it_was_reckoned(
            runs in prop::collection::vec(
                (any::<bool>(), any::<u64>(), prop::collection::vec((any::<u32>(), any::<i32>(), any::<bool>(), 0..99_usize), 0..9)),
                0..4,
            ),
        ) {
            let runs: Vec<_> = runs.into_iter().enumerate().map(|(i, (pictures, base, samples))| Run {
                track: i as u32 + 1,
                pictures,
                base,
                samples: samples.into_iter().map(|(duration, composition, random_access, len)| Sample {
                    duration, composition, random_access, payload: vec![1; len].into(),
                }).collect(),
            }).collect();
            let part = encode(1, &runs);
            prop_assert_eq!(atoms(&part).len(), 2);
        }
    }
}
