//! Viewers over WHEP: the offer and the answer over HTTP, ICE and DTLS by `str0m`, media packets counted.

mod client;
mod exchange;
mod tracks;

pub(crate) use client::{WhepOptions, run};
