//! `POST /api/v1/events`: something happened, says somebody. The answer comes after the commit.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        body,
        caller::Asking,
        front::Front,
        grant::OnServer,
        problem::{Problem, ProblemBody},
        refusals::NeedsCredential,
    },
    incoming::{Incoming, IncomingEvent},
    replays::KEY_MAX,
    switched_off,
};
use crate::{
    auth::Publish,
    base::{Error, Kind, Result},
    events::{Cursor, Receipt},
    stats::{EventDoor, Refusal},
};

/// The largest event.
const BODY_MAX: usize = 64 * 1024;
/// The sender's name for an event that it may send again (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Taken {
    /// Its id: what followers go on after.
    #[schema(value_type = String, example = "5d2b1c1e-42")]
    id: Cursor,
    /// It is on the disk. If not, followers have it all the same, and it is saved as soon as the disk is well.
    durable: bool,
}

/// Says that something happened.
///
/// Our own form, or a CloudEvent in structured JSON (`application/cloudevents+json`). An `Idempotency-Key`, or the
/// `source` and `id` of a CloudEvent, lets it be sent again without being taken twice.
#[utoipa::path(post, path = "/api/v1/events", tag = "events", operation_id = "post_event",
    params(("idempotency-key" = Option<String>, Header, description = "The sender's own name for this event, at most 256 bytes.")),
    request_body(content = IncomingEvent, content_type = "application/json"),
    responses(
        (status = 200, description = "It was taken before: the same answer as then.", body = Taken),
        (status = 201, description = "It is in the log, and on the disk.", body = Taken),
        (status = 202, description = "It is in the log, but not on the disk yet: the disk is slow, or fails.", body = Taken),
        (status = 400, description = "It is no event.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        (status = 404, description = "The door is switched off.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "It has more than 64 KiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "It is not JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It is of a type that this server alone says, or a CloudEvent of another version.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many of this address: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many wait for the disk: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn take(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    _: OnServer<Publish>,
    request: Request,
) -> std::result::Result<Response, Problem> {
    let (desk, doors) = (&front.desk, &front.rooms.event_doors);
    switched_off(desk.options.ingest, "ingest")?;
    let refused = |why: Refusal| doors.refused(EventDoor::Ingest, why);
    if !desk.rates.allow(caller.peer.ip(), front.rooms.clock.now()) {
        refused(Refusal::Flood);
        let message = "too many events of this address";
        return Err(Problem::of_http(StatusCode::TOO_MANY_REQUESTS, "too_many_events", message)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    let (parts, body) = request.into_parts();
    let read = read(&front, &parts.headers, body).await;
    let Incoming { draft, key } = read.inspect_err(|_| refused(Refusal::Protocol))?;
    let events = &front.rooms.events;
    let taken = || events.enqueue(draft).inspect_err(|_| refused(Refusal::Full));
    let gone = |_| Error::new(Kind::Cancelled, "event log: the server ends");
    let (receipt, again) = match key {
        Some(key) => {
            let (outcome, again) = desk.replays.once(&key, taken)?;
            (outcome.await.map_err(gone)?, again)
        }
        None => (taken()?.await.map_err(gone)?, false),
    };
    if !again {
        doors.delivered(EventDoor::Ingest, 1);
    }
    Ok(answer(receipt, again))
}

fn answer(receipt: Receipt, again: bool) -> Response {
    let Receipt { cursor, durable } = receipt;
    let status = match (again, durable) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::ACCEPTED,
    };
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, headers, axum::Json(Taken { id: cursor, durable })).into_response()
}

async fn read(front: &Front, headers: &HeaderMap, body: Body) -> std::result::Result<Incoming, Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // RFC 9110 §8.3: without a type the recipient may look for itself.
    let kind = said.map(|said| said.split(';').next().unwrap_or(said).trim().to_ascii_lowercase());
    if kind.is_some_and(|kind| kind != "application/json" && kind != "application/cloudevents+json") {
        let message = "an event is application/json or application/cloudevents+json";
        return Err(Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let given = key(headers)?;
    let body = body::whole(headers, body, BODY_MAX).await?;
    let mut incoming = Incoming::read(&body, front.rooms.clock.wall())?;
    incoming.key = given.or(incoming.key).filter(|key| key.len() <= 4 * KEY_MAX);
    Ok(incoming)
}

/// The header's key, which never meets those of CloudEvents.
fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    let unfit = || Error::new(Kind::InvalidArgument, "idempotency-key: expected 1 to 256 printable characters");
    key.map(|key| Some(format!("\0{key}"))).ok_or_else(|| unfit().with_code("invalid_key"))
}
