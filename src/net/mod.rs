//! Sockets: listeners that are bound before any task starts, TLS, and UDP with segmentation offload.
//!
//! It knows no protocol of ours: rooms above hand in bytes and addresses.

pub mod interfaces;
pub mod listen;
pub mod stream;
pub mod tls;
pub mod udp;
