//! The proof of a permission. A value: it reads no clock and looks nothing up.

use std::{fmt, marker::PhantomData, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{Outsider, Permissions};
pub use crate::config::Action;
use crate::{base::PathName, config::UserName};

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
    /// [`Action::Playback`].
    Playback,
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
    /// A caller from elsewhere while everybody is let in, known by nothing else.
    Anonymous,
    /// A user.
    User(UserName),
    /// This server, for the reason given.
    House(&'static str),
}

impl Subject {
    /// The name for those it writes to and for the audit.
    pub fn name(&self) -> &str {
        match self {
            Self::Loopback => "local",
            Self::Anonymous => "guest",
            Self::User(name) => name.as_str(),
            Self::House(_) => "house",
        }
    }

    /// Whether it is one person, whom limits for each person hold for.
    pub const fn is_user(&self) -> bool {
        matches!(self, Self::User(_))
    }
}

/// What a grant holds for.
#[derive(Clone, Debug)]
pub enum Reach {
    /// The server as a whole, and every path.
    Server,
    /// One path.
    Path(PathName),
    /// The paths on which these permissions allow the action.
    Where(Action, Arc<Permissions>),
}

impl Reach {
    /// Whether it holds for something that belongs to `path`, or to none.
    pub fn covers(&self, path: Option<&PathName>) -> bool {
        match self {
            Self::Server => true,
            Self::Path(own) => path == Some(own),
            Self::Where(action, permissions) => path.is_some_and(|path| permissions.allow(*action, path)),
        }
    }
}

/// Proof that somebody may do `P`, on one path, on some, or on the server as a whole.
///
/// Its end is [`Grant::ended`]: expiry, revocation, narrowing, or a kick. Whoever serves on a grant watches it.
pub struct Grant<P> {
    proof: Proof,
    permission: PhantomData<fn() -> P>,
}

/// What a [`Grant`] holds for and its end, whatever it is for: for those who keep grants of several kinds together.
#[derive(Clone, Debug)]
pub struct Proof {
    inner: Arc<Inner>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    subject: Subject,
    reach: Reach,
    /// Somebody who is asked about again while this is kept.
    _holder: Option<Arc<Outsider>>,
}

impl Proof {
    fn new(subject: Subject, reach: Reach, ended: CancellationToken, holder: Option<Arc<Outsider>>) -> Self {
        Self { inner: Arc::new(Inner { subject, reach, _holder: holder }), ended }
    }

    /// What a part of this server shows itself: everything.
    pub fn house(reason: &'static str) -> Self {
        Self::new(Subject::House(reason), Reach::Server, CancellationToken::new(), None)
    }

    /// What it holds for.
    pub fn reach(&self) -> &Reach {
        &self.inner.reach
    }

    /// Fires when the permission ends.
    pub const fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl<P: Permission> Grant<P> {
    pub(super) fn new(subject: Subject, reach: Reach, ended: CancellationToken) -> Self {
        Self::held(subject, reach, ended, None)
    }

    /// The same, of somebody who is asked about again as long as it is kept.
    pub(super) fn held(
        subject: Subject,
        reach: Reach,
        ended: CancellationToken,
        holder: Option<Arc<Outsider>>,
    ) -> Self {
        Self { proof: Proof::new(subject, reach, ended, holder), permission: PhantomData }
    }

    /// What a part of this server grants itself: muxers, recorders and rules have no caller.
    pub fn house(reason: &'static str, path: PathName) -> Self {
        Self::new(Subject::House(reason), Reach::Path(path), CancellationToken::new())
    }

    /// On whose behalf.
    pub fn subject(&self) -> &Subject {
        &self.proof.inner.subject
    }

    /// What it holds for.
    pub fn reach(&self) -> &Reach {
        &self.proof.inner.reach
    }

    /// The one path this holds for, if it is one.
    pub fn path(&self) -> Option<&PathName> {
        match &self.proof.inner.reach {
            Reach::Path(path) => Some(path),
            Reach::Server | Reach::Where(..) => None,
        }
    }

    /// Fires when the permission ends.
    pub fn ended(&self) -> &CancellationToken {
        &self.proof.ended
    }

    /// What it holds for and its end.
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl<P> Clone for Grant<P> {
    fn clone(&self) -> Self {
        Self { proof: self.proof.clone(), permission: PhantomData }
    }
}

impl<P: Permission> fmt::Debug for Grant<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({} {:?} {:?})", P::ACTION.name(), self.proof.inner.subject, self.proof.inner.reach)
    }
}
