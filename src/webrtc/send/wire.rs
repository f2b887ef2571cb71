//! How sealed runs leave: as datagrams, or through the connection of a viewer whose UDP is blocked.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{outlet::Outlet, viewer::Taken};
use crate::{
    net::udp::Datagrams,
    webrtc::transport::{Link, Route},
};

/// The connections of viewers whose UDP is blocked, by the number in their [`Link`].
pub(in crate::webrtc) trait Outlets: Send + Sync + fmt::Debug {
    /// The queue of a connection that is still there.
    fn outlet(&self, connection: u64) -> Option<Arc<Outlet>>;
}

/// Where a viewer's runs go.
#[derive(Debug)]
pub(super) enum Way {
    Udp {
        socket: usize,
        local: Option<IpAddr>,
        peer: SocketAddr,
    },
    Tcp(Arc<Outlet>),
    /// A connection that is gone; another way will come, or the end.
    Nowhere,
}

/// What makes runs leave.
#[derive(Debug)]
pub(super) struct Wire {
    sockets: Arc<[Arc<Datagrams>]>,
    outlets: Arc<dyn Outlets>,
}

impl Wire {
    pub(super) fn new(sockets: Arc<[Arc<Datagrams>]>, outlets: Arc<dyn Outlets>) -> Self {
        Self { sockets, outlets }
    }

    pub(super) fn way(&self, route: Route) -> Way {
        match route.link {
            Link::Udp { socket, local } => Way::Udp { socket: socket.into(), local, peer: route.peer },
            Link::Tcp(connection) => self.outlets.outlet(connection).map_or(Way::Nowhere, Way::Tcp),
        }
    }

    pub(super) fn segments(&self, way: &Way) -> usize {
        match way {
            Way::Udp { socket, .. } => self.sockets.get(*socket).map_or(1, |socket| socket.segments_max()),
            Way::Tcp(_) | Way::Nowhere => usize::MAX,
        }
    }

    pub(super) fn room(way: &Way) -> usize {
        match way {
            Way::Tcp(outlet) => outlet.room(),
            Way::Udp { .. } | Way::Nowhere => usize::MAX,
        }
    }

    pub(super) fn send(&self, way: &Way, run: &[u8], segment: usize) -> Taken {
        match way {
            Way::Udp { socket, local, peer } => {
                let Some(socket) = self.sockets.get(*socket) else { return Taken::Full };
                match socket.try_send(*peer, *local, run, segment) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Full,
                    // The network does not take it: lost, and whoever reads the socket hears why.
                    Err(_) | Ok(()) => Taken::Sent,
                }
            }
            Way::Tcp(outlet) if outlet.put(run, segment) => Taken::Sent,
            Way::Tcp(_) | Way::Nowhere => Taken::Full,
        }
    }
}
