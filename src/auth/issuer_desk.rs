//! An issuer at work: its keys, and whoever waits for the next ones. Who fetches them stands above: [`IssuerDesk::due`]
//! says when, [`IssuerDesk::handle_fetched`] takes what came.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{sleep_until, timeout},
};

use super::{
    digest_of,
    fetches::Fetches,
    issuer::{Foreigner, Issuer, Verdict},
    issuer_keys::{KeyPrint, KeySetError},
};
use crate::{
    base::{Clock, Monotonic, Secret, WallTime},
    config::{JwtConfig, PermissionConfig},
};

/// Callers who may wait for keys at once, and how long.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// An issuer at work.
#[derive(Debug)]
pub struct IssuerDesk {
    issuer: RwLock<Issuer>,
    fetches: Mutex<Fetches>,
    groups: BTreeMap<String, Vec<PermissionConfig>>,
    wanted: Notify,
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
    config: JwtConfig,
}

impl IssuerDesk {
    /// The issuer of the configuration, which has no keys yet, and the groups there are.
    pub fn new(config: JwtConfig, groups: BTreeMap<String, Vec<PermissionConfig>>) -> Self {
        Self {
            issuer: RwLock::new(Issuer::new(config.clone())),
            fetches: Mutex::default(),
            groups,
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING),
            config,
        }
    }

    /// What the configuration says of it.
    pub const fn config(&self) -> &JwtConfig {
        &self.config
    }

    /// A name for what this issuer vouched for, that fits into a token.
    pub(super) fn mark(&self) -> String {
        let mut digest = digest_of("issuer", &self.config.issuer);
        digest.truncate(16);
        digest
    }

    pub(super) fn judge(&self, token: &str, now: WallTime) -> Verdict {
        self.read().judge(token, now)
    }

    /// Whether a token is taken now, by the keys it has.
    pub fn takes(&self, token: &Secret, now: WallTime) -> bool {
        matches!(self.judge(token.reveal(), now), Verdict::Right(_))
    }

    pub(super) fn has(&self, key: &KeyPrint) -> bool {
        self.read().has(key)
    }

    /// What somebody may do whom it vouches for.
    pub(super) fn permissions(&self, foreigner: &Foreigner) -> Vec<PermissionConfig> {
        let of_groups = foreigner.groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        foreigner.permissions.iter().chain(of_groups).cloned().collect()
    }

    /// Waits for newer keys, if they are to be had; whether they came.
    pub(super) async fn newer_keys(&self, now: Monotonic) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let mut rounds = self.rounds.subscribe();
        if !self.fetches().want(now) {
            return false;
        }
        self.wanted.notify_one();
        timeout(PATIENCE, rounds.changed()).await.is_ok()
    }

    /// Waits until keys have to be fetched, and takes note that they are.
    pub async fn due(&self, clock: Clock) {
        loop {
            let due = self.fetches().poll_deadline();
            tokio::select! {
                biased;
                () = sleep_until(clock.instant(due)) => {
                    self.fetches().handle_begun(clock.now());
                    return;
                }
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Takes what a fetch brought; nothing if it failed, and then the keys stay those that they are. How many fetches in a
    /// row failed comes back.
    ///
    /// # Errors
    /// It brought no keys.
    pub fn handle_fetched(&self, set: Option<&[u8]>, now: Monotonic) -> Result<u32, KeySetError> {
        let taken = set.map(|set| self.write().set_keys(set)).transpose();
        let failures = self.fetches().handle_ended(matches!(taken, Ok(Some(_))), now);
        self.rounds.send_modify(|round| *round += 1);
        taken.map(|_| failures)
    }

    /// Keys that were kept from before this process began.
    ///
    /// # Errors
    /// They are none.
    pub fn recall_keys(&self, set: &[u8]) -> Result<(), KeySetError> {
        self.write().set_keys(set).map(|_| ())
    }

    fn read(&self) -> RwLockReadGuard<'_, Issuer> {
        self.issuer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Issuer> {
        self.issuer.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
