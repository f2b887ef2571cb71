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
            dynamic_paths: 256,
            sensors: 1_000,
        }
    }
}
