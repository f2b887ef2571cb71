//! The door: who may come in, what the connections share, and how many there are. A connection is a task of whoever
//! upgraded its stream; what it does stands in [`super::connection`].

use std::{
    collections::BTreeMap, fmt, net::IpAddr, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration,
};

use futures_util::future::BoxFuture;
use tracing::info_span;

use super::{
    close::{CloseCode, Violation},
    commands::Commands,
    connection::Connection,
    encoding::Encoding,
    herald::Herald,
    login::{self, Login, Porch},
    messages::{Ack, StreamUrl, VideoRequest},
    presence::{Guest, Presence},
    wishes::Preset,
};
use crate::{
    auth::{self, Admin, Control, Grant, Permission},
    base::{Clock, Result, Tasks, WallTime},
    events::{Cursor, Events, Scope},
    stats::{Crowd, EventDoor, EventDoors, Refusal},
};

/// How the door treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// How many there may be.
    pub most: usize,
    /// Messages may be deflated for clients that offer that.
    pub deflate: bool,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self { most: 5000, deflate: true }
    }
}

/// What takes note of an alert: the room of alarms.
pub trait Acknowledge: fmt::Debug + Send + Sync {
    /// `by` takes note.
    fn acknowledge(&self, by: &str, ack: Ack) -> BoxFuture<'_, Result<()>>;
}

/// What speaks for one caller: it knows where a camera can be seen, whether this caller may, and what another token of its
/// is worth.
pub trait Host: fmt::Debug + Send + Sync {
    /// The camera's name, and its URLs, the best first.
    ///
    /// # Errors
    /// The caller may not, there is no such camera, or nothing it can play.
    fn urls<'a>(&'a self, request: &'a VideoRequest) -> BoxFuture<'a, Result<(String, Vec<StreamUrl>)>>;

    /// What the caller may do who shows another token on its connection.
    ///
    /// # Errors
    /// It is not right, or somebody else's.
    fn renew<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Renewed>>;
}

/// A caller who showed another token.
#[derive(Debug)]
pub struct Renewed {
    /// When it ends, if it does.
    pub until: Option<WallTime>,
    /// What the caller may see from now on.
    pub scope: Scope,
    /// What it may do.
    pub rights: Rights,
    /// What speaks for it.
    pub host: Arc<dyn Host>,
}

/// What a caller may do on its connection, beyond what its scope shows.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// Take note of alerts.
    pub ack: Option<Grant<auth::Ack>>,
    /// Have commands done, and write to others.
    pub control: Option<Grant<Control>>,
    /// Know who the others are.
    pub admin: Option<Grant<Admin>>,
}

/// Whether a right is there and has not ended.
pub(super) fn holds<P: Permission>(right: Option<&Grant<P>>) -> bool {
    right.is_some_and(|grant| !grant.ended().is_cancelled())
}

/// A client at the door.
#[derive(Debug)]
pub struct Arrival {
    /// The form of messages that was agreed.
    pub encoding: Encoding,
    /// Which URL.
    pub preset: Preset,
    /// As whom it is known.
    pub user: Arc<str>,
    /// Whether that is somebody's name, and the limit of users holds.
    pub named: bool,
    /// Where it comes from.
    pub address: IpAddr,
    /// When the token it came with ends, if it was one.
    pub until: Option<WallTime>,
    /// What it may see.
    pub scope: Scope,
    /// What it may do.
    pub rights: Rights,
    /// Where it goes on.
    pub after: Option<Cursor>,
    /// What speaks for it.
    pub host: Arc<dyn Host>,
}

impl From<Crowd> for Violation {
    fn from(crowd: Crowd) -> Self {
        let (code, reason) = match crowd {
            Crowd::User => (CloseCode::TOO_MANY, "too many connections of this user"),
            Crowd::Address => (CloseCode::TOO_MANY, "too many connections from this address"),
            Crowd::Door => (CloseCode::TRY_LATER, "the server has as many connections as it takes"),
        };
        Self { code, reason }
    }
}

/// The door. Clones share it.
#[derive(Clone, Debug)]
pub struct WebSockets {
    shared: Arc<Shared>,
}

