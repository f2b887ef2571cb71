//! Texts with places for a regular expression's groups: `$1`, `${1}` and `${name}`; `$$` is a plain `$`.

use regex::Captures;

/// The text with what the groups matched; nothing, where a group took no part in the match.
pub(super) fn fill(template: &str, captures: &Captures<'_>) -> String {
    expand(template, |group| {
        let found = match group.parse::<usize>() {
            Ok(number) => captures.get(number),
            Err(_) => captures.name(group),
        };
        Some(found.map_or("", |found| found.as_str()).to_owned())
    })
}

/// The groups the text names, as written: `1`, `name`.
pub(super) fn groups(template: &str) -> Vec<String> {
    let mut groups = Vec::new();
    expand(template, |group| {
        groups.push(group.to_owned());
        None
    });
    groups
}

/// Replaces `$1`, `${1}` and `${name}` by what `group` gives (or leaves them, if it gives nothing) and `$$` by `$`.
pub(super) fn expand(template: &str, mut group: impl FnMut(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, len) = if let Some(escaped) = rest.strip_prefix('$') {
            text.push('$');
            rest = escaped;
            continue;
        } else if let Some((name, _)) = rest.strip_prefix('{').and_then(|tail| tail.split_once('}')) {
            (name, name.len() + 2)
        } else {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (&rest[..digits], digits)
        };
        match Some(name).filter(|name| !name.is_empty()).and_then(&mut group) {
            Some(value) => {
                text.push_str(&value);
                rest = &rest[len..];
            }
            None => text.push('$'),
        }
    }
    text + rest
}
