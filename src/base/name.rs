//! Names of paths and renditions, as readers ask for them.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The name of a path: segments of `[A-Za-z0-9_.-]+` joined by `/`, at most 200 bytes, no reserved word among them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathName(Arc<str>);

/// The longest name, in bytes.
pub const NAME_MAX: usize = 200;

/// Words that name a door or a fixed file; no segment of a path name may equal one.
pub const RESERVED: [&str; 31] = [
    ".well-known",
    "api",
    "assets",
    "embed",
    "favicon.ico",
    "graphql",
    "healthz",
    "hls",
    "index.m3u8",
    "main",
    "manifest.mpd",
    "metrics",
    "mjpeg",
    "mse",
    "readyz",
    "snapshot.jpg",
    "snapshot.mp4",
    "snapshot.webp",
    "socket.io",
    "static",
    "stream",
    "sub",
    "video.m3u8",
    "main.m3u8",
    "sub.m3u8",
    "whep",
    "whip",
    "ws",
    "docs",
    ".",
    "..",
];

/// Why a text is not a path name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("a path name needs at least one character")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("a path name has at most {NAME_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// `//`, or a slash at an end.
    #[error("a path name has no empty segment: write `a/b`, without a slash at either end or two in a row")]
    EmptySegment,
    /// A character outside the set.
    #[error("a path name has letters, digits, `_`, `.`, `-` and `/` only, found {0:?}")]
    Character(char),
    /// A word that names a door or a file.
    #[error("the segment `{0}` is reserved")]
    Reserved(String),
}

impl PathName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PathName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        for segment in text.split('/') {
            if segment.is_empty() {
                return Err(NameError::EmptySegment);
            }
            let odd = segment.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')));
            if let Some(odd) = odd {
                return Err(NameError::Character(odd));
            }
            if RESERVED.contains(&segment) {
                return Err(NameError::Reserved(segment.to_owned()));
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PathName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PathName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl AsRef<str> for PathName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PathName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One of the two sizes a camera may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rendition {
    /// The stream the path is named after.
    #[default]
    Main,
    /// The smaller one, `{path}/sub` on every door.
    Sub,
}

impl Rendition {
    /// The word of the URLs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Sub => "sub",
        }
    }

    /// Splits `{path}/sub` and `{path}/main` into path and rendition; a plain path is the main one.
    pub fn split(text: &str) -> (&str, Self) {
        match text.rsplit_once('/') {
            Some((path, "sub")) => (path, Self::Sub),
            Some((path, "main")) => (path, Self::Main),
            _ => (text, Self::Main),
        }
    }
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cameras_are_accepted() {
        for name in ["cam1", "front-door", "site_2/Gate.North", "a/b/c", "..."] {
            assert_eq!(name.parse::<PathName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_could_leave_the_house_or_shadow_a_door_is_refused() {
        let long = "a".repeat(NAME_MAX + 1);
        let table = [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong(201)),
            ("/a", NameError::EmptySegment),
            ("a//b", NameError::EmptySegment),
            ("a/", NameError::EmptySegment),
            ("a b", NameError::Character(' ')),
            ("a\\b", NameError::Character('\\')),
            ("a\0", NameError::Character('\0')),
            ("..", NameError::Reserved("..".into())),
            ("a/../b", NameError::Reserved("..".into())),
            ("api", NameError::Reserved("api".into())),
            ("cam/whep", NameError::Reserved("whep".into())),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<PathName>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_last_segment_may_choose_the_rendition() {
        assert_eq!(Rendition::split("a/b/sub"), ("a/b", Rendition::Sub));
        assert_eq!(Rendition::split("a/main"), ("a", Rendition::Main));
        assert_eq!(Rendition::split("a/b"), ("a/b", Rendition::Main));
        assert_eq!(Rendition::split("sub"), ("sub", Rendition::Main));
    }
}
