//! The service behind the gate: users by name, and the way from a credential to somebody who is known.
//!
//! A password is hashed once, not once per request: what was found right is remembered under a keyed hash of it, as long
//! as its user is who they were. Hashing runs on the runtime's threads for what blocks, few at a time; who comes when too
//! many wait is told to come back. A name that nobody has costs as much as a password that is wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio::sync::Semaphore;

use super::{
    Credential, DigestAnswer, Identity, Permissions, Standing, User, password,
    throttle::{Throttle, TooSoon},
};
use crate::{
    base::{Monotonic, Secret},
    config::{PasswordHash, PermissionConfig, UserName},
};

/// Passwords hashed at once: each takes a core and 19 MiB.
const HASHING: usize = 2;
/// Attempts that may wait for that.
const WAITING: usize = 32;
/// How long what was found right is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Entries of that memory. Only what is right is remembered, so that it takes users to fill it.
const REMEMBERED_MOST: usize = 4096;

/// Who asks too often, or asks while too many do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLater {
    /// When it makes sense again.
    pub after: Duration,
}

/// Users and logins.
pub(super) struct Logins {
    users: RwLock<HashMap<UserName, Arc<Entry>>>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    key: hmac::Key,
    throttle: Mutex<Throttle>,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A user at work.
struct Entry {
    user: User,
    permissions: Vec<PermissionConfig>,
    standing: Arc<Standing>,
}

struct Remembered {
    standing: Arc<Standing>,
    until: Monotonic,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            users: RwLock::default(),
            remembered: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            throttle: Mutex::default(),
            hashing: Arc::new(Semaphore::new(HASHING)),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Logins {
    /// These are the users from now on. Whoever is gone, or has another password, is nobody any more; whose rights changed
    /// keeps what is left of them. How many there are comes back.
    pub(super) fn set_users(&self, users: Vec<User>, groups: &BTreeMap<String, Vec<PermissionConfig>>) -> usize {
        let mut known = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone: HashSet<UserName> = known.keys().cloned().collect();
        for user in users {
            gone.remove(&user.name);
            let of_groups = user.groups.iter().filter_map(|group| groups.get(group)).flatten();
            let permissions: Vec<_> = user.permissions.iter().chain(of_groups).cloned().collect();
            let standing = match known.get(&user.name) {
                Some(entry) if entry.user == user && entry.permissions == permissions => continue,
                Some(entry) if entry.user.password == user.password => {
                    entry.standing.change(Permissions::new(&permissions));
                    entry.standing.clone()
                }
                before => {
                    before.inspect(|entry| entry.standing.end());
                    Arc::new(Standing::new(user.name.clone(), Permissions::new(&permissions)))
                }
            };
            known.insert(user.name.clone(), Arc::new(Entry { user, permissions, standing }));
        }
        for name in gone {
            known.remove(&name).inspect(|entry| entry.standing.end());
        }
        known.len()
    }

    /// Who shows this, if it was shown before and is still right. It hashes nothing that is slow to hash.
    pub(super) fn recall(&self, credential: &Credential, now: Monotonic) -> Option<Identity> {
        let Credential::Password { user, password } = credential else { return Some(Identity::Refused) };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key_of(user, password);
        let found = remembered.get(&key)?;
        if found.until <= now || found.standing.is_over() {
            remembered.remove(&key);
            return None;
        }
        Some(Identity::Known(found.standing.clone()))
    }

    /// Who shows this.
    ///
    /// # Errors
    /// They have to wait first: they failed too often, or too many try at the same time.
    pub(super) async fn identify(
        &self,
        credential: &Credential,
        from: IpAddr,
        now: Monotonic,
    ) -> Result<Identity, TryLater> {
        if let Some(known) = self.recall(credential, now) {
            return Ok(known);
        }
        let Credential::Password { user, password } = credential else { return Ok(Identity::Refused) };
        let _place = self.waiting.try_acquire().map_err(|_| TryLater { after: Duration::from_secs(1) })?;
        self.may_try(user, from, now)?;
        let entry = self.find(user);
        let hash = entry.as_ref().map(|entry| entry.user.password.clone());
        let right = self.verify(password.clone(), hash).await;
        match entry.filter(|entry| right && !entry.standing.is_over()) {
            Some(entry) => {
                self.throttle().succeeded(user, from);
                self.remember(self.key_of(user, password), &entry.standing, now);
                Ok(Identity::Known(entry.standing.clone()))
            }
            None => Ok(Identity::Refused),
        }
    }

    /// Who gives this answer to a challenge. Only users whose digest keys are kept can.
    pub(super) fn identify_by_digest(
        &self,
        answer: &DigestAnswer,
        method: &str,
        from: IpAddr,
        now: Monotonic,
    ) -> Identity {
        if self.may_try(&answer.user, from, now).is_err() {
            return Identity::Refused;
        }
        let entry = self.find(&answer.user);
        let keys = entry.as_ref().and_then(|entry| entry.user.digest.as_ref());
        let right = answer.is_right(method, keys);
        match entry.filter(|entry| right && !entry.standing.is_over()) {
            Some(entry) => {
                self.throttle().succeeded(&answer.user, from);
                Identity::Known(entry.standing.clone())
            }
            None => Identity::Refused,
        }
    }

    /// Counts an attempt, unless it comes too soon.
    fn may_try(&self, user: &str, from: IpAddr, now: Monotonic) -> Result<(), TryLater> {
        self.throttle().attempt(user, from, now).map_err(|TooSoon { wait, first }| {
            if first {
                tracing::warn!(%from, "too many wrong passwords for one name, or from one address: further ones wait");
            }
            TryLater { after: wait }
        })
    }

    fn find(&self, user: &str) -> Option<Arc<Entry>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }

