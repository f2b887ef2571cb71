//! Sockets: accepts connections, speaks HTTP/1.1 or (after ALPN) HTTP/2 on them, ends those that hold still, and drains.
//!
//! A task per listener and one per connection. HTTP/2 without TLS is not spoken. Buffers are hyper's, capped: what is
//! sent are shared bytes that are not copied.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::ErrorKind::{ConnectionAborted, ConnectionReset},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{Request, Response, header};
use hyper::{
    body::Incoming,
    rt::{Executor, Read, Write},
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{Span, debug, info_span, warn};

use super::{
    HttpOptions, Rooms,
    front::{Phase, Surface},
    socket::{Asked, Guest, Watched, WatchedBody, tune},
    upgrade::{HandedOver, Slot, Upgrade},
    vigil::{Ending, Vigil, VigilLimits},
};
use crate::{
    base::{Clock, Monotonic, Tasks, complaints::Complaints},
    config::Networks,
    stats::{Place, Places, network},
};

/// The running listener. Dropping it ends nothing; [`HttpServer::drain`] does, or the stop of the tasks it was given.
#[derive(Debug)]
pub struct HttpServer {
    surface: Surface,
    tasks: Tasks,
    connections: Tasks,
}

impl HttpServer {
    /// Everything is up: `/readyz` says so from now on.
    pub fn set_ready(&self) {
        self.surface.front().enter(Phase::Serving);
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.surface.front().requests.connections().0
    }

    /// Accepts no more, lets requests end for `limit` at most, and closes. The names of tasks that did not end come
    /// back.
    pub async fn drain(&self, limit: Duration) -> Vec<String> {
        self.surface.front().enter(Phase::Draining);
        self.tasks.stop();
        let (mut alive, connections) = tokio::join!(self.tasks.drained(limit), self.connections.drained(limit));
        alive.extend(connections);
        alive
    }
}

/// Serves `rooms` on listeners that are bound already; with `tls` they speak nothing else, and HTTP/2 too.
pub fn serve(
    options: &HttpOptions,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    rooms: Rooms,
    tasks: &Tasks,
) -> HttpServer {
    let tasks = tasks.child();
    let (clock, connections_of) = (rooms.clock, rooms.connections.clone());
    let surface = Surface::new(rooms, options, tasks.stopping().clone());
    let connections = tasks.child();
    let door = Arc::new(Door {
        surface: surface.clone(),
        tls: tls.map(|config| acceptor(&config)),
        limits: VigilLimits { head: options.header_timeout, idle: options.idle_timeout, write: options.write_timeout },
        http1: http1_builder(options),
        http2: http2_builder(options, &connections),
        seats: Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
        connections: connections_of,
        proxies: options.proxies.clone(),
        tasks: connections.clone(),
        clock,
    });
    for listener in listeners {
        let address = listener.local_addr().map_or_else(|_| String::from("?"), |address| address.to_string());
        let span = info_span!("http", listener = %address);
        let accept = accept(door.clone(), listener, tasks.clone());
        tasks.spawn(format!("http/{address}"), span, accept);
    }
    let (front, stopping) = (surface.front().clone(), tasks.stopping().clone());
    tasks.spawn("http/viewers", info_span!("http"), async move {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(Duration::from_secs(1)) => {}
            }
            front.viewers.handle_timeout(clock.now());
            front.pace.handle_timeout();
        }
    });
    HttpServer { surface, tasks, connections }
}

/// HTTP/2 streams at once on one connection: a dashboard of many tiles asks for two things per tile.
const STREAMS: u32 = 200;
/// Streams that a client opened and reset before they were accepted (the rapid-reset flood), before it is sent away.
const RESETS: usize = 20;

fn http1_builder(options: &HttpOptions) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The vigil counts the time, from the first byte of a head; hyper would count idle time as well.
    builder.header_read_timeout(None).max_buf_size(options.max_header.max(8192)).max_header_size(options.max_header);
    builder
}

