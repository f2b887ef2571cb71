//! The control thread's driver: it alone reads the sockets, owns every viewer's transport, and tells the send threads
//! who is there.
//!
//! Checks and reports of viewers that play are answered as they come. Handshakes cost a thousand times as much; they
//! wait in a bounded queue and are done in slices, so that a flood of them delays nobody who plays.
//!
//! Demultiplexing is by our user name fragment for checks (RFC 8445 §7.3), by proved address for all else (RFC 7983).

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    desk::Desk,
    ice::Credentials,
    send::{Key, Order},
    stun,
    tcp::Framed,
    transport::{Link, Route, TransportEvent},
    viewer::{Admission, Ending, HANDSHAKE_LIMIT, ROUTES_MAX, Stage, Viewer},
};
use crate::{
    base::{Clock, Monotonic},
    net::udp::Datagrams,
};

/// What sessions ask of the control thread.
#[derive(Debug)]
pub(super) enum Command {
    /// An offer was answered.
    Admit(Box<Admission>),
    /// ICE begins anew.
    Restart { key: Key, local: Credentials },
    /// The viewer wants to end it.
    Close(Key),
}

/// Datagrams of handshakes that may wait. Beyond that they are dropped: DTLS sends again.
const HANDSHAKES_MAX: usize = 1024;
/// How long handshakes are worked on before others have a turn.
const HANDSHAKES_SLICE: Duration = Duration::from_millis(2);
/// Calls to one socket before others have a turn.
const CALLS_MAX: usize = 16;
/// Refusals read from one socket before others have a turn.
const REFUSALS_MAX: usize = 64;
/// What one call may receive.
const RECEIVE_BUFFER: usize = 65_536;
/// How often permissions, kicks and ends of streams are looked at.
const LOOK_ROUND: Duration = Duration::from_millis(200);
/// A viewer that has shown no sign of life for this long makes room, when others wait.
const DISPLACED_AFTER: Duration = Duration::from_secs(5);

/// The control thread.
#[derive(Debug)]
pub(super) struct Control {
    viewers: HashMap<Key, Viewer>,
    desk: Desk,
    handshakes: VecDeque<(Key, Route, BytesMut)>,
    /// Those that connect, in the order they came.
    connecting: VecDeque<Key>,
    looked: Monotonic,
    commands: mpsc::Receiver<Command>,
    framed: mpsc::Receiver<Framed>,
}

enum Wake {
    Command(Command),
    Datagrams,
    Framed(Framed),
    Time,
}

/// Ready once any of the sockets has something.
fn poll_any(sockets: &[Arc<Datagrams>], cx: &mut Context<'_>) -> Poll<()> {
    // Each is asked, so that each wakes.
    let ready = sockets.iter().filter(|socket| socket.poll_readable(cx).is_ready()).count();
    if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
}

impl Control {
    pub(super) fn new(desk: Desk, commands: mpsc::Receiver<Command>, framed: mpsc::Receiver<Framed>) -> Self {
        let looked = desk.clock.now();
        let (viewers, handshakes, connecting) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Self { viewers, desk, handshakes, connecting, looked, commands, framed }
    }

