//! The issuer whose tokens are taken (`auth.jwt`): fetches its keys when they are due, and keeps the last good ones in the
//! store, so that a start while the issuer is out of reach shuts nobody out.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use tracing::{debug, info_span, warn};

use crate::{
    auth::{Gate, IssuerDesk},
    base::{Clock, Error, Kind, Result, Secret, Tasks, WallTime},
    config::{JwtConfig, PermissionConfig, ServiceTlsConfig},
    net::fetch::{self, Fetched, Source},
    store::{DocumentChange, Documents},
};

/// Where the store keeps the keys of issuers, by the URL they came from.
const KEYS: &str = "issuer_keys";

/// Gives the gate the issuer, with the keys that were kept, and fetches its keys from now on.
pub(super) async fn start(
    config: &JwtConfig,
    groups: BTreeMap<String, Vec<PermissionConfig>>,
    gate: &Gate,
    documents: Documents,
    tasks: &Tasks,
) {
    let desk = Arc::new(IssuerDesk::new(config.clone(), groups));
    if let Ok(Some(kept)) = documents.one(KEYS, config.jwks_url.to_string()).await
        && let Err(error) = desk.recall_keys(kept.as_bytes())
    {
        warn!("issuer: the keys that were kept cannot be read: {error}");
    }
    gate.set_issuer(desk.clone());
    let stopping = tasks.stopping().clone();
    tasks.spawn("issuer", info_span!("issuer"), async move {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = desk.due(Clock) => {}
            }
            let fetched = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                fetched = fetch(desk.config()) => fetched,
            };
            take(&desk, fetched, &documents).await;
        }
    });
}

/// Whether a token of the issuer would be taken now, by the keys that were kept of it.
///
/// # Errors
/// The store cannot be read.
pub async fn takes(config: &JwtConfig, state_dir: &Path, token: &Secret, now: WallTime) -> Result<bool> {
    let (documents, _) = Documents::open(state_dir, Clock).await;
    let desk = IssuerDesk::new(config.clone(), BTreeMap::new());
    let kept = documents.one(KEYS, config.jwks_url.to_string()).await?;
    Ok(kept.is_some_and(|kept| desk.recall_keys(kept.as_bytes()).is_ok()) && desk.takes(token, now))
}

async fn fetch(config: &JwtConfig) -> Result<Bytes> {
    let tls = ServiceTlsConfig { ca_file: config.ca_file.clone(), ..ServiceTlsConfig::default() };
    let source = Source { url: config.jwks_url.url(), login: None, tls: &tls };
    match fetch::get(&source, None).await? {
        Fetched::Body { bytes, .. } => Ok(bytes),
        Fetched::NotModified => Err(Error::new(Kind::Unavailable, "the issuer answers what nobody asked")),
    }
}

async fn take(desk: &IssuerDesk, fetched: Result<Bytes>, documents: &Documents) {
    let url = &desk.config().jwks_url;
    let set = fetched.as_ref().ok().map(Bytes::as_ref);
    match (desk.handle_fetched(set, Clock.now()), &fetched) {
        (Err(error), _) => warn!(%url, "issuer: what came is no set of keys: {error}; the old ones stay"),
        (Ok(1), Err(error)) => warn!(%url, "issuer: its keys cannot be fetched: {}; the old ones stay", error.chain()),
        (Ok(failures), Err(error)) => debug!(%url, failures, "issuer: {}", error.chain()),
        (Ok(_), Ok(bytes)) => keep(url.to_string(), bytes, documents).await,
    }
}

/// Keeps a set for the next start, if it is another than the last.
async fn keep(url: String, set: &[u8], documents: &Documents) {
    // It was read as JSON, which is UTF-8.
    let Ok(set) = std::str::from_utf8(set) else { return };
    match documents.one(KEYS, url.clone()).await {
        Ok(Some(kept)) if kept == set => {}
        _ => {
            let change = DocumentChange { collection: KEYS, key: url, body: Some(set.to_owned()) };
            if let Err(error) = documents.apply(vec![change]).await {
                debug!("issuer: its keys cannot be kept: {}", error.chain());
            }
        }
    }
}
