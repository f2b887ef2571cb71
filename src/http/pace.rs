//! How many requests a client may send: by address, and by user whatever the address. The counting is `governor`'s (GCRA);
//! time is ours.
//!
//! A playlist or a piece of media costs a tenth of another request: every viewer asks for ten a second, and there may be
//! many behind one address. Programs on the server's own machine are not counted.

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter, clock::Clock as Source, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use http::{HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::{
    base::Clock,
    config::UserName,
    stats::{HttpDoor, network},
};

/// What a request costs, and what a piece of media.
const WHOLE: NonZeroU32 = NonZeroU32::new(10).unwrap();
const TENTH: NonZeroU32 = NonZeroU32::MIN;
/// What may come at once, in seconds' worth.
const BURST: u32 = 2;

/// How many requests there may be in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// From one address.
    pub per_address: NonZeroU32,
    /// Of one user.
    pub per_user: NonZeroU32,
}

impl Default for RequestLimits {
    fn default() -> Self {
        let most = NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN);
        Self { per_address: most, per_user: most }
    }
}

/// Our clock, for `governor`.
#[derive(Clone, Debug)]
struct Ticks(Clock);

impl Source for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.now().as_nanos().into()
    }
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, Ticks, NoOpMiddleware<Nanos>>;

fn limiter<K: Eq + Hash + Clone>(per_second: NonZeroU32, clock: Clock) -> Limiter<K> {
    let rate = per_second.saturating_mul(WHOLE);
    let burst = NonZeroU32::new(BURST).map_or(rate, |times| rate.saturating_mul(times));
    RateLimiter::new(Quota::per_second(rate).allow_burst(burst), HashMapStateStore::default(), Ticks(clock))
}

/// The pace of all clients.
#[derive(Debug)]
pub(super) struct Pace {
    addresses: Limiter<IpAddr>,
    users: Limiter<UserName>,
    clock: Ticks,
}

/// A client is too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast {
    after: Duration,
    who: &'static str,
}

impl Pace {
    pub(super) fn new(limits: RequestLimits, clock: Clock) -> Self {
        let (addresses, users) = (limiter(limits.per_address, clock), limiter(limits.per_user, clock));
        Self { addresses, users, clock: Ticks(clock) }
    }

    /// Counts a request at a door by its address.
    pub(super) fn of_address(&self, address: IpAddr, door: HttpDoor) -> Result<(), TooFast> {
        self.count(&self.addresses, &network(address), door, "this address")
    }

    /// Counts a request at a door by its user.
    pub(super) fn of_user(&self, user: &UserName, door: HttpDoor) -> Result<(), TooFast> {
        self.count(&self.users, user, door, "this user")
    }

    fn count<K: Eq + Hash + Clone>(
        &self,
        limiter: &Limiter<K>,
        key: &K,
        door: HttpDoor,
        who: &'static str,
    ) -> Result<(), TooFast> {
        let cost = if matches!(door, HttpDoor::Playlist | HttpDoor::Media) { TENTH } else { WHOLE };
        match limiter.check_key_n(key, cost) {
            // More than may ever come at once does not happen: a burst is longer than the dearest request.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_yet)) => Err(TooFast { after: not_yet.wait_time_from(self.clock.now()), who }),
        }
    }

    /// Forgets those who asked for nothing of late. To be called every second or so.
    pub(super) fn handle_timeout(&self) {
        self.addresses.retain_recent();
        self.users.retain_recent();
    }
}

impl From<TooFast> for Problem {
    fn from(TooFast { after, who }: TooFast) -> Self {
        let seconds = u64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        Self::of_http(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", format!("too many requests of {who}"))
            .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_address: u32, per_user: u32) -> Pace {
        let [per_address, per_user] = [per_address, per_user].map(|most| NonZeroU32::new(most).unwrap());
        Pace::new(RequestLimits { per_address, per_user }, Clock)
    }

    fn let_in(pace: &Pace, address: &str, door: HttpDoor) -> usize {
        let address = address.parse().unwrap();
        (0..10_000).take_while(|_| pace.of_address(address, door).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_send_two_seconds_worth_at_once_and_then_what_a_second_brings() {
        let pace = pace(100, 100);
        assert_eq!(let_in(&pace, "10.0.0.9", HttpDoor::Api), 200);
        assert_eq!(let_in(&pace, "10.0.0.10", HttpDoor::Api), 200, "each by itself");
        assert_eq!(let_in(&pace, "2001:db8::1", HttpDoor::Api), 200);
        assert_eq!(let_in(&pace, "2001:db8::2", HttpDoor::Api), 0, "one client has the whole network");
        let refused = pace.of_address("10.0.0.9".parse().unwrap(), HttpDoor::Api).unwrap_err();
        assert!(refused.after <= Duration::from_millis(10), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(let_in(&pace, "10.0.0.9", HttpDoor::Api), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_viewers_behind_one_address_are_not_too_fast() {
        let pace = Pace::new(RequestLimits::default(), Clock);
        let address = "203.0.113.7".parse().unwrap();
        for _ in 0..300 {
            for _ in 0..100 {
                assert_eq!(pace.of_address(address, HttpDoor::Media), Ok(()), "ten thousand a second");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_counted_whatever_the_address_and_forgotten_in_the_end() {
        let pace = pace(1000, 10);
        let (anna, berta) = ("anna".parse().unwrap(), "berta".parse().unwrap());
        let let_in = |user| (0..100).take_while(|_| pace.of_user(user, HttpDoor::Api).is_ok()).count();
        assert_eq!((let_in(&anna), let_in(&berta)), (20, 20));
        let _ = pace.of_address("10.0.0.9".parse().unwrap(), HttpDoor::Api);
        pace.handle_timeout();
        assert_eq!(pace.users.len(), 2);
        tokio::time::sleep(Duration::from_secs(10)).await;
        pace.handle_timeout();
        assert_eq!((pace.users.len(), pace.addresses.len()), (0, 0));
    }
}
