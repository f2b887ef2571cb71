//! Where in a JSON document a value stands (RFC 6901).

use std::{fmt, str::FromStr};

/// A JSON pointer, such as `/AM2301/Temperature`; the empty one is the whole document.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonPointer(String);

/// Why a text is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON pointer such as `/temperature` or `/list/0/value`, at most {LONGEST} bytes")]
pub struct JsonPointerError;

/// The longest pointer, in bytes.
const LONGEST: usize = 300;

impl JsonPointer {
    /// The pointer as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A pointer through these keys and indices.
    pub fn through<'a>(steps: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = String::new();
        for step in steps {
            text.push('/');
            text.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        Self(text)
    }

    /// The value it points to.
    pub fn find<'v>(&self, document: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        document.pointer(&self.0)
    }
}

impl FromStr for JsonPointer {
    type Err = JsonPointerError;

    fn from_str(text: &str) -> Result<Self, JsonPointerError> {
        // RFC 6901 §3: `~` stands only before 0 or 1.
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let good = (text.is_empty() || text.starts_with('/')) && text.len() <= LONGEST && escapes;
        if good { Ok(Self(text.to_owned())) } else { Err(JsonPointerError) }
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text::text_value!(JsonPointer, name: "JsonPointer",
expects: "a JSON pointer such as `/temperature`",
schema: {
    "description": "Where in a JSON document a value stands (RFC 6901).",
    "type": "string",
    "pattern": "^(/([^~]|~[01])*)?$",
    "maxLength": LONGEST,
    "examples": ["/temperature", "/AM2301/Temperature", "/list/0/value"]
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_what_it_names_and_nothing_else() {
        let document = json!({ "a": { "b/c": [1, { "~": true }] } });
        for (pointer, found) in [("/a/b~1c/0", Some(json!(1))), ("/a/b~1c/1/~0", Some(json!(true))), ("/a/x", None)] {
            assert_eq!(pointer.parse::<JsonPointer>().unwrap().find(&document).cloned(), found, "{pointer}");
        }
        assert_eq!(JsonPointer::through(["a", "b/c", "~"]).as_str(), "/a/b~1c/~0");
        for bad in ["a", "/a~", "/a~2", &format!("/{}", "x".repeat(300))] {
            assert_eq!(bad.parse::<JsonPointer>(), Err(JsonPointerError), "{bad}");
        }
    }
}
