//! How much one address may send: a bucket for each, filled by the second. Sans-IO.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use crate::base::Monotonic;

/// Addresses that are remembered; full buckets are forgotten first.
const ADDRESSES: usize = 4096;

/// The buckets.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Monotonic,
}

impl Rates {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), buckets: Mutex::default() }
    }

    /// Whether `address` may send one more now.
    pub(super) fn allow(&self, address: IpAddr, now: Monotonic) -> bool {
        let (rate, most) = (self.per_second, self.per_second * 2.0);
        let filled = |bucket: &Bucket| (bucket.left + now.since(bucket.at).as_secs_f64() * rate).min(most);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| filled(bucket) < most);
            if buckets.len() >= ADDRESSES {
                // More addresses than that at work: whoever is new has to wait.
                return false;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: most, at: now });
        let left = filled(bucket);
        let allowed = left >= 1.0;
        *bucket = Bucket { left: if allowed { left - 1.0 } else { left }, at: now };
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_send_a_burst_and_then_what_a_second_brings() {
        let rates = Rates::new(10);
        let at = |ms: u64| Monotonic::from_nanos(1_000_000_000 + ms * 1_000_000);
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let sent = |at| (0..100).filter(|_| rates.allow(one, at)).count();
        assert_eq!((sent(at(0)), sent(at(500)), sent(at(60_000))), (20, 5, 20));
        assert!(rates.allow(other, at(60_000)), "each by itself");
    }

    #[test]
    fn made_up_addresses_take_no_more_than_their_room() {
        let rates = Rates::new(1);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let at = Monotonic::from_nanos;
        assert_eq!((0..10_000).filter(|number| rates.allow(address(*number), at(1))).count(), ADDRESSES);
        assert!(rates.allow(address(20_000), at(10_000_000_000)), "those that sent nothing since make room");
    }
}
