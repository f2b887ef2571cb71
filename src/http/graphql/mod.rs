//! `/graphql`: queries and mutations over HTTP, and with subscriptions over a WebSocket.
//! GraphQL (September 2025), GraphQL over HTTP (the working draft), `graphql-transport-ws`.
//!
//! [`mod@schema`] and [`subscriptions`] say what there is: the shapes of the API and the events of every other door, behind the
//! same gate. [`request`] and [`bounds`] say what goes on to it, [`mod@answer`] what comes back; [`protocol`] is the sub-protocol
//! as a machine, [`socket`] and [`operations`] drive it. Here is the transport over HTTP: media types, methods, statuses.
//!
//! A page of another site cannot have anything done: the front looks at `Origin`, mutations come by POST alone, and a body
//! is taken only as JSON, which a browser does not send across sites without asking first.

mod answer;
mod bounds;
mod events;
mod operations;
mod protocol;
mod request;
pub(super) mod scalars;
mod schema;
mod sensors;
mod socket;
mod subscriptions;

#[cfg(test)]
mod tests;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_graphql::{Request as Question, parser::types::OperationType};
use axum::{
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::timeout;

use self::{
    answer::Answer,
    bounds::Allowed,
    request::Asked,
    schema::{Asker, Served, schema},
};
use super::{
    api::sent::Sent,
    caller::Asking,
    events::{scope, switched_off},
    front::Front,
    problem::Problem,
};
use crate::{
    auth::{Ack, Caller, Control, Gate, Permission, Playback, Publish, View},
    base::{Error, Kind, Result},
    events::ws::login::Porch,
};

/// How the door behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphQlOptions {
    /// It is open.
    pub enabled: bool,
    /// Clients may ask what there is to ask.
    pub introspection: bool,
    /// Fields within fields.
    pub max_depth: usize,
    /// Fields of an answer, as far as that can be known before: what a list multiplies counts as often.
    pub max_complexity: usize,
    /// Sockets at once.
    pub max_sockets: u32,
}

impl Default for GraphQlOptions {
    fn default() -> Self {
        Self { enabled: true, introspection: true, max_depth: 16, max_complexity: 20_000, max_sockets: 5000 }
    }
}

impl GraphQlOptions {
    const fn allowed(&self) -> Allowed {
        Allowed { depth: self.max_depth, introspection: self.introspection }
    }
}

/// What a query or a mutation may take.
const EXECUTION: Duration = Duration::from_secs(10);

/// What the door keeps.
pub(super) struct GraphQl {
    schema: Served,
    options: GraphQlOptions,
    /// Those on a socket who did not say yet who they are.
    porch: Porch,
}

impl fmt::Debug for GraphQl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphQl").field("options", &self.options).finish_non_exhaustive()
    }
}

impl GraphQl {
    pub(super) fn new(options: GraphQlOptions) -> Self {
        Self { schema: schema(&options), options, porch: Porch::default() }
    }
}

