//! How much a request may ask for, before anything is made of it. Sans-IO.
//!
//! Three steps, each before the work that it bounds: the *text* ([`scan`]), since a parser recurses with its brackets; the
//! *document* ([`measure`]), since fragments that name each other twice double with each level; and in the schema its
//! *complexity*, which counts what lists multiply. <https://spec.graphql.org/September2025/> §2.1 (what a token is).

use std::collections::HashMap;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType, Selection, SelectionSet};

/// Brackets within brackets.
const NESTING: usize = 64;
/// Words, numbers, texts and marks of a document.
const TOKENS: usize = 4000;
/// Fields and spreads of an operation, those of its fragments as often as they are spread.
const FIELDS: usize = 1000;
/// Fields under another name.
const ALIASES: usize = 50;
/// Fields at the root of an operation.
const ROOTS: usize = 20;
/// Root fields of a mutation.
const MUTATIONS: usize = 10;

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
    /// It cannot be read: a text or a comment block that does not end.
    #[error("query: a string does not end")]
    Unended,
    /// Beyond [`NESTING`].
    #[error("query: more than {NESTING} brackets within each other")]
    Nesting,
    /// Beyond [`TOKENS`].
    #[error("query: more than {TOKENS} words and marks")]
    Tokens,
    /// Fields within fields beyond what the configuration allows.
    #[error("query: more than {0} fields within each other")]
    Depth(usize),
    /// Beyond [`FIELDS`].
    #[error("query: more than {FIELDS} fields, those of fragments counted as often as they stand there")]
    Fields,
    /// Beyond [`ALIASES`].
    #[error("query: more than {ALIASES} aliases")]
    Aliases,
    /// Beyond [`ROOTS`] or [`MUTATIONS`].
    #[error("query: more than {0} fields at the root")]
    Roots(usize),
    /// What there is to ask is asked where that is not told.
    #[error("query: this server does not tell what there is to ask")]
    Introspection,
    /// A fragment that spreads itself (§5.5.2.2).
    #[error("query: a fragment spreads itself")]
    Cycle,
    /// §6.1: there are several operations, and none is named; or none of that name.
    #[error("query: no operation of that name, or several and none is named")]
    Operation,
}

impl TooMuch {
    /// The stable word.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Unended | Self::Cycle | Self::Operation => "invalid_query",
            Self::Introspection => "introspection_off",
            Self::Nesting | Self::Depth(_) => "query_too_deep",
            Self::Tokens | Self::Fields => "query_too_large",
            Self::Aliases => "too_many_aliases",
            Self::Roots(_) => "too_many_fields",
        }
    }
}

/// Looks through the text of a document: where it cannot be sure how the parser reads on, it says no.
///
/// # Errors
/// Too many tokens or brackets, or a text that does not end.
pub(super) fn scan(query: &str) -> Result<(), TooMuch> {
    let bytes = query.as_bytes();
    let (mut at, mut depth, mut tokens) = (0, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let counts = match byte {
            // §2.1.2: a comment ends with its line.
            b'#' => {
                at += bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' => {
                at += string(&bytes[at..]).ok_or(TooMuch::Unended)?;
                tokens += 1;
                continue;
            }
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > NESTING {
                    return Err(TooMuch::Nesting);
                }
                true
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                true
            }
            // A word or a number is counted where it begins.
            b if b.is_ascii_alphanumeric() || *b == b'_' => {
                at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
            }
            b => !(b.is_ascii_whitespace() || *b == b','),
        };
        tokens += usize::from(counts);
        if tokens > TOKENS {
            return Err(TooMuch::Tokens);
        }
        at += 1;
    }
    Ok(())
}

