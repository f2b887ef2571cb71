//! Sensors: what they are, what they read, and the ways their readings come in: MQTT, HTTP, by being fetched.
//!
//! [`formats`] reads what devices send, [`registry`] judges it (unit, time, repetition, bounds) and keeps the newest of
//! each sensor; both are machines. The drivers are [`mqtt`] and [`pull`]; [`service`] owns all of it. Readings go to the
//! board, to the history and to whoever judges them through [`service::Outlets`], wired in `app`.
//!
//! A payload that cannot be read is counted and shown with its sensor or its broker; it never ends anything.

pub mod brokers;
pub mod demo;
pub mod formats;
mod inlet;
pub mod mqtt;
mod pull;
pub mod registry;
pub mod sensor;
pub mod service;
pub mod time;

pub use self::{
    brokers::{BrokerSnapshot, Link},
    inlet::Outcome,
    mqtt::{
        announce::{AlertState, CameraState, House, HouseState},
        publisher::Publisher,
    },
    registry::{Accepted, Snapshot},
    sensor::{Reading, SensorSnapshot},
    service::{Outlets, Sensors, SensorsOptions, Series},
};
