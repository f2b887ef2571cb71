//! The doors of events over plain HTTP: taking them in ([`post`]), asking for them ([`poll`]), and streams of
//! server-sent events ([`stream`]). All of them share filters and cursors, so that a client may change its door; the
//! log, the board and what a follower gets are [`crate::events`]'s.

mod asked;
mod incoming;
mod packed;
mod poll;
mod post;
mod rate;
mod replays;
mod sent;
mod stream;

#[cfg(test)]
pub(super) mod tests;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::FromRequestParts, http::request::Parts, routing::get};

pub(super) use self::{
    poll::{__path_list, gather, list},
    post::{__path_take, take},
    stream::{__path_events, __path_system_status, events, system_status},
};
use self::{rate::Rates, replays::Replays};
use super::{caller::Asking, front::Front, problem::Problem};
use crate::{
    auth::{Admin, Alerts, Caller, Gate, Sensors, Stats},
    base::{Error, Kind, Result},
    events::{Scope, spread::moment},
    stats::{EventDoor, EventDoors},
};

/// How the doors of events behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDoorOptions {
    /// Server-sent events are served.
    pub server_sent: bool,
    /// Events are served on request.
    pub long_poll: bool,
    /// Events are taken.
    pub ingest: bool,
    /// How often a stream with nothing to say shows that it is alive.
    pub heartbeat: Duration,
    /// Followers at once, each door by itself.
    pub max_followers: u32,
    /// Events a second from one address; twice as many at once.
    pub max_posts_per_second: u32,
}

impl Default for EventDoorOptions {
    fn default() -> Self {
        Self {
            server_sent: true,
            long_poll: true,
            ingest: true,
            heartbeat: Duration::from_secs(30),
            max_followers: 5000,
            max_posts_per_second: 500,
        }
    }
}

/// What the doors keep between requests.
#[derive(Debug)]
pub(super) struct EventDesk {
    options: EventDoorOptions,
    rates: Rates,
    replays: Replays,
}

impl EventDesk {
    pub(super) fn new(options: EventDoorOptions) -> Self {
        Self { options, rates: Rates::new(options.max_posts_per_second), replays: Replays::default() }
    }
}

/// The streams; what is below `/api` stands there.
pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/events", get(events)).route("/system-status", get(system_status))
}

/// What the caller may see of events. The handler is the proof that it is something: it does not run otherwise.
#[derive(Debug)]
pub(super) struct Sees(pub(super) Scope);

impl FromRequestParts<Arc<Front>> for Sees {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> std::result::Result<Self, Problem> {
        let Asking(caller) = Asking::from_request_parts(parts, front).await?;
        Ok(Self(scope(&front.rooms.gate, &caller)?))
    }
}

/// What a caller may see, as one scope.
///
/// # Errors
/// As [`Gate::check_server`]: nothing at all.
pub(super) fn scope(gate: &Gate, caller: &Caller) -> Result<Scope> {
    let (alerts, sensors) = (gate.check_somewhere::<Alerts>(caller), gate.check_somewhere::<Sensors>(caller));
    let stats = gate.check_somewhere::<Stats>(caller);
    let mut scope = Scope::nothing();
    let refused = match (alerts, sensors, stats) {
        (Err(refused), Err(_), Err(_)) => Some(refused),
        (alerts, sensors, stats) => {
            scope = alerts.iter().fold(scope, |scope, grant| scope.with(grant));
            scope = sensors.iter().fold(scope, |scope, grant| scope.with(grant));
            scope = stats.iter().fold(scope, |scope, grant| scope.with(grant));
            None
        }
    };
    if let Ok(admin) = gate.check_server::<Admin>(caller) {
        scope = scope.with(&admin);
    }
    match refused {
        Some(refused) if scope.is_over() => Err(refused),
        _ => Ok(scope),
    }
}

/// A place at a door; it is given back with the follower.
#[derive(Debug)]
struct Seat {
    doors: Arc<EventDoors>,
    door: EventDoor,
}

impl Seat {
    /// Lets a follower in.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: as many as may are there.
    fn take(front: &Front, door: EventDoor) -> Result<Self> {
        let doors = front.rooms.event_doors.clone();
        if doors.enter(door, front.desk.options.max_followers.into()) {
            return Ok(Self { doors, door });
        }
        Err(Error::new(Kind::ResourceExhausted, "too many follow events by this door")
            .with_code("too_many_followers")
            .with_hint("raise events.max_followers"))
    }

    fn delivered(&self, events: usize) {
        self.doors.delivered(self.door, events as u64);
    }

    /// When this client should come back if its connection is torn.
    fn after_a_tear(&self) -> Duration {
        moment(self.doors.followers())
    }

    /// When this client should come back that is told to go.
    fn after_the_end(&self) -> Duration {
        moment(self.doors.dismissed())
    }

    fn missed(&self, lost: Option<u64>) {
        self.doors.dropped(self.door, lost.unwrap_or(1));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.doors.closed(self.door);
    }
}

/// A door that the configuration switched off.
pub(super) fn switched_off(open: bool, door: &str) -> Result<()> {
    if open {
        return Ok(());
    }
    Err(Error::new(Kind::NotFound, "this door is switched off")
        .with_code("door_switched_off")
        .with_hint(format!("events.{door} in the configuration switches it on")))
}
