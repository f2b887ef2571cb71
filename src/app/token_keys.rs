//! The keys of this server's tokens, as the store keeps them: another one is made when the newest has signed long enough, or
//! when `campanile token rotate` says so, and a running server has it within a second. One that signs no more proves until
//! its tokens are over.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::deeds::{self, Deed};
use crate::{
    auth::{Gate, TokenKey},
    base::{Clock, Error, Kind, Result},
    config::{TokenAlgorithm, TokensConfig},
    store::{DocumentChange, Documents},
};

/// Where the store keeps keys, by name.
const KEYS: &str = "token_keys";
/// How long a token may hold that was signed with a key's last breath: the cookie's twelve hours, and an hour for clocks.
const PROVES_MS: i64 = 13 * 3_600_000;
/// Keys at most, however often another one is made; the oldest go first.
const MOST: usize = 64;

/// A key, and when it was made, in milliseconds since 1970.
#[derive(Clone, Debug)]
struct Made {
    at_ms: i64,
    key: TokenKey,
}

/// A key as the store keeps it. No `Debug`: the secret stands in it as it is.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    secret: String,
    made_ms: i64,
    #[serde(default)]
    algorithm: TokenAlgorithm,
}

/// The keys of a state directory, beside a server that may be running.
#[derive(Debug)]
pub struct KeyBook {
    documents: Documents,
}

impl KeyBook {
    /// Opens the store of a state directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(state_dir: &Path) -> Result<Self> {
        let (documents, _) = Documents::open(state_dir, Clock).await;
        // What was wrong with the file is said by the first look into it.
        documents.all(KEYS).await?;
        Ok(Self { documents })
    }

    /// The keys, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn keys(&self) -> Result<Vec<TokenKey>> {
        let keys = read(&self.documents.all(KEYS).await?);
        Ok(keys.into_iter().map(|made| made.key).collect())
    }

    /// Makes another key for the command line, which signs from now on; its name comes back.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn rotate(&self, algorithm: TokenAlgorithm) -> Result<String> {
        let before = read(&self.documents.all(KEYS).await?);
        let made = make(algorithm, &before, Clock.wall().unix_millis())?;
        let deed = Deed::now("key.added", &deeds::command_line(), &made.key.id, None);
        deeds::apply(&self.documents, vec![written(&made)], vec![deed]).await?;
        Ok(made.key.id)
    }
}

/// What the gate was last given.
#[derive(Debug)]
pub(super) struct KeyWatch {
    config: TokensConfig,
    given: Option<Vec<String>>,
}

impl KeyWatch {
    pub(super) const fn new(config: TokensConfig) -> Self {
        Self { config, given: None }
    }

    /// Gives the gate the keys, if they are others than before; makes another one when that is due, and forgets those that
    /// prove nothing any more.
    ///
    /// # Errors
    /// The store cannot be read or written; the gate keeps what it has.
    pub(super) async fn look(&mut self, gate: &Gate, documents: &Documents) -> Result<()> {
        let now = Clock.wall().unix_millis();
        let mut keys = read(&documents.all(KEYS).await?);
        let period = i64::try_from(self.config.rotate.duration().as_millis()).unwrap_or(i64::MAX);
        let mut changes = Vec::new();
        if is_due(&keys, self.config.algorithm, period, now) {
            let made = make(self.config.algorithm, &keys, now)?;
            // The first start has nothing to tell: nobody holds a token yet.
            if !keys.is_empty() {
                info!(key = made.key.id, "tokens are signed with another key from now on");
            }
            changes.push(written(&made));
            keys.insert(0, made);
        }
        let gone = keys.split_off(of_use(&keys, now));
        let forgotten = |made: Made| DocumentChange { collection: KEYS, key: made.key.id, body: None };
        changes.extend(gone.into_iter().map(forgotten));
        if !changes.is_empty() {
            documents.apply(changes).await?;
        }
        let ids: Vec<String> = keys.iter().map(|made| made.key.id.clone()).collect();
        if self.given.as_ref() != Some(&ids) {
            gate.set_keys(keys.into_iter().map(|made| made.key).collect());
            self.given = Some(ids);
        }
        Ok(())
    }
}

/// Whether another key has to be made.
fn is_due(keys: &[Made], algorithm: TokenAlgorithm, period_ms: i64, now: i64) -> bool {
    keys.first().is_none_or(|newest| now - newest.at_ms >= period_ms || newest.key.algorithm() != algorithm)
}

