//! The decision: who asks, what for, and whether that is theirs. `docs/users.md` has it as a table.
//!
//! Without a credential the answer is the same for paths that exist and paths that do not. With one that lacks the right,
//! a path is not there, and an action is not allowed.

mod outside;
mod programs;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    Action, ApiToken, Credential, Deed, DigestAnswer, EndedLogin, Grant, Issued, IssuerDesk, Knock, Opened,
    OutsideDesk, Outsider, Permission, Permissions, Purpose, Reach, Sighting, Standing, Subject, TokenKey, TryLater,
    User, decisions::Verdict, logins::Logins, sightings::Sightings,
};
use crate::{
    base::{Error, Kind, Moment, Monotonic, PathName, Result, Secret, WallTime},
    config::PermissionConfig,
};

/// Who asks, as the door saw it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The request came through somebody else: it carries a forwarding header, or names a host that is not this machine.
    pub relayed: bool,
    /// Who it is, as far as that was shown.
    pub identity: Identity,
}

/// Who somebody has shown to be.
#[derive(Clone, Debug, Default)]
pub enum Identity {
    /// Nothing was shown.
    #[default]
    Nobody,
    /// A credential was shown that is not right. Such a caller may do less than one without.
    Refused,
    /// Somebody who is known.
    Known(Arc<Standing>),
    /// Somebody about whom the server that decides is asked (`auth.http`): known as soon as it allowed something.
    Outside(Arc<Outsider>),
}

impl Caller {
    /// A caller connected directly from `peer`, who showed nothing yet.
    pub const fn direct(peer: SocketAddr) -> Self {
        Self { peer, relayed: false, identity: Identity::Nobody }
    }

    /// Whether the caller is a program on this machine speaking for itself.
    pub fn is_local(&self) -> bool {
        let ip = match self.peer.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
            ip @ IpAddr::V4(_) => ip,
        };
        ip.is_loopback() && !self.relayed
    }

    /// Whether nothing was shown so far, neither what is right nor what is wrong.
    pub fn shows_nothing(&self) -> bool {
        match &self.identity {
            Identity::Nobody => true,
            Identity::Outside(outsider) => outsider.shows_nothing(),
            Identity::Refused | Identity::Known(_) => false,
        }
    }

    /// Who it is, while they are anybody.
    fn known(&self) -> Option<&Arc<Standing>> {
        match &self.identity {
            Identity::Known(known) if !known.is_over() => Some(known),
            Identity::Outside(outsider) => outsider.known(),
            _ => None,
        }
    }
}

/// What callers may do who show nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatePolicy {
    /// Nothing; on this machine, read, until there is a second user.
    #[default]
    Closed,
    /// Everything, whoever and wherever they are: `auth: off`.
    Off,
    /// On this machine everything, elsewhere nothing. For tests of what stands behind the gate.
    #[cfg(test)]
    Local,
}

/// A token of a program, as whoever may see it does.
#[derive(Clone, Debug)]
pub struct ApiTokenSeen {
    /// What is kept of it.
    pub token: ApiToken,
    /// When it was last shown, as far as that is known.
    pub last_used: Option<WallTime>,
}

/// Where tokens of programs outlive this process.
pub trait TokenShelf: Send + Sync {
    /// Keeps a token under its id, or keeps it no more.
    fn put(&self, id: String, token: Option<String>) -> BoxFuture<'static, Result<()>>;
}

/// Decides whether a caller may do something. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    policy: GatePolicy,
    /// As long as callers on this machine may read without a login; it fires when they no longer may.
    local: Arc<RwLock<CancellationToken>>,
    logins: Arc<Logins>,
    outside: Arc<OnceLock<Arc<OutsideDesk>>>,
    sightings: Arc<Mutex<Sightings>>,
    shelf: Shelf,
    /// Held by whoever makes a token of a program, so that all of them are counted.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// Set once, at the start.
