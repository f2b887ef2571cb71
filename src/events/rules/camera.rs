//! What is wrong with a camera, from what its stream shows once a second. A sans-IO machine; nothing is decoded.
//!
//! *Usual* is a slow average of what the camera sent while it was ready. A frozen picture shows in key frames that are
//! byte for byte the same: a living picture has noise, and no two of its key frames are equal. Of two in a row a number in
//! the slices may differ (`idr_pic_id`, H.264 §7.4.3), so that those of a frozen picture may take turns.

use std::time::Duration;

use crate::{
    base::{Monotonic, PathName},
    config::rules::CameraTrouble,
};

/// How a camera stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraStanding {
    /// Nobody watches, and nothing is pulled: nothing can be wrong.
    Idle,
    /// It was asked for and has not delivered yet, or it is gone.
    Away,
    /// Connected and silent.
    Stalled,
    /// Pictures come in.
    Ready,
}

/// One look at a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSample {
    /// Which.
    pub path: PathName,
    /// The name people know it by.
    pub title: String,
    /// How it stands.
    pub standing: CameraStanding,
    /// What its picture costs, if it has one.
    pub picture: Option<PictureFigures>,
    /// Clock steps and timestamp jumps of its source so far.
    pub jumps: u64,
}

/// What a picture costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureFigures {
    /// Pictures a second over the last seconds.
    pub per_second: f64,
    /// Bits a second over the last seconds.
    pub bit_rate_bps: u64,
    /// The newest key frame, where that can be looked at without asking for the stream.
    pub key: Option<KeyPicture>,
}

/// A key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPicture {
    /// Its number; another number is another key frame.
    pub number: u64,
    /// Of what is picture in it.
    pub digest: u64,
}

/// A camera is not judged before it has been ready for this long, and its usual figures are not learned.
const WARM_UP: Duration = Duration::from_secs(20);
/// A jump of the clock counts for this long.
const JUMP_HOLDS: Duration = Duration::from_secs(60);
/// The span of the slow average; ten times that while something is wrong.
const USUAL_SPAN: f64 = 600.0;
/// So many key frames in a row that are the same, over at least [`FROZEN_FOR`], are a frozen picture.
const SAME_KEYS: u32 = 3;
const FROZEN_FOR: Duration = Duration::from_secs(10);

/// What is known of one camera.
#[derive(Debug, Default)]
pub(super) struct Health {
    ready_since: Option<Monotonic>,
    looked_at: Option<Monotonic>,
    usual: Option<(f64, f64)>,
    jumps: Option<u64>,
    jumped_at: Option<Monotonic>,
    key: Option<KeyPicture>,
    /// The digest of the one before.
    before: Option<u64>,
    /// Since when the key frames are the same, and how many came since.
    same: Option<(Monotonic, u32)>,
}

/// Which of [`CameraTrouble::ALL`] a camera has.
pub(super) type Troubles = [bool; CameraTrouble::ALL.len()];

impl Health {
    pub(super) fn handle_sample(&mut self, sample: &CameraSample, now: Monotonic) -> Troubles {
        if self.jumps.replace(sample.jumps).is_some_and(|before| sample.jumps > before) {
            self.jumped_at = Some(now);
        }
        let picture = sample.picture.filter(|_| sample.standing == CameraStanding::Ready);
        let (low, collapsed, frozen) = match picture {
            Some(picture) => self.judge(picture, now),
            None => {
                (self.ready_since, self.key, self.before, self.same) = (None, None, None, None);
                (false, false, false)
            }
        };
        self.looked_at = Some(now);
        CameraTrouble::ALL.map(|trouble| match trouble {
            CameraTrouble::Offline => sample.standing == CameraStanding::Away,
            CameraTrouble::Stalled => sample.standing == CameraStanding::Stalled,
            CameraTrouble::Frozen => frozen,
            CameraTrouble::LowFrameRate => low,
            CameraTrouble::BitRateCollapse => collapsed,
            CameraTrouble::ClockJump => self.jumped_at.is_some_and(|at| now.since(at) < JUMP_HOLDS),
        })
    }

