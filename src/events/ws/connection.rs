//! One connection as a task: the thin driver between a stream, the session machine and the follower.
//!
//! Nothing is held for a connection that is silent: what goes out is shared, and there is no task beside this one.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers,
    close::{CloseCode, Violation},
    door::{Arrival, Shared},
    encoding::{Encoding, Format},
    line::{Line, Stream},
    messages::ServerMessage,
    presence::Taken,
    session::{End, Session},
    wishes::Wishes,
};
use crate::{
    base::Clock,
    events::{Delivery, Filter, Follower, Form, From, spread::spread},
    stats::{EventDoor, Refusal},
};

/// A client that was let in or is told why not; it does nothing until it is run.
#[derive(Debug)]
pub struct Connection {
    clock: Clock,
    encoding: Encoding,
    state: Standing,
}

#[derive(Debug)]
enum Standing {
    Refused(Violation),
    Admitted(Box<(Arc<Shared>, Arrival, Taken)>),
}

impl Connection {
    pub(super) const fn refused(clock: Clock, encoding: Encoding, violation: Violation) -> Self {
        Self { clock, encoding, state: Standing::Refused(violation) }
    }

    pub(super) fn admitted(shared: Arc<Shared>, arrival: Arrival, taken: Taken) -> Self {
        let (clock, encoding) = (shared.clock, arrival.encoding);
        Self { clock, encoding, state: Standing::Admitted(Box::new((shared, arrival, taken))) }
    }

    /// Speaks on the stream until one side ends it. `early` is what came behind the handshake; when `stopping` fires the
    /// client is told to come back.
    pub async fn run(self, stream: Box<dyn Stream>, early: Bytes, stopping: CancellationToken) {
        let mut session = Session::new(self.encoding, self.clock.now());
        let line = Line::new(stream);
        match self.state {
            Standing::Refused(Violation { code, reason }) => {
                session.close(self.clock.now(), code, reason);
                refuse(line, session, self.clock).await;
            }
            Standing::Admitted(admitted) => {
                let (shared, arrival, taken) = *admitted;
                session.handle_bytes(self.clock.now(), &early);
                drop(early);
                serve(line, session, shared, arrival, taken, stopping).await;
            }
        }
    }
}

/// Says the one thing there is to say.
async fn refuse(mut line: Line, mut session: Session, clock: Clock) {
    while session.end().is_none() {
        let now = clock.now();
        while session.poll_request(now).is_some() {}
        let due = clock.instant(session.poll_deadline());
        tokio::select! {
            biased;
            () = poll_fn(|cx| line.poll(cx, &mut session, clock)) => {}
            () = sleep_until(due) => {}
        }
        session.handle_timeout(clock.now());
    }
}

