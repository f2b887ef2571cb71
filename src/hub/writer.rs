//! The publishing end of a ring: splice, number, plan, append, strike the beat. One per ring, used by one run at a time.

use std::sync::Arc;

use super::{
    meter::{Meter, TrackFigures},
    ring::{Beat, Ring},
    splice::{Placed, Splicer},
};
use crate::{
    base::Monotonic,
    media::{
        AccessUnit, CodecParameters, Plan, Track, TrackDescription, TrackId, TrackSet, Unit, derived::with_derived,
    },
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

    /// A run of the source begins with these tracks; those that can be made of them follow. The same list as before
    /// keeps its generation, so that readers play on; another list is a new generation.
    pub(super) fn begin(&mut self, mut tracks: Vec<TrackDescription>) {
        tracks.truncate(usize::from(u8::MAX - 1));
        let tracks = with_derived(tracks);
        let made_of = |from: &Option<usize>| from.map(|from| TrackId(from as u8));
        let same_list = tracks.len() == self.set.tracks.len()
            && tracks
                .iter()
                .zip(&self.set.tracks)
                .all(|((new, from), old)| continues(new, old) && made_of(from) == old.derived_from);
        if same_list && !tracks.is_empty() {
            for (id, (description, _)) in tracks.into_iter().enumerate() {
                self.set_parameters(TrackId(id as u8), description.parameters);
            }
            self.meter.resume();
        } else {
            let generation = self.set.generation + 1;
            let track = |(id, (new, from)): (usize, (TrackDescription, Option<usize>))| {
                let TrackDescription { kind, clock_rate, parameters } = new;
                let (id, derived_from) = (TrackId(id as u8), made_of(&from));
                Arc::new(Track { id, kind, clock_rate, parameters, derived_from, generation, revision: 0 })
            };
            let tracks: Vec<_> = tracks.into_iter().enumerate().map(track).collect();
            self.packets = vec![0; tracks.len()];
            self.meter.begin(tracks.len());
            self.put_in_force(TrackSet { generation, tracks });
        }
        self.splicer.begin(self.set.tracks.len(), self.set.leading().map(|track| track.id));
    }

    /// Packets of a track did not arrive.
    pub(super) fn note_lost(&mut self, track: TrackId, packets: u64) {
        self.meter.lost(track, packets);
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
        let Some(track) = self.set.track(unit.track).filter(|track| !track.is_derived()).cloned() else { return false };
        let Some(placed) = self.splicer.admit(&unit) else { return false };
        self.publish(track, unit, placed);
        true
    }

    /// Publishes a unit of a track that this server makes, whose times are the ring's already; `false` if the track is
    /// not in force any more.
    pub(super) fn push_derived(&mut self, track: &Arc<Track>, unit: AccessUnit, spliced: bool) -> bool {
        let Some(track) = self.set.track(track.id).filter(|known| Arc::ptr_eq(known, track)).cloned() else {
            return false;
        };
        let placed = Placed { pts: unit.pts, dts: unit.dts, spliced };
        self.publish(track, unit, placed);
        true
    }

    fn publish(&mut self, track: Arc<Track>, unit: AccessUnit, placed: Placed) {
        let packets = &mut self.packets[usize::from(track.id.0)];
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
