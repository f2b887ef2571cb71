//! The server as a whole: its options, its listeners, and one task per connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Span, debug, info_span, warn};

use super::{
    claims::Claims, connection::Connection, target::StartChoice, transport::Transports, tunnel::Tunnels, udp::UdpDoor,
    wire::Wire,
};
use crate::{
    auth::Gate,
    base::{Clock, Error, Kind, PathName, Result, Tasks, complaints::Complaints},
    hub::{BurstPolicy, Hub, MediaThreads, ReaderOptions, Start},
    net::{
        listen::{Acceptor, UdpPair},
        stream::Stream,
        tls,
    },
    stats::{Place, Places, Sessions, network},
};

/// What a path allows its readers, if it says so itself.
pub type PathTransports = Arc<dyn Fn(&PathName) -> Option<Transports> + Send + Sync>;

/// How the server behaves.
#[derive(Clone)]
pub struct RtspOptions {
    /// What readers may use.
    pub transports: Transports,
    /// What single paths allow instead.
    pub path_transports: PathTransports,
    /// Whether RTSP is answered inside HTTP.
    pub http_tunnel: bool,
    /// A session without a sign of life for this long ends.
    pub session_timeout: Duration,
    /// A client whose socket takes no byte for this long is gone.
    pub write_timeout: Duration,
    /// How long a client may take to send a whole request, and to shake hands.
    pub request_timeout: Duration,
    /// A reader that falls further behind is moved to a newer picture.
    pub max_lag: Duration,
    /// Where readers begin unless their URL says otherwise.
    pub start: StartChoice,
    /// The most bytes a reader gets at once to begin with; beyond it a still picture comes first.
    pub start_burst: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// The connections of each address, those to other listeners among them.
    pub connections: Arc<Places<IpAddr>>,
    /// Sessions over UDP that may go on without a connection; further ones end with theirs.
    pub max_orphans: usize,
    /// Passwords are taken as they are, also where everybody on the way can read them.
    pub allow_basic: bool,
}

impl Default for RtspOptions {
    fn default() -> Self {
        Self {
            transports: Transports::ALL,
            path_transports: Arc::new(|_| None),
            http_tunnel: true,
            session_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            max_lag: Duration::from_secs(2),
            start: StartChoice::Instant,
            start_burst: 8_000_000,
            max_connections: 10_000,
            connections: Places::new(usize::MAX),
            max_orphans: 256,
            allow_basic: false,
        }
    }
}

impl fmt::Debug for RtspOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtspOptions").field("transports", &self.transports).finish_non_exhaustive()
    }
}

impl RtspOptions {
    /// How a reader reads. `shown` says that it is sent the track that pictures start on.
    pub(super) fn reader_options(&self, start: Option<StartChoice>, shown: bool) -> ReaderOptions {
        let viewer = ReaderOptions::viewer();
        let start = match start.unwrap_or(self.start) {
            StartChoice::Instant if shown => Start::RandomAccess,
            _ => Start::LiveEdge,
        };
        let burst = match viewer.burst {
            BurstPolicy::Within { units, readers, .. } => {
                BurstPolicy::Within { bytes: self.start_burst, units, readers }
            }
            BurstPolicy::Whole => BurstPolicy::Whole,
        };
        ReaderOptions { start, burst, max_lag: Some(self.max_lag), ..viewer }
    }
}

/// Sockets that were bound before any task started.
#[derive(Debug, Default)]
pub struct Listeners {
    /// RTSP in the clear.
    pub tcp: Vec<StdListener>,
    /// RTSP over TLS, with what it shows.
    pub tls: Option<(Vec<StdListener>, Arc<ServerConfig>)>,
    /// RTP and RTCP over UDP; one pair for each address that is listened on.
    pub udp: Vec<UdpPair>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) options: RtspOptions,
    pub(super) hub: Hub,
    pub(super) gate: Gate,
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) claims: Arc<Claims>,
    pub(super) udp: Option<Arc<UdpDoor>>,
}

/// The running server.
#[derive(Debug)]
pub struct RtspServer {
    tasks: Tasks,
    connections: TaskTracker,
    /// Kept as long as a connection may have last words.
    _threads: MediaThreads,
}

