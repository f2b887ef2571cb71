//! The parameter sets of a video track, as announced and as they come along with the pictures: the latest of each id.
//!
//! What comes with the pictures is the truth; the announcement is often stale, incomplete, or another track's. The
//! track can be shown as soon as there is one of each kind that can be read.

use std::slice;

use bytes::Bytes;

use super::sdp;
use crate::{
    media::{
        CodecParameters,
        bits::{BitReader, unescape},
        h264, h265, nal,
        track::{H264Parameters, H265Parameters},
    },
    rtp::nal_assembler::NalFormat,
};

/// Sets of one kind that are kept; the oldest makes room. Streams use one or two.
const SETS_MAX: usize = 16;

/// A set longer than this is none.
const SET_LEN_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct ParameterSets {
    format: NalFormat,
    /// Of H.265 only.
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    parameters: Option<CodecParameters>,
}

impl ParameterSets {
    pub(super) fn new(format: NalFormat) -> Self {
        Self { format, vps: Vec::new(), sps: Vec::new(), pps: Vec::new(), parameters: None }
    }

    /// With the sets of an announcement, if there are any.
    pub(super) fn announced(format: NalFormat, fmtp: Option<&str>) -> Self {
        let mut sets = Self::new(format);
        let keys: &[&str] = match format {
            NalFormat::H264 => &["sprop-parameter-sets"],
            NalFormat::H265 => &["sprop-vps", "sprop-sps", "sprop-pps"],
        };
        for key in keys {
            let value = fmtp.and_then(|fmtp| sdp::parameter(fmtp, key)).unwrap_or_default();
            for announced in sdp::parameter_sets(value) {
                // Some cameras announce them with start codes, one of them with several sets in one.
                let stream = [&[0, 0, 1], &announced[..]].concat();
                for unit in nal::annex_b_units(&stream) {
                    sets.offer(slice::from_ref(&Bytes::copy_from_slice(unit)));
                }
            }
        }
        sets
    }

    /// Takes sets that came with a picture; says whether the parameters are others now.
    pub(super) fn offer(&mut self, offered: &[Bytes]) -> bool {
        let mut changed = false;
        for set in offered {
            changed |= self.place(set);
        }
        if !changed {
            return false;
        }
        let parameters = self.read();
        if parameters.is_none() || parameters == self.parameters {
            return false;
        }
        self.parameters = parameters;
        true
    }

    /// What a decoder needs, once that is complete.
    pub(super) fn parameters(&self) -> Option<&CodecParameters> {
        self.parameters.as_ref()
    }

    /// How many frames may wait, and frames per second × 1000.
    pub(super) fn timing(&self) -> (Option<u8>, Option<u32>) {
        match &self.parameters {
            Some(CodecParameters::H264(p)) => (p.reorder_depth, p.frame_rate_milli),
            Some(CodecParameters::H265(p)) => (p.reorder_depth, p.frame_rate_milli),
            _ => (None, None),
        }
    }

    /// Puts a set in the place of the one it replaces; `false` if it is known, or no set at all.
    fn place(&mut self, set: &Bytes) -> bool {
        let kind = match self.format {
            NalFormat::H264 => h264::unit_type(set),
            NalFormat::H265 => h265::unit_type(set),
        };
        let (known, first): (_, bool) = match (self.format, kind) {
            (NalFormat::H264, 7) | (NalFormat::H265, 33) => (&mut self.sps, true),
            (NalFormat::H264, 8) | (NalFormat::H265, 34) => (&mut self.pps, false),
            (NalFormat::H265, 32) => (&mut self.vps, false),
            _ => return false,
        };
        if set.len() > SET_LEN_MAX || known.iter().any(|one| one == set) {
            return false;
        }
        let Some(id) = id(self.format, kind, set) else { return false };
        match known.iter().position(|one| self::id(self.format, kind, one) == Some(id)) {
            Some(place) => known[place] = set.clone(),
            None => known.push(set.clone()),
        }
        if first {
            // The newest sequence parameter set is the one in use.
            let place = known.iter().position(|one| one == set).unwrap_or(0);
            known[..=place].rotate_right(1);
        }
        if known.len() > SETS_MAX {
            known.remove(if first { SETS_MAX } else { 0 });
        }
        true
    }

    fn read(&self) -> Option<CodecParameters> {
        if self.sps.is_empty() || self.pps.is_empty() {
            return None;
        }
        match self.format {
            NalFormat::H264 => {
                H264Parameters::parse(self.sps.clone(), self.pps.clone()).ok().map(CodecParameters::H264)
            }
            NalFormat::H265 if self.vps.is_empty() => None,
            NalFormat::H265 => H265Parameters::parse(self.vps.clone(), self.sps.clone(), self.pps.clone())
                .ok()
                .map(CodecParameters::H265),
        }
    }
}

