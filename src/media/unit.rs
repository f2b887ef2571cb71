//! The access unit: before the hub gave it its place, and after.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    plan::{Body, Fragment, Plan},
    time::MediaTime,
    track::{Track, TrackId},
};
use crate::base::{Monotonic, WallTime};

/// An access unit as a source delivers it, on the source's own timeline.
///
/// The payload of H.264 and H.265 is a run of NAL units, each preceded by its length in 4 bytes, without parameter
/// sets and delimiters. AV1 is a temporal unit of OBUs with size fields, without delimiters. JPEG is a whole file.
/// Everything else is what its RTP payload format carries; sampled sound comes in units that fit one packet
/// (`rtp::pcm::pieces`), because each packet wants a timestamp. An opaque unit is the payload of one packet.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// The place of the track in the source's list.
    pub track: TrackId,
    /// When it is shown.
    pub pts: MediaTime,
    /// When it is decoded; never later than `pts`, never earlier than that of the unit before it on the track.
    pub dts: MediaTime,
    /// When the camera took it, if it says.
    pub captured: Option<WallTime>,
    /// When its last byte came in.
    pub arrived: Monotonic,
    /// A decoder can start here.
    pub random_access: bool,
    /// Something before it is missing: what follows up to the next random access point may be broken.
    pub after_loss: bool,
    /// The RTP marker of an opaque packet; ignored elsewhere.
    pub marker: bool,
    /// The bytes.
    pub payload: Bytes,
}

/// An access unit in a ring. Immutable and shared by all readers.
#[derive(Debug)]
pub struct Unit {
    /// Its track with the parameters in force.
    pub track: Arc<Track>,
    /// Its number in the ring, over all tracks, without gaps.
    pub index: u64,
    /// When it is shown, on the ring's timeline.
    pub pts: MediaTime,
    /// When it is decoded, on the ring's timeline; monotone on its track.
    pub dts: MediaTime,
    /// When the camera took it, as far as anybody knows.
    pub captured: Option<WallTime>,
    /// When it arrived.
    pub arrived: Monotonic,
    /// A decoder can start here.
    pub random_access: bool,
    /// Something between the unit before it on this track and this one is missing.
    pub after_loss: bool,
    /// The stream was spliced here: another run of the source begins.
    pub spliced: bool,
    /// The bytes, as [`AccessUnit`] says.
    pub payload: Bytes,
    /// How it goes into RTP packets.
    pub plan: Plan,
}

impl Unit {
    /// What this unit costs in memory, which the bounds of a ring count.
    pub fn cost(&self) -> usize {
        const OVERHEAD: usize = size_of::<Unit>() + 64;
        OVERHEAD + self.payload.len() + self.plan.fragments.len() * size_of::<Fragment>()
    }

    /// The slice of a fragment of this unit.
    pub fn slice(&self, fragment: &Fragment) -> &[u8] {
        let bytes = match fragment.body() {
            Body::Payload => &self.payload,
            Body::Lead => &self.plan.lead,
        };
        // A planner that names bytes outside its body is a fault of ours; an empty slice keeps the viewer alive.
        bytes.get(fragment.range()).unwrap_or_default()
    }
}
