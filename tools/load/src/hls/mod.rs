//! LL-HLS clients that count: the playlist parser and the driver.

mod client;
mod playlist;

pub(crate) use client::{HlsOptions, run};
