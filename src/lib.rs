//! Campanile: a media relay for people who watch cameras and sensors.
//!
//! Cameras come in at one side; players, dashboards and alert channels hang on the other. In between stand two small
//! things that everything else leans on: the ring (what a camera sends, [`hub`]) and the log (what happened). Doors
//! open downwards only; `tests/it/architecture.rs` reads the sources and holds the rule.
//!
//! ```text
//! L0 base                         L3 net  hub  store → events → sensors, notify
//! L1 media                        L4 ingest  rtsp  webrtc  cmaf → hls
//! L2 rtp  config  stats  auth     L5 http
//!                                 L6 app → cli → main
//! ```

pub mod app;
pub mod audio;
pub mod auth;
pub mod base;
pub mod cli;
pub mod cmaf;
pub mod config;
pub mod events;
pub mod hls;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod media;
pub mod net;
pub mod notify;
pub mod rtp;
pub mod rtsp;
pub mod sensors;
pub mod stats;
pub mod store;
pub mod webrtc;
