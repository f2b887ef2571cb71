//! Answers to clients: what every one of them carries, and the headers that take some writing (RFC 2326 §12). Sans-IO.

use std::fmt::Write as _;

use rtsp_types::{HeaderName, Request, Response, StatusCode, Version, headers};

use super::{
    agreement::{Position, Setup},
    status::status,
};
use crate::base::{Error, Kind, WallTime, id::SessionId};

/// An answer to a client.
pub(super) type Reply = Response<Vec<u8>>;

/// The methods that work, for `Public` (§12.28) and `Allow` (§12.4).
pub(super) const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What every answer repeats from its request.
#[derive(Debug, Default)]
pub(super) struct Echo {
    cseq: Option<String>,
    timestamp: Option<String>,
}

impl Echo {
    /// What the answers to this request repeat.
    pub(super) fn of(request: &Request<Vec<u8>>) -> Self {
        Self { cseq: text(request, &headers::CSEQ), timestamp: text(request, &headers::TIMESTAMP) }
    }

    /// Whether the request had a number; without one no answer finds it (§12.17).
    pub(super) fn is_numbered(&self) -> bool {
        self.cseq.is_some()
    }

    /// An answer with what every answer has.
    pub(super) fn reply(&self, status: StatusCode, session: Option<SessionId>) -> Reply {
        let mut reply = Response::builder(Version::V1_0, status).build(Vec::new());
        reply.insert_header(headers::SERVER, "campanile");
        if let Some(cseq) = &self.cseq {
            reply.insert_header(headers::CSEQ, cseq.as_str());
        }
        // §12.38.
        if let Some(timestamp) = &self.timestamp {
            reply.insert_header(headers::TIMESTAMP, timestamp.as_str());
        }
        if let Some(id) = session {
            reply.insert_header(headers::SESSION, id.to_string());
        }
        reply
    }

    /// The answer that tells of an error. `challenge` is what a client is asked for that should have shown who it is.
    pub(super) fn failure(&self, error: &Error, session: Option<SessionId>, challenge: String) -> Reply {
        let mut reply = self.reply(status(error.kind()), session);
        if error.kind() == Kind::Unauthenticated {
            // §12.44: who refuses for want of a credential says which kind it takes.
            reply.insert_header(headers::WWW_AUTHENTICATE, challenge);
        }
        if error.kind() == Kind::Unavailable {
            reply.insert_header(headers::RETRY_AFTER, "5");
        }
        reply
    }
}

/// An answer to bytes that are no request, before the connection closes.
pub(super) fn refusal(status: StatusCode) -> Reply {
    let mut reply = Response::builder(Version::V1_0, status).build(Vec::new());
    reply.insert_header(headers::SERVER, "campanile");
    reply.insert_header(headers::CONNECTION, "close");
    reply
}

/// The text of a header.
pub(super) fn text(request: &Request<Vec<u8>>, name: &HeaderName) -> Option<String> {
    request.header(name).map(|value| value.as_str().to_owned())
}

/// §12.33: where each track begins.
pub(super) fn rtp_info(setups: &[Setup], position: &Position) -> String {
    let mut info = String::new();
    for setup in setups {
        let Some(at) = position.tracks.iter().find(|at| at.track == setup.track) else { continue };
        let comma = if info.is_empty() { "" } else { "," };
        let (url, sequence, timestamp) = (&setup.url, at.sequence, at.timestamp);
        // Writing into memory does not fail.
        let _ = write!(info, "{comma}url={url};seq={sequence};rtptime={timestamp}");
    }
    info
}

/// The range that is played (§12.29, RT-07), in the unit it was asked in.
pub(super) fn range_played(asked: Option<&str>, position: &Position) -> String {
    let asked = asked.unwrap_or_default().trim();
    if asked.starts_with("clock=") {
        return format!("clock={}-", utc_time(position.wall));
    }
    if asked.replace(' ', "").starts_with("npt=now") {
        return "npt=now-".to_owned();
    }
    let millis = position.npt.millis();
    format!("npt={}.{:03}-", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// §3.7: `19961108T143720.250Z`.
fn utc_time(wall: WallTime) -> String {
    wall.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect()
}
