//! The service behind the gate: users by name, and the way from a credential to somebody who is known. Tokens have a file
//! of their own: they lead to the same users, and end with them.
//!
//! A password is hashed once, not once per request: what was found right is remembered under a keyed hash of it, as long
//! as its user is who they were. Hashing runs on the runtime's threads for what blocks, few at a time; who comes when too
//! many wait is told to come back. A name that nobody has costs as much as a password that is wrong.

mod programs;
mod tokens;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio::sync::Semaphore;

use self::tokens::Looked;
use super::{
    ApiToken, ApiTokenSeen, Credential, DigestAnswer, Identity, IssuerDesk, Permissions, Purpose, Standing, TokenFacts,
    TokenKey, User, Way,
    api_tokens::{ApiEntry, ApiTokens},
    digest_of,
    held::{EndedLogin, Held, HeldTokens},
    issuer::{Foreigner, Verdict},
    limited, password,
    throttle::{Throttle, TooSoon},
    token::{self, Claims, Wanted},
    user::hexadecimal,
};
use crate::{
    base::{Error, Kind, Moment, Monotonic, Secret, WallTime},
    config::{PasswordHash, PermissionConfig, UserName},
    stats::network,
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

/// A token that was made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// When it ends.
    pub until: WallTime,
}

/// What a login gives.
#[derive(Clone, Debug)]
pub struct Opened {
    /// For the cookie.
    pub session: Issued,
    /// For `Authorization`.
    pub access: Issued,
    /// Seconds that one lasts.
    pub access_lasts: i64,
}

