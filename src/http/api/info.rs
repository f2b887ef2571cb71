//! `/api/v1/info`: what this server is, since when, which doors are open and what an operator should know.

use std::{sync::Arc, time::Duration};

use async_graphql::SimpleObject;
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        front::Front,
        grant::OnServer,
        graphql::scalars::{DateTime, Long},
        refusals::NeedsCredential,
    },
    momentary,
};
use crate::{
    auth::Stats,
    base::{Monotonic, PathName, WallTime},
};

/// What the server says of itself. Made once, in `app`.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// When it started, for people.
    pub started: WallTime,
    /// When it started, for spans of time.
    pub started_at: Monotonic,
    /// The path that the first page shows, and that commands without a camera's name mean.
    pub default_path: Option<PathName>,
    /// The open doors.
    pub doors: Arc<[OpenDoor]>,
    /// What it can do beyond the doors, in words that programs look for.
    pub capabilities: Arc<[String]>,
    /// What an operator should know: an open listener, an option that weakens something.
    pub warnings: Arc<[Warning]>,
}

/// A door that is open.
#[derive(Clone, Debug, Serialize, ToSchema, SimpleObject)]
pub struct OpenDoor {
    /// `http`, `rtsp`, `rtsps`, `hls`.
    #[schema(example = "rtsp")]
    pub name: String,
    /// Where it is, one URL per address bound. `{path}` stands for a path's name.
    #[schema(example = json!(["rtsp://127.0.0.1:8554/{path}"]))]
    pub urls: Vec<String>,
}

/// Something an operator should know.
#[derive(Clone, Debug, Serialize, ToSchema, SimpleObject)]
pub struct Warning {
    /// The stable word.
    #[schema(example = "auth_off")]
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// The server.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Info {
    /// The program.
    #[schema(example = "campanile")]
    name: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// When it started.
    #[schema(format = DateTime, example = "2026-11-20T10:15:00.123Z")]
    #[graphql(skip, derived(name = "started", into = "DateTime", owned))]
    started: String,
    /// How long it has been running.
    #[graphql(skip, derived(name = "uptime_ms", into = "Long", owned))]
    uptime_ms: u64,
    /// The path that the first page shows, and that commands without a camera's name mean.
    default_path: Option<String>,
    /// The open doors.
    doors: Vec<OpenDoor>,
    /// What it can do beyond the doors.
    capabilities: Vec<String>,
    /// What an operator should know.
    warnings: Vec<Warning>,
}

/// What this server is and which doors are open.
#[utoipa::path(get, path = "/api/v1/info", tag = "server", operation_id = "show_info", responses(
    (status = 200, description = "The server.", body = Info),
    NeedsCredential,
))]
pub(super) async fn show(State(front): State<Arc<Front>>, _: OnServer<Stats>) -> Response {
    momentary(&describe(&front))
}

/// The server as it is now.
pub(in crate::http) fn describe(front: &Front) -> Info {
    let ServerInfo { started, started_at, default_path, doors, capabilities, warnings } = &front.rooms.info;
    let uptime = front.rooms.clock.now().since(*started_at);
    Info {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        started: started.to_string(),
        uptime_ms: millis(uptime),
        default_path: default_path.as_ref().map(ToString::to_string),
        doors: doors.to_vec(),
        capabilities: capabilities.to_vec(),
        warnings: warnings.to_vec(),
    }
}

/// Whole milliseconds, as every duration of the API is written.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
