//! How much somebody may do: a bucket that fills by itself. Sans-IO.

use crate::base::Monotonic;

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f32,
    burst: f32,
    per_second: f32,
    at: Monotonic,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(burst: f32, per_second: f32, now: Monotonic) -> Self {
        Self { left: burst, burst, per_second, at: now }
    }

    /// Takes so much out, if it is there.
    pub(super) fn allows(&mut self, now: Monotonic, cost: f32) -> bool {
        self.left = (self.left + now.since(self.at).as_secs_f32() * self.per_second).min(self.burst);
        self.at = now;
        let allowed = self.left >= cost;
        if allowed {
            self.left -= cost;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_as_much_as_flows_in() {
        let at = |millis: u64| Monotonic::from_nanos((1000 + millis) * 1_000_000);
        let mut bucket = Bucket::new(3.0, 2.0, at(0));
        assert_eq!([(); 4].map(|()| bucket.allows(at(0), 1.0)), [true, true, true, false]);
        assert!(!bucket.allows(at(400), 1.0) && bucket.allows(at(600), 1.0));
        assert!(bucket.allows(at(60_000), 3.0) && !bucket.allows(at(60_000), 1.0), "it never holds more");
    }
}
