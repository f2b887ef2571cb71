//! `/api/v1/config/paths`: which paths there are, as they were written. Those of the file can be read; those added here are at
//! work at once, and kept over restarts.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::{OnPath, Somewhere},
        path_desk::PathEntry,
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, BodyTooLarge, NeedsAdministrator, NotJson},
    },
    listing::{Listing, PageOf},
    momentary,
    sent::{Sent, name_of},
};
use crate::{
    auth::{Admin, Grant, path_not_found},
    base::{Error, Kind, PathName},
    config::{PathConfig, PathKey},
};

/// A path as it was written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WrittenPath {
    /// Its name; `~` and a regular expression, if it stands for many.
    #[schema(example = "front-door")]
    name: String,
    /// `file`: it stands in the configuration. `api`: it was added here, and may be changed and removed.
    #[schema(example = "api")]
    origin: &'static str,
    /// What was written, in the shape of an entry of `paths` in the configuration (`config/schema.json`), with every key.
    /// Secrets are `***`.
    #[schema(value_type = serde_json::Value, example = json!({"source": "rtsp://10.0.0.5/stream1", "username": "viewer", "password": "***"}))]
    config: Value,
}

/// The paths and patterns that the caller administers, by name.
#[utoipa::path(get, path = "/api/v1/config/paths", tag = "paths", operation_id = "list_written_paths", params(PageOf), responses(
    (status = 200, description = "A page of paths.", body = Listing<WrittenPath>),
    BadRequest,
    NeedsAdministrator,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    _: Somewhere<Admin>,
    Asking(caller): Asking,
    page: PageOf,
) -> Response {
    let gate = &front.rooms.gate;
    let administers = |entry: &PathEntry| match &entry.key {
        PathKey::Name(name) => gate.check::<Admin>(&caller, name).is_ok(),
        PathKey::Pattern(_) => gate.check_server::<Admin>(&caller).is_ok(),
    };
    let mut entries: Vec<PathEntry> = front.rooms.paths.list().into_iter().filter(administers).collect();
    entries.sort_by_cached_key(|entry| entry.key.to_string());
    let (entries, next) = page.cut(entries, |entry| entry.key.to_string());
    momentary(&Listing { items: entries.iter().map(describe).collect(), next })
}

/// A path that has a name, as it was written.
#[utoipa::path(get, path = "/api/v1/config/paths/{path}", tag = "paths", operation_id = "show_written_path",
    params(("path" = String, Path, description = "The path's name; its slashes may stand as they are, or as %2F.", max_length = 200)),
    responses(
        (status = 200, description = "The path.", body = WrittenPath),
        BadRequest,
        NeedsAdministrator,
        (status = 404, description = "None of this name was written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(State(front): State<Arc<Front>>, OnPath(grant): OnPath<Admin>) -> Result<Response, Problem> {
    let name = named(&grant)?;
    let entry = front.rooms.paths.find(name).ok_or_else(|| path_not_found(name))?;
    Ok(momentary(&describe(&entry)))
}

/// Adds a path, or changes one that was added here: its viewers are let go and may come again. It is at work when this answers.
#[utoipa::path(put, path = "/api/v1/config/paths/{path}", tag = "paths", operation_id = "put_path",
    params(("path" = String, Path, description = "The path's name; its slashes may stand as they are, or as %2F.", max_length = 200)),
    request_body(content = serde_json::Value, description = "The whole entry, in the shape of one of `paths` in the configuration (`config/schema.json`), as JSON. A secret that is `***` stays as it was, for the same camera and user.", content_type = "application/json"),
    responses(
        (status = 201, description = "It was added."),
        (status = 204, description = "It was changed."),
        (status = 400, description = "The entry is not right; `detail` says where. `source_not_allowed`: no camera that is added here may stand there.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsAdministrator,
        (status = 404, description = "The path is not the caller's.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It stands in the file, or too many were added.", body = ProblemBody, content_type = "application/problem+json"),
        BodyTooLarge,
        NotJson,
        (status = 503, description = "It cannot be kept now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(front): State<Arc<Front>>,
    OnPath(grant): OnPath<Admin>,
    Sent(config): Sent<PathConfig>,
) -> Result<Response, Problem> {
    let name = named(&grant)?;
    let is_new = front.rooms.paths.put(name.clone(), config).await?;
    write_down(&front, if is_new { "path.added" } else { "path.changed" }, &grant, name);
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }.into_response())
}

/// Removes a path that was added here; its viewers are let go.
#[utoipa::path(delete, path = "/api/v1/config/paths/{path}", tag = "paths", operation_id = "remove_path",
    params(("path" = String, Path, description = "The path's name; its slashes may stand as they are, or as %2F.", max_length = 200)),
    responses(
        (status = 204, description = "It is gone."),
        BadRequest,
        NeedsAdministrator,
        (status = 404, description = "None of this name was added.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It stands in the file.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be kept now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(State(front): State<Arc<Front>>, OnPath(grant): OnPath<Admin>) -> Result<Response, Problem> {
    let name = named(&grant)?;
    front.rooms.paths.remove(name.clone()).await?;
    write_down(&front, "path.removed", &grant, name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn named(grant: &Grant<Admin>) -> Result<&PathName, Error> {
    grant.path().ok_or_else(|| Error::new(Kind::Internal, "a grant for a path should name it"))
}

fn write_down(front: &Front, action: &str, grant: &Grant<Admin>, name: &PathName) {
    front.rooms.events.write_down(action, name_of(grant.subject()), name.to_string(), front.rooms.clock.wall());
}

fn describe(entry: &PathEntry) -> WrittenPath {
    WrittenPath {
        name: entry.key.to_string(),
        origin: if entry.of_file { "file" } else { "api" },
        config: serde_json::to_value(&*entry.config).unwrap_or_default(),
    }
}
