//! RTSP clients that count: the parsers (frames, answers, descriptions, credentials) and the driver over tokio.

mod answer;
mod client;
mod credentials;
mod description;
mod frames;
mod receiver;

pub(crate) use client::{RtspOptions, Transport, run};
