//! One run of a muxer without its task: a segmenter, the window over what it made, and the place on the path's line.
//! Units, tracks and times in, snapshots out; sans-IO.

use std::sync::Arc;

use super::{
    CmafPolicy, Recalled,
    init::InitError,
    line::Place,
    segmenter::{SegmentPolicy, Segmenter, Step},
    snapshot::{CmafSnapshot, Promise, RunToken, Window, WindowPolicy},
    tracks::{LeftOut, Selection},
};
use crate::{
    base::{Monotonic, WallTime},
    media::{TrackSet, Unit},
};

/// What a muxer makes.
#[derive(Debug)]
pub(crate) struct Production {
    segmenter: Segmenter,
    window: Window,
    place: Place,
    left_out: Arc<[LeftOut]>,
}

/// What came of it since the last look.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What there is now, once there is anything.
    pub(crate) snapshot: Option<Arc<CmafSnapshot>>,
    /// Segments began or ended.
    pub(crate) segments: bool,
    /// A segment was cut without a random access point.
    pub(crate) forced: bool,
}

impl Production {
    /// A run that goes on with what is recalled.
    ///
    /// # Errors
    /// The tracks cannot be described.
    pub(super) fn new(
        policy: &CmafPolicy,
        selection: Selection,
        set: &TrackSet,
        place: Place,
        recalled: &Recalled,
        run: RunToken,
    ) -> Result<Self, InitError> {
        let segments = SegmentPolicy {
            part: policy.part.into(),
            segment: policy.segment.into(),
            target: place.target(recalled.target_duration.into()),
            bytes: policy.max_bytes / 4,
        };
        let segmenter = Segmenter::new(segments, selection, set, place.offset)?;
        let window = WindowPolicy { segments: policy.segments, bytes: policy.max_bytes };
        let window = Window::new(window, run, recalled.next_sequence, place.path_era());
        let left_out = segmenter.carried().left_out.clone().into();
        Ok(Self { segmenter, window, place, left_out })
    }

    /// A unit that was captured at `captured`.
    pub(crate) fn push(&mut self, unit: &Arc<Unit>, captured: WallTime) {
        self.segmenter.push(unit, captured);
    }

    /// Other tracks, or tracks with other parameters, are in force from the next unit on.
    ///
    /// # Errors
    /// The tracks cannot be described; nothing is carried until others come.
    pub(crate) fn handle_tracks(&mut self, set: &TrackSet) -> Result<(), InitError> {
        let taken = self.segmenter.handle_tracks(set);
        self.left_out = self.segmenter.carried().left_out.clone().into();
        taken
    }

    /// Units are missing.
    pub(crate) fn handle_loss(&mut self) {
        self.segmenter.handle_loss();
    }

    /// No more will come, ever.
    pub(crate) fn handle_end(&mut self) {
        self.segmenter.handle_loss();
        self.window.end();
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn poll_deadline(&self) -> Option<Monotonic> {
        self.segmenter.poll_deadline()
    }

    /// The time [`Self::poll_deadline`] named has come.
    pub(crate) fn handle_timeout(&mut self, now: Monotonic) {
        self.segmenter.handle_timeout(now);
    }

    /// The number the next segment will have, and the path's discontinuity sequence number.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.window.next_sequence(), self.place.path_era())
    }

    /// What has come of everything since the last call, if anything has.
    pub(crate) fn poll_progress(&mut self) -> Option<Progress> {
        let steps = self.segmenter.poll_steps();
        self.place.tell(self.segmenter.newest());
        if steps.is_empty() && !self.window.is_ending() {
            return None;
        }
        let part_target = self.segmenter.part_target()?;
        let hold_back = self.place.hold_back(part_target);
        self.window.promise(Promise { target: self.segmenter.target(), part_target, hold_back });
        let (mut segments, mut forced) = (false, false);
        for step in steps {
            segments |= !matches!(step, Step::Part(_));
            forced |= matches!(step, Step::Open { independent: false, .. });
            let place = &mut self.place;
            self.window.apply(step, |discontinuity, independent| place.era(discontinuity, independent));
        }
        let snapshot = self.window.snapshot(&self.left_out).map(Arc::new);
        Some(Progress { snapshot, segments, forced })
    }

    /// Where the newest unit stands on the path's timeline, and when it arrived.
    #[cfg(test)]
    pub(crate) fn newest(&self) -> Option<(Monotonic, crate::media::MediaTime)> {
        self.segmenter.newest()
    }
}
