//! Which tracks of a stream an fMP4 carries, and why the others are left out. Values only.

use std::{fmt, sync::Arc};

use crate::media::{ClockRate, Codec, CodecParameters, MediaKind, Track, TrackId, TrackSet};

/// Which of the carried tracks go into one run of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selection {
    /// Picture and sound in one file: half the requests.
    #[default]
    Muxed,
    /// The picture alone, for muted tiles.
    Video,
    /// The sound alone.
    Audio,
}

impl Selection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Muxed, Self::Video, Self::Audio];

    /// Whether a track of this kind belongs to it.
    pub const fn takes(self, kind: MediaKind) -> bool {
        matches!(
            (self, kind),
            (Self::Muxed | Self::Video, MediaKind::Video) | (Self::Muxed | Self::Audio, MediaKind::Audio)
        )
    }
}

/// Why a track is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeftOutReason {
    /// Sound that players of fMP4 do not take unless it becomes Opus.
    NeedsOpus,
    /// A coding that players of fMP4 do not take.
    NotCarried,
    /// The track is passed on as the source's own packets; nobody here can take it apart.
    Opaque,
    /// Not pictures or sound.
    NotMedia,
    /// Another track of its kind comes before it.
    Second,
    /// The source has not yet sent what a decoder must know.
    NoParameters,
}

/// A track that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which one.
    pub track: TrackId,
    /// What it is called.
    pub codec: String,
    /// Why.
    pub reason: LeftOutReason,
}

impl fmt::Display for LeftOut {
    /// One sentence for the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = &self.codec;
        match self.reason {
            LeftOutReason::NeedsOpus => {
                write!(f, "HLS players do not take {codec}, and this server cannot turn it into Opus")
            }
            LeftOutReason::NotCarried => write!(f, "HLS players do not take {codec}"),
            LeftOutReason::Opaque => {
                write!(f, "{codec} is passed on over RTSP as the camera's own packets; nothing here can take it apart")
            }
            LeftOutReason::NotMedia => write!(f, "{codec} is neither picture nor sound"),
            LeftOutReason::Second => write!(f, "{codec}: another track of its kind is carried"),
            LeftOutReason::NoParameters => {
                write!(f, "{codec}: the source has not yet sent what a decoder must know (parameter sets)")
            }
        }
    }
}

/// The tracks that are carried, the leading one first, and those that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The leading track, whose random access points open segments, stands first.
    pub tracks: Vec<Arc<Track>>,
    /// The rest of the set, whatever the selection.
    pub left_out: Vec<LeftOut>,
}

impl Carried {
    /// Chooses from a set.
    pub fn choose(set: &TrackSet, selection: Selection) -> Self {
        let mut carried = Self::default();
        let (mut video, mut audio) = (None, None);
        for track in set.sent() {
            // What players do not take is carried as the Opus that is made of it.
            let track = match obstacle(track) {
                Some(LeftOutReason::NeedsOpus) => set.derived_of(track.id).unwrap_or(track),
                _ => track,
            };
            let place = match track.kind {
                MediaKind::Video => &mut video,
                MediaKind::Audio => &mut audio,
                MediaKind::Application => &mut None,
            };
            let reason = obstacle(track).or_else(|| place.is_some().then_some(LeftOutReason::Second));
            match reason {
                None => *place = Some(track.clone()),
                Some(reason) => {
                    carried.left_out.push(LeftOut { track: track.id, codec: track.codec_name().to_owned(), reason });
                }
            }
        }
        carried.tracks = [video, audio].into_iter().flatten().filter(|track| selection.takes(track.kind)).collect();
        carried
    }

    /// Whether a decoder set up for `self` goes on with `other`.
    pub fn plays_on(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Track>, &Arc<Track>)| a.id == b.id && a.parameters == b.parameters;
        self.tracks.len() == other.tracks.len() && self.tracks.iter().zip(&other.tracks).all(same)
    }

    /// The kind of the leading track.
    pub fn leading_kind(&self) -> Option<MediaKind> {
        self.tracks.first().map(|track| track.kind)
    }
}

/// What keeps a track from being carried, whatever else there is.
fn obstacle(track: &Track) -> Option<LeftOutReason> {
    if track.kind == MediaKind::Application {
        return Some(LeftOutReason::NotMedia);
    }
    let known = match &track.parameters {
        CodecParameters::H264(p) => !p.sps.is_empty() && !p.pps.is_empty(),
        CodecParameters::H265(p) => !p.vps.is_empty() && !p.sps.is_empty() && !p.pps.is_empty(),
        CodecParameters::Av1(p) => !p.sequence_header.is_empty(),
        CodecParameters::Vp9(p) => p.size.is_some(),
        CodecParameters::Aac(p) => !p.config.is_empty() && p.sample_rate > 0 && p.frame_samples > 0,
        CodecParameters::Opus(_) => true,
        CodecParameters::G711A(_) | CodecParameters::G711U(_) | CodecParameters::G722(_) | CodecParameters::L16(_) => {
            return Some(LeftOutReason::NeedsOpus);
        }
        CodecParameters::Vp8(_) | CodecParameters::Jpeg(_) => return Some(LeftOutReason::NotCarried),
        CodecParameters::Opaque(_) => return Some(LeftOutReason::Opaque),
    };
    (!known).then_some(LeftOutReason::NoParameters)
}

