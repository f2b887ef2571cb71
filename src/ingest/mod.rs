//! Who fills a path: cameras pulled over RTSP, and the built-in demo camera.
//!
//! Each is a [`crate::hub::Source`] that supervises itself: it connects, delivers access units into its
//! [`crate::hub::Feed`], says what is wrong when it cannot, and tries again. `retina` is named in this room only.

pub mod demo;
pub mod rtsp;
#[cfg(test)]
mod testing;

pub use self::{
    demo::DemoSource,
    rtsp::{
        CameraHosts, Forbidden, RtspSource, RtspSourceOptions, SourceGuard,
        probe::{ProbeFailure, ProbeOptions, ProbeReport, ProbeTrack, probe},
    },
};
