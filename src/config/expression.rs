//! Regular expressions that others write: bounded in what they take to compile, and linear in the text to match.

use regex::{Regex, RegexBuilder};

/// An expression that takes at most `size_max` bytes compiled.
pub(super) fn compile(expression: &str, size_max: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression).size_limit(size_max).dfa_size_limit(1 << 20).nest_limit(50).build()
}
