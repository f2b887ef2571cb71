//! Who may do what: one decision for every door, and its proof.
//!
//! [`Gate::check`] decides; a [`Grant`] is the proof, and rooms hand out readers, parts and facts only against one.

mod gate;
mod grant;

pub use gate::{Caller, Gate, GatePolicy};
pub use grant::{Ack, Action, Admin, Alerts, Control, Grant, Permission, Publish, Sensors, Stats, Subject, View};
