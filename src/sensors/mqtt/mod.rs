//! MQTT: the brokers that sensors report to. `wire` is the packets, `session` a connection, `routes` what a message
//! means, `announce` what Home Assistant is told of us, all machines without sockets; `connection` drives one broker, and
//! `publisher` is the way to it for the rest of the house.

pub mod announce;
pub(super) mod connection;
pub mod publisher;
pub mod routes;
pub mod session;
pub mod wire;
