//! From tree to types: a serde deserializer that knows its way, so that every error says which key it is about.
//!
//! serde stops at the first error. [`decode`] notes it, takes the wrong value out of the tree and starts over, until
//! what is left is right: every type below [`super::Config`] has a default, so that nothing need be there.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor, value::StrDeserializer},
};

use super::{
    problem::{Problem, Problems, meant, quoted},
    tree::{Node, Route, Step, Value, is_null, shown},
};

/// Gives the tree below `base` its types. Every error becomes a problem; what was wrong is taken out, and its way from
/// the root comes back. When the whole of it is wrong, its default does.
pub(super) fn decode<T: for<'de> Deserialize<'de> + Default>(
    tree: &mut Node,
    base: &Route,
    problems: &mut Problems,
) -> (T, Vec<Route>) {
    let mut wrong = Vec::new();
    loop {
        let error = match T::deserialize(Reader { node: tree }) {
            Ok(value) => return (value, wrong),
            Err(error) => error,
        };
        let route = error.route();
        if !tree.at(&route).is_some_and(|node| node.damaged) {
            problems.add(error.into_problem(tree, &route, base));
        }
        // Nothing to take out would be the same error for ever.
        let taken = tree.take_out(&route.0);
        wrong.push(base.join(&route));
        if !taken || problems.is_full() {
            return (T::default(), wrong);
        }
    }
}

/// What serde finds wrong, and on the way up, where.
#[derive(Debug)]
pub(super) struct DecodeError {
    what: What,
    /// The way, last step first.
    steps: Vec<Step>,
    /// Whether it is the last key itself that is wrong, not its value.
    on_key: bool,
}

#[derive(Debug)]
enum What {
    /// The value's own complaint.
    Custom(String),
    /// The value is of another type than this.
    Expected(String),
    UnknownKey(&'static [&'static str]),
    UnknownWord(&'static [&'static str]),
    MissingKey(&'static str),
}

impl DecodeError {
    const fn new(what: What) -> Self {
        Self { what, steps: Vec::new(), on_key: false }
    }

    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn route(&self) -> Route {
        Route(self.steps.iter().rev().cloned().collect())
    }

    fn into_problem(self, tree: &Node, route: &Route, base: &Route) -> Problem {
        let place = if self.on_key { tree.key_place_of(route) } else { tree.place_of(route) };
        let found = match tree.at(route) {
            _ if self.on_key || route.is_secret() => String::new(),
            Some(node) => match &node.value {
                Value::Scalar { .. } if node.is_null() => ", found nothing".to_owned(),
                Value::Scalar { text, .. } => format!(", found {}", shown(text)),
                Value::List(items) => format!(", found a list of {}", items.len()),
                Value::Map(_) => ", found an object".to_owned(),
            },
            None => String::new(),
        };
        let problem = |message: String| Problem::new(place, base.join(route), message);
        match self.what {
            What::Custom(message) => {
                let word = tree.at(route).and_then(Node::text).unwrap_or_default();
                let problem = problem(format!("{message}{found}"));
                match meant_of(&message, word) {
                    Some(meant) => problem.with_hint(format!("did you mean `{meant}`?")),
                    None => problem,
                }
            }
            What::Expected(expected) => problem(format!("expected {expected}{found}")),
            What::MissingKey(key) => problem(format!("the key `{key}` is missing")),
            What::UnknownKey(known) => {
                let word = route.last_key().unwrap_or_default();
                let problem = problem("unknown key".to_owned());
                match meant(word, known.iter().copied()) {
                    Some(meant) => problem.with_hint(format!("did you mean `{meant}`?")),
                    None => problem.with_hint(format!("the keys here are {}", quoted(known.iter().copied()))),
                }
            }
            What::UnknownWord(known) => {
                let word = tree.at(route).and_then(Node::text).unwrap_or_default();
                let problem = problem(format!("expected one of {}{found}", quoted(known.iter().copied())));
                match meant(word, known.iter().copied()) {
                    Some(meant) => problem.with_hint(format!("did you mean `{meant}`?")),
                    None => problem,
                }
            }
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.route(), self.what)
    }
}

