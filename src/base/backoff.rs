//! Exponential back-off with full jitter, as a value: the caller brings the time and the randomness.

use std::time::Duration;

use super::Monotonic;

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The ceiling of the first wait.
    pub first: Duration,
    /// The ceiling that waits grow to, doubling.
    pub most: Duration,
    /// After working for this long the next failure starts again from `first`.
    pub stable_after: Duration,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(30), stable_after: Duration::from_secs(60) }
    }
}

/// The state of one retried thing.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    working_since: Option<Monotonic>,
}

impl Backoff {
    /// Nothing has failed yet.
    pub const fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: 0, working_since: None }
    }

    /// The attempt succeeded at `now`.
    pub fn succeeded(&mut self, now: Monotonic) {
        self.working_since.get_or_insert(now);
    }

    /// The attempt failed, or what worked ended, at `now`: how long to wait before the next one.
    /// `chance` is uniform in `0.0..1.0`; the wait is at least a tenth of its ceiling so that a peer that
    /// refuses at once is never hammered.
    pub fn failed(&mut self, now: Monotonic, chance: f64) -> Duration {
        if self.working_since.take().is_some_and(|since| now.since(since) >= self.policy.stable_after) {
            self.failures = 0;
        }
        let doubled = self.policy.first.saturating_mul(1 << self.failures.min(16));
        let ceiling = doubled.min(self.policy.most);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(chance.clamp(0.1, 1.0))
    }

    /// Failures since the last stable stretch.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn waits_double_up_to_the_most_and_start_over_after_a_stable_stretch() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let waits: Vec<u64> = (0..7).map(|_| backoff.failed(at(0), 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.succeeded(at(100));
        assert_eq!(backoff.failed(at(130), 1.0).as_secs(), 30, "half a minute is not stable");
        backoff.succeeded(at(200));
        assert_eq!(backoff.failed(at(260), 1.0).as_secs(), 1);
    }

    #[test]
    fn jitter_never_makes_a_wait_of_nothing() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        assert_eq!(backoff.failed(at(0), 0.0), Duration::from_millis(100));
    }
}
