//! Why a camera delivers nothing, in words that name the likely cause and what helps.
//!
//! The codes are stable, and `docs/cameras.md` lists them. Nothing here holds credentials: URLs come without them, and
//! what a camera answers is shown only as far as its status.

use std::{fmt, io, time::Duration};

use url::Url;

use super::{guard::Forbidden, inquiry::Challenge};
use crate::{
    base::{Error, Kind},
    hub::Outlook,
};

/// How far the conversation had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect,
    Secure,
    Describe,
    Setup,
    Play,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Connect => "the connection",
            Self::Secure => "the TLS handshake",
            Self::Describe => "DESCRIBE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
        })
    }
}

/// Why a run ended, or did not begin.
#[derive(Debug)]
pub(super) enum Failure {
    /// The host's name means nothing.
    Name(io::Error),
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable(io::Error),
    /// A camera that was added over the API may not stand there.
    NotAllowed(Forbidden),
    Timeout(Step, Duration),
    /// The camera hung up.
    Closed(Step),
    /// 401: what it asks for, and whether it was given anything.
    Unauthorized {
        challenges: Vec<Challenge>,
        answered: bool,
    },
    /// 403.
    Forbidden,
    /// 404 and its kin.
    NotFound(u16),
    /// 453, 503: no place left.
    Busy(u16),
    /// 461, for the transport that was allowed.
    Transport(&'static str),
    /// It sends us elsewhere.
    Redirect(Option<Url>),
    TooManyRedirects,
    Certificate {
        reason: String,
        fingerprint: Option<String>,
    },
    Tls(String),
    /// It announces nothing that can be received.
    NoTracks(String),
    /// Connected, and nothing comes.
    Silent(Duration),
    /// Packets come, and nothing that a viewer could start with.
    NoStart(Duration),
    /// The camera ended the stream.
    Ended,
    /// Something else than a camera listens there, and what it speaks if that is known.
    Stranger(Option<&'static str>),
    /// The answer to DESCRIBE announces a body of so many bytes.
    TooLong(u64),
    /// What comes cannot be taken apart into messages and packets.
    Garbled(String),
    /// A track whose packets are refused, all of them: the sender became another one.
    Astray(String),
    /// Another answer than the protocol has.
    Status(Step, u16),
    /// The protocol was broken.
    Protocol(Step, String),
}

/// What helps where a guard says no.
const NOT_ALLOWED_HINT: &str = "put it into the configuration file, or its network into `http.allowed_sources`";

impl Failure {
    /// As others see it.
    pub(super) fn error(&self, url: &Url) -> Error {
        let place = format!("rtsp source {}", place(url));
        let (kind, code) = self.kind();
        let mut error = Error::new(kind, format!("{place}: {self}")).with_code(code);
        if let Some(hint) = self.hint(url) {
            error = error.with_hint(hint);
        }
        match self {
            Self::Name(cause) | Self::Unreachable(cause) => {
                error.caused_by(io::Error::new(cause.kind(), cause.to_string()))
            }
            _ => error,
        }
    }

    /// What callers branch on, and the word that stays.
    pub(super) const fn kind(&self) -> (Kind, &'static str) {
        match self {
            Self::Name(_) => (Kind::Unavailable, "source_dns"),
            Self::Refused => (Kind::Unavailable, "source_refused"),
            Self::Unreachable(_) => (Kind::Unavailable, "source_unreachable"),
            Self::NotAllowed(_) => (Kind::PermissionDenied, "source_not_allowed"),
            Self::Timeout(..) => (Kind::DeadlineExceeded, "source_timeout"),
            Self::Closed(_) | Self::Ended => (Kind::Unavailable, "source_closed"),
            Self::Unauthorized { .. } | Self::Forbidden => (Kind::FailedPrecondition, "source_unauthorized"),
            Self::NotFound(_) => (Kind::NotFound, "source_not_found"),
            Self::Busy(_) => (Kind::ResourceExhausted, "source_busy"),
            Self::Transport(_) => (Kind::FailedPrecondition, "source_transport"),
            Self::Redirect(_) | Self::TooManyRedirects => (Kind::FailedPrecondition, "source_redirect"),
            Self::Certificate { .. } | Self::Tls(_) => (Kind::FailedPrecondition, "source_tls"),
            Self::NoTracks(_) => (Kind::Unsupported, "source_codec"),
            Self::Silent(_) => (Kind::Unavailable, "source_silent"),
            Self::NoStart(_) => (Kind::Unavailable, "source_no_picture"),
            Self::Garbled(_)
            | Self::Astray(_)
            | Self::Status(..)
            | Self::Stranger(_)
            | Self::TooLong(_)
            | Self::Protocol(..) => (Kind::Unavailable, "source_protocol"),
        }
    }

    /// Whether the next call may go better by itself. A camera without a place left may have one as soon as our own last
    /// session has ended.
    pub(super) const fn outlook(&self) -> Outlook {
        match self {
            Self::Name(_)
            | Self::Refused
            | Self::Unreachable(_)
            | Self::NotAllowed(_)
            | Self::Unauthorized { .. }
            | Self::Forbidden
            | Self::NotFound(_)
            | Self::Transport(_)
            | Self::Redirect(_)
            | Self::TooManyRedirects
            | Self::Certificate { .. }
            | Self::Tls(_)
            | Self::NoTracks(_)
            | Self::Stranger(_) => Outlook::Refusal,
            Self::Timeout(..)
            | Self::Closed(_)
            | Self::Busy(_)
            | Self::Silent(_)
            | Self::NoStart(_)
            | Self::Ended
            | Self::TooLong(_)
            | Self::Garbled(_)
            | Self::Astray(_)
            | Self::Status(..)
            | Self::Protocol(..) => Outlook::Uncertain,
        }
    }

    /// How long to wait at least before the camera is called again. Cameras lock a user out after a few wrong logins,
    /// and with it everybody else who watches from this machine.
    pub(super) const fn least_wait(&self) -> Duration {
        match self {
            Self::Unauthorized { answered: true, .. } => Duration::from_secs(60),
            _ => Duration::ZERO,
        }
    }

    fn hint(&self, url: &Url) -> Option<String> {
        let port = url.port().unwrap_or_else(|| if url.scheme() == "rtsps" { 322 } else { 554 });
        Some(match self {
            Self::Name(_) => "is the camera's name spelled right? Its IP address works without a name server".into(),
            Self::Refused => {
                format!("the host is there, and nothing listens on port {port}: is RTSP switched on, and on this port?")
            }
            Self::Unreachable(_) => "is the camera switched on and on this network?".into(),
            Self::NotAllowed(Forbidden::Itself) => "name the camera, not this server".into(),
            Self::NotAllowed(_) => NOT_ALLOWED_HINT.into(),
            Self::Timeout(Step::Resolve, _) => {
                "the name server does not answer; the camera's IP address works without".into()
            }
            Self::Timeout(Step::Connect, _) => {
                "is the camera switched on and on this network? A firewall drops packets so, too".into()
            }
            Self::Timeout(Step::Secure, _) => {
                format!("does the camera speak TLS on port {port}? `rtsp://` goes without")
            }
            Self::Timeout(..) => "the camera accepts connections and does not answer; restarting it often helps".into(),
            Self::Unauthorized { challenges, .. }
                if !challenges.is_empty() && !challenges.iter().any(Challenge::is_known) =>
            {
                "the camera asks for a login that is not supported here; allow Digest or Basic in its settings".into()
            }
            Self::Unauthorized { answered: false, .. } => "set `username` and `password` of the path".into(),
            Self::Unauthorized { answered: true, .. } => {
                "user or password is wrong; many cameras have users of their own for RTSP or ONVIF".into()
            }
            Self::Forbidden => "this user may not watch this stream".into(),
            Self::NotFound(_) => "the path part of the URL is wrong; `campanile probe` tries the usual ones".into(),
            Self::Busy(_) => "the camera serves no more viewers: close others, or raise its limit".into(),
            Self::Transport("tcp") => "the camera does not send over TCP: set `transport: udp`, or `auto`".into(),
            Self::Transport(_) => "set `transport: tcp`, or `auto`".into(),
            Self::Certificate { fingerprint: Some(fingerprint), .. } => format!(
                "if this is the camera's own certificate, trust it by `tls: {{ fingerprint: \"{fingerprint}\" }}`"
            ),
            Self::Certificate { fingerprint: None, .. } => {
                "trust the camera's certificate by `tls: { fingerprint: … }`, or any by `tls: { insecure: true }`"
                    .into()
            }
            Self::Tls(_) => format!("does the camera speak TLS on port {port}? `rtsp://` goes without"),
            Self::NoTracks(_) => {
                "is the path part of the URL right, and this stream switched on in the camera, as H.264 or H.265?"
                    .into()
            }
            Self::Closed(_) | Self::Ended => {
                "cameras hang up when they serve too many viewers, or while they restart".into()
            }
            Self::Stranger(Some("TLS")) => "the port expects TLS: write `rtsps://` instead of `rtsp://`".into(),
            Self::Stranger(Some("HTTP")) => {
                format!("port {port} is the camera's web page, or another machine's{}", elsewhere(port))
            }
            Self::Stranger(_) => {
                format!("is port {port} the one of RTSP, and the host the camera?{}", elsewhere(port))
            }
            Self::Status(_, 500..) => "the fault is in the camera; restarting it often helps".into(),
            Self::Status(..) | Self::TooLong(_) | Self::Garbled(_) | Self::Astray(_) | Self::Protocol(..) => {
                "`campanile probe` shows more; newer firmware may help".into()
            }
            Self::Silent(_) => "the camera answers and sends nothing; over UDP a firewall may be the cause".into(),
            Self::NoStart(_) => {
                "the camera sends no key frames: set its key frame interval to 2 s, and switch `smart codec` off".into()
            }
            _ => return None,
        })
    }

    /// A failed connection, by what the system says.
    pub(super) fn of_io(error: io::Error, step: Step) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Unreachable(error),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed(step),
            _ => Self::Unreachable(error),
        }
    }

