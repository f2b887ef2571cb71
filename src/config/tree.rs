//! The file as a tree of values that know where they were written; the environment's overrides enter it too.
//!
//! It holds what was read, not what it means: `decode` gives it types.

use std::{fmt, sync::Arc};

use crate::base::secret::without_credentials;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Line and column, counted from one.
    File { line: usize, column: usize },
    /// A variable of the environment.
    Variable(Arc<str>),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
    /// Something below was wrong, said, and taken out: what follows from that is not said again.
    pub(super) damaged: bool,
    /// An item of a list that was wrong; it stays, so that the others keep their numbers.
    pub(super) out: bool,
}

/// What a value is made of.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A text; a plain one may also be a number, a truth value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In file order; no key is there twice.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value: `paths.cam1.source`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route(pub(super) Vec<Step>);

impl Route {
    /// The way along these keys.
    pub(super) fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// One key further.
    pub(super) fn then(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([Step::Key(key.to_owned())]).collect())
    }

    /// One item of the list there.
    pub(super) fn then_index(&self, index: usize) -> Self {
        Self(self.0.iter().cloned().chain([Step::Index(index)]).collect())
    }

    /// This way and then that one.
    pub(super) fn join(&self, further: &Self) -> Self {
        Self(self.0.iter().chain(&further.0).cloned().collect())
    }

    /// This way from its second step on.
    pub(super) fn without_first(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// Whether the value holds a secret, so that it is never shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.0.last(), Some(Step::Key(key)) if matches!(key.as_str(), "password" | "credential" | "secret"))
    }

    /// Whether this leads to `other` or to something above it.
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    // A URL may stand where a name belongs.
                    let key = without_credentials(key);
                    write!(f, "{}{}", if i == 0 { "" } else { "." }, key.escape_debug())?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) const fn new(value: Value, place: Place) -> Self {
        Self { value, place, damaged: false, out: false }
    }

    /// The value of `key`, if this is a map that has it.
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Takes the value of `key` out.
    pub(super) fn take_child(&mut self, key: &str) -> Option<(Key, Self)> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|(known, _)| known.text == key)?;
        Some(entries.remove(index))
    }

    /// The text, if this is a scalar.
    pub(super) const fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text.as_str()),
            _ => None,
        }
    }

    /// Whether nothing was written: `key:` and no more, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if is_null(text))
    }

    /// The value at the end of the way.
    pub(super) fn at(&self, route: &Route) -> Option<&Self> {
        route.0.iter().try_fold(self, |node, step| node.step(step))
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), _) => self.child(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        }
    }

    /// The place of the last key of the way; that of the last key above it that is there.
    pub(super) fn key_place_of(&self, route: &Route) -> Place {
        let mut place = &self.place;
        let mut node = self;
        for step in &route.0 {
            if let (Step::Key(key), Value::Map(entries)) = (step, &node.value)
                && let Some((found, _)) = entries.iter().find(|(known, _)| known.text == *key)
            {
                place = &found.place;
            }
            match node.step(step) {
                Some(next) => node = next,
                None => break,
            }
        }
        place.clone()
    }

    /// The place of the value at the end of the way, if it is a text or in a list; else that of its key.
    pub(super) fn place_of(&self, route: &Route) -> Place {
        let in_list = matches!(route.0.last(), Some(Step::Index(_)));
        match self.at(route) {
            Some(node) if in_list || (node.text().is_some() && !node.is_null()) => node.place.clone(),
            _ => self.key_place_of(route),
        }
    }

    /// Takes the value out and marks what held it as damaged. `false` if nothing was there to take.
    pub(super) fn take_out(&mut self, route: &[Step]) -> bool {
        let Some((last, above)) = route.split_last() else { return false };
        let mut node = self;
        for step in above {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(entries)) => entries.iter_mut().find(|(known, _)| known.text == *key),
                (Step::Index(index), Value::List(items)) => {
                    let Some(item) = items.get_mut(*index) else { return false };
                    node = item;
                    continue;
                }
                _ => None,
            };
            let Some((_, next)) = next else { return false };
            node = next;
        }
        node.damaged = true;
        match (last, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let before = entries.len();
                entries.retain(|(known, _)| known.text != *key);
                entries.len() < before
            }
            (Step::Index(index), Value::List(items)) => {
                items.get_mut(*index).is_some_and(|item| !std::mem::replace(&mut item.out, true))
            }
            _ => false,
        }
    }
}

/// YAML 1.2 §10.3.2, the core schema.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A text as messages show it: in back-quotes, short, one line, and without what may be a credential.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let masked = without_credentials(text);
    let escaped: String = masked.chars().flat_map(char::escape_debug).collect();
    // `escape_debug` also escapes quotes, which need none between back-quotes.
    let escaped = escaped.replace("\\\"", "\"").replace("\\'", "'");
    if escaped.chars().count() > MOST {
        let short: String = escaped.chars().take(MOST).collect();
        format!("`{short}…`")
    } else {
        format!("`{escaped}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_credential_is_not_shown() {
        let table = [
            ("rtsp://admin:pa@ss@10.0.0.5/a", "`rtsp://***@10.0.0.5/a`"),
            ("rtsp:/admin:pass@10.0.0.5", "`***@10.0.0.5`"),
            ("2 s", "`2 s`"),
            ("a\nb\"c\u{7}", "`a\\nb\"c\\u{7}`"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"ä".repeat(100)).chars().count(), 63);
    }
}
