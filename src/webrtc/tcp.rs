//! Viewers whose UDP is blocked: they connect to us and send their datagrams framed (RFC 6544, passive; RFC 4571).
//!
//! One task per connection, on the control thread. What comes in goes to the control thread's queue, which holds the
//! connection back when it is full; what goes out waits in the connection's bounded [`Outlet`]. A connection that does
//! not begin with a STUN request, or belongs to no viewer in time, is closed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info_span, warn};

use super::{
    framing::Frames,
    send::{Outlet, Outlets},
    stun,
    transport::{Link, Route},
};
use crate::{
    base::{Clock, Tasks, complaints::Complaints},
    net::listen::Acceptor,
};

/// Connections at once.
const CONNECTIONS_MAX: usize = 4096;
/// Connections at once that belong to no viewer yet; they have [`ADOPTION_LIMIT`] to change that.
const STRANGERS_MAX: usize = 256;
/// How long a connection may be without a viewer.
const ADOPTION_LIMIT: Duration = Duration::from_secs(10);
/// A connection that takes no byte for this long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes the kernel holds that the network has not taken.
const UNSENT_MAX: u32 = 128 << 10;

/// What a connection tells the control thread.
#[derive(Debug)]
pub(super) enum Framed {
    /// A datagram.
    Datagram(Route, BytesMut),
    /// It has ended.
    Gone(Route),
}

#[derive(Debug)]
struct Connection {
    outlet: Arc<Outlet>,
    /// Fires when it belongs to a viewer.
    adopted: CancellationToken,
    /// Fires when it should end.
    end: CancellationToken,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Held for a look-up, an insert or a removal.
    open: Mutex<HashMap<u64, Connection>>,
    strangers: AtomicUsize,
    next: AtomicU64,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a connection belongs to a viewer.
    pub(super) fn adopt(&self, connection: u64) {
        if let Some(connection) = self.open().get(&connection) {
            connection.adopted.cancel();
        }
    }

    /// Ends a connection, after its last words.
    pub(super) fn end(&self, connection: u64) {
        if let Some(connection) = self.open().get(&connection) {
            connection.end.cancel();
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open().len()
    }
}

impl Outlets for Connections {
    fn outlet(&self, connection: u64) -> Option<Arc<Outlet>> {
        self.open().get(&connection).map(|connection| connection.outlet.clone())
    }
}

/// Accepts connections until `stop` fires.
pub(super) async fn accept(
    mut acceptor: Acceptor,
    connections: Arc<Connections>,
    inbound: mpsc::Sender<Framed>,
    clock: Clock,
    tasks: Tasks,
) {
    let mut complaints = Complaints::new(Duration::from_secs(10));
    let stop = tasks.stopping().clone();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = acceptor.accept() => accepted,
        };
        if connections.len() >= CONNECTIONS_MAX || connections.strangers.load(Ordering::Relaxed) >= STRANGERS_MAX {
            if let Some(times) = complaints.note(clock.now()) {
                warn!(%peer, times, "refused: too many WebRTC connections are open");
            }
            continue;
        }
        let number = connections.next.fetch_add(1, Ordering::Relaxed);
        let connection = Connection {
            outlet: Arc::default(),
            adopted: CancellationToken::new(),
            end: tasks.stopping().child_token(),
        };
        let serving = Serving {
            stream,
            route: Route { link: Link::Tcp(number), peer },
            outlet: connection.outlet.clone(),
            adopted: connection.adopted.clone(),
            stranger: Stranger::new(&connections),
            end: connection.end.clone(),
            inbound: inbound.clone(),
        };
        connections.open().insert(number, connection);
        let entry = Entry { connections: connections.clone(), number };
        tasks.spawn(format!("webrtc/tcp/{peer}"), info_span!("webrtc", %peer), async move { serving.run(entry).await });
    }
}

/// Strikes a connection from the list, however its task ends.
struct Entry {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

/// Counts a connection among those without a viewer.
struct Stranger(Arc<Connections>);

impl Stranger {
    fn new(connections: &Arc<Connections>) -> Self {
        connections.strangers.fetch_add(1, Ordering::Relaxed);
        Self(connections.clone())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.strangers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection.
struct Serving {
    stream: TcpStream,
    route: Route,
    outlet: Arc<Outlet>,
    adopted: CancellationToken,
    stranger: Stranger,
    end: CancellationToken,
    inbound: mpsc::Sender<Framed>,
}

impl Serving {
    async fn run(mut self, entry: Entry) {
        let _ = self.stream.set_nodelay(true);
        // Without it the kernel would queue seconds of media for a slow viewer.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.stream).set_tcp_notsent_lowat(UNSENT_MAX);
        let (read, mut write) = self.stream.split();
        let (adopted, stranger) = (self.adopted, self.stranger);
        let adoption = async move {
            tokio::select! {
                () = adopted.cancelled() => {
                    drop(stranger);
                    std::future::pending().await
                }
                () = tokio::time::sleep(ADOPTION_LIMIT) => {}
            }
        };
        let why = tokio::select! {
            biased;
            () = self.end.cancelled() => {
                let _ = tokio::time::timeout(LAST_WORDS, writing(&mut write, &self.outlet)).await;
                "its viewer is gone"
            }
            () = adoption => "no viewer claimed it",
            why = reading(read, self.route, &self.inbound) => why,
            () = writing(&mut write, &self.outlet) => "it takes nothing",
        };
        debug!("closed: {why}");
        drop(entry);
        let _ = self.inbound.send(Framed::Gone(self.route)).await;
    }
}

/// Passes on what comes in, until it ends or is none of ours; why.
async fn reading(mut read: tcp::ReadHalf<'_>, route: Route, inbound: &mpsc::Sender<Framed>) -> &'static str {
    let (mut frames, mut chunk, mut first) = (Frames::default(), [0; 4096], true);
    loop {
        match read.read(&mut chunk).await {
            Ok(0) => return "the viewer ended it",
            Ok(count) => frames.push(&chunk[..count]),
            Err(_) => return "it broke",
        }
        loop {
            let datagram = match frames.next_datagram() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                Err(_) => return "a frame was too long",
            };
            // RFC 6544 §4.2: what belongs to an agent begins with a check.
            if std::mem::take(&mut first) && stun::asked_ufrag(&datagram).is_none() {
                return "it did not begin with a check";
            }
            if inbound.send(Framed::Datagram(route, datagram)).await.is_err() {
                return "the server ends";
            }
        }
    }
}

/// Writes what waits, until the viewer takes nothing.
async fn writing(write: &mut tcp::WriteHalf<'_>, outlet: &Outlet) {
    loop {
        let mut waiting = outlet.take().await;
        while !waiting.is_empty() {
            let written = tokio::time::timeout(WRITE_LIMIT, write.write_buf(&mut waiting)).await;
            if !matches!(written, Ok(Ok(count)) if count > 0) {
                return;
            }
        }
    }
}
