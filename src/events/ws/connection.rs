//! One connection as a task: the thin driver between a stream, the session machine and the follower.
//!
//! Nothing is held for a connection that is silent: what comes in is read into a place on the stack, what goes out is
//! shared, and there is no task beside this one.

use std::{
    future::poll_fn,
    io::IoSlice,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers,
    close::{CloseCode, Violation},
    door::{Arrival, Shared},
    encoding::{Encoding, Format},
    messages::ServerMessage,
    presence::Taken,
    session::{End, Session},
    wishes::Wishes,
};
use crate::{
    base::{Clock, Monotonic},
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

/// A stream that was upgraded.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

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
        let line = Line { stream, flushed: true, shut: false };
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
        while session.wants_events() && line.flushed {
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
            () = follower.changed(), if streak < STREAK && session.wants_events() && line.flushed => {}
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
            session.close(answers.now(), CloseCode::RIGHT_WITHDRAWN, "the right to be here was withdrawn");
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
const fn refusal(end: End) -> Option<Refusal> {
    match end {
        End::Silent => Some(Refusal::Silent),
        End::Closed(CloseCode::TOO_SLOW) => Some(Refusal::TooSlow),
        End::Closed(CloseCode::POLICY) => Some(Refusal::Flood),
        End::Closed(CloseCode::PROTOCOL | CloseCode::INVALID_DATA | CloseCode::TOO_BIG) => Some(Refusal::Protocol),
        End::Closed(CloseCode::RIGHT_WITHDRAWN | CloseCode::TOKEN_EXPIRED) => Some(Refusal::Forbidden),
        _ => None,
    }
}

/// The stream.
struct Line {
    stream: Box<dyn Stream>,
    /// What was written is not held back by TLS.
    flushed: bool,
    shut: bool,
}

/// Frames that one call writes.
const SLICES: usize = 32;
/// Bytes that one call reads.
const READ: usize = 4096;

impl Line {
    /// Writes what waits, then reads what there is; ready if either moved something, or the socket just got blocked.
    fn poll(&mut self, cx: &mut Context<'_>, session: &mut Session, clock: Clock) -> Poll<()> {
        let now = clock.now();
        let wrote = self.write(cx, session, now);
        if session.wants_shutdown() && self.flushed && !self.shut {
            self.shut = Pin::new(&mut self.stream).poll_shutdown(cx).is_ready();
        }
        if session.wants_bytes() && self.read(cx, session, now) {
            return Poll::Ready(());
        }
        if wrote || session.end().is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn write(&mut self, cx: &mut Context<'_>, session: &mut Session, now: Monotonic) -> bool {
        let mut moved = false;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = session.slices(&mut slices);
            if filled == 0 {
                break;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]) {
                Poll::Ready(Ok(count @ 1..)) => {
                    session.handle_written(now, count);
                    (moved, self.flushed) = (true, false);
                }
                Poll::Ready(_) => {
                    session.handle_end_of_stream();
                    return true;
                }
                Poll::Pending => return session.handle_blocked(now) || moved,
            }
        }
        if !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    session.handle_written(now, 0);
                    (moved, self.flushed) = (true, true);
                }
                Poll::Ready(Err(_)) => {
                    session.handle_end_of_stream();
                    return true;
                }
                Poll::Pending => return session.handle_blocked(now) || moved,
            }
        }
        moved
    }

    fn read(&mut self, cx: &mut Context<'_>, session: &mut Session, now: Monotonic) -> bool {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => session.handle_bytes(now, buffer.filled()),
            Poll::Ready(_) => session.handle_end_of_stream(),
            Poll::Pending => return false,
        }
        true
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
