//! A viewer as the control thread keeps it: its transport, the ways it may come, and where it stands between the answer
//! to its offer and its end. Value types; [`super::control`] drives them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    registry::{Entry, Room},
    sdp::ChosenLine,
    send::{Joining, Key, Readers, Seat, SendEnd, SendThreads},
    srtp::MediaKeys,
    transport::{Route, Transport, TransportEnd},
};
use crate::{
    audio::Derived,
    auth::{Grant, View},
    base::{Error, Monotonic, Rendition},
    hub::{Reader, ReaderOptions, Stream},
    stats::SessionGuard,
};

/// How long a viewer may take from our answer to the end of its handshake.
pub(super) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// Addresses a viewer may have proved to be at; the oldest makes room.
pub(super) const ROUTES_MAX: usize = 8;

/// A viewer whose offer was answered.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) key: Key,
    /// Our user name fragment, which its checks name.
    pub(super) ufrag: String,
    pub(super) transport: Transport,
    pub(super) waiting: Waiting,
    /// The Opus it is sent instead of the path's own sound, if it is.
    pub(super) sound: Option<Derived>,
    pub(super) session: SessionGuard,
    pub(super) entry: Entry,
}

/// What a viewer will be sent, once it is there.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) lines: Vec<ChosenLine>,
    pub(super) grant: Grant<View>,
    pub(super) main: Stream,
    pub(super) sub: Option<Stream>,
    pub(super) rendition: Rendition,
    pub(super) adapts: bool,
    pub(super) cname: String,
    /// Demand, so that a path on demand does not close while the viewer connects.
    pub(super) demand: Reader,
    /// How it will read.
    pub(super) reading: ReaderOptions,
    /// A place among those that connect.
    pub(super) room: Room,
}

/// Where a viewer stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// It connects.
    Connecting(Box<Waiting>),
    /// It is sent media.
    Playing {
        seat: Arc<Seat>,
        /// Told when the send thread ends it.
        ended: oneshot::Receiver<SendEnd>,
    },
}

/// Why a viewer ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// Its transport did.
    Transport(TransportEnd),
    /// The send thread did.
    Send(SendEnd),
    /// `DELETE`.
    Closed,
    /// An operator.
    Kicked,
    /// The permission.
    Revoked,
    /// The server.
    Stopping,
    /// It did not connect in time.
    NeverConnected,
    /// It made room for others before it connected.
    Displaced,
}

impl Ending {
    /// Whether nobody needs to read of it.
    pub(super) const fn is_ordinary(&self) -> bool {
        matches!(self, Self::Closed | Self::Stopping | Self::Transport(TransportEnd::CloseNotify))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Transport(TransportEnd::CloseNotify) => "the viewer said goodbye",
            Self::Transport(TransportEnd::Silence) => "nothing was heard of the viewer",
            Self::Transport(TransportEnd::Handshake(why)) => return write!(f, "the handshake failed: {why}"),
            Self::Transport(_) => "its transport ended",
            Self::Send(SendEnd::TracksChanged) => "the path has other tracks now",
            Self::Send(SendEnd::SourceLost(error)) => return write!(f, "the source is gone: {}", error.chain()),
            Self::Send(_) => "the path was closed",
            Self::Closed => "the viewer closed it",
            Self::Kicked => "an operator ended it",
            Self::Revoked => "the permission ended",
            Self::Stopping => "the server stops",
            Self::NeverConnected => "the viewer never connected",
            Self::Displaced => "the viewer was slow to connect, and others wait",
        };
        f.write_str(text)
    }
}

/// A viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) transport: Transport,
    /// The user name fragments it may use: the one in use and those of restarts.
    pub(super) ufrags: Vec<String>,
    /// The ways it has proved to be at, the newest last.
    pub(super) routes: Vec<Route>,
    /// Where media go.
    pub(super) route: Option<Route>,
    /// Agreed, and not handed on yet.
    pub(super) keys: Option<MediaKeys>,
    pub(super) since: Monotonic,
    /// The timer that is set for it.
    pub(super) timer: Option<Monotonic>,
    pub(super) stage: Stage,
    pub(super) grant: Grant<View>,
    pub(super) session: SessionGuard,
    /// Sound that is made here stays that of the rendition it began with.
    _sound: Option<Derived>,
    /// Strikes it from the registry.
    _entry: Entry,
}

impl Viewer {
    pub(super) fn new(admission: Admission, now: Monotonic) -> (Key, Self) {
        let Admission { key, ufrag, transport, waiting, sound, session, entry } = admission;
        let viewer = Self {
            transport,
            ufrags: vec![ufrag],
            routes: Vec::new(),
            route: None,
            keys: None,
            since: now,
            timer: None,
            grant: waiting.grant.clone(),
            _sound: sound,
            stage: Stage::Connecting(Box::new(waiting)),
            session,
            _entry: entry,
        };
        (key, viewer)
    }

    /// When it is due next, by its transport or by what it may take to connect.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let connecting = matches!(self.stage, Stage::Connecting(_)).then(|| self.since + HANDSHAKE_LIMIT);
        [self.transport.poll_timeout(), connecting].into_iter().flatten().min()
    }

    /// Why it is to end, as far as others say so.
    pub(super) fn is_to_end(&mut self) -> Option<Ending> {
        if self.session.kicked().is_cancelled() {
            return Some(Ending::Kicked);
        }
        if self.grant.ended().is_cancelled() {
            return Some(Ending::Revoked);
        }
        match &mut self.stage {
            Stage::Connecting(_) => None,
            Stage::Playing { ended, .. } => match ended.try_recv() {
                Ok(end) => Some(Ending::Send(end)),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Ending::Send(SendEnd::Closed)),
            },
        }
    }

    /// Passes on what it reports, if it plays.
    pub(super) fn feedback(&self, key: Key, compound: Bytes) {
        if let Stage::Playing { seat, .. } = &self.stage {
            seat.feedback(key, compound);
        }
    }

    /// Takes a seat on a send thread once keys are agreed and a way is chosen; what the thread is told.
    pub(super) fn take_seat(&mut self, key: Key, threads: &SendThreads) -> Option<Box<Joining>> {
        let route = self.route.filter(|_| matches!(self.stage, Stage::Connecting(_)))?;
        let keys = self.keys.take()?;
        let (tell, ended) = oneshot::channel();
        let playing = Stage::Playing { seat: Arc::new(threads.seat()), ended };
        let Stage::Connecting(waiting) = std::mem::replace(&mut self.stage, playing) else { return None };
        let Waiting { lines, grant, main, sub, rendition, adapts, cname, demand, reading, room } = *waiting;
        let stream = if rendition == Rendition::Sub { sub.as_ref().unwrap_or(&main) } else { &main };
        let reader = stream.open(grant, reading);
        drop((demand, room));
        let readers = Readers { reader, rendition, main, sub, adapts };
        let session = self.session.clone();
        Some(Box::new(Joining { key, lines, keys, route, readers, session, cname, ended: tell }))
    }
}

/// What a waiting viewer is told of a queue that is full.
pub(super) fn is_busy() -> Error {
    Error::new(crate::base::Kind::ResourceExhausted, "webrtc: too many viewers connect at this moment")
        .with_code("too_many_handshakes")
        .with_hint("try again in a second")
}
