//! The section `hls`: how streams are cut for HLS players.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration};

/// Low-Latency HLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HlsConfig {
    /// Whether HLS is served at all.
    pub enabled: bool,
    /// The length of a part: shorter is closer to live and costs more requests.
    pub part: HumanDuration,
    /// Segments begin at the first random access point after this long.
    pub segment: HumanDuration,
    /// The least target duration announced; it grows with the longest GOP seen on the path. A longer GOP than the one
    /// announced is cut without a random access point.
    pub target_duration: HumanDuration,
    /// Segments in the playlist.
    #[schemars(range(min = 3, max = 1000))]
    pub segments: u32,
    /// The most memory the segments of one path and track set may take; the oldest go first.
    pub max_size: ByteSize,
    /// Cut every stream from the moment it flows, not with the first viewer. The first playlist then is a full one.
    pub always_on: bool,
    /// Stop cutting when nobody has asked for this long.
    pub close_after: HumanDuration,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            part: HumanDuration::from_millis(200),
            segment: HumanDuration::from_secs(2),
            target_duration: HumanDuration::from_secs(4),
            segments: 8,
            max_size: ByteSize::from_mib(64),
            always_on: false,
            close_after: HumanDuration::from_secs(60),
        }
    }
}
