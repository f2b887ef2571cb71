//! What a media URL means: a value, split from the right, so that a path name may have as many segments as it likes.
//!
//! It decides by syntax alone; whether the path exists and who may see it is asked later, with a grant.
//!
//! ```text
//! /{path}                 → to /{path}/
//! /{path}/                the page of a camera; /embed/{path}/ for foreign pages to frame
//! /{path}/index.m3u8      its playlists          {path}/sub, {path}/main choose the rendition
//! /{path}/hls/{file}      what the playlists name
//! /{path}/whep            WebRTC, and whep/{id} its sessions
//! ```

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::base::{Error, Kind, PathName, Rendition, name::NameError};

/// The longest URL path that is looked at; every name with every door fits.
const URL_MAX: usize = 2048;

/// What a URL outside the fixed ones asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/`
    Start,
    /// `/{path}`: its page has a slash at the end. The last segment, for a relative redirect.
    AddSlash(String),
    /// `/{path}/`
    Page,
    /// `/embed/{path}/`: the same for foreign pages to frame.
    Embed,
    /// `/{path}/index.m3u8`, or a file below `/{path}/hls/`.
    Hls(Place, HlsFile),
    /// `/{path}/whep`, or a session below it by the text of its id.
    Whep(Place, Option<String>),
}

/// A path and which of its renditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathName,
    pub(super) rendition: Rendition,
    /// Whether the URL named the rendition.
    pub(super) explicit: bool,
}

/// Which file of a path's HLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HlsFile {
    /// `index.m3u8`
    Index,
    /// `hls/{file}`; letters, digits, `_`, `-` and `.` only.
    Named(String),
}

/// Reads the path of a URL, percent-encoded as it came.
///
/// # Errors
/// [`Kind::InvalidArgument`] for what can be no path name, [`Kind::NotFound`] for what names a door that is not there.
pub(super) fn split(raw: &str) -> Result<Target, Error> {
    let url = decode(raw)?;
    let Some(rest) = url.strip_prefix('/') else { return Err(no_name("an URL path begins with a slash")) };
    if rest.is_empty() {
        return Ok(Target::Start);
    }
    if let Some(name) = rest.strip_prefix("embed/") {
        return match name.strip_suffix('/') {
            Some(name) => place(name).map(|_| Target::Embed),
            None => place(name).map(|_| Target::AddSlash(name.rsplit('/').next().unwrap_or(name).to_owned())),
        };
    }
    if let Some(page) = rest.strip_suffix('/') {
        return place(page).map(|_| Target::Page);
    }
    let (above, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    if last == "index.m3u8" && !above.is_empty() {
        return Ok(Target::Hls(place(above)?, HlsFile::Index));
    }
    if last == "whep" && !above.is_empty() {
        return Ok(Target::Whep(place(above)?, None));
    }
    if let Some(path) = above.strip_suffix("/whep") {
        return Ok(Target::Whep(place(path)?, Some(last.to_owned())));
    }
    if let Some(path) = above.strip_suffix("/hls") {
        let plain = last.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if !plain || matches!(last, "." | "..") {
            return Err(no_name("a file name has letters, digits, `_`, `-` and `.` only"));
        }
        return Ok(Target::Hls(place(path)?, HlsFile::Named(last.to_owned())));
    }
    place(rest).map(|_| Target::AddSlash(last.to_owned()))
}

/// Reads a path name as it stands in a URL of the API, decoded already.
///
/// # Errors
/// As [`split`].
pub(super) fn path_name(text: &str) -> Result<PathName, Error> {
    text.parse().map_err(|error: NameError| match &error {
        // The name of a door: it is no camera, and nothing is wrong with the text.
        NameError::Reserved(word) if word != "." && word != ".." => {
            let error = Error::new(Kind::NotFound, "there is nothing at this URL").with_code("not_found");
            error.with_hint(format!("`{word}` is reserved: no path can have it in its name"))
        }
        _ => no_name(error.to_string()),
    })
}

fn place(text: &str) -> Result<Place, Error> {
    let (name, rendition) = Rendition::split(text);
    Ok(Place { path: path_name(name)?, rendition, explicit: name.len() < text.len() })
}

/// Decodes once. What is encoded twice keeps its `%`, which no name has.
fn decode(raw: &str) -> Result<Cow<'_, str>, Error> {
    if raw.len() > URL_MAX {
        return Err(no_name(format!("an URL path has at most {URL_MAX} bytes, this one has {}", raw.len())));
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| no_name("an URL path is UTF-8"))
}