/// How long the text at the front is, quotes included (§2.9.4); nothing if it does not end.
fn string(bytes: &[u8]) -> Option<usize> {
    if let Some(block) = bytes.strip_prefix(b"\"\"\"") {
        let mut at = 0;
        loop {
            let rest = &block[at..];
            let quote = rest.windows(3).position(|bytes| bytes == b"\"\"\"")?;
            if quote > 0 && rest[quote - 1] == b'\\' {
                at += quote + 3;
            } else {
                return Some(3 + at + quote + 3);
            }
        }
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What the configuration allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Fields within fields.
    pub(super) depth: usize,
    /// To ask what there is to ask.
    pub(super) introspection: bool,
}

/// What an operation comes to, its fragments spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    fields: usize,
    aliases: usize,
    depth: usize,
}

/// Measures the operation of a document that is to run, and says what kind it is.
///
/// # Errors
/// It is beyond a bound, or there is no such operation.
pub(super) fn measure(
    document: &ExecutableDocument,
    operation: Option<&str>,
    allowed: Allowed,
) -> Result<OperationType, TooMuch> {
    let operation = match (&document.operations, operation) {
        (DocumentOperations::Single(only), None) => only,
        (DocumentOperations::Single(_), Some(_)) => return Err(TooMuch::Operation),
        (DocumentOperations::Multiple(named), Some(name)) => named.get(name).ok_or(TooMuch::Operation)?,
        (DocumentOperations::Multiple(named), None) if named.len() == 1 => {
            named.values().next().ok_or(TooMuch::Operation)?
        }
        (DocumentOperations::Multiple(_), None) => return Err(TooMuch::Operation),
    };
    // The checks of the schema walk over every operation and fragment there is, so that all of them are measured.
    let mut measuring = Measuring { document, introspection: allowed.introspection, known: HashMap::new() };
    for (_, other) in document.operations.iter() {
        let size = measuring.selections(&other.node.selection_set.node)?;
        let roots = measuring.roots(&other.node.selection_set.node)?;
        let most = if other.node.ty == OperationType::Mutation { MUTATIONS } else { ROOTS };
        match size {
            _ if roots > most => return Err(TooMuch::Roots(most)),
            Size { aliases, .. } if aliases > ALIASES => return Err(TooMuch::Aliases),
            Size { fields, .. } if fields > FIELDS => return Err(TooMuch::Fields),
            Size { depth, .. } if depth > allowed.depth => return Err(TooMuch::Depth(allowed.depth)),
            _ => {}
        }
    }
    for name in document.fragments.keys() {
        measuring.fragment(name)?;
    }
    Ok(operation.node.ty)
}

impl Size {
    const fn and_one(self) -> Self {
        Self { fields: self.fields.saturating_add(1), ..self }
    }
}

struct Measuring<'a> {
    document: &'a ExecutableDocument,
    introspection: bool,
    /// By fragment; nothing while it is being measured. Each is measured once, whoever spreads it how often.
    known: HashMap<&'a str, Option<Size>>,
}

