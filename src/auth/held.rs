//! Tokens that were found right, so that each is proved once; and logins that were ended before their tokens end by
//! themselves. Sans-IO.

use std::{collections::HashMap, sync::Arc};

use super::{Purpose, Standing, Way, issuer_keys::KeyPrint};

/// Tokens in use at most; beyond them the one that ends soonest ends at once.
const TOKENS_MOST: usize = 8192;
/// Logins that were ended before their tokens were; beyond them the one whose token ends soonest is forgotten.
const ENDED_MOST: usize = 8192;

/// A token that was found right.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) purpose: Purpose,
    /// The login it belongs to.
    pub(super) login: String,
    /// Seconds since 1970 at which it is none any more, and at which what it opened ends.
    pub(super) exp: i64,
    pub(super) ends: i64,
    /// Somebody else vouched for who it is: the key that did, if it was one.
    pub(super) foreign: Option<Option<KeyPrint>>,
    pub(super) standing: Arc<Standing>,
}

/// Tokens in use, by a digest of each.
#[derive(Debug, Default)]
pub(super) struct HeldTokens {
    tokens: HashMap<[u8; 32], Held>,
    /// Logins that were ended, and when their last token ends by itself.
    ended: HashMap<String, i64>,
}

impl HeldTokens {
    /// Who shows this token, if it was shown before; `Some(None)` if it is right no more.
    pub(super) fn find(&self, token: &[u8; 32], way: Way, now: i64) -> Option<Option<Arc<Standing>>> {
        let held = self.tokens.get(token)?;
        let holds = now < held.exp && held.purpose.comes_by(way) && !held.standing.is_over();
        Some(holds.then(|| held.standing.clone()))
    }

    /// Takes a token that was found right, unless its login was ended.
    pub(super) fn take(&mut self, token: [u8; 32], held: Held) -> Option<Arc<Standing>> {
        if self.ended.contains_key(&held.login) {
            return None;
        }
        // Somebody else may have shown it at the same time.
        if let Some(held) = self.tokens.get(&token) {
            return (!held.standing.is_over()).then(|| held.standing.clone());
        }
        if self.tokens.len() >= TOKENS_MOST {
            let soonest = self.tokens.iter().min_by_key(|(_, held)| held.ends).map(|(key, _)| *key);
            soonest.and_then(|key| self.tokens.remove(&key)).inspect(|held| held.standing.end());
        }
        let standing = held.standing.clone();
        self.tokens.insert(token, held);
        Some(standing)
    }

    /// No token of this login is right any more. The last of them ends by itself at `until`.
    pub(super) fn end_login(&mut self, id: &str, until: i64) {
        if self.ended.len() >= ENDED_MOST {
            let soonest = self.ended.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            soonest.and_then(|id| self.ended.remove(&id));
        }
        self.ended.insert(id.to_owned(), until);
        self.end_if(|held| held.login == id);
    }

    /// Ends tokens and what they opened.
    pub(super) fn end_if(&self, over: impl Fn(&Held) -> bool) {
        self.tokens.values().filter(|held| over(held)).for_each(|held| held.standing.end());
    }

    /// The logins that were ended and whose tokens would still hold.
    pub(super) fn ended_logins(&self) -> Vec<(String, i64)> {
        self.ended.iter().map(|(id, until)| (id.clone(), *until)).collect()
    }

    /// Ends what has come to its end.
    pub(super) fn handle_timeout(&mut self, now: i64) {
        self.tokens.retain(|_, held| {
            let over = held.ends <= now || held.standing.is_over();
            if over {
                held.standing.end();
            }
            !over
        });
        self.ended.retain(|_, until| *until > now);
    }
}
