//! Times from posting to arrival, over all clients: a histogram that any thread adds to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Steps of one per cent from a microsecond on: 2000 of them reach seven minutes.
const STEPS: usize = 2000;

/// The histogram.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Box<[AtomicU64]>,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) n: u64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: (0..STEPS).map(|_| AtomicU64::new(0)).collect() }
    }
}

fn step(micros: u64) -> usize {
    (((micros.max(1) as f64).ln() / 1.01_f64.ln()) as usize).min(STEPS - 1)
}

fn millis(step: usize) -> f64 {
    1.01_f64.powf(step as f64 + 0.5) / 1000.0
}

impl Latencies {
    pub(crate) fn add(&self, micros: u64) {
        self.counts[step(micros)].fetch_add(1, Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
    }

    pub(crate) fn spread(&self) -> Quantiles {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let n: u64 = counts.iter().sum();
        let rank = |share: f64| {
            let (mut seen, want) = (0, (share * n as f64).ceil() as u64);
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= want && seen > 0
            });
            found.map_or(0.0, millis)
        };
        Quantiles { n, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max: rank(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_one_per_cent() {
        let latencies = Latencies::default();
        assert_eq!(latencies.spread(), Quantiles::default());
        (1..=1000).for_each(|ms| latencies.add(ms * 1000));
        let spread = latencies.spread();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.011;
        assert!(near(spread.p50, 500.0) && near(spread.p95, 950.0) && near(spread.p99, 990.0), "{spread:?}");
        assert!(near(spread.max, 1000.0) && spread.n == 1000, "{spread:?}");
        latencies.clear();
        assert_eq!(latencies.spread().n, 0);
    }
}
