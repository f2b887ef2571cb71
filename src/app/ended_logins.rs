//! Logins that were ended before their tokens ended by themselves, over restarts: who logged out stays out.

use tracing::warn;

use super::users::DONE;
use crate::{
    auth::{EndedLogin, Gate},
    store::{DocumentChange, Documents},
};

/// Where the store keeps them, in [`DONE`].
const ENDED: &str = "ended_logins";

/// Gives the gate those that were ended before.
pub(super) async fn recall(gate: &Gate, documents: &Documents) {
    match documents.one(DONE, ENDED.to_owned()).await {
        Ok(ended) => {
            let ended: Option<Vec<EndedLogin>> = ended.and_then(|body| serde_json::from_str(&body).ok());
            ended.into_iter().flatten().for_each(|login| gate.end_login(login));
        }
        Err(error) => warn!("tokens: the logins that ended cannot be read: {}", error.chain()),
    }
}

/// Keeps those that are ended now.
pub(super) async fn write(documents: &Documents, ended: &[EndedLogin]) {
    let body = serde_json::to_string(ended).ok();
    let change = DocumentChange { collection: DONE, key: ENDED.into(), body };
    if let Err(error) = documents.apply(vec![change]).await {
        warn!("tokens: the logins that ended cannot be kept: {}", error.chain());
    }
}
