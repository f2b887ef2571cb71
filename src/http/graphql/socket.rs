//! `/graphql` over a WebSocket: the thin driver between a stream, the machines of RFC 6455 ([`Session`]) and of
//! `graphql-transport-ws` ([`Protocol`]), and the operations.
//!
//! As at the other doors a browser is told by close code what it may not; only a foreign page, a server that ends and what
//! is no handshake are refused by status. As it can set no header either, a client says who it is by `connection_init`;
//! until then it waits where the other doors of events let strangers wait. A connection ends with what its caller may do.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use axum::{extract::Request, response::Response};
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderValue, header};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        front::Front,
        problem::Problem,
        upgrade::Upgrade,
        ws::{met, shake_hands},
    },
    answer::Answer,
    operations::{Came, Operations},
    protocol::{AckPayload, NAME, OPERATIONS, Protocol, Said, ServerMessage, closing},
    schema::Asker,
    until_nothing,
};
use crate::{
    auth::{Caller, Identity, Malformed, Subject},
    base::{Error, Kind, Monotonic},
    events::{
        spread::spread,
        ws::{
            Line,
            close::{CloseCode, Violation},
            encoding::Encoding,
            handshake,
            inbound::Incoming,
            login::{self, PROOF, Waiting},
            refusal,
            session::Session,
        },
    },
    stats::{Admitted, EventDoor, Refusal},
};

/// Answers the handshake.
///
/// # Errors
/// It is none, or the server ends.
pub(super) fn open(front: Arc<Front>, caller: Caller, request: &Request) -> Result<Response, Problem> {
    let agreed = shake_hands(&front, request, false)?;
    let speaks = handshake::offers(request.headers(), NAME);
    let place = if speaks {
        Place::of(&front, &caller)
    } else {
        front.rooms.event_doors.refused(EventDoor::GraphQl, Refusal::Protocol);
        Err(closing::SUBPROTOCOL)
    };
    let mut response = Upgrade::answer(HeaderValue::from_static("websocket"), move |stream, early, stopping| {
        async move {
            let now = front.rooms.clock.now();
            let mut socket = Socket {
                session: Session::new(Encoding::default(), now),
                protocol: Protocol::new(now),
                operations: Operations::default(),
                place: None,
                login: None,
                over: None,
                why: None,
                front,
                caller,
            };
            match place {
                Ok(place) => socket.place = Some(place),
                Err(violation) => socket.close(violation),
            }
            socket.session.handle_bytes(now, &early);
            drop(early);
            socket.run(Line::new(stream), stopping).await;
        }
        .boxed()
    });
    let headers = response.headers_mut();
    headers.extend(agreed.headers);
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if speaks {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(NAME));
    }
    Ok(response)
}

/// What keeps count of a client: at the door, or among those who did not say who they are.
enum Place {
    Seat { _admitted: Admitted },
    Porch { _waiting: Waiting },
}

impl Place {
    fn of(front: &Front, caller: &Caller) -> Result<Self, Violation> {
        let (rooms, address) = (&front.rooms, caller.peer.ip());
        let subject = rooms.gate.subject(caller);
        if subject.is_none() && caller.shows_nothing() {
            return match front.graphql.porch.take(address) {
                Some(_waiting) => Ok(Self::Porch { _waiting }),
                None => {
                    rooms.event_doors.refused(EventDoor::GraphQl, Refusal::Limit);
                    Err(login::CROWDED)
                }
            };
        }
        let most = front.graphql.options.max_sockets as usize;
        let user = subject.as_ref().filter(|subject| subject.is_user()).map(Subject::name);
        let _admitted = rooms.event_doors.admit(EventDoor::GraphQl, most, user, address)?;
        Ok(Self::Seat { _admitted })
    }
}

struct Socket {
    front: Arc<Front>,
    caller: Caller,
    session: Session,
    protocol: Protocol,
    operations: Operations,
    place: Option<Place>,
    /// Who showed a credential; nobody, if that took too long.
    login: Option<BoxFuture<'static, Option<Result<Caller, Error>>>>,
    /// Comes when the caller may do nothing here any more.
    over: Option<BoxFuture<'static, ()>>,
    /// Why it was sent away, where the code alone does not say.
    why: Option<Refusal>,
}

impl Socket {
    fn now(&self) -> Monotonic {
        self.front.rooms.clock.now()
    }

    async fn run(mut self, mut line: Line, stopping: CancellationToken) {
        let clock = self.front.rooms.clock;
        let mut stop = pin!(stopping.cancelled());
        let mut told = false;
        let mut armed = self.deadline();
        let mut timer = pin!(sleep_until(clock.instant(armed)));
        loop {
            while let Some(message) = self.session.poll_message(clock.now()) {
                self.hear(&message);
            }
            let now = clock.now();
            if let Some(violation) = self.protocol.handle_timeout(now).filter(|_| self.session.is_open()) {
                self.why = Some(Refusal::Silent);
                self.close(violation);
            }
            self.session.handle_timeout(now);
            if self.session.end().is_some() {
                break;
            }
            let due = self.deadline();
            if due != armed || timer.is_elapsed() {
                armed = due;
                timer.as_mut().reset(clock.instant(due));
            }
            let Self { session, operations, login, over, .. } = &mut self;
            let room = session.wants_events() && line.is_flushed();
            tokio::select! {
                biased;
                () = &mut stop, if !told => {
                    told = true;
                    let within = spread(self.front.rooms.event_doors.dismissed()).as_secs();
                    self.session.close(clock.now(), CloseCode::GOING_AWAY, &format!("come back within {within} s"));
                }
                () = &mut timer => {}
                caller = wait(login) => self.welcome(caller),
                () = wait(over) => self.watch_rights(closing::OVER),
                // Before what goes out: what the client says may end it.
                () = poll_fn(|cx| line.poll(cx, session, clock)) => {}
                came = operations.next(), if room => {
                    self.tell(&came);
                    // At once: then it is known whether the socket is blocked, and whether the next one is wanted.
                    poll_fn(|cx| Poll::Ready(line.write(cx, &mut self.session, clock.now()))).await;
                }
            }
        }
        if let Some(refusal) = self.why.or_else(|| self.session.end().and_then(refusal)) {
            self.front.rooms.event_doors.refused(EventDoor::GraphQl, refusal);
        }
    }

