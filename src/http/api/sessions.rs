//! `/api/v1/sessions`: who watches what, and the way to end it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_graphql::SimpleObject;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        front::Front,
        grant::{Named, OnServer, Somewhere},
        graphql::scalars::{DateTime, Long},
        problem::Problem,
        refusals::{BadRequest, NeedsCredential, NoneThere},
    },
    listing::{Listing, PageOf},
    momentary,
};
use crate::{
    auth::{Control, Grant, Stats},
    base::{Error, Kind, id::SessionId},
    stats,
};

/// Somebody who watches.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Session {
    /// Its name, which cannot be guessed.
    #[schema(example = "5d2b1c1e7b0a4f0e9d520c1f4f6f1a2b")]
    id: String,
    /// `rtsp`, `hls` or `webrtc`.
    #[schema(example = "rtsp")]
    protocol: &'static str,
    /// How its media travel, in the protocol's words.
    #[schema(example = "tcp")]
    transport: &'static str,
    /// What it watches.
    path: String,
    /// Which of the two sizes it is sent now.
    rendition: &'static str,
    /// Where it comes from.
    #[schema(example = "10.0.0.9:50000")]
    peer: String,
    /// What it calls itself.
    user_agent: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "since", into = "DateTime", owned))]
    since: String,
    /// Bytes sent to it.
    #[graphql(skip, derived(name = "bytes_sent", into = "Long", owned))]
    bytes_sent: u64,
    /// RTP packets, or HTTP answers with media, sent to it.
    #[graphql(skip, derived(name = "packets_sent", into = "Long", owned))]
    packets_sent: u64,
    /// Units it missed because it was slow.
    #[graphql(skip, derived(name = "units_dropped", into = "Long", owned))]
    units_dropped: u64,
    /// Packets it reports as lost.
    #[graphql(skip, derived(name = "packets_lost", into = "Long", owned))]
    packets_lost: u64,
    /// Lost packets that were sent again.
    #[graphql(skip, derived(name = "packets_repaired", into = "Long", owned))]
    packets_repaired: u64,
    /// How often it was moved from one rendition to the other because of its path.
    #[graphql(skip, derived(name = "rendition_switches", into = "Long", owned))]
    rendition_switches: u64,
    /// The way there and back in milliseconds, where the protocol tells.
    round_trip_ms: Option<f64>,
    /// The jitter of its packets in milliseconds, where it reports that.
    jitter_ms: Option<f64>,
    /// The part of the packets lost since its last report but one, from 0 to 1.
    loss: Option<f64>,
    /// Packets it never got because nothing carries them: too large for UDP, or for a frame.
    #[graphql(skip, derived(name = "packets_refused", into = "Long", owned))]
    packets_refused: u64,
    /// Reports on reception that came from it.
    #[graphql(skip, derived(name = "receiver_reports", into = "Long", owned))]
    receiver_reports: u64,
}

/// Everybody who watches what the caller may see counters of.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", operation_id = "list_sessions", params(PageOf), responses(
    (status = 200, description = "A page of sessions.", body = Listing<Session>),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<Stats>,
    page: PageOf,
) -> Response {
    let (entries, next) = page.cut(visible(&front, &grant), |entry| entry.id.to_string());
    momentary(&Listing { items: entries.iter().map(|entry| describe(entry)).collect(), next })
}

/// The sessions on paths that a grant holds for.
pub(in crate::http) fn visible(front: &Front, grant: &Grant<Stats>) -> Vec<Arc<stats::Session>> {
    let mut all = front.rooms.sessions.all();
    all.retain(|entry| grant.reach().covers(Some(&entry.details.path)));
    all
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions", operation_id = "end_session",
    params(("id" = String, Path, description = "The session's id.", pattern = "^[0-9a-f]{32}$")),
    responses(
        (status = 204, description = "It ends."),
        NeedsCredential,
        NoneThere,
    )
)]
pub(super) async fn kick(
    State(front): State<Arc<Front>>,
    _: OnServer<Control>,
    Named(id): Named,
) -> Result<Response, Problem> {
    if SessionId::parse(&id).is_some_and(|id| front.rooms.sessions.kick(id)) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Error::new(Kind::NotFound, "there is no session of this id").with_code("session_not_found").into())
}

/// Somebody who watches, as it is now.
pub(in crate::http) fn describe(entry: &stats::Session) -> Session {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let details = &entry.details;
    Session {
        id: entry.id.to_string(),
        protocol: details.protocol.name(),
        transport: entry.transport(),
        path: details.path.to_string(),
        rendition: entry.reception.rendition().name(),
        // A proxy tells the address of its client, and mostly no port.
        peer: match details.peer.port() {
            0 => details.peer.ip().to_string(),
            _ => details.peer.to_string(),
        },
        user_agent: details.user_agent.clone(),
        since: details.since.to_string(),
        bytes_sent: count(&entry.bytes_sent),
        packets_sent: count(&entry.packets_sent),
        units_dropped: count(&entry.units_dropped),
        packets_lost: count(&entry.packets_lost),
        packets_repaired: entry.reception.packets_repaired(),
        rendition_switches: entry.reception.moves(),
        round_trip_ms: entry.reception.round_trip().map(|span| span.as_secs_f64() * 1000.0),
        jitter_ms: entry.reception.jitter().map(|span| span.as_secs_f64() * 1000.0),
        loss: entry.reception.loss(),
        packets_refused: count(&entry.packets_refused),
        receiver_reports: count(&entry.receiver_reports),
    }
}
