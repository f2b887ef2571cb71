//! The sessions there are, as their URLs name them, and how many of them connect at this moment, in all and from one
//! address.
//!
//! An entry lives as long as its viewer; the control thread drops it, and with it goes the URL.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{PatchRefused, ice::Credentials, send::Key};
use crate::base::{PathName, id::SessionId};

/// Viewers that connect at once, from all addresses.
pub(super) const CONNECTING_MAX: usize = 512;
/// Viewers that connect at once from one address: half, so that a flood from one leaves room for others. No fewer, since
/// a whole company may sit behind one address, or a proxy that hides them all.
pub(super) const CONNECTING_FROM_ADDRESS_MAX: usize = CONNECTING_MAX / 2;

/// One session.
#[derive(Clone, Debug)]
struct Listed {
    key: Key,
    path: PathName,
    /// The section its transport goes over.
    mid: String,
    /// The viewer's user name fragment of this ICE session.
    remote: String,
    /// Ours, which is the entity tag too.
    local: String,
}

impl Listed {
    /// RFC 9725 §4.3.1: a request without a condition is refused, and one whose condition fails.
    fn admits(&self, if_match: Option<&str>) -> Result<(), PatchRefused> {
        let wanted = if_match.ok_or(PatchRefused::MissingMatch)?;
        let current = etag(&self.local);
        let holds = wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == current);
        if holds { Ok(()) } else { Err(PatchRefused::Stale) }
    }
}

#[derive(Debug)]
struct Shared {
    /// Held for a look-up, an insert or a removal.
    sessions: Mutex<HashMap<SessionId, Listed>>,
    connecting: Arc<Semaphore>,
    /// How many connect from each address, while any do. Held for a look-up or a change.
    from: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
    draining: AtomicBool,
}

/// The registry. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    shared: Arc<Shared>,
}

/// An entry; dropping it strikes it.
#[derive(Debug)]
pub(super) struct Entry {
    registry: Registry,
    id: SessionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.id);
    }
}

/// A place among those that connect; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    registry: Registry,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut from = self.registry.from();
        if let Some(count) = from.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.address);
            }
        }
    }
}

/// What a fragment means for a session.
#[derive(Debug)]
pub(super) enum Meaning {
    /// It adds candidates.
    Trickle,
    /// ICE begins anew with these credentials of ours.
    Restart { key: Key, local: Credentials, mid: String },
}

