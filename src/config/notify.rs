//! The section `notify`: the ways out by which people are told of alerts, each with a name, and what it is told of.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpUrl, HumanDuration, MqttChannelConfig, PathKey, PushConfig, RuleId, ServiceTlsConfig};
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
    /// Prometheus' Alertmanager is told which alerts go on.
    pub alertmanager: Option<AlertmanagerConfig>,
    /// A mail for every notice.
    pub email: Option<EmailConfig>,
    /// Every alert is published to an MQTT broker as JSON.
    pub mqtt: Option<MqttChannelConfig>,
    /// Notifications on the screens of browsers that asked for them. There is one such channel, at most.
    pub push: Option<PushConfig>,
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
    /// Whether it is told that somebody took note.
    pub acknowledged: bool,
    /// Whether it is told that an alert is over.
    pub cleared: bool,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            webhook: None,
            alertmanager: None,
            email: None,
            mqtt: None,
            push: None,
            enabled: true,
            min_severity: Severity::Info,
            rules: Vec::new(),
            paths: Vec::new(),
            level: 0,
            reminders: true,
            acknowledged: true,
            cleared: true,
        }
    }
}

impl ChannelConfig {
    /// The keys of which exactly one is given, and whether each is.
    pub(super) const fn kinds(&self) -> [(&'static str, bool); 5] {
        [
            ("webhook", self.webhook.is_some()),
            ("alertmanager", self.alertmanager.is_some()),
            ("email", self.email.is_some()),
            ("mqtt", self.mqtt.is_some()),
            ("push", self.push.is_some()),
        ]
    }

    /// How the servers of its kind are judged, by the kind's key.
    pub(super) fn tls(&self) -> impl Iterator<Item = (&'static str, &ServiceTlsConfig)> {
        let webhook = self.webhook.iter().map(|webhook| ("webhook", &webhook.tls));
        let alertmanager = self.alertmanager.iter().map(|alertmanager| ("alertmanager", &alertmanager.tls));
        let push = self.push.iter().map(|push| ("push", &push.tls));
        webhook.chain(alertmanager).chain(self.email.iter().map(|email| ("email", &email.tls))).chain(push)
    }

    /// Every secret that may stand in a file: the kind's key, the file's key, the file, and the secret.
    pub(super) fn secrets(
        &mut self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &Option<PathBuf>, &mut Option<Secret>)> {
        let webhook = self.webhook.iter_mut().flat_map(|webhook| {
            [
                ("webhook", "secret_file", &webhook.secret_file, &mut webhook.secret),
                ("webhook", "token_file", &webhook.token_file, &mut webhook.token),
            ]
        });
        let alertmanager = self.alertmanager.iter_mut().flat_map(|alertmanager| {
            [
                ("alertmanager", "password_file", &alertmanager.password_file, &mut alertmanager.password),
                ("alertmanager", "token_file", &alertmanager.token_file, &mut alertmanager.token),
            ]
        });
        let email =
            self.email.iter_mut().map(|email| ("email", "password_file", &email.password_file, &mut email.password));
        webhook.chain(alertmanager).chain(email)
    }
}

super::small_name::small_name! {
    /// The name of a channel: `[a-z0-9_-]`, at most 40 bytes.
    ChannelName, name: "ChannelName", longest: 40, what: "a channel's name",
    expects: "a channel's name, such as `on-call`", description: "The name of a channel."
}

/// CloudEvents 1.0 in JSON, POSTed to a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to.
    #[serde(serialize_with = "HttpUrl::serialize_origin")]
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

/// Alerts in the shape of Prometheus, POSTed to an Alertmanager (API version 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Where it is, with its prefix if it has one: `http://alertmanager:9093`.
    pub url: HttpUrl,
    /// The user, for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
    /// A file that holds the token, instead of `token`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Labels that every alert has beside its own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How often alerts that go on are told again. One that is not told for four times as long counts as over there.
    #[serde(default = "one_minute")]
    pub resend: HumanDuration,
    /// A name in the URL may stand for an address of a private network or of this machine. An address that is written in
    /// the URL itself always may.
    #[serde(default)]
    pub allow_private: bool,
    /// How long it may take to answer.
    #[serde(default = "ten_seconds")]
    pub timeout: HumanDuration,
    /// How an `https://` server's certificate is judged; by default it must be valid.
    #[serde(default)]
    pub tls: ServiceTlsConfig,
}

/// Mail over SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// The mail server, a name or an address.
    pub server: String,
    /// Its port; 587, with `encryption: tls` 465, without encryption 25, if absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// `starttls`: the connection becomes TLS before anything else is said; `tls`: it is TLS from the beginning; `none`.
    #[serde(default)]
    pub encryption: MailEncryption,
    /// The user.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password. `${VARIABLE}` takes it from the environment.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Who writes: `alerts@example.org`, or `Campanile <alerts@example.org>`.
    pub from: String,
    /// Who is written to.
    pub to: Vec<String>,
    /// How the server's certificate is judged; by default it must be valid.
    #[serde(default)]
    pub tls: ServiceTlsConfig,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailEncryption {
    /// TLS after a question in the clear (RFC 3207); without TLS nothing is sent.
    #[default]
    Starttls,
    /// TLS from the beginning (RFC 8314).
    Tls,
    /// None.
    None,
}

impl EmailConfig {
    /// The port that is meant.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            MailEncryption::Starttls => 587,
            MailEncryption::Tls => 465,
            MailEncryption::None => 25,
        })
    }
}

const fn ten_seconds() -> HumanDuration {
    HumanDuration::from_secs(10)
}

const fn one_minute() -> HumanDuration {
    HumanDuration::from_secs(60)
}
