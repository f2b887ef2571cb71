//! Rules: what was read, seen and said becomes alarms.
//!
//! [`Rules`] is sans-IO: readings, cameras' samples, events and time come in, [`Transition`]s come out. A rule is a tree
//! of conditions (three-valued: what nobody knows yet holds nothing and ends nothing), looked at once for each thing it
//! is about, its *subject*. What an alarm then means for people is the business of `alarms`.

mod camera;
mod input;
mod leaf;
mod look;
mod machine;
mod phase;
mod saved;
#[cfg(test)]
mod tests;
mod timers;
mod transition;
mod tree;

pub use self::{
    camera::{CameraSample, CameraStanding, KeyPicture, PictureFigures},
    input::{Device, DiskRoom, Finding, Occurrence, Reading, Subject},
    machine::Rules,
    saved::SavedRules,
    transition::{Change, Transition},
};