impl Registry {
    pub(super) fn new() -> Self {
        let shared = Shared {
            sessions: Mutex::default(),
            connecting: Arc::new(Semaphore::new(CONNECTING_MAX)),
            from: Mutex::default(),
            next: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Listed>> {
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn from(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.shared.from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among those that connect, if there is one left for this address.
    pub(super) fn room(&self, address: IpAddr) -> Option<Room> {
        let permit = self.shared.connecting.clone().try_acquire_owned().ok()?;
        let mut from = self.from();
        let count = from.entry(address).or_default();
        if *count >= CONNECTING_FROM_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Room { registry: self.clone(), address, _permit: permit })
    }

    /// How many places are left among those that connect.
    pub(super) fn places(&self) -> usize {
        self.shared.connecting.available_permits()
    }

    /// Whether fewer than a quarter of the places are left, in all or for any address.
    pub(super) fn is_crowded(&self) -> bool {
        let most = self.from().values().max().copied().unwrap_or_default();
        self.places() < CONNECTING_MAX / 4 || most > CONNECTING_FROM_ADDRESS_MAX / 4 * 3
    }

    /// From now on no session is opened.
    pub(super) fn stop(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Whether sessions are no longer opened.
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// A name for a viewer among all there ever were.
    pub(super) fn key(&self) -> Key {
        Key(self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Enters a session.
    pub(super) fn enter(
        &self,
        id: SessionId,
        key: Key,
        path: PathName,
        mid: String,
        remote: &str,
        local: &str,
    ) -> Entry {
        let listed = Listed { key, path, mid, remote: remote.to_owned(), local: local.to_owned() };
        self.sessions().insert(id, listed);
        Entry { registry: self.clone(), id }
    }

    /// Strikes a session on `path`; its viewer, who is still to be told.
    pub(super) fn strike(&self, path: &PathName, id: SessionId) -> Option<Key> {
        let mut sessions = self.sessions();
        sessions.get(&id).filter(|listed| listed.path == *path)?;
        sessions.remove(&id).map(|listed| listed.key)
    }

    /// Whether a fragment with this condition may be looked at.
    ///
    /// # Errors
    /// [`PatchRefused`] for a session or an entity tag that is not there.
    pub(super) fn check(&self, path: &PathName, id: SessionId, if_match: Option<&str>) -> Result<(), PatchRefused> {
        let sessions = self.sessions();
        let listed = sessions.get(&id).filter(|listed| listed.path == *path).ok_or(PatchRefused::NoSession)?;
        listed.admits(if_match)
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.sessions().len()
    }

    /// What a fragment with the viewer's `remote` credentials means. The entity tag is checked and, for a restart,
    /// changed in one step.
    ///
    /// # Errors
    /// [`PatchRefused`] for a session or an entity tag that is not there.
    pub(super) fn patch(
        &self,
        path: &PathName,
        id: SessionId,
        if_match: Option<&str>,
        remote: Option<&str>,
        fresh: Credentials,
    ) -> Result<Meaning, PatchRefused> {
        let mut sessions = self.sessions();
        let listed = sessions.get_mut(&id).filter(|listed| listed.path == *path).ok_or(PatchRefused::NoSession)?;
        listed.admits(if_match)?;
        if remote.is_none_or(|remote| remote == listed.remote) {
            return Ok(Meaning::Trickle);
        }
        listed.remote = remote.unwrap_or_default().to_owned();
        listed.local.clone_from(&fresh.ufrag);
        Ok(Meaning::Restart { key: listed.key, local: fresh, mid: listed.mid.clone() })
    }
}

/// The entity tag of an ICE session (RFC 9725 §4.3.1): our user name fragment is new in each of them.
pub(super) fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_half_of_the_places_and_gives_them_back() {
        let registry = Registry::new();
        let [one, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let mut flood: Vec<_> = (0..600).filter_map(|_| registry.room(one)).collect();
        assert_eq!(flood.len(), CONNECTING_FROM_ADDRESS_MAX);
        assert!(registry.is_crowded() && registry.places() == CONNECTING_MAX / 2);
        let others: Vec<_> = (0..600).filter_map(|_| registry.room(other)).collect();
        assert_eq!((others.len(), registry.places()), (CONNECTING_MAX / 2, 0));
        drop(others);
        flood.truncate(CONNECTING_FROM_ADDRESS_MAX / 2);
        assert!(!registry.is_crowded() && registry.room(one).is_some());
        drop(flood);
        assert!(registry.places() == CONNECTING_MAX && registry.from().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn an_entity_tag_holds_for_one_ice_session() {
        let registry = Registry::new();
        let (id, path): (_, PathName) = (SessionId::random(), "cam".parse().unwrap());
        let entry = registry.enter(id, registry.key(), path.clone(), "0".into(), "them", "us");
        let patch = |if_match: Option<&str>, remote: &str| {
            registry.patch(&path, id, if_match, Some(remote), Credentials::random())
        };
        assert!(matches!(patch(None, "them"), Err(PatchRefused::MissingMatch)));
        assert!(matches!(patch(Some("\"other\""), "them"), Err(PatchRefused::Stale)));
        assert!(matches!(patch(Some("us"), "them"), Err(PatchRefused::Stale)), "without its quotes it is no tag");
        assert!(matches!(patch(Some("\"us\""), "them"), Ok(Meaning::Trickle)));
        let Ok(Meaning::Restart { local, .. }) = patch(Some("*"), "again") else { panic!("a restart") };
        assert!(matches!(patch(Some("\"us\""), "again"), Err(PatchRefused::Stale)), "the tag changed");
        assert!(matches!(patch(Some(&etag(&local.ufrag)), "again"), Ok(Meaning::Trickle)));
        let elsewhere: PathName = "other".parse().unwrap();
        let foreign = registry.patch(&elsewhere, id, Some("*"), None, Credentials::random());
        assert!(matches!(foreign, Err(PatchRefused::NoSession)), "the path is part of the name");
        drop(entry);
        assert!(matches!(patch(Some("*"), "them"), Err(PatchRefused::NoSession)));
    }
}