    /// An answer other than success.
    pub(super) const fn of_status(step: Step, status: u16) -> Self {
        match status {
            // RFC 2326 §7.1.1.
            401 => Self::Unauthorized { challenges: Vec::new(), answered: false },
            403 => Self::Forbidden,
            404 | 410 | 454 => Self::NotFound(status),
            453 | 503 => Self::Busy(status),
            301..=308 => Self::Redirect(None),
            _ => Self::Status(step, status),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |span: &Duration| span.as_secs_f64();
        match self {
            Self::Name(_) => f.write_str("the host name cannot be resolved"),
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable(_) => f.write_str("the host cannot be reached"),
            Self::NotAllowed(forbidden) => {
                write!(f, "a camera that is added over the API may not be there: {forbidden}")
            }
            Self::Timeout(step, span) => write!(f, "no answer to {step} within {} s", seconds(span)),
            Self::Closed(step) => write!(f, "the camera hung up during {step}"),
            Self::Unauthorized { challenges, answered } => {
                f.write_str(if *answered { "401: the login is refused" } else { "401: a login is required" })?;
                for (i, challenge) in challenges.iter().enumerate() {
                    write!(f, "{}{challenge}", if i == 0 { " (" } else { ", " })?;
                }
                f.write_str(if challenges.is_empty() { "" } else { ")" })
            }
            Self::Forbidden => f.write_str("403: this user may not watch"),
            Self::NotFound(status) => write!(f, "{status}: there is no such stream"),
            Self::Busy(status) => write!(f, "{status}: the camera serves no more viewers"),
            Self::Transport(transport) => write!(f, "461: the camera does not send over {transport}"),
            Self::Redirect(_) => f.write_str("the camera sends us elsewhere and does not say where"),
            Self::TooManyRedirects => f.write_str("the camera sends us round in circles"),
            Self::Certificate { reason, .. } => write!(f, "the camera's certificate is not trusted: {reason}"),
            Self::Tls(reason) => write!(f, "the TLS handshake failed: {reason}"),
            Self::NoTracks(what) => write!(f, "nothing that can be received: {what}"),
            Self::Silent(span) => write!(f, "silent for {} s", seconds(span)),
            Self::NoStart(span) => write!(f, "no picture to start with in {} s", seconds(span)),
            Self::Ended => f.write_str("the camera ended the stream"),
            Self::Stranger(Some(spoken)) => write!(f, "what listens there speaks {spoken}, not RTSP"),
            Self::Stranger(None) => f.write_str("what listens there does not speak RTSP"),
            Self::TooLong(bytes) => write!(f, "the answer to DESCRIBE announces {bytes} bytes"),
            Self::Garbled(what) => write!(f, "the stream cannot be read: {what}"),
            Self::Astray(what) => write!(f, "the packets of a track are not what was announced: {what}"),
            Self::Status(step, status) => write!(f, "{status} to {step}"),
            Self::Protocol(step, what) => write!(f, "the answer to {step} cannot be used: {what}"),
        }
    }
}

/// Where RTSP is to be looked for by those who look elsewhere.
fn elsewhere(port: u16) -> &'static str {
    if port == 554 { "" } else { " (RTSP is mostly on 554)" }
}

