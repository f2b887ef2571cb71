//! Sessions that do not belong to the connection they began on: their media travel over UDP, so a client may name them
//! on another connection, or come back after its own broke (RFC 2326 §1.1).
//!
//! Whoever holds such a session — a connection, or nobody's ([`super::orphan`]) — hands it over whole when somebody
//! else asks for it in its name. Only the caller who began it may: the same address, speaking for the same subject
//! (RT-10). A session whose media travel inside its connection is not here and ends with it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{agreement::Agreement, playback::Playback};
use crate::{
    auth::{Caller, Gate, Subject, View},
    base::{Monotonic, PathName, id::SessionId},
};

/// Claims of one session that wait for its holder; further ones are refused.
const CLAIMS: usize = 4;

/// A session on its way from one holder to the next. If there is no next one any more, it ends.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) agreement: Agreement,
    pub(super) playback: Playback,
    pub(super) heard: Monotonic,
}

/// Somebody who may have a session waits for it here.
pub(super) type Claim = oneshot::Sender<Box<Held>>;

/// The sessions that may be claimed, and the room for those that nobody holds.
#[derive(Debug)]
pub(super) struct Claims {
    /// Held for an insert, a removal or a look.
    owners: Mutex<HashMap<SessionId, Owner>>,
    orphans: Arc<Semaphore>,
}

#[derive(Debug)]
struct Owner {
    ip: IpAddr,
    subject: Subject,
    path: PathName,
    claims: mpsc::Sender<Claim>,
}

impl Claims {
    /// No sessions, and room for so many that nobody holds.
    pub(super) fn new(orphans_max: usize) -> Arc<Self> {
        Arc::new(Self { owners: Mutex::default(), orphans: Arc::new(Semaphore::new(orphans_max)) })
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<SessionId, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a session that `caller` began, as `subject`, on `path`.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: SessionId,
        caller: &Caller,
        subject: &Subject,
        path: &PathName,
    ) -> Claimable {
        let (claims_tx, claims) = mpsc::channel(CLAIMS);
        let (ip, subject, path) = (caller.peer.ip().to_canonical(), subject.clone(), path.clone());
        self.owners().insert(id, Owner { ip, subject, path, claims: claims_tx });
        Claimable { id, claims, room: self.clone() }
    }

    /// The path of a session.
    pub(super) fn path(&self, id: SessionId) -> Option<PathName> {
        self.owners().get(&id).map(|owner| owner.path.clone())
    }

    /// Asks the holder of a session for it; `None` if there is none, or it is not the caller's.
    pub(super) fn claim(&self, id: SessionId, caller: &Caller, gate: &Gate) -> Option<oneshot::Receiver<Box<Held>>> {
        let owners = self.owners();
        let owner = owners.get(&id).filter(|owner| owner.ip == caller.peer.ip().to_canonical())?;
        let grant = gate.check::<View>(caller, &owner.path).ok()?;
        if *grant.subject() != owner.subject {
            return None;
        }
        let (claim, held) = oneshot::channel();
        owner.claims.try_send(claim).ok()?;
        Some(held)
    }

    /// Room for a session that nobody holds, if there is any.
    pub(super) fn orphan(&self) -> Option<OwnedSemaphorePermit> {
        self.orphans.clone().try_acquire_owned().ok()
    }
}

/// The entry of a session; dropping it strikes it out.
#[derive(Debug)]
pub(super) struct Claimable {
    id: SessionId,
    claims: mpsc::Receiver<Claim>,
    room: Arc<Claims>,
}

impl Claimable {
    /// The next one who may have the session.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn claimed(&mut self) -> Claim {
        loop {
            match self.claims.recv().await {
                Some(claim) if !claim.is_closed() => return claim,
                Some(_) => {}
                // The entry holds the other end, so this does not come.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Claimable {
    fn drop(&mut self) {
        self.room.owners().remove(&self.id);
    }
}
