//! Sockets: listeners that are bound before any task starts, servers that are dialled, TLS, and UDP with segmentation
//! offload.
//!
//! It knows no protocol of ours: rooms above hand in bytes and addresses, and URLs to be fetched.

pub mod acme;
pub mod dial;
pub mod exchange;
pub mod fetch;
pub mod interfaces;
pub mod listen;
pub mod post;
pub mod reach;
pub mod self_signed;
pub mod stream;
pub mod tls;
pub mod trust;
pub mod udp;
