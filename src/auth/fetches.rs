//! When the keys of an issuer are fetched: at the start, every few minutes, so that a key that was withdrawn is none for
//! long, and as soon as a token names one that is not known, but not for each of those. Sans-IO.

use std::time::Duration;

use crate::base::Monotonic;

/// Between two fetches, while all is well.
const EVERY: Duration = Duration::from_secs(240);
/// The least between two, whatever tokens say.
const LEAST: Duration = Duration::from_secs(10);

/// The next fetch, and the last one.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    next: Monotonic,
    begun: Option<Monotonic>,
    running: bool,
    failures: u32,
}

impl Fetches {
    /// A key is not known: whether it makes sense to wait for a fetch.
    pub(super) fn want(&mut self, now: Monotonic) -> bool {
        if self.running {
            return true;
        }
        let may = self.begun.is_none_or(|begun| now.since(begun) >= LEAST);
        if may {
            self.next = self.next.min(now);
        }
        may
    }

    /// When the next one is due.
    pub(super) const fn poll_deadline(&self) -> Monotonic {
        self.next
    }

    /// One begins.
    pub(super) const fn handle_begun(&mut self, now: Monotonic) {
        (self.begun, self.running) = (Some(now), true);
    }

    /// It is over. How often in a row it failed comes back.
    pub(super) fn handle_ended(&mut self, succeeded: bool, now: Monotonic) -> u32 {
        self.running = false;
        self.failures = if succeeded { 0 } else { self.failures.saturating_add(1) };
        let wait = if succeeded { EVERY } else { (LEAST * (1 << (self.failures - 1).min(5))).min(EVERY) };
        self.next = now + wait;
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
    fn jw_04_an_unknown_key_brings_one_fetch_and_the_next_not_before_ten_seconds() {
        let mut fetches = Fetches::default();
        assert_eq!(fetches.poll_deadline(), at(0), "at once");
        fetches.handle_begun(at(100));
        assert!(fetches.want(at(101)) && fetches.want(at(102)), "whoever comes meanwhile waits for the same one");
        assert_eq!(fetches.handle_ended(true, at(103)), 0);
        assert_eq!(fetches.poll_deadline(), at(343));
        assert!(!fetches.want(at(104)) && !fetches.want(at(109)));
        assert_eq!(fetches.poll_deadline(), at(343));
        assert!(fetches.want(at(110)));
        assert_eq!(fetches.poll_deadline(), at(110));
    }

    #[test]
    fn an_outage_is_waited_out_with_patience() {
        let mut fetches = Fetches::default();
        let mut now = 100;
        let mut waits = Vec::new();
        for _ in 0..7 {
            fetches.handle_begun(at(now));
            fetches.handle_ended(false, at(now));
            let next = fetches.poll_deadline().as_nanos() / 1_000_000_000;
            waits.push(next - now);
            now = next;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 240, 240]);
        assert_eq!(fetches.handle_ended(true, at(now)), 0);
    }
}
