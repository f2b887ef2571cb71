//! Which tracks of a path a viewer gets, and in which of the formats it offered.

use super::Offer;
use crate::media::{Codec, MediaKind, Track, TrackId, TrackSet};

/// What a session will carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// One or two lines: at most one of pictures and one of sound.
    pub lines: Vec<ChosenLine>,
    /// Tracks of the path that are not carried.
    pub left_out: Vec<LeftOut>,
    /// What the viewer may not be able to show although it is sent.
    pub notices: Vec<Notice>,
}

/// One media line of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenLine {
    /// The section of the offer it answers.
    pub mid: String,
    /// Pictures or sound.
    pub kind: MediaKind,
    /// The track of the path; for a transcoded line the track it is made from.
    pub track: TrackId,
    /// What goes over the line.
    pub codec: Codec,
    /// The viewer's number for it.
    pub payload_type: u8,
    /// The viewer's number for retransmissions, if it offers them together with NACK.
    pub rtx_payload_type: Option<u8>,
    /// Ours.
    pub ssrc: u32,
    /// Ours, for retransmissions; unused without `rtx_payload_type`.
    pub rtx_ssrc: u32,
    /// The RTP clock.
    pub clock_rate: u32,
    /// The number of the abs-capture-time extension.
    pub abs_capture_time: Option<u8>,
    /// The number of the playout-delay extension.
    pub playout_delay: Option<u8>,
    /// The number of the transport-wide sequence number extension; off by default.
    pub transport_cc: Option<u8>,
    /// Whether it is an Opus track made here from one that the viewer cannot take.
    pub transcoded: bool,
}

/// A track the viewer does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub track: TrackId,
    /// Pictures, sound or else.
    pub kind: MediaKind,
    /// Its codec's name.
    pub codec: String,
    /// Why, in words.
    pub reason: String,
}

/// Something the viewer should know of a track it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub track: TrackId,
    /// A stable word.
    pub code: &'static str,
    /// The same in words.
    pub text: String,
}

/// No track of the path is in a format that the viewer offers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing in common: the path has {}, the viewer takes {}", .path.join(", "), .viewer.join(", "))]
pub struct NothingInCommon {
    /// What the path has.
    pub path: Vec<String>,
    /// What the viewer takes.
    pub viewer: Vec<String>,
    /// Why each track cannot be carried.
    pub left_out: Vec<LeftOut>,
}

/// Chooses the tracks a viewer gets. `opus_possible` says whether sound can be turned into Opus here.
///
/// # Errors
/// Both lists, when they have nothing in common.
pub fn choose(offer: &Offer, tracks: &TrackSet, opus_possible: bool) -> Result<Chosen, NothingInCommon> {
    let _ = (offer, tracks, opus_possible);
    Err(NothingInCommon { path: Vec::new(), viewer: Vec::new(), left_out: Vec::new() })
}

/// Whether `track`, of another rendition, may go over `line` without a new negotiation.
pub fn carries(line: &ChosenLine, track: &Track) -> bool {
    line.kind == track.kind && line.codec == track.codec() && line.clock_rate == track.clock_rate.hz()
}

/// Whether the pictures of a path come in another order than they are shown in (B-frames), which browsers cannot show
/// over WebRTC: of two renditions the one without is the better.
pub fn reorders_pictures(tracks: &TrackSet) -> bool {
    let _ = tracks;
    false
}
