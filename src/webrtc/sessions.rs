//! The room as HTTP sees it: offers are answered, sessions patched and ended. What lives on belongs to the control
//! thread.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tracing::{Span, info, info_span};

use super::{
    IceServer, Listeners, OpenRefused, Opened, PatchRefused, Patched, WebRtc, WebRtcOptions,
    candidates::Candidate,
    control::{Command, Control},
    desk::{Desk, Dropped},
    ice::Credentials,
    ice_servers::ice_servers,
    identity::Identity,
    registry::{Meaning, Registry, etag},
    reseal,
    sdp::{self, Answering, Fragment, Offer, answer, answer_fragment, choose, reorders_pictures, transport_section},
    send::{SendOptions, SendThreads, reader_options},
    tcp::{self, Connections},
    transport::{Remote, Transport},
    viewer::{Admission, Waiting, is_busy},
};
use crate::{
    audio::Audio,
    auth::{Grant, View},
    base::{Clock, Error, Kind, Monotonic, PathName, Rendition, Result, Tasks, id::SessionId},
    hub::{BurstPolicy, Hub, MediaThreads, PathHandle, ReaderOptions, Start, Stream},
    net::{interfaces, listen::Acceptor, udp::Datagrams},
    stats::{DelaysSnapshot, Protocol, SessionDetails, Sessions},
};

/// Commands that may wait for the control thread; whoever has one more waits.
const COMMANDS: usize = 1024;
/// How long a command may wait.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// Datagrams of connections that may wait; then the connections do.
const FRAMED: usize = 1024;
/// How long an offer waits for its path.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// When to come back to a path that is not ready.
const RETRY_PATH: Duration = Duration::from_secs(2);
/// When to come back where others connect at this moment.
const RETRY_BUSY: Duration = Duration::from_secs(1);
/// When to come back to a limit of sessions.
const RETRY_FULL: Duration = Duration::from_secs(10);
/// How long the addresses of this machine are taken as they were.
const ADDRESSES_FRESH: Duration = Duration::from_secs(10);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    hub: Hub,
    audio: Audio,
    sessions: Sessions,
    identity: Arc<Identity>,
    options: WebRtcOptions,
    registry: Registry,
    commands: mpsc::Sender<Command>,
    dropped: Arc<Dropped>,
    senders: SendThreads,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    /// The candidates of an answer, and when they were gathered. Held for a copy.
    candidates: Mutex<Option<(Monotonic, Arc<[Candidate]>)>>,
    clock: Clock,
    tasks: Tasks,
    /// The control thread and the send threads, which end with the room.
    _threads: [MediaThreads; 2],
}

