//! A permission as it is written down, in the file, in the store and in tokens: an action, and the paths it holds for.

use std::{fmt, str::FromStr};

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::expression;
use crate::base::{PathName, name::NameError};

/// What a caller may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Watch a path on any door.
    View,
    /// Send a path's media, and say what happens there.
    Publish,
    /// Play back what was recorded.
    Playback,
    /// See alerts and what happens at cameras.
    Alerts,
    /// Take note of alerts, and silence them.
    Ack,
    /// See what sensors show.
    Sensors,
    /// See counters, sessions and metrics.
    Stats,
    /// Act on sessions.
    Control,
    /// Everything, on every path.
    Admin,
}

impl Action {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::View,
        Self::Publish,
        Self::Playback,
        Self::Alerts,
        Self::Ack,
        Self::Sensors,
        Self::Stats,
        Self::Control,
        Self::Admin,
    ];

    /// The word of tokens, configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Publish => "publish",
            Self::Playback => "playback",
            Self::Alerts => "alerts",
            Self::Ack => "ack",
            Self::Sensors => "sensors",
            Self::Stats => "stats",
            Self::Control => "control",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Action {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|action| action.name() == text);
        found.ok_or(
            "expected one of `view`, `publish`, `playback`, `alerts`, `ack`, `sensors`, `stats`, `control`, `admin`",
        )
    }
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionConfig {
    /// What may be done. `admin` is everything, on every path.
    pub action: Action,
    /// The paths it holds for: a name; a glob, in which `*` stands for anything within a segment and `**` for anything at
    /// all; or `~` and a regular expression for the whole name. `*` alone is every path.
    #[serde(default)]
    pub path: PathMatcher,
}

/// The paths a permission holds for.
#[derive(Clone, Default)]
pub enum PathMatcher {
    /// Every path, and the server as a whole.
    #[default]
    Every,
    /// One path.
    Name(PathName),
    /// Those that match; the text is as it was written.
    Pattern(Box<str>, Regex),
}

/// The longest glob or regular expression, in bytes.
const LONGEST: usize = 400;
/// The most memory a compiled one may take.
const COMPILED_MAX: usize = 64 << 10;

/// Why a text means no paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathMatcherError {
    /// Not a path name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More than a few hundred bytes.
    #[error("a pattern of paths has at most {LONGEST} bytes")]
    TooLong,
    /// A glob with signs that are in no name.
    #[error("a glob has letters, digits, `_`, `.`, `-`, `/`, `*` and `?`; `~` in front makes it a regular expression")]
    Glob,
    /// Not a regular expression.
    #[error("the regular expression is not valid")]
    Pattern,
    /// One that compiles into too much.
    #[error("the regular expression is too large: compiled, it takes more than {} KiB", COMPILED_MAX >> 10)]
    TooLarge,
}

impl PathMatcher {
    /// Whether it holds for a path.
    pub fn matches(&self, path: &PathName) -> bool {
        match self {
            Self::Every => true,
            Self::Name(name) => name == path,
            Self::Pattern(_, regex) => regex.is_match(path.as_str()),
        }
    }

    /// Whether it holds for every path there can be, and so for the server as a whole.
    pub const fn is_everything(&self) -> bool {
        matches!(self, Self::Every)
    }

    /// Whether it is a regular expression, which may take much more memory than its text.
    pub fn is_expression(&self) -> bool {
        self.text().starts_with('~')
    }

    fn text(&self) -> &str {
        match self {
            Self::Every => "*",
            Self::Name(name) => name.as_str(),
            Self::Pattern(text, _) => text,
        }
    }
}

impl FromStr for PathMatcher {
    type Err = PathMatcherError;

    fn from_str(text: &str) -> Result<Self, PathMatcherError> {
        if matches!(text, "*" | "**" | "~.*" | "~^.*$") {
            return Ok(Self::Every);
        }
        let expression = match text.strip_prefix('~') {
            _ if text.len() > LONGEST => return Err(PathMatcherError::TooLong),
            // A comment of `(?x)` would hide our bracket; no name has this sign.
            Some(expression) if expression.contains('#') => return Err(PathMatcherError::Pattern),
            Some(expression) => {
                // By itself first: what is only valid between our brackets would get out of them.
                compile(expression)?;
                expression.to_owned()
            }
            None if text.contains(['*', '?']) => glob(text)?,
            None => return Ok(Self::Name(text.parse()?)),
        };
        // The whole name: half a name that matches is another camera.
        Ok(Self::Pattern(text.into(), compile(&format!("\\A(?:{expression})\\z"))?))
    }
}

