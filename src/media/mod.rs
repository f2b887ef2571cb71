//! Tracks, units, time and what can be read from a bitstream. No input or output, no clock, no runtime.

pub mod aac;
pub mod av1;
pub mod bits;
pub mod derived;
pub mod h264;
pub mod h265;
pub mod jpeg;
pub mod likeness;
pub mod nal;
pub mod opus;
pub mod plan;
pub mod reorder;
pub mod rfc6381;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod track;
pub mod unit;
pub mod vp8;
pub mod vp9;

pub use plan::{Body, Fragment, Plan};
pub use time::{ClockRate, MediaTime};
pub use track::{Codec, CodecParameters, MediaKind, PictureSize, Track, TrackDescription, TrackId, TrackSet};
pub use unit::{AccessUnit, Unit};
