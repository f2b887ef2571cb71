//! The API: `/api/v1/…` and its description. One file per resource; the shapes on the wire stand in the file that sends
//! them, so that a change inside never changes them by accident.

pub(super) mod alerts;
mod asyncapi;
pub(super) mod auth;
mod channels;
mod config_paths;
mod docs;
mod document;
pub(super) mod info;
pub(super) mod listing;
pub(super) mod paths;
mod push;
pub(super) mod rules;
pub(super) mod sensor_history;
mod sensor_readings;
pub(super) mod sensors;
pub(super) mod sent;
pub(super) mod sessions;
mod silences;
pub(super) mod statistics;
pub(super) mod tending;
mod tokens;
mod users;
mod ws;

use std::sync::Arc;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::{HeaderValue, header};
use serde::Serialize;

use super::{events, front::Front};

/// Everything below `/api`.
pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/asyncapi.json", get(asyncapi::show))
        .route("/openapi.json", get(document::show))
        .route("/docs", get(docs::page))
        .route("/docs.css", get(docs::style))
        .route("/v1/auth/login", post(auth::log_in))
        .route("/v1/auth/logout", post(auth::log_out))
        .route("/v1/auth/refresh", post(auth::refresh))
        .route("/v1/auth/whoami", get(auth::who_am_i))
        .route("/v1/tokens", get(tokens::list).post(tokens::add))
        .route("/v1/tokens/{id}", delete(tokens::remove))
        .route("/v1/tokens/events", post(auth::events_ticket))
        .route("/v1/tokens/media", post(auth::media_token))
        .route("/v1/users", get(users::list).post(users::add))
        .route("/v1/users/me/preferences", get(users::preferences).put(users::prefer))
        .route("/v1/users/{name}", delete(users::remove))
        .route("/v1/users/{name}/password", put(users::change_password))
        .route("/v1/users/{name}/permissions", put(users::change_rights))
        .route("/v1/info", get(info::show))
        .route("/v1/paths", get(paths::list))
        .route("/v1/paths/{*path}", get(paths::show))
        .route("/v1/config/paths", get(config_paths::list))
        .route("/v1/config/paths/{*path}", get(config_paths::show).put(config_paths::put).delete(config_paths::remove))
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/alerts/{fingerprint}/ack", post(alerts::acknowledge))
        .route("/v1/alerts/{fingerprint}/silence", post(alerts::silence))
        .route("/v1/channels", get(channels::list))
        .route("/v1/channels/{name}/test", post(channels::test))
        .route("/v1/dead-letters", get(channels::dead))
        .route("/v1/dead-letters/{id}", delete(channels::discard))
        .route("/v1/dead-letters/{id}/retry", post(channels::retry))
        .route("/v1/push", get(push::show))
        .route("/v1/push/subscriptions", get(push::list).post(push::add))
        .route("/v1/push/subscriptions/{id}", delete(push::remove))
        .route("/v1/silences", get(silences::list).post(silences::add))
        .route("/v1/silences/{id}", delete(silences::remove))
        .route("/v1/rules", get(rules::list).post(rules::add))
        .route("/v1/rules/{id}", put(rules::change).delete(rules::remove))
        .route("/v1/events", get(events::list).post(events::take))
        .route("/v1/mqtt", get(sensors::brokers))
        .route("/v1/sensors", get(sensors::list))
        .route("/v1/sensors/{id}", get(sensors::show))
        .route("/v1/sensors/{id}/history", get(sensor_history::history))
        .route("/v1/sensors/{id}/readings", post(sensor_readings::take))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/statistics", get(statistics::show))
        .route("/v1/statistics/history", get(statistics::history))
        .route("/statistics", get(statistics::show))
        .route("/v1/sessions/{id}", delete(sessions::kick))
        .route("/v1/ws/status", get(ws::status))
}

/// A body that is true at this moment only.
fn momentary<T: Serialize>(body: &T) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(body)).into_response()
}