/// The word or scheme that may have been meant, of those that a value's complaint says are expected.
fn meant_of<'a>(message: &'a str, found: &str) -> Option<&'a str> {
    let (_, expected) = message.split_once("expected ")?;
    // What comes then are examples.
    let expected = expected.split(" such as").next()?;
    let word = |quoted: &'a str| quoted.trim_end_matches("://…");
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let words = expected.split('`').skip(1).step_by(2).map(word).filter(is_word);
    meant(found.split_once("://").map_or(found, |(scheme, _)| scheme), words)
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Custom(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Expected(in_words(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let words = match expected.to_string().as_str() {
            "u8" => "a number from 0 to 255".to_owned(),
            "u16" => "a number from 0 to 65535".to_owned(),
            "u32" => "a number from 0 to 4294967295".to_owned(),
            other => in_words(other),
        };
        Self::new(What::Expected(words))
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::new(What::Expected(in_words(&expected.to_string())))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownWord(expected))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::MissingKey(field))
    }
}

/// serde's names of types in the reader's words.
fn in_words(expected: &str) -> String {
    let words = match expected {
        "a boolean" => "`true` or `false`",
        "a string" => "a text",
        "path string" => "the path of a file or a directory",
        "a sequence" => "a list",
        "a map" => "an object",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "an array of length 2" => "a list of 2",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") || other == "variant identifier" => "a word",
        other => other,
    };
    words.to_owned()
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
}

impl<'de> Reader<'de> {
    fn unexpected(self) -> Unexpected<'de> {
        match &self.node.value {
            Value::Scalar { text, .. } => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }
}

/// A plain scalar as a number, YAML 1.2 §10.3.2. Nothing for what only looks like one.
fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let radix = |prefix, radix| unsigned.strip_prefix(prefix).map(|digits| u64::from_str_radix(digits, radix));
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return number.ok().map(Number::Unsigned);
    }
    let digits = unsigned.strip_prefix('-').unwrap_or(unsigned);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    unsigned
        .parse()
        .map(Number::Unsigned)
        .or_else(|_| text.parse().map(Number::Signed))
        .or_else(|_| unsigned.parse().map(Number::Float))
        .ok()
}

enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => match text.as_str() {
                text if is_null(text) => visitor.visit_unit(),
                "true" | "True" | "TRUE" => visitor.visit_bool(true),
                "false" | "False" | "FALSE" => visitor.visit_bool(false),
                text => match number(text) {
                    Some(Number::Unsigned(number)) => visitor.visit_u64(number),
                    Some(Number::Signed(number)) => visitor.visit_i64(number),
                    Some(Number::Float(number)) => visitor.visit_f64(number),
                    None => visitor.visit_borrowed_str(text),
                },
            },
            Value::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(_) => visitor.visit_map(Entries::of(self.node)),
        }
    }

    /// A text is a text, whatever else it may look like: `title: 7`, `password: 0123`.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.text() {
            Some(text) if !self.node.is_null() => visitor.visit_borrowed_str(text),
            _ => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// A section with nothing in it, every line commented out, is a section at its defaults.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_null() || matches!(self.node.value, Value::Map(_)) {
            visitor.visit_map(Entries::of(self.node))
        } else {
            Err(de::Error::invalid_type(self.unexpected(), &visitor))
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.node.text() {
            Some(text) => visitor.visit_enum(IntoDeserializer::<DecodeError>::into_deserializer(text)),
            None => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        while self.items.get(self.next).is_some_and(|node| node.out) {
            self.next += 1;
        }
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let step = Step::Index(self.next);
        self.next += 1;
        seed.deserialize(Reader { node }).map(Some).map_err(|error| error.within(step))
    }
}

struct Entries<'de> {
    node: &'de Node,
    next: usize,
}

impl<'de> Entries<'de> {
    const fn of(node: &'de Node) -> Self {
        Self { node, next: 0 }
    }

    fn entry(&self) -> Option<(&'de str, &'de Node)> {
        match &self.node.value {
            Value::Map(entries) => entries.get(self.next).map(|(key, node)| (key.text.as_str(), node)),
            _ => None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((key, _)) = self.entry() else { return Ok(None) };
        let reader: StrDeserializer<'_, DecodeError> = key.into_deserializer();
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error: DecodeError| DecodeError { on_key: true, ..error }.within(Step::Key(key.to_owned())))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((key, node)) = self.entry() else { return Err(de::Error::custom("a value without its key")) };
        self.next += 1;
        seed.deserialize(Reader { node }).map_err(|error| error.within(Step::Key(key.to_owned())))
    }
}