    fn judge(&mut self, picture: PictureFigures, now: Monotonic) -> (bool, bool, bool) {
        if let Some(key) = picture.key
            && self.key.is_none_or(|last| last.number != key.number)
        {
            let last = self.key.replace(key).map(|last| last.digest);
            let known = [last, self.before].contains(&Some(key.digest));
            let (since, count) = self.same.unwrap_or((now, 0));
            (self.before, self.same) = (last, known.then_some((since, count + 1)));
        }
        let frozen = self.same.is_some_and(|(since, count)| count >= SAME_KEYS && now.since(since) >= FROZEN_FOR);
        let ready_since = *self.ready_since.get_or_insert(now);
        if now.since(ready_since) < WARM_UP {
            return (false, false, frozen);
        }
        let (rate, bits) = (picture.per_second, picture.bit_rate_bps as f64);
        let Some((usual_rate, usual_bits)) = self.usual else {
            self.usual = Some((rate, bits));
            return (false, false, frozen);
        };
        let (low, collapsed) = (rate < usual_rate * 0.5, bits < usual_bits * 0.2);
        // While it is worse than usual, that becomes usual only slowly.
        let span = if low || collapsed { USUAL_SPAN * 10.0 } else { USUAL_SPAN };
        let passed = self.looked_at.map_or(0.0, |at| now.since(at).as_secs_f64()).min(USUAL_SPAN);
        let share = 1.0 - (-passed / span).exp();
        self.usual = Some((usual_rate + (rate - usual_rate) * share, usual_bits + (bits - usual_bits) * share));
        (low, collapsed, frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(standing: CameraStanding, picture: Option<(f64, u64, u64)>, second: u64, jumps: u64) -> CameraSample {
        let figures = |(per_second, bit_rate_bps, digest)| PictureFigures {
            per_second,
            bit_rate_bps,
            key: Some(KeyPicture { number: second / 2, digest }),
        };
        CameraSample {
            path: "yard".parse().unwrap(),
            title: "Yard".into(),
            standing,
            picture: picture.map(figures),
            jumps,
        }
    }

    /// For how long, how it stands, its picture (rate, bits, digest of the key frame) at a second, jumps, what is wrong.
    type Row = (u64, CameraStanding, fn(u64) -> Option<(f64, u64, u64)>, u64, Vec<CameraTrouble>);

    #[test]
    fn each_trouble_shows_in_the_samples_and_a_good_camera_has_none() {
        use CameraStanding::{Away, Idle, Ready, Stalled};
        use CameraTrouble::{BitRateCollapse, ClockJump, Frozen, LowFrameRate, Offline};
        let mut health = Health::default();
        let mut second = 0;
        // For so many seconds; what is wrong at their end.
        let mut run = |seconds, standing, picture: fn(u64) -> Option<(f64, u64, u64)>, jumps| {
            let mut troubles = Troubles::default();
            for _ in 0..seconds {
                second += 1;
                let now = Monotonic::from_nanos(second * 1_000_000_000);
                troubles = health.handle_sample(&sample(standing, picture(second), second, jumps), now);
            }
            CameraTrouble::ALL.into_iter().zip(troubles).filter(|(_, has)| *has).map(|(trouble, _)| trouble).collect()
        };
        let good = |second| Some((25.0, 4_000_000, second));
        let table: [Row; 14] = [
            (5, Idle, |_| None, 0, vec![]),
            (5, Away, |_| None, 0, vec![Offline]),
            (10, Ready, |second| Some((3.0, 100, second)), 0, vec![]),
            (60, Ready, good, 0, vec![]),
            (5, Ready, |second| Some((11.0, 3_000_000, second)), 0, vec![LowFrameRate]),
            (5, Ready, |second| Some((25.0, 500_000, second)), 0, vec![BitRateCollapse]),
            (60, Ready, good, 0, vec![]),
            (5, Ready, |_| Some((25.0, 4_000_000, 7)), 0, vec![]),
            (20, Ready, |_| Some((25.0, 4_000_000, 7)), 0, vec![Frozen]),
            (9, Ready, good, 0, vec![]),
            (20, Ready, |second| Some((25.0, 4_000_000, second / 2 % 2)), 0, vec![Frozen]),
            (5, Ready, good, 1, vec![ClockJump]),
            (60, Ready, good, 1, vec![]),
            (3, Stalled, |_| None, 1, vec![CameraTrouble::Stalled]),
        ];
        for (i, (seconds, standing, picture, jumps, expected)) in table.into_iter().enumerate() {
            let found: Vec<CameraTrouble> = run(seconds, standing, picture, jumps);
            assert_eq!(found, expected, "row {i}");
        }
    }
}
