//! Texts of an alert with places for what is known of it: `{device} shows {value} {unit}`. `{{` and `}}` are plain
//! braces; anything else between braces is an error, so that no text can ask for more than stands here.

use std::{fmt, str::FromStr};

use crate::config::problem::{meant, quoted};

/// What may stand between braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The name people know the sensor or the camera by.
    Device,
    /// The sensor's id.
    Sensor,
    /// The camera's path.
    Path,
    /// The rule's id.
    Rule,
    /// `info`, `warning` or `critical`.
    Severity,
    /// What was read.
    Value,
    /// Its unit.
    Unit,
    /// What it was compared with.
    Threshold,
    /// The reading's own time.
    Time,
}

impl Placeholder {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Device, "device"),
        (Self::Sensor, "sensor"),
        (Self::Path, "path"),
        (Self::Rule, "rule"),
        (Self::Severity, "severity"),
        (Self::Value, "value"),
        (Self::Unit, "unit"),
        (Self::Threshold, "threshold"),
        (Self::Time, "time"),
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(placeholder, _)| *placeholder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Fill(Placeholder),
}

/// A text with placeholders, read once.
#[derive(Clone, PartialEq, Eq)]
pub struct Wording {
    text: String,
    pieces: Vec<Piece>,
}

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordingError {
    /// More than [`Wording::LONGEST`] bytes.
    #[error("a text has at most {} bytes", Wording::LONGEST)]
    TooLong,
    /// Nothing of that name is known of an alert.
    #[error("nothing is called `{{{word}}}`; {hint}")]
    Unknown {
        /// What stood between the braces, shortened.
        word: String,
        /// What may have been meant.
        hint: String,
    },
    /// A brace without its other one.
    #[error("a single brace; write `{{{{` or `}}}}` for a plain one")]
    Brace,
}

impl Wording {
    /// The longest text, in bytes.
    pub const LONGEST: usize = 1000;

    /// A text of the program's own. What could not be read stays as it is.
    pub(super) fn plain(text: &str) -> Self {
        text.parse().unwrap_or_else(|_| Self { text: text.to_owned(), pieces: vec![Piece::Text(text.to_owned())] })
    }

    /// The text with what `value` knows in its places.
    pub fn fill(&self, value: impl Fn(Placeholder) -> String) -> String {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Fill(placeholder) => filled.push_str(&value(*placeholder)),
            }
        }
        filled
    }
}

impl FromStr for Wording {
    type Err = WordingError;

    fn from_str(text: &str) -> Result<Self, WordingError> {
        if text.len() > Self::LONGEST {
            return Err(WordingError::TooLong);
        }
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(tail) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = tail;
                continue;
            }
            let word = if brace == "{" { after.split_once('}') } else { None };
            let (word, tail) = word.filter(|(word, _)| !word.contains('{')).ok_or(WordingError::Brace)?;
            let placeholder = Placeholder::parse(word.trim()).ok_or_else(|| unknown(word.trim()))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Fill(placeholder));
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

fn unknown(word: &str) -> WordingError {
    let known = || Placeholder::ALL.iter().map(|(_, name)| *name);
    let hint = match meant(word, known()) {
        Some(meant) => format!("did you mean `{{{meant}}}`?"),
        None => format!("known are {}", quoted(known())),
    };
    WordingError::Unknown { word: word.chars().take(40).collect(), hint }
}

impl fmt::Display for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

crate::config::text::text_value!(Wording, name: "Wording",
expects: "a text such as `{device} shows {value} {unit}`",
schema: {
    "description": "A text with {device}, {sensor}, {path}, {rule}, {severity}, {value}, {unit}, {threshold} and {time} filled in.",
    "type": "string",
    "maxLength": 1000
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let wording: Wording = text.parse().map_err(|error: WordingError| error.to_string())?;
        Ok(wording.fill(|placeholder| format!("<{placeholder:?}>")))
    }

    #[test]
    fn placeholders_are_filled_in_and_double_braces_are_plain() {
        let table = [
            ("", ""),
            ("plain", "plain"),
            ("{device}: {value} {unit}", "<Device>: <Value> <Unit>"),
            ("{ time }", "<Time>"),
            ("{{device}} {{", "{device} {"),
            ("{{{path}}}", "{<Path>}"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_may_have_been_meant() {
        let table = [
            ("{devise}", "nothing is called `{devise}`; did you mean `{device}`?"),
            ("{Value}", "nothing is called `{Value}`; did you mean `{value}`?"),
            (
                "{env.HOME}",
                "nothing is called `{env.HOME}`; known are `device`, `sensor`, `path`, `rule`, `severity`, `value`, \
                 `unit`, `threshold`, `time`",
            ),
            ("{device", "a single brace; write `{{` or `}}` for a plain one"),
            ("a } b", "a single brace; write `{{` or `}}` for a plain one"),
            ("{a{device}}", "a single brace; write `{{` or `}}` for a plain one"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text), Err(expected.to_owned()), "{text}");
        }
        assert!(filled(&"x".repeat(1001)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_prints_as_it_was(text in "[{}a-z é]{0,40}") {
            if let Ok(wording) = text.parse::<Wording>() {
                prop_assert_eq!(wording.to_string(), text);
            }
        }
    }
}
