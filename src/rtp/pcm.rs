//! Sampled sound over RTP: G.711, G.722 and L16 (RFC 3551 §4.5.14, §4.5.2, §4.5.11).
//!
//! The payload is the samples. Each packet wants a timestamp of its own, and a unit has but one: sources cut what they
//! receive with [`pieces`], so that every unit is one packet. A longer unit is still cut here, on whole samples.

use std::ops::Range;

use super::slices;
use crate::media::{
    Fragment,
    plan::{Body, PAYLOAD_MAX},
    track::PcmParameters,
};

/// How samples lie in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Bytes that make one tick of the RTP clock, all channels together.
    bytes_per_tick: usize,
}

impl Sampling {
    /// G.711, and G.722, whose clock runs at half its sampling rate: a byte a tick and channel.
    pub fn octets(parameters: &PcmParameters) -> Self {
        Self { bytes_per_tick: usize::from(parameters.channels).max(1) }
    }

    /// L16: two bytes a tick and channel.
    pub fn l16(parameters: &PcmParameters) -> Self {
        Self { bytes_per_tick: usize::from(parameters.channels).max(1) * 2 }
    }

    /// Ticks of the RTP clock that so many bytes last.
    pub const fn ticks(self, bytes: usize) -> usize {
        bytes / self.bytes_per_tick
    }
}

/// Pieces of `len` bytes that each fit one packet: when each begins, in ticks of the RTP clock after the first, and
/// where it lies. Bytes that make no whole sample are left out.
pub fn pieces(len: usize, sampling: Sampling) -> impl Iterator<Item = (usize, Range<usize>)> {
    let unit = sampling.bytes_per_tick;
    let ticks = sampling.ticks(len);
    slices(0..ticks, PAYLOAD_MAX / unit, 0)
        .filter(|slice| !slice.range.is_empty())
        .map(move |slice| (slice.range.start, slice.range.start * unit..slice.range.end * unit))
}

/// Cuts a unit on whole samples. RFC 3551 §4.1: without silence suppression the marker is never set.
pub(super) fn plan(payload: &[u8], sampling: Sampling) -> Box<[Fragment]> {
    pieces(payload.len(), sampling).filter_map(|(_, range)| Fragment::new(&[], Body::Payload, range, false)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::CodecParameters,
        rtp::testing::{assert_one_size, sent},
    };

    #[test]
    fn pieces_begin_where_their_samples_do() {
        let stereo = Sampling::l16(&PcmParameters { sample_rate: 48_000, channels: 2 });
        let cut: Vec<_> = pieces(3841, stereo).collect();
        assert_eq!(cut, [(0, 0..960), (240, 960..1920), (480, 1920..2880), (720, 2880..3840)]);
        assert_eq!(pieces(3, stereo).count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(payload in proptest::collection::vec(any::<u8>(), 0..6000), channels in 0_u8..=8) {
            let pcm = PcmParameters { sample_rate: 8_000, channels };
            for (parameters, unit) in [
                (CodecParameters::G711A(pcm), 1),
                (CodecParameters::G711U(pcm), 1),
                (CodecParameters::G722(pcm), 1),
                (CodecParameters::L16(pcm), 2),
            ] {
                let unit = unit * usize::from(channels.max(1));
                let packets = sent(&parameters, &payload.clone().into(), true);
                assert_one_size(&packets);
                prop_assert!(packets.iter().all(|packet| !packet.marker && packet.payload.len().is_multiple_of(unit)));
                let together: Vec<u8> = packets.into_iter().flat_map(|packet| packet.payload).collect();
                prop_assert_eq!(&together[..], &payload[..payload.len() / unit * unit]);
            }
        }
    }
}
