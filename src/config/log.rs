//! The section `log`: how much is said and in which shape.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The least important messages that are written: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
    /// `human` for people at a terminal, `json` for machines: one object per line.
    pub format: LogFormat,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Something went wrong and was put right.
    Warn,
    /// What happens, a few lines per camera and session.
    #[default]
    Info,
    /// What is decided and why.
    Debug,
    /// Every message of every protocol.
    Trace,
}

impl LogLevel {
    /// The word of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Time, level, message, fields; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}
