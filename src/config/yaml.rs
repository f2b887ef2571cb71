//! YAML text to a tree with places (YAML 1.2, core schema). One document; anchors, aliases and merge keys; no key twice.
//!
//! What a small file can blow up to is bounded: an alias costs what it stands for.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::{
    problem::{Problem, Problems},
    tree::{Key, Node, Place, Route, Value},
};

/// The most values a file may hold, aliases written out.
const MOST_VALUES: usize = 100_000;
/// The most bytes of text its values may hold, aliases written out.
const MOST_BYTES: usize = 4 << 20;
/// How deep values may nest.
const MOST_LEVELS: usize = 32;

/// Reads one document. `place` says where a span of the text is. What can be read on after is added to `problems`;
/// nothing comes back when the text cannot be read at all.
pub(super) fn parse(text: &str, place: impl Fn(&Span) -> Place, problems: &mut Problems) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MOST_LEVELS;
    options.block_nesting_limit = MOST_LEVELS;
    let events = Parser::new_from_str_with_options(text, options);
    let (anchors, used) = (HashMap::new(), Weight::default());
    let mut builder = Builder { text, events, place, anchors, used, level: 0, problems };
    match builder.document() {
        Ok(node) => Some(node),
        Err(problem) => {
            problems.add(problem);
            None
        }
    }
}

/// What a tree costs.
#[derive(Clone, Copy, Default)]
struct Weight {
    values: usize,
    bytes: usize,
    levels: usize,
}

struct Builder<'p, E, F> {
    text: &'p str,
    events: E,
    place: F,
    /// What an alias stands for. An anchor that is still open is not in it.
    anchors: HashMap<usize, (Node, Weight)>,
    used: Weight,
    level: usize,
    problems: &'p mut Problems,
}

impl<'a, E, F> Builder<'_, E, F>
where
    E: Iterator<Item = Result<(Event<'a>, Span), ScanError>>,
    F: Fn(&Span) -> Place,
{
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event if root.is_none() => root = Some(self.node(event, &span)?.0),
                _ => return Err(self.problem(&span, "the file holds a second document; one is expected")),
            }
        }
        let start = Place::File { line: 1, column: 1 };
        Ok(root.unwrap_or_else(|| Node::new(Value::Scalar { text: String::new(), plain: true }, start)))
    }

    fn problem(&self, span: &Span, message: impl Into<String>) -> Problem {
        Problem::new((self.place)(span), Route::default(), message)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let at = Span::empty(*error.marker());
                let problem = self.problem(&at, format!("not valid YAML: {}", error.info()));
                let line = self.text.lines().nth(at.start.line().saturating_sub(1)).unwrap_or_default();
                Err(if line.contains("${") {
                    problem.with_hint("between braces a value with `${…}` needs quotes")
                } else {
                    problem
                })
            }
        }
    }

    /// The next event within the list or object that began at `begin`.
    fn inner(&mut self, begin: &Span) -> Result<(Event<'a>, Span), Problem> {
        let next = self.next()?;
        next.ok_or_else(|| self.problem(begin, "not valid YAML: unexpected end"))
    }

    /// Counts against the bounds.
    fn charge(&mut self, weight: Weight, span: &Span) -> Result<(), Problem> {
        self.used.values = self.used.values.saturating_add(weight.values);
        self.used.bytes = self.used.bytes.saturating_add(weight.bytes);
        if self.used.values > MOST_VALUES || self.used.bytes > MOST_BYTES {
            let hint = format!("at most {MOST_VALUES} values and {} MiB of text", MOST_BYTES >> 20);
            let problem = self.problem(span, "the file holds too much, once its aliases are written out");
            return Err(problem.with_hint(hint));
        }
        if self.level + weight.levels > MOST_LEVELS {
            return Err(self.problem(span, format!("values nest deeper than {MOST_LEVELS} levels")));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<(Node, Weight), Problem> {
        let mut weight = Weight { values: 1, bytes: 0, levels: 1 };
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                weight.bytes = text.len();
                self.charge(weight, span)?;
                // `!!str 5` is a text.
                let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !text_tag;
                (Value::Scalar { text: text.into_owned(), plain }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.charge(weight, span)?;
                self.level += 1;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.inner(span)?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let (item, below) = self.node(event, &span)?;
                    weight.add_below(below);
                    items.push(item);
                }
                self.level -= 1;
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                self.charge(weight, span)?;
                self.level += 1;
                let entries = self.entries(span, &mut weight)?;
                self.level -= 1;
                (Value::Map(entries), anchor)
            }
            Event::Alias(id) => {
                let Some((node, weight)) = self.anchors.get(&id).cloned() else {
                    return Err(self.problem(span, "an alias stands within its own anchor"));
                };
                self.charge(weight, span)?;
                return Ok((node, weight));
            }
            _ => return Err(self.problem(span, "not valid YAML: a value is expected here")),
        };
        let node = Node::new(value, (self.place)(span));
        if anchor != 0 {
            // The copy kept for aliases costs memory as well: nested anchors keep copies of copies.
            self.charge(weight, span)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok((node, weight))
    }

    fn entries(&mut self, map: &Span, weight: &mut Weight) -> Result<Vec<(Key, Node)>, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.inner(map)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let (key, key_weight) = self.node(event, &span)?;
            let (event, value_span) = self.inner(map)?;
            let (value, value_weight) = self.node(event, &value_span)?;
            weight.add_below(key_weight);
            weight.add_below(value_weight);
            let Value::Scalar { text, plain } = key.value else {
                self.problems.add(self.problem(&span, "a key is a text, not a list or an object"));
                continue;
            };
            if plain && text == "<<" {
                merged.push(value);
                continue;
            }
            let place = (self.place)(&span);
            if let Some(first) = seen.get(&text) {
                let message = format!("the key `{}` is there twice", text.escape_debug());
                let problem = self.problem(&span, message);
                self.problems.add(match first {
                    Place::File { line, .. } => problem.with_hint(format!("the first one is on line {line}")),
                    Place::Variable(_) => problem,
                });
                continue;
            }
            seen.insert(text.clone(), place.clone());
            entries.push((Key { text, place }, value));
        }
        for value in merged {
            self.merge(&mut entries, &mut seen, value)?;
        }
        Ok(entries)
    }

    /// `<<: *anchor` and `<<: [*one, *two]`: what is not written here comes from there, the first one first.
    fn merge(
        &mut self,
        entries: &mut Vec<(Key, Node)>,
        seen: &mut HashMap<String, Place>,
        value: Node,
    ) -> Result<(), Problem> {
        match value.value {
            Value::Map(others) => {
                for (key, node) in others {
                    if !seen.contains_key(&key.text) {
                        seen.insert(key.text.clone(), key.place.clone());
                        entries.push((key, node));
                    }
                }
                Ok(())
            }
            Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
                items.into_iter().try_for_each(|item| self.merge(entries, seen, item))
            }
            _ => {
                let message = "`<<` takes an object or a list of objects";
                self.problems.add(Problem::new(value.place, Route::default(), message));
                Ok(())
            }
        }
    }
}

impl Weight {
    fn add_below(&mut self, below: Self) {
        self.values = self.values.saturating_add(below.values);
        self.bytes = self.bytes.saturating_add(below.bytes);
        self.levels = self.levels.max(below.levels + 1);
    }
}