fn compile(expression: &str) -> Result<Regex, PathMatcherError> {
    expression::compile(expression, COMPILED_MAX).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PathMatcherError::TooLarge,
        _ => PathMatcherError::Pattern,
    })
}

/// A glob as a regular expression.
fn glob(text: &str) -> Result<String, PathMatcherError> {
    let mut expression = String::with_capacity(text.len() * 2);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => expression.push_str(".*"),
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '.' | '-' => expression.extend(['\\', c]),
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '/' => expression.push(c),
            _ => return Err(PathMatcherError::Glob),
        }
    }
    Ok(expression)
}

impl PartialEq for PathMatcher {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for PathMatcher {}

impl fmt::Display for PathMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for PathMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for PathMatcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for PathMatcher {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathMatcher".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": LONGEST, "examples": ["front-door", "site-1/*", "~(north|south)-.*"] })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<PathMatcher>().unwrap().matches(&name.parse().unwrap())
    }

    #[test]
    fn a_name_a_glob_and_a_regular_expression_hold_for_whole_names() {
        let table = [
            ("cam", "cam", true),
            ("cam", "cam1", false),
            ("*", "site/cam", true),
            ("**", "site/cam", true),
            ("cam*", "cam-1", true),
            ("cam*", "cam/1", false),
            ("cam**", "cam/1", true),
            ("*cam", "mycam", true),
            ("*cam", "mycam2", false),
            ("site/*", "site/a", true),
            ("site/*", "site/a/b", false),
            ("site/**", "site/a/b", true),
            ("site/**", "site2/a", false),
            ("cam-?", "cam-1", true),
            ("cam-?", "cam-12", false),
            ("a.c*", "abc", false),
            ("~front", "front", true),
            ("~front", "front-door", false),
            ("~front|back", "my-back", false),
            ("~front|back", "back", true),
            ("~.*", "site/a", true),
            ("~(?x) cam -1", "cam-1", true),
            ("~(?x) cam -1", "my-cam-1", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_would_get_out_of_its_brackets_or_its_bounds_is_refused() {
        use PathMatcherError as E;
        let long = format!("~{}", "a".repeat(LONGEST));
        let table = [
            ("~a)|(b", E::Pattern),
            ("~(", E::Pattern),
            ("~(?x)a # ", E::Pattern),
            ("~[", E::Pattern),
            ("a*(b", E::Glob),
            ("a*\n", E::Glob),
            (long.as_str(), E::TooLong),
            ("~(\\w{100}){100}", E::TooLarge),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<PathMatcher>().unwrap_err(), expected, "{text}");
        }
        assert!(matches!("a//b".parse::<PathMatcher>(), Err(E::Name(_))));
        assert!(matches!("".parse::<PathMatcher>(), Err(E::Name(_))));
    }

    #[test]
    fn permissions_read_back_as_they_were_written() {
        for text in ["*", "cam", "site/*", "~a|b"] {
            let json = serde_json::json!({ "action": "view", "path": text });
            let permission: PermissionConfig = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&permission).unwrap(), json);
        }
        assert!(serde_json::from_str::<PermissionConfig>(r#"{"action":"view","pth":"a"}"#).is_err());
        assert!(serde_json::from_str::<PermissionConfig>(r#"{"action":"fly"}"#).is_err());
        for action in Action::ALL {
            assert_eq!(action.name().parse(), Ok(action));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_a_glob_never_leaves_its_segment(text in "[a-c*?/.~()|\\[\\]-]{0,12}") {
            let Ok(matcher) = text.parse::<PathMatcher>() else { return Ok(()) };
            if !text.starts_with('~') && !text.contains("**") && !text.contains('/') && text != "*" {
                prop_assert!(!matcher.matches(&"a/a".parse().unwrap()), "{}", text);
            }
        }
    }
}
