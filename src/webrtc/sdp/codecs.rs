//! Which tracks of a path a viewer gets, and in which of the formats it offered. Sans-IO.
//!
//! At most one line of pictures and one of sound (WHEP §4.3.5): of each kind the first track that the viewer can take
//! as it is; the Opus that is made here of other sound stands behind what the source sends. Every other track that the
//! source sends is named, with the reason.

use super::{Format, Offer, Section, SectionKind, fit};
use crate::media::{Codec, CodecParameters, MediaKind, Track, TrackId, TrackSet};

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
    /// The track of the path.
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
    /// What the answer says of the format.
    pub parameters: Option<String>,
    /// The number of the abs-capture-time extension.
    pub abs_capture_time: Option<u8>,
    /// The number of the playout-delay extension.
    pub playout_delay: Option<u8>,
    /// The number of the transport-wide sequence number extension, of pictures. It stands on the packets of a start
    /// alone, since its feedback costs ten to twenty packets a second and viewer, and later loss and REMB say enough.
    pub transport_cc: Option<u8>,
    /// Whether it is an Opus track that is made here, while somebody asks for it.
    pub transcoded: bool,
}

/// A track of the path that a viewer is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which one.
    pub track: TrackId,
    /// Pictures, sound or else.
    pub kind: MediaKind,
    /// Its codec, as people know it.
    pub codec: String,
    /// Why, in words.
    pub reason: String,
}

/// Something a viewer should know of a track it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which one.
    pub track: TrackId,
    /// A stable word: `reordered_pictures`, `profile_not_offered`.
    pub code: &'static str,
    /// The same in words.
    pub text: String,
}

