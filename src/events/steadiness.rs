//! Whether statistics changed enough to be told: counts and states always, rates when they move by a quarter, what moves
//! all the time never. Sans-IO.

use std::time::Duration;

use super::payload::{PathStatistics, Statistics};
use crate::base::Monotonic;

/// Between two tellings at least.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Rates below this are as good as nothing.
const STILL_BPS: u64 = 16_000;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Steadiness {
    told: Option<(Statistics, Monotonic)>,
}

impl Steadiness {
    /// Whether `now` is worth telling; then it is what was told last.
    pub(super) fn handle(&mut self, statistics: &Statistics, now: Monotonic) -> bool {
        let tell = match &self.told {
            None => true,
            Some((told, at)) => now.since(*at) >= TELL_EVERY && differs(told, statistics),
        };
        if tell {
            self.told = Some((statistics.clone(), now));
        }
        tell
    }
}

fn differs(told: &Statistics, now: &Statistics) -> bool {
    let counts = |of: &Statistics| Statistics {
        uptime_s: 0,
        memory_bytes: 0,
        cpu_percent: 0.0,
        disk_free_bytes: None,
        received_bps: 0,
        sent_bps: 0,
        paths: of.paths.iter().map(|path| PathStatistics { received_bps: 0, sent_bps: 0, ..path.clone() }).collect(),
        ..of.clone()
    };
    let rates = |of: &Statistics| {
        let mut rates = vec![of.received_bps, of.sent_bps];
        rates.extend(of.paths.iter().flat_map(|path| [path.received_bps, path.sent_bps]));
        rates
    };
    counts(told) != counts(now) || rates(told).into_iter().zip(rates(now)).any(|(told, now)| moved(told, now))
}

fn moved(told: u64, now: u64) -> bool {
    told.abs_diff(now) > (told.max(now) / 4).max(STILL_BPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(1000 + seconds)
    }

    fn statistics(viewers: u64, received_bps: u64, uptime_s: u64) -> Statistics {
        let path = PathStatistics { path: "cam".into(), received_bps, ..PathStatistics::default() };
        Statistics { viewers, received_bps, uptime_s, paths: vec![path], ..Statistics::default() }
    }

    #[test]
    fn counts_are_told_and_what_always_moves_is_not() {
        let mut steadiness = Steadiness::default();
        let rows = [
            (0, statistics(0, 4_000_000, 1), true),
            (10, statistics(0, 4_000_000, 11), false),
            (11, statistics(0, 4_900_000, 12), false),
            (12, statistics(0, 5_500_000, 13), true),
            (13, statistics(1, 5_500_000, 14), true),
            (14, statistics(1, 0, 15), true),
            (15, statistics(1, 15_000, 16), false),
        ];
        for (second, statistics, tell) in rows {
            assert_eq!(steadiness.handle(&statistics, at(second)), tell, "{second}");
        }
    }

    #[test]
    fn two_changes_within_a_second_are_told_once_and_the_second_is_not_forgotten() {
        let mut steadiness = Steadiness::default();
        assert!(steadiness.handle(&statistics(0, 0, 0), at(0)));
        let soon = at(0) + Duration::from_millis(300);
        assert!(!steadiness.handle(&statistics(2, 0, 0), soon));
        assert!(steadiness.handle(&statistics(2, 0, 0), at(1)));
    }
}