/// The clock that a carried track's samples are counted by: the sampling rate for sound, 90 kHz for pictures.
pub(super) fn timescale(track: &Track) -> ClockRate {
    match &track.parameters {
        CodecParameters::Aac(p) => ClockRate::new(p.sample_rate).unwrap_or(track.clock_rate),
        CodecParameters::Opus(_) => ClockRate::OPUS,
        _ => ClockRate::VIDEO,
    }
}

/// Whether samples of this codec have lengths of their own, so that timestamps need not be trusted to a tick.
pub(super) const fn has_own_length(codec: Codec) -> bool {
    matches!(codec, Codec::Aac | Codec::Opus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::testing;

    #[test]
    fn the_first_playable_picture_and_sound_are_carried_and_the_rest_says_why() {
        let set = testing::track_set(vec![
            testing::g711(),
            testing::h264(),
            testing::aac(48_000),
            testing::h264(),
            testing::opus(),
            testing::onvif(),
            testing::jpeg(),
            testing::opaque_audio(),
        ]);
        let carried = Carried::choose(&set, Selection::Muxed);
        assert_eq!(carried.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(), [1, 2]);
        let reasons: Vec<_> = carried.left_out.iter().map(|left| (left.track.0, left.reason)).collect();
        assert_eq!(
            reasons,
            [
                (0, LeftOutReason::NeedsOpus),
                (3, LeftOutReason::Second),
                (4, LeftOutReason::Second),
                (5, LeftOutReason::NotMedia),
                (6, LeftOutReason::NotCarried),
                (7, LeftOutReason::Opaque),
            ]
        );
        assert!(carried.left_out.iter().all(|left| left.to_string().contains(&left.codec)));
    }

    #[test]
    fn sampled_sound_is_carried_as_the_opus_that_is_made_of_it() {
        let mut set = testing::track_set(vec![testing::h264(), testing::g711(), testing::opus()]);
        let made = Track { derived_from: Some(TrackId(1)), ..Track::clone(&set.tracks[2]) };
        set.tracks[2] = Arc::new(made);
        let carried = Carried::choose(&set, Selection::Muxed);
        assert_eq!(carried.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(carried.left_out, []);
        // AAC is taken as it is.
        set.tracks[1] = testing::track_set(vec![testing::h264(), testing::aac(48_000)]).tracks[1].clone();
        let carried = Carried::choose(&set, Selection::Muxed);
        assert_eq!(carried.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(carried.left_out, []);
    }

    #[test]
    fn a_selection_takes_its_own_kind_alone() {
        let set = testing::track_set(vec![testing::h264(), testing::aac(48_000)]);
        let kinds =
            |selection| Carried::choose(&set, selection).tracks.iter().map(|track| track.kind).collect::<Vec<_>>();
        assert_eq!(kinds(Selection::Muxed), [MediaKind::Video, MediaKind::Audio]);
        assert_eq!(kinds(Selection::Video), [MediaKind::Video]);
        assert_eq!(kinds(Selection::Audio), [MediaKind::Audio]);
        let silent = testing::track_set(vec![testing::h264()]);
        assert!(Carried::choose(&silent, Selection::Audio).tracks.is_empty());
    }

    #[test]
    fn a_picture_track_without_parameter_sets_is_left_out() {
        let mut description = testing::h264();
        description.parameters = CodecParameters::H264(<_>::default());
        let carried = Carried::choose(&testing::track_set(vec![description]), Selection::Muxed);
        assert_eq!(carried.left_out[0].reason, LeftOutReason::NoParameters);
    }

    #[test]
    fn other_parameters_do_not_play_on_and_a_new_handle_does() {
        let choose = |tracks| Carried::choose(&testing::track_set(tracks), Selection::Muxed);
        let before = choose(vec![testing::h264(), testing::aac(48_000)]);
        assert!(before.plays_on(&choose(vec![testing::h264(), testing::aac(48_000)])));
        assert!(!before.plays_on(&choose(vec![testing::h264(), testing::aac(44_100)])));
        assert!(!before.plays_on(&choose(vec![testing::h264()])));
    }
}
