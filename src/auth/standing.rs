//! Somebody who is known, and what they may do at the moment. Every grant comes from here and ends here: with the person,
//! or with the one right that is withdrawn. Sans-IO.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio_util::sync::CancellationToken;

use super::{Action, Permissions, token::Purpose};
use crate::{
    base::{PathName, WallTime},
    config::UserName,
};

/// Rights of one person that are kept apart, so that each ends alone; further ones of an action end with any change of it.
const APART: usize = 1024;

/// Somebody who is known.
#[derive(Debug)]
pub struct Standing {
    name: UserName,
    /// Held for a look or a change.
    rights: Mutex<Rights>,
    /// Those who stand here by a token.
    derived: Mutex<Vec<Weak<Self>>>,
    token: Option<TokenFacts>,
    ended: CancellationToken,
}

/// What is known of the token by which somebody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Its name; those of one login share it.
    pub id: String,
    /// What it is for.
    pub purpose: Purpose,
    /// When it ends, and what it opened with it.
    pub until: WallTime,
    /// When the password was shown, in seconds since 1970.
    pub auth_time: i64,
    /// What it allows at most.
    pub(super) limit: Option<Arc<Permissions>>,
}

impl TokenFacts {
    /// Whether it ends by itself.
    pub fn ends(&self) -> bool {
        self.until.unix_nanos() < i64::MAX
    }
}

#[derive(Debug)]
struct Rights {
    permissions: Arc<Permissions>,
    /// What was granted: the action, and the path, if it is one.
    issued: HashMap<(Action, Option<PathName>), CancellationToken>,
}

impl Standing {
    /// Somebody of this name who may do this.
    pub fn new(name: UserName, permissions: Permissions) -> Self {
        let rights = Rights { permissions: Arc::new(permissions), issued: HashMap::new() };
        Self {
            name,
            rights: Mutex::new(rights),
            derived: Mutex::default(),
            token: None,
            ended: CancellationToken::new(),
        }
    }

    /// Somebody of whom nothing is known but what a token says: they are over with it.
    pub(super) fn of_token(name: UserName, permissions: Permissions, token: TokenFacts) -> Self {
        Self { token: Some(token), ..Self::new(name, permissions) }
    }

    /// The same person by a token: it may do no more than the token says, and is over with it.
    pub(super) fn derive(self: &Arc<Self>, token: TokenFacts) -> Arc<Self> {
        let permissions = Arc::new(self.permissions().within(token.limit.as_ref()));
        let derived = Arc::new(Self {
            name: self.name.clone(),
            rights: Mutex::new(Rights { permissions, issued: HashMap::new() }),
            derived: Mutex::default(),
            token: Some(token),
            ended: self.ended.child_token(),
        });
        let mut all = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&derived));
        drop(all);
        // Between the look at the permissions and the entry in the list they may have changed.
        derived.change(self.permissions().within(derived.token.as_ref().and_then(|token| token.limit.as_ref())));
        derived
    }

    /// The token by which they are known, if it is one.
    pub const fn token(&self) -> Option<&TokenFacts> {
        self.token.as_ref()
    }

    /// What they are called.
    pub const fn name(&self) -> &UserName {
        &self.name
    }

    /// What they may do now.
    pub fn permissions(&self) -> Arc<Permissions> {
        self.rights().permissions.clone()
    }

    /// Whether they are nobody any more.
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// They are nobody any more: whatever was granted ends.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// What they may do from now on. What was granted and is no longer allowed ends; the rest goes on.
    pub fn change(&self, permissions: Permissions) {
        self.change_own(permissions);
        let derived: Vec<Arc<Self>> = {
            let all = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        for one in derived {
            one.change_own(self.permissions().within(one.token.as_ref().and_then(|token| token.limit.as_ref())));
        }
    }

    fn change_own(&self, permissions: Permissions) {
        let mut rights = self.rights();
        let before = std::mem::replace(&mut rights.permissions, Arc::new(permissions));
        let Rights { permissions, issued } = &mut *rights;
        issued.retain(|(action, path), token| {
            let stays = match path {
                Some(path) => permissions.allow(*action, path),
                None => permissions.allow_everywhere(*action) || permissions.agree(&before, *action),
            };
            if !stays {
                token.cancel();
            }
            stays
        });
    }

    /// A token for a right that was found to be theirs, while `permissions` are. It fires when the right ends.
    pub(super) fn issue(
        &self,
        action: Action,
        path: Option<&PathName>,
        permissions: &Arc<Permissions>,
    ) -> CancellationToken {
        let mut rights = self.rights();
        if !Arc::ptr_eq(permissions, &rights.permissions) {
            // They changed since the look: whoever asked learns at once, and asks again.
            let over = CancellationToken::new();
            over.cancel();
            return over;
        }
        let full = rights.issued.len() >= APART;
        let key = (action, path.cloned());
        let key = if full && !rights.issued.contains_key(&key) { (action, None) } else { key };
        rights.issued.entry(key).or_insert_with(|| self.ended.child_token()).child_token()
    }

    fn rights(&self) -> std::sync::MutexGuard<'_, Rights> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
