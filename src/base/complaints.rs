//! Repeated complaints, said once per interval with the number of times they were not said.

use std::time::Duration;

use super::Monotonic;

/// Decides which of many equal complaints is said aloud.
#[derive(Clone, Debug)]
pub struct Complaints {
    every: Duration,
    last_said: Option<Monotonic>,
    held_back: u64,
}

impl Complaints {
    /// At most one complaint in `every`.
    pub const fn new(every: Duration) -> Self {
        Self { every, last_said: None, held_back: 0 }
    }

    /// There is something to complain of at `now`: `Some(n)` says it, and that it happened `n` times since
    /// the last time it was said (this time included); `None` holds it back.
    pub fn note(&mut self, now: Monotonic) -> Option<u64> {
        self.held_back += 1;
        if self.last_said.is_some_and(|last| now.since(last) < self.every) {
            return None;
        }
        self.last_said = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_said_once_per_interval_with_their_count() {
        let mut complaints = Complaints::new(Duration::from_nanos(10));
        let said: Vec<_> = [0, 1, 9, 10, 25].map(|t| complaints.note(Monotonic::from_nanos(t))).into();
        assert_eq!(said, [Some(1), None, None, Some(3), Some(1)]);
    }
}