impl<'a> Measuring<'a> {
    fn selections(&mut self, set: &'a SelectionSet) -> Result<Size, TooMuch> {
        let mut sum = Size::default();
        for selection in &set.items {
            let part = match &selection.node {
                Selection::Field(field) => {
                    // GraphQL §4.2: names that begin so are the language's own.
                    let name = field.node.name.node.as_str();
                    if !self.introspection && name.starts_with("__") && name != "__typename" {
                        return Err(TooMuch::Introspection);
                    }
                    let inner = self.selections(&field.node.selection_set.node)?;
                    Size {
                        fields: inner.fields.saturating_add(1),
                        aliases: inner.aliases.saturating_add(usize::from(field.node.alias.is_some())),
                        depth: inner.depth + 1,
                    }
                }
                // They count too: to spread nothing a thousand times is work.
                Selection::InlineFragment(inline) => self.selections(&inline.node.selection_set.node)?.and_one(),
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?.and_one(),
            };
            sum.fields = sum.fields.saturating_add(part.fields);
            sum.aliases = sum.aliases.saturating_add(part.aliases);
            sum.depth = sum.depth.max(part.depth);
            if sum.fields > FIELDS {
                return Err(TooMuch::Fields);
            }
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Size, TooMuch> {
        match self.known.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(TooMuch::Cycle),
            None => {}
        }
        // One that is not there is refused by the schema.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.known.insert(name, None);
        let size = self.selections(&fragment.node.selection_set.node)?;
        self.known.insert(name, Some(size));
        Ok(size)
    }

    /// Fields at the root, through fragments.
    fn roots(&self, set: &SelectionSet) -> Result<usize, TooMuch> {
        let mut sum = 0_usize;
        for selection in &set.items {
            sum += match &selection.node {
                Selection::Field(_) => 1,
                Selection::InlineFragment(inline) => self.roots(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    fragment.map_or(Ok(0), |fragment| self.roots(&fragment.node.selection_set.node))?
                }
            };
            if sum > FIELDS {
                return Err(TooMuch::Fields);
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn measured(query: &str) -> Result<OperationType, TooMuch> {
        scan(query)?;
        let allowed = Allowed { depth: 5, introspection: false };
        measure(&parse_query(query).unwrap(), None, allowed)
    }

    #[test]
    fn what_is_within_the_bounds_passes_whatever_its_form() {
        for query in [
            "{ a }",
            "query Named($x: [Int!] = [1, 2]) { a(x: $x) { b } }",
            r#"{ a(text: "{{{{ \" [", block: """ {{ \""" """) # {{{{
               { ...f } } fragment f on T { b { c { d } } }"#,
        ] {
            assert_eq!(measured(query), Ok(OperationType::Query), "{query}");
        }
        assert_eq!(measured("subscription { a }"), Ok(OperationType::Subscription));
    }

    #[test]
    fn each_bound_has_its_word() {
        let many = |count: usize, one: &str| one.repeat(count);
        let numbered = |count: usize, form: fn(usize) -> String| (0..count).map(form).collect::<String>();
        let table = [
            (format!("{}a{}", many(65, "{a"), many(65, "}")), TooMuch::Nesting),
            (format!("{{ a(x: {}) }}", many(64, "[")), TooMuch::Nesting),
            (format!("{{ {} }}", many(TOKENS, "a ")), TooMuch::Tokens),
            ("{ a(x: \"b) }".to_owned(), TooMuch::Unended),
            ("{ a(x: \"\"\"b\") }".to_owned(), TooMuch::Unended),
            ("{ a { b { c { d { e { f } } } } } }".to_owned(), TooMuch::Depth(5)),
            (format!("{{ a {{ {} }} }}", many(1000, "b ")), TooMuch::Fields),
            (format!("{{ a {{ {} }} }}", numbered(51, |n| format!("n{n}: b "))), TooMuch::Aliases),
            (format!("{{ {} }}", many(21, "a ")), TooMuch::Roots(20)),
            (format!("mutation {{ {} }}", many(11, "a ")), TooMuch::Roots(10)),
            ("{ ...f } fragment f on T { ...g } fragment g on T { ...f }".to_owned(), TooMuch::Cycle),
            ("{ __typename a { __schema { types } } }".to_owned(), TooMuch::Introspection),
            ("query A { a } query B { a }".to_owned(), TooMuch::Operation),
        ];
        for (query, expected) in table {
            assert_eq!(measured(&query), Err(expected), "{}", &query[..query.len().min(80)]);
        }
    }

    /// Forty levels, each spread twice by the one above: a walk would take 2⁴⁰ steps.
    #[test]
    fn fragments_that_double_are_measured_at_once() {
        let levels: String = (0..40).map(|n| format!("fragment f{n} on T {{ ...f{m} ...f{m} }} ", m = n + 1)).collect();
        let query = format!("{{ ...f0 }} {levels} fragment f40 on T {{ a }}");
        assert_eq!(measured(&query), Err(TooMuch::Fields));
        let nothing = query.replace("fragment f40", "fragment other");
        assert_eq!(measured(&nothing), Err(TooMuch::Fields));
    }
}
