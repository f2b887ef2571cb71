//! Refusals of late, by address, so that administrators hear of them and not of each one. Sans-IO.
//!
//! The first refusal of an address is told at once, what follows once a minute with its number; many within a minute are a
//! matter of security and told as such as soon as they are many. What is kept and what is told are bounded, whoever knocks.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use crate::{base::Monotonic, config::UserName, stats::network};

/// Between two words about one address.
const EVERY: Duration = Duration::from_secs(60);
/// So many refusals in that time are a matter of security.
const REPEATED: u32 = 10;
/// Addresses at once; further ones are passed over.
const ADDRESSES: usize = 1024;
/// Words at once, whoever knocks: the log is for other things as well.
const AT_ONCE: usize = 2;

/// An address that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// It; of IPv6 the /64.
    pub from: IpAddr,
    /// The name that was tried last, if it is one that a user could have.
    pub name: Option<UserName>,
    /// How often, since it was told last.
    pub count: u32,
    /// That is a matter of security.
    pub repeated: bool,
}

/// The refusals of late.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    tallies: HashMap<IpAddr, Tally>,
}

#[derive(Debug)]
struct Tally {
    name: Option<UserName>,
    /// Since it was told last.
    count: u32,
    /// In this minute, and whether that was told as a matter of security.
    lately: u32,
    warned: bool,
    /// When the next word may come.
    next: Monotonic,
}

impl Sightings {
    /// Somebody was refused, who said to be so.
    pub(super) fn note(&mut self, from: IpAddr, name: Option<&str>, now: Monotonic) {
        let from = network(from);
        if self.tallies.len() >= ADDRESSES && !self.tallies.contains_key(&from) {
            return;
        }
        let fresh = Tally { name: None, count: 0, lately: 0, warned: false, next: now };
        let tally = self.tallies.entry(from).or_insert(fresh);
        tally.name = name.and_then(|name| name.parse().ok()).or_else(|| tally.name.take());
        tally.count += 1;
        tally.lately += 1;
    }

    /// What is to be told now; more may be left for the next time.
    pub(super) fn poll(&mut self, now: Monotonic) -> Vec<Sighting> {
        let mut told = Vec::new();
        self.tallies.retain(|from, tally| {
            let urgent = tally.lately >= REPEATED && !tally.warned;
            if tally.count > 0 && (urgent || now >= tally.next) {
                if told.len() < AT_ONCE {
                    told.push(Sighting {
                        from: *from,
                        name: tally.name.clone(),
                        count: tally.count,
                        repeated: tally.lately >= REPEATED,
                    });
                    let over = now >= tally.next;
                    (tally.count, tally.warned) = (0, tally.warned || urgent);
                    if over {
                        // A minute of its own begins.
                        (tally.lately, tally.warned) = (if urgent { tally.lately } else { 0 }, urgent);
                        tally.next = now + EVERY;
                    }
                }
                return true;
            }
            tally.count > 0 || now < tally.next
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn said(sightings: &mut Sightings, now: u64) -> Vec<(u32, bool)> {
        sightings.poll(at(now)).into_iter().map(|sighting| (sighting.count, sighting.repeated)).collect()
    }

    #[test]
    fn the_first_refusal_is_told_at_once_and_what_follows_once_a_minute() {
        let mut sightings = Sightings::default();
        sightings.note(address(1), Some("anna"), at(0));
        let first = sightings.poll(at(1)).remove(0);
        assert_eq!((first.from, first.name.unwrap().as_str(), first.count), (address(1), "anna", 1));
        for second in 2..7 {
            sightings.note(address(1), Some("not a name\n"), at(second));
            assert_eq!(said(&mut sightings, second), []);
        }
        assert_eq!(said(&mut sightings, 61), [(5, false)]);
        assert_eq!(said(&mut sightings, 200), []);
        assert!(sightings.tallies.is_empty(), "whoever is quiet is forgotten");
    }

    #[test]
    fn many_within_a_minute_are_a_matter_of_security_once_in_it() {
        let mut sightings = Sightings::default();
        sightings.note(address(1), None, at(0));
        assert_eq!(said(&mut sightings, 0), [(1, false)]);
        (0..30).for_each(|_| sightings.note(address(1), None, at(5)));
        assert_eq!(said(&mut sightings, 6), [(30, true)]);
        (0..30).for_each(|_| sightings.note(address(1), None, at(7)));
        assert_eq!(said(&mut sightings, 8), []);
        assert_eq!(said(&mut sightings, 61), [(30, true)], "it goes on");
    }

    #[test]
    fn a_flood_from_everywhere_takes_bounded_room_and_bounded_words() {
        let mut sightings = Sightings::default();
        for i in 0..5000_u32 {
            sightings.note(IpAddr::from((0x0b00_0000 + i).to_be_bytes()), None, at(0));
        }
        assert_eq!(sightings.tallies.len(), ADDRESSES);
        assert_eq!(said(&mut sightings, 1).len(), AT_ONCE);
        // One of IPv6 has as many addresses as it likes.
        let mut sightings = Sightings::default();
        for i in 0..100_u16 {
            sightings.note(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, i]), None, at(0));
        }
        assert_eq!(said(&mut sightings, 1), [(100, true)]);
    }
}
