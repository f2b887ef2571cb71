//! Whether a camera is connected always or only while somebody watches.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::HumanDuration;

/// `false` (connect at start and stay), `true`, or an object with the two times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnDemandConfig {
    /// Connect with the first viewer.
    pub enabled: bool,
    /// How long a viewer waits for a camera that is slow. One that refuses is not waited for.
    pub start_timeout: HumanDuration,
    /// Hang up when nobody has watched for this long.
    pub close_after: HumanDuration,
}

impl Default for OnDemandConfig {
    fn default() -> Self {
        Self { enabled: false, start_timeout: HumanDuration::from_secs(10), close_after: HumanDuration::from_secs(10) }
    }
}

impl<'de> Deserialize<'de> for OnDemandConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchOrTimes;
        impl<'de> Visitor<'de> for SwitchOrTimes {
            type Value = OnDemandConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false`, or an object with `start_timeout` and `close_after`")
            }

            fn visit_bool<E: Error>(self, enabled: bool) -> Result<OnDemandConfig, E> {
                Ok(OnDemandConfig { enabled, ..OnDemandConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OnDemandConfig, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Times {
                    enabled: Option<bool>,
                    start_timeout: Option<HumanDuration>,
                    close_after: Option<HumanDuration>,
                }
                let times = Times::deserialize(MapAccessDeserializer::new(map))?;
                let default = OnDemandConfig::default();
                Ok(OnDemandConfig {
                    enabled: times.enabled.unwrap_or(true),
                    start_timeout: times.start_timeout.unwrap_or(default.start_timeout),
                    close_after: times.close_after.unwrap_or(default.close_after),
                })
            }
        }
        deserializer.deserialize_any(SwitchOrTimes)
    }
}

impl JsonSchema for OnDemandConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnDemand".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<HumanDuration>();
        json_schema!({
            "description": "Whether a camera is connected only while somebody watches.",
            "anyOf": [{ "type": "boolean" }, {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "enabled": { "type": "boolean", "default": true },
                    "start_timeout": span,
                    "close_after": span
                }
            }]
        })
    }
}
