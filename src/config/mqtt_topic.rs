//! MQTT topics as the file writes them: names (MQTT 5 §4.7), prefixes, and templates whose `{name}` stands for a level.

use std::{fmt, str::FromStr};

/// The longest topic that is used, in bytes.
const LONGEST: usize = 400;

/// Whether this is the name of a topic: what may be published to, without a wildcard (MQTT 5 §4.7.1, §4.7.3).
pub fn is_topic_name(text: &str) -> bool {
    let plain = |c: char| !matches!(c, '+' | '#') && !c.is_control();
    (1..=LONGEST).contains(&text.len()) && text.chars().all(plain)
}

/// The first levels of topics: a topic name that neither begins nor ends with a slash.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPrefix(String);

/// A topic in which `{name}` stands for one level, `+` for one of no interest and a last `#` for all that follow.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    text: String,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Plain(String),
    Named(String),
    Any,
    Rest,
}

/// A text in which `{name}` stands for what that level of the topic holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SensorTemplate(String);

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the first levels of a topic, such as `home/sensors`: without `+`, `#`, `$` or a slash at either end")]
pub struct TopicPrefixError;

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a topic such as `home/{{room}}/temperature`: `{{name}}` and `+` stand for one level, `#` for all at the end"
)]
pub struct TopicTemplateError;

/// Why a text names no sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a sensor, such as `cellar` or `{{room}}-temperature`")]
pub struct SensorTemplateError;

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl TopicPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicPrefix {
    type Err = TopicPrefixError;

    fn from_str(text: &str) -> Result<Self, TopicPrefixError> {
        // `$SYS`, `$share/…` are the broker's (§4.7.2, §4.8.2).
        let good = is_topic_name(text) && !text.starts_with(['/', '$']) && !text.ends_with('/') && text.len() <= 200;
        if good { Ok(Self(text.to_owned())) } else { Err(TopicPrefixError) }
    }
}

impl TopicTemplate {
    /// What is subscribed to.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Plain(text) => text.clone(),
            Level::Named(_) | Level::Any => "+".to_owned(),
            Level::Rest => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Named(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// What the names stand for in `topic`, if it fits.
    pub fn captures<'a>(&'a self, topic: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut captured = Vec::new();
        let mut given = topic.split('/');
        for level in &self.levels {
            if *level == Level::Rest {
                return Some(captured);
            }
            let found = given.next()?;
            match level {
                Level::Plain(text) if text != found => return None,
                Level::Named(name) => captured.push((name.as_str(), found)),
                _ => {}
            }
        }
        given.next().is_none().then_some(captured)
    }
}

impl FromStr for TopicTemplate {
    type Err = TopicTemplateError;

    fn from_str(text: &str) -> Result<Self, TopicTemplateError> {
        if text.is_empty() || text.len() > LONGEST || text.starts_with('$') || text.chars().any(char::is_control) {
            return Err(TopicTemplateError);
        }
        let mut levels = Vec::new();
        let mut rest = text.split('/').peekable();
        while let Some(level) = rest.next() {
            levels.push(match level {
                "+" => Level::Any,
                "#" if rest.peek().is_none() => Level::Rest,
                level => match level.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if is_name(name) => Level::Named(name.to_owned()),
                    None if !level.contains(['+', '#', '{', '}']) => Level::Plain(level.to_owned()),
                    _ => return Err(TopicTemplateError),
                },
            });
        }
        Ok(Self { text: text.to_owned(), levels })
    }
}

impl SensorTemplate {
    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
    }

    /// The text with the names filled in. What it makes is an id once it has passed the ids' own alphabet.
    pub fn fill(&self, captured: &[(&str, &str)]) -> String {
        let mut parts = self.0.split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            text.push_str(captured.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
            text.push_str(rest);
        }
        text
    }
}

impl FromStr for SensorTemplate {
    type Err = SensorTemplateError;

    fn from_str(text: &str) -> Result<Self, SensorTemplateError> {
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(SensorTemplateError)?;
            if !is_name(name) {
                return Err(SensorTemplateError);
            }
            plain.push_str(before);
            plain.push('x');
            rest = after;
        }
        plain.push_str(rest);
        let good = plain.parse::<crate::base::SensorId>().is_ok();
        if good { Ok(Self(text.to_owned())) } else { Err(SensorTemplateError) }
    }
}

macro_rules! shown_as_text {
    ($($type:ident: $field:tt),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    )*};
}

shown_as_text!(TopicPrefix: 0, TopicTemplate: text, SensorTemplate: 0);

super::text::text_value!(TopicPrefix, name: "TopicPrefix",
expects: "the first levels of a topic, such as `home/sensors`",
schema: {
    "description": "The first levels of MQTT topics.",
    "type": "string",
    "pattern": "^[^/$+#]([^+#]*[^/+#])?$",
    "maxLength": 200
});

super::text::text_value!(TopicTemplate, name: "TopicTemplate",
expects: "a topic such as `home/{room}/temperature`",
schema: {
    "description": "An MQTT topic. `{name}` and `+` stand for one level, `#` for all at the end.",
    "type": "string",
    "maxLength": LONGEST,
    "examples": ["cellar/temperature", "home/{room}/climate"]
});

super::text::text_value!(SensorTemplate, name: "SensorTemplate",
expects: "the id of a sensor, such as `cellar` or `{room}-temperature`",
schema: {
    "description": "The id of a sensor, in which `{name}` stands for a level of the topic.",
    "type": "string",
    "examples": ["cellar", "{room}-temperature"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> TopicTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn a_template_subscribes_and_takes_topics_apart() {
        let table = [
            ("home/{room}/t", "home/+/t", "home/attic/t", Some(vec![("room", "attic")])),
            ("home/{room}/t", "home/+/t", "home/attic/x/t", None),
            ("home/{room}/t", "home/+/t", "home/attic", None),
            ("{a}/+/{b}/#", "+/+/+/#", "1/2/3/4/5", Some(vec![("a", "1"), ("b", "3")])),
            ("a/#", "a/#", "a", Some(vec![])),
            ("a/b", "a/b", "a/b", Some(vec![])),
        ];
        for (text, filter, topic, captured) in table {
            let template = template(text);
            assert_eq!((template.filter().as_str(), template.captures(topic)), (filter, captured), "{text} {topic}");
        }
    }

    #[test]
    fn wildcards_stand_only_where_they_may() {
        for bad in ["", "a/#/b", "a+", "a/b#", "{Room}/a", "{}/a", "x{a}/b", "$SYS/#", "a\0b"] {
            assert_eq!(bad.parse::<TopicTemplate>(), Err(TopicTemplateError), "{bad:?}");
        }
        for bad in ["", "/a", "a/", "a/+/b", "#", "$share/x", "a\nb"] {
            assert_eq!(bad.parse::<TopicPrefix>(), Err(TopicPrefixError), "{bad:?}");
        }
        assert!(is_topic_name("a/b c") && !is_topic_name("a/+") && !is_topic_name(""));
    }

    #[test]
    fn ids_of_sensors_come_from_levels() {
        let id: SensorTemplate = "{room}-temperature".parse().unwrap();
        assert_eq!(id.fill(&[("room", "attic")]), "attic-temperature");
        assert_eq!(id.names().collect::<Vec<_>>(), ["room"]);
        for bad in ["", "{room", "{Room}", "a b", "a/{room}"] {
            assert_eq!(bad.parse::<SensorTemplate>(), Err(SensorTemplateError), "{bad:?}");
        }
    }
}