#[derive(Clone, Default)]
struct Shelf(Arc<OnceLock<Box<dyn TokenShelf>>>);

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

impl Gate {
    /// A gate with this policy.
    pub fn new(policy: GatePolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Whether everybody may do everything.
    pub fn is_off(&self) -> bool {
        self.policy == GatePolicy::Off
    }

    /// These are the users from now on, in these groups: what was granted to those who are gone ends, and what those who
    /// stay may do no more. How many there are comes back.
    pub fn set_users(&self, users: Vec<User>, groups: &BTreeMap<String, Vec<PermissionConfig>>) -> usize {
        let count = self.logins.set_users(users, groups);
        self.set_count(count);
        count
    }

    /// Who shows this, if that needs no thought: everybody is let in, or it was shown and found right before.
    pub fn recall(&self, credential: &Credential, from: IpAddr, now: Moment) -> Option<Identity> {
        if self.is_off() { Some(Identity::Nobody) } else { self.logins.recall(credential, from, now) }
    }

    /// Who shows this, from an address.
    ///
    /// # Errors
    /// They have to wait first: they failed too often, or too many try at the same time.
    pub async fn identify(
        &self,
        credential: &Credential,
        from: IpAddr,
        now: Moment,
    ) -> std::result::Result<Identity, TryLater> {
        if self.is_off() {
            return Ok(Identity::Nobody);
        }
        let identified = self.logins.identify(credential, from, now).await;
        if matches!(identified, Ok(Identity::Refused) | Err(_)) {
            self.saw_refused(from, credential.user(), now);
        }
        identified
    }

    /// These keys sign and prove tokens from now on, the newest first.
    pub fn set_keys(&self, keys: Vec<TokenKey>) {
        self.logins.set_keys(keys);
    }

    /// Tokens of this issuer are taken from now on.
    pub fn set_issuer(&self, issuer: Arc<IssuerDesk>) {
        self.logins.set_issuer(issuer);
    }

    /// A session and an access token for somebody who showed the password, now or not too long ago.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`]: known by a token that makes no others; [`Kind::Unauthenticated`]: too long ago.
    pub fn open_session(&self, known: &Standing, now: Moment) -> Result<Opened> {
        self.logins.open_session(known, now.wall)
    }

    /// A token that lasts so many seconds, and allows no more than `limit`.
    ///
    /// # Errors
    /// As [`Gate::open_session`].
    pub fn issue(
        &self,
        known: &Standing,
        purpose: Purpose,
        lasts: i64,
        limit: Option<Vec<PermissionConfig>>,
        now: Moment,
    ) -> Result<Issued> {
        self.logins.issue(known, purpose, lasts, limit, now.wall)
    }

    /// Ends the login by whose token somebody is known, and everything its tokens opened.
    pub fn log_out(&self, known: &Standing, now: Moment) {
        self.logins.log_out(known, now.wall);
    }

    /// Logins that were ended before their tokens end by themselves, by id: what has to outlive a restart.
    pub fn ended_logins(&self) -> Vec<EndedLogin> {
        self.logins.ended_logins()
    }

    /// A login was ended before this process began.
    pub fn end_login(&self, login: EndedLogin) {
        self.logins.end_login(login);
    }

    /// Ends what tokens opened that have come to their end. To be called at least once a second.
    pub fn handle_timeout(&self, now: Moment) {
        self.logins.handle_timeout(now.wall);
    }

    /// Why a caller of whom nothing is known, or what is known no more, gets no further.
    pub fn nobody(&self, caller: &Caller) -> Error {
        match &caller.identity {
            Identity::Nobody => unauthenticated(false),
            Identity::Outside(outsider) if outsider.is_unanswered() => {
                let message = "the server that decides about callers does not answer";
                let hint = "`auth.http` of the configuration names it, and the log says what is wrong";
                Error::new(Kind::Unavailable, message).with_code("auth_unavailable").with_hint(hint)
            }
            Identity::Outside(outsider) => unauthenticated(outsider.shown().1.is_some()),
            Identity::Refused | Identity::Known(_) => unauthenticated(true),
        }
    }

    /// Who gives this answer to a challenge, from an address, in a request of this method.
    pub fn identify_by_digest(&self, answer: &DigestAnswer, method: &str, from: IpAddr, now: Moment) -> Identity {
        if self.is_off() {
            return Identity::Nobody;
        }
        let identified = self.logins.identify_by_digest(answer, method, from, now);
        if matches!(identified, Identity::Refused) {
            self.saw_refused(from, Some(&answer.user), now);
        }
        identified
    }

    /// What a caller is called, whatever it may do; nothing for one of whom nothing is known.
    pub fn subject(&self, caller: &Caller) -> Option<Subject> {
        match (caller.known(), &caller.identity) {
            (Some(known), _) => Some(Subject::User(known.name().clone())),
            (None, Identity::Nobody) if caller.is_local() && self.trusts_this_machine() => Some(Subject::Loopback),
            (None, Identity::Nobody) if self.is_off() => Some(Subject::Anonymous),
            _ => None,
        }
    }

    fn trusts_this_machine(&self) -> bool {
        !matches!(self.policy, GatePolicy::Closed)
            || !self.local.read().unwrap_or_else(PoisonError::into_inner).is_cancelled()
    }

    /// With the second user, callers on this machine need a login as everybody does; what they read without one ends.
    fn set_count(&self, count: usize) {
        let mut local = self.local.write().unwrap_or_else(PoisonError::into_inner);
        if count > 1 {
            local.cancel();
        } else if local.is_cancelled() {
            *local = CancellationToken::new();
        }
    }

    /// Whether `caller` may do `P` on `path`.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`], with the same words for paths that exist and paths that do not; [`Kind::NotFound`], as
    /// for a path that does not, if the caller may not see it; [`Kind::PermissionDenied`].
    pub fn check<P: Permission>(&self, caller: &Caller, path: &PathName) -> Result<Grant<P>> {
        let Some(known) = caller.known() else {
            let (subject, ended) = self.without_login::<P>(caller)?;
            return Ok(Grant::new(subject, Reach::Path(path.clone()), ended));
        };
        let permissions = known.permissions();
        if permissions.allow(P::ACTION, path) {
            return Ok(self.granted(caller, known, Reach::Path(path.clone()), &permissions));
        }
        if permissions.allow(Action::View, path) { Err(not_allowed(P::ACTION)) } else { Err(path_not_found(path)) }
    }

    /// Whether `caller` may do `P` on the server as a whole.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`]; [`Kind::PermissionDenied`].
    pub fn check_server<P: Permission>(&self, caller: &Caller) -> Result<Grant<P>> {
        let Some(known) = caller.known() else {
            let (subject, ended) = self.without_login::<P>(caller)?;
            return Ok(Grant::new(subject, Reach::Server, ended));
        };
        let permissions = known.permissions();
        if !permissions.allow_everywhere(P::ACTION) {
            return Err(not_allowed(P::ACTION));
        }
        Ok(self.granted(caller, known, Reach::Server, &permissions))
    }

    /// Whether there is anything `caller` may do `P` on; the grant holds for that much.
    ///
    /// # Errors
    /// As [`Gate::check_server`].
    pub fn check_somewhere<P: Permission>(&self, caller: &Caller) -> Result<Grant<P>> {
        let Some(known) = caller.known() else { return self.check_server(caller) };
        let permissions = known.permissions();
        if permissions.allow_everywhere(P::ACTION) || !permissions.allow_somewhere(P::ACTION) {
            return self.check_server(caller);
        }
        Ok(self.granted(caller, known, Reach::Where(P::ACTION, permissions.clone()), &permissions))
    }

    /// What was found to be theirs, while `permissions` are.
    fn granted<P: Permission>(
        &self,
        caller: &Caller,
        known: &Standing,
        reach: Reach,
        permissions: &Arc<Permissions>,
    ) -> Grant<P> {
        let path = if let Reach::Path(path) = &reach { Some(path) } else { None };
        let ended = known.issue(P::ACTION, path, permissions);
        Grant::held(Subject::User(known.name().clone()), reach, ended, self.holder(caller))
    }

    /// What callers may do who are not known.
    fn without_login<P: Permission>(&self, caller: &Caller) -> Result<(Subject, CancellationToken)> {
        // Somebody who was known and is no more has shown what is right no more.
        let refused = !matches!(caller.identity, Identity::Nobody);
        match self.policy {
            GatePolicy::Off => {
                let subject = if caller.is_local() { Subject::Loopback } else { Subject::Anonymous };
                return Ok((subject, CancellationToken::new()));
            }
            #[cfg(test)]
            GatePolicy::Local if caller.is_local() && !refused => {
                return Ok((Subject::Loopback, CancellationToken::new()));
            }
            #[cfg(test)]
            GatePolicy::Local => {}
            GatePolicy::Closed => {
                let reads = matches!(
                    P::ACTION,
                    Action::View | Action::Playback | Action::Alerts | Action::Sensors | Action::Stats
                );
                if reads && caller.is_local() && !refused {
                    let local = self.local.read().unwrap_or_else(PoisonError::into_inner).child_token();
                    if !local.is_cancelled() {
                        return Ok((Subject::Loopback, local));
                    }
                }
            }
        }
        Err(self.nobody(caller))
    }
}

fn unauthenticated(refused: bool) -> Error {
    if refused {
        // One answer, whatever is wrong with it.
        return Error::new(Kind::Unauthenticated, "the credential is not valid").with_code("invalid_credential");
    }
    Error::new(Kind::Unauthenticated, "this needs a login").with_hint("send a user's name and password, or a token")
}

/// What a path is to those who may not see it: as if there were none.
pub fn path_not_found(path: &PathName) -> Error {
    Error::new(Kind::NotFound, format!("path {path}: there is none of this name"))
        .with_code("path_not_found")
        .with_hint("paths are named in the configuration; GET /api/v1/paths lists them")
}

fn not_allowed(action: Action) -> Error {
    Error::new(Kind::PermissionDenied, format!("this needs the permission `{}`", action.name()))
        .with_code("not_allowed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{Ack, Admin, Alerts, Control, Playback, Publish, Sensors, Stats, View},
        config::PermissionConfig,
    };

    fn caller(address: &str, relayed: bool) -> Caller {
        Caller { relayed, ..Caller::direct(address.parse().unwrap()) }
    }

    fn known(permissions: &[(&str, &str)]) -> Arc<Standing> {
        Arc::new(Standing::new("anna".parse().unwrap(), some(permissions)))
    }

    fn some(permissions: &[(&str, &str)]) -> Permissions {
        let list: Vec<_> = permissions
            .iter()
            .map(|(action, path)| PermissionConfig { action: action.parse().unwrap(), path: path.parse().unwrap() })
            .collect();
        Permissions::new(&list)
    }

    /// The status a door would answer with, for every action on the path and on the server.
    fn statuses(gate: &Gate, caller: &Caller, path: &str) -> [(u16, u16); 9] {
        fn status<T>(result: Result<T>) -> u16 {
            result.map_or_else(
                |error| match error.kind() {
                    Kind::Unauthenticated => 401,
                    Kind::PermissionDenied => 403,
                    Kind::NotFound => 404,
                    _ => 500,
                },
                |_| 200,
            )
        }
        let path: PathName = path.parse().unwrap();
        macro_rules! both {
            ($($action:ty),*) => { [$((status(gate.check::<$action>(caller, &path)), status(gate.check_server::<$action>(caller)))),*] };
        }
        both!(View, Publish, Playback, Alerts, Ack, Sensors, Stats, Control, Admin)
    }

    #[test]
    fn callers_who_show_nothing_read_on_this_machine_while_there_is_one_user_and_nothing_else() {
        let one = |reads: u16, acts: u16| {
            let (r, a) = ((reads, reads), (acts, acts));
            [r, a, r, r, a, r, r, a, a]
        };
        let (few, many, off) = (Gate::default(), Gate::default(), Gate::new(GatePolicy::Off));
        few.set_count(1);
        many.set_count(2);
        let table = [
            ("127.0.0.1:9", false, one(200, 401)),
            ("127.8.8.8:9", false, one(200, 401)),
            ("[::1]:9", false, one(200, 401)),
            ("[::ffff:127.0.0.1]:9", false, one(200, 401)),
            ("127.0.0.1:9", true, one(401, 401)),
            ("10.0.0.9:9", false, one(401, 401)),
            ("10.0.0.9:9", true, one(401, 401)),
        ];
        for (address, relayed, expected) in table {
            let caller = caller(address, relayed);
            assert_eq!(statuses(&few, &caller, "cam"), expected, "{address} {relayed}");
            assert_eq!(statuses(&many, &caller, "cam"), one(401, 401), "{address} {relayed}, two users");
            assert_eq!(statuses(&off, &caller, "cam"), one(200, 200), "{address} {relayed}, off");
            // A credential that is not right is worse than none.
            let wrong = Caller { identity: Identity::Refused, ..caller };
            assert_eq!(statuses(&few, &wrong, "cam"), one(401, 401), "{address} {relayed}, refused");
        }
    }

    #[test]
    fn a_user_without_the_right_finds_no_path_and_is_refused_an_action() {
        let gate = Gate::default();
        let with = |permissions: &[(&str, &str)]| Caller {
            identity: Identity::Known(known(permissions)),
            ..caller("127.0.0.1:9", false)
        };
        let viewer = with(&[("view", "front"), ("alerts", "site/*")]);
        // view publish playback alerts ack sensors stats control admin
        let actions = [(403, 403); 8];
        let on = |first: u16, rest: u16| {
            let mut all = [(rest, 403); 9];
            all[0].0 = first;
            all
        };
        assert_eq!(statuses(&gate, &viewer, "front"), on(200, 403));
        assert_eq!(&statuses(&gate, &viewer, "front")[1..], actions);
        assert_eq!(statuses(&gate, &viewer, "back"), on(404, 404));
        let mut site = on(404, 404);
        site[3].0 = 200;
        assert_eq!(statuses(&gate, &viewer, "site/a"), site);
        assert_eq!(statuses(&gate, &with(&[("admin", "*")]), "back"), [(200, 200); 9]);
        assert_eq!(statuses(&gate, &with(&[]), "back"), on(404, 404));
        // What is not there and what may not be seen are told in the same words.
        let name = "back".parse().unwrap();
        let error = gate.check::<View>(&viewer, &name).unwrap_err();
        assert_eq!((error.code(), error.message()), ("path_not_found", path_not_found(&name).message()));
    }

    #[test]
    fn a_right_on_some_paths_gives_a_grant_for_those() {
        let gate = Gate::default();
        let identity = Identity::Known(known(&[("alerts", "site/*"), ("stats", "*")]));
        let caller = Caller { identity, ..caller("10.0.0.9:9", false) };
        let (site, other) = ("site/a".parse().unwrap(), "front".parse().unwrap());
        let alerts = gate.check_somewhere::<Alerts>(&caller).unwrap();
        assert_eq!((alerts.path(), alerts.subject().name()), (None, "anna"));
        let covers = |reach: &Reach| [Some(&site), Some(&other), None].map(|path| reach.covers(path));
        assert_eq!(covers(alerts.reach()), [true, false, false]);
        assert_eq!(covers(gate.check_somewhere::<Stats>(&caller).unwrap().reach()), [true; 3]);
        assert_eq!(covers(gate.check::<Alerts>(&caller, &site).unwrap().reach()), [true, false, false]);
        assert_eq!(gate.check_somewhere::<Sensors>(&caller).unwrap_err().kind(), Kind::PermissionDenied);
    }

    #[test]
    fn a_grant_ends_with_its_right_and_the_others_go_on() {
        let gate = Gate::default();
        let anna = known(&[("view", "*"), ("alerts", "site/*")]);
        let caller = Caller { identity: Identity::Known(anna.clone()), ..caller("10.0.0.9:9", false) };
        let (front, back) = ("front".parse().unwrap(), "back".parse().unwrap());
        let views = [gate.check::<View>(&caller, &front).unwrap(), gate.check::<View>(&caller, &back).unwrap()];
        let (whole, alerts) =
            (gate.check_server::<View>(&caller).unwrap(), gate.check_somewhere::<Alerts>(&caller).unwrap());
        let ended = || [&views[0], &views[1], &whole].map(|grant| grant.ended().is_cancelled());
        anna.change(some(&[("view", "*"), ("alerts", "site/*"), ("publish", "*")]));
        assert_eq!((ended(), alerts.ended().is_cancelled()), ([false; 3], false), "more rights end nothing");
        anna.change(some(&[("view", "front"), ("alerts", "site/*")]));
        assert_eq!((ended(), alerts.ended().is_cancelled()), ([false, true, true], false));
        anna.change(some(&[("view", "front"), ("alerts", "site/a")]));
        assert!(alerts.ended().is_cancelled(), "the paths it holds for are others");
        assert!(gate.check::<View>(&caller, &front).is_ok());
        anna.end();
        assert_eq!(ended(), [true; 3]);
        assert!(gate.check::<View>(&caller, &front).is_err_and(|error| error.kind() == Kind::Unauthenticated));
    }

    #[test]
    fn rights_beyond_those_kept_apart_still_end() {
        let gate = Gate::default();
        let anna = known(&[("view", "**")]);
        let caller = Caller { identity: Identity::Known(anna.clone()), ..caller("10.0.0.9:9", false) };
        let grants: Vec<_> =
            (0..1100).map(|n| gate.check::<View>(&caller, &format!("cam-{n}").parse().unwrap()).unwrap()).collect();
        anna.change(some(&[("view", "cam-1")]));
        let alive: Vec<_> = grants.iter().filter(|grant| !grant.ended().is_cancelled()).collect();
        assert_eq!(alive.len(), 1);
        assert_eq!(alive[0].path().unwrap().as_str(), "cam-1");
    }

    #[test]
    fn what_this_machine_reads_without_a_login_ends_with_the_second_user() {
        let gate = Gate::default();
        let (caller, path) = (caller("127.0.0.1:9", false), "cam".parse().unwrap());
        let grant = gate.check::<View>(&caller, &path).unwrap();
        gate.set_count(1);
        assert!(!grant.ended().is_cancelled());
        gate.set_count(2);
        assert!(grant.ended().is_cancelled() && gate.check::<View>(&caller, &path).is_err());
        gate.set_count(1);
        assert!(gate.check::<View>(&caller, &path).is_ok());
    }

    #[test]
    fn a_grant_holds_for_the_path_it_was_asked_for() {
        let path: PathName = "cam".parse().unwrap();
        let gate = Gate::default();
        let grant = gate.check::<View>(&caller("127.0.0.1:9", false), &path).unwrap();
        let other = gate.check::<View>(&caller("127.0.0.1:9", false), &path).unwrap();
        assert_eq!(grant.path(), Some(&path));
        grant.ended().cancel();
        let copy = grant.clone();
        assert!(grant.ended().is_cancelled() && copy.ended().is_cancelled() && !other.ended().is_cancelled());
    }
}
