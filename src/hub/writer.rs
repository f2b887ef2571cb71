//! The publishing end of a ring: splice, number, plan, append, strike the beat. One per ring, used by one run at a time.

use std::sync::Arc;

use super::{
    meter::{Meter, TrackFigures},
    ring::{Beat, Ring},
    splice::Splicer,
};
use crate::{
    base::Monotonic,
    media::{AccessUnit, CodecParameters, Plan, Track, TrackDescription, TrackId, TrackSet, Unit},
    rtp,
};

/// The state of publishing into one ring.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Arc<Ring>,
    set: Arc<TrackSet>,
    /// The next packet's number on each track; goes on over runs as long as the track list is the same.
    packets: Vec<u64>,
    splicer: Splicer,
    beat: Beat,
    meter: Meter,
    /// Units on their way out of the ring, freed outside its lock.
    evicted: Vec<Arc<Unit>>,
}

impl Writer {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        let set = ring.tracks();
        let (splicer, beat, meter) = (Splicer::default(), Beat::default(), Meter::default());
        Self { ring, set, packets: Vec::new(), splicer, beat, meter, evicted: Vec::new() }
    }

    /// A run of the source begins with these tracks. The same list as before keeps its generation, so that readers
    /// play on; another list is a new generation.
    pub(super) fn begin(&mut self, tracks: Vec<TrackDescription>) {
        let same_list = tracks.len() == self.set.tracks.len()
            && tracks.iter().zip(&self.set.tracks).all(|(new, old)| continues(new, old));
        if same_list && !tracks.is_empty() {
            for (id, description) in tracks.into_iter().enumerate() {
                self.set_parameters(TrackId(id as u8), description.parameters);
            }
        } else {
            let generation = self.set.generation + 1;
            let track = |(id, new): (usize, TrackDescription)| {
                let TrackDescription { kind, clock_rate, parameters } = new;
                Arc::new(Track { id: TrackId(id as u8), kind, clock_rate, parameters, generation, revision: 0 })
            };
            let tracks: Vec<_> = tracks.into_iter().take(usize::from(u8::MAX)).enumerate().map(track).collect();
            self.packets = vec![0; tracks.len()];
            self.meter.begin(tracks.len());
            self.put_in_force(TrackSet { generation, tracks });
        }
        self.splicer.begin(self.set.tracks.len(), self.set.leading().map(|track| track.id));
    }

    /// New parameters of one track, in force from the next unit on. Another codec needs [`Writer::begin`].
    pub(super) fn set_parameters(&mut self, id: TrackId, parameters: CodecParameters) {
        let Some(old) = self.set.track(id) else { return };
        if old.parameters == parameters || old.parameters.codec() != parameters.codec() {
            return;
        }
        let track = Track { parameters, revision: old.revision + 1, ..Track::clone(old) };
        let mut tracks = self.set.tracks.clone();
        tracks[usize::from(id.0)] = Arc::new(track);
        self.put_in_force(TrackSet { generation: self.set.generation, tracks });
    }

    fn put_in_force(&mut self, set: TrackSet) {
        self.set = Arc::new(set);
        self.ring.change_tracks(self.set.clone());
    }

    /// Publishes a unit; `false` if it was kept out.
    pub(super) fn push(&mut self, unit: AccessUnit) -> bool {
        let Some(track) = self.set.track(unit.track).cloned() else { return false };
        let Some(placed) = self.splicer.admit(&unit) else { return false };
        let packets = &mut self.packets[usize::from(unit.track.0)];
        let (lead, fragments) = rtp::plan(&track, &unit.payload, unit.random_access, unit.marker);
        let plan = Plan { first_packet: *packets, lead, fragments };
        *packets += plan.packets();
        let starts = unit.random_access && track.codec().has_dependent_units();
        self.meter.count(track.id, unit.arrived, placed.dts, unit.payload.len(), starts);
        let due = self.beat.due(track.kind, unit.arrived);
        let unit = Unit {
            index: self.ring.next_index(),
            pts: placed.pts,
            dts: placed.dts,
            captured: unit.captured,
            arrived: unit.arrived,
            random_access: unit.random_access,
            after_loss: unit.after_loss,
            spliced: placed.spliced,
            payload: unit.payload,
            plan,
            track,
        };
        self.ring.append(Arc::new(unit), &mut self.evicted);
        self.ring.units.strike();
        if due {
            self.ring.beats.strike();
        }
        self.evicted.clear();
        true
    }

    pub(super) fn figures(&self, track: TrackId, now: Monotonic) -> TrackFigures {
        self.meter.figures(track, now)
    }

    pub(super) fn longest_gop(&self) -> std::time::Duration {
        self.meter.longest_gop()
    }
}

/// Whether a track of a new run is the same component as before, perhaps with other parameters.
fn continues(new: &TrackDescription, old: &Track) -> bool {
    let same_coding = match (&new.parameters, &old.parameters) {
        (CodecParameters::Opaque(new), CodecParameters::Opaque(old)) => new == old,
        // Another rate or channel count of sound is another decoder for every player.
        (new, old) => new.codec() == old.codec() && new.sound() == old.sound(),
    };
    new.kind == old.kind && new.clock_rate == old.clock_rate && same_coding
}
