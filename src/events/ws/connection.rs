//! One connection as a task: the thin driver between a stream, the session machine and the follower.
//!
//! Nothing is held for a connection that is silent: what goes out is shared, and there is no task beside this one. While
//! it sleeps the [`super::herald`] tells what happens in its place.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers,
    close::{CloseCode, Violation},
    door::{Arrival, Shared, WebSockets},
    encoding::Encoding,
    line::{Line, Stream},
    login::{self, Login, Waiting},
    presence::Taken,
    session::{End, Session},
    talk::{STREAK, Talk},
    wishes::Wishes,
};
use crate::{
    base::Clock,
    events::{Delivery, Filter, From, spread::spread},
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
    Admitted(Box<Admission>),
    /// It has to say who it is first.
    Unknown(Box<(WebSockets, Arc<dyn Login>, Waiting)>),
}

/// What a client that was let in has.
type Admission = (Arc<Shared>, Arrival, Taken);

impl Connection {
    pub(super) const fn refused(clock: Clock, encoding: Encoding, violation: Violation) -> Self {
        Self { clock, encoding, state: Standing::Refused(violation) }
    }

    pub(super) fn admitted(shared: Arc<Shared>, arrival: Arrival, taken: Taken) -> Self {
        let (clock, encoding) = (shared.clock, arrival.encoding);
        Self { clock, encoding, state: Standing::Admitted(Box::new((shared, arrival, taken))) }
    }

    pub(super) fn unknown(door: WebSockets, encoding: Encoding, login: Arc<dyn Login>, place: Waiting) -> Self {
        let clock = door.clock();
        Self { clock, encoding, state: Standing::Unknown(Box::new((door, login, place))) }
    }

    /// Speaks on the stream until one side ends it. `early` is what came behind the handshake; when `stopping` fires the
    /// client is told to come back.
    pub async fn run(self, stream: Box<dyn Stream>, early: Bytes, stopping: CancellationToken) {
        let mut session = Session::new(self.encoding, self.clock.now());
        let mut line = Line::new(stream);
        if !matches!(self.state, Standing::Refused(_)) {
            session.handle_bytes(self.clock.now(), &early);
        }
        drop(early);
        let state = match self.state {
            Standing::Unknown(unknown) => {
                let (door, login, place) = *unknown;
                let heard = login::hear(&mut line, &mut session, &*login, self.clock, &stopping).await;
                drop(place);
                match heard {
                    Ok(arrival) => door.admit(arrival).state,
                    Err(Some(violation)) => {
                        door.turned_away();
                        Standing::Refused(violation)
                    }
                    Err(None) => return refuse(line, session, self.clock).await,
                }
            }
            known => known,
        };
        match state {
            Standing::Refused(Violation { code, reason }) => {
                session.close(self.clock.now(), code, reason);
                refuse(line, session, self.clock).await;
            }
            Standing::Admitted(admitted) => {
                let (shared, arrival, taken) = *admitted;
                serve(line, session, shared, arrival, taken, stopping).await;
            }
            // Whoever is admitted or refused is known.
            Standing::Unknown(_) => {}
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
    line: Line,
    mut session: Session,
    shared: Arc<Shared>,
    arrival: Arrival,
    taken: Taken,
    stopping: CancellationToken,
) {
    let clock = shared.clock;
    let doors = shared.doors.clone();
    let wishes = Wishes::of(arrival.preset);
    let from = arrival.after.map_or(From::Now, From::After);
    // The doors' own choices always make a filter.
    let filter = wishes.filter().unwrap_or_else(|_| Filter::everything());
    let follower = shared.events.follow(arrival.scope, filter, from);
    let (seat, berth) = (taken.seat.clone(), shared.herald.moor());
    let mut answers = Answers::new(shared, taken, arrival.rights, arrival.host, wishes);
    answers.until = arrival.until;
    answers.greet(&mut session, follower.cursor());

    let mut stop = pin!(stopping.cancelled());
    let mut told = false;
    let mut armed = session.poll_deadline();
    let mut timer = pin!(sleep_until(clock.instant(armed)));
    let mut talk = Box::new(Talk::new(line, session, follower));
    loop {
        while let Some(message) = talk.session.poll_request(clock.now()) {
            // In a place of its own, so that a connection that is silent does not carry room for it.
            Box::pin(answers.answer(&mut talk.session, &mut talk.follower, message)).await;
        }
        for _ in 0..STREAK {
            if !talk.wants_events() {
                break;
            }
            match talk.follower.ready().await {
                None => break,
                Some(Delivery::Over) => {
                    let (code, reason) = answers.farewell();
                    talk.session.close(clock.now(), code, reason);
                }
                Some(delivery) => talk.deliver(delivery, &doors),
            }
            // At once: then it is known whether the socket is blocked, and the next batch may be wanted.
            let Talk { line, session, .. } = &mut *talk;
            poll_fn(|cx| Poll::Ready(line.write(cx, session, clock.now()))).await;
        }
        talk.session.handle_timeout(clock.now());
        if talk.session.end().is_some() {
            break;
        }
        // To an earlier deadline the timer is moved; to a later one when it fires.
        let due = talk.session.poll_deadline();
        if due < armed || timer.is_elapsed() {
            armed = due;
            timer.as_mut().reset(clock.instant(due));
        }
        let mut here = Some(talk);
        let woken = poll_fn(|cx| {
            // Gone only if telling it something failed.
            let Some(mut talk) = here.take().or_else(|| berth.fetch()) else { return Poll::Ready(None) };
            let Talk { line, session, follower, waker, called } = &mut *talk;
            let why = if !told && stop.as_mut().poll(cx).is_ready() {
                Why::Stop
            } else if mem::take(called)
                || line.poll(cx, session, clock).is_ready()
                || timer.as_mut().poll(cx).is_ready()
            {
                Why::Look
            } else if session.wants_events()
                && let Poll::Ready(frame) = seat.mailbox.poll_mail(cx)
            {
                Why::Mail(frame)
            } else if follower.poll_over(cx).is_ready() {
                Why::Look
            } else {
                waker.clone_from(cx.waker());
                match berth.leave(talk) {
                    None => return Poll::Pending,
                    Some(back) => return Poll::Ready(Some((back, Why::Look))),
                }
            };
            Poll::Ready(Some((talk, why)))
        });
        let Some((back, why)) = woken.await else { return };
        talk = back;
        match why {
            Why::Stop => {
                told = true;
                let reason = format!("come back within {} s", spread(doors.dismissed()).as_secs());
                talk.session.close(clock.now(), CloseCode::GOING_AWAY, &reason);
            }
            Why::Mail(frame) => talk.session.push(frame),
            Why::Look => {}
        }
    }
    if let Some(refusal) = talk.session.end().and_then(refusal) {
        doors.refused(EventDoor::WebSocket, refusal);
    }
}

/// Why a connection woke.
enum Why {
    /// The server ends.
    Stop,
    /// Others have something for it.
    Mail(Bytes),
    /// The stream, the clock, the log or a right.
    Look,
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