/// No track of the path is in a format that the viewer offers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing in common: the path has {}; the viewer takes {}", listed(.path), listed(.viewer))]
pub struct NothingShared {
    /// What the path has.
    pub path: Vec<String>,
    /// What the viewer takes.
    pub viewer: Vec<String>,
    /// Why each track cannot be carried.
    pub left_out: Vec<LeftOut>,
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// Chooses the tracks a viewer gets.
///
/// # Errors
/// Both lists, when they have nothing in common.
pub fn choose(offer: &Offer, tracks: &TrackSet) -> Result<Chosen, NothingShared> {
    let mut chosen = Chosen { lines: Vec::new(), left_out: Vec::new(), notices: Vec::new() };
    for kind in [MediaKind::Video, MediaKind::Audio] {
        choose_kind(offer, tracks, kind, &mut chosen);
    }
    number_sources(&mut chosen.lines, rand::random());
    for track in tracks.tracks.iter().filter(|track| track.kind == MediaKind::Application) {
        chosen.left_out.push(left_out(track, "WebRTC carries pictures and sound only"));
    }
    // What is made here is no track of the source, and what it is made of is heard.
    let made = |id| tracks.track(id).and_then(|track| track.derived_from);
    let heard: Vec<_> = chosen.lines.iter().filter_map(|line| made(line.track)).collect();
    chosen.left_out.retain(|left| made(left.track).is_none() && !heard.contains(&left.track));
    chosen.left_out.sort_by_key(|left_out| left_out.track);
    if chosen.lines.is_empty() {
        let path = distinct(tracks.sent().map(|track| track.codec_name()));
        let viewer = distinct(offer.sections.iter().flat_map(encodings));
        return Err(NothingShared { path, viewer, left_out: chosen.left_out });
    }
    // The order of the offer, so that the first line is the one whose transport the group uses.
    chosen.lines.sort_by_key(|line| offer.sections.iter().position(|section| section.mid == line.mid));
    Ok(chosen)
}

fn choose_kind(offer: &Offer, tracks: &TrackSet, kind: MediaKind, chosen: &mut Chosen) {
    let wanted = if kind == MediaKind::Video { SectionKind::Video } else { SectionKind::Audio };
    let section = offer.sections.iter().find(|section| section.usable && section.kind == wanted);
    let of_kind: Vec<&Track> = tracks.tracks.iter().map(AsRef::as_ref).filter(|track| track.kind == kind).collect();
    let Some(section) = section else {
        let offered = offer.sections.iter().any(|section| section.kind == wanted);
        let what = if kind == MediaKind::Video { "pictures" } else { "sound" };
        let reason = if offered && !offer.bundled {
            format!("the viewer wants a second transport for {what}: its offer has no `a=group:BUNDLE`")
        } else {
            format!("the viewer does not ask for {what}")
        };
        chosen.left_out.extend(of_kind.into_iter().map(|track| left_out(track, &reason)));
        return;
    };
    let mut taken: Option<TrackId> = None;
    let mut refused: Vec<(&Track, String)> = Vec::new();
    for track in of_kind {
        if let Some(sent) = taken {
            let reason = format!("one track of each kind is carried, and track {sent} is");
            chosen.left_out.push(left_out(track, &reason));
            continue;
        }
        match fit::fit(section, track) {
            Ok(fit) => {
                taken = Some(track.id);
                chosen.lines.push(line(section, track, fit.format, track.codec(), fit.parameters));
                chosen.notices.extend(fit.notice.map(|(code, text)| Notice { track: track.id, code, text }));
                chosen.notices.extend(reordered(track));
            }
            Err(reason) => refused.push((track, reason)),
        }
    }
    chosen.left_out.extend(refused.into_iter().map(|(track, reason)| left_out(track, &reason)));
}

/// RFC 3550 §8.1: random, and the streams of one session differ. 0 is left to those who have none.
fn number_sources(lines: &mut [ChosenLine], random: u32) {
    let first = (random & !0xf) | 0x10;
    for (line, ssrc) in lines.iter_mut().zip((first..).step_by(2)) {
        (line.ssrc, line.rtx_ssrc) = (ssrc, ssrc + 1);
    }
}

fn line(section: &Section, track: &Track, format: &Format, codec: Codec, parameters: Option<String>) -> ChosenLine {
    let extension = |uri: &str| section.extensions.iter().find(|extension| extension.uri == uri).map(|found| found.id);
    let video = track.kind == MediaKind::Video;
    ChosenLine {
        mid: section.mid.clone(),
        kind: track.kind,
        track: track.id,
        codec,
        payload_type: format.payload_type,
        // RFC 4588 §8.1: who repeats wants to be asked.
        rtx_payload_type: format.rtx.filter(|_| format.feedback.nack),
        ssrc: 0,
        rtx_ssrc: 0,
        clock_rate: format.clock_rate,
        parameters,
        abs_capture_time: extension(ABS_CAPTURE_TIME),
        playout_delay: extension(PLAYOUT_DELAY).filter(|_| video),
        transport_cc: extension(TRANSPORT_CC).filter(|_| video && format.feedback.transport_cc),
        transcoded: track.is_derived(),
    }
}

fn left_out(track: &Track, reason: &str) -> LeftOut {
    LeftOut { track: track.id, kind: track.kind, codec: track.codec_name().to_owned(), reason: reason.to_owned() }
}

fn reordered(track: &Track) -> Option<Notice> {
    reorders(track).then(|| Notice {
        track: track.id,
        code: "reordered_pictures",
        text: format!(
            "the {} has B-frames, which browsers cannot show over WebRTC: switch them off in the camera, or watch over HLS",
            track.codec_name()
        ),
    })
}

/// The encodings of a section as people know them, each once.
pub(super) fn encodings(section: &Section) -> Vec<String> {
    // Retransmission, redundancy, error correction, comfort noise and keys pressed carry no track.
    const OTHERS: [&str; 8] = ["rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event", "parityfec"];
    let real = |format: &&Format| !OTHERS.iter().any(|other| format.is(other));
    distinct(section.formats.iter().filter(real).map(|format| match format.encoding.to_ascii_uppercase().as_str() {
        "H264" => "H.264".to_owned(),
        "H265" => "H.265".to_owned(),
        "OPUS" => "Opus".to_owned(),
        "PCMA" => "G.711 A-law".to_owned(),
        "PCMU" => "G.711 µ-law".to_owned(),
        "G722" => "G.722".to_owned(),
        _ => format.encoding.clone(),
    }))
}

fn distinct(names: impl Iterator<Item = impl Into<String>>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names.map(Into::into) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Whether `track`, of another rendition, may go over `line` without a new negotiation.
pub fn carries(line: &ChosenLine, track: &Track) -> bool {
    !line.transcoded
        && line.kind == track.kind
        && line.codec == track.codec()
        && line.clock_rate == track.clock_rate.hz()
        && !track.is_opaque()
}

/// Whether the pictures of a path come in another order than they are shown in (B-frames), which browsers cannot show
/// over WebRTC: of two renditions the one without is the better.
pub fn reorders_pictures(tracks: &TrackSet) -> bool {
    tracks.first(MediaKind::Video).is_some_and(|track| reorders(track))
}

fn reorders(track: &Track) -> bool {
    let depth = match &track.parameters {
        CodecParameters::H264(p) => p.reorder_depth,
        CodecParameters::H265(p) => p.reorder_depth,
        _ => None,
    };
    depth.is_some_and(|depth| depth > 0)
}
