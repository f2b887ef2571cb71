//! RTP without sockets: how units are cut into packets, how packets become units, and what RTCP says.
//!
//! A *planner* turns the payload of a unit into fragments, once for all readers and without copying; it knows no
//! sequence number, no timestamp and no SSRC. A *depacketiser* or assembler turns the packets of one track back into
//! units. One file per payload format holds both, but for H.264, H.265 and AAC, where each has its own.

mod aac;
pub mod aac_assembler;
mod av1;
pub mod capture;
pub mod depacketise;
mod h264;
mod h265;
mod jpeg;
mod latm;
pub mod nal_assembler;
mod opus;
pub mod packet;
pub mod pcm;
pub mod resequence;
pub mod rtcp;
pub mod sequence;
#[cfg(test)]
mod testing;
pub mod transport_feedback;
mod vp8;
mod vp9;

use std::ops::Range;

use bytes::Bytes;

use crate::media::{CodecParameters, Fragment, Track, plan::Body};

/// Cuts one unit into packets: the lead and one fragment per packet, in order.
///
/// `payload` is what [`crate::media::AccessUnit`] says for the track's codec; `random_access` puts the parameter sets
/// of the track in front; `marker` is the marker of an opaque packet and ignored elsewhere. A payload that is broken
/// yields what could be made of it, at worst nothing.
pub fn plan(track: &Track, payload: &Bytes, random_access: bool, marker: bool) -> (Bytes, Box<[Fragment]>) {
    match &track.parameters {
        CodecParameters::H264(parameters) => h264::plan(parameters, payload, random_access),
        CodecParameters::H265(parameters) => h265::plan(parameters, payload, random_access),
        CodecParameters::Av1(parameters) => av1::plan(parameters, payload, random_access),
        CodecParameters::Vp8(_) => (Bytes::new(), vp8::plan(payload)),
        CodecParameters::Vp9(_) => (Bytes::new(), vp9::plan(payload)),
        CodecParameters::Jpeg(_) => jpeg::plan(payload),
        CodecParameters::Aac(_) => (Bytes::new(), aac::plan(payload)),
        // RFC 7587 §4.2: the packet is the payload; the marker would mean that silence came before.
        CodecParameters::Opus(_) => (Bytes::new(), whole(payload, false)),
        CodecParameters::G711A(p) | CodecParameters::G711U(p) | CodecParameters::G722(p) => {
            (Bytes::new(), pcm::plan(payload, pcm::Sampling::octets(p)))
        }
        CodecParameters::L16(p) => (Bytes::new(), pcm::plan(payload, pcm::Sampling::l16(p))),
        CodecParameters::Opaque(_) => (Bytes::new(), whole(payload, marker)),
    }
}

/// The payload as one packet without a head, however long it is.
fn whole(payload: &[u8], marker: bool) -> Box<[Fragment]> {
    if payload.is_empty() {
        return Box::default();
    }
    Fragment::new(&[], Body::Payload, 0..payload.len(), marker).into_iter().collect()
}

/// One packet's share of a run of bytes.
struct Slice {
    range: Range<usize>,
    first: bool,
    last: bool,
}

/// Cuts bytes that lie at `range` into slices for packets that hold `most` each, the first of them `reserved` bytes
/// less. With what is reserved all but the last have the same size, so that they may leave in one run of segmentation
/// offload. No bytes make one empty slice.
fn slices(range: Range<usize>, most: usize, reserved: usize) -> impl Iterator<Item = Slice> {
    let Range { start, end } = range;
    let total = end - start + reserved;
    let count = total.div_ceil(most).max(1);
    let size = total.div_ceil(count);
    (0..count).map(move |index| {
        let at = |index: usize| (start + (index * size).saturating_sub(reserved)).min(end);
        Slice { range: at(index)..at(index + 1), first: index == 0, last: index + 1 == count }
    })
}
