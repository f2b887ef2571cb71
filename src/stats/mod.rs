//! Counters and the list of sessions. Everyone may count here; nobody waits here.

pub mod sessions;

pub use sessions::{PathLimit, Protocol, Session, SessionDetails, SessionGuard, SessionLimits, Sessions};