/// How many of the keys, the newest first, sign or may prove. A key signs until the next one is made.
fn of_use(keys: &[Made], now: i64) -> usize {
    let retired = keys.iter().take(MOST - 1).take_while(|successor| now - successor.at_ms < PROVES_MS).count();
    (retired + 1).min(keys.len())
}

/// Another key: it is the newest, whatever the clock says.
fn make(algorithm: TokenAlgorithm, before: &[Made], now: i64) -> Result<Made> {
    let at_ms = before.first().map_or(now, |newest| now.max(newest.at_ms + 1));
    let none = || Error::new(Kind::Internal, "a key for tokens cannot be made");
    Ok(Made { at_ms, key: TokenKey::new(algorithm).ok_or_else(none)? })
}

fn written(made: &Made) -> DocumentChange {
    let key = &made.key;
    let stored = StoredKey { secret: key.to_stored(), made_ms: made.at_ms, algorithm: key.algorithm() };
    let body = serde_json::to_string(&stored).unwrap_or_default();
    DocumentChange { collection: KEYS, key: key.id.clone(), body: Some(body) }
}

/// The keys of the store, the newest first. What is none is said to the log, and is none.
fn read(stored: &[(String, String)]) -> Vec<Made> {
    let key = |(id, body): &(String, String)| {
        let stored: Option<StoredKey> = serde_json::from_str(body).ok();
        let made = stored.and_then(|stored| {
            let key = TokenKey::of_stored(id, stored.algorithm, &stored.secret)?;
            Some(Made { at_ms: stored.made_ms, key })
        });
        if made.is_none() {
            warn!(key = id, "tokens: a key in the store cannot be read");
        }
        made
    };
    let mut keys: Vec<Made> = stored.iter().filter_map(key).collect();
    keys.sort_by_key(|made| std::cmp::Reverse(made.at_ms));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn keys(hours: &[i64]) -> Vec<Made> {
        hours.iter().map(|hour| Made { at_ms: hour * HOUR, key: TokenKey::random() }).collect()
    }

    #[test]
    fn another_key_is_due_at_the_start_after_its_time_and_for_another_algorithm() {
        use TokenAlgorithm::{EdDsa, Hs256};
        for (made, algorithm, now, expected) in [
            (&[][..], Hs256, 0, true),
            (&[100, 50], Hs256, 100, false),
            (&[100, 50], Hs256, 819, false),
            (&[100, 50], Hs256, 820, true),
            (&[100], EdDsa, 101, true),
            // The clock was set back.
            (&[100], Hs256, 3, false),
        ] {
            assert_eq!(is_due(&keys(made), algorithm, 720 * HOUR, now * HOUR), expected, "{made:?} {now}");
        }
    }

    #[test]
    fn a_key_proves_until_the_tokens_are_over_that_it_signed_last() {
        for (made, now, expected) in [
            (&[][..], 0, 0),
            (&[100], 5000, 1),
            (&[100, 50, 20], 101, 2),
            (&[100, 50, 20], 112, 2),
            (&[100, 50, 20], 113, 1),
            (&[100, 99, 98, 80], 101, 4),
        ] {
            assert_eq!(of_use(&keys(made), now * HOUR), expected, "{made:?} {now}");
        }
        assert_eq!(of_use(&keys(&[100; 200]), 100 * HOUR), MOST);
    }

    #[tokio::test]
    async fn another_process_makes_a_key_and_the_gate_has_it_beside_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, _) = Documents::open(folder.path(), Clock).await;
        let gate = Gate::default();
        let mut watch = KeyWatch::new(TokensConfig::default());
        watch.look(&gate, &documents).await.unwrap();
        let book = KeyBook::open(folder.path()).await.unwrap();
        let first = book.keys().await.unwrap().remove(0).id;
        let second = book.rotate(TokenAlgorithm::Hs256).await.unwrap();
        watch.look(&gate, &documents).await.unwrap();
        assert_eq!(watch.given.as_deref(), Some(&[second.clone(), first.clone()][..]));
        // Another algorithm in the configuration is another key at the next look.
        let mut watch = KeyWatch::new(TokensConfig { algorithm: TokenAlgorithm::EdDsa, ..TokensConfig::default() });
        watch.look(&gate, &documents).await.unwrap();
        let keys = book.keys().await.unwrap();
        assert_eq!((keys.len(), keys[0].algorithm()), (3, TokenAlgorithm::EdDsa));
        assert_eq!([&keys[1].id, &keys[2].id], [&second, &first]);
    }
}
