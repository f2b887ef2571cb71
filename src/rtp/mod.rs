//! RTP without sockets: how units are cut into packets, how packets become units, and what RTCP says.
//!
//! A *planner* turns the payload of a unit into fragments, once for all readers and without copying; it knows no
//! sequence number, no timestamp and no SSRC. A *depacketiser* turns the packets of one track back into units; there is
//! one where `retina` has none. One file per payload format holds both.

pub mod capture;
pub mod h264;
pub mod packet;
pub mod rtcp;
pub mod sequence;
#[cfg(test)]
mod testing;

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
        CodecParameters::Opaque(_) => (Bytes::new(), whole(payload, marker)),
        _ => (Bytes::new(), Box::default()),
    }
}

/// The payload as one packet without a head.
fn whole(payload: &[u8], marker: bool) -> Box<[Fragment]> {
    Fragment::new(&[], Body::Payload, 0..payload.len(), marker).into_iter().collect()
}

/// How large the equal slices are in which `len` bytes go into packets that hold `most` each: all but the last have
/// the same size, so that they may leave in one run of segmentation offload.
const fn slice_size(len: usize, most: usize) -> usize {
    if len == 0 { 1 } else { len.div_ceil(len.div_ceil(most)) }
}
