//! The environment over the file: `CAMPANILE_HTTP__ADDRESS=:8080` is `http.address: ":8080"`.
//!
//! `__` goes one level down. A name is matched to the keys there as the environment would write them (upper case, `_`
//! for what is no letter or digit); one that is not there yet is taken in lower case. A value is read as the file
//! would read it after `key: `, lists and objects in brackets included; anything else is a text.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    problem::{Problem, Problems, meant},
    tree::{Key, Node, Place, Route, Value},
    yaml,
};

/// The variables of a process, by name.
pub type Environment = BTreeMap<String, String>;

const PREFIX: &str = "CAMPANILE_";
/// Variables of ours that are no keys of the file.
const OTHERS: [&str; 2] = ["CAMPANILE_CONFIG", "CAMPANILE_LOG"];

/// Writes the variables over the tree. `top` are the keys the file may have at its top.
pub(super) fn overlay(tree: &mut Node, environment: &Environment, top: &[&str], problems: &mut Problems) {
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| !rest.is_empty()) else { continue };
        if OTHERS.contains(&name.as_str()) {
            continue;
        }
        // Container platforms put variables of their own behind a service's name (`CAMPANILE_PORT`,
        // `CAMPANILE_SERVICE_HOST`): one without `__` counts only if it is a key, or nearly one.
        if !rest.contains("__") {
            let word = rest.to_lowercase();
            if !top.contains(&word.as_str()) {
                if let Some(meant) = meant(&word, top.iter().copied()) {
                    let problem = Problem::new(place(name), Route::default(), "unknown key");
                    problems.add(problem.with_hint(format!("did you mean `{PREFIX}{}`?", meant.to_uppercase())));
                }
                continue;
            }
        }
        let segments: Vec<_> = rest.split("__").collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            let message = "the name has an empty part: `__` stands between a section and its key";
            problems.add(Problem::new(place(name), Route::default(), message));
            continue;
        }
        if let Err(problem) = set(tree, name, &segments, text) {
            problems.add(problem);
        }
    }
}

fn place(name: &str) -> Place {
    Place::Variable(Arc::from(name))
}

/// A key as the environment would write it.
fn as_variable(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn set(tree: &mut Node, name: &str, segments: &[&str], text: &str) -> Result<(), Problem> {
    let mut node = tree;
    let mut route = Route::default();
    for (i, segment) in segments.iter().enumerate() {
        if node.is_null() {
            node.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut node.value else {
            let message = "cannot be set: the value above it is not an object in the file";
            return Err(Problem::new(place(name), route, message));
        };
        let wanted = segment.to_uppercase();
        let mut fitting = (0..entries.len()).filter(|index| as_variable(&entries[*index].0.text) == wanted);
        let index = match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => {
                let message =
                    format!("fits both `{}` and `{}` of the file", entries[first].0.text, entries[second].0.text);
                return Err(Problem::new(place(name), route, message));
            }
            (Some(index), None) => index,
            (None, _) => {
                let empty = Node::new(Value::Scalar { text: String::new(), plain: true }, place(name));
                entries.push((Key { text: segment.to_lowercase(), place: place(name) }, empty));
                entries.len() - 1
            }
        };
        let (key, next) = &mut entries[index];
        route = route.then(&key.text);
        if i + 1 == segments.len() {
            *next = value(name, text, route.is_secret());
            // The key may be of the file; what it now holds is not.
            key.place = place(name);
            return Ok(());
        }
        node = next;
    }
    Ok(())
}

/// What the variable holds. Only a bracket begins something other than a text: a password may look like anything.
fn value(name: &str, text: &str, secret: bool) -> Node {
    let at = place(name);
    if !secret && text.starts_with(['[', '{']) {
        let mut problems = Problems::default();
        let node = yaml::parse(text, |_| at.clone(), &mut problems);
        // `[::1]:8080` begins like a list and is none.
        if let Some(node) = node.filter(|_| problems.is_empty()) {
            return node;
        }
    }
    Node::new(Value::Scalar { text: text.to_owned(), plain: !secret }, at)
}
