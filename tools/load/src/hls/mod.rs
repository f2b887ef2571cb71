//! LL-HLS clients that count: the playlist parser, HTTP/1.1 over keep-alive connections, and the driver.

mod client;
mod http;
mod playlist;

pub(crate) use client::{HlsOptions, run};
