//! Which handler a URL belongs to: the fixed doors by name, everything else by one fallback that reads the URL from the
//! right.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};

use super::{
    api,
    caller::Asking,
    events,
    front::{Front, GRAPHQL},
    graphql, health, hls, metrics, pages,
    problem::Problem,
    shield::Frames,
    target::{Target, split},
    whep, ws,
};
use crate::auth::Caller;

/// Every door.
pub(super) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .nest("/api", api::router())
        .nest("/stream", events::router())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/ws/{door}", get(ws::open))
        .route(GRAPHQL, get(graphql::get).post(graphql::post))
        .route("/assets/{*file}", get(pages::asset))
        .method_not_allowed_fallback(wrong_method)
        .fallback(by_name)
        .with_state(front)
}

/// What a door that only reads takes.
const READING: &str = "GET, HEAD, OPTIONS";

/// URLs that begin with a path name, as the router's last resort: the one door that reads bodies among them.
async fn by_name(State(front): State<Arc<Front>>, Asking(caller): Asking, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match split(parts.uri.path()) {
        Ok(Target::Whep(place, session)) => whep::serve(&front, &parts, &caller, body, place, session).await,
        _ => named(&front, &parts, &caller).await,
    }
}

/// URLs that begin with a path name.
pub(super) async fn named(front: &Front, parts: &Parts, caller: &Caller) -> Response {
    let target = match split(parts.uri.path()) {
        Ok(target) => target,
        Err(error) => return Problem::from(error).into_response(),
    };
    if parts.method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(header::ALLOW, HeaderValue::from_static(READING))]).into_response();
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Problem::method_not_allowed(READING).into_response();
    }
    match target {
        Target::Start | Target::Page => pages::entry(front, parts, Frames::Known),
        Target::Embed => pages::entry(front, parts, Frames::All),
        Target::AddSlash(last) => add_slash(&last, parts.uri.query()),
        Target::Hls(place, file) => hls::serve(front, parts, caller, place, file).await,
        Target::Whep(..) => Problem::method_not_allowed(READING).into_response(),
    }
}

/// To the same URL with a slash. Relative (RFC 9110 §10.2.2), so that it holds behind a proxy under any prefix.
fn add_slash(last: &str, query: Option<&str>) -> Response {
    let location = query.map_or_else(|| format!("{last}/"), |query| format!("{last}/?{query}"));
    match HeaderValue::try_from(location) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => Problem::not_found().into_response(),
    }
}

/// Only the router knows which methods a route takes; it adds `Allow` to this.
async fn wrong_method() -> Problem {
    Problem::of_http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this URL does not take that method")
}