fn no_name(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_path_name")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(path: &str, rendition: Rendition, explicit: bool) -> Place {
        Place { path: path.parse().unwrap(), rendition, explicit }
    }

    #[test]
    fn a_url_is_split_from_the_right() {
        use Rendition::{Main, Sub};
        let named = |file: &str| HlsFile::Named(file.into());
        let table = [
            ("/", Target::Start),
            ("/cam", Target::AddSlash("cam".into())),
            ("/site/gate/north", Target::AddSlash("north".into())),
            ("/cam/sub", Target::AddSlash("sub".into())),
            ("/cam/", Target::Page),
            ("/site/gate/", Target::Page),
            ("/cam/sub/", Target::Page),
            ("/cam/index.m3u8", Target::Hls(at("cam", Main, false), HlsFile::Index)),
            ("/a/b/index.m3u8", Target::Hls(at("a/b", Main, false), HlsFile::Index)),
            ("/a%2Fb/index.m3u8", Target::Hls(at("a/b", Main, false), HlsFile::Index)),
            ("/cam/sub/index.m3u8", Target::Hls(at("cam", Sub, true), HlsFile::Index)),
            ("/cam/main/index.m3u8", Target::Hls(at("cam", Main, true), HlsFile::Index)),
            ("/cam/hls/seg7.1.mp4", Target::Hls(at("cam", Main, false), named("seg7.1.mp4"))),
            ("/a/b/sub/hls/init.mp4", Target::Hls(at("a/b", Sub, true), named("init.mp4"))),
            ("/cam/whep", Target::Whep(at("cam", Main, false), None)),
            ("/a/b/sub/whep", Target::Whep(at("a/b", Sub, true), None)),
            ("/cam/whep/0f", Target::Whep(at("cam", Main, false), Some("0f".into()))),
            ("/cam/sub/whep/0f", Target::Whep(at("cam", Sub, true), Some("0f".into()))),
            ("/c%61m/", Target::Page),
            ("/embed/cam/", Target::Embed),
            ("/embed/site/gate/", Target::Embed),
            ("/embed/site/gate", Target::AddSlash("gate".into())),
            ("/robots.txt", Target::AddSlash("robots.txt".into())),
        ];
        for (url, target) in table {
            assert_eq!(split(url).unwrap_or_else(|error| panic!("{url}: {error}")), target, "{url}");
        }
    }

    #[test]
    fn what_names_no_path_is_refused_before_anything_is_looked_up() {
        let long = format!("/{}/", "a".repeat(201));
        let longer = format!("/{}", "a/".repeat(2000));
        let table = [
            ("", Kind::InvalidArgument),
            ("*", Kind::InvalidArgument),
            ("//", Kind::InvalidArgument),
            ("/a//b/", Kind::InvalidArgument),
            ("/../etc/passwd", Kind::InvalidArgument),
            ("/%2e%2e/%2e%2e/etc/passwd", Kind::InvalidArgument),
            ("/%252e%252e/", Kind::InvalidArgument),
            ("/..%2f..%2fetc", Kind::InvalidArgument),
            ("/a%5Cb/", Kind::InvalidArgument),
            ("/a%00b/", Kind::InvalidArgument),
            ("/%E2%80%A5/", Kind::InvalidArgument),
            ("/%ff/", Kind::InvalidArgument),
            ("/<img>/", Kind::InvalidArgument),
            (&long, Kind::InvalidArgument),
            (&longer, Kind::InvalidArgument),
            ("/cam/hls/..", Kind::InvalidArgument),
            ("/cam/hls/a%2F..%2Fb", Kind::NotFound),
            ("/cam/hls/%2e%2e", Kind::InvalidArgument),
            ("/index.m3u8", Kind::NotFound),
            ("/hls/x.mp4", Kind::NotFound),
            ("/sub/", Kind::NotFound),
            ("/api/v1/nothing", Kind::NotFound),
            ("/embed/", Kind::InvalidArgument),
            ("/embed/cam/index.m3u8", Kind::NotFound),
            ("/embed/embed/", Kind::NotFound),
            ("/embed/../x/", Kind::InvalidArgument),
            ("/whep", Kind::NotFound),
            ("/whep/0f", Kind::NotFound),
            ("/cam/whep/", Kind::NotFound),
            ("/cam/whep/a/b", Kind::NotFound),
            ("/cam/whip", Kind::NotFound),
            ("/cam/snapshot.jpg", Kind::NotFound),
            ("/assets/nothing.js", Kind::NotFound),
            ("/cam/hls/", Kind::NotFound),
        ];
        for (url, kind) in table {
            assert_eq!(split(url).map_err(|error| error.kind()), Err(kind), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics_and_no_name_leaves_its_alphabet(url in ".{0,200}") {
            check(&url);
        }

        #[test]
        fn urls_made_of_tricky_pieces_stay_inside(pieces in prop::collection::vec(prop::sample::select(vec![
            "/", "..", ".", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%00", "hls", "whep", "sub", "main", "index.m3u8", "cam", "a.b",
            "%25", "\u{2025}", "%e2%80%a5", "//", "api", " ", "~", "*",
        ]), 0..12)) {
            check(&format!("/{}", pieces.concat()));
        }
    }

    fn check(url: &str) {
        match split(url) {
            Ok(Target::Hls(place, file)) => {
                assert!(place.path.as_str().split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{url:?}");
                if let HlsFile::Named(file) = file {
                    assert!(!file.contains(['/', '\\', '\0', '%']) && file != ".." && file != ".", "{url:?}");
                }
            }
            Ok(Target::AddSlash(last)) => assert!(!last.contains(['/', '\\', '\r', '\n', ':']), "{url:?}"),
            Ok(_) => {}
            Err(error) => assert!(matches!(error.kind(), Kind::InvalidArgument | Kind::NotFound), "{url:?}"),
        }
    }
}