    fn deadline(&self) -> Monotonic {
        let due = self.session.poll_deadline();
        self.protocol.poll_deadline().filter(|_| self.session.is_open()).map_or(due, |init| init.min(due))
    }

    fn close(&mut self, Violation { code, reason }: Violation) {
        let now = self.now();
        self.session.close(now, code, reason);
    }

    fn hear(&mut self, message: &Incoming) {
        let said = match message {
            Incoming::Text(text) => self.protocol.handle_text(text),
            // "The WebSocket sub-protocol … all messages are JSON text".
            _ => Said::Broke(closing::INVALID),
        };
        match said {
            Said::Nothing => {}
            Said::Init(Ok(None)) => self.acknowledge(),
            // Whoever showed what is wrong before does not come in by something else.
            Said::Init(Ok(Some(_))) if matches!(self.caller.identity, Identity::Refused) => {
                self.close(closing::FORBIDDEN);
            }
            Said::Init(Ok(Some(shown))) => {
                let (front, caller) = (self.front.clone(), self.caller.clone());
                let met = async move { timeout(PROOF, met(&front, &caller, &shown)).await.ok() };
                self.login = Some(met.boxed());
            }
            Said::Init(Err(Malformed)) => self.close(closing::FORBIDDEN),
            Said::Ping(payload) => self.session.say(&ServerMessage::Pong { payload }),
            Said::Begin { id, asked } => {
                let graphql = self.front.graphql.clone();
                match asked.and_then(|asked| asked.admit(graphql.options.allowed())) {
                    Ok(admitted) => {
                        let asker = Asker { front: self.front.clone(), caller: self.caller.clone() };
                        self.operations.begin(&graphql, id, admitted, asker);
                    }
                    Err(error) => {
                        self.protocol.handle_ended(&id);
                        self.refuse(&id, &error);
                    }
                }
            }
            Said::TooMany(id) => {
                let message = format!("a connection has at most {OPERATIONS} operations at once");
                self.refuse(&id, &Error::new(Kind::ResourceExhausted, message).with_code("too_many_operations"));
            }
            Said::End(id) => self.operations.end(&id),
            Said::Broke(violation) => {
                self.why = Some(Refusal::Protocol);
                self.close(violation);
                self.operations = Operations::default();
            }
        }
    }

    /// It is known whose credential `connection_init` showed.
    fn welcome(&mut self, caller: Option<Result<Caller, Error>>) {
        let gate = &self.front.rooms.gate;
        match caller {
            None => self.close(closing::UNPROVED),
            Some(Err(_later)) => self.close(closing::LATER),
            Some(Ok(caller)) if gate.subject(&caller).is_none() => self.close(closing::FORBIDDEN),
            Some(Ok(caller)) => {
                // One client has one place.
                self.place = None;
                match Place::of(&self.front, &caller) {
                    Ok(place) => self.place = Some(place),
                    Err(violation) => return self.close(violation),
                }
                self.caller = caller;
                self.acknowledge();
            }
        }
    }

    /// Closes now if the caller may do nothing here, and otherwise when what it may do is another: it may be less.
    fn watch_rights(&mut self, nothing: Violation) {
        match until_nothing(&self.front.rooms.gate, &self.caller) {
            Ok(over) => self.over = Some(over.boxed()),
            Err(_) => self.close(nothing),
        }
    }

    fn acknowledge(&mut self) {
        self.watch_rights(closing::FORBIDDEN);
        if self.over.is_none() {
            return;
        }
        self.protocol.handle_acknowledged();
        let cursor = self.front.rooms.events.cursor().to_string();
        self.session.say(&ServerMessage::ConnectionAck { payload: AckPayload { cursor } });
    }

    fn refuse(&mut self, id: &str, error: &Error) {
        self.session.say(&ServerMessage::Error { id, payload: &Answer::refused(error).errors });
    }

    fn tell(&mut self, came: &Came) {
        match came {
            Came::Next { id, answer, event } => {
                if *event && answer.is_whole() {
                    self.front.rooms.event_doors.delivered(EventDoor::GraphQl, 1);
                }
                self.session.say(&ServerMessage::Next { id, payload: answer });
            }
            Came::Refused { id, answer } => {
                self.protocol.handle_ended(id);
                self.session.say(&ServerMessage::Error { id, payload: &answer.errors });
            }
            Came::Complete { id } => {
                self.protocol.handle_ended(id);
                self.session.say(&ServerMessage::Complete { id });
            }
        }
    }
}

/// Waits for what is awaited, if anything is, and forgets it.
async fn wait<T>(awaited: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = awaited else { return pending().await };
    let outcome = future.await;
    *awaited = None;
    outcome
}
