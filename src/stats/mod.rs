//! Counters, the list of sessions, and the text of the metrics. Everyone may count here; nobody waits here.

pub mod requests;
pub mod sessions;

pub use requests::{HttpDoor, Requests};
pub use sessions::{PathLimit, Protocol, Session, SessionDetails, SessionGuard, SessionLimits, Sessions};
