//! Counters, the list of sessions, and the text of the metrics. Everyone may count here; nobody waits here.

pub mod delays;
pub mod event_doors;
pub mod metrics;
pub mod places;
pub mod process;
pub mod reception;
pub mod requests;
pub mod sessions;

pub use delays::{Delays, DelaysSnapshot};
pub use event_doors::{Admitted, Crowd, EventDoor, EventDoorFigures, EventDoors, FollowerLimits, Refusal};
pub use metrics::{ChannelMetrics, LogMetrics, MetricsSnapshot, StreamMetrics};
pub use places::{Place, Places, network};
pub use process::ProcessFigures;
pub use reception::Reception;
pub use requests::{HttpDoor, Requests};
pub use sessions::{PathLimit, Protocol, Session, SessionDetails, SessionGuard, SessionLimits, Sessions, Traffic};
