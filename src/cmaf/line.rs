//! What the muxers of one path have in common: one timeline, one count of discontinuities, one set of promises. A value
//! behind a lock that is held for a few additions.
//!
//! rfc8216bis §6.2.4 wants matching timestamps and discontinuity numbers, one target duration and the same server
//! control in all variants; a camera's two renditions are two rings that began at different times.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::snapshot::Era;
use crate::{
    base::{Monotonic, Rendition},
    media::MediaTime,
};

/// One path's line.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The discontinuity sequence number in force.
    era: u64,
    /// Some muxer has run on this path before.
    lived: bool,
    /// Muxers that run.
    alive: usize,
    rings: [Ring; 2],
    /// Where the live edge was, and when.
    newest: Option<(Monotonic, MediaTime)>,
    target: Option<MediaTime>,
    hold_back: Option<MediaTime>,
}

#[derive(Debug, Default)]
struct Ring {
    offset: MediaTime,
    users: usize,
}

const fn place(rendition: Rendition) -> usize {
    match rendition {
        Rendition::Main => 0,
        Rendition::Sub => 1,
    }
}

/// A muxer's place on the line; leaving it is dropping this.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<Line>,
    rendition: Rendition,
    /// From the ring's timeline to the path's.
    pub(super) offset: MediaTime,
    /// The number of the newest segment with media, once there is one.
    era: Option<u64>,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A muxer begins. `newest` is a unit of its ring: when it arrived and where it stands on the ring; `recalled` the
    /// discontinuity sequence number kept from before, if the path is known from before.
    pub(super) fn join(
        self: &Arc<Self>,
        rendition: Rendition,
        newest: Option<(Monotonic, MediaTime)>,
        recalled: Option<u64>,
    ) -> Place {
        let mut state = self.state();
        if let Some(recalled) = recalled {
            state.era = state.era.max(recalled);
        }
        let edge = state.newest;
        let others = state.alive > 0;
        if !others && (state.lived || recalled.is_some()) {
            // What comes does not go on from what the playlists showed in an earlier life. No tag says so: it stands
            // between segments, and those before it have left the playlist. (VLC 3 hangs at a tag.)
            state.era += 1;
        }
        let ring = &mut state.rings[place(rendition)];
        if ring.users == 0
            && others
            && let (Some((arrived, dts)), Some((at, edge))) = (newest, edge)
        {
            // The other rendition's live edge when this unit arrived; whole milliseconds divide every clock in use.
            let then = if arrived >= at { edge + arrived.since(at).into() } else { edge - at.since(arrived).into() };
            ring.offset = MediaTime::from_millis((then - dts).millis());
        }
        ring.users += 1;
        let offset = ring.offset;
        (state.alive, state.lived) = (state.alive + 1, true);
        drop(state);
        Place { line: self.clone(), rendition, offset, era: None }
    }
}

impl Place {
    /// The discontinuity sequence number in force on the path.
    pub(super) fn path_era(&self) -> u64 {
        self.line.state().era
    }

    /// Tells the others where the live edge is.
    pub(super) fn tell(&self, newest: Option<(Monotonic, MediaTime)>) {
        if newest.is_some() {
            self.line.state().newest = newest;
        }
    }

    /// The target duration of the path: the first muxer that runs decides, and all others keep to it.
    pub(super) fn target(&self, wanted: MediaTime) -> MediaTime {
        *self.line.state().target.get_or_insert(wanted)
    }

    /// How far from the end players of parts stay: three part targets (rfc8216bis §4.4.3.8), the same on the whole path
    /// unless that would be less than two of this playlist's.
    pub(super) fn hold_back(&self, part_target: MediaTime) -> MediaTime {
        let three = part_target + part_target + part_target;
        let shared = *self.line.state().hold_back.get_or_insert(three);
        if shared < part_target + part_target { three } else { shared }
    }

