//! Fetches the readings of one sensor from its URL, again and again: with jitter, so that a rack of devices is not asked
//! at one moment, and with ever longer waits while it fails.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    formats::{Sample, json::Entry, pointer},
    inlet::Inlet,
};
use crate::{
    base::{Secret, SensorId},
    config::PullConfig,
    net::fetch::{self, Fetched, Source},
};

/// The longest wait of a URL that fails, unless its interval is longer.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// One URL of the configuration.
pub(super) struct Puller {
    pub(super) id: SensorId,
    pub(super) origin: Arc<str>,
    pub(super) config: PullConfig,
    pub(super) inlet: Inlet,
}

impl Puller {
    /// Fetches until told to stop.
    pub(super) async fn run(self, stopping: CancellationToken) {
        let interval = self.config.interval.duration();
        let login = self.config.username.clone().map(|user| (user, self.config.password.clone().unwrap_or_default()));
        let (mut etag, mut failures) = (None, 0_u32);
        // The first round soon, but not all at once.
        let mut wait = interval.min(Duration::from_secs(2)).mul_f64(rand::random());
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(wait) => {}
            }
            let fetched = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                fetched = self.round(login.as_ref(), &mut etag) => fetched,
            };
            match fetched {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        warn!(sensor = %self.id, "{error}")
                    } else {
                        debug!(sensor = %self.id, "{error}")
                    }
                }
            }
            wait = next(interval, failures, rand::random());
        }
    }

    /// One round.
    ///
    /// # Errors
    /// What is wrong with the URL, for the log; the sensor shows it as well.
    async fn round(&self, login: Option<&(String, Secret)>, etag: &mut Option<HeaderValue>) -> Result<(), String> {
        let source = Source { url: self.config.url.url(), login, tls: &self.config.tls };
        match fetch::get(&source, etag.as_ref()).await {
            Ok(Fetched::NotModified) => {
                self.inlet.sensor_error(&self.id, None);
                Ok(())
            }
            Ok(Fetched::Body { bytes, etag: new }) => {
                *etag = new;
                self.inlet.sensor_error(&self.id, None);
                let config = &self.config;
                let read = pointer::read(self.id.as_str(), config.value.as_ref(), config.time.as_ref(), &bytes);
                match read {
                    Ok(entries) => {
                        let in_unit = |entry: Entry| {
                            entry.map(|sample| Sample { unit: sample.unit.or_else(|| config.unit.clone()), ..sample })
                        };
                        self.inlet.take(&self.origin, entries.into_iter().map(in_unit).collect());
                    }
                    Err(error) => self.inlet.fault(self.id.as_str(), &error),
                }
                Ok(())
            }
            Err(error) => {
                self.inlet.sensor_error(&self.id, Some(error.message()));
                Err(error.chain())
            }
        }
    }
}

/// The next wait: the interval and up to a tenth more; while it fails twice as long each time.
fn next(interval: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.min(10));
    let longest = doubled.min(WAIT_MAX.max(interval));
    longest + longest.mul_f64(chance.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_jitter_and_grow_while_it_fails() {
        let seconds = |failures, chance| next(Duration::from_secs(30), failures, chance).as_secs_f64();
        assert_eq!((seconds(0, 0.0), seconds(0, 1.0)), (30.0, 33.0));
        assert_eq!((seconds(2, 0.0), seconds(9, 0.0)), (120.0, 600.0));
        assert_eq!(next(Duration::from_secs(3600), 3, 0.0), Duration::from_secs(3600));
    }
}
