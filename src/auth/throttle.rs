//! How fast somebody may try passwords. Sans-IO.
//!
//! Attempts are counted by name and address together, so that whoever guesses elsewhere never keeps the owner of a name
//! out; and, with more patience, by address alone. Each failure beyond the free ones doubles the wait. An attempt counts as
//! a failure until it is known to be none: many at once gain nothing.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Duration,
};

use crate::{base::Monotonic, stats::network};

/// Attempts without a wait, and the longest wait.
#[derive(Clone, Copy, Debug)]
struct Patience {
    free: u32,
    longest: Duration,
}

const OF_NAME: Patience = Patience { free: 10, longest: Duration::from_secs(16) };
const OF_ADDRESS: Patience = Patience { free: 100, longest: Duration::from_secs(4) };
/// After this long without an attempt, what was is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Entries at most; beyond them the one that may go on soonest makes room.
const MOST: usize = 8192;

#[derive(Debug)]
struct Tally {
    attempts: u32,
    /// When the next one may come.
    next: Monotonic,
    last: Monotonic,
}

/// A name at an address, or an address alone. The name is a hash: it is the client's choice and may be long.
type Key = (Option<u64>, IpAddr);

/// An attempt has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSoon {
    /// This long.
    pub(super) wait: Duration,
    /// It is the first one that has to, so that the log can say so once.
    pub(super) first: bool,
}

/// The attempts of late.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    tallies: HashMap<Key, Tally>,
    hasher: RandomState,
}

impl Throttle {
    /// Counts an attempt, unless it comes too soon.
    pub(super) fn attempt(&mut self, name: &str, from: IpAddr, now: Monotonic) -> Result<(), TooSoon> {
        let keys = self.keys(name, from);
        let wait = keys.iter().filter_map(|(key, patience)| {
            let tally = self.tallies.get_mut(key).filter(|tally| tally.next > now)?;
            let first = tally.attempts == patience.free + 1;
            // So that it is first only once.
            tally.attempts += u32::from(first);
            Some(TooSoon { wait: tally.next.since(now), first })
        });
        if let Some(too_soon) = wait.max_by_key(|too_soon| too_soon.wait) {
            return Err(too_soon);
        }
        for (key, patience) in keys {
            self.make_room(&key, now);
            let tally = self.tallies.entry(key).or_insert(Tally { attempts: 0, next: now, last: now });
            if now.since(tally.last) >= FORGOTTEN {
                tally.attempts = 0;
            }
            tally.attempts = tally.attempts.saturating_add(1);
            tally.last = now;
            if let Some(beyond) = tally.attempts.checked_sub(patience.free).filter(|beyond| *beyond > 0) {
                let wait = Duration::from_secs(1 << (beyond - 1).min(10));
                tally.next = now + wait.min(patience.longest);
            }
        }
        Ok(())
    }

    /// An attempt was right: it was no guess, and those before were slips.
    pub(super) fn succeeded(&mut self, name: &str, from: IpAddr) {
        let [(named, _), (address, _)] = self.keys(name, from);
        self.tallies.remove(&named);
        if let Some(tally) = self.tallies.get_mut(&address) {
            tally.attempts = tally.attempts.saturating_sub(1);
        }
    }

    /// Nobody knows whether an attempt was right: it counts for nothing, and those before stay what they were.
    pub(super) fn undecided(&mut self, name: &str, from: IpAddr) {
        for (key, _) in self.keys(name, from) {
            if let Some(tally) = self.tallies.get_mut(&key) {
                tally.attempts = tally.attempts.saturating_sub(1);
            }
        }
    }

    fn keys(&self, name: &str, from: IpAddr) -> [(Key, Patience); 2] {
        let from = network(from);
        [((Some(self.hasher.hash_one(name)), from), OF_NAME), ((None, from), OF_ADDRESS)]
    }

    fn make_room(&mut self, key: &Key, now: Monotonic) {
        if self.tallies.len() < MOST || self.tallies.contains_key(key) {
            return;
        }
        self.tallies.retain(|_, tally| now.since(tally.last) < FORGOTTEN);
        if self.tallies.len() >= MOST {
            let soonest = self.tallies.iter().min_by_key(|(_, tally)| (tally.next, tally.last)).map(|(key, _)| *key);
            soonest.and_then(|key| self.tallies.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_wait_grows_with_failures_and_ends_with_patience() {
        let (mut throttle, from) = (Throttle::default(), ip("10.0.0.9"));
        for n in 0..11 {
            assert_eq!(throttle.attempt("anna", from, at(1)), Ok(()), "{n}");
        }
        let first = throttle.attempt("anna", from, at(1)).unwrap_err();
        assert_eq!((first.wait, first.first), (Duration::from_secs(1), true));
        assert!(!throttle.attempt("anna", from, at(1)).unwrap_err().first);
        let mut now = 2;
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(throttle.attempt("anna", from, at(now)), Ok(()));
            let wait = throttle.attempt("anna", from, at(now)).unwrap_err().wait.as_secs();
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [4, 8, 16, 16, 16, 16, 16]);
        assert_eq!(throttle.attempt("anna", from, at(now + 600)), Ok(()));
        assert_eq!(throttle.attempt("anna", from, at(now + 600)), Ok(()), "it is forgotten");
    }

    #[test]
    fn who_guesses_elsewhere_or_for_another_name_keeps_nobody_out() {
        let mut throttle = Throttle::default();
        for n in 0..20_u64 {
            let _ = throttle.attempt("anna", ip("10.0.0.9"), at(n));
            let _ = throttle.attempt("anna", ip("2001:db8::1"), at(n));
        }
        assert!(throttle.attempt("anna", ip("10.0.0.9"), at(20)).is_err());
        assert!(throttle.attempt("anna", ip("2001:db8::2"), at(20)).is_err(), "the same /64");
        assert_eq!(throttle.attempt("anna", ip("10.0.0.10"), at(20)), Ok(()));
        assert_eq!(throttle.attempt("berta", ip("10.0.0.9"), at(20)), Ok(()));
        assert_eq!(throttle.attempt("anna", ip("2001:db8:0:1::1"), at(20)), Ok(()));
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too() {
        let (mut throttle, from) = (Throttle::default(), ip("10.0.0.9"));
        for n in 0..101 {
            assert_eq!(throttle.attempt(&format!("name-{n}"), from, at(1)), Ok(()), "{n}");
        }
        assert!(throttle.attempt("another", from, at(1)).is_err());
        assert_eq!(throttle.attempt("another", from, at(5)), Ok(()));
    }

    #[test]
    fn a_success_wipes_the_slips_away() {
        let (mut throttle, from) = (Throttle::default(), ip("10.0.0.9"));
        for _ in 0..200 {
            throttle.attempt("anna", from, at(1)).unwrap();
            throttle.succeeded("anna", from);
        }
    }

    #[test]
    fn an_attempt_that_nobody_decides_counts_for_nothing_and_forgives_nothing() {
        let mut throttle = Throttle::default();
        let from = ip("10.0.0.9");
        for _ in 0..9 {
            throttle.attempt("anna", from, at(1)).unwrap();
            for _ in 0..5 {
                throttle.attempt("anna", from, at(1)).unwrap();
                throttle.undecided("anna", from);
            }
        }
        throttle.attempt("anna", from, at(1)).unwrap();
        throttle.attempt("anna", from, at(1)).unwrap();
        assert!(throttle.attempt("anna", from, at(1)).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..20_000_u32 {
            let _ = throttle.attempt("anna", IpAddr::V4((0x0a00_0000 + n).into()), at(1));
        }
        assert!(throttle.tallies.len() <= MOST);
    }
}
