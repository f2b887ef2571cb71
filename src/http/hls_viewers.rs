//! Who watches over HLS. A player of HLS has no session of its own, so that one is made of its requests: those of one
//! address and one user agent for one rendition of a path belong together until ten seconds pass without one. Sans-IO.
//!
//! A request looks itself up under a shared lock and leaves its time; the exclusive lock is for newcomers and leavers.
//! Bounded by the limits of [`Sessions`]. An operator who ends a session keeps its player out for as long as a session
//! lives without requests, which is enough for players to give up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    base::{Error, Kind, Monotonic, PathName, Rendition, Result, WallTime},
    stats::{Protocol, Session, SessionDetails, SessionGuard, Sessions},
};

/// How long a viewer counts after its last request.
const WINDOW: Duration = Duration::from_secs(10);

/// The longest user agent that is kept, in characters.
const AGENT_MAX: usize = 200;

/// What a request says of its player.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    pub(super) path: &'a PathName,
    pub(super) rendition: Rendition,
    pub(super) peer: SocketAddr,
    pub(super) agent: Option<&'a str>,
    pub(super) transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    path: PathName,
    rendition: Rendition,
    address: IpAddr,
    /// A hash with a secret of this process: nobody can choose agents that collide.
    agent: u64,
}

/// A player that watches.
#[derive(Debug)]
pub(super) struct Viewer {
    session: SessionGuard,
    seen: AtomicU64,
}

impl Viewer {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

#[derive(Debug)]
enum Entry {
    Watching(Arc<Viewer>),
    KeptOut { until: Monotonic },
}

/// All of them.
#[derive(Debug)]
pub(super) struct HlsViewers {
    sessions: Sessions,
    hasher: RandomState,
    /// Held for a look-up, an insert or a removal.
    entries: RwLock<HashMap<Key, Entry>>,
}

impl HlsViewers {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions, hasher: RandomState::new(), entries: RwLock::default() }
    }

    fn key(&self, visit: &Visit<'_>) -> Key {
        let agent = self.hasher.hash_one(visit.agent);
        Key { path: visit.path.clone(), rendition: visit.rendition, address: visit.peer.ip().to_canonical(), agent }
    }

    /// The viewer this request belongs to, if it is known.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] if its session was ended.
    pub(super) fn known(&self, visit: &Visit<'_>, now: Monotonic) -> Result<Option<Arc<Viewer>>> {
        let key = self.key(visit);
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&key) {
            None => return Ok(None),
            Some(Entry::KeptOut { until }) if now < *until => return Err(ended()),
            Some(Entry::KeptOut { .. }) => return Ok(None),
            Some(Entry::Watching(viewer)) if !viewer.session.kicked().is_cancelled() => {
                viewer.seen.store(now.as_nanos(), Ordering::Relaxed);
                return Ok(Some(viewer.clone()));
            }
            Some(Entry::Watching(_)) => {}
        }
        drop(entries);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let out = entries.insert(key, Entry::KeptOut { until: now + WINDOW });
        drop(entries);
        // Whatever leaves takes its session with it, outside the lock.
        drop(out);
        Err(ended())
    }

    /// The viewer this request belongs to, a new one if need be.
    ///
    /// # Errors
    /// As [`HlsViewers::known`]; [`Kind::ResourceExhausted`] when there are too many sessions.
    pub(super) fn admit(&self, visit: &Visit<'_>, now: Monotonic, wall: WallTime) -> Result<Arc<Viewer>> {
        if let Some(viewer) = self.known(visit, now)? {
            return Ok(viewer);
        }
        let key = self.key(visit);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Entry::Watching(viewer)) = entries.get(&key) {
            return Ok(viewer.clone());
        }
        let session = self.sessions.open(SessionDetails {
            protocol: Protocol::Hls,
            transport: visit.transport,
            path: visit.path.clone(),
            rendition: visit.rendition,
            peer: visit.peer,
            user_agent: visit.agent.map(|agent| agent.chars().take(AGENT_MAX).collect()),
            since: wall,
        })?;
        let viewer = Arc::new(Viewer { session, seen: AtomicU64::new(now.as_nanos()) });
        entries.insert(key, Entry::Watching(viewer.clone()));
        Ok(viewer)
    }

    /// Lets those go who have not asked for anything for a while.
    pub(super) fn handle_timeout(&self, now: Monotonic) {
        let quiet = |viewer: &Viewer| now.since(Monotonic::from_nanos(viewer.seen.load(Ordering::Relaxed))) >= WINDOW;
        let gone = |entry: &Entry| match entry {
            // A request that waits for a playlist holds its viewer.
            Entry::Watching(viewer) => Arc::strong_count(viewer) == 1 && quiet(viewer),
            Entry::KeptOut { until } => now >= *until,
        };
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let any = entries.values().any(gone);
        drop(entries);
        if any {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            let left: Vec<Entry> = entries.extract_if(|_, entry| gone(entry)).map(|(_, entry)| entry).collect();
            drop(entries);
            drop(left);
        }
    }
}

