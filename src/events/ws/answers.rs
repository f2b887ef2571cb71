//! What becomes of a client's messages: who it is, what it may do, and what is said back.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    bucket::Bucket,
    close::CloseCode,
    commands::audit,
    door::{Host, Renewed, Rights, Shared, holds},
    messages::{Ack, ClientMessage, Command, ServerMessage, Subscribe, VideoRequest},
    presence::{EVERYBODY, Seat, Taken},
    session::Session,
    wishes::Wishes,
};
use crate::{
    base::{Error, Kind, Monotonic, Result, WallTime},
    events::{Cursor, Follower, alarms::of_deed, payload::AuditEvent},
};

/// Nobody waits longer for what he asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Words to others: at once, and by the second.
const WORDS_BURST: f32 = 10.0;
const WORDS_PER_SECOND: f32 = 1.0;
/// The longest of them.
const WORDS_MAX: usize = 2000;

/// One client's side of the conversation.
pub(super) struct Answers {
    shared: Arc<Shared>,
    taken: Taken,
    rights: Rights,
    host: Arc<dyn Host>,
    wishes: Wishes,
    words: Bucket,
    /// When its token ends, if it came with one.
    pub(super) until: Option<WallTime>,
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>, taken: Taken, rights: Rights, host: Arc<dyn Host>, wishes: Wishes) -> Self {
        let words = Bucket::new(WORDS_BURST, WORDS_PER_SECOND, shared.clock.now());
        Self { shared, taken, rights, host, wishes, words, until: None }
    }

    /// How a client is told that it may see nothing any more.
    pub(super) fn farewell(&self) -> (CloseCode, &'static str) {
        match self.until {
            Some(until) if self.shared.clock.wall() >= until => (CloseCode::TOKEN_EXPIRED, "the token ended"),
            _ => (CloseCode::RIGHT_WITHDRAWN, "the right to be here was withdrawn"),
        }
    }

    fn seat(&self) -> &Seat {
        &self.taken.seat
    }

    fn user(&self) -> &str {
        &self.seat().guest.user
    }

    fn now(&self) -> Monotonic {
        self.shared.clock.now()
    }

    /// The first two messages.
    pub(super) fn greet(&self, session: &mut Session, cursor: Cursor) {
        let able = [
            ("live_events", true),
            ("resume", true),
            ("video_stream", true),
            ("ack", self.shared.alarms.is_some() && holds(self.rights.ack.as_ref())),
            ("system_control", holds(self.rights.control.as_ref())),
            ("messages", holds(self.rights.control.as_ref())),
            ("broadcasts", holds(self.rights.admin.as_ref())),
        ];
        let commands = if holds(self.rights.control.as_ref()) {
            self.shared.commands.names().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        session.say(&ServerMessage::Connected {
            connection_id: self.seat().id.to_string(),
            server_capabilities: able.iter().filter(|(_, can)| *can).map(|(name, _)| (*name).to_owned()).collect(),
            commands,
            cursor: cursor.to_string(),
        });
        self.status(session, "connected");
    }

    fn status(&self, session: &mut Session, status: &str) {
        session.say(&ServerMessage::ConnectionStatus {
            status: status.to_owned(),
            connection_id: self.seat().id.to_string(),
            user: self.user().to_owned(),
            users_online: self.shared.presence.count(),
        });
    }

    /// Does what a message asks for, and says what came of it.
    pub(super) async fn answer(&mut self, session: &mut Session, follower: &mut Follower, message: ClientMessage) {
        let id = match &message {
            ClientMessage::Command(Command { id, .. }) => id.clone(),
            _ => None,
        };
        let done = match message {
            ClientMessage::Ping {} => {
                session.say(&ServerMessage::Pong { time: self.shared.clock.wall().to_string() });
                Ok(())
            }
            ClientMessage::Subscribe(asked) => self.subscribe(session, follower, asked),
            ClientMessage::Unsubscribe { event_types } => {
                let rest = self.wishes.without(&event_types);
                self.want(session, follower, rest, "unsubscribed")
            }
            ClientMessage::Resume { after } => self.resume(session, follower, &after),
            ClientMessage::Ack(ack) => self.acknowledge(session, ack).await,
            ClientMessage::Command(command) => self.command(session, command).await,
            ClientMessage::RequestVideoStream(request) => self.video(session, &request).await,
            ClientMessage::Message { to, text } => self.message(session, &to, &text),
            ClientMessage::Token { token } => self.renew(session, follower, &token).await,
        };
        if let Err(error) = done {
            tracing::debug!(connection = %self.seat().id, "websocket: {}", error.chain());
            session.say(&ServerMessage::error(error.code(), error.message(), id.as_deref()));
        }
    }

    /// Goes on with another token of the same caller, which may allow more or less; values are told again. With one that is
    /// not right everything stays as it is.
    async fn renew(&mut self, session: &mut Session, follower: &mut Follower, token: &str) -> Result<()> {
        let host = self.host.clone();
        let Renewed { until, scope, rights, host } = in_time(host.renew(token)).await?;
        follower.renew(scope);
        (self.until, self.rights, self.host) = (until, rights, host);
        self.status(session, "renewed");
        Ok(())
    }

    fn subscribe(&mut self, session: &mut Session, follower: &mut Follower, asked: Subscribe) -> Result<()> {
        let thumbnails = asked.thumbnails.is_some();
        self.want(session, follower, Wishes::subscribed(asked), "subscribed")?;
        if thumbnails {
            let message = "thumbnails: this server makes no pictures of alerts; the events themselves come";
            return Err(Error::new(Kind::Unsupported, message).with_code("thumbnails_unavailable"));
        }
        Ok(())
    }

    fn want(&mut self, session: &mut Session, follower: &mut Follower, wishes: Wishes, status: &str) -> Result<()> {
        follower.refine(wishes.filter()?);
        self.seat().follows.store(wishes.presence, Ordering::Relaxed);
        self.wishes = wishes;
        self.status(session, status);
        Ok(())
    }

    fn resume(&self, session: &mut Session, follower: &mut Follower, after: &str) -> Result<()> {
        let cursor = after.parse::<Cursor>().map_err(|()| {
            Error::new(Kind::InvalidArgument, "after: that is no `id` of a fact").with_code("invalid_cursor")
        })?;
        follower.resume(cursor);
        self.status(session, "resumed");
        Ok(())
    }

    async fn acknowledge(&self, session: &mut Session, ack: Ack) -> Result<()> {
        permit(holds(self.rights.ack.as_ref()), "ack")?;
        let Some(alarms) = &self.shared.alarms else {
            let message = "there are no alarms here to take note of";
            return Err(Error::new(Kind::Unsupported, message).with_code("ack_not_supported"));
        };
        let result = json!({"fingerprint": ack.fingerprint});
        let done = in_time(alarms.acknowledge(self.user(), ack)).await.map(|()| result);
        say_result(session, "ack", &done, None);
        Ok(())
    }

    async fn command(&self, session: &mut Session, command: Command) -> Result<()> {
        permit(holds(self.rights.control.as_ref()), "control")?;
        let action = self.shared.commands.find(&command.command)?;
        let done = in_time(action.run(self.user(), &command.params)).await;
        // Who did it is a fact of its own; that it cannot be written is no reason not to say what was done.
        let draft = audit(self.user(), &command, &done, self.shared.clock);
        if let Err(error) = self.shared.events.enqueue(draft) {
            tracing::warn!("a command is not in the audit: {}", error.chain());
        }
        say_result(session, &command.command, &done, command.id);
        Ok(())
    }

    /// Who spoke to everybody is a fact.
    fn write_down(&self, text: &str, now: WallTime) {
        let (action, target) = ("message.broadcast".to_owned(), EVERYBODY.to_owned());
        let deed =
            AuditEvent { action, by: self.user().to_owned(), target, note: Some(text.to_owned()), command: None };
        if let Err(error) = self.shared.events.enqueue(of_deed(&deed, None, now)) {
            tracing::warn!("a broadcast is not in the audit: {}", error.chain());
        }
    }

    async fn video(&self, session: &mut Session, request: &VideoRequest) -> Result<()> {
        let (path, urls) = in_time(self.host.urls(request)).await?;
        let stream_url = urls.first().map(|first| first.url.clone()).unwrap_or_default();
        session.say(&ServerMessage::StreamUrl { path, stream_url, urls });
        Ok(())
    }

    fn message(&mut self, session: &mut Session, to: &str, text: &str) -> Result<()> {
        let everybody = to == EVERYBODY;
        if everybody {
            permit(holds(self.rights.admin.as_ref()), "admin")?;
        } else {
            permit(holds(self.rights.control.as_ref()), "control")?;
        }
        if text.is_empty() || text.len() > WORDS_MAX {
            let message = format!("text: it has 1 to {WORDS_MAX} bytes");
            return Err(Error::new(Kind::InvalidArgument, message).with_code("invalid_message"));
        }
        let now = self.now();
        if !self.words.allows(now, 1.0) || everybody && !self.shared.presence.may_broadcast(now) {
            let error = Error::new(Kind::ResourceExhausted, "too many messages to others in a short time");
            return Err(error.with_code("too_many_messages"));
        }
        let (from, text) = (self.user().to_owned(), text.to_owned());
        let time = self.shared.clock.wall();
        if everybody {
            self.write_down(&text, time);
        }
        let message = if everybody {
            ServerMessage::Broadcast { from, text, time: time.to_string() }
        } else {
            ServerMessage::DirectMessage { from, text, time: time.to_string() }
        };
        match self.shared.presence.post(to, |encoding| encoding.frame_of(&message)) {
            (0, 0) => Err(Error::new(Kind::NotFound, "nobody of that name is connected").with_code("user_offline")),
            (0, _) => Err(Error::new(Kind::ResourceExhausted, "their mailbox is full").with_code("mailbox_full")),
            (delivered, _) => {
                say_result(session, "message", &Ok(json!({"delivered": delivered})), None);
                Ok(())
            }
        }
    }
}

fn permit(may: bool, right: &str) -> Result<()> {
    if may {
        return Ok(());
    }
    Err(Error::new(Kind::PermissionDenied, format!("this needs the right `{right}`")).with_code("permission_denied"))
}

async fn in_time<T>(done: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(Kind::DeadlineExceeded, "it took too long"));
    timeout(PATIENCE, done).await.unwrap_or_else(late)
}

fn say_result(session: &mut Session, command: &str, done: &Result<Value>, id: Option<String>) {
    session.say(&ServerMessage::CommandResult {
        command: command.to_owned(),
        success: done.is_ok(),
        result: done.as_ref().ok().cloned().unwrap_or_default(),
        error: done.as_ref().err().map(|error| error.code().to_owned()),
        id,
    });
}
