//! Whether the process is alive, and whether it serves: for supervisors and load balancers, open to everybody.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    front::{Front, Phase},
    problem::Problem,
};
use crate::base::{Error, Kind};

/// The word of a healthy server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `alive` or `serving`.
    #[schema(example = "alive")]
    status: &'static str,
}

fn healthy(status: &'static str) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(Health { status })).into_response()
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", responses((status = 200, description = "It is.", body = Health)))]
pub(super) async fn alive() -> Response {
    healthy("alive")
}

/// The server takes requests: not while it starts, and not any more once it ends.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", responses(
    (status = 200, description = "It is.", body = Health),
    (status = 503, description = "Not now: the server starts or ends.", body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn ready(State(front): State<Arc<Front>>) -> Result<Response, Problem> {
    let not_now = |code, message| Error::new(Kind::Unavailable, message).with_code(code);
    match front.phase() {
        Phase::Starting => Err(not_now("starting", "the server is starting").into()),
        Phase::Serving => Ok(healthy("serving")),
        Phase::Draining => Err(not_now("draining", "the server is ending").into()),
    }
}