    /// The era of a segment that opens. Each tag is one step: who is behind the path by more catches up one by one.
    pub(super) fn era(&mut self, discontinuity: bool, independent: bool) -> Era {
        let mut state = self.line.state();
        let (sequence, tag) = match self.era {
            None => (state.era, false),
            Some(mine) if discontinuity => {
                state.era = state.era.max(mine + 1);
                (mine + 1, true)
            }
            // A player may set its decoder up anew at the tag, which takes a random access point.
            Some(mine) if independent && state.era > mine => (mine + 1, true),
            Some(mine) => (mine, false),
        };
        self.era = Some(sequence);
        Era { sequence, tag }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.rings[place(self.rendition)].users -= 1;
        state.alive -= 1;
        if state.alive == 0 {
            // The playlists have ended: what comes next may promise something else.
            (state.target, state.hold_back, state.newest) = (None, None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    fn time(ms: i64) -> MediaTime {
        MediaTime::from_millis(ms)
    }

    #[test]
    fn the_second_rendition_stands_on_the_timeline_of_the_first() {
        let line = Arc::new(Line::default());
        let main = line.join(Rendition::Main, Some((at(5_000), time(15_000))), None);
        assert_eq!(main.offset, MediaTime::ZERO);
        main.tell(Some((at(60_000), time(70_040))));
        // The smaller ring began just now, at its own origin.
        let sub = line.join(Rendition::Sub, Some((at(60_020), time(10_000))), None);
        assert_eq!(sub.offset + time(10_000), time(70_060));
        let sound = line.join(Rendition::Sub, Some((at(70_020), time(20_001))), None);
        assert_eq!(sound.offset, sub.offset, "one ring has one offset while somebody reads it");
    }

    #[test]
    fn a_known_path_begins_another_era_without_a_tag() {
        let line = Arc::new(Line::default());
        let mut place = line.join(Rendition::Main, None, None);
        assert_eq!(place.era(false, true), Era { sequence: 0, tag: false });
        drop(place);
        let mut again = line.join(Rendition::Main, None, None);
        assert_eq!(again.era(false, true), Era { sequence: 1, tag: false });
        let restarted = Arc::new(Line::default());
        let mut recalled = restarted.join(Rendition::Main, None, Some(64));
        assert_eq!(recalled.era(false, true), Era { sequence: 65, tag: false });
    }

    #[test]
    fn discontinuities_of_one_rendition_are_repeated_by_the_other_one_by_one() {
        let line = Arc::new(Line::default());
        let mut main = line.join(Rendition::Main, None, None);
        let mut sub = line.join(Rendition::Sub, None, None);
        let tag = |sequence| Era { sequence, tag: true };
        let plain = |sequence| Era { sequence, tag: false };
        assert_eq!((main.era(false, true), sub.era(false, true)), (plain(0), plain(0)));
        assert_eq!((main.era(true, true), main.era(true, true)), (tag(1), tag(2)));
        assert_eq!(sub.era(false, false), plain(0), "not without a random access point");
        assert_eq!((sub.era(false, true), sub.era(false, true), sub.era(false, true)), (tag(1), tag(2), plain(2)));
        // A reboot of the camera is one discontinuity, not one for each rendition.
        assert_eq!((main.era(true, true), sub.era(true, true), main.era(false, true)), (tag(3), tag(3), plain(3)));
    }

    #[test]
    fn promises_are_those_of_the_first_muxer_until_the_last_has_gone() {
        let line = Arc::new(Line::default());
        let main = line.join(Rendition::Main, None, None);
        let sub = line.join(Rendition::Sub, None, None);
        assert_eq!((main.target(time(4_000)), sub.target(time(9_000))), (time(4_000), time(4_000)));
        assert_eq!((main.hold_back(time(200)), sub.hold_back(time(240))), (time(600), time(600)));
        assert_eq!(sub.hold_back(time(1_000)), time(3_000), "less than two parts is not allowed");
        drop((main, sub));
        assert_eq!(line.join(Rendition::Sub, None, None).target(time(9_000)), time(9_000));
    }
}
