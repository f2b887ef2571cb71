//! Tokens of programs: whoever shows one is its user, with no more rights than it has.

use super::*;

/// Tokens of one user, and in all.
const OF_USER: usize = 50;
const MOST: usize = 2000;

impl Logins {
    /// These are the tokens of programs from now on, and when each was last shown.
    pub(in crate::auth) fn set_api_tokens(&self, tokens: Vec<ApiToken>, used: &HashMap<String, i64>) {
        let gone = self.api().set(tokens, used);
        self.held().end_if(|held| gone.contains(&held.login));
    }

    /// Makes a token for somebody who is known by a password or a login. It is right once it was added.
    pub(in crate::auth) fn make_api_token(
        &self,
        known: &Standing,
        name: &str,
        permissions: Option<Vec<PermissionConfig>>,
        until: Option<WallTime>,
        now: WallTime,
    ) -> Result<(ApiToken, Secret), Error> {
        may_make(known)?;
        let all = self.api().list();
        let own = all.iter().filter(|entry| entry.token.user == *known.name()).count();
        if own >= OF_USER || all.len() >= MOST {
            let message = format!("there are as many tokens as may be: {OF_USER} of one user, {MOST} in all");
            return Err(Error::new(Kind::FailedPrecondition, message).with_code("too_many_tokens"));
        }
        ApiToken::new(name, known.name().clone(), permissions, until, now)
    }

    pub(in crate::auth) fn add_api_token(&self, token: ApiToken) {
        self.api().add(token);
    }

    /// It is none any more, and what it opened ends.
    pub(in crate::auth) fn remove_api_token(&self, id: &str) {
        self.api().remove(id);
        self.held().end_if(|held| held.login == id);
    }

    /// The tokens that somebody may see and withdraw: their own; all of them, for an admin.
    pub(in crate::auth) fn api_tokens(&self, known: &Standing) -> Result<Vec<ApiTokenSeen>, Error> {
        may_make(known)?;
        let all = known.permissions().allow_everywhere(crate::config::Action::Admin);
        let mut tokens = self.api_tokens_used();
        tokens.retain(|seen| all || seen.token.user == *known.name());
        Ok(tokens)
    }

    /// All of them, and when each was last shown.
    pub(in crate::auth) fn api_tokens_used(&self) -> Vec<ApiTokenSeen> {
        let seen = |entry: Arc<ApiEntry>| ApiTokenSeen { token: entry.token.clone(), last_used: entry.used() };
        self.api().list().into_iter().map(seen).collect()
    }

    pub(super) fn by_api_token(&self, token: &Secret, now: WallTime) -> Option<Arc<Standing>> {
        let entry = self.api().find(token.reveal())?;
        entry.standing(&self.find(entry.token.user.as_str())?.standing, now)
    }

    /// A token as the password of a digest login, beside its user's name.
    pub(super) fn by_digest_of_token(
        &self,
        answer: &DigestAnswer,
        method: &str,
        user: &Arc<Standing>,
        now: WallTime,
    ) -> Option<Arc<Standing>> {
        let own = self.api().list().into_iter().filter(|entry| entry.token.user == *user.name());
        let entry = own.into_iter().find(|entry| answer.is_right(method, Some(&entry.token.digest)))?;
        entry.standing(user, now)
    }

    /// The token of an id that a token of ours was made for, and its user.
    pub(super) fn api_token_of(&self, id: &str) -> Option<(Arc<ApiEntry>, Arc<Entry>)> {
        let entry = self.api().list().into_iter().find(|entry| entry.token.id == id)?;
        let user = self.find(entry.token.user.as_str())?;
        Some((entry, user))
    }

    pub(super) fn api(&self) -> std::sync::MutexGuard<'_, ApiTokens> {
        self.api.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has only a token of a program cannot give itself more of them.
fn may_make(known: &Standing) -> Result<(), Error> {
    match known.token().map(|token| token.purpose) {
        None | Some(Purpose::Session | Purpose::Access) => Ok(()),
        Some(_) => {
            let message = "tokens of programs are made and withdrawn by users who log in here";
            Err(Error::new(Kind::PermissionDenied, message).with_code("not_allowed"))
        }
    }
}