impl RtspServer {
    /// Starts to accept, on the current runtime; connections live on the media threads.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the runtime takes no more sockets.
    #[expect(clippy::too_many_arguments, reason = "the rooms it stands on, wired once in app")]
    pub fn start(
        options: RtspOptions,
        listeners: Listeners,
        hub: Hub,
        gate: Gate,
        sessions: Sessions,
        threads: MediaThreads,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self> {
        let failed = |error| Error::new(Kind::Internal, "rtsp: a bound socket cannot be used").caused_by(error);
        let tasks = tasks.child();
        let udp = (!listeners.udp.is_empty()).then(|| UdpDoor::open(listeners.udp)).transpose().map_err(failed)?;
        let udp = udp.map(Arc::new);
        if let Some(udp) = &udp {
            udp.start(clock, &tasks);
        }
        let connections = TaskTracker::new();
        connections.close();
        let door = Arc::new(Door {
            room: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
            shared: Arc::new(Shared {
                claims: Claims::new(options.max_orphans),
                options,
                hub,
                gate,
                sessions,
                clock,
                tunnels: Arc::default(),
                udp,
            }),
            threads: threads.clone(),
            tasks: tasks.clone(),
            connections: connections.clone(),
        });
        let plain = listeners.tcp.into_iter().map(|listener| (listener, None));
        let (secure, tls) = listeners.tls.map_or((Vec::new(), None), |(secure, tls)| (secure, Some(tls)));
        for (listener, tls) in plain.chain(secure.into_iter().map(|listener| (listener, tls.clone()))) {
            let address = listener.local_addr().map_err(failed)?;
            let acceptor = Acceptor::new(listener, clock).map_err(failed)?;
            let (door, stop) = (door.clone(), tasks.stopping().clone());
            let span = info_span!("rtsp", listener = %address);
            tasks.spawn(format!("rtsp/listener/{address}"), span, async move { door.run(acceptor, tls, stop).await });
        }
        Ok(Self { tasks, connections, _threads: threads })
    }

    /// Stops accepting, ends every session with a goodbye, and waits for that for `limit` at most; how many
    /// connections are left.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.tasks.stop();
        let _ = tokio::time::timeout(limit, self.connections.wait()).await;
        self.connections.len()
    }

    /// Connections that are open, and sessions that go on without one.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

/// What the listeners share.
struct Door {
    shared: Arc<Shared>,
    threads: MediaThreads,
    tasks: Tasks,
    connections: TaskTracker,
    room: Arc<Semaphore>,
}

impl Door {
    async fn run(self: Arc<Self>, mut acceptor: Acceptor, config: Option<Arc<ServerConfig>>, stop: CancellationToken) {
        let mut complaints = Complaints::new(Duration::from_secs(10));
        loop {
            let (tcp, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = acceptor.accept() => accepted,
            };
            let Ok(permit) = self.room.clone().try_acquire_owned() else {
                if let Some(times) = complaints.note(self.shared.clock.now()) {
                    let most = self.shared.options.max_connections;
                    warn!(%peer, times, "refused: {most} connections are open; raise rtsp.max_connections");
                }
                continue;
            };
            let Some(place) = self.shared.options.connections.take(network(peer.ip())) else {
                if let Some(times) = complaints.note(self.shared.clock.now()) {
                    let most = self.shared.options.connections.most();
                    warn!(%peer, times, "refused: {most} connections of this address are open; raise limits.connections_per_address");
                }
                continue;
            };
            let held = Held { permit: (permit, place), _open: self.connections.token() };
            match &config {
                None => self.seat(Stream::accepted(tcp), peer, held),
                Some(config) => {
                    // Handshakes compute; they do it away from the threads that move media.
                    let (door, config, limit) = (self.clone(), config.clone(), self.shared.options.request_timeout);
                    let stop = stop.clone();
                    let welcome = async move {
                        let shaken = tokio::select! {
                            biased;
                            () = stop.cancelled() => return,
                            shaken = tls::accept(&config, tcp, limit) => shaken,
                        };
                        match shaken {
                            Ok(stream) => door.seat(stream, peer, held),
                            Err(error) => debug!("refused: {}", error.chain()),
                        }
                    };
                    self.tasks.spawn(format!("rtsp/handshake/{peer}"), info_span!("handshake", %peer), welcome);
                }
            }
        }
    }

    /// Gives a connection its seat on a media thread, where it lives.
    fn seat(&self, stream: Stream, peer: SocketAddr, held: Held) {
        // A socket that cannot say where it is was reset meanwhile.
        let Ok((local, stream)) = stream.local_addr().and_then(|local| Ok((local, stream.leave()?))) else { return };
        let seat = self.threads.seat();
        let tasks = self.tasks.child_on(seat.runtime().clone());
        let (shared, stop) = (self.shared.clone(), tasks.stopping().clone());
        // The connection enters its span itself, where it has something to say.
        tasks.spawn(format!("rtsp/{peer}"), Span::none(), async move {
            let Held { permit, _open } = held;
            let _seat = seat;
            let orphan = match stream.enter() {
                Ok(stream) => Connection::new(shared, Wire::Direct(stream), peer, local).run(stop.clone()).await,
                Err(error) => return warn!(%peer, %error, "a connection could not be moved to its media thread"),
            };
            // What goes on is a session, no connection.
            drop(permit);
            if let Some(orphan) = orphan {
                orphan.run(stop).await;
            }
        });
    }
}

/// What a connection holds as long as it lives; a session that goes on without it keeps `_open`.
struct Held {
    permit: (OwnedSemaphorePermit, Place<IpAddr>),
    _open: TaskTrackerToken,
}
