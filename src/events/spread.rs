//! When clients come back that were told to go: each at a time of its own, so that thousands are no herd. A value.

use std::time::Duration;

/// So many come back in a second.
const PER_SECOND: u64 = 200;
/// However few there are.
const LEAST: Duration = Duration::from_secs(5);

/// In which time so many clients come back.
pub fn spread(clients: u64) -> Duration {
    Duration::from_secs(clients.div_ceil(PER_SECOND)).max(LEAST)
}

/// When one of so many comes back. Not at once, for the server has to begin again first.
pub fn moment(clients: u64) -> Duration {
    let most = u64::try_from(spread(clients).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rand::random_range(500..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_take_longer_and_no_more_than_two_hundred_come_in_a_second() {
        for (clients, seconds) in [(0, 5), (1, 5), (1000, 5), (1001, 6), (4000, 20), (10_000, 50)] {
            assert_eq!(spread(clients).as_secs(), seconds, "{clients}");
        }
        let mut seconds = [0_u32; 20];
        for _ in 0..4000 {
            let at = moment(4000).as_millis().saturating_sub(1) as usize;
            seconds[at / 1000] += 1;
        }
        // The first half second is empty; each of the others has some 205 a second, give or take its own randomness.
        assert!(
            seconds.iter().all(|&count| count < 400) && seconds[1..].iter().all(|&count| count > 80),
            "{seconds:?}"
        );
    }
}
