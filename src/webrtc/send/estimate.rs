//! Which rendition a viewer's path carries: receiver reports and REMB in, a wish out. Sans-IO.
//!
//! Down is quick: more than a tenth lost, or an estimate below what is sent, for two seconds. Up is slow: after ten
//! clean seconds, and after twice as many each time that it did not last.

use std::time::Duration;

use crate::base::{Monotonic, Rendition};

/// Loss in 256ths that a picture does not survive for long: a tenth.
const MUCH: u8 = 26;
/// Loss in 256ths that is nothing to speak of: a fiftieth.
const LITTLE: u8 = 5;
/// How long a path must be bad.
const BAD_FOR: Duration = Duration::from_secs(2);
/// How long a path must be clean before the first attempt to go up.
const FIRST_HOLD: Duration = Duration::from_secs(10);
/// The longest wait between attempts.
const LAST_HOLD: Duration = Duration::from_secs(160);
/// An attempt that lasts this long has succeeded.
const LASTED: Duration = Duration::from_secs(60);
/// Estimates grow from small numbers; before this they say nothing.
const WARM_UP: Duration = Duration::from_secs(4);

/// What is known of a viewer's path.
#[derive(Debug)]
pub(super) struct Estimate {
    rendition: Rendition,
    /// Since when this rendition is sent.
    since: Monotonic,
    bad_since: Option<Monotonic>,
    clean_since: Option<Monotonic>,
    hold: Duration,
    /// The viewer's own estimate, in bits a second.
    remb: Option<u64>,
}

impl Estimate {
    pub(super) const fn new(rendition: Rendition, now: Monotonic) -> Self {
        Self { rendition, since: now, bad_since: None, clean_since: None, hold: FIRST_HOLD, remb: None }
    }

    /// The viewer's estimate of what it can receive, in bits a second.
    pub(super) fn handle_remb(&mut self, bits: u64) {
        self.remb = Some(bits);
    }

    /// A receiver report on pictures: loss since the one before, in 256ths; `rate` is what is sent, in bits a second.
    pub(super) fn handle_report(&mut self, lost: u8, rate: u64, now: Monotonic) {
        let warm = now.since(self.since) >= WARM_UP;
        let short = warm && self.remb.is_some_and(|bits| bits < rate - rate / 8);
        let bad = lost > MUCH || short;
        self.bad_since = bad.then(|| self.bad_since.unwrap_or(now));
        let clean = lost <= LITTLE && !short;
        self.clean_since = clean.then(|| self.clean_since.unwrap_or(now));
    }

    /// The rendition the path carries, as far as is known.
    pub(super) fn wish(&self, now: Monotonic) -> Rendition {
        let lasted = |since: Option<Monotonic>, long| since.is_some_and(|since| now.since(since) >= long);
        match self.rendition {
            Rendition::Main if lasted(self.bad_since, BAD_FOR) => Rendition::Sub,
            Rendition::Sub if lasted(self.clean_since, self.hold) => Rendition::Main,
            same => same,
        }
    }

    /// Another rendition is sent from now on.
    pub(super) fn switched(&mut self, to: Rendition, now: Monotonic) {
        if to == Rendition::Sub {
            let lasted = now.since(self.since) >= LASTED;
            self.hold = if lasted { FIRST_HOLD } else { (self.hold * 2).min(LAST_HOLD) };
        }
        (self.rendition, self.since, self.bad_since, self.clean_since) = (to, now, None, None);
        self.remb = None;
    }

    /// The switch that was wished for is not possible now; the wish comes again later.
    pub(super) fn refused(&mut self) {
        (self.bad_since, self.clean_since) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos((100_000 + seconds) * 1_000_000_000)
    }

    /// A report each second; the seconds at which the rendition changed.
    fn play(estimate: &mut Estimate, seconds: std::ops::Range<u64>, lost: u8) -> Vec<(u64, Rendition)> {
        let mut switches = Vec::new();
        for second in seconds {
            estimate.handle_report(lost, 4_000_000, at(second));
            let wish = estimate.wish(at(second));
            if wish != estimate.rendition {
                estimate.switched(wish, at(second));
                switches.push((second, wish));
            }
        }
        switches
    }

    #[test]
    fn much_loss_for_two_seconds_moves_a_viewer_down_and_a_clean_path_up_again() {
        let mut estimate = Estimate::new(Rendition::Main, at(0));
        assert_eq!(play(&mut estimate, 0..100, 12), [], "five in a hundred are repaired");
        assert_eq!(play(&mut estimate, 100..101, 80), [], "one bad second");
        assert_eq!(play(&mut estimate, 101..110, 0), []);
        assert_eq!(play(&mut estimate, 110..120, 60), [(112, Rendition::Sub)]);
        assert_eq!(play(&mut estimate, 120..140, 0), [(130, Rendition::Main)]);
    }

    #[test]
    fn each_attempt_that_fails_doubles_the_wait_and_one_that_lasts_resets_it() {
        let mut estimate = Estimate::new(Rendition::Main, at(0));
        play(&mut estimate, 0..90, 0);
        assert_eq!(play(&mut estimate, 90..100, 90), [(92, Rendition::Sub)]);
        assert_eq!(play(&mut estimate, 100..115, 0), [(110, Rendition::Main)]);
        assert_eq!(play(&mut estimate, 115..120, 90), [(117, Rendition::Sub)]);
        assert_eq!(play(&mut estimate, 120..145, 0), [(140, Rendition::Main)], "twenty seconds now");
        assert_eq!(play(&mut estimate, 145..220, 0), []);
        assert_eq!(play(&mut estimate, 220..225, 90), [(222, Rendition::Sub)]);
        assert_eq!(play(&mut estimate, 225..240, 0), [(235, Rendition::Main)]);
    }

    #[test]
    fn an_estimate_below_what_is_sent_moves_a_viewer_down_once_it_is_warm() {
        let mut estimate = Estimate::new(Rendition::Main, at(0));
        estimate.handle_remb(2_000_000);
        assert_eq!(play(&mut estimate, 0..4, 0), []);
        assert_eq!(play(&mut estimate, 4..8, 0), [(6, Rendition::Sub)]);
        let mut enough = Estimate::new(Rendition::Main, at(0));
        enough.handle_remb(3_900_000);
        assert_eq!(play(&mut enough, 0..60, 0), []);
    }
}
