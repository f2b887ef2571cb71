//! Cameras as the rules look at them, once a second. A sans-IO part of [`Rules`].

use super::{
    camera::{CameraSample, CameraStanding},
    input::Subject,
    leaf::{LeafState, Sort},
    machine::{Rules, Timer},
    tree::LeafKey,
};
use crate::base::{Moment, PathName};

impl Rules {
    /// A look at all cameras. One that is not among them any more has no trouble, and is forgotten.
    pub fn handle_cameras(&mut self, samples: &[CameraSample], now: Moment) {
        for sample in samples {
            self.handle_camera(sample, now);
        }
        if self.cameras.len() > samples.len() {
            let there = |path: &PathName| samples.iter().any(|sample| sample.path == *path);
            let gone: Vec<PathName> = self.cameras.keys().filter(|path| !there(path)).cloned().collect();
            for path in gone {
                self.forget_camera(path, now);
            }
        }
    }

    /// A look at one camera.
    pub fn handle_camera(&mut self, sample: &CameraSample, now: Moment) {
        self.handle_timeout(now);
        let (health, title) = self.cameras.entry(sample.path.clone()).or_default();
        title.clone_from(&sample.title);
        let troubles = health.handle_sample(sample, now.monotonic);
        self.tell_leaves(
            None,
            |leaf| leaf.whose.fits_path(Some(&sample.path)),
            &Subject::Path(sample.path.clone()),
            now,
            |leaf, before| match LeafState::of_camera(leaf, before.as_ref(), troubles, now) {
                Some(state) => Some(state),
                None => before,
            },
        );
    }

    fn forget_camera(&mut self, path: PathName, now: Moment) {
        let (title, standing) = (path.to_string(), CameraStanding::Idle);
        self.handle_camera(&CameraSample { path: path.clone(), title, standing, picture: None, jumps: 0 }, now);
        self.cameras.remove(&path);
        let subject = Subject::Path(path);
        let of_camera = |(id, leaf, about): &LeafKey| {
            let leaf = self.rules.get(id).and_then(|rule| rule.leaves.get(*leaf));
            *about == subject && leaf.is_some_and(|leaf| matches!(leaf.sort, Sort::Camera(_)))
        };
        for key in self.leaves.keys().filter(|key| of_camera(key)).cloned().collect::<Vec<_>>() {
            self.leaves.remove(&key);
            self.timers.arm(Timer::Leaf(key), None);
        }
    }
}
