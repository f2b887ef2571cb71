//! A Rust source as the rules read it: comments and literals blanked out, test modules cut away, lines kept.
//!
//! This is no parser. It knows comments, strings, characters and braces, which is enough to find names and to lose none.

use std::ops::Range;

/// One file of `src/`, with its path below that folder.
pub struct Source {
    pub path: String,
    raw: Vec<String>,
    code: Vec<String>,
    tests: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let blanked = blank(text);
        let code: Vec<String> = blanked.lines().map(str::to_owned).collect();
        let tests = test_modules(&blanked);
        Self { path: path.to_owned(), raw: text.lines().map(str::to_owned).collect(), code, tests }
    }

    /// The room: the first folder, or the file's own name at the top.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the whole file is behind its module's `#[cfg(test)]`, which its name says.
    pub fn is_test(&self) -> bool {
        matches!(self.path.rsplit('/').next(), Some("tests.rs" | "testing.rs")) || self.path.contains("/tests/")
    }

    /// The lines of code outside test modules, numbered from one, without comments and literals.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered(&self.code)
    }

    /// The same lines as they were written.
    pub fn raw(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered(&self.raw)
    }

    /// Line `number` as it was written.
    pub fn line(&self, number: usize) -> &str {
        self.raw.get(number.wrapping_sub(1)).map_or("", |line| line.trim())
    }

    /// The `//!` lines at the top.
    pub fn header(&self) -> String {
        let lines = self.raw.iter().map_while(|line| line.trim_start().strip_prefix("//!"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// How many lines are no test.
    pub fn len(&self) -> usize {
        self.raw().count()
    }

    /// The code in one string (so that names may stand on several lines) and the line each offset lies on.
    pub fn joined(&self) -> (String, impl Fn(usize) -> usize + use<>) {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for (number, line) in self.code() {
            starts.push((text.len(), number));
            text.push_str(line);
            text.push('\n');
        }
        (text, move |offset| starts[starts.partition_point(|(start, _)| *start <= offset) - 1].1)
    }

    fn numbered<'a>(&'a self, lines: &'a [String]) -> impl Iterator<Item = (usize, &'a str)> {
        let tested = |index: &usize| self.tests.iter().any(|range| range.contains(index));
        lines
            .iter()
            .enumerate()
            .filter(move |(index, _)| !tested(index))
            .map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// The text with every comment and every literal replaced by spaces; line breaks stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => find(&chars, at, |c| c[0] == '\n'),
            ('/', Some('*')) => block_comment(&chars, at),
            ('"', _) => string(&chars, at),
            ('r' | 'b' | 'c', _) if !is_word(&chars, at) => prefixed(&chars, at).unwrap_or(at),
            ('\'', _) => character(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn find(chars: &[char], from: usize, wanted: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| wanted(&chars[*at..])).unwrap_or(chars.len())
}

/// Whether the character before `at` belongs to the same word.
fn is_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// The end of the string whose opening quote stands at `from`.
fn string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `b'…'`, `c"…"` at `from`, if one is there.
fn prefixed(chars: &[char], from: usize) -> Option<usize> {
    let mut at = from;
    while at < chars.len() && matches!(chars[at], 'r' | 'b' | 'c') && at < from + 2 {
        at += 1;
    }
    let raw = chars[from..at].contains(&'r');
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    match chars.get(at + hashes)? {
        '"' if raw => {
            let closing =
                |c: &[char]| c[0] == '"' && c[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
            Some((find(chars, at + hashes + 1, closing) + 1 + hashes).min(chars.len()))
        }
        '"' if hashes == 0 => Some(string(chars, at)),
        '\'' if hashes == 0 && !raw => character(chars, at),
        _ => None,
    }
}

/// The end of the character literal at `from`; `None` for a lifetime.
fn character(chars: &[char], from: usize) -> Option<usize> {
    match (chars.get(from + 1)?, chars.get(from + 2)) {
        ('\\', _) => Some((find(chars, from + 3, |c| c[0] == '\'') + 1).min(chars.len())),
        (_, Some('\'')) => Some(from + 3),
        _ => None,
    }
}

/// The line ranges of the modules and items behind `#[cfg(test)]` and its relatives.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let lines: Vec<&str> = code.lines().collect();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let tested = line.trim_start().starts_with("#[cfg(") && line.contains("test") && !line.contains("not(");
        if !tested || ranges.last().is_some_and(|range| range.contains(&start)) {
            continue;
        }
        let (mut depth, mut opened) = (0_i64, false);
        let end = lines[start..].iter().position(|line| {
            for c in line.chars() {
                match c {
                    '{' => (depth, opened) = (depth + 1, true),
                    '}' => depth -= 1,
                    // `#[cfg(test)] use …;` and `#[cfg(test)] mod tests;` end here.
                    ';' if !opened => opened = true,
                    _ => {}
                }
            }
            opened && depth == 0
        });
        ranges.push(start..end.map_or(lines.len(), |end| start + end + 1));
    }
    ranges
}
