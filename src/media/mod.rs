//! Tracks, units, time and what can be read from a bitstream. No input or output, no clock, no runtime.

pub mod nal;
pub mod plan;
pub mod time;
pub mod track;
pub mod unit;

pub use plan::{Body, Fragment, Plan};
pub use time::{ClockRate, MediaTime};
pub use track::{Codec, CodecParameters, MediaKind, PictureSize, Track, TrackDescription, TrackId, TrackSet};
pub use unit::{AccessUnit, Unit};
