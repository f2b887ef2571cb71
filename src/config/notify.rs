//! The section `notify`: the ways out by which people are told of alerts, each with a name, and what it is told of.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpUrl, HumanDuration, PathKey, RuleId, ServiceTlsConfig};
use crate::base::{Secret, Severity};

/// Telling people of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyConfig {
    /// Where people reach this server, for links in messages: `https://cameras.example.org`.
    pub server_url: Option<HttpUrl>,
    /// What could not be delivered for this long is given up.
    pub max_age: HumanDuration,
    /// The channels, by a name of your choice.
    #[schemars(with = "BTreeMap<String, ChannelConfig>")]
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self { server_url: None, max_age: HumanDuration::from_secs(86_400), channels: BTreeMap::new() }
    }
}

/// One way out: exactly one of its kinds, and what it is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelConfig {
    /// Every notice is POSTed to a URL as a CloudEvent.
    pub webhook: Option<WebhookConfig>,
    /// `false`: the channel stands here and does nothing.
    pub enabled: bool,
    /// Nothing milder than this.
    pub min_severity: Severity,
    /// Only alerts of these rules; of all if there are none.
    pub rules: Vec<RuleId>,
    /// Only alerts about these cameras, by name or by a regular expression that begins with `~`; about anything if there
    /// are none.
    pub paths: Vec<PathKey>,
    /// When it is told: 0 at once; 1 after the first span of a rule's `escalate_after` if nobody took note, 2 after the
    /// second …
    #[schemars(range(min = 0, max = 16))]
    pub level: u8,
    /// Whether it is reminded of alerts that go on (`repeat` of a rule).
    pub reminders: bool,
    /// Whether it is told that an alert is over.
    pub cleared: bool,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            webhook: None,
            enabled: true,
            min_severity: Severity::Info,
            rules: Vec::new(),
            paths: Vec::new(),
            level: 0,
            reminders: true,
            cleared: true,
        }
    }
}

impl ChannelConfig {
    /// The keys of which exactly one is given, and whether each is.
    pub(super) const fn kinds(&self) -> [(&'static str, bool); 1] {
        [("webhook", self.webhook.is_some())]
    }

    /// How the servers of its kind are judged, by the kind's key.
    pub(super) fn tls(&self) -> impl Iterator<Item = (&'static str, &ServiceTlsConfig)> {
        self.webhook.iter().map(|webhook| ("webhook", &webhook.tls))
    }

    /// Every secret that may stand in a file: the kind's key, the file's key, the file, and the secret.
    pub(super) fn secrets(
        &mut self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &Option<PathBuf>, &mut Option<Secret>)> {
        self.webhook.iter_mut().flat_map(|webhook| {
            [
                ("webhook", "secret_file", &webhook.secret_file, &mut webhook.secret),
                ("webhook", "token_file", &webhook.token_file, &mut webhook.token),
            ]
        })
    }
}

/// The name of a channel: `[a-z0-9_-]`, at most 40 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Why a text is no channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel's name has 1 to {} small letters, digits, `_` and `-`", ChannelName::LONGEST)]
pub struct ChannelNameError;

impl ChannelName {
    /// The longest one, in bytes.
    pub const LONGEST: usize = 40;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(text: &str) -> Result<Self, ChannelNameError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let good = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(known);
        if good { Ok(Self(text.into())) } else { Err(ChannelNameError) }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(ChannelName, name: "ChannelName",
expects: "a channel's name, such as `on-call`",
schema: {
    "description": "The name of a channel.",
    "type": "string",
    "pattern": "^[a-z0-9_-]{1,40}$"
});

/// CloudEvents 1.0 in JSON, POSTed to a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to.
    pub url: HttpUrl,
    /// What both sides know: each request is signed with it (HMAC-SHA256).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// A file that holds the secret, instead of `secret`.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
    /// A file that holds the token, instead of `token`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A name in the URL may stand for an address of a private network or of this machine. An address that is written in
    /// the URL itself always may.
    #[serde(default)]
    pub allow_private: bool,
    /// How long the receiver may take to answer.
    #[serde(default = "ten_seconds")]
    pub timeout: HumanDuration,
    /// How an `https://` server's certificate is judged; by default it must be valid.
    #[serde(default)]
    pub tls: ServiceTlsConfig,
}

pub(super) fn ten_seconds() -> HumanDuration {
    HumanDuration::from_secs(10)
}
