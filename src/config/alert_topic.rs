//! Where alerts are published: a broker, and an MQTT topic in which `{fingerprint}` and the like stand for what the alert
//! says.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mqtt_topic::is_topic_name;

/// Alerts as JSON, published to an MQTT topic. Every message is acknowledged by the broker (QoS 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttChannelConfig {
    /// Which broker: its name under `mqtt.brokers`.
    pub broker: String,
    /// The topic. `{fingerprint}`, `{rule}`, `{severity}`, `{reason}`, `{path}` and `{sensor}` stand for what the alert
    /// says, or for `none`.
    #[serde(default)]
    pub topic: AlertTopic,
    /// The broker keeps the last message of each topic: with `{fingerprint}` in it, how every alert stands.
    #[serde(default)]
    pub retain: bool,
}

/// What may stand between braces.
const NAMES: [&str; 6] = ["fingerprint", "rule", "severity", "reason", "path", "sensor"];
/// The longest template: with everything filled in it is still a topic.
const LONGEST: usize = 200;
/// The longest value, in characters.
const VALUE_MAX: usize = 200;

/// A topic with names in it.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertTopic(String);

/// Why a text is no such topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a topic such as `campanile/alerts/{{fingerprint}}`, without `+`, `#` or a `$` at its beginning; between \
     braces may stand `fingerprint`, `rule`, `severity`, `reason`, `path` and `sensor`"
)]
pub struct AlertTopicError;

impl AlertTopic {
    /// The topic, with what each name stands for.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let (mut filled, mut rest) = (String::new(), self.0.as_str());
        while let Some((plain, (name, after))) =
            rest.split_once('{').and_then(|(plain, rest)| Some((plain, rest.split_once('}')?)))
        {
            filled.push_str(plain);
            let value = value(name).filter(|value| !value.is_empty()).unwrap_or("none");
            // MQTT 5 §4.7.1, §1.5.4: no wildcard and no control character may stand in a topic's name.
            let plain = |c: char| if matches!(c, '+' | '#') || c.is_control() { '_' } else { c };
            filled.extend(value.chars().take(VALUE_MAX).map(plain));
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

impl Default for AlertTopic {
    fn default() -> Self {
        Self("campanile/alerts/{fingerprint}".to_owned())
    }
}

impl FromStr for AlertTopic {
    type Err = AlertTopicError;

    fn from_str(text: &str) -> Result<Self, AlertTopicError> {
        let mut rest = text;
        let mut good = text.len() <= LONGEST && !text.starts_with(['$', '{']);
        while let Some((_, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(AlertTopicError)?;
            good &= NAMES.contains(&name);
            rest = after;
        }
        let plain = text.replace(['{', '}'], "");
        // Every brace is one of a pair that was looked at.
        let paired = text.matches('{').count() == text.matches('}').count() && !rest.contains('}');
        if good && paired && is_topic_name(&plain) { Ok(Self(text.to_owned())) } else { Err(AlertTopicError) }
    }
}

impl fmt::Display for AlertTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AlertTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(AlertTopic, name: "AlertTopic",
expects: "a topic, such as `campanile/alerts/{fingerprint}`",
schema: {
    "description": "An MQTT topic in which `{fingerprint}`, `{rule}`, `{severity}`, `{reason}`, `{path}` and `{sensor}` stand for what the alert says.",
    "type": "string",
    "pattern": "^[^$+#{][^+#]*$",
    "maxLength": 200
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_never_break_the_topic() {
        let topic: AlertTopic = "site/{path}/{severity}/{sensor}".parse().unwrap();
        let filled = topic.fill(|name| match name {
            "path" => Some("yard/gate"),
            "severity" => Some("a+b#c\u{0}d"),
            _ => None,
        });
        assert_eq!(filled, "site/yard/gate/a_b_c_d/none");
        assert!(is_topic_name(&filled));
        assert_eq!(AlertTopic::default().fill(|_| Some("ab")), "campanile/alerts/ab");
        assert_eq!(AlertTopic::default(), AlertTopic::default().to_string().parse().unwrap());
        let long = "{path}".parse::<AlertTopic>();
        assert_eq!(long, Err(AlertTopicError), "what an alert says does not choose the first level");
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for bad in ["", "a/+", "#", "$SYS/a", "a/{nobody}", "a/{path", "a/path}", "a/}{", "a/{{path}}", "a\u{7}"] {
            assert_eq!(bad.parse::<AlertTopic>(), Err(AlertTopicError), "{bad:?}");
        }
    }
}