/// What connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) events: Events,
    pub(super) presence: Arc<Presence>,
    pub(super) herald: Herald,
    pub(super) commands: Commands,
    pub(super) alarms: Option<Arc<dyn Acknowledge>>,
    pub(super) doors: Arc<EventDoors>,
    pub(super) clock: Clock,
    porch: Porch,
    options: WebSocketOptions,
}

/// How many are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketFigures {
    /// In all.
    pub connections: usize,
    /// Of the user who asks.
    pub of_user: usize,
    /// Different users.
    pub users: usize,
    /// By door.
    pub by_door: BTreeMap<&'static str, usize>,
}

/// Between two announcements of who is online.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(5);

impl WebSockets {
    /// Opens the door.
    pub fn start(
        options: WebSocketOptions,
        events: Events,
        commands: Commands,
        alarms: Option<Arc<dyn Acknowledge>>,
        doors: Arc<EventDoors>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let presence = Arc::<Presence>::default();
        let stopping = tasks.stopping().clone();
        let announced = presence.clone();
        tasks.spawn("events/presence", info_span!("events"), async move {
            let mut told = 0;
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(ANNOUNCE_EVERY) => {}
                }
                let changes = announced.changes();
                if changes != told {
                    told = changes;
                    announced.announce();
                }
            }
        });
        let herald = Herald::start(available_parallelism().map_or(1, NonZero::get), &events, &doors, clock, tasks);
        let porch = Porch::default();
        let shared = Shared { events, presence, herald, commands, alarms, doors, clock, porch, options };
        Self { shared: Arc::new(shared) }
    }

    /// Whether messages may be deflated.
    pub fn deflates(&self) -> bool {
        self.shared.options.deflate
    }

    /// Lets a client in, or not: either way there is a connection, since only on it a browser can be told why.
    pub fn admit(&self, arrival: Arrival) -> Connection {
        let Arrival { encoding, preset, user, named, address, .. } = &arrival;
        let refused = |violation| Connection::refused(self.shared.clock, *encoding, violation);
        let doors = &self.shared.doors;
        if arrival.scope.is_over() {
            doors.refused(EventDoor::WebSocket, Refusal::Forbidden);
            return refused(Violation { code: CloseCode::POLICY, reason: "this needs a right that you do not have" });
        }
        let name = named.then_some(&**user);
        let admitted = match doors.admit(EventDoor::WebSocket, self.shared.options.most, name, *address) {
            Ok(admitted) => admitted,
            Err(crowd) => return refused(crowd.into()),
        };
        let guest = Guest {
            user: user.clone(),
            door: preset.name(),
            encoding: *encoding,
            sees_users: holds(arrival.rights.admin.as_ref()),
            since: self.shared.clock.wall(),
        };
        let taken = self.shared.presence.enter(guest, admitted);
        Connection::admitted(self.shared.clone(), arrival, taken)
    }

    /// Lets a client say who it is, since it showed nothing; with its token it is let in, or not.
    pub fn admit_unknown(&self, encoding: Encoding, address: IpAddr, login: Arc<dyn Login>) -> Connection {
        match self.shared.porch.take(address) {
            Some(place) => Connection::unknown(self.clone(), encoding, login, place),
            None => {
                self.shared.doors.refused(EventDoor::WebSocket, Refusal::Limit);
                Connection::refused(self.shared.clock, encoding, login::CROWDED)
            }
        }
    }

    /// Tells a client that showed a credential why that lets it in nowhere.
    pub fn turn_away(&self, encoding: Encoding, violation: Violation) -> Connection {
        self.turned_away();
        Connection::refused(self.shared.clock, encoding, violation)
    }

    /// Somebody did not say who they are, or it was nobody.
    pub(super) fn turned_away(&self) {
        self.shared.doors.refused(EventDoor::WebSocket, Refusal::Forbidden);
    }

    pub(super) fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// How many are connected; `user` is who asks.
    pub fn figures(&self, user: &str) -> WebSocketFigures {
        let presence = &self.shared.presence;
        let (of_user, users) = presence.of_user(user);
        WebSocketFigures { connections: presence.count(), of_user, users, by_door: presence.by_door() }
    }
}
