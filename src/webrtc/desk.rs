//! What the control thread works with besides its viewers: the ways out, who is to be found where, timers, and what the
//! send threads are to be told.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;

use super::{
    registry::Registry,
    send::{Key, Order, Outlets, Seat, SendThreads},
    tcp::Connections,
    transport::{Link, Route},
    viewer::{ROUTES_MAX, Stage, Viewer},
};
use crate::{
    base::{Clock, Monotonic},
    net::udp::Datagrams,
};

/// The least time to a timer.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// What was dropped since the start.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Datagrams of nobody.
    pub(super) unknown: AtomicU64,
    /// Datagrams of handshakes that had to be sent again.
    pub(super) handshakes: AtomicU64,
}

/// What the control thread works with, besides its viewers.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) sockets: Arc<[Arc<Datagrams>]>,
    pub(super) connections: Arc<Connections>,
    pub(super) threads: SendThreads,
    pub(super) registry: Registry,
    pub(super) dropped: Arc<Dropped>,
    pub(super) clock: Clock,
    pub(super) ufrags: HashMap<String, Key>,
    pub(super) routes: HashMap<Route, Key>,
    pub(super) timers: BinaryHeap<Reverse<(Monotonic, u64)>>,
    /// What send threads are told at the end of the turn.
    pub(super) orders: Vec<(Arc<Seat>, Order)>,
}

impl Desk {
    pub(super) fn new(
        sockets: Arc<[Arc<Datagrams>]>,
        connections: Arc<Connections>,
        threads: SendThreads,
        registry: Registry,
        dropped: Arc<Dropped>,
        clock: Clock,
    ) -> Self {
        let (ufrags, routes, timers, orders) = (HashMap::new(), HashMap::new(), BinaryHeap::new(), Vec::new());
        Self { sockets, connections, threads, registry, dropped, clock, ufrags, routes, timers, orders }
    }

    /// Sends what a viewer's transport has to say. Our answer to a check proves that the viewer is there.
    pub(super) fn pass_on(&mut self, key: Key, viewer: &mut Viewer, route: Route, datagram: &Bytes) {
        if is_success(datagram) {
            self.prove(key, viewer, route);
        }
        self.send(route, datagram);
    }

    /// Sends what cannot wait. What the network does not take is lost: both protocols send again.
    pub(super) fn send(&self, route: Route, datagram: &[u8]) {
        match route.link {
            Link::Udp { socket, local } => {
                if let Some(socket) = self.sockets.get(usize::from(socket)) {
                    let _ = socket.try_send(route.peer, local, datagram, datagram.len());
                }
            }
            Link::Tcp(connection) => {
                if let Some(outlet) = self.connections.outlet(connection) {
                    outlet.put(datagram, datagram.len());
                }
            }
        }
    }

    /// A viewer has proved to be there.
    fn prove(&mut self, key: Key, viewer: &mut Viewer, route: Route) {
        if viewer.routes.contains(&route) {
            return;
        }
        if viewer.routes.len() >= ROUTES_MAX {
            let oldest = viewer.routes.iter().position(|old| viewer.route != Some(*old)).unwrap_or_default();
            let old = viewer.routes.remove(oldest);
            self.forget(key, old);
        }
        viewer.routes.push(route);
        self.routes.insert(route, key);
        if let Link::Tcp(connection) = route.link {
            self.connections.adopt(connection);
        }
    }

    pub(super) fn forget(&mut self, key: Key, route: Route) {
        if self.routes.get(&route) == Some(&key) {
            self.routes.remove(&route);
        }
        if let Link::Tcp(connection) = route.link {
            self.connections.end(connection);
        }
    }

    /// Sets the timer of a viewer, unless an earlier one is set.
    pub(super) fn arm(&mut self, key: Key, viewer: &mut Viewer) {
        // What is overdue already has a moment, so that others have a turn.
        let soonest = self.clock.now() + TIMER_STEP;
        if let Some(deadline) = viewer.deadline().map(|deadline| deadline.max(soonest))
            && viewer.timer.is_none_or(|timer| deadline < timer)
        {
            viewer.timer = Some(deadline);
            self.timers.push(Reverse((deadline, key.0)));
        }
    }

    pub(super) fn order(&mut self, viewer: &Viewer, order: Order) {
        if let Stage::Playing { seat, .. } = &viewer.stage {
            self.orders.push((seat.clone(), order));
        }
    }
}

/// A Binding success response (RFC 8489 §5): the request it answers was authentic.
fn is_success(datagram: &Bytes) -> bool {
    datagram.starts_with(&[0x01, 0x01])
}
