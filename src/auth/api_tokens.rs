//! The tokens of programs at work: found by what is kept of each, ended when they are withdrawn or over. Sans-IO.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{ApiToken, Purpose, Standing, TokenFacts, api_token, limited};
use crate::base::WallTime;

/// A token at work.
pub(super) struct ApiEntry {
    pub(super) token: ApiToken,
    /// Whoever shows it stands here, as long as its user does.
    standing: Mutex<Option<Arc<Standing>>>,
    /// Milliseconds since 1970; 0: never.
    used: AtomicI64,
}

impl fmt::Debug for ApiEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiEntry({})", self.token.id)
    }
}

impl ApiEntry {
    fn new(token: ApiToken, used: i64) -> Arc<Self> {
        Arc::new(Self { token, standing: Mutex::default(), used: AtomicI64::new(used) })
    }

    /// Whether it is right at this moment.
    fn holds(&self, now: WallTime) -> bool {
        self.token.until.is_none_or(|until| now < until)
    }

    /// Whoever shows it, given its user.
    pub(super) fn standing(&self, user: &Arc<Standing>, now: WallTime) -> Option<Arc<Standing>> {
        if !self.holds(now) || user.is_over() {
            return None;
        }
        self.used.fetch_max(now.unix_millis(), Ordering::Relaxed);
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = standing.as_ref().filter(|standing| !standing.is_over()) {
            return Some(standing.clone());
        }
        let facts = TokenFacts {
            id: self.token.id.clone(),
            purpose: Purpose::Api,
            until: self.token.until.unwrap_or(WallTime::from_unix_nanos(i64::MAX)),
            auth_time: 0,
            limit: limited(self.token.permissions.as_ref(), None),
        };
        Some(standing.insert(user.derive(facts)).clone())
    }

    /// When it was last shown, as far as that is known.
    pub(super) fn used(&self) -> Option<WallTime> {
        let used = self.used.load(Ordering::Relaxed);
        (used > 0).then(|| WallTime::from_unix_nanos(used.saturating_mul(1_000_000)))
    }

    fn end(&self) {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.iter().for_each(|standing| standing.end());
    }
}

/// All of them, by what is kept of each.
#[derive(Debug, Default)]
pub(super) struct ApiTokens {
    by_hash: HashMap<[u8; 32], Arc<ApiEntry>>,
}

impl ApiTokens {
    /// These are the tokens from now on; `used` says when each was last shown. Those that are gone come back, ended.
    pub(super) fn set(&mut self, tokens: Vec<ApiToken>, used: &HashMap<String, i64>) -> Vec<String> {
        let mut before = std::mem::take(&mut self.by_hash);
        for token in tokens {
            let kept = before.remove(&token.hash).filter(|entry| {
                let same = entry.token == token;
                if !same {
                    entry.end();
                }
                same
            });
            let last = used.get(&token.id).copied().unwrap_or(0);
            self.by_hash.insert(token.hash, kept.unwrap_or_else(|| ApiEntry::new(token, last)));
        }
        before
            .into_values()
            .map(|entry| {
                entry.end();
                entry.token.id.clone()
            })
            .collect()
    }

    pub(super) fn add(&mut self, token: ApiToken) {
        self.by_hash.insert(token.hash, ApiEntry::new(token, 0));
    }

    /// It is none any more.
    pub(super) fn remove(&mut self, id: &str) {
        self.by_hash.retain(|_, entry| {
            if entry.token.id == id {
                entry.end();
            }
            entry.token.id != id
        });
    }

    /// The token of a text.
    pub(super) fn find(&self, text: &str) -> Option<Arc<ApiEntry>> {
        self.by_hash.get(&api_token::hash(text)).cloned()
    }

    /// All of them, by id.
    pub(super) fn list(&self) -> Vec<Arc<ApiEntry>> {
        let mut all: Vec<_> = self.by_hash.values().cloned().collect();
        all.sort_by(|one, other| one.token.id.cmp(&other.token.id));
        all
    }

    /// Ends what tokens opened that are over.
    pub(super) fn handle_timeout(&self, now: WallTime) {
        self.by_hash.values().filter(|entry| !entry.holds(now)).for_each(|entry| entry.end());
    }
}
