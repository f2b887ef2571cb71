//! The section `limits`: how much is served at once, over all doors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds over all protocols. Each listener's own `max_connections` holds besides them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Viewers at once, all protocols together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sessions: u32,
    /// Viewers of one path at once; a path may allow fewer with `max_readers`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sessions_per_path: u32,
    /// Viewers from one IP address at once. Loopback counts too.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sessions_per_address: u32,
    /// Sockets and streams of events of one user at once, all doors together; a further socket is closed with 4429, a
    /// further stream is refused with 429. Callers without a name are no user.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub followers_per_user: u32,
    /// Sockets, streams and held requests of events from one IP address at once, all doors together. Loopback counts too.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub followers_per_address: u32,
    /// Connections from one IP address to the HTTP and RTSP listeners at once; further ones are closed. Those of
    /// `http.trusted_proxies` do not count.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: u32,
    /// HTTP requests a second from one IP address, twice as many at once; further ones are answered 429. A playlist or a
    /// piece of media counts as a tenth, programs on the server's own machine do not count.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_address: u32,
    /// The same of one user, whatever the address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_user: u32,
    /// Paths that exist at once through regular expressions; further names are refused.
    #[schemars(range(min = 1, max = 100_000))]
    pub dynamic_paths: u32,
    /// Sensors that exist at once without an entry in `sensors`, made by what came over MQTT or HTTP.
    #[schemars(range(min = 0, max = 10_000))]
    pub sensors: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_path: 10_000,
            sessions_per_address: 10_000,
            followers_per_user: 5,
            followers_per_address: 2_000,
            connections_per_address: 5_000,
            requests_per_address: 1_000,
            requests_per_user: 1_000,
            dynamic_paths: 256,
            sensors: 1_000,
        }
    }
}
