//! What a channel is to the room, and what can come of an attempt.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use super::Letter;
use crate::base::WallTime;

/// What can come of one attempt to deliver. Texts are for people who look after channels: they name the receiver and
/// hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// The receiver is away or busy, whatever it is sent: its letters wait, as long as it asks for or longer.
    Away {
        /// What it asked for (`Retry-After`).
        after: Option<Duration>,
        /// What is wrong.
        why: String,
    },
    /// It took this letter and failed over it. Tried again, but not as often: others wait behind it.
    Failed {
        /// What is wrong.
        why: String,
    },
    /// It will never take this letter.
    Refused {
        /// What is wrong.
        why: String,
    },
    /// It will never take any letter again.
    Gone {
        /// What is wrong.
        why: String,
    },
}

/// The kinds of channels, as they are called in the file, in the API and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelKind {
    /// CloudEvents, POSTed.
    Webhook,
    /// Prometheus' Alertmanager.
    Alertmanager,
    /// E-mail.
    Email,
    /// Published to an MQTT broker.
    Mqtt,
    /// Notifications of browsers.
    Push,
}

impl ChannelKind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Webhook, Self::Alertmanager, Self::Email, Self::Mqtt, Self::Push];

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::Email => "email",
            Self::Mqtt => "mqtt",
            Self::Push => "push",
        }
    }
}

/// An attempt that is under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A way out.
pub trait Channel: fmt::Debug + Send + Sync {
    /// What it is.
    fn kind(&self) -> ChannelKind;

    /// Who is told by it: a lane each, which waits for no other. Most channels have one receiver, without a name. It
    /// answers at once.
    fn recipients(&self) -> Vec<String> {
        vec![String::new()]
    }

    /// Delivers one letter. It may be dropped at any await; the room sees to it that it takes no longer than
    /// [`Channel::limit`].
    fn deliver<'a>(&'a self, letter: &'a Letter, now: WallTime) -> Delivering<'a>;

    /// How long one attempt may take, all in all.
    fn limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How often it wants to be told how things stand, all alerts that go on and that are for it.
    fn standing_every(&self) -> Option<Duration> {
        None
    }
}
