//! The list of sessions: who watches what, on which protocol, since when, and how it goes.
//!
//! A door opens a session when it begins to serve somebody and keeps the guard; dropping the guard strikes the session
//! from the list. It reads no clock: the door says when the session began.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use super::reception::Reception;
use crate::base::{Error, Kind, PathName, Result, WallTime, id::SessionId, name::Rendition};

/// The protocols a session may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the protocols' own")]
pub enum Protocol {
    Rtsp,
    Hls,
    WebRtc,
}

impl Protocol {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 3] = [Self::Rtsp, Self::Hls, Self::WebRtc];

    /// The word of the API and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Hls => "hls",
            Self::WebRtc => "webrtc",
        }
    }
}

/// What a door knows of a session when it opens it.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// How its media travel to begin with, in the protocol's words: `tcp`, `udp`, `tls`.
    pub transport: &'static str,
    /// What it watches.
    pub path: PathName,
    /// Which of the two sizes.
    pub rendition: Rendition,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
    /// When it began.
    pub since: WallTime,
}

/// One session in the list. Doors count into it; the API reads it.
#[derive(Debug)]
pub struct Session {
    /// Its name, which cannot be guessed.
    pub id: SessionId,
    /// What was known when it began.
    pub details: SessionDetails,
    /// Bytes sent to the peer.
    pub bytes_sent: AtomicU64,
    /// RTP packets, or HTTP responses with media, sent to the peer.
    pub packets_sent: AtomicU64,
    /// Units that were skipped because the peer was slow.
    pub units_dropped: AtomicU64,
    /// Packets the peer reports as lost.
    pub packets_lost: AtomicU64,
    /// What is known of its reception.
    pub reception: Reception,
    /// Packets that nothing carried: too large for its transport, or refused by the network.
    pub packets_refused: AtomicU64,
    /// Receiver reports that came from the peer.
    pub receiver_reports: AtomicU64,
    /// How its media travel now. Held for a copy.
    transport: Mutex<&'static str>,
    kicked: CancellationToken,
}

impl Session {
    /// Fires when an operator ends the session.
    pub fn kicked(&self) -> &CancellationToken {
        &self.kicked
    }

    /// How its media travel now, in the protocol's words.
    pub fn transport(&self) -> &'static str {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that its media travel another way from now on.
    pub fn travels(&self, transport: &'static str) {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner) = transport;
    }

    /// Counts what one write sent.
    pub fn sent(&self, packets: u64, bytes: u64) {
        self.packets_sent.fetch_add(packets, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// On the whole server.
    pub total: usize,
    /// On one path, unless [`Sessions::new`] is told otherwise for it.
    pub per_path: usize,
    /// From one IP address.
    pub per_address: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { total: 10_000, per_path: 10_000, per_address: 10_000 }
    }
}

/// The list. Clones share it.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
}

/// The limit of a path that has one of its own.
pub type PathLimit = Box<dyn Fn(&PathName) -> Option<usize> + Send + Sync>;

struct Shared {
    limits: SessionLimits,
    path_limit: PathLimit,
    /// Held for an insert, a removal or a copy of the list.
    list: Mutex<List>,
    opened: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
}

/// The limits that refuse sessions, as the metrics name them: of the server, of a path, of an address.
const REFUSALS: [&str; 3] = ["server", "path", "address"];

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(SessionLimits::default(), Box::new(|_| None))
    }
}

#[derive(Debug, Default)]
struct List {
    sessions: BTreeMap<SessionId, Arc<Session>>,
    per_path: BTreeMap<PathName, usize>,
    per_address: HashMap<IpAddr, usize>,
    /// What sessions that ended had sent, so that totals never fall.
    ended: BTreeMap<TrafficKey, Traffic>,
}

type TrafficKey = (PathName, Rendition, Protocol);

/// Keys of ended sessions at most; beyond that those go that nobody uses now, and their totals begin again.
const ENDED_MAX: usize = 4096;

/// What the sessions of one path, rendition and protocol did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sessions that are open.
    pub open: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Packets, or responses with media, sent.
    pub packets_sent: u64,
    /// Units skipped because a peer was slow.
    pub units_dropped: u64,
    /// Packets that peers report as lost.
    pub packets_lost: u64,
    /// Packets that nothing carried.
    pub packets_refused: u64,
}

