//! Tokens: making them, proving them, and ending them with what they stand on.

use super::*;

/// Seconds an access token and a cookie last, and how long one login can be carried on.
const ACCESS: i64 = 900;
const SESSION: i64 = 12 * 3600;
const CARRIED_ON: i64 = 7 * 24 * 3600;
/// Begins the credential of a token for somebody whom the issuer vouches for.
const OF_ISSUER: &str = "i:";
/// And one for a program, by the id of its token.
const OF_PROGRAM: &str = "a:";

/// Who shows a token.
pub(super) enum Looked {
    /// Somebody.
    Known(Arc<Standing>),
    /// Nobody.
    Wrong,
    /// The issuer may have a key for it that is not known yet.
    UnknownKey,
}

impl Logins {
    /// These keys are the ones from now on, the newest first.
    pub(in crate::auth) fn set_keys(&self, keys: Vec<TokenKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Tokens of this issuer are taken from now on.
    pub(in crate::auth) fn set_issuer(&self, issuer: Arc<IssuerDesk>) {
        *self.issuer.write().unwrap_or_else(PoisonError::into_inner) = Some(issuer);
    }

    pub(super) fn issuer(&self) -> Option<Arc<IssuerDesk>> {
        self.issuer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who shows a token. What it takes to prove one is done once.
    pub(super) fn by_token(&self, token: &Secret, way: Way, now: WallTime) -> Looked {
        if ApiToken::is_one(token.reveal()) {
            let known = self.by_api_token(token, now).filter(|_| Purpose::Api.comes_by(way));
            return known.map_or(Looked::Wrong, Looked::Known);
        }
        let key = self.key_of(&[token.reveal().as_bytes()]);
        let seconds = seconds(now);
        if let Some(found) = self.held().find(&key, way, seconds) {
            return found.map_or(Looked::Wrong, Looked::Known);
        }
        let own = token::verify(&self.keys.read().unwrap_or_else(PoisonError::into_inner), token.reveal(), now);
        let held = match own {
            Some(claims) => self.of_claims(claims, now),
            None => match self.issuer().filter(|_| Purpose::Foreign.comes_by(way)) {
                Some(issuer) => match issuer.judge(token.reveal(), now) {
                    Verdict::Right(foreigner) => self.of_issuer(&issuer, *foreigner, &key),
                    Verdict::UnknownKey => return Looked::UnknownKey,
                    Verdict::Wrong => None,
                },
                None => None,
            },
        };
        let taken = held.filter(|held| held.purpose.comes_by(way)).and_then(|held| self.held().take(key, held));
        // Whoever logged out in between did so before this.
        taken.filter(|standing| !standing.is_over()).map_or(Looked::Wrong, Looked::Known)
    }

    /// A token of ours.
    fn of_claims(&self, claims: Claims, now: WallTime) -> Option<Held> {
        let ends = claims.ends.unwrap_or(claims.exp);
        let facts = |limit| TokenFacts {
            id: claims.jti.clone(),
            purpose: claims.purpose,
            until: wall(ends),
            auth_time: claims.auth_time,
            limit,
        };
        let own = claims.campanile.as_ref();
        let held = |login, foreign, standing| Held {
            purpose: claims.purpose,
            login,
            exp: claims.exp,
            ends,
            foreign,
            standing,
        };
        if let Some(id) = claims.credential.strip_prefix(OF_PROGRAM) {
            // It is over with the token that asked for it, and never says more.
            let (program, user) = self.api_token_of(id)?;
            let outer = program.standing(&user.standing, now)?.token().and_then(|token| token.limit.clone());
            let standing = user.standing.derive(facts(limited(own, outer.as_ref())));
            return Some(held(id.to_owned(), None, standing));
        }
        let entry = self.find(claims.sub.as_str());
        match (claims.credential.strip_prefix(OF_ISSUER), entry) {
            (None, Some(entry)) if credential_of(&entry.user) == claims.credential => {
                let standing = entry.standing.derive(facts(limited(own, None)));
                Some(held(claims.jti.clone(), None, standing))
            }
            // The name may be somebody else's by now.
            (Some(mark), None) if self.issuer().is_some_and(|issuer| issuer.mark() == mark) => {
                let standing = Standing::of_token(claims.sub.clone(), Permissions::new(own?), facts(None));
                Some(held(claims.jti.clone(), Some(None), Arc::new(standing)))
            }
            _ => None,
        }
    }

    /// A token of the issuer. A name that a user here has is that user's.
    fn of_issuer(&self, issuer: &IssuerDesk, foreigner: Foreigner, token: &[u8; 32]) -> Option<Held> {
        if self.find(foreigner.name.as_str()).is_some() {
            tracing::debug!(user = %foreigner.name, "a token of the issuer names a user of this server");
            return None;
        }
        let permissions = Permissions::new(&issuer.permissions(&foreigner));
        let Foreigner { name, exp, key, .. } = foreigner;
        let login = hexadecimal(token);
        let purpose = Purpose::Foreign;
        let facts = TokenFacts { id: login.clone(), purpose, until: wall(exp), auth_time: 0, limit: None };
        let standing = Arc::new(Standing::of_token(name, permissions, facts));
        Some(Held { purpose, login, exp, ends: exp, foreign: Some(Some(key)), standing })
    }

    /// A session for somebody who showed the password, now or not too long ago.
    pub(in crate::auth) fn open_session(&self, known: &Standing, now: WallTime) -> Result<Opened, Error> {
        let seconds = seconds(now);
        let token = known.token();
        if token.is_some_and(|token| !matches!(token.purpose, Purpose::Session | Purpose::Access)) {
            return Err(not_by_token());
        }
        let auth_time = token.map_or(seconds, |token| token.auth_time);
        if seconds - auth_time > CARRIED_ON {
            let message = "the login is too old to be carried on";
            return Err(Error::new(Kind::Unauthenticated, message).with_code("login_too_old"));
        }
        let id = token.map_or_else(random_id, |token| token.id.clone());
        let credential = self.credential(known)?;
        let sign = |purpose, lasts| {
            let (user, id, credential) = (known.name().clone(), Some(id.clone()), credential.clone());
            self.sign(Wanted { user, purpose, lasts, id, ends: None, auth_time, credential, limit: None }, now)
        };
        Ok(Opened {
            session: sign(Purpose::Session, SESSION)?,
            access: sign(Purpose::Access, ACCESS)?,
            access_lasts: ACCESS,
        })
    }

    /// A token for somebody who is known by a password, a login, the issuer or a program's token, with no more rights than `limit`.
    pub(in crate::auth) fn issue(
        &self,
        known: &Standing,
        purpose: Purpose,
        lasts: i64,
        limit: Option<Vec<PermissionConfig>>,
        now: WallTime,
    ) -> Result<Issued, Error> {
        let auth_time = seconds(now);
        let token = known.token();
        let until = token.map(|token| seconds(token.until));
        let (credential, lasts, limit) = match token.map(|token| token.purpose) {
            None | Some(Purpose::Session | Purpose::Access) => (self.credential(known)?, lasts, limit),
            // Nothing is known here of such a user: the token says it all, and is over with the one that asked for it.
            Some(Purpose::Foreign) => {
                let issuer = self.issuer().ok_or_else(not_by_token)?;
                let left = until.map_or(lasts, |until| lasts.min(until - auth_time));
                let limit = limit.unwrap_or_else(|| {
                    let permissions = known.permissions();
                    permissions.list().map(|(action, path)| PermissionConfig { action, path: path.clone() }).collect()
                });
                (format!("{OF_ISSUER}{}", issuer.mark()), left, Some(limit))
            }
            Some(Purpose::Api) => {
                let id = token.map(|token| token.id.as_str()).unwrap_or_default();
                let left = until.map_or(lasts, |until| lasts.min(until - auth_time));
                (format!("{OF_PROGRAM}{id}"), left, limit)
            }
            Some(Purpose::Events | Purpose::Media) => return Err(not_by_token()),
        };
        if limit.as_ref().is_some_and(|limit| limit.len() > token::PERMISSIONS_MAX) {
            let message = format!("a token of this kind has {} permissions at most", token::PERMISSIONS_MAX);
            return Err(Error::new(Kind::FailedPrecondition, message).with_code("too_many_permissions"));
        }
        // A ticket opens what the login that asked for it could have kept open; it ends with that.
        let (id, ends) = match purpose {
            Purpose::Events => (token.map(|token| token.id.clone()), Some(until.unwrap_or(auth_time + SESSION))),
            _ => (None, None),
        };
        let user = known.name().clone();
        self.sign(Wanted { user, purpose, lasts, id, ends, auth_time, credential, limit }, now)
    }

    fn sign(&self, wanted: Wanted, now: WallTime) -> Result<Issued, Error> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.first().ok_or_else(|| Error::new(Kind::Internal, "there is no key for tokens"))?;
        let (token, claims) = key.sign(wanted, now)?;
        Ok(Issued { token: Secret::new(token), until: wall(claims.exp) })
    }

    /// What a token for a user of this server has of the password.
    fn credential(&self, known: &Standing) -> Result<String, Error> {
        let gone = || Error::new(Kind::Unauthenticated, "there is no such user any more");
        self.find(known.name().as_str()).map(|entry| credential_of(&entry.user)).ok_or_else(gone)
    }

    /// Ends the login of a token, and everything its tokens opened.
    pub(in crate::auth) fn log_out(&self, known: &Standing, now: WallTime) {
        // A program does not log in: its token is withdrawn.
        let Some(token) = known.token().filter(|token| token.purpose != Purpose::Api) else { return };
        let until = seconds(token.until).max(seconds(now) + SESSION);
        self.end_login(EndedLogin { id: token.id.clone(), until, user: known.name().clone() });
    }

    /// No token of this login is right any more.
    pub(in crate::auth) fn end_login(&self, login: EndedLogin) {
        self.held().end_login(login);
    }

    /// The logins that were ended and whose tokens would still hold.
    pub(in crate::auth) fn ended_logins(&self) -> Vec<EndedLogin> {
        self.held().ended_logins()
    }

    /// Ends what has come to its end, and what stands on a key that the issuer withdrew.
    pub(in crate::auth) fn handle_timeout(&self, now: WallTime) {
        if let Some(issuer) = self.issuer() {
            let withdrawn = |held: &Held| held.foreign.flatten().is_some_and(|key| !issuer.has(&key));
            self.held().end_if(withdrawn);
        }
        self.api().handle_timeout(now);
        self.held().handle_timeout(seconds(now));
    }

    pub(super) fn held(&self) -> std::sync::MutexGuard<'_, HeldTokens> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token has of the password: with another password it is another.
fn credential_of(user: &User) -> String {
    let mut digest = digest_of("password", user.password.reveal());
    digest.truncate(16);
    digest
}

fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn not_by_token() -> Error {
    Error::new(Kind::PermissionDenied, "a token of this kind makes no others").with_code("not_allowed")
}

fn seconds(time: WallTime) -> i64 {
    time.unix_millis().div_euclid(1000)
}

const fn wall(seconds: i64) -> WallTime {
    WallTime::from_unix_nanos(seconds.saturating_mul(1_000_000_000))
}
