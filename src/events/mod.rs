//! What happened, and how things stand: one durable log of facts, one board of values, and whoever follows them.
//!
//! A *fact* (an alert, a camera event) has a [`Cursor`] and is never dropped; a *value* (statistics, a reading, a
//! status) has a key, and only the newest counts. A subscriber is a cursor, a board version and a filter: no queue.

mod envelope;
pub mod payload;

pub use envelope::{Cursor, Draft, Epoch, EventType, SensorId, SensorIdError, Severity};
