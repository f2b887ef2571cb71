//! The names below `/{path}/hls/`: values, written and read back. Fields are parted by `_`, which no field has.
//!
//! ```text
//! main.m3u8                     a media playlist: main, sub, main-video, sub-audio …
//! main_5f3a09c1_init0.mp4       an init segment of a run
//! main_5f3a09c1_1042.m4s        a segment
//! main_5f3a09c1_1042_3.m4s      a part of it
//! ```
//!
//! The token of the run keeps a name from ever standing for other bytes, whatever happens to the numbers.

use std::fmt;

use crate::{
    base::Rendition,
    cmaf::{MuxerKey, RunToken, Selection},
};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    Playlist(Rendition, Selection),
    Media(Rendition, Selection, RunToken, Piece),
}

/// A piece of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The init segment of this generation.
    Init(u32),
    /// The segment of this number.
    Segment(u64),
    /// A part of the segment of this number.
    Part(u64, usize),
}

/// The name of a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceName<'a> {
    pub(super) stem: &'a str,
    pub(super) run: RunToken,
    pub(super) piece: Piece,
}

impl fmt::Display for PieceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stem, run, piece } = self;
        match piece {
            Piece::Init(generation) => write!(f, "{stem}_{run}_init{generation}.mp4"),
            Piece::Segment(sequence) => write!(f, "{stem}_{run}_{sequence}.m4s"),
            Piece::Part(sequence, index) => write!(f, "{stem}_{run}_{sequence}_{index}.m4s"),
        }
    }
}

impl FileName {
    /// Reads a name; one that is not as it would be written stands for nothing.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (stem, kind) = name.rsplit_once('.')?;
        if kind == "m3u8" {
            let (rendition, selection) = MuxerKey::parse_stem(stem)?;
            return Some(Self::Playlist(rendition, selection));
        }
        let mut fields = stem.split('_');
        let (rendition, selection) = MuxerKey::parse_stem(fields.next()?)?;
        let run = token(fields.next()?)?;
        let piece = match (kind, fields.next()?, fields.next()) {
            ("mp4", init, None) => Piece::Init(number(init.strip_prefix("init")?)?),
            ("m4s", sequence, None) => Piece::Segment(number(sequence)?),
            ("m4s", sequence, Some(index)) => Piece::Part(number(sequence)?, number(index)?),
            _ => return None,
        };
        fields.next().is_none().then_some(Self::Media(rendition, selection, run, piece))
    }
}

fn token(text: &str) -> Option<RunToken> {
    let run = RunToken(u32::from_str_radix(text, 16).ok()?);
    (run.to_string() == text).then_some(run)
}

/// A number as it is written: digits, no sign, no leading zero.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: RunToken = RunToken(0x5f3a_09c1);

    #[test]
    fn names_are_read_as_they_are_written() {
        for (stem, rendition, selection) in [
            ("main", Rendition::Main, Selection::Muxed),
            ("sub-video", Rendition::Sub, Selection::Video),
            ("main-audio", Rendition::Main, Selection::Audio),
        ] {
            for piece in [Piece::Init(0), Piece::Segment(1042), Piece::Part(u64::MAX, 3)] {
                let name = PieceName { stem, run: RUN, piece }.to_string();
                assert_eq!(FileName::parse(&name), Some(FileName::Media(rendition, selection, RUN, piece)), "{name}");
            }
            let name = format!("{stem}.m3u8");
            assert_eq!(FileName::parse(&name), Some(FileName::Playlist(rendition, selection)));
        }
    }

    #[test]
    fn what_is_not_written_so_stands_for_nothing() {
        for name in [
            "",
            ".m3u8",
            "main",
            "main.m3u",
            "other.m3u8",
            "main-.m3u8",
            "main-video-video.m3u8",
            "main_5f3a09c1.m4s",
            "main_5F3A09C1_1.m4s",
            "main_+f3a09c1_1.m4s",
            "main_5f3a09c_1.m4s",
            "main_5f3a09c1_01.m4s",
            "main_5f3a09c1_-1.m4s",
            "main_5f3a09c1_1_2_3.m4s",
            "main_5f3a09c1_1_.m4s",
            "main_5f3a09c1_1.mp4",
            "main_5f3a09c1_init.mp4",
            "main_5f3a09c1_init0.m4s",
            "main_5f3a09c1_99999999999999999999.m4s",
        ] {
            assert_eq!(FileName::parse(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_read_as_a_name_it_is_not(name in "(main|sub)?(-video)?[_.a-f0-9inpt-]{0,30}(m3u8|m4s|mp4)?") {
            if let Some(FileName::Media(rendition, selection, run, piece)) = FileName::parse(&name) {
                let key = MuxerKey { path: "x".parse().unwrap(), rendition, selection };
                prop_assert_eq!(PieceName { stem: key.stem(), run, piece }.to_string(), name);
            }
        }
    }
}
