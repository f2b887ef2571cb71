//! The error of every service: a kind that callers branch on, a sentence that says where, and the cause.
//!
//! Machines have small enums of their own; a service turns them into [`Error`] and adds the path, peer or track.
//! Kinds become HTTP and RTSP statuses in one table each (`http/`, `rtsp/`), nowhere else.

use std::{borrow::Cow, error, fmt};

/// What went wrong, as far as a caller may need to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller sent something that can never work.
    InvalidArgument,
    /// The thing named does not exist.
    NotFound,
    /// The thing to be made exists.
    AlreadyExists,
    /// It exists, but not in a state that allows this.
    FailedPrecondition,
    /// No credential, or one that is not valid.
    Unauthenticated,
    /// A valid credential that lacks the right.
    PermissionDenied,
    /// A limit was reached.
    ResourceExhausted,
    /// It does not work now and may work later.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// The caller or the process went away.
    Cancelled,
    /// It is valid, and this program does not do it.
    Unsupported,
    /// A fault of this program.
    Internal,
}

impl Kind {
    /// The stable word that stands in logs and in the API's `code` when nothing more precise is known.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::FailedPrecondition => "failed_precondition",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// An error with its kind, its stable code, one sentence, an optional hint and its cause.
///
/// Grammar of the message: lower case, no final stop, the failing noun first:
/// `path cam1: rtsp source 10.0.0.7:554: 401 to DESCRIBE`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    code: &'static str,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// The result of a service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, code: kind.code(), message: message.into(), hint: None, source: None }))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with a more precise stable code, `snake_case`.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// The same error, its message preceded by where it happened: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message).into();
        self
    }

    /// What callers branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable word for the API.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence, without its cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message and every cause below it, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.to_string();
        let mut cause = error::Error::source(self);
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.0.kind, self.chain())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_the_place_first_and_the_deepest_cause_last() {
        let io = std::io::Error::other("connection refused");
        let error = Error::new(Kind::Unavailable, "connect").caused_by(io).context("path cam1");
        assert_eq!(error.chain(), "path cam1: connect: connection refused");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(error.code(), "unavailable");
    }
}
