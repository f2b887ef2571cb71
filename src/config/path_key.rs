//! The key of an entry of `paths`: a name, or a regular expression over names.

use std::{fmt, str::FromStr};

use regex::{Captures, Regex};

use super::expression;
use crate::base::{PathName, name::NameError};

/// The key of one entry: a name, or `~` and a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathKey {
    /// One path.
    Name(PathName),
    /// Every path whose name matches, unless an entry before it, or a name, fits.
    Pattern(PathPattern),
}

/// A regular expression over path names. It matches anywhere in the name unless it says `^` and `$`.
#[derive(Clone)]
pub struct PathPattern(Regex);

/// The longest regular expression, in bytes.
pub(super) const PATTERN_MAX: usize = 1000;
/// The most memory a compiled regular expression may take.
const PATTERN_SIZE_MAX: usize = 256 << 10;

/// Why a key of `paths` is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathKeyError {
    /// Not a path name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More than a thousand bytes.
    #[error("the regular expression is longer than {PATTERN_MAX} bytes")]
    TooLong,
    /// Not a regular expression.
    #[error("the regular expression is not valid: {0}")]
    Pattern(String),
    /// One that compiles into too much.
    #[error("the regular expression is too large: compiled, it takes more than {} KiB", PATTERN_SIZE_MAX >> 10)]
    TooLarge,
}

impl PathPattern {
    /// The groups that `name` fills, if it matches.
    pub fn captures<'a>(&self, name: &'a str) -> Option<Captures<'a>> {
        self.0.captures(name)
    }

    /// Whether the expression has this group, `1` or `name`.
    pub(super) fn has_group(&self, group: &str) -> bool {
        match group.parse::<usize>() {
            Ok(number) => number < self.0.captures_len(),
            Err(_) => self.0.capture_names().flatten().any(|name| name == group),
        }
    }

    fn parse(text: &str) -> Result<Self, PathKeyError> {
        if text.len() > PATTERN_MAX {
            return Err(PathKeyError::TooLong);
        }
        expression::compile(text, PATTERN_SIZE_MAX).map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PathKeyError::TooLarge,
            // The last line of the crate's message is the reason; those before it draw the expression.
            other => PathKeyError::Pattern(
                other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
            ),
        })
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for PathPattern {}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for PathKey {
    type Err = PathKeyError;

    fn from_str(text: &str) -> Result<Self, PathKeyError> {
        match text.strip_prefix('~') {
            Some(pattern) => PathPattern::parse(pattern).map(Self::Pattern),
            None => Ok(Self::Name(text.parse()?)),
        }
    }
}

impl fmt::Display for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Pattern(pattern) => write!(f, "~{}", pattern.0.as_str()),
        }
    }
}

impl PathKey {
    /// Whether it names, or matches, this path.
    pub fn fits(&self, path: &PathName) -> bool {
        match self {
            Self::Name(name) => name == path,
            Self::Pattern(pattern) => pattern.captures(path.as_str()).is_some(),
        }
    }
}

super::text::text_value!(PathKey, name: "PathKey",
expects: "a path's name, or `~` and a regular expression",
schema: {
    "description": "A path's name, or `~` and a regular expression that it matches.",
    "type": "string",
    "examples": ["front-door", "~^yard-"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_would_take_too_much_is_refused() {
        assert_eq!("~(((((a{100}){100}){100})))".parse::<PathKey>(), Err(PathKeyError::TooLarge));
        assert_eq!(format!("~{}", "a".repeat(2000)).parse::<PathKey>(), Err(PathKeyError::TooLong));
        let unclosed = "~^cam(".parse::<PathKey>().unwrap_err().to_string();
        assert_eq!(unclosed, "the regular expression is not valid: unclosed group");
    }
}
