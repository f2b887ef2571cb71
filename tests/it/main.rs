//! The integration tests, in one crate so that they are linked once: real clients, cameras that behave and cameras that
//! do not, against the real binary; and the test that reads the sources.
//!
//! `alone` holds what must run one at a time: what measures time, and what drives a browser.

#![expect(unreachable_pub, reason = "a test crate has no outside")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, speaks on stderr, has tasks and clocks of its own"
)]

mod acme;
mod alerts;
mod alone;
mod architecture;
mod audit;
mod cameras;
mod cli;
mod config_paths;
mod crowd;
mod events;
mod goodbyes;
mod graphql;
mod hls_clients;
mod hls_media;
mod hostile;
mod ingest;
mod matrix;
mod misbehaviour;
mod mqtt_alerts;
mod notify;
mod outside;
mod probe;
mod proxies;
mod push;
mod repository;
mod robustness;
mod rtsp_clients;
mod rtsp_readers;
mod schemathesis;
mod secrecy;
mod security;
mod sensors;
mod shutdown;
mod start;
mod support;
mod tls;
mod tokens;
mod users;
mod vulnerabilities;
mod whep;
mod whep_peers;