fn ended() -> Error {
    Error::new(Kind::PermissionDenied, "an operator ended this session")
        .with_code("session_ended")
        .with_hint("open the page again in a moment")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SessionLimits;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    const WALL: WallTime = WallTime::from_unix_nanos(0);

    fn visit<'a>(path: &'a PathName, peer: &str, agent: &'a str) -> Visit<'a> {
        let (rendition, transport) = (Rendition::Main, "http/1.1");
        Visit { path, rendition, peer: peer.parse().unwrap(), agent: Some(agent), transport }
    }

    fn viewers() -> (HlsViewers, Sessions, PathName) {
        let sessions = Sessions::default();
        (HlsViewers::new(sessions.clone()), sessions, "cam".parse().unwrap())
    }

    #[test]
    fn requests_of_one_player_are_one_session() {
        let (viewers, sessions, cam) = viewers();
        let first = viewers.admit(&visit(&cam, "10.0.0.1:1000", "hls.js"), at(0), WALL).unwrap();
        let again = viewers.admit(&visit(&cam, "10.0.0.1:2000", "hls.js"), at(1), WALL).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "another connection is the same player");
        viewers.admit(&visit(&cam, "10.0.0.1:3000", "VLC"), at(1), WALL).unwrap();
        viewers.admit(&visit(&cam, "10.0.0.2:1000", "hls.js"), at(1), WALL).unwrap();
        let mapped = viewers.admit(&visit(&cam, "[::ffff:10.0.0.1]:9", "hls.js"), at(1), WALL).unwrap();
        assert!(Arc::ptr_eq(&first, &mapped));
        assert_eq!(sessions.readers(&cam)[Protocol::Hls as usize], 3);
        let sub = Visit { rendition: Rendition::Sub, ..visit(&cam, "10.0.0.1:1000", "hls.js") };
        viewers.admit(&sub, at(1), WALL).unwrap();
        assert_eq!(sessions.all().len(), 4);
    }

    #[test]
    fn a_player_that_stops_asking_is_gone_after_ten_seconds() {
        let (viewers, sessions, cam) = viewers();
        let visit = visit(&cam, "10.0.0.1:1000", "hls.js");
        drop(viewers.admit(&visit, at(0), WALL).unwrap());
        assert!(viewers.known(&visit, at(5)).unwrap().is_some());
        viewers.handle_timeout(at(14));
        assert_eq!(sessions.all().len(), 1, "it asked again at 5");
        viewers.handle_timeout(at(15));
        assert_eq!(sessions.all().len(), 0);
        assert!(viewers.known(&visit, at(15)).unwrap().is_none());
    }

    #[test]
    fn a_session_that_was_ended_stays_out_for_a_while() {
        let (viewers, sessions, cam) = viewers();
        let visit = visit(&cam, "10.0.0.1:1000", "hls.js");
        let id = viewers.admit(&visit, at(0), WALL).unwrap().session().id;
        assert!(sessions.kick(id));
        let error = viewers.admit(&visit, at(1), WALL).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::PermissionDenied, "session_ended"));
        assert_eq!(sessions.all().len(), 0, "it is not listed any more");
        assert!(viewers.known(&visit, at(10)).is_err());
        let back = viewers.admit(&visit, at(11), WALL).unwrap();
        assert_ne!(back.session().id, id);
        drop(back);
        viewers.handle_timeout(at(30));
        assert_eq!(sessions.all().len(), 0);
    }

    #[test]
    fn there_are_no_more_viewers_than_sessions() {
        let sessions = Sessions::new(SessionLimits { total: 1, ..SessionLimits::default() }, Box::new(|_| None));
        let (viewers, cam) = (HlsViewers::new(sessions), "cam".parse().unwrap());
        let first = viewers.admit(&visit(&cam, "10.0.0.1:1", "a"), at(0), WALL).unwrap();
        let error = viewers.admit(&visit(&cam, "10.0.0.2:1", "a"), at(0), WALL).unwrap_err();
        assert_eq!(error.code(), "too_many_sessions");
        viewers.handle_timeout(at(20));
        let long = "x".repeat(10_000);
        let late = viewers.admit(&visit(&cam, "10.0.0.2:1", &long), at(20), WALL);
        assert!(late.is_err(), "the first one is held by its request");
        drop(first);
        viewers.handle_timeout(at(20));
        let late = viewers.admit(&visit(&cam, "10.0.0.2:1", &long), at(20), WALL).unwrap();
        assert_eq!(late.session().details.user_agent.as_ref().map(String::len), Some(AGENT_MAX));
    }
}