    async fn verify(&self, password: Secret, hash: Option<PasswordHash>) -> bool {
        let Ok(turn) = self.hashing.clone().acquire_owned().await else { return false };
        let verified = tokio::task::spawn_blocking(move || {
            // Until it is done, also if nobody waits for it any more.
            let _turn = turn;
            password::verify(&password, hash.as_ref())
        });
        verified.await.unwrap_or(false)
    }

    fn remember(&self, key: [u8; 32], standing: &Arc<Standing>, now: Monotonic) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MOST {
            remembered.retain(|_, entry| entry.until > now && !entry.standing.is_over());
            if remembered.len() >= REMEMBERED_MOST {
                remembered.clear();
            }
        }
        remembered.insert(key, Remembered { standing: standing.clone(), until: now + REMEMBERED });
    }

    /// With a key of this process: what lies in memory fits nothing elsewhere, and nobody can aim at one entry. A name has
    /// no zero byte that could move between the two.
    fn key_of(&self, user: &str, password: &Secret) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.reveal().as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{cheap_user, permissions};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn shows(user: &str, password: &str) -> Credential {
        Credential::of_password(user, password).unwrap()
    }

    async fn known(logins: &Logins, credential: &Credential, now: u64) -> Option<Arc<Standing>> {
        match logins.identify(credential, HERE, at(now)).await.unwrap() {
            Identity::Known(standing) => Some(standing),
            Identity::Refused => None,
            Identity::Nobody => panic!("a credential is somebody's or nobody's"),
        }
    }

    #[tokio::test]
    async fn the_right_password_makes_known_and_nothing_else_does() {
        let logins = Logins::default();
        assert_eq!(logins.set_users(vec![cheap_user("anna", "password", &[])], &BTreeMap::new()), 1);
        let standing = known(&logins, &shows("anna", "password"), 1).await.unwrap();
        assert_eq!(standing.name().as_str(), "anna");
        let wrong = [shows("anna", "Password"), shows("berta", "password"), shows("", ""), shows("anna", "")];
        for credential in wrong.into_iter().chain([Credential::token("abc").unwrap()]) {
            assert!(known(&logins, &credential, 1).await.is_none(), "{credential:?}");
            assert!(!matches!(logins.recall(&credential, at(1)), Some(Identity::Known(_))));
        }
        assert!(matches!(logins.recall(&shows("anna", "password"), at(1)), Some(Identity::Known(_))), "remembered");
        assert!(logins.recall(&shows("anna", "password"), at(700)).is_none(), "and forgotten");
    }

    #[tokio::test]
    async fn a_new_password_ends_what_the_old_one_opened() {
        let logins = Logins::default();
        let set = |users| logins.set_users(users, &BTreeMap::new());
        set(vec![cheap_user("anna", "password", &[]), cheap_user("berta", "password", &[])]);
        let (anna, berta) = (shows("anna", "password"), shows("berta", "password"));
        let (of_anna, of_berta) = (known(&logins, &anna, 1).await.unwrap(), known(&logins, &berta, 1).await.unwrap());
        set(vec![cheap_user("anna", "another one", &[])]);
        assert!(of_anna.is_over() && of_berta.is_over());
        assert!(known(&logins, &anna, 1).await.is_none() && known(&logins, &berta, 1).await.is_none());
        assert!(known(&logins, &shows("anna", "another one"), 1).await.is_some());
    }

    #[tokio::test]
    async fn rights_change_and_the_login_stays() {
        let logins = Logins::default();
        let mut user = cheap_user("anna", "password", &[("view", "front")]);
        user.groups = vec!["family".into(), "nobody".into()];
        let mut groups = BTreeMap::from([("family".to_owned(), permissions(&[("alerts", "*")]))]);
        logins.set_users(vec![user.clone()], &groups);
        let standing = known(&logins, &shows("anna", "password"), 1).await.unwrap();
        let may = |action: &str| standing.permissions().allow_everywhere(action.parse().unwrap());
        assert!(may("alerts") && !may("stats") && standing.permissions().allow_somewhere("view".parse().unwrap()));
        groups.insert("family".to_owned(), permissions(&[("stats", "*")]));
        logins.set_users(vec![user], &groups);
        assert!(!may("alerts") && may("stats") && !standing.is_over());
    }

    #[tokio::test]
    async fn who_fails_too_often_waits_and_who_is_known_does_not() {
        let logins = Logins::default();
        logins.set_users(vec![cheap_user("anna", "password", &[])], &BTreeMap::new());
        assert!(known(&logins, &shows("anna", "password"), 1).await.is_some());
        for _ in 0..11 {
            assert!(known(&logins, &shows("anna", "guess"), 1).await.is_none());
        }
        let late = logins.identify(&shows("anna", "guess"), HERE, at(1)).await.unwrap_err();
        assert_eq!(late.after, Duration::from_secs(1));
        assert!(known(&logins, &shows("anna", "password"), 1).await.is_some(), "a password that is remembered");
        let elsewhere = "10.0.0.10".parse().unwrap();
        assert!(logins.identify(&shows("anna", "guess"), elsewhere, at(1)).await.is_ok());
    }
}
