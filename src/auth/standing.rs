//! Somebody who is known, and what they may do at the moment. Every grant comes from here and ends here: with the person,
//! or with the one right that is withdrawn. Sans-IO.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{Action, Permissions};
use crate::{base::PathName, config::UserName};

/// Rights of one person that are kept apart, so that each ends alone; further ones of an action end with any change of it.
const APART: usize = 1024;

/// Somebody who is known.
#[derive(Debug)]
pub struct Standing {
    name: UserName,
    /// Held for a look or a change.
    rights: Mutex<Rights>,
    ended: CancellationToken,
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
        Self { name, rights: Mutex::new(rights), ended: CancellationToken::new() }
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
