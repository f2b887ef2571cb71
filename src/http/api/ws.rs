//! `/api/v1/ws/status`: how many follow the events over WebSocket.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::OnServer,
        problem::{Problem, ProblemBody},
        refusals::NeedsCredential,
        ws::user,
    },
    momentary,
};
use crate::{
    auth::Stats,
    stats::{EventDoor, EventDoorFigures},
};

/// Who is connected, and what they were told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebSocketStatus {
    /// Connections in all.
    connections: usize,
    /// Connections of the user who asks.
    user_connections: usize,
    /// Different users.
    users: usize,
    /// Connections by door: `events`, `alerts`, `statistics`.
    #[schema(example = json!({"events": 3}))]
    doors: BTreeMap<&'static str, usize>,
    /// Connections since the start.
    opened: u64,
    /// Events told since the start.
    delivered: u64,
    /// Facts that a client asked for and that were no longer there.
    dropped: u64,
    /// Clients sent away since the start, by reason.
    #[schema(example = json!({"too_slow": 1}))]
    refused: BTreeMap<&'static str, u64>,
}

/// Who is connected over WebSocket.
#[utoipa::path(get, path = "/api/v1/ws/status", tag = "events", operation_id = "websocket_status", responses(
    (status = 200, description = "Connections, and what they were told.", body = WebSocketStatus),
    NeedsCredential,
    (status = 404, description = "The door is switched off.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn status(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    _: OnServer<Stats>,
) -> Result<Response, Problem> {
    let sockets = front.rooms.websockets.as_ref().ok_or_else(Problem::not_found)?;
    let figures = sockets.figures(user(front.rooms.gate.subject(&caller).as_ref()));
    let EventDoorFigures { opened, delivered, dropped, refused, .. } =
        front.rooms.event_doors.figures(EventDoor::WebSocket);
    Ok(momentary(&WebSocketStatus {
        connections: figures.connections,
        user_connections: figures.of_user,
        users: figures.users,
        doors: figures.by_door,
        opened,
        delivered,
        dropped,
        refused: refused.into_iter().filter(|(_, count)| *count > 0).collect(),
    }))
}
