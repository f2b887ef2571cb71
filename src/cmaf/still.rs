//! What a lead-in is made of: pictures that may be shown over and over, and silence. Values only.

use bytes::Bytes;

use super::snapshot::Init;
use crate::media::{Codec, CodecParameters, Track, h264, h265};

/// Whether a decoder may be given this picture of the leading track several times before it goes on from there.
pub(super) fn can_be_repeated(init: &Init, payload: &[u8]) -> bool {
    match init.tracks.first().map(|track| track.codec()) {
        // Pictures that follow any other random access point may refer to what came before it.
        Some(Codec::H264) => h264::random_access(payload) == Some(h264::RandomAccess::Idr),
        Some(Codec::H265) => h265::Picture::of(payload) == Some(h265::Picture::Idr),
        Some(Codec::Av1 | Codec::Vp9) => true,
        // Sound repeated is no lead-in.
        _ => false,
    }
}

/// A packet of silence for a track, if there is one that is known to be understood.
pub(super) fn silence(track: &Track) -> Option<Bytes> {
    /// AAC-LC: one channel element with nothing in it, or one pair of them.
    const MONO: &[u8] = &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
    const STEREO: &[u8] = &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];
    /// RFC 6716 §3.1: CELT, full band, 20 ms, one frame; then nothing that is coded.
    const OPUS_MONO: &[u8] = &[0xf8, 0xff, 0xfe];
    const OPUS_STEREO: &[u8] = &[0xfc, 0xff, 0xfe];
    match &track.parameters {
        CodecParameters::Aac(p) if p.object_type == 2 && p.frame_samples == 1024 => match p.channels {
            1 => Some(Bytes::from_static(MONO)),
            2 => Some(Bytes::from_static(STEREO)),
            _ => None,
        },
        CodecParameters::Opus(p) => Some(Bytes::from_static(if p.channels == 1 { OPUS_MONO } else { OPUS_STEREO })),
        _ => None,
    }
}
