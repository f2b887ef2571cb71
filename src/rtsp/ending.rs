//! Why a connection or a session ended. A value.

use std::{fmt, io};

use super::framing::FramingError;

/// Why it ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client broke the connection, or something on the way to it did.
    Client(io::Error),
    /// The client closed the connection in peace.
    Closed,
    /// The connection was handed over to another one.
    HandedOver,
    /// The client sent what cannot be read: why, if it was not said in an answer.
    Unreadable(Option<FramingError>),
    /// Nothing was heard on the connection, or taken by it, for too long.
    Silent(&'static str),
    /// The session showed no sign of life for too long.
    TimedOut,
    /// The stream ended, or changed beyond what was described.
    Stream(String),
    /// The permission ended, or an operator ended the session.
    Revoked(&'static str),
    /// The server stops.
    Stopping,
}

impl End {
    /// Whether this is the end of a session too whose media travel by themselves (RFC 2326 §1.1, §12.37).
    pub(super) const fn ends_sessions(&self) -> bool {
        match self {
            Self::Client(_) | Self::Closed | Self::HandedOver | Self::Unreadable(_) | Self::Silent(_) => false,
            Self::TimedOut | Self::Stream(_) | Self::Revoked(_) | Self::Stopping => true,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "the connection broke: {error}"),
            Self::Closed => f.write_str("the client closed"),
            Self::HandedOver => f.write_str("the other half of a tunnel"),
            Self::Unreadable(None) => f.write_str("the client sent what cannot be read"),
            Self::Unreadable(Some(error)) => write!(f, "the client sent what cannot be read: {error}"),
            Self::Silent(why) | Self::Revoked(why) => f.write_str(why),
            Self::TimedOut => f.write_str("the session timed out"),
            Self::Stream(why) => write!(f, "the stream ended: {why}"),
            Self::Stopping => f.write_str("the server stops"),
        }
    }
}
