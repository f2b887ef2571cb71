//! Tokens that were found right, so that each is proved once; and logins that were ended before their tokens end by
//! themselves. Sans-IO.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Purpose, Standing, Way, issuer_keys::KeyPrint};
use crate::config::UserName;

/// Tokens in use at most; beyond them, of whoever has most, the one that ends soonest ends at once.
const TOKENS_MOST: usize = 8192;
/// Logins that were ended before their tokens were; beyond them, of whoever has most, the one that ends soonest is
/// forgotten.
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

/// A login that was ended before its tokens were: none of them is right any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedLogin {
    /// Its id, as it stands in its tokens.
    pub id: String,
    /// Seconds since 1970 at which the last of them ends by itself.
    pub until: i64,
    /// Whose it was.
    pub user: UserName,
}

/// Tokens in use, by a digest of each.
#[derive(Debug, Default)]
pub(super) struct HeldTokens {
    tokens: HashMap<[u8; 32], Held>,
    /// By id.
    ended: HashMap<String, EndedLogin>,
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
            let all = self.tokens.iter().map(|(key, held)| (held.standing.name(), held.ends, key));
            dispensable(all).copied().and_then(|key| self.tokens.remove(&key)).inspect(|held| held.standing.end());
        }
        let standing = held.standing.clone();
        self.tokens.insert(token, held);
        Some(standing)
    }

    /// No token of this login is right any more.
    pub(super) fn end_login(&mut self, login: EndedLogin) {
        if self.ended.len() >= ENDED_MOST {
            let all = self.ended.iter().map(|(id, login)| (&login.user, login.until, id));
            dispensable(all).cloned().and_then(|id| self.ended.remove(&id));
        }
        self.end_if(|held| held.login == login.id);
        self.ended.insert(login.id.clone(), login);
    }

    /// Ends tokens and what they opened.
    pub(super) fn end_if(&self, over: impl Fn(&Held) -> bool) {
        self.tokens.values().filter(|held| over(held)).for_each(|held| held.standing.end());
    }

    /// The logins that were ended and whose tokens would still hold, by id.
    pub(super) fn ended_logins(&self) -> Vec<EndedLogin> {
        let mut all: Vec<_> = self.ended.values().cloned().collect();
        all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        all
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
        self.ended.retain(|_, login| login.until > now);
    }
}

/// What makes room: of the user who has most, what ends soonest. So whoever brings ever more pushes nobody else out.
fn dispensable<'a, K>(all: impl Iterator<Item = (&'a UserName, i64, K)> + Clone) -> Option<K> {
    let mut counts = HashMap::<&UserName, usize>::new();
    all.clone().for_each(|(user, ..)| *counts.entry(user).or_default() += 1);
    let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    all.filter(|(user, ..)| *user == most).min_by_key(|(_, ends, _)| *ends).map(|(.., key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{Permissions, TokenFacts},
        base::WallTime,
    };

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn held(name: &str, ends: i64) -> Held {
        let purpose = Purpose::Access;
        let until = WallTime::from_unix_nanos(0);
        let facts = TokenFacts { id: String::new(), purpose, until, auth_time: 0, limit: None };
        let standing = Standing::of_token(name.parse().unwrap(), Permissions::default(), facts);
        Held { purpose, login: String::new(), exp: ends, ends, foreign: None, standing: Arc::new(standing) }
    }

    #[test]
    fn whoever_shows_ever_more_tokens_ends_their_own_and_nobody_elses() {
        let mut tokens = HeldTokens::default();
        // It ends sooner than any of Eve's.
        let anna = tokens.take(key(0), held("anna", 10)).unwrap();
        for number in 1..TOKENS_MOST + 20 {
            tokens.take(key(number), held("eve", 100)).unwrap();
        }
        assert!(tokens.tokens.len() <= TOKENS_MOST);
        assert!(!anna.is_over() && tokens.find(&key(0), Way::Header, 1).flatten().is_some());
    }

    #[test]
    fn whoever_logs_out_without_end_brings_back_their_own_logins_and_nobody_elses() {
        let mut tokens = HeldTokens::default();
        let [anna, eve] = ["anna", "eve"].map(|name| name.parse().unwrap());
        tokens.end_login(EndedLogin { id: "of anna".into(), until: 10, user: anna });
        for number in 0..ENDED_MOST + 20 {
            tokens.end_login(EndedLogin { id: number.to_string(), until: 100, user: eve.clone() });
        }
        let ended = tokens.ended_logins();
        assert!(ended.len() <= ENDED_MOST && ended.iter().any(|one| one.id == "of anna"));
        assert_eq!(ended, tokens.ended_logins(), "in one order: it is compared with what was written");
    }
}
