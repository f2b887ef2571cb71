//! WebRTC out: WHEP sessions and the fan-out engine.
//!
//! A session begins with an offer ([`WebRtc::open`]) and ends with a `DELETE`, with the path, with the permission, or
//! with silence. Machines (ICE-lite, DTLS, SRTP, SDP) take bytes and time; three kinds of drivers move bytes: one
//! control thread that alone reads the sockets, the send threads that alone own what viewers are sent, and the
//! connections of viewers whose UDP is blocked. Status codes and headers belong to `http/`.
//!
//! draft-ietf-wish-whep-03, RFC 9725 (its common parts), RFC 8445 (lite), RFC 6544 (passive), RFC 8840, RFC 7675.

mod control;
mod desk;
pub mod dtls;
pub mod framing;
pub mod ice;
pub mod identity;
mod records;
mod registry;
mod reseal;
mod send;
mod sessions;
pub mod srtp;
pub mod stun;
mod tcp;
pub mod transport;
mod viewer;

pub mod candidates;
pub mod ice_servers;
pub mod sdp;

use std::{
    net::{IpAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

#[doc(hidden)]
pub use send::bench::ViewerUnit;

pub use self::sdp::{LeftOut, Notice};
use crate::{
    base::{Error, Rendition, id::SessionId},
    config::IceServerConfig,
};

/// The running room. Clones share it.
#[derive(Clone, Debug)]
pub struct WebRtc {
    shared: Arc<sessions::Shared>,
}

/// How the room serves.
#[derive(Clone, Debug)]
pub struct WebRtcOptions {
    /// Where our certificate is kept.
    pub state_dir: PathBuf,
    /// The addresses this server is reached at from outside.
    pub public_ips: Vec<IpAddr>,
    /// STUN and TURN servers that viewers are told of.
    pub ice_servers: Vec<IceServerConfig>,
    /// Threads that send to viewers.
    pub threads: usize,
    /// How fast a new viewer is sent its start, in bits a second.
    pub start_pace: u64,
    /// The most bytes of that start; beyond it a still picture comes first.
    pub start_burst: usize,
    /// A viewer that falls further behind is moved to a newer picture.
    pub max_lag: Duration,
}

/// Sockets that were bound before any task started.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For media and checks.
    pub udp: Vec<UdpSocket>,
    /// For viewers whose UDP is blocked.
    pub tcp: Vec<TcpListener>,
}

/// A STUN or TURN server that a viewer is told of.
#[derive(Clone, Debug)]
pub struct IceServer {
    /// Its URLs, as a browser takes them.
    pub urls: Vec<String>,
    /// The user name, where one is needed.
    pub username: Option<String>,
    /// The password, where one is needed. It is made for a viewer and meant to be told.
    pub credential: Option<String>,
}

/// A session was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its name, which cannot be guessed.
    pub id: SessionId,
    /// The answer, complete: no candidate follows.
    pub answer: String,
    /// The entity tag of its ICE session, with its quotes.
    pub etag: String,
    /// Tracks the viewer is not sent, and why.
    pub left_out: Vec<LeftOut>,
    /// What the viewer may not be able to show although it is sent.
    pub notices: Vec<Notice>,
    /// Which of the two sizes it begins with.
    pub rendition: Rendition,
}

/// Why no session was opened.
#[derive(Debug)]
pub enum OpenRefused {
    /// The offer cannot be read, or asks for what cannot be.
    Invalid(Error),
    /// The offer does not ask to receive.
    Direction(Error),
    /// The viewer can take none of the path's tracks; the message has both lists.
    NothingShared(Error),
    /// The path has nothing to show yet.
    NotReady {
        /// What keeps it from being ready.
        error: Error,
        /// When to try again.
        retry_after: Duration,
    },
    /// A limit is reached.
    Full {
        /// Which one.
        error: Error,
        /// When to try again.
        retry_after: Duration,
    },
    /// Anything else, by the error's kind: there is no such path, the server stops.
    Refused(Error),
}

/// What came of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Candidates were taken note of.
    Accepted,
    /// ICE begins anew.
    Restarted {
        /// Our side of it (RFC 8840).
        fragment: String,
        /// The new entity tag, with its quotes.
        etag: String,
    },
}

/// Why nothing came of a fragment.
#[derive(Debug)]
pub enum PatchRefused {
    /// There is no such session on this path.
    NoSession,
    /// The request names no entity tag.
    MissingMatch,
    /// The entity tag is that of an earlier ICE session.
    Stale,
    /// The fragment cannot be read.
    Invalid(Error),
    /// The fragment asks for what is not done here.
    Unsupported(Error),
}