impl Traffic {
    fn add(&mut self, session: &Session) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.bytes_sent += count(&session.bytes_sent);
        self.packets_sent += count(&session.packets_sent);
        self.units_dropped += count(&session.units_dropped);
        self.packets_lost += count(&session.packets_lost);
        self.packets_refused += count(&session.packets_refused);
    }
}

fn traffic_key(details: &SessionDetails) -> TrafficKey {
    (details.path.clone(), details.rendition, details.protocol)
}

impl Sessions {
    /// An empty list with these limits; `path_limit` knows the paths that have a limit of their own.
    pub fn new(limits: SessionLimits, path_limit: PathLimit) -> Self {
        let (list, opened, refused) = (Mutex::default(), AtomicU64::new(0), Default::default());
        Self { shared: Arc::new(Shared { limits, path_limit, list, opened, refused }) }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.shared.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a session.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`] when a limit is reached; it names the option.
    pub fn open(&self, details: SessionDetails) -> Result<SessionGuard> {
        let details_rendition = details.rendition;
        let session = Arc::new(Session {
            id: SessionId::random(),
            transport: Mutex::new(details.transport),
            details,
            bytes_sent: AtomicU64::new(0),
            packets_sent: AtomicU64::new(0),
            units_dropped: AtomicU64::new(0),
            packets_lost: AtomicU64::new(0),
            reception: Reception::new(details_rendition),
            packets_refused: AtomicU64::new(0),
            receiver_reports: AtomicU64::new(0),
            kicked: CancellationToken::new(),
        });
        let path = session.details.path.clone();
        let address = session.details.peer.ip();
        let limits = self.shared.limits;
        let own = (self.shared.path_limit)(&path);
        let (on_path_limit, on_path_option) =
            own.map_or((limits.per_path, "limits.sessions_per_path"), |own| (own, "the path's max_readers"));
        let mut list = self.list();
        let count = |count: Option<&usize>| count.copied().unwrap_or(0);
        // In the order of `REFUSALS`.
        let bounds = [
            (list.sessions.len(), limits.total, "limits.sessions"),
            (count(list.per_path.get(&path)), on_path_limit, on_path_option),
            (count(list.per_address.get(&address)), limits.per_address, "limits.sessions_per_address"),
        ];
        let reached = bounds.into_iter().zip(&self.shared.refused).find(|((open, limit, _), _)| open >= limit);
        if let Some(((_, limit, option), refused)) = reached {
            drop(list);
            refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(Kind::ResourceExhausted, format!("path {path}: {limit} sessions are open"))
                .with_code("too_many_sessions")
                .with_hint(format!("raise {option}, or close a session")));
        }
        *list.per_path.entry(path).or_default() += 1;
        *list.per_address.entry(address).or_default() += 1;
        list.sessions.insert(session.id, session.clone());
        drop(list);
        self.shared.opened.fetch_add(1, Ordering::Relaxed);
        Ok(SessionGuard { session, sessions: self.clone() })
    }

    /// All sessions, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.list().sessions.values().cloned().collect()
    }

    /// The session with this id.
    pub fn find(&self, id: SessionId) -> Option<Arc<Session>> {
        self.list().sessions.get(&id).cloned()
    }

    /// Ends a session; `false` if there is none of that id.
    pub fn kick(&self, id: SessionId) -> bool {
        self.find(id).is_some_and(|session| {
            session.kicked.cancel();
            true
        })
    }

    /// How many sessions watch `path` by protocol, in the order of [`Protocol::ALL`].
    pub fn readers(&self, path: &PathName) -> [usize; Protocol::ALL.len()] {
        let list = self.list();
        if !list.per_path.contains_key(path) {
            return [0; Protocol::ALL.len()];
        }
        let on_path = |protocol| move |s: &&Arc<Session>| s.details.protocol == protocol && s.details.path == *path;
        Protocol::ALL.map(|protocol| list.sessions.values().filter(on_path(protocol)).count())
    }

    /// What sessions did, those that ended and those that are open, by path, rendition and protocol.
    pub fn traffic(&self) -> BTreeMap<(PathName, Rendition, Protocol), Traffic> {
        let list = self.list();
        let mut traffic = list.ended.clone();
        for session in list.sessions.values() {
            let sum = traffic.entry(traffic_key(&session.details)).or_default();
            sum.open += 1;
            sum.add(session);
        }
        traffic
    }

    /// Sessions opened since the start.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Sessions refused since the start, by the limit that did: `server`, `path`, `address`.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        REFUSALS.into_iter().zip(self.shared.refused.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }
}

/// An entry in the list; dropping it ends the entry.
#[derive(Debug)]
pub struct SessionGuard {
    session: Arc<Session>,
    sessions: Sessions,
}

impl std::ops::Deref for SessionGuard {
    type Target = Arc<Session>;
    fn deref(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut list = self.sessions.list();
        list.sessions.remove(&self.session.id);
        let details = &self.session.details;
        if list.ended.len() >= ENDED_MAX {
            let List { ended, per_path, .. } = &mut *list;
            ended.retain(|(path, ..), _| per_path.contains_key(path));
        }
        list.ended.entry(traffic_key(details)).or_default().add(&self.session);
        if let Some(count) = list.per_path.get_mut(&details.path) {
            *count -= 1;
            if *count == 0 {
                list.per_path.remove(&details.path);
            }
        }
        if let Some(count) = list.per_address.get_mut(&details.peer.ip()) {
            *count -= 1;
            if *count == 0 {
                list.per_address.remove(&details.peer.ip());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(path: &str, protocol: Protocol) -> SessionDetails {
        SessionDetails {
            protocol,
            transport: "tcp",
            path: path.parse().unwrap(),
            rendition: Rendition::Main,
            peer: "127.0.0.1:1".parse().unwrap(),
            user_agent: None,
            since: WallTime::from_unix_nanos(0),
        }
    }

    #[test]
    fn a_session_is_listed_until_its_guard_goes() {
        let sessions = Sessions::default();
        let path = "a".parse().unwrap();
        let first = sessions.open(details("a", Protocol::Rtsp)).unwrap();
        let second = sessions.open(details("a", Protocol::Hls)).unwrap();
        assert_eq!(sessions.readers(&path), [1, 1, 0]);
        assert!(sessions.kick(first.id) && first.kicked().is_cancelled());
        drop(first);
        assert_eq!((sessions.readers(&path), sessions.all().len()), ([0, 1, 0], 1));
        drop(second);
        assert_eq!(sessions.all().len(), 0);
        assert!(!sessions.kick(SessionId::random()));
    }

    #[test]
    fn totals_outlive_their_sessions() {
        let sessions = Sessions::default();
        let sum = |sessions: &Sessions| sessions.traffic().values().next().copied().unwrap();
        let first = sessions.open(details("a", Protocol::Rtsp)).unwrap();
        first.sent(3, 300);
        let second = sessions.open(details("a", Protocol::Rtsp)).unwrap();
        second.sent(1, 100);
        drop(first);
        assert_eq!(sum(&sessions), Traffic { open: 1, bytes_sent: 400, packets_sent: 4, ..Traffic::default() });
        drop(second);
        assert_eq!(sum(&sessions), Traffic { open: 0, bytes_sent: 400, packets_sent: 4, ..Traffic::default() });
        for i in 0..ENDED_MAX * 2 {
            drop(sessions.open(details(&format!("p{i}"), Protocol::Rtsp)));
        }
        assert!(sessions.traffic().len() <= ENDED_MAX, "names that came and went take no room for ever");
    }

    #[test]
    fn a_reached_limit_refuses_and_names_the_option() {
        let limits = SessionLimits { total: 4, per_path: 1, per_address: 3 };
        let sessions = Sessions::new(limits, Box::new(|path| (path.as_str() == "b").then_some(2)));
        let refusal = |path| {
            let error = sessions.open(details(path, Protocol::Rtsp)).unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::ResourceExhausted, "too_many_sessions"));
            error.hint().unwrap().to_owned()
        };
        let _first = sessions.open(details("a", Protocol::Rtsp)).unwrap();
        assert!(refusal("a").contains("limits.sessions_per_path"));
        let _own = [(); 2].map(|()| sessions.open(details("b", Protocol::Rtsp)).unwrap());
        assert!(refusal("b").contains("max_readers"));
        assert!(refusal("c").contains("limits.sessions_per_address"));
        let elsewhere = SessionDetails { peer: "127.0.0.2:1".parse().unwrap(), ..details("c", Protocol::Hls) };
        let fourth = sessions.open(elsewhere).unwrap();
        assert!(refusal("d").contains("limits.sessions,"));
        assert_eq!((sessions.opened(), sessions.refused()), (4, vec![("server", 1), ("path", 2), ("address", 1)]));
        drop(fourth);
        assert!(refusal("d").contains("limits.sessions_per_address"), "what ended is not counted");
    }
}
