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
use http::{HeaderValue, StatusCode, header};

pub(super) use self::{
    poll::{__path_list, gather, list},
    post::{__path_take, take},
    stream::{__path_events, __path_system_status, events, system_status},
};
use self::{rate::Rates, replays::Replays};
use super::{caller::Asking, front::Front, problem::Problem};
use crate::{
    auth::{Admin, Alerts, Caller, Gate, Sensors, Stats, Subject},
    base::{Error, Kind, Result},
    events::{Scope, spread::moment},
    stats::{Admitted, Crowd, EventDoor, EventDoors},
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
    _admitted: Admitted,
}

impl Seat {
    /// Lets a follower in. Held requests come and go, and are no user's: only streams are.
    ///
    /// # Errors
    /// 429: the user, or the address, has as many as it may; 503: the door has.
    fn take(front: &Front, door: EventDoor, caller: &Caller) -> std::result::Result<Self, Problem> {
        let doors = front.rooms.event_doors.clone();
        let subject = front.rooms.gate.subject(caller).filter(|who| who.is_user() && door != EventDoor::LongPoll);
        let user = subject.as_ref().map(Subject::name);
        let most = front.desk.options.max_followers as usize;
        let too_many = |of| {
            Problem::of_http(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", format!("too many streams of {of}"))
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
        };
        match doors.admit(door, most, user, caller.peer.ip()) {
            Ok(_admitted) => Ok(Self { doors, door, _admitted }),
            Err(Crowd::User) => Err(too_many("this user")),
            Err(Crowd::Address) => Err(too_many("this address")),
            Err(Crowd::Door) => Err(Error::new(Kind::ResourceExhausted, "too many follow events by this door")
                .with_code("too_many_followers")
                .with_hint("raise events.max_followers")
                .into()),
        }
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

/// A door that the configuration switched off.
pub(super) fn switched_off(open: bool, door: &str) -> Result<()> {
    if open {
        return Ok(());
    }
    Err(Error::new(Kind::NotFound, "this door is switched off")
        .with_code("door_switched_off")
        .with_hint(format!("events.{door} in the configuration switches it on")))
}
