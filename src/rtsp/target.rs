//! What an RTSP URL names: a path, one of its renditions, perhaps one track, and what the query chooses
//! (RFC 2326 §3.2, appendix C.1.1).
//!
//! Players join the control attribute of a track to the aggregate URL in every way there is: after a slash, after a
//! slash that follows the query, with a second slash. All of them are read.

use percent_encoding::percent_decode_str;
use rtsp_types::Url;

use crate::{
    base::{Error, Kind, PathName, Rendition, Result},
    media::{MediaKind, Track, TrackId},
};

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartChoice {
    /// At the newest random access point, sent at once.
    Instant,
    /// With what comes next.
    Live,
}

/// Which tracks a reader is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TrackChoice {
    #[default]
    All,
    Only(MediaKind),
}

impl TrackChoice {
    pub(super) fn takes(self, track: &Track) -> bool {
        match self {
            Self::All => true,
            Self::Only(kind) => track.kind == kind,
        }
    }
}

/// What the query of a URL chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// `start=live` or `start=instant`.
    pub(super) start: Option<StartChoice>,
    /// `tracks=video` or `tracks=audio`.
    pub(super) tracks: TrackChoice,
}

/// What a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathName,
    pub(super) rendition: Rendition,
    pub(super) choice: Choice,
}

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) target: Target,
    /// `trackID=N`, if the URL names one track.
    pub(super) track: Option<TrackId>,
    /// Whether the URL has a query; players drop it from the URLs they make themselves.
    pub(super) has_query: bool,
}

/// Takes a URL apart.
///
/// # Errors
/// [`Kind::NotFound`] for what can be no path, [`Kind::InvalidArgument`] for a query that says nothing of sense.
pub(super) fn parse(url: &Url) -> Result<Address> {
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let mut path = path.trim_matches('/');
    let query = url.query().map(|query| query.trim_end_matches('/'));
    let mut track = None;
    let query = query.map(|query| match query.rsplit_once('/').map(|(head, last)| (head, track_id(last))) {
        Some((head, Some(id))) => {
            track = Some(id);
            head.trim_end_matches('/')
        }
        _ => query,
    });
    if let Some((head, last)) = path.rsplit_once('/')
        && let Some(id) = track_id(last)
    {
        track = Some(id);
        path = head.trim_end_matches('/');
    }
    let (name, rendition) = Rendition::split(path);
    let name = name.parse().map_err(|error| {
        // Without the query: a token may stand there.
        Error::new(Kind::NotFound, format!("rtsp url {}: it names no path", url.path()))
            .with_code("path_not_found")
            .caused_by(error)
    })?;
    let choice = query.map_or(Ok(Choice::default()), choice)?;
    Ok(Address { target: Target { path: name, rendition, choice }, track, has_query: query.is_some() })
}

/// `trackID=N` and its spellings; no path name has an equals sign.
fn track_id(segment: &str) -> Option<TrackId> {
    let (name, number) = segment.split_once('=')?;
    let known = ["trackid", "track", "streamid", "stream"].iter().any(|known| name.eq_ignore_ascii_case(known));
    known.then(|| number.parse().ok().map(TrackId)).flatten()
}

/// Reads the query. What is not ours is left alone: recorders add their own parameters.
fn choice(query: &str) -> Result<Choice> {
    let mut choice = Choice::default();
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let unknown =
            |values: &str| Error::new(Kind::InvalidArgument, format!("rtsp url: {key}={value} is none of {values}"));
        match key {
            "start" => {
                choice.start = Some(match value {
                    "live" => StartChoice::Live,
                    "instant" => StartChoice::Instant,
                    _ => return Err(unknown("live, instant")),
                });
            }
            "tracks" => {
                choice.tracks = match value {
                    "all" => TrackChoice::All,
                    "video" => TrackChoice::Only(MediaKind::Video),
                    "audio" => TrackChoice::Only(MediaKind::Audio),
                    _ => return Err(unknown("all, audio, video")),
                };
            }
            _ => {}
        }
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<Address> {
        parse(&Url::parse(text).unwrap())
    }

    #[test]
    fn control_urls_of_every_style_name_the_same_track_rt_02() {
        let table = [
            ("rtsp://h/cam", None),
            ("rtsp://h:8554/cam/", None),
            ("rtsp://user@h/cam//", None),
            ("rtsp://h/cam/trackID=1", Some(1)),
            ("rtsp://h/cam/trackID=1/", Some(1)),
            ("rtsp://h/cam//TrackId=1", Some(1)),
            ("rtsp://h/cam/streamid=1", Some(1)),
            ("rtsp://h/cam?token=x", None),
            ("rtsp://h/cam/?token=x/", None),
            ("rtsp://h/cam?token=x/trackID=1", Some(1)),
            ("rtsp://h/cam/?token=x/trackID=1", Some(1)),
            ("rtsp://h/cam/trackID=1?token=x", Some(1)),
            ("rtsp://h/%63am", None),
        ];
        for (url, track) in table {
            let address = address(url).unwrap();
            assert_eq!((address.target.path.as_str(), address.track), ("cam", track.map(TrackId)), "{url}");
            assert_eq!(address.has_query, url.contains('?'), "{url}");
        }
    }

    #[test]
    fn renditions_and_options_are_read_from_the_url() {
        let target = address("rtsp://h/site/cam/sub/?start=live&tracks=video").unwrap().target;
        assert_eq!((target.path.as_str(), target.rendition), ("site/cam", Rendition::Sub));
        assert_eq!(target.choice.start, Some(StartChoice::Live));
        assert_eq!(target.choice.tracks, TrackChoice::Only(MediaKind::Video));
        let target = address("rtsp://h/cam/main?tracks=audio/trackID=1").unwrap().target;
        assert_eq!((target.rendition, target.choice.tracks), (Rendition::Main, TrackChoice::Only(MediaKind::Audio)));
    }

    #[test]
    fn urls_that_name_no_path_are_not_found_and_odd_options_are_refused() {
        for url in
            ["rtsp://h", "rtsp://h/", "rtsp://h/a/../..", "rtsp://h/%2e%2e%2fx", "rtsp://h/a%00", "rtsp://h/trackID=0"]
        {
            assert_eq!(address(url).unwrap_err().kind(), Kind::NotFound, "{url}");
        }
        assert_eq!(address("rtsp://h/cam?start=yesterday").unwrap_err().kind(), Kind::InvalidArgument);
    }

    proptest::proptest! {
        #[test]
        fn any_url_is_read_without_a_panic(rest in "[ -~]{0,40}", odd in "[/?=&%.a-dtrackID0-9]{0,40}") {
            for rest in [rest, odd] {
                if let Ok(url) = Url::parse(&format!("rtsp://h/{rest}")) {
                    let _ = parse(&url);
                }
            }
        }
    }
}