impl WebRtc {
    /// Starts the control thread and the send threads.
    ///
    /// # Errors
    /// Our certificate can neither be read nor made, or the system gives no thread or takes no more sockets.
    pub fn start(
        options: WebRtcOptions,
        listeners: Listeners,
        hub: Hub,
        audio: Audio,
        sessions: Sessions,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::new(Kind::Internal, "webrtc: the system gives no more").caused_by(error);
        let identity = Arc::new(Identity::kept(&options.state_dir, clock.wall())?);
        let threads = MediaThreads::start_named("webrtc-control", 1, None).map_err(failed)?;
        let media = MediaThreads::start_named("webrtc-send", options.threads, None).map_err(failed)?;
        let runtime = threads.seat().runtime().clone();
        let tasks = tasks.child_on(runtime.clone());
        let addresses = |bound: Vec<io::Result<SocketAddr>>| bound.into_iter().collect::<io::Result<Vec<_>>>();
        let udp = addresses(listeners.udp.iter().map(std::net::UdpSocket::local_addr).collect()).map_err(failed)?;
        let tcp = addresses(listeners.tcp.iter().map(std::net::TcpListener::local_addr).collect()).map_err(failed)?;
        let (commands, command_rx) = mpsc::channel(COMMANDS);
        let (framed, framed_rx) = mpsc::channel(FRAMED);
        let connections = Arc::new(Connections::default());
        let (registry, dropped) = (Registry::new(), Arc::new(Dropped::default()));
        // Sockets are read where they were registered.
        let registered = runtime.enter();
        let datagrams = |socket| {
            let socket = Datagrams::new(socket)?;
            socket.hear_refusals();
            Ok(Arc::new(socket))
        };
        let sockets = listeners.udp.into_iter().map(datagrams).collect::<io::Result<Arc<[_]>>>().map_err(failed)?;
        for listener in listeners.tcp {
            let acceptor = Acceptor::new(listener, clock).map_err(failed)?;
            let accepting = tcp::accept(acceptor, connections.clone(), framed.clone(), clock, tasks.clone());
            tasks.spawn("webrtc/listener", info_span!("webrtc"), accepting);
        }
        drop(registered);
        let send = SendOptions { burst_rate: options.start_pace };
        let senders = SendThreads::start(&media, sockets.clone(), connections.clone(), send, clock, &tasks);
        let desk = Desk::new(sockets, connections, senders.clone(), registry.clone(), dropped.clone(), clock);
        let control = Control::new(desk, command_rx, framed_rx);
        let stop = tasks.stopping().clone();
        tasks.spawn("webrtc/control", Span::none(), async move { control.run(stop).await });
        let candidates = Mutex::default();
        let shared = Shared {
            hub,
            audio,
            sessions,
            identity,
            options,
            registry,
            commands,
            dropped,
            senders,
            udp,
            tcp,
            candidates,
            clock,
            tasks,
            _threads: [threads, media],
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a session on the path of `grant`: waits until the path has something to show, chooses what of it the
    /// offer can take, and answers.
    ///
    /// # Errors
    /// As [`OpenRefused`] says.
    pub async fn open(
        &self,
        grant: Grant<View>,
        asked: Option<Rendition>,
        offer: &str,
        peer: SocketAddr,
        user_agent: Option<String>,
    ) -> Result<Opened, OpenRefused> {
        let shared = &self.shared;
        self.is_open()?;
        let offer = Offer::parse(offer).map_err(|error| {
            let refused = Error::new(Kind::InvalidArgument, error.to_string());
            if error.is_direction() {
                OpenRefused::Direction(refused.with_code("offer_direction"))
            } else {
                OpenRefused::Invalid(refused.with_code("invalid_offer"))
            }
        })?;
        let path = shared.hub.path(&grant).map_err(OpenRefused::Refused)?;
        let name = path.name().clone();
        let stream = shared.choose_stream(&grant, &path, asked).await?;
        let rendition = stream.rendition();
        let tracks = stream.tracks();
        let chosen = choose(&offer, &tracks).map_err(|nothing| {
            let error = Error::new(Kind::FailedPrecondition, format!("path {name}: {nothing}"));
            OpenRefused::NothingShared(error.with_code("nothing_in_common"))
        })?;

        let full = |error| OpenRefused::Full { error, retry_after: RETRY_FULL };
        let session = shared.sessions.open(SessionDetails {
            protocol: Protocol::WebRtc,
            transport: "udp",
            path: name.clone(),
            rendition,
            peer,
            user_agent,
            since: shared.clock.wall(),
        });
        let session = session.map_err(full)?;
        let busy = || OpenRefused::Full { error: is_busy(), retry_after: RETRY_BUSY };
        let room = shared.registry.room(peer.ip()).ok_or_else(busy)?;

        let (id, key, local) = (session.id, shared.registry.key(), Credentials::random());
        let cname = SessionId::random().to_string();
        let candidates = shared.candidates();
        let answering = Answering {
            local: &local,
            fingerprint: shared.identity.fingerprint(),
            candidates: &candidates,
            session: id,
            cname: &cname,
        };
        let answer = answer(&offer, &chosen, &answering);
        let sdp::Chosen { lines, left_out, notices } = chosen;
        let made_here = lines.iter().any(|line| line.transcoded);
        let sound = made_here.then(|| shared.audio.derive(&name, &stream));
        let mid = transport_section(&offer).unwrap_or_default().to_owned();
        let remote = Remote {
            credentials: Credentials { ufrag: offer.ufrag.clone(), pwd: offer.pwd.clone() },
            fingerprint: offer.fingerprint.clone(),
        };
        let entry = shared.registry.enter(id, key, name.clone(), mid, &offer.ufrag, &local.ufrag);
        let (etag, ufrag) = (etag(&local.ufrag), local.ufrag.clone());
        let reading = shared.options.reading();
        let demand = ReaderOptions { start: Start::LiveEdge, ..reading };
        let waiting = Waiting {
            lines,
            main: path.main().clone(),
            sub: path.stream(Rendition::Sub).cloned(),
            rendition,
            adapts: asked.is_none(),
            cname,
            demand: stream.open(grant.clone(), demand),
            reading,
            room,
            grant,
        };
        let transport = Transport::new(shared.identity.clone(), local, remote, shared.clock.now());
        let admission = Box::new(Admission { key, ufrag, transport, waiting, sound, session, entry });
        shared.command(Command::Admit(admission)).await.map_err(OpenRefused::Refused)?;
        info!(session = %id, path = %name, %rendition, %peer, "a viewer was answered");
        Ok(Opened { id, answer, etag, left_out, notices, rendition })
    }

    /// Whether offers are taken now.
    fn is_open(&self) -> Result<(), OpenRefused> {
        let registry = &self.shared.registry;
        if registry.is_stopped() {
            return Err(OpenRefused::Refused(Error::new(Kind::Unavailable, "webrtc: the server stops")));
        }
        if registry.places() == 0 {
            return Err(OpenRefused::Full { error: is_busy(), retry_after: RETRY_BUSY });
        }
        Ok(())
    }

    /// Takes a fragment of a trickle or an ICE restart for a session on `path`.
    ///
    /// # Errors
    /// As [`PatchRefused`] says.
    pub async fn patch(
        &self,
        path: &PathName,
        id: SessionId,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, PatchRefused> {
        let shared = &self.shared;
        // Who has no session, and who names no entity tag, learns that first.
        shared.registry.check(path, id, if_match)?;
        let fragment = Fragment::parse(fragment).map_err(|error| {
            PatchRefused::Invalid(Error::new(Kind::InvalidArgument, error.to_string()).with_code("invalid_fragment"))
        })?;
        // RFC 8840 §4.4: one without the other begins nothing anew.
        let remote = fragment.ufrag.filter(|_| fragment.pwd.is_some());
        let meaning = shared.registry.patch(path, id, if_match, remote.as_deref(), Credentials::random())?;
        let Meaning::Restart { key, local, mid } = meaning else {
            // The viewer's candidates are learned from its checks (RFC 8445 §7.3.1.3).
            return Ok(Patched::Accepted);
        };
        let fragment = answer_fragment(&local, &mid, &shared.candidates());
        let etag = etag(&local.ufrag);
        let restarted = shared.command(Command::Restart { key, local }).await;
        restarted.map_err(|_| PatchRefused::NoSession)?;
        Ok(Patched::Restarted { fragment, etag })
    }

    /// Ends a session with a goodbye; `false` if `path` has none of this id.
    pub async fn close(&self, path: &PathName, id: SessionId) -> bool {
        match self.shared.registry.strike(path, id) {
            Some(key) => self.shared.command(Command::Close(key)).await.is_ok(),
            None => false,
        }
    }

    /// The servers a viewer is told of, with logins made now.
    pub fn ice_servers(&self) -> Vec<IceServer> {
        ice_servers(&self.shared.options.ice_servers, self.shared.clock.wall())
    }

    /// Datagrams that were dropped since the start, by reason.
    pub fn dropped(&self) -> Vec<(&'static str, u64)> {
        let (dropped, count) = (&self.shared.dropped, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        let feedback = self.shared.senders.feedback_dropped();
        vec![("unknown", count(&dropped.unknown)), ("handshakes", count(&dropped.handshakes)), ("feedback", feedback)]
    }

    /// How long pictures stayed here, from their arrival to their last packet to the last viewer of a send thread.
    pub fn relay_delays(&self) -> DelaysSnapshot {
        self.shared.senders.delays()
    }

    /// Numbers of packets that were sealed twice since the start: each is a fault, and gives viewers' keys away.
    pub fn numbers_reused() -> u64 {
        reseal::reused()
    }

    /// Ends every session with a goodbye and takes no more, for `limit` at most; how many sessions are left.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.shared.registry.stop();
        self.shared.tasks.stop();
        self.shared.tasks.drained(limit).await;
        self.shared.registry.len()
    }
}

impl WebRtcOptions {
    /// How viewers read.
    fn reading(&self) -> ReaderOptions {
        let usual = reader_options();
        let burst = match usual.burst {
            BurstPolicy::Within { units, readers, .. } => {
                BurstPolicy::Within { bytes: self.start_burst, units, readers }
            }
            BurstPolicy::Whole => BurstPolicy::Whole,
        };
        ReaderOptions { burst, max_lag: Some(self.max_lag), ..usual }
    }
}

impl Shared {
    async fn command(&self, command: Command) -> Result<()> {
        let sent = tokio::time::timeout(COMMAND_LIMIT, self.commands.send(command)).await;
        let lost = || Error::new(Kind::Unavailable, "webrtc: the control thread takes no more");
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(lost()) }
    }

    /// The rendition a viewer begins with, once it has something to show. Pictures in another order than they are shown
    /// in do not play in browsers: a smaller rendition without them is the better one.
    async fn choose_stream(
        &self,
        grant: &Grant<View>,
        path: &PathHandle,
        asked: Option<Rendition>,
    ) -> Result<Stream, OpenRefused> {
        let stream = self.hub.stream(grant, asked.unwrap_or_default()).map_err(OpenRefused::Refused)?;
        self.ready(path, &stream).await?;
        if asked.is_some() || !reorders_pictures(&stream.tracks()) {
            return Ok(stream);
        }
        let Some(sub) = path.stream(Rendition::Sub) else { return Ok(stream) };
        let fits = self.ready(path, sub).await.is_ok() && !reorders_pictures(&sub.tracks());
        Ok(if fits { sub.clone() } else { stream })
    }

    async fn ready(&self, path: &PathHandle, stream: &Stream) -> Result<(), OpenRefused> {
        let slow = || Error::new(Kind::Unavailable, "no picture yet").with_code("path_not_ready");
        let waited = tokio::time::timeout(READY_LIMIT, stream.ready()).await;
        waited.unwrap_or_else(|_| Err(slow())).map_err(|error| {
            let error = error.context(format_args!("path {}", path.name()));
            OpenRefused::NotReady { error, retry_after: RETRY_PATH }
        })
    }

    /// Where viewers can reach us, as of a moment ago.
    fn candidates(&self) -> Arc<[Candidate]> {
        let now = self.clock.now();
        let mut kept = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((at, candidates)) if now.since(*at) < ADDRESSES_FRESH => candidates.clone(),
            _ => {
                let gathered =
                    Candidate::gather(&self.udp, &self.tcp, &interfaces::addresses(), &self.options.public_ips);
                let candidates: Arc<[_]> = gathered.into();
                *kept = Some((now, candidates.clone()));
                candidates
            }
        }
    }
}