/// The id of a set (H.264 §7.4.2.1.1, §7.4.2.2; H.265 §7.4.3.1–3): the set it replaces has the same.
fn id(format: NalFormat, kind: u8, set: &[u8]) -> Option<u32> {
    const ENOUGH: usize = 16;
    match (format, kind) {
        (NalFormat::H264, 7) => h264::Sps::parse(set).ok().map(|sps| u32::from(sps.id)),
        (NalFormat::H265, 33) => h265::Sps::parse(set).ok().map(|sps| u32::from(sps.id)),
        (NalFormat::H264, _) => BitReader::new(&unescape(set.get(1..)?, ENOUGH)).ue().ok(),
        (NalFormat::H265, 32) => set.get(2).map(|byte| u32::from(byte >> 4)),
        (NalFormat::H265, _) => BitReader::new(&unescape(set.get(2..)?, ENOUGH)).ue().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Bytes {
        sdp::hexadecimal(text).unwrap()
    }

    /// x264: 640×360 and 1280×720; a picture parameter set with id 0 and one with id 1.
    const SPS_360: &str = "6742c01eda0280bfe5c044000003000400000300c83c58ba80";
    const SPS_720: &str = "6742c01fd9005005bb011000000300100000030320f183192480";
    const PPS_0: &str = "68ce3c80";
    const PPS_1: &str = "6847e3c8";

    fn h264(sets: &ParameterSets) -> &H264Parameters {
        match sets.parameters() {
            Some(CodecParameters::H264(parameters)) => parameters,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_track_is_known_when_there_is_one_of_each_kind() {
        let mut sets = ParameterSets::new(NalFormat::H264);
        assert!(!sets.offer(&[hex(SPS_720)]));
        assert!(sets.offer(&[hex(PPS_0)]));
        assert_eq!(h264(&sets).size.map(|size| size.width), Some(1280));
        assert!(!sets.offer(&[hex(SPS_720), hex(PPS_0)]), "the same again is no change");
    }

    #[test]
    fn a_set_replaces_the_one_with_its_id_and_stands_beside_others() {
        let mut sets = ParameterSets::new(NalFormat::H264);
        sets.offer(&[hex(SPS_720), hex(PPS_0)]);
        assert!(sets.offer(&[hex(PPS_1)]));
        assert_eq!(h264(&sets).pps, [hex(PPS_0), hex(PPS_1)]);
        assert!(sets.offer(&[hex(SPS_360)]));
        assert_eq!((h264(&sets).sps.len(), h264(&sets).size.map(|size| size.height)), (1, Some(360)));
    }

    #[test]
    fn sets_that_are_none_change_nothing_and_do_not_gather() {
        let mut sets = ParameterSets::new(NalFormat::H264);
        sets.offer(&[hex(SPS_720), hex(PPS_0)]);
        let before = sets.parameters().cloned();
        for bad in [Bytes::new(), hex("67"), hex("6700"), hex("65aa"), Bytes::from(vec![0x68; 9000])] {
            assert!(!sets.offer(&[bad]));
        }
        assert_eq!(sets.parameters().cloned(), before);
        for id in 0..100_u32 {
            let ue = (u64::from(id) + 1) << (63 - 2 * (32 - (id + 1).leading_zeros() - 1) - 8);
            let set = [&[0x68][..], &(ue << 8).to_be_bytes()[..], &[id as u8 | 1]].concat();
            sets.offer(&[set.into()]);
        }
        assert!(sets.pps.len() <= SETS_MAX);
    }

    #[test]
    fn announcements_are_read_and_incomplete_ones_wait_for_the_pictures() {
        let fmtp = "packetization-mode=1;sprop-parameter-sets=Z0LAH9kAUAW7ARAAAAMAEAAAAwMg8YMZJIA=,aM48gA==;";
        assert!(ParameterSets::announced(NalFormat::H264, Some(fmtp)).parameters().is_some());
        let with_start_codes = "sprop-parameter-sets=AAAAAWdCwB/ZAFAFuwEQAAADABAAAAMDIPGDGSSAAAAAAWjOPIA=";
        assert!(ParameterSets::announced(NalFormat::H264, Some(with_start_codes)).parameters().is_some());
        let of_another_track = "config=1190;mode=AAC-hbr";
        assert!(ParameterSets::announced(NalFormat::H264, Some(of_another_track)).parameters().is_none());
        let vps = hex("40010c01ffff016000000300900000030000030078959409");
        let sps = hex("420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84");
        let mut sets = ParameterSets::announced(
            NalFormat::H265,
            Some("sprop-sps=QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC8BaAgAAAAwCAAAAMhA=="),
        );
        assert_eq!(sets.sps, [sps]);
        assert!(sets.parameters().is_none());
        assert!(sets.offer(&[vps, hex("4401c172b46240")]));
    }
}
