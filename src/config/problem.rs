//! What is wrong with a configuration: every complaint with its place, its key, what was expected, and what may have
//! been meant.

use std::fmt;

use super::tree::{Place, Route, Step};

/// One complaint. It prints as `place: key: message`; the hint is apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    route: Route,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, route: Route, message: impl Into<String>) -> Self {
        Self { place, route, message: message.into(), hint: None }
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The key the complaint is about, dotted: `paths.cam1.source`. Empty for the file as a whole.
    pub fn key(&self) -> String {
        self.route.to_string()
    }

    /// What is wrong, without place and key.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Line and column, counted from one, if it is the file that is wrong.
    pub const fn position(&self) -> Option<(usize, usize)> {
        match self.place {
            Place::File { line, column } => Some((line, column)),
            Place::Variable(_) => None,
        }
    }

    /// The variable of the environment that is wrong, if it is one.
    pub fn variable(&self) -> Option<&str> {
        match &self.place {
            Place::File { .. } => None,
            Place::Variable(name) => Some(name),
        }
    }
}

/// Everything that is wrong with one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What the file is called in messages.
    file: String,
    list: Vec<Problem>,
    /// How many more there were than [`MOST`].
    more: usize,
}

/// More complaints than this are counted, not kept.
const MOST: usize = 100;

impl Problems {
    pub(super) fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    pub(super) fn add(&mut self, problem: Problem) {
        if self.list.len() < MOST {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Whether no more complaints are kept.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// In the order of the file; then those of the environment, by name.
    pub(super) fn sort(&mut self) {
        self.list.sort_by(|a, b| {
            let rank = |problem: &Problem| match &problem.place {
                Place::File { line, column } => (0, *line, *column, None),
                Place::Variable(name) => (1, 0, 0, Some(name.clone())),
            };
            rank(a).cmp(&rank(b))
        });
    }

    /// The complaints, in file order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len() + self.more
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where, which key, and what: `campanile.yaml:3:5: http.adress: unknown key`.
    pub fn line(&self, problem: &Problem) -> String {
        let mut text = match &problem.place {
            Place::File { line, column } => format!("{}:{line}:{column}: ", self.file),
            Place::Variable(name) => format!("{name}: "),
        };
        if !problem.route.0.is_empty() {
            text.push_str(&format!("{}: ", problem.route));
        }
        text + &problem.message
    }
}

impl fmt::Display for Problems {
    /// Every complaint on a line `error: …`, its hint on the next, `hint: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "error: {}", self.line(problem))?;
            if let Some(hint) = &problem.hint {
                writeln!(f, "hint: {hint}")?;
            }
        }
        if self.more > 0 {
            writeln!(f, "error: {}: {} more problems", self.file, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The word among `known` that may have been meant by `word`.
pub(super) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    let scored = known.into_iter().map(|known| (strsim::damerau_levenshtein(&lower, known), known));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    // A third of the word may be wrong; of a word of three letters, one.
    (distance <= (lower.len().max(3) / 3).min(4)).then_some(best)
}

/// `a`, `b` and `c`, each between back-quotes.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

impl Route {
    /// The last key of the way.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let known = ["address", "allowed_origins", "max_connections", "tls"];
        let table = [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("max-connections", Some("max_connections")),
            ("allowed_origin", Some("allowed_origins")),
            ("tsl", Some("tls")),
            ("port", None),
            ("x", None),
        ];
        for (word, expected) in table {
            assert_eq!(meant(word, known), expected, "{word}");
        }
    }
}
