//! Places, so many for each: of an address, of a user. Whoever takes one keeps it until it is dropped.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The places that are taken, by whose they are.
#[derive(Debug)]
pub struct Places<K: Eq + Hash> {
    most: usize,
    /// Held for a look and a count.
    taken: Mutex<HashMap<K, usize>>,
    refused: AtomicU64,
}

/// A taken place; dropping it gives it back.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: Option<K>,
}

impl<K: Eq + Hash> Places<K> {
    /// So many for each.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), refused: AtomicU64::new(0) })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places there are for each.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How often there was none.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// One more of these, if there is one; that there is none is counted.
    pub fn take(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.taken();
        let here = taken.get(&key).copied().unwrap_or(0);
        if here >= self.most {
            drop(taken);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        taken.insert(key.clone(), here + 1);
        drop(taken);
        Some(Place { places: self.clone(), key: Some(key) })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut taken = self.places.taken();
        if let Entry::Occupied(mut here) = taken.entry(key) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// The client behind an address, as far as that can be told: one of IPv6 has a whole /64 to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(2);
        let (first, second) = (places.take("a").unwrap(), places.take("a").unwrap());
        assert!(places.take("a").is_none() && places.take("b").is_some());
        drop(first);
        assert!(places.take("a").is_some());
        drop(second);
        assert_eq!((places.taken().len(), places.refused()), (0, 1), "nothing is remembered of those who left");
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!((of("10.0.0.9"), of("::ffff:10.0.0.9")), ("10.0.0.9".into(), "10.0.0.9".into()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
