//! `${NAME}` in the values of the file: the variable of that name, an error if there is none. `${NAME:-text}` has a
//! text for that case; `$${` is a plain `${`.
//!
//! It works on values, not on the text of the file, so that a variable's content never becomes syntax. In a path that
//! is a regular expression, the names of its groups are left for the path's own resolution.

use super::{
    environment::Environment,
    path_key::{PathKey, PathPattern},
    problem::{Problem, Problems, meant},
    tree::{Node, Place, Route, Step, Value},
};

/// Fills in every variable of the tree. Ways to values that could not be filled in come back.
pub(super) fn substitute(tree: &mut Node, environment: &Environment, problems: &mut Problems) -> Vec<Route> {
    let mut walk = Walk { environment, problems, pattern: None, wrong: Vec::new() };
    walk.node(tree, &Route::default());
    walk.wrong
}

struct Walk<'a> {
    environment: &'a Environment,
    problems: &'a mut Problems,
    /// The regular expression whose path is being walked.
    pattern: Option<PathPattern>,
    wrong: Vec<Route>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, route: &Route) {
        // What comes from the environment is not looked at again.
        if matches!(node.place, Place::Variable(_)) && !matches!(node.value, Value::Map(_)) {
            return;
        }
        match &mut node.value {
            Value::Map(entries) => {
                for (key, below) in entries {
                    let route = route.then(&key.text);
                    if let [Step::Key(section), Step::Key(name)] = route.0.as_slice()
                        && section == "paths"
                    {
                        self.pattern = match name.parse() {
                            Ok(PathKey::Pattern(pattern)) => Some(pattern),
                            _ => None,
                        };
                    }
                    self.node(below, &route);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let route = Route(route.0.iter().cloned().chain([Step::Index(index)]).collect());
                    self.node(item, &route);
                }
            }
            Value::Scalar { text, plain } => {
                if !text.contains("${") {
                    return;
                }
                match self.text(text) {
                    Ok(filled) => {
                        *text = filled;
                        // A password that reads `null` or nothing is one all the same.
                        *plain = *plain && !route.is_secret();
                    }
                    Err(Refused { message, hint }) => {
                        let problem = Problem::new(node.place.clone(), route.clone(), message);
                        self.problems.add(match hint {
                            Some(hint) => problem.with_hint(hint),
                            None => problem,
                        });
                        self.wrong.push(route.clone());
                    }
                }
            }
        }
    }

    fn text(&self, text: &str) -> Result<String, Refused> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if filled.ends_with('$') {
                filled.push('{');
                rest = &rest[2..];
                continue;
            }
            let Some(end) = rest.find('}') else {
                return Err(Refused {
                    message: "`${` without its `}`".to_owned(),
                    hint: Some("write `$${` for a plain `${`".to_owned()),
                });
            };
            let (whole, inner) = (&rest[..=end], &rest[2..end]);
            let (name, fallback) = match inner.split_once(":-") {
                Some((name, fallback)) => (name, Some(fallback)),
                None => (inner, None),
            };
            if self.pattern.as_ref().is_some_and(|pattern| pattern.has_group(inner)) {
                filled.push_str(whole);
            } else {
                filled.push_str(self.variable(name, fallback)?);
            }
            rest = &rest[end + 1..];
        }
        Ok(filled + rest)
    }

    fn variable<'b>(&'b self, name: &str, fallback: Option<&'b str>) -> Result<&'b str, Refused> {
        let well_formed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty();
        if !well_formed {
            return Err(Refused {
                // What stands there may be part of a password.
                message: "`${…}` holds no name of a variable".to_owned(),
                hint: Some("write `$${` for a plain `${`".to_owned()),
            });
        }
        match (self.environment.get(name), fallback) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(fallback)) => Ok(fallback),
            (None, None) => Err(Refused {
                message: format!("the variable `{name}` is not set"),
                hint: meant(&name.to_lowercase(), self.lower_names().iter().map(String::as_str))
                    .map(|meant| format!("did you mean `{}`?", meant.to_uppercase()))
                    .or_else(|| Some(format!("set it, or give a text for its absence: `${{{name}:-text}}`"))),
            }),
        }
    }

    fn lower_names(&self) -> Vec<String> {
        self.environment.keys().filter(|name| name.to_uppercase() == **name).map(|name| name.to_lowercase()).collect()
    }
}

struct Refused {
    message: String,
    hint: Option<String>,
}