async fn serve(
    mut line: Line,
    mut session: Session,
    shared: Arc<Shared>,
    arrival: Arrival,
    taken: Taken,
    stopping: CancellationToken,
) {
    let clock = shared.clock;
    let doors = shared.doors.clone();
    doors.opened(EventDoor::WebSocket);
    let _leave = Leave(|| doors.closed(EventDoor::WebSocket));
    let wishes = Wishes::of(arrival.preset);
    let from = arrival.after.map_or(From::Now, From::After);
    // The doors' own choices always make a filter.
    let filter = wishes.filter().unwrap_or_else(|_| Filter::everything());
    let mut follower = shared.events.follow(arrival.scope, filter, from);
    let seat = taken.seat.clone();
    let mut answers = Answers::new(shared, taken, arrival.rights, arrival.video, wishes, arrival.after);
    answers.until = arrival.until;
    answers.greet(&mut session, follower.cursor());

    let mut stop = pin!(stopping.cancelled());
    let mut told = false;
    let mut armed = session.poll_deadline();
    let mut timer = pin!(sleep_until(clock.instant(armed)));
    let mut streak = 0;
    loop {
        while let Some(message) = session.poll_request(clock.now()) {
            // In a place of its own, so that a connection that is silent does not carry room for it.
            Box::pin(answers.answer(&mut session, &mut follower, message)).await;
        }
        while session.wants_events() && line.is_flushed() {
            let Some(delivery) = follower.ready().await else { break };
            deliver(&mut session, delivery, &follower, &mut answers);
            streak += 1;
            // At once: then it is known whether the socket is blocked, and the next batch may be wanted.
            poll_fn(|cx| Poll::Ready(line.write(cx, &mut session, clock.now()))).await;
            if streak >= STREAK {
                break;
            }
        }
        session.handle_timeout(clock.now());
        if session.end().is_some() {
            break;
        }
        // To an earlier deadline the timer is moved; to a later one when it fires.
        let due = session.poll_deadline();
        if due < armed || timer.is_elapsed() {
            armed = due;
            timer.as_mut().reset(clock.instant(due));
        }
        tokio::select! {
            biased;
            () = &mut stop, if !told => {
                told = true;
                let reason = format!("come back within {} s", spread(doors.dismissed()).as_secs());
                session.close(clock.now(), CloseCode::GOING_AWAY, &reason);
            }
            // Before the socket, since that is what a connection wakes for; after a streak everything else comes first.
            () = follower.changed(), if streak < STREAK && session.wants_events() && line.is_flushed() => {}
            () = poll_fn(|cx| line.poll(cx, &mut session, clock)) => streak = 0,
            () = &mut timer => streak = 0,
            frame = poll_fn(|cx| seat.mailbox.poll_mail(cx)), if session.wants_events() => session.push(frame),
            () = std::future::ready(()), if streak >= STREAK => streak = 0,
        }
    }
    if let Some(refusal) = session.end().and_then(refusal) {
        doors.refused(EventDoor::WebSocket, refusal);
    }
}

/// Batches in a row, before what the client says is looked at.
const STREAK: u32 = 16;

fn deliver(session: &mut Session, delivery: Delivery, follower: &Follower, answers: &mut Answers) {
    let encoding = session.encoding();
    let form = form(encoding);
    match delivery {
        Delivery::Facts(facts) => {
            answers.delivered(facts.len());
            answers.after = facts.last().map(|fact| fact.cursor).or(answers.after);
            for fact in facts {
                session.push(fact.forms.form(form, || encoding.frame(&fact.body)).clone());
            }
        }
        Delivery::Values(values) => {
            answers.delivered(values.len());
            for value in values {
                session.push(value.forms.form(form, || encoding.frame(&value.body)).clone());
            }
        }
        Delivery::Gap { lost } => {
            answers.dropped(lost.unwrap_or(1));
            let (after, resumed_at) = (answers.after.map(|cursor| cursor.to_string()), follower.cursor().to_string());
            session.say(&ServerMessage::Gap { after, resumed_at, lost });
        }
        Delivery::Over => {
            let (code, reason) = answers.farewell();
            session.close(answers.now(), code, reason);
        }
    }
}

/// The form that is shared by all who have this encoding.
const fn form(encoding: Encoding) -> Form {
    match (encoding.format, encoding.deflate) {
        (Format::Json, false) => Form::Frame,
        (Format::Json, true) => Form::DeflatedFrame,
        (Format::MessagePack, false) => Form::PackedFrame,
        (Format::MessagePack, true) => Form::DeflatedPackedFrame,
    }
}

/// Why a client was sent away, if it was.
pub const fn refusal(end: End) -> Option<Refusal> {
    match end {
        End::Silent => Some(Refusal::Silent),
        End::Closed(CloseCode::TOO_SLOW) => Some(Refusal::TooSlow),
        End::Closed(CloseCode::POLICY) => Some(Refusal::Flood),
        End::Closed(CloseCode::PROTOCOL | CloseCode::INVALID_DATA | CloseCode::TOO_BIG) => Some(Refusal::Protocol),
        End::Closed(CloseCode::RIGHT_WITHDRAWN | CloseCode::TOKEN_EXPIRED) => Some(Refusal::Forbidden),
        _ => None,
    }
}

/// Runs its closure when it goes.
struct Leave<F: Fn()>(F);

impl<F: Fn()> Drop for Leave<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How large the task of an admitted connection is.
#[cfg(test)]
pub(super) fn task_size() -> usize {
    fn size_of_output<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }
    size_of_output(|(line, session, shared, arrival, taken, stopping)| {
        serve(line, session, shared, arrival, taken, stopping)
    })
}
