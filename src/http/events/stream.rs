//! `/stream/events` and `/stream/system-status`: server-sent events. A stream holds a follower and nothing else; what
//! it sends are the shared records of [`super::sent`].

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        assets::accepts,
        caller::Asking,
        front::Front,
        problem::{Problem, ProblemBody},
    },
    Seat, Sees,
    asked::{Asked, FilterParams},
    packed::Gzip,
    scope as scope_of, sent, switched_off,
};
use crate::{
    auth::{Caller, Gate},
    base::{Clock, Kind},
    events::{Cursor, Delivery, EventType, Filter, Follower, Forms, From, Scope},
    stats::EventDoor,
};

/// Events as they happen, as server-sent events.
///
/// The event's name is its type, its data the envelope; facts have an id. `heartbeat` comes when nothing else did,
/// `gap` when facts are missing. Before the end of a stream `retry` says when to come back.
#[utoipa::path(get, path = "/stream/events", tag = "events", operation_id = "stream_events",
    params(
        FilterParams,
        ("after" = Option<String>, Query, description = "Begin after this fact; with what comes next if absent."),
        ("last-event-id" = Option<String>, Header, description = "The same, as browsers say it when they come back; it counts more."),
    ),
    responses(
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The query makes no sense.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "This needs a credential, or a caller on the server's own machine.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The credential does not let do this; or `origin_not_allowed`: a page of another origin follows nothing here unless `http.allowed_origins` lists it.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The door is switched off.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams of this user, or of this address: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many follow: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn events(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sees(scope): Sees,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    switched_off(front.desk.options.server_sent, "server_sent")?;
    let asked = Asked::read(uri.query().unwrap_or_default())?;
    let from = match headers.get("last-event-id") {
        // What is no id of ours is of another log; to refuse it would keep the browser out for ever.
        Some(last) => match last.to_str().ok().and_then(|last| last.parse::<Cursor>().ok()) {
            Some(cursor) => From::After(cursor),
            None => From::Elsewhere,
        },
        None => asked.after.map_or(From::Now, From::After),
    };
    open(&front, &caller, &headers, scope, asked.filter, from)
}

/// How the server is, as server-sent events: `system_status`, now and with every change.
#[utoipa::path(get, path = "/stream/system-status", tag = "events", operation_id = "stream_system_status", responses(
    (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
    (status = 401, description = "This needs a credential, or a caller on the server's own machine.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, description = "The credential does not let do this; or `origin_not_allowed`: a page of another origin follows nothing here unless `http.allowed_origins` lists it.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "The door is switched off.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many streams of this user, or of this address: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "Too many follow: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn system_status(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sees(scope): Sees,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switched_off(front.desk.options.server_sent, "server_sent")?;
    let filter = Filter::everything().event_types([EventType::SystemStatus.name()])?;
    open(&front, &caller, &headers, scope, filter, From::Now)
}

fn open(
    front: &Front,
    caller: &Caller,
    asked: &HeaderMap,
    scope: Scope,
    filter: Filter,
    from: From,
) -> Result<Response, Problem> {
    let seat = Seat::take(front, EventDoor::ServerSent, caller)?;
    let follower = front.rooms.events.follow(scope, filter, from);
    // Where a client goes on that is gone before its first fact.
    let first = match from {
        From::After(cursor) => cursor,
        From::Now | From::Elsewhere => follower.cursor(),
    };
    let accepted = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = accepted.is_some_and(|accepted| accepts(accepted, "gzip")).then(Gzip::default);
    let packed = gzip.is_some();
    let mut stream = Stream {
        ready: gzip.iter().map(Gzip::header).collect(),
        gzip,
        told: first,
        follower,
        seat,
        heartbeat: front.desk.options.heartbeat,
        ending: front.ending.clone(),
        clock: front.rooms.clock,
        gate: front.rooms.gate.clone(),
        caller: caller.clone(),
        over: false,
    };
    let retry = sent::retry(stream.seat.after_a_tear());
    [sent::padding(), retry, sent::place(first)].iter().for_each(|record| stream.say(record));
    let body = Body::from_stream(unfold(stream, |mut stream| async move {
        let record = stream.next().await?;
        Some((Ok::<_, Infallible>(record), stream))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    let mut response = (headers, body).into_response();
    if packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}

/// One stream.
struct Stream {
    follower: Follower,
    seat: Seat,
    /// For a client that takes it.
    gzip: Option<Gzip>,
    /// What goes out next.
    ready: VecDeque<Bytes>,
    /// The place that the client knows.
    told: Cursor,
    heartbeat: Duration,
    ending: CancellationToken,
    clock: Clock,
    /// Who follows, and who knows what that may: to say why it ended.
    gate: Gate,
    caller: Caller,
    over: bool,
}

impl Stream {
    /// What this client alone is told.
    fn say(&mut self, record: &Bytes) {
        self.ready.push_back(match &mut self.gzip {
            Some(gzip) => gzip.stored(record),
            None => record.clone(),
        });
    }

    /// What all are told, in the form that was made for all.
    fn tell(&mut self, forms: &Forms, record: &Bytes) {
        self.ready.push_back(match &mut self.gzip {
            Some(gzip) => {
                gzip.note(record);
                sent::deflated(forms, record).clone()
            }
            None => record.clone(),
        });
    }

    /// Nothing follows what is ready.
    fn end(&mut self) {
        self.over = true;
        self.ready.extend(self.gzip.as_ref().map(Gzip::trailer));
    }

    /// The next record; nothing when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(record);
            }
            if self.over {
                return None;
            }
            let delivery = tokio::select! {
                biased;
                () = self.ending.cancelled() => {
                    // Many are told at once: each comes back at a time of its own.
                    let retry = sent::retry(self.seat.after_the_end());
                    self.say(&retry);
                    self.end();
                    continue;
                }
                delivery = tokio::time::timeout(self.heartbeat, self.follower.next()) => delivery,
            };
            match delivery {
                Ok(Delivery::Facts(facts)) => {
                    self.seat.delivered(facts.len());
                    self.told = facts.last().map_or(self.told, |fact| fact.cursor);
                    facts.iter().for_each(|fact| self.tell(&fact.forms, sent::fact(fact)));
                }
                Ok(Delivery::Values(values)) => {
                    self.seat.delivered(values.len());
                    values.iter().for_each(|value| self.tell(&value.forms, sent::value(value)));
                }
                Ok(Delivery::Gap { lost }) => {
                    self.seat.missed(lost);
                    let (after, now) = (self.told, self.follower.cursor());
                    let gap = sent::gap(after, now, lost);
                    self.say(&sent::notice("gap", &gap));
                    self.say(&sent::place(now));
                    self.told = now;
                }
                Ok(Delivery::Over) => {
                    let (code, message) = match scope_of(&self.gate, &self.caller).map_err(|error| error.kind()) {
                        Err(Kind::Unauthenticated) => ("unauthenticated", "the token or the login ended"),
                        _ => ("permission_denied", "the right to see anything here ended"),
                    };
                    let error = json!({"type": "error", "code": code, "message": message});
                    self.say(&sent::notice("error", &error));
                    self.end();
                }
                Err(_elapsed) => {
                    // What was passed over counts too: a client that wants little does not fall behind the log.
                    let place = self.follower.cursor();
                    if place != self.told {
                        self.told = place;
                        self.say(&sent::place(place));
                    }
                    let time = self.clock.wall().to_string();
                    self.say(&sent::notice("heartbeat", &sent::heartbeat(&time)));
                }
            }
        }
    }
}
