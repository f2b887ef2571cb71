//! What the micro-benchmark measures: one picture for one viewer, headers written and sealed, nothing sent.

use std::sync::Arc;

use super::line::{Beginning, Line};
use crate::{
    base::{Monotonic, WallTime},
    hub::RingKey,
    media::{CodecParameters, MediaTime, Plan, Track, TrackSet, Unit},
    rtp,
    webrtc::{
        sdp::ChosenLine,
        srtp::{MediaKeys, Profile, Sealer},
    },
};

/// A viewer's line of pictures and a picture of so many packets.
pub struct ViewerUnit {
    line: Line,
    sealer: Sealer,
    unit: Unit,
    buffer: Vec<u8>,
}

impl ViewerUnit {
    /// A picture of seven packets of 1188 bytes. `None` if the track cannot go over the line.
    pub fn new(track: Track, chosen: &ChosenLine, profile: Profile, payload: bytes::Bytes) -> Option<Self> {
        let keys = MediaKeys { profile, key: [7; 16], salt: [9; 14] };
        debug_assert!(!matches!(track.parameters, CodecParameters::Opaque(_)), "pictures are cut into packets");
        let (lead, fragments) = rtp::plan(&track, &payload, false, false);
        let track = Arc::new(track);
        let set = TrackSet { generation: track.generation, tracks: vec![track.clone()] };
        let line = Line::new(chosen, &set, Beginning { sequence: 1, rtx_sequence: 1, timestamp: 1 })?;
        let unit = Unit {
            track,
            index: 0,
            pts: MediaTime::from_millis(10_000),
            dts: MediaTime::from_millis(10_000),
            captured: None,
            arrived: Monotonic::default(),
            random_access: false,
            after_loss: false,
            spliced: false,
            payload,
            plan: Plan { first_packet: 0, lead, fragments },
        };
        Some(Self { line, sealer: Sealer::new(&keys), unit, buffer: Vec::with_capacity(65_536) })
    }

    /// Writes and seals the picture once more, under new numbers; how many bytes that made.
    pub fn seal(&mut self) -> usize {
        self.unit.plan.first_packet += self.unit.plan.packets();
        self.unit.pts += MediaTime::from_millis(40);
        let (now, wall) = (Monotonic::default(), WallTime::from_unix_nanos(0));
        let begun = self.line.begin(RingKey::default(), &self.unit, false, now, wall);
        let Some(mut begun) = begun else { return 0 };
        self.buffer.clear();
        while begun.sent < self.unit.plan.fragments.len() {
            let run = self.line.run(&self.unit, &begun, self.sealer.overhead(), 64, false);
            self.line.seal(&mut self.sealer, &self.unit, &mut begun, run.packets, &mut self.buffer);
        }
        self.buffer.len()
    }

    /// How many packets that is.
    pub fn packets(&self) -> usize {
        self.unit.plan.fragments.len()
    }
}
