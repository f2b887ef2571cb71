//! The multivariant playlist of a path: its renditions as variants. Values in, text out; written by `m3u8-rs`.
//!
//! HLS-08: CODECS names every coding of a variant. A variant whose source was never seen is left out until it was.

use std::{sync::Arc, time::Duration};

use m3u8_rs::{MasterPlaylist, Resolution, VariantStream};

use crate::{
    cmaf::{Carried, MuxerKey},
    hub::TrackFigures,
    media::{CodecParameters, MediaKind, Track, rfc6381},
};

/// What is known of one variant.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) key: MuxerKey,
    pub(super) carried: Carried,
    /// The figures of each carried track.
    pub(super) figures: Vec<TrackFigures>,
}

/// Bits per second taken off the line beyond the samples: boxes of four parts a second.
const BOXES_BPS: u64 = 12_000;

/// Writes the playlist; `folder` stands before the names of the media playlists.
pub(super) fn render(variants: &[Variant], folder: &str) -> String {
    let playlist = MasterPlaylist {
        // RFC 8216 §7: nothing in here takes more than the first version.
        version: Some(1),
        variants: variants.iter().map(|variant| variant_stream(variant, folder)).collect(),
        ..MasterPlaylist::default()
    };
    let mut text = Vec::with_capacity(512);
    playlist.write_to(&mut text).expect("writing to memory should not fail");
    String::from_utf8_lossy(&text).into_owned()
}

fn variant_stream(variant: &Variant, folder: &str) -> VariantStream {
    let tracks = &variant.carried.tracks;
    let codecs: Vec<_> = tracks.iter().filter_map(|track| rfc6381::codec_string(&track.parameters)).collect();
    let measured = |figures: &TrackFigures| (figures.bit_rate_bps > 0).then_some(figures.bit_rate_bps);
    let rates =
        tracks.iter().zip(&variant.figures).map(|(track, figures)| measured(figures).unwrap_or_else(|| guess(track)));
    let average = rates.sum::<u64>() + BOXES_BPS;
    let video = tracks.iter().zip(&variant.figures).find(|(track, _)| track.kind == MediaKind::Video);
    let size = video.and_then(|(track, _)| track.parameters.picture_size());
    VariantStream {
        uri: format!("{folder}{}.m3u8", variant.key.stem()),
        // RFC 8216 §4.3.4.2: the peak of any segment. A camera's rate moves with the picture.
        bandwidth: average + average / 2,
        average_bandwidth: Some(average),
        codecs: Some(codecs.join(",")),
        resolution: size.map(|size| Resolution { width: size.width.into(), height: size.height.into() }),
        frame_rate: video.and_then(|(track, figures)| frame_rate(track, figures)),
        ..VariantStream::default()
    }
}

/// What the parameter sets say, else what was counted.
fn frame_rate(track: &Arc<Track>, figures: &TrackFigures) -> Option<f64> {
    let declared = match &track.parameters {
        CodecParameters::H264(p) => p.frame_rate_milli,
        CodecParameters::H265(p) => p.frame_rate_milli,
        _ => None,
    };
    let declared = declared.map(|milli| f64::from(milli) / 1000.0).filter(|rate| (1.0..=480.0).contains(rate));
    let counted = (figures.units_per_second > 0.5).then_some(figures.units_per_second);
    // Cameras that say 25 and send 12 are not rare.
    match (declared, counted) {
        (Some(declared), Some(counted)) if (declared - counted).abs() > declared / 4.0 => Some(counted),
        (declared, counted) => declared.or(counted),
    }
}

/// Bits per second of a track that nobody has counted yet.
fn guess(track: &Track) -> u64 {
    match track.kind {
        MediaKind::Video => {
            let size = track.parameters.picture_size().unwrap_or_default();
            // Two bits a second for each pixel: 4 Mbit/s at 1080p.
            (u64::from(size.width) * u64::from(size.height) * 2).max(300_000)
        }
        _ => 128_000,
    }
}

/// How long a path's answer waits for the codecs of a rendition that nobody has watched yet.
pub(super) const LEARN_WITHIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::Rendition,
        cmaf::{Selection, testing},
    };

    fn variant(rendition: Rendition, selection: Selection, bit_rate_bps: u64) -> Variant {
        let set = testing::track_set(vec![testing::h264(), testing::aac(48_000)]);
        let carried = Carried::choose(&set, selection);
        let figures = TrackFigures { bit_rate_bps, units_per_second: 25.0, ..TrackFigures::default() };
        let figures = vec![figures; carried.tracks.len()];
        Variant { key: MuxerKey { path: "cam".parse().unwrap(), rendition, selection }, carried, figures }
    }

    #[test]
    fn both_renditions_are_variants_with_codecs_size_and_rate() {
        let variants =
            [variant(Rendition::Main, Selection::Muxed, 1_000_000), variant(Rendition::Sub, Selection::Muxed, 0)];
        let text = render(&variants, "hls/");
        let Ok(("", parsed)) =
            m3u8_rs::parse_master_playlist(text.as_bytes()).map(|(rest, p)| (std::str::from_utf8(rest).unwrap(), p))
        else {
            panic!("{text}")
        };
        let main = &parsed.variants[0];
        assert_eq!((main.uri.as_str(), main.average_bandwidth), ("hls/main.m3u8", Some(2_012_000)));
        assert!(main.bandwidth > 2_012_000);
        assert_eq!(main.codecs.as_deref(), Some("avc1.42c01e,mp4a.40.2"));
        assert_eq!(main.resolution, Some(Resolution { width: 640, height: 360 }));
        assert_eq!(main.frame_rate, Some(25.0));
        let sub = &parsed.variants[1];
        assert_eq!(sub.uri, "hls/sub.m3u8");
        assert!(sub.bandwidth > 300_000, "a rate nobody has counted is guessed");
    }

    #[test]
    fn a_muted_tile_names_the_picture_alone() {
        let text = render(&[variant(Rendition::Main, Selection::Video, 500_000)], "");
        assert!(text.contains("CODECS=\"avc1.42c01e\"") && text.ends_with("main-video.m3u8\n"), "{text}");
    }
}