fn http2_builder(options: &HttpOptions, tasks: &Tasks) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS * 4)
        .max_header_list_size(u32::try_from(options.max_header).unwrap_or(u32::MAX))
        // Clients send little here: requests, and later an offer or an event.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(options.write_timeout);
    builder
}

fn acceptor(config: &ServerConfig) -> TlsAcceptor {
    let mut config = config.clone();
    // Before what the certificate's authority speaks.
    config.alpn_protocols.splice(0..0, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    TlsAcceptor::from(Arc::new(config))
}

/// The streams of HTTP/2 connections, as owned tasks.
#[derive(Clone, Debug)]
struct Streams(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn("http/stream", Span::none(), stream);
    }
}

/// What all connections of the listeners share.
struct Door {
    surface: Surface,
    tls: Option<TlsAcceptor>,
    limits: VigilLimits,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    seats: Arc<Semaphore>,
    connections: Arc<Places<IpAddr>>,
    proxies: Networks,
    tasks: Tasks,
    clock: Clock,
}

async fn accept(door: Arc<Door>, listener: TcpListener, tasks: Tasks) {
    let stopping = tasks.stopping();
    let mut complaints = Complaints::new(Duration::from_secs(60));
    loop {
        let next = async {
            // A full house leaves newcomers in the kernel's queue.
            let seat = door.seats.clone().acquire_owned().await;
            (listener.accept().await, seat)
        };
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            (Ok((socket, peer)), Ok(seat)) => {
                let limited = !door.proxies.contain(peer.ip());
                let place = if limited { door.connections.take(network(peer.ip())) } else { None };
                if limited && place.is_none() {
                    if let Some(times) = complaints.note(door.clock.now()) {
                        let most = door.connections.most();
                        warn!(%peer, times, "refused: {most} connections of this address are open; raise limits.connections_per_address");
                    }
                    continue;
                }
                let door = door.clone();
                // No span: it would be entered with every wake-up.
                door.tasks.clone().spawn("http/connection", Span::none(), run(door, socket, (seat, place)));
            }
            (Ok(_), Err(_closed)) => return,
            // A client that left before it was let in.
            (Err(error), _) if matches!(error.kind(), ConnectionAborted | ConnectionReset) => {}
            (Err(error), _) => {
                // Out of descriptors, mostly: others will close theirs.
                if let Some(times) = complaints.note(door.clock.now()) {
                    warn!(times, "accept: {error}");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from the handshake to its end.
async fn run(door: Arc<Door>, socket: TcpStream, (seat, place): (OwnedSemaphorePermit, Option<Place<IpAddr>>)) {
    let guest = Guest::enter(door.surface.front().requests.clone(), seat, place);
    if let Some(upgraded) = speak_http(&door, socket).await {
        // A task of its own, so that a connection that stays for days does not carry what HTTP needed.
        let speaking = upgraded.run(door.tasks.stopping().clone());
        door.tasks.spawn("http/upgraded", Span::none(), async move {
            speaking.await;
            drop(guest);
        });
    }
}

/// Speaks HTTP until the connection ends, or becomes something else.
async fn speak_http(door: &Door, socket: TcpStream) -> Option<HandedOver> {
    let Ok(peer) = socket.peer_addr() else { return None };
    // A listener on `[::]` sees IPv4 in IPv6's clothes.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if let Err(error) = tune(&socket) {
        debug!(%peer, "socket options: {error}");
    }
    let Some(tls) = &door.tls else { return door.speak(socket, peer, false).await };
    let stopping = door.tasks.stopping();
    let handshake = tokio::select! {
        biased;
        () = stopping.cancelled() => return None,
        handshake = timeout(door.limits.head, tls.accept(socket)) => handshake,
    };
    match handshake {
        Ok(Ok(socket)) => {
            let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
            return door.speak(socket, peer, http2).await;
        }
        Ok(Err(error)) => debug!(%peer, "tls: {error}"),
        Err(_elapsed) => debug!(%peer, "tls: no handshake in time"),
    }
    None
}

impl Door {
    async fn speak<S>(&self, socket: S, peer: SocketAddr, http2: bool) -> Option<HandedOver>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let vigil = Arc::new(Vigil::new(self.limits, http2, self.clock.now()));
        let io = TokioIo::new(Watched::new(socket, vigil.clone(), self.clock));
        let slot = Slot::default();
        let surface = self.surface.clone();
        let service = Answers { surface, vigil: vigil.clone(), peer, clock: self.clock, slot: slot.clone() };
        let ended = if http2 {
            self.watch(self.http2.serve_connection(io, service), &vigil).await
        } else {
            self.watch(self.http1.serve_connection(io, service).with_upgrades(), &vigil).await
        };
        if let Some(Ending::Head | Ending::Stuck) = ended {
            debug!(%peer, ?ended, "connection closed");
        }
        slot.take::<S>().await
    }

    /// Drives a connection until it ends, or has to: told to stop it finishes what it is at.
    async fn watch<C: Graceful>(&self, connection: C, vigil: &Vigil) -> Option<Ending> {
        let mut connection = pin!(connection);
        let mut stopping = pin!(self.tasks.stopping().cancelled());
        let mut armed = vigil.poll_deadline();
        let mut timer = pin!(sleep_until(self.clock.instant(armed)));
        let (mut leaving, mut told) = (None, false);
        poll_fn(|cx| {
            if !told && stopping.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(leaving);
            }
            loop {
                let now = self.clock.now();
                match vigil.handle_timeout(now) {
                    // An idle one is told, so that the client opens another instead of losing a request.
                    Some(Ending::Idle) if leaving.is_none() => {
                        leaving = Some(Ending::Idle);
                        connection.as_mut().graceful_shutdown();
                        if connection.as_mut().poll(cx).is_ready() {
                            return Poll::Ready(leaving);
                        }
                        armed = now + GOODBYE;
                        timer.as_mut().reset(self.clock.instant(armed));
                    }
                    None | Some(Ending::Idle) => {}
                    ended => return Poll::Ready(ended),
                }
                // To an earlier deadline the timer is moved; to a later one it moves by itself when it fires, so that
                // a busy connection does not touch it with every request.
                let due = vigil.poll_deadline();
                if leaving.is_none() && due < armed {
                    armed = due;
                    timer.as_mut().reset(self.clock.instant(due));
                }
                if armed == NEVER || timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if leaving.is_some() {
                    return Poll::Ready(leaving);
                }
                armed = NEVER;
            }
        })
        .await
    }
}

/// How long a client has to take a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The vigil has nothing to wait for.
const NEVER: Monotonic = Monotonic::from_nanos(u64::MAX);

/// A connection that ends after the requests it is at. (That of `hyper-util` leaves out connections that may be upgraded.)
trait Graceful: Future {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I: Read + Write + Unpin + Send + 'static> Graceful for http1::UpgradeableConnection<I, Answers> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<I: Read + Write + Unpin + 'static> Graceful for http2::Connection<I, Answers, Streams> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Answers the requests of one connection.
struct Answers {
    surface: Surface,
    vigil: Arc<Vigil>,
    peer: SocketAddr,
    clock: Clock,
    slot: Slot,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<WatchedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (surface, peer, slot) = (self.surface.clone(), self.peer, self.slot.clone());
        let asked = Asked::new(self.vigil.clone(), self.clock);
        let coming = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        Box::pin(async move {
            let mut response = surface.answer(request, peer).await;
            if let (Some(coming), Some(upgrade)) = (coming, response.extensions_mut().remove::<Upgrade>()) {
                slot.leave(coming, upgrade);
            }
            Ok(response.map(|body| WatchedBody::new(body, asked)))
        })
    }
}