/// Host and port, as far as the URL says.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The first line of a library's message, bounded: the rest is a dump of packets.
pub(super) fn first_line(error: &impl fmt::Display) -> String {
    const MOST: usize = 160;
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    // The state of retina's parser is of use to nobody else.
    let line = line.split("; expecting ").next().unwrap_or(line);
    let line = match line.split_once(" while expecting ") {
        Some((what, state)) => match state.rsplit_once(": ") {
            Some((_, why)) => format!("{what}: {}", why.trim_matches('"')),
            None => what.to_owned(),
        },
        None => line.to_owned(),
    };
    line.chars().filter(|c| !c.is_control()).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("rtsp://10.0.0.7:8554/stream1").unwrap()
    }

    #[test]
    fn a_failure_says_where_and_what_helps() {
        let error = Failure::Unauthorized { challenges: vec![Challenge::new("Digest", Some("MD5"))], answered: false }
            .error(&url());
        assert_eq!(error.message(), "rtsp source 10.0.0.7:8554: 401: a login is required (Digest MD5)");
        assert_eq!((error.code(), error.kind()), ("source_unauthorized", Kind::FailedPrecondition));
        assert_eq!(error.hint(), Some("set `username` and `password` of the path"));
        let error = Failure::Timeout(Step::Describe, Duration::from_secs(10)).error(&url());
        assert_eq!(error.message(), "rtsp source 10.0.0.7:8554: no answer to DESCRIBE within 10 s");
        let unknown = Failure::Unauthorized { challenges: vec![Challenge::new("NTLM", None)], answered: true };
        assert!(unknown.hint(&url()).unwrap().contains("not supported"));
    }

    #[test]
    fn answers_are_told_apart_by_their_status() {
        let code = |status| Failure::of_status(Step::Describe, status).kind().1;
        let table = [
            (401, "source_unauthorized"),
            (403, "source_unauthorized"),
            (404, "source_not_found"),
            (453, "source_busy"),
            (302, "source_redirect"),
            (500, "source_protocol"),
        ];
        for (status, expected) in table {
            assert_eq!(code(status), expected, "{status}");
        }
    }

    #[test]
    fn a_long_message_of_a_library_is_cut_to_its_first_line() {
        assert_eq!(first_line(&"bad thing\n\nconn: 127.0.0.1"), "bad thing");
        assert_eq!(first_line(&"x".repeat(1000)).len(), 160);
        let state = "corrupt RTP header while expecting seq=Some(Seq { next: 7 }): \"too short\"";
        assert_eq!(first_line(&state), "corrupt RTP header: too short");
    }
}
