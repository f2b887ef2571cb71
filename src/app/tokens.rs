//! Tokens of programs, as the store keeps them: written by the API and by `campanile token`, read again within a second
//! after they changed. When each was last shown is written down now and then.

use std::{collections::HashMap, path::Path, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt};
use tracing::{debug, warn};

use super::deeds::{self, Deed};
use crate::{
    auth::{ApiToken, ApiTokenSeen, Gate, TokenShelf},
    base::{Clock, Error, Kind, Result, WallTime},
    config::UserName,
    store::{DocumentChange, Documents},
};

/// Where the store keeps tokens, by id.
const TOKENS: &str = "api_tokens";
/// Where it keeps when they were last shown.
const USES: &str = "api_token_uses";
/// Looks between two of those writes, at half a second each.
const WRITE_EVERY: u32 = 120;

/// The tokens of the store.
#[derive(Clone, Debug)]
pub struct TokenBook {
    documents: Documents,
    /// Who writes here past the server, for the audit. Whoever writes through it is written down there.
    by: Option<String>,
}

impl TokenBook {
    /// Opens the store of a state directory for the command line, beside a server that may be running.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(state_dir: &Path) -> Result<Self> {
        let (documents, _) = Documents::open(state_dir, Clock).await;
        // What was wrong with the file is said by the first look into it.
        documents.all(TOKENS).await?;
        Ok(Self { documents, by: Some(deeds::command_line()) })
    }

    pub(super) const fn new(documents: Documents) -> Self {
        Self { documents, by: None }
    }

    /// All of them, by id, and when each was last shown.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tokens(&self) -> Result<Vec<ApiTokenSeen>> {
        let (tokens, uses) = (self.documents.all(TOKENS).await?, uses(&self.documents).await?);
        let last = |id: &str| uses.get(id).map(|millis| WallTime::from_unix_nanos(millis.saturating_mul(1_000_000)));
        let seen = |token: ApiToken| ApiTokenSeen { last_used: last(&token.id), token };
        Ok(read(&tokens).into_iter().map(seen).collect())
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn add(&self, token: &ApiToken) -> Result<()> {
        let deed = self.deed("token.added", &token.id, Some(token.label()));
        deeds::apply(&self.documents, changes(token.id.clone(), Some(token.to_stored())), deed).await
    }

    /// Withdraws a token.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store cannot be written.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let Some(body) = self.documents.one(TOKENS, id.to_owned()).await? else {
            let error = Error::new(Kind::NotFound, format!("token {id}: there is none of this id"));
            return Err(error.with_hint("`campanile token list` shows them"));
        };
        let label = ApiToken::of_stored(id, &body).ok().map(|token| token.label());
        deeds::apply(&self.documents, changes(id.to_owned(), None), self.deed("token.removed", id, label)).await
    }

    fn deed(&self, action: &str, id: &str, label: Option<String>) -> Vec<Deed> {
        self.by.iter().map(|by| Deed::now(action, by, id, label.clone())).collect()
    }
}

impl TokenShelf for TokenBook {
    fn put(&self, id: String, token: Option<String>) -> BoxFuture<'static, Result<()>> {
        let documents = self.documents.clone();
        async move { documents.apply(changes(id, token)).await }.boxed()
    }
}

/// What takes a user's tokens away.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn without_user(documents: &Documents, user: &UserName) -> Result<Vec<DocumentChange>> {
    let stored = documents.all(TOKENS).await?;
    let theirs = read(&stored).into_iter().filter(|token| token.user == *user);
    Ok(theirs.flat_map(|token| changes(token.id, None)).collect())
}

/// A token as it is from now on; with one that is gone, when it was used.
fn changes(id: String, body: Option<String>) -> Vec<DocumentChange> {
    let mut changes = vec![DocumentChange { collection: TOKENS, key: id.clone(), body: body.clone() }];
    if body.is_none() {
        changes.push(DocumentChange { collection: USES, key: id, body: None });
    }
    changes
}

async fn uses(documents: &Documents) -> Result<HashMap<String, i64>> {
    let uses = documents.all(USES).await?;
    Ok(uses.into_iter().filter_map(|(id, millis)| Some((id, millis.parse().ok()?))).collect())
}

fn read(stored: &[(String, String)]) -> Vec<ApiToken> {
    let token = |(id, body): &(String, String)| {
        ApiToken::of_stored(id, body).inspect_err(|error| warn!(token = id, "{error}")).ok()
    };
    stored.iter().filter_map(token).collect()
}

/// What the gate was last given, and what was last written down.
#[derive(Debug, Default)]
pub(super) struct TokenWatch {
    before: Option<Arc<[(String, String)]>>,
    uses: HashMap<String, i64>,
    looks: u32,
}

impl TokenWatch {
    /// Gives the gate the tokens, if they are others than before; now and then writes down when they were shown.
    ///
    /// # Errors
    /// The store cannot be read; the tokens stay those that they are.
    pub(super) async fn look(&mut self, gate: &Gate, documents: &Documents) -> Result<()> {
        let now = documents.all(TOKENS).await?;
        if self.before.as_deref() != Some(&now[..]) {
            if self.before.is_none() {
                self.uses = uses(documents).await?;
            }
            gate.set_api_tokens(read(&now), &self.uses);
            self.before = Some(now.into());
        }
        self.looks += 1;
        if self.looks.is_multiple_of(WRITE_EVERY) {
            self.write(gate, documents).await;
        }
        Ok(())
    }

    /// Writes down when tokens were shown that were since the last time.
    pub(super) async fn write(&mut self, gate: &Gate, documents: &Documents) {
        let used = gate.api_tokens_used().into_iter().filter_map(|seen| Some((seen.token.id, seen.last_used?)));
        let news: Vec<(String, i64)> = used
            .map(|(id, used)| (id, used.unix_millis()))
            .filter(|(id, used)| self.uses.get(id) != Some(used))
            .collect();
        if news.is_empty() {
            return;
        }
        let change = |(id, used): &(String, i64)| DocumentChange {
            collection: USES,
            key: id.clone(),
            body: Some(used.to_string()),
        };
        match documents.apply(news.iter().map(change).collect()).await {
            Ok(()) => self.uses.extend(news),
            Err(error) => debug!("tokens: when they were used cannot be kept: {}", error.chain()),
        }
    }
}
