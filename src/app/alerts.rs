//! What the rules look at, as they take it: the cameras of the hub, and the disk of the state directory.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use crate::{
    auth::Grant,
    base::PathName,
    config::Config,
    events::{
        alarms::NoWitness,
        alerts::{AlertsOptions, Cameras, WaysOut},
        rules::{CameraSample, CameraStanding, DiskRoom, KeyPicture, PictureFigures},
    },
    hub::{Hub, Stream, StreamState},
    media::{Codec, MediaKind, likeness::likeness},
};

/// The rules of the file and what they look at.
pub(super) fn options(config: &Config, hub: Hub, ways_out: Arc<dyn WaysOut>) -> AlertsOptions {
    let folder = config.state_dir.clone();
    AlertsOptions {
        rules: config.rules.clone(),
        cameras: Arc::new(HubCameras { hub, keys: Mutex::default() }),
        disk: Arc::new(move || room(&folder)),
        witness: Arc::new(NoWitness),
        ways_out,
    }
}

/// The main renditions of the hub's paths.
#[derive(Debug)]
struct HubCameras {
    hub: Hub,
    /// The newest key frame of each camera and its digest, so that each is looked through once.
    keys: Mutex<HashMap<PathName, KeyPicture>>,
}

impl Cameras for HubCameras {
    fn look(&self) -> Vec<CameraSample> {
        let names = self.hub.names();
        let samples = names.iter().filter_map(|name| self.sample(name));
        let samples = samples.collect();
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name));
        samples
    }
}

impl HubCameras {
    fn sample(&self, name: &PathName) -> Option<CameraSample> {
        let path = self.hub.path(&Grant::house("rules", name.clone())).ok()?;
        let stream = path.main();
        let standing = match stream.snapshot().state {
            StreamState::Idle => CameraStanding::Idle,
            StreamState::Waiting | StreamState::Lost => CameraStanding::Away,
            StreamState::Stalled => CameraStanding::Stalled,
            StreamState::Ready => CameraStanding::Ready,
        };
        let tracks = stream.tracks();
        let picture = tracks.leading().filter(|track| track.kind == MediaKind::Video).map(|track| {
            let figures = stream.figures(track.id);
            PictureFigures {
                per_second: figures.units_per_second,
                bit_rate_bps: figures.bit_rate_bps,
                key: self.key(name, stream, track.codec()),
            }
        });
        Some(CameraSample {
            path: name.clone(),
            title: path.spec().title.clone().unwrap_or_else(|| name.to_string()),
            standing,
            picture,
            jumps: stream.counters().jumps.load(Ordering::Relaxed),
        })
    }

    fn key(&self, name: &PathName, stream: &Stream, codec: Codec) -> Option<KeyPicture> {
        let unit = stream.newest_random_access()?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(name).filter(|known| known.number == unit.index) {
            return Some(*known);
        }
        let key = KeyPicture { number: unit.index, digest: likeness(codec, &unit.payload) };
        keys.insert(name.clone(), key);
        Some(key)
    }
}

/// What is left on the disk of a directory, for those who are not its administrator.
#[cfg(target_os = "linux")]
pub(super) fn room(folder: &Path) -> Option<DiskRoom> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    // Their sizes differ by architecture.
    fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
        blocks.into().saturating_mul(size.into())
    }
    let size = found.fragment_size();
    Some(DiskRoom { free: bytes(found.blocks_available(), size), total: bytes(found.blocks(), size) })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn room(_: &Path) -> Option<DiskRoom> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_what_is_none_has_not() {
        let root = room(Path::new("/")).unwrap();
        assert!(root.total > 1 << 20 && root.free <= root.total, "{root:?}");
        assert_eq!(room(Path::new("/no/such/folder")), None);
    }
}
