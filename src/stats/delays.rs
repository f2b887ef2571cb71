//! How long something took, counted by fixed bounds: a histogram of the metrics. Atomics only: counting takes no lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper bounds in microseconds; what took longer than the last is counted beyond them.
const BOUNDS: [u64; 16] =
    [100, 250, 500, 1000, 1500, 2000, 3000, 4000, 5000, 7500, 10_000, 15_000, 25_000, 50_000, 100_000, 250_000];

/// The counts.
#[derive(Debug, Default)]
pub struct Delays {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// The counts of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct DelaysSnapshot {
    /// How many took up to each bound, in seconds, and longer than the one before; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together, in seconds.
    pub sum_seconds: f64,
}

impl Delays {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> DelaysSnapshot {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.counts).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect();
        DelaysSnapshot { buckets, sum_seconds: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_counted_under_the_first_bound_that_holds_it() {
        let delays = Delays::default();
        for micros in [0, 100, 101, 10_000, 10_001, 300_000] {
            delays.count(Duration::from_micros(micros));
        }
        let snapshot = delays.snapshot();
        let counted: Vec<_> = snapshot.buckets.iter().copied().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0.0001, 2), (0.000_25, 1), (0.01, 1), (0.015, 1), (f64::INFINITY, 1)]);
        assert!((snapshot.sum_seconds - 0.320_202).abs() < 1e-9);
    }
}
