//! The section `events`: how long facts are kept, and the doors that events come and go by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration};

/// Events: alerts, what happens at cameras, values as they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Facts that happened longer ago are taken away.
    pub max_age: HumanDuration,
    /// The most the facts may take on the disk; the oldest go first.
    pub max_size: ByteSize,
    /// Whether events are served over WebSocket: `/ws/events`, `/ws/alerts`, `/ws/statistics`.
    pub websocket: bool,
    /// Whether messages to WebSocket clients that offer it are deflated, each once for all of them.
    pub websocket_compression: bool,
    /// Whether events are served as server-sent events: `/stream/events`, `/stream/system-status`.
    pub server_sent: bool,
    /// Whether events are served at `/api/v1/events`, at once or when they come.
    pub long_poll: bool,
    /// Whether queries, mutations and subscriptions are served at `/graphql`.
    pub graphql: bool,
    /// Whether clients of `/graphql` may ask what there is to ask.
    pub graphql_introspection: bool,
    /// Fields within fields of a GraphQL operation.
    #[schemars(range(min = 1, max = 32))]
    pub graphql_max_depth: u32,
    /// Fields that the answer to a GraphQL operation may come to, each entry of a list counted; longer lists are asked
    /// for by the page.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub graphql_max_complexity: u32,
    /// Whether events are taken at `/api/v1/events`.
    pub ingest: bool,
    /// How often a stream with nothing to say shows that it is alive.
    pub heartbeat: HumanDuration,
    /// Sockets, streams and held requests at once, each door by itself; further ones are refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_followers: u32,
    /// Events a second that are taken from one IP address; twice as many at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_posts_per_second: u32,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            max_age: HumanDuration::from_secs(30 * 86_400),
            max_size: ByteSize::from_mib(512),
            websocket: true,
            websocket_compression: true,
            server_sent: true,
            long_poll: true,
            graphql: true,
            graphql_introspection: true,
            graphql_max_depth: 16,
            graphql_max_complexity: 20_000,
            ingest: true,
            heartbeat: HumanDuration::from_secs(30),
            max_followers: 5000,
            max_posts_per_second: 500,
        }
    }
}
