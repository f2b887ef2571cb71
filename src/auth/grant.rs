//! The proof of a permission. A value: it reads no clock and looks nothing up.

use std::{fmt, marker::PhantomData, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::base::PathName;

/// What a caller may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Watch a path on any door.
    View,
    /// Send a path's media, and say what happens there.
    Publish,
    /// Play back what was recorded.
    Playback,
    /// See alerts and what happens at cameras.
    Alerts,
    /// Take note of alerts, and silence them.
    Ack,
    /// See what sensors show.
    Sensors,
    /// See counters, sessions and metrics.
    Stats,
    /// Act on sessions.
    Control,
    /// Change the server.
    Admin,
}

impl Action {
    /// The word of tokens, configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Publish => "publish",
            Self::Playback => "playback",
            Self::Alerts => "alerts",
            Self::Ack => "ack",
            Self::Sensors => "sensors",
            Self::Stats => "stats",
            Self::Control => "control",
            Self::Admin => "admin",
        }
    }
}

/// An action as a type, so that a grant for one does not pass for another.
pub trait Permission: fmt::Debug + Send + Sync + 'static {
    /// The action this type stands for.
    const ACTION: Action;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Permission for $name {
            const ACTION: Action = Action::$name;
        }
    )*};
}

permissions! {
    /// [`Action::View`].
    View,
    /// [`Action::Publish`].
    Publish,
    /// [`Action::Alerts`].
    Alerts,
    /// [`Action::Ack`].
    Ack,
    /// [`Action::Sensors`].
    Sensors,
    /// [`Action::Stats`].
    Stats,
    /// [`Action::Control`].
    Control,
    /// [`Action::Admin`].
    Admin,
}

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A caller on this machine, known by nothing else.
    Loopback,
    /// A caller from elsewhere on a listener that was opened, known by nothing else.
    Anonymous,
    /// This server, for the reason given.
    House(&'static str),
}

/// Proof that somebody may do `P`, on one path or on the server as a whole.
///
/// Its end is [`Grant::ended`]: expiry, revocation, narrowing, or a kick. Whoever serves on a grant watches it.
pub struct Grant<P> {
    inner: Arc<Inner>,
    ended: CancellationToken,
    permission: PhantomData<fn() -> P>,
}

#[derive(Debug)]
struct Inner {
    subject: Subject,
    path: Option<PathName>,
}

impl<P: Permission> Grant<P> {
    pub(super) fn new(subject: Subject, path: Option<PathName>) -> Self {
        Self { inner: Arc::new(Inner { subject, path }), ended: CancellationToken::new(), permission: PhantomData }
    }

    /// What a part of this server grants itself: muxers, recorders and rules have no caller.
    pub fn house(reason: &'static str, path: PathName) -> Self {
        Self::new(Subject::House(reason), Some(path))
    }

    /// On whose behalf.
    pub fn subject(&self) -> &Subject {
        &self.inner.subject
    }

    /// The path this holds for; `None` is the server as a whole.
    pub fn path(&self) -> Option<&PathName> {
        self.inner.path.as_ref()
    }

    /// Fires when the permission ends.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl<P> Clone for Grant<P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ended: self.ended.clone(), permission: PhantomData }
    }
}

impl<P: Permission> fmt::Debug for Grant<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({} {:?} {:?})", P::ACTION.name(), self.inner.subject, self.inner.path)
    }
}
