//! `GET /api/v1/events`: the newest facts, or those after one that is known, now or as soon as there are some.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use tokio::time::sleep;
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        problem::{Problem, ProblemBody},
    },
    Seat, Sees,
    asked::{Asked, FilterParams},
    scope as scope_of, switched_off,
};
use crate::{
    events::{Cursor, Delivery, Fact, Follower, From, Types},
    stats::EventDoor,
};

/// Where to go on, when there is no body to say so.
const CURSOR: HeaderName = HeaderName::from_static("campanile-cursor");

/// Facts, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EventList {
    /// The facts, the oldest first.
    events: Vec<EventBody>,
    /// What to send as `after` next.
    #[schema(example = "5d2b1c1e-42")]
    cursor: String,
    /// Facts are missing before these: they were too old, or `after` is of another log. How many at most, if known.
    gap: Option<GapBody>,
}

/// A fact, on every door alike.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(in crate::http) struct EventBody {
    /// Its place in the log.
    #[schema(example = "5d2b1c1e-42")]
    id: String,
    /// `alert`, `camera_event`, `audit` or `security`.
    #[serde(rename = "type")]
    kind: String,
    /// When it happened.
    #[schema(format = DateTime)]
    time: String,
    /// The camera.
    path: Option<String>,
    /// The sensor.
    sensor: Option<String>,
    /// `info`, `warning` or `critical`.
    severity: Option<String>,
    /// What happened; its shape goes with the type.
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// `false`: it was given out before it was on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

/// What is missing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gap)]
pub(in crate::http) struct GapBody {
    /// How many facts, at most; `null` if nobody knows.
    lost: Option<u64>,
}

/// What happened, now or as soon as it happens.
///
/// Without `after` the newest facts come at once. With `after` those that followed come, at once if there are some, else
/// within `wait` seconds.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", operation_id = "list_events",
    params(
        FilterParams,
        ("after" = Option<String>, Query, description = "Begin after this fact: `cursor` of the answer before, or the id of an event from any door."),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for the first one, 0 to 60.", minimum = 0, maximum = 60),
        ("limit" = Option<u64>, Query, description = "Facts at most, 1 to 1000; 100 if absent.", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "Facts.", body = EventList),
        (status = 204, description = "Nothing happened in that time.", headers(
            ("campanile-cursor" = String, description = "What to send as `after` next."),
        )),
        (status = 304, description = "Nothing happened since the answer with this `ETag`."),
        (status = 400, description = "The query makes no sense.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "This needs a credential, or a caller on the server's own machine.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The credential does not let do this; or `origin_not_allowed`: a page of another origin waits for nothing here unless `http.allowed_origins` lists it.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The door is switched off.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many of this address: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many wait: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn list(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sees(scope): Sees,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    switched_off(front.desk.options.long_poll, "long_poll")?;
    let asked = Asked::read(uri.query().unwrap_or_default())?;
    let seat = Seat::take(&front, EventDoor::LongPoll, &caller)?;
    let events = &front.rooms.events;
    let Some(after) = asked.after else {
        // Before the facts, so that what comes in between is told next time.
        let cursor = events.cursor();
        let tag = format!("\"{cursor}\"");
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return Ok((StatusCode::NOT_MODIFIED, tagged(&tag)).into_response());
        }
        let mut facts = events.recent(&scope, &asked.filter, asked.limit()).await;
        facts.retain(|fact| fact.cursor.offset <= cursor.offset);
        seat.delivered(facts.len());
        return Ok((tagged(&tag), body(&facts, cursor, None)).into_response());
    };
    let mut follower = events.follow(scope.within(Types::FACTS), asked.filter.clone(), From::After(after));
    let mut until = pin!(sleep(asked.wait));
    let answer = loop {
        let answer = gather(&mut follower, asked.limit()).await;
        if !answer.is_empty() || asked.wait.is_zero() {
            break answer;
        }
        if follower.is_over() {
            // With what is left; whoever is nobody any more, or has nothing left, learns why.
            follower.renew(scope_of(&front.rooms.gate, &caller)?.within(Types::FACTS));
        }
        tokio::select! {
            biased;
            () = front.ending.cancelled() => break answer,
            () = follower.changed() => {}
            () = &mut until => break answer,
        }
    };
    if answer.is_empty() {
        let back = front.ending.is_cancelled().then(|| seat.after_the_end());
        return Ok(nothing(follower.cursor(), back));
    }
    seat.delivered(answer.facts.len());
    if let Some(lost) = answer.gap {
        seat.missed(lost);
    }
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, body(&answer.facts, follower.cursor(), answer.gap)).into_response())
}

/// What one answer has.
#[derive(Debug, Default)]
pub(in crate::http) struct Answer {
    pub(in crate::http) facts: Vec<Arc<Fact>>,
    pub(in crate::http) gap: Option<Option<u64>>,
}

impl Answer {
    fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.gap.is_none()
    }
}

/// What there is now, up to `most` facts. A gap ends it: it stands before what follows.
pub(in crate::http) async fn gather(follower: &mut Follower, most: usize) -> Answer {
    let mut answer = Answer::default();
    while answer.facts.len() < most && answer.gap.is_none() {
        match follower.ready_at_most(most - answer.facts.len()).await {
            Some(Delivery::Facts(facts)) => answer.facts.extend(facts),
            Some(Delivery::Gap { lost }) if answer.facts.is_empty() => answer.gap = Some(lost),
            _ => break,
        }
    }
    answer
}

/// An answer that may be asked for again.
fn tagged(tag: &str) -> [(HeaderName, HeaderValue); 2] {
    // A cursor is made of digits and a dash.
    let tag = HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))]
}

/// `back` is when to come back, if not at once.
fn nothing(cursor: Cursor, back: Option<Duration>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(cursor) = HeaderValue::try_from(cursor.to_string()) {
        headers.insert(CURSOR, cursor);
    }
    if let Some(back) = back {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(back.as_secs().max(1)));
    }
    response
}

/// Put together of the pieces that every door has.
fn body(facts: &[Arc<Fact>], cursor: Cursor, gap: Option<Option<u64>>) -> Response {
    let size: usize = facts.iter().map(|fact| fact.body.len() + 1).sum();
    let mut text = Vec::with_capacity(size + 80);
    text.extend_from_slice(br#"{"events":["#);
    for (number, fact) in facts.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&fact.body);
    }
    text.extend_from_slice(format!(r#"],"cursor":"{cursor}","gap":"#).as_bytes());
    let gap = gap.map(|lost| GapBody { lost });
    text.extend_from_slice(&serde_json::to_vec(&gap).unwrap_or_else(|_| b"null".to_vec()));
    text.push(b'}');
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, Bytes::from(text)).into_response()
}