/// `GET /graphql`: a query, or the handshake of a WebSocket.
pub(super) async fn get(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Response, Problem> {
    switched_off(front.graphql.options.enabled, "graphql")?;
    if asks_for_socket(request.headers()) {
        return socket::open(front, caller, &request);
    }
    may_anything(&front.rooms.gate, &caller)?;
    let media = Media::accepted(request.headers())?;
    let asked = Asked::of_url(request.uri().query().unwrap_or_default());
    answer(front, caller, media, true, asked).await
}

/// `POST /graphql`: a query or a mutation.
pub(super) async fn post(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Response, Problem> {
    switched_off(front.graphql.options.enabled, "graphql")?;
    may_anything(&front.rooms.gate, &caller)?;
    let media = Media::accepted(request.headers())?;
    if !request.headers().contains_key(header::CONTENT_TYPE) {
        // A form of another site may come without one.
        let message = "a body names its type: application/json";
        return Err(Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let Sent(body) = Sent::<serde_json::Value>::from_request(request, &front).await?;
    answer(front, caller, media, false, Asked::of_json(body)).await
}

/// Whether a body is a request that goes on to the schema: for those who try what strangers may send.
///
/// # Errors
/// As the client is told.
pub fn admit(body: &[u8]) -> Result<()> {
    let body = serde_json::from_slice(body).map_err(|error| {
        Error::new(Kind::InvalidArgument, "this is no JSON").with_code("invalid_body").caused_by(error)
    })?;
    Asked::of_json(body)?.admit(GraphQlOptions::default().allowed()).map(drop)
}

/// Whether a request opens a WebSocket, well or badly.
pub(super) fn asks_for_socket(headers: &HeaderMap) -> bool {
    // Not every upgrade: curl offers HTTP/2 in this header.
    let asked = headers.get_all(header::UPGRADE).into_iter().filter_map(|value| value.to_str().ok());
    asked.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("websocket"))
}

/// Whether a caller may do anything anywhere. What, each field asks for itself.
///
/// # Errors
/// As [`Gate::check_server`].
fn may_anything(gate: &Gate, caller: &Caller) -> Result<()> {
    until_nothing(gate, caller).map(drop)
}

/// Comes when a caller who may do something here may do nothing any more.
///
/// # Errors
/// As [`Gate::check_server`]: it may do nothing now.
fn until_nothing(gate: &Gate, caller: &Caller) -> Result<impl Future<Output = ()> + Send + 'static> {
    let acts = [
        until_lost::<View>(gate, caller),
        until_lost::<Ack>(gate, caller),
        until_lost::<Playback>(gate, caller),
        until_lost::<Publish>(gate, caller),
        until_lost::<Control>(gate, caller),
    ];
    let sees = match scope(gate, caller) {
        Err(refused) if acts.iter().all(Option::is_none) => return Err(refused),
        sees => sees.ok(),
    };
    Ok(async move {
        if let Some(scope) = &sees {
            scope.over().await;
        }
        for lost in acts.into_iter().flatten() {
            lost.await;
        }
    })
}

fn until_lost<P: Permission>(gate: &Gate, caller: &Caller) -> Option<BoxFuture<'static, ()>> {
    let grant = gate.check_somewhere::<P>(caller).ok()?;
    Some(async move { grant.ended().cancelled().await }.boxed())
}

async fn answer(
    front: Arc<Front>,
    caller: Caller,
    media: Media,
    reads: bool,
    asked: Result<Asked>,
) -> Result<Response, Problem> {
    // What is no request at all is one whatever the media type says.
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return Ok(media.response(StatusCode::BAD_REQUEST, &Answer::refused(&error))),
    };
    let graphql = front.graphql.clone();
    let answer = match asked.admit(graphql.options.allowed()) {
        // GraphQL over HTTP §5.2: GET has nothing done.
        Ok((OperationType::Mutation, _)) if reads => return Err(Problem::method_not_allowed("POST")),
        Ok((OperationType::Subscription, _)) => Answer::refused(
            &Error::new(Kind::InvalidArgument, "a subscription goes over a WebSocket")
                .with_code("subscription_needs_websocket")
                .with_hint("open one at this URL with the sub-protocol graphql-transport-ws"),
        ),
        Ok((_, question)) => execute(&graphql, question, Asker { front, caller }).await?,
        Err(error) => Answer::refused(&error),
    };
    Ok(media.response(media.status(&answer), &answer))
}

/// Runs a query or a mutation.
///
/// # Errors
/// [`Kind::DeadlineExceeded`].
async fn execute(graphql: &GraphQl, question: Question, asker: Asker) -> Result<Answer> {
    match timeout(EXECUTION, graphql.schema.execute(question.data(asker))).await {
        Ok(response) => Ok(response.into()),
        Err(_elapsed) => Err(Error::new(Kind::DeadlineExceeded, "the request took too long")),
    }
}

/// In which form an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// The form of its own, whose status says whether anything was executed.
    Response,
    /// The older one: 200 for whatever is a request.
    Json,
}

impl Media {
    /// What the client takes; the one of its own unless it names the older one alone. GraphQL over HTTP §4, §6.1.
    fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let named: Vec<_> = values
            .flat_map(|value| value.split(','))
            .filter_map(|part| {
                let (kind, parameters) = part.split_once(';').unwrap_or((part, ""));
                let refused =
                    parameters.split(';').any(|one| matches!(one.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
                (!refused).then(|| kind.trim().to_ascii_lowercase())
            })
            .collect();
        let names = |kind: &str| named.iter().any(|named| named == kind);
        if names("application/graphql-response+json") {
            Ok(Self::Response)
        } else if names("application/json") {
            Ok(Self::Json)
        } else if !headers.contains_key(header::ACCEPT) || names("*/*") || names("application/*") {
            Ok(Self::Response)
        } else {
            let message = "this URL answers with application/graphql-response+json or application/json";
            Err(Problem::of_http(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message))
        }
    }

    const fn name(self) -> HeaderValue {
        match self {
            Self::Response => HeaderValue::from_static("application/graphql-response+json; charset=utf-8"),
            Self::Json => HeaderValue::from_static("application/json; charset=utf-8"),
        }
    }

    /// GraphQL over HTTP §6.4.
    const fn status(self, answer: &Answer) -> StatusCode {
        match self {
            Self::Response if answer.is_refusal() => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        }
    }

    fn response(self, status: StatusCode, answer: &Answer) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.name()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::VARY, HeaderValue::from_static("accept")),
        ];
        // Our own shapes are JSON.
        (status, headers, serde_json::to_vec(answer).unwrap_or_default()).into_response()
    }
}