    /// Runs until `stop` fires, then says goodbye to every viewer.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let sockets = self.desk.sockets.clone();
        let mut buffer = vec![0; RECEIVE_BUFFER];
        loop {
            let due = self.due();
            let (clock, busy) = (self.desk.clock, !self.handshakes.is_empty());
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(command) = self.commands.recv() => Wake::Command(command),
                () = poll_fn(|cx| poll_any(&sockets, cx)) => Wake::Datagrams,
                Some(framed) = self.framed.recv() => Wake::Framed(framed),
                () = tokio::task::yield_now(), if busy => Wake::Time,
                () = sleep(clock, due) => Wake::Time,
            };
            match wake {
                Wake::Command(command) => self.obey(command),
                Wake::Datagrams => self.receive(&sockets, &mut buffer),
                Wake::Framed(Framed::Datagram(route, mut datagram)) => self.handle_datagram(route, &mut datagram),
                Wake::Framed(Framed::Gone(route)) => self.handle_unreachable(route),
                Wake::Time => {}
            }
            self.shake_hands();
            self.handle_timers();
            self.tell().await;
        }
        for key in self.viewers.keys().copied().collect::<Vec<_>>() {
            self.end(key, &Ending::Stopping);
        }
        self.tell().await;
    }

    /// Tells the send threads what this turn brought.
    async fn tell(&mut self) {
        for (seat, order) in self.desk.orders.drain(..) {
            seat.order(order).await;
        }
    }

    fn due(&self) -> Option<Monotonic> {
        let look = (!self.viewers.is_empty()).then(|| self.looked + LOOK_ROUND);
        let timer = self.desk.timers.peek().map(|Reverse((at, _))| *at);
        [look, timer].into_iter().flatten().min()
    }

    fn obey(&mut self, command: Command) {
        let now = self.desk.clock.now();
        match command {
            Command::Admit(admission) => {
                self.displace(now);
                self.desk.ufrags.insert(admission.ufrag.clone(), admission.key);
                let (key, mut viewer) = Viewer::new(*admission, now);
                self.desk.arm(key, &mut viewer);
                self.connecting.push_back(key);
                self.viewers.insert(key, viewer);
            }
            Command::Restart { key, local } => {
                let Some(viewer) = self.viewers.get_mut(&key) else { return };
                self.desk.ufrags.insert(local.ufrag.clone(), key);
                viewer.ufrags.push(local.ufrag.clone());
                if viewer.ufrags.len() > ROUTES_MAX {
                    // The first may be the one in use.
                    let old = viewer.ufrags.remove(1);
                    self.desk.ufrags.remove(&old);
                }
                viewer.transport.restart(local);
                self.settle(key);
            }
            Command::Close(key) => self.end(key, &Ending::Closed),
        }
    }

    /// Lets those go that were admitted and never heard of, when places become few.
    fn displace(&mut self, now: Monotonic) {
        while let Some(key) = self.connecting.front().copied() {
            let viewer = self.viewers.get(&key).filter(|viewer| matches!(viewer.stage, Stage::Connecting(_)));
            let silent = viewer.is_some_and(|viewer| viewer.routes.is_empty());
            let old = viewer.is_none_or(|viewer| now.since(viewer.since) >= DISPLACED_AFTER);
            if !old || silent && !self.desk.registry.is_crowded() {
                return;
            }
            self.connecting.pop_front();
            if silent {
                self.end(key, &Ending::Displaced);
            }
        }
    }

    fn receive(&mut self, sockets: &[Arc<Datagrams>], buffer: &mut [u8]) {
        for (number, socket) in (0_u8..).zip(sockets) {
            for _ in 0..CALLS_MAX {
                let received = socket.try_receive(buffer, |peer, local, datagram| {
                    self.handle_datagram(Route { link: Link::Udp { socket: number, local }, peer }, datagram);
                });
                if received.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
                    break;
                }
            }
        }
        self.hear_refusals();
    }

    /// Reads where nobody is at home. The runtime does not wake for it; it is read with what comes in, and in between.
    fn hear_refusals(&mut self) {
        let sockets = self.desk.sockets.clone();
        for (number, socket) in (0_u8..).zip(sockets.iter()) {
            for _ in 0..REFUSALS_MAX {
                let Some(peer) = socket.next_refusal() else { break };
                self.handle_refusal(number, peer);
            }
        }
    }

    /// Nobody is at home at an address. Refusals are rare, so that looking through all ways is cheap enough.
    fn handle_refusal(&mut self, number: u8, peer: SocketAddr) {
        let there =
            |route: &&Route| route.peer == peer && matches!(route.link, Link::Udp { socket, .. } if socket == number);
        for route in self.desk.routes.keys().filter(there).copied().collect::<Vec<_>>() {
            self.handle_unreachable(route);
        }
    }

    fn handle_unreachable(&mut self, route: Route) {
        let now = self.desk.clock.now();
        if let Some((key, viewer)) =
            self.desk.routes.get(&route).and_then(|key| self.viewers.get_mut(key).map(|viewer| (*key, viewer)))
        {
            viewer.transport.handle_unreachable(now, route);
            self.settle(key);
        }
    }

    /// Whose datagram it is.
    fn owner(&mut self, route: Route, datagram: &[u8]) -> Option<Key> {
        if !matches!(datagram.first(), Some(0..=3)) {
            return self.desk.routes.get(&route).copied();
        }
        let Some(ufrag) = stun::asked_ufrag(datagram) else { return self.desk.routes.get(&route).copied() };
        if let Some(key) = self.desk.ufrags.get(ufrag) {
            return Some(*key);
        }
        // Its answer may have overtaken its admission.
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        self.desk.ufrags.get(ufrag).copied()
    }

    fn handle_datagram(&mut self, route: Route, datagram: &mut [u8]) {
        let owner = self.owner(route, datagram);
        let Some((key, viewer)) = owner.and_then(|key| self.viewers.get_mut(&key).map(|viewer| (key, viewer))) else {
            self.desk.dropped.unknown.fetch_add(1, Ordering::Relaxed);
            if let Link::Tcp(connection) = route.link {
                self.desk.connections.end(connection);
            }
            return;
        };
        if matches!(datagram.first(), Some(20..=63)) && viewer.transport.is_handshaking() {
            if self.handshakes.len() < HANDSHAKES_MAX {
                self.handshakes.push_back((key, route, BytesMut::from(&*datagram)));
            } else {
                self.desk.dropped.handshakes.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        viewer.transport.handle_datagram(self.desk.clock.now(), route, datagram);
        self.settle(key);
    }

    /// A slice of the handshakes that wait.
    fn shake_hands(&mut self) {
        let begun = self.desk.clock.now();
        while let Some((key, route, mut datagram)) = self.handshakes.pop_front() {
            let now = self.desk.clock.now();
            if let Some(viewer) = self.viewers.get_mut(&key) {
                viewer.transport.handle_datagram(now, route, &mut datagram);
                self.settle(key);
            }
            if now.since(begun) >= HANDSHAKES_SLICE {
                break;
            }
        }
    }

    fn handle_timers(&mut self) {
        let now = self.desk.clock.now();
        while let Some(Reverse((at, key))) = self.desk.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.desk.timers.pop();
            let key = Key(key);
            let Some(viewer) = self.viewers.get_mut(&key).filter(|viewer| viewer.timer == Some(at)) else { continue };
            viewer.timer = None;
            if matches!(viewer.stage, Stage::Connecting(_)) && now.since(viewer.since) >= HANDSHAKE_LIMIT {
                self.end(key, &Ending::NeverConnected);
                continue;
            }
            if viewer.transport.poll_timeout().is_some_and(|due| due <= now) {
                viewer.transport.handle_timeout(now);
            }
            self.settle(key);
        }
        if now.since(self.looked) >= LOOK_ROUND {
            self.looked = now;
            self.hear_refusals();
            self.displace(now);
            let over = |(key, viewer): (&Key, &mut Viewer)| viewer.is_to_end().map(|ending| (*key, ending));
            for (key, ending) in self.viewers.iter_mut().filter_map(over).collect::<Vec<_>>() {
                self.end(key, &ending);
            }
        }
    }

    /// Takes out of a viewer's transport what it has to say.
    fn settle(&mut self, key: Key) {
        let Some(viewer) = self.viewers.get_mut(&key) else { return };
        while let Some((route, datagram)) = viewer.transport.poll_transmit() {
            self.desk.pass_on(key, viewer, route, &datagram);
        }
        while let Some(event) = viewer.transport.poll_event() {
            match event {
                TransportEvent::Route(route) => {
                    viewer.route = Some(route);
                    viewer.session.travels(if matches!(route.link, Link::Tcp(_)) { "tcp" } else { "udp" });
                    self.desk.order(viewer, Order::Route(key, route));
                }
                TransportEvent::Connected(keys) => viewer.keys = Some(keys),
                TransportEvent::Rtcp(compound) => viewer.feedback(key, compound),
                TransportEvent::Silent => self.desk.order(viewer, Order::Silent(key, true)),
                TransportEvent::Heard => self.desk.order(viewer, Order::Silent(key, false)),
                TransportEvent::Ended(end) => return self.end(key, &Ending::Transport(end)),
            }
        }
        if let Some(joining) = viewer.take_seat(key, &self.desk.threads) {
            debug!(session = %viewer.session.id, route = ?viewer.route, "a viewer connected");
            self.desk.order(viewer, Order::Join(joining));
        }
        self.desk.arm(key, viewer);
    }

    /// Ends a viewer with a goodbye.
    fn end(&mut self, key: Key, ending: &Ending) {
        let Some(mut viewer) = self.viewers.remove(&key) else { return };
        if !matches!(ending, Ending::Transport(_)) {
            viewer.transport.close(self.desk.clock.now());
        }
        while let Some((route, datagram)) = viewer.transport.poll_transmit() {
            self.desk.send(route, &datagram);
        }
        self.desk.order(&viewer, Order::Leave(key));
        for ufrag in &viewer.ufrags {
            self.desk.ufrags.remove(ufrag);
        }
        for route in std::mem::take(&mut viewer.routes) {
            self.desk.forget(key, route);
        }
        let (session, path) = (viewer.session.id, &viewer.session.details.path);
        if ending.is_ordinary() {
            debug!(%session, %path, "a viewer ended: {ending}");
        } else {
            info!(%session, %path, "a viewer ended: {ending}");
        }
    }
}

async fn sleep(clock: Clock, until: Option<Monotonic>) {
    match until {
        Some(until) => tokio::time::sleep_until(clock.instant(until)).await,
        None => std::future::pending().await,
    }
}