/// Users and logins.
pub(super) struct Logins {
    /// The newest first: it signs.
    keys: RwLock<Vec<TokenKey>>,
    held: Mutex<HeldTokens>,
    /// Tokens of programs.
    api: Mutex<ApiTokens>,
    /// Whose tokens are taken beside ours.
    issuer: RwLock<Option<Arc<IssuerDesk>>>,
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
            // Until those that are kept come.
            keys: RwLock::new(vec![TokenKey::random()]),
            held: Mutex::default(),
            api: Mutex::default(),
            issuer: RwLock::default(),
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
        // A name that a user here has is that user's, whatever the issuer says.
        self.held().end_if(|held| held.foreign.is_some() && known.contains_key(held.standing.name()));
        known.len()
    }

    /// Who shows this, if it was shown before from there and is still right. It hashes nothing that is slow to hash.
    pub(super) fn recall(&self, credential: &Credential, from: IpAddr, now: Moment) -> Option<Identity> {
        let (user, password) = match credential {
            Credential::Password { user, password } => (user, password),
            Credential::Token { token, way } => {
                return match self.by_token(token, *way, now.wall) {
                    Looked::Known(standing) => Some(Identity::Known(standing)),
                    Looked::Wrong => Some(Identity::Refused),
                    Looked::UnknownKey => None,
                };
            }
        };
        let now = now.monotonic;
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key_of_password(user, password, from);
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
        now: Moment,
    ) -> Result<Identity, TryLater> {
        if let Some(known) = self.recall(credential, from, now) {
            return Ok(known);
        }
        let Credential::Password { user, password } = credential else {
            let newer = match self.issuer() {
                Some(issuer) => issuer.newer_keys(now.monotonic).await,
                None => false,
            };
            return Ok(self.recall(credential, from, now).filter(|_| newer).unwrap_or(Identity::Refused));
        };
        let now = now.monotonic;
        let _place = self.waiting.try_acquire().map_err(|_| TryLater { after: Duration::from_secs(1) })?;
        self.may_try(user, from, now)?;
        let entry = self.find(user);
        let hash = entry.as_ref().map(|entry| entry.user.password.clone());
        let right = self.verify(password.clone(), hash).await;
        match entry.filter(|entry| right && !entry.standing.is_over()) {
            Some(entry) => {
                self.throttle().succeeded(user, from);
                self.remember(self.key_of_password(user, password, from), &entry.standing, now);
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
        now: Moment,
    ) -> Identity {
        if self.may_try(&answer.user, from, now.monotonic).is_err() {
            return Identity::Refused;
        }
        let entry = self.find(&answer.user);
        let keys = entry.as_ref().and_then(|entry| entry.user.digest.as_ref());
        let right = answer.is_right(method, keys);
        let standing = entry.filter(|entry| !entry.standing.is_over()).and_then(|entry| {
            let standing = &entry.standing;
            if right { Some(standing.clone()) } else { self.by_digest_of_token(answer, method, standing, now.wall) }
        });
        match standing {
            Some(standing) => {
                self.throttle().succeeded(&answer.user, from);
                Identity::Known(standing)
            }
            None => Identity::Refused,
        }
    }

    /// Whether somebody may come by a password that no answer to a challenge could be held against.
    pub(super) fn needs_passwords(&self) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.values().any(|entry| entry.user.digest.is_none()) || self.issuer().is_some()
    }

    /// Whether this names nobody who is a user here.
    pub(super) fn is_strange(&self, credential: &Credential) -> bool {
        matches!(credential, Credential::Password { user, .. } if self.find(user).is_none())
    }

    /// What was counted turned out to be no failure.
    pub(super) fn tried_well(&self, user: &str, from: IpAddr) {
        self.throttle().succeeded(user, from);
    }

    /// What was counted is not known to be a failure, nor to be none.
    pub(super) fn tried_in_vain(&self, user: &str, from: IpAddr) {
        self.throttle().undecided(user, from);
    }

    /// Counts an attempt, unless it comes too soon.
    pub(super) fn may_try(&self, user: &str, from: IpAddr, now: Monotonic) -> Result<(), TryLater> {
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

    /// What is known of one address is nothing at another: whoever guesses there would learn without a wait that a guess is
    /// right.
    fn key_of_password(&self, user: &str, password: &Secret, from: IpAddr) -> [u8; 32] {
        let from = match network(from) {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        self.key_of(&[user.as_bytes(), password.reveal().as_bytes(), &from])
    }

    /// With a key of this process: what lies in memory fits nothing elsewhere, and nobody can aim at one entry.
    fn key_of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // So that no byte moves from one part to the next.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
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
    use serde_json::json;

    use super::*;
    use crate::{
        auth::testing::{Signer, cheap_user, permissions},
        base::Clock,
    };

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn at(seconds: u64) -> Moment {
        let nanos = seconds * 1_000_000_000;
        Moment { monotonic: Monotonic::from_nanos(nanos), wall: WallTime::from_unix_nanos(nanos.cast_signed()) }
    }

    fn shows(user: &str, password: &str) -> Credential {
        Credential::of_password(user, password).unwrap()
    }

    async fn known(logins: &Logins, credential: &Credential, now: u64) -> Option<Arc<Standing>> {
        match logins.identify(credential, HERE, at(now)).await.unwrap() {
            Identity::Known(standing) => Some(standing),
            Identity::Refused => None,
            Identity::Nobody | Identity::Outside(_) => panic!("a credential is somebody's or nobody's"),
        }
    }

    #[tokio::test]
    async fn the_right_password_makes_known_and_nothing_else_does() {
        let logins = Logins::default();
        assert_eq!(logins.set_users(vec![cheap_user("anna", "password", &[])], &BTreeMap::new()), 1);
        let standing = known(&logins, &shows("anna", "password"), 1).await.unwrap();
        assert_eq!(standing.name().as_str(), "anna");
        let wrong = [shows("anna", "Password"), shows("berta", "password"), shows("", ""), shows("anna", "")];
        for credential in wrong.into_iter().chain([Credential::of_token("abc", Way::Header).unwrap()]) {
            assert!(known(&logins, &credential, 1).await.is_none(), "{credential:?}");
            assert!(!matches!(logins.recall(&credential, HERE, at(1)), Some(Identity::Known(_))));
        }
        assert!(
            matches!(logins.recall(&shows("anna", "password"), HERE, at(1)), Some(Identity::Known(_))),
            "remembered"
        );
        assert!(logins.recall(&shows("anna", "password"), HERE, at(700)).is_none(), "and forgotten");
    }

    #[tokio::test]
    async fn who_waits_for_guessing_learns_nothing_from_what_is_remembered_elsewhere() {
        let logins = Logins::default();
        logins.set_users(vec![cheap_user("anna", "password", &[])], &BTreeMap::new());
        assert!(known(&logins, &shows("anna", "password"), 1).await.is_some());
        let elsewhere = IpAddr::from([10, 0, 0, 10]);
        for guess in 0..20 {
            let _waits = logins.identify(&shows("anna", &format!("guess {guess}")), elsewhere, at(2)).await;
        }
        assert!(logins.recall(&shows("anna", "password"), elsewhere, at(2)).is_none());
        assert!(
            logins.identify(&shows("anna", "password"), elsewhere, at(2)).await.is_err(),
            "the right one waits, too"
        );
        assert!(known(&logins, &shows("anna", "password"), 2).await.is_some(), "and its owner goes on");
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

    /// Somebody who logged in with a password at second 1, and their tokens.
    async fn logged_in(logins: &Logins) -> (Arc<Standing>, Opened) {
        logins.set_users(vec![cheap_user("anna", "password", &[("view", "*"), ("alerts", "*")])], &BTreeMap::new());
        let standing = known(logins, &shows("anna", "password"), 1).await.unwrap();
        let opened = logins.open_session(&standing, at(1).wall).unwrap();
        (standing, opened)
    }

    fn by(logins: &Logins, token: &Secret, way: Way, now: u64) -> Option<Arc<Standing>> {
        match logins.recall(&Credential::of_token(token.reveal(), way).unwrap(), HERE, at(now)) {
            Some(Identity::Known(standing)) => Some(standing),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_token_makes_known_by_its_way_until_it_ends_and_ends_what_it_opened() {
        let logins = Logins::default();
        let (_, opened) = logged_in(&logins).await;
        let (session, access) = (&opened.session.token, &opened.access.token);
        let table = [
            (session, Way::Cookie, 2, true),
            (session, Way::Header, 2, false),
            (session, Way::Query, 2, false),
            (access, Way::Header, 2, true),
            (access, Way::Query, 2, true),
            (access, Way::Cookie, 2, false),
            (access, Way::Header, 900, true),
            (access, Way::Header, 901, false),
            (session, Way::Cookie, 43_200, true),
            (session, Way::Cookie, 43_201, false),
        ];
        for (token, way, now, right) in table {
            assert_eq!(by(&logins, token, way, now).is_some(), right, "{way:?} {now}");
        }
        let standing = by(&logins, access, Way::Header, 2).unwrap();
        logins.handle_timeout(at(900).wall);
        assert!(!standing.is_over());
        logins.handle_timeout(at(901).wall);
        assert!(standing.is_over(), "what it opened ends with it");
        assert!(by(&logins, session, Way::Cookie, 901).is_some());
    }

    #[tokio::test]
    async fn a_login_ends_with_all_its_tokens_and_with_its_password() {
        let logins = Logins::default();
        let (_, opened) = logged_in(&logins).await;
        let access = by(&logins, &opened.access.token, Way::Header, 2).unwrap();
        let session = by(&logins, &opened.session.token, Way::Cookie, 2).unwrap();
        let next = logins.open_session(&session, at(3).wall).unwrap();
        logins.log_out(&access, at(4).wall);
        assert!(access.is_over() && session.is_over());
        for (token, way) in [
            (&opened.session.token, Way::Cookie),
            (&opened.access.token, Way::Header),
            (&next.session.token, Way::Cookie),
        ] {
            assert!(by(&logins, token, way, 5).is_none());
        }
        // Another process with the same keys, which was told of the end.
        let again = Logins::default();
        again.set_keys(logins.keys.read().unwrap().clone());
        let (_, fresh) = logged_in(&again).await;
        logins.ended_logins().into_iter().for_each(|login| again.end_login(login));
        assert!(by(&again, &next.session.token, Way::Cookie, 5).is_none());
        assert!(by(&again, &fresh.session.token, Way::Cookie, 5).is_some());
        again.set_users(vec![cheap_user("anna", "another one", &[])], &BTreeMap::new());
        assert!(by(&again, &fresh.session.token, Way::Cookie, 5).is_none(), "another password");
    }

    #[tokio::test]
    async fn a_token_for_one_path_opens_that_and_makes_no_others() {
        let logins = Logins::default();
        let (standing, _) = logged_in(&logins).await;
        let limit = permissions(&[("view", "front")]);
        let media = logins.issue(&standing, Purpose::Media, 60, Some(limit), at(1).wall).unwrap();
        let by_media = by(&logins, &media.token, Way::Header, 2).unwrap();
        let allow = |path: &str| by_media.permissions().allow("view".parse().unwrap(), &path.parse().unwrap());
        assert!(allow("front") && !allow("back"));
        assert!(!by_media.permissions().allow_somewhere("alerts".parse().unwrap()));
        assert_eq!(logins.open_session(&by_media, at(2).wall).unwrap_err().kind(), Kind::PermissionDenied);
        let more = logins.issue(&by_media, Purpose::Events, 30, None, at(2).wall);
        assert_eq!(more.unwrap_err().kind(), Kind::PermissionDenied);
        // What the user loses, the token loses.
        logins.set_users(vec![cheap_user("anna", "password", &[("view", "back")])], &BTreeMap::new());
        assert!(!allow("front"));
    }

    #[tokio::test]
    async fn a_ticket_opens_for_a_moment_what_lasts_as_long_as_the_login() {
        let logins = Logins::default();
        let (_, opened) = logged_in(&logins).await;
        let session = by(&logins, &opened.session.token, Way::Cookie, 2).unwrap();
        let ticket = logins.issue(&session, Purpose::Events, 30, None, at(2).wall).unwrap();
        let follower = by(&logins, &ticket.token, Way::Query, 3).unwrap();
        assert!(by(&logins, &ticket.token, Way::Header, 3).is_none());
        logins.handle_timeout(at(40).wall);
        assert!(!follower.is_over() && by(&logins, &ticket.token, Way::Query, 40).is_none());
        logins.log_out(&session, at(41).wall);
        assert!(follower.is_over());
    }

    /// An issuer with one key, which everybody knows.
    fn vouched(logins: &Logins) -> (Signer, Arc<IssuerDesk>) {
        let signer = Signer::ec();
        let config =
            json!({ "jwks_url": "https://id.example/k", "issuer": "id", "audience": "us", "groups_claim": "g" });
        let groups = BTreeMap::from([("family".to_owned(), permissions(&[("alerts", "*")]))]);
        let desk = Arc::new(IssuerDesk::new(serde_json::from_value(config).unwrap(), groups));
        desk.handle_fetched(Some(key_set(&signer).as_bytes()), Monotonic::default()).unwrap();
        logins.set_issuer(desk.clone());
        (signer, desk)
    }

    fn key_set(signer: &Signer) -> String {
        json!({ "keys": [signer.jwk("a")] }).to_string()
    }

    /// Holds until second 100.
    fn vouches(signer: &Signer, kid: &str, name: &str) -> Secret {
        let body = json!({
            "iss": "id", "aud": "us", "sub": name, "exp": 95, "g": ["family", "others"],
            "campanile": [{ "action": "view", "path": "site/*" }],
        });
        Secret::new(signer.token(&json!({ "alg": "ES256", "kid": kid }).to_string(), &body.to_string()))
    }

    #[test]
    fn somebody_whom_the_issuer_vouches_for_may_what_the_token_and_its_groups_say() {
        let logins = Logins::default();
        let (signer, desk) = vouched(&logins);
        let (token, again) = (vouches(&signer, "a", "berta"), vouches(&signer, "a", "clara"));
        for (way, right) in [(Way::Header, true), (Way::Query, false), (Way::Cookie, false)] {
            assert_eq!(by(&logins, &token, way, 2).is_some(), right, "{way:?}");
        }
        let berta = by(&logins, &token, Way::Header, 2).unwrap();
        let allow = |path: &str| berta.permissions().allow("view".parse().unwrap(), &path.parse().unwrap());
        assert!(allow("site/a") && !allow("front") && berta.permissions().allow_everywhere("alerts".parse().unwrap()));
        logins.handle_timeout(at(99).wall);
        assert!(!berta.is_over());
        logins.handle_timeout(at(100).wall);
        assert!(berta.is_over() && by(&logins, &token, Way::Header, 100).is_none());
        // With a key that was withdrawn goes what it opened; an issuer that does not answer withdraws nothing.
        let clara = by(&logins, &again, Way::Header, 2).unwrap();
        desk.handle_fetched(None, Monotonic::default()).unwrap();
        logins.handle_timeout(at(3).wall);
        assert!(!clara.is_over());
        desk.handle_fetched(Some(key_set(&Signer::ec()).as_bytes()), Monotonic::default()).unwrap();
        logins.handle_timeout(at(4).wall);
        assert!(clara.is_over() && by(&logins, &again, Way::Header, 4).is_none());
    }

    #[tokio::test]
    async fn a_name_that_a_user_here_has_is_not_the_issuers_to_give() {
        let logins = Logins::default();
        let (signer, _) = vouched(&logins);
        let (anna, berta) = (vouches(&signer, "a", "anna"), vouches(&signer, "a", "berta"));
        let (_, opened) = logged_in(&logins).await;
        assert!(by(&logins, &anna, Way::Header, 2).is_none());
        assert!(by(&logins, &opened.access.token, Way::Header, 2).is_some());
        let known = by(&logins, &berta, Way::Header, 2).unwrap();
        logins.set_users(vec![cheap_user("berta", "password", &[])], &BTreeMap::new());
        assert!(known.is_over() && by(&logins, &berta, Way::Header, 2).is_none());
    }

    #[test]
    fn what_is_made_for_somebody_the_issuer_vouches_for_ends_with_the_token_of_the_issuer() {
        let logins = Logins::default();
        let (signer, _) = vouched(&logins);
        let berta = by(&logins, &vouches(&signer, "a", "berta"), Way::Header, 2).unwrap();
        assert_eq!(logins.open_session(&berta, at(2).wall).unwrap_err().kind(), Kind::PermissionDenied);
        let ticket = logins.issue(&berta, Purpose::Events, 30, None, at(2).wall).unwrap();
        let follower = by(&logins, &ticket.token, Way::Query, 3).unwrap();
        assert!(follower.permissions().allow_everywhere("alerts".parse().unwrap()));
        let limit = permissions(&[("view", "site/a")]);
        let media = logins.issue(&berta, Purpose::Media, 3600, Some(limit), at(2).wall).unwrap();
        let viewer = by(&logins, &media.token, Way::Header, 3).unwrap();
        assert!(!viewer.permissions().allow_somewhere("alerts".parse().unwrap()));
        logins.handle_timeout(at(99).wall);
        assert!(!follower.is_over() && !viewer.is_over());
        logins.handle_timeout(at(100).wall);
        assert!(follower.is_over() && viewer.is_over());
        // Without its issuer it is nobody's, and a login that ended takes its tickets with it.
        let other = Logins::default();
        other.set_keys(logins.keys.read().unwrap().clone());
        assert!(by(&other, &media.token, Way::Header, 3).is_none());
        let ticket = logins.issue(&berta, Purpose::Events, 30, None, at(4).wall).unwrap();
        logins.log_out(&berta, at(5).wall);
        assert!(by(&logins, &ticket.token, Way::Query, 6).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn jw_04_a_token_of_a_new_key_waits_for_the_next_set_and_many_of_them_for_one() {
        let logins = Logins::default();
        let (_, desk) = vouched(&logins);
        let next = Signer::ec();
        let token = Credential::of_token(vouches(&next, "b", "berta").reveal(), Way::Header).unwrap();
        let now = || Moment { monotonic: Clock.now(), wall: at(2).wall };
        desk.due(Clock).await;
        desk.handle_fetched(None, Clock.now()).unwrap();
        assert!(logins.recall(&token, HERE, now()).is_none(), "it needs thought");
        // Too soon after the last fetch: an answer at once.
        assert!(matches!(logins.identify(&token, HERE, now()).await, Ok(Identity::Refused)));
        tokio::time::advance(Duration::from_secs(10)).await;
        let rounds = std::cell::Cell::new(0);
        let issuer = async {
            desk.due(Clock).await;
            rounds.set(rounds.get() + 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let set = json!({ "keys": [next.jwk("b")] }).to_string();
            desk.handle_fetched(Some(set.as_bytes()), Clock.now()).unwrap();
        };
        let callers = futures_util::future::join_all((0..10).map(|_| logins.identify(&token, HERE, now())));
        let ((), known) = tokio::join!(issuer, callers);
        assert!(known.iter().all(|identity| matches!(identity, Ok(Identity::Known(_)))));
        assert_eq!(rounds.get(), 1);
        // One that no key is for is told so, and brings no further fetch.
        let forged = Credential::of_token(vouches(&Signer::ec(), "c", "berta").reveal(), Way::Header).unwrap();
        assert!(matches!(logins.identify(&forged, HERE, now()).await, Ok(Identity::Refused)));
    }

    /// A token of a program of anna's.
    async fn program(logins: &Logins, limit: Option<&[(&str, &str)]>, until: Option<u64>) -> (ApiToken, Secret) {
        let standing = known(logins, &shows("anna", "password"), 1).await.unwrap();
        let until = until.map(|until| at(until).wall);
        let made = logins.make_api_token(&standing, "bell", limit.map(permissions), until, at(1).wall).unwrap();
        logins.add_api_token(made.0.clone());
        made
    }

    fn may(standing: &Standing, action: &str, path: &str) -> bool {
        standing.permissions().allow(action.parse().unwrap(), &path.parse().unwrap())
    }

    #[tokio::test]
    async fn a_token_of_a_program_is_its_user_within_its_limit_until_it_is_withdrawn() {
        let logins = Logins::default();
        logged_in(&logins).await;
        let limit: &[(&str, &str)] = &[("view", "front"), ("admin", "*")];
        let (token, text) = program(&logins, Some(limit), None).await;
        for (way, right) in [(Way::Header, true), (Way::Message, true), (Way::Query, false), (Way::Cookie, false)] {
            assert_eq!(by(&logins, &text, way, 2).is_some(), right, "{way:?}");
        }
        let standing = by(&logins, &text, Way::Header, 2).unwrap();
        assert!(may(&standing, "view", "front") && !may(&standing, "publish", "front"), "no more than its user");
        assert!(by(&logins, &Secret::new(format!("{}x", &text.reveal()[..63])), Way::Header, 2).is_none());
        // What it makes is within its limit, and ends with it.
        let everything = permissions(&[("view", "*")]);
        let media = logins.issue(&standing, Purpose::Media, 60, Some(everything), at(2).wall).unwrap();
        let viewer = by(&logins, &media.token, Way::Header, 3).unwrap();
        assert!(may(&viewer, "view", "front") && may(&viewer, "view", "back"), "it is an admin's");
        let (narrow, text_of_narrow) = program(&logins, Some(&[("view", "front")]), None).await;
        let by_narrow = by(&logins, &text_of_narrow, Way::Header, 2).unwrap();
        let everything = permissions(&[("view", "*")]);
        let media_of_narrow = logins.issue(&by_narrow, Purpose::Media, 60, Some(everything), at(2).wall).unwrap();
        let narrow_viewer = by(&logins, &media_of_narrow.token, Way::Header, 3).unwrap();
        assert!(may(&narrow_viewer, "view", "front") && !may(&narrow_viewer, "view", "back"));
        assert_eq!(logins.open_session(&standing, at(2).wall).unwrap_err().kind(), Kind::PermissionDenied);
        assert!(logins.make_api_token(&standing, "more", None, None, at(2).wall).is_err(), "it makes no others");
        logins.remove_api_token(&token.id);
        assert!(standing.is_over() && viewer.is_over() && !by_narrow.is_over());
        assert!(by(&logins, &text, Way::Header, 4).is_none() && by(&logins, &media.token, Way::Header, 4).is_none());
        // Another process withdrew the other one.
        logins.set_api_tokens(Vec::new(), &HashMap::new());
        assert!(by_narrow.is_over() && narrow_viewer.is_over());
        assert!(by(&logins, &media_of_narrow.token, Way::Header, 4).is_none());
        assert!(ApiToken::of_stored(&narrow.id, &narrow.to_stored()).is_ok());
    }

    #[tokio::test]
    async fn a_token_of_a_program_ends_with_its_time_and_its_user_and_outlives_a_password() {
        let logins = Logins::default();
        logged_in(&logins).await;
        let (_, short) = program(&logins, None, Some(60)).await;
        let (_, long) = program(&logins, None, None).await;
        let [by_short, by_long] = [&short, &long].map(|text| by(&logins, text, Way::Header, 59).unwrap());
        logins.handle_timeout(at(60).wall);
        assert!(by_short.is_over() && by(&logins, &short, Way::Header, 60).is_none() && !by_long.is_over());
        // Rights that its user loses, it loses; with another password it goes on, on another footing.
        logins.set_users(vec![cheap_user("anna", "password", &[("view", "front")])], &BTreeMap::new());
        assert!(may(&by_long, "view", "front") && !may(&by_long, "view", "back"));
        logins.set_users(vec![cheap_user("anna", "another one", &[("view", "front")])], &BTreeMap::new());
        assert!(by_long.is_over() && by(&logins, &long, Way::Header, 61).is_some());
        let seen = logins.api_tokens_used();
        assert!(seen.iter().all(|seen| seen.last_used.is_some()), "{seen:?}");
        logins.set_users(Vec::new(), &BTreeMap::new());
        assert!(by(&logins, &long, Way::Header, 62).is_none());
    }

    #[tokio::test]
    async fn a_login_is_carried_on_for_a_week() {
        let logins = Logins::default();
        let (_, mut opened) = logged_in(&logins).await;
        let mut now = 1;
        for _ in 0..20 {
            now += 40_000;
            let Some(session) = by(&logins, &opened.session.token, Way::Cookie, now) else { panic!("at {now}") };
            match logins.open_session(&session, at(now).wall) {
                Ok(next) => opened = next,
                Err(error) => {
                    assert_eq!(error.code(), "login_too_old");
                    assert!(now > 604_800, "{now}");
                    return;
                }
            }
        }
        panic!("it goes on for ever");
    }
}
