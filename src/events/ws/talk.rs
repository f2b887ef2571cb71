//! What of a connection has to do with events: its stream, its session, its place in the log. Whoever holds it can tell
//! what there is to tell: the connection's own task, or the [`super::herald`] while that task sleeps.

use std::task::{Context, Waker};

use super::{
    encoding::{Encoding, Format},
    line::Line,
    messages::ServerMessage,
    session::Session,
};
use crate::{
    base::Monotonic,
    events::{
        Delivery, Follower, Form,
        follower::{Glance, News},
        log::BATCH,
    },
    stats::{EventDoor, EventDoors},
};

/// One side of the conversation.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) line: Line,
    pub(super) session: Session,
    pub(super) follower: Follower,
    /// Wakes the connection's task.
    pub(super) waker: Waker,
    /// It is woken for something that only it can do.
    pub(super) called: bool,
}

/// Batches in a row, before what the client says is looked at.
pub(super) const STREAK: usize = 16;

impl Talk {
    pub(super) fn new(line: Line, session: Session, follower: Follower) -> Self {
        Self { line, session, follower, waker: Waker::noop().clone(), called: false }
    }

    /// Whether the next batch is wanted: all that came before is out.
    pub(super) fn wants_events(&self) -> bool {
        self.session.wants_events() && self.line.is_flushed()
    }

    /// Tells what there is, in the name of a task that sleeps; if that is not enough, it is woken.
    pub(super) fn tell(&mut self, news: News, doors: &EventDoors, now: Monotonic) {
        if !self.tell_all(news, doors, now) {
            self.called = true;
            self.waker.wake_by_ref();
        }
    }

    /// Whether everything was told that can be now.
    fn tell_all(&mut self, news: News, doors: &EventDoors, now: Monotonic) -> bool {
        if !self.wants_events() || !self.follower.minds(news) {
            // What it waits for is another thing, or this one is nothing to it.
            return true;
        }
        for _ in 0..STREAK {
            match self.follower.glance(BATCH) {
                Glance::Nothing => return true,
                Glance::Tell(delivery) => self.deliver(delivery, doors),
                Glance::Older { .. } => return false,
            }
            let Self { line, session, waker, .. } = self;
            line.write(&mut Context::from_waker(waker), session, now);
            if !self.wants_events() {
                // A deadline begins, or the connection ended.
                return false;
            }
        }
        false
    }

    /// Puts into the session what was taken from the log and the board.
    pub(super) fn deliver(&mut self, delivery: Delivery, doors: &EventDoors) {
        let Self { session, follower, .. } = self;
        let encoding = session.encoding();
        let form = form(encoding);
        match delivery {
            Delivery::Facts(facts) => {
                doors.delivered(EventDoor::WebSocket, facts.len() as u64);
                for fact in facts {
                    session.push(fact.forms.form(form, || encoding.frame(&fact.body)).clone());
                }
            }
            Delivery::Values(values) => {
                doors.delivered(EventDoor::WebSocket, values.len() as u64);
                for value in values {
                    session.push(value.forms.form(form, || encoding.frame(&value.body)).clone());
                }
            }
            Delivery::Gap { lost } => {
                doors.dropped(EventDoor::WebSocket, lost.unwrap_or(1));
                let (after, resumed_at) = (follower.told().map(|cursor| cursor.to_string()), follower.cursor());
                session.say(&ServerMessage::Gap { after, resumed_at: resumed_at.to_string(), lost });
            }
            // Said by whoever knows why.
            Delivery::Over => {}
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
