//! What types cannot say about the ways out.

use super::{Complaints, MINUTE, secs, sensors::check_tls};
use crate::config::{
    AlertmanagerConfig, Config, EmailConfig, MailEncryption, MqttChannelConfig, PushConfig, ServiceTlsConfig,
    WebhookConfig, problem::meant, rules::Preset, tree::Route,
};

/// Channels, at most.
const CHANNELS_MAX: usize = 64;
/// Rules and paths of one channel, at most.
const LIST_MAX: usize = 1000;

/// Browsers that may subscribe; the schema states the same, and a test compares them.
pub(in crate::config) const SUBSCRIPTIONS: std::ops::RangeInclusive<u32> = 1..=1000;

/// The highest level; the schema states the same, and a test compares them.
pub(in crate::config) const LEVEL_MAX: u8 = 16;

/// The rules under which the server speaks of itself.
const OWN_RULES: [&str; 2] = ["disk", "store"];

impl Config {
    pub(super) fn check_notify(&self, all: &mut Complaints) {
        let (base, notify) = (Route::of(["notify"]), &self.notify);
        all.range(base.then("max_age"), notify.max_age, MINUTE..=secs(30 * 86_400));
        let base = base.then("channels");
        if notify.channels.len() > CHANNELS_MAX {
            all.add(base.clone(), format!("{} channels, {CHANNELS_MAX} at most", notify.channels.len()));
        }
        for (name, channel) in &notify.channels {
            let at = base.then(name.as_str());
            let kinds = channel.kinds();
            let given = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind).collect::<Vec<_>>();
            if given.len() != 1 {
                let names: Vec<_> = kinds.iter().map(|(kind, _)| format!("`{kind}`")).collect();
                let found = if given.is_empty() { "none".to_owned() } else { format!("`{}`", given.join("`, `")) };
                let mut complaint =
                    all.add(at.clone(), format!("expected exactly one of {}, found {found}", names.join(", ")));
                for kind in given {
                    complaint = complaint.with(at.then(kind));
                }
            }
            all.range(at.then("level"), channel.level, 0..=LEVEL_MAX);
            for (key, count) in [("rules", channel.rules.len()), ("paths", channel.paths.len())] {
                if count > LIST_MAX {
                    all.add(at.then(key), format!("{count} entries, {LIST_MAX} at most"));
                }
            }
            // A rule may be added over the API later: only what looks like a slip of the pen is complained of.
            let rules: Vec<_> = self.rules.iter().filter_map(|rule| rule.name()).collect();
            let known = || rules.iter().map(|rule| rule.as_str()).chain(Preset::ALL.map(Preset::name)).chain(OWN_RULES);
            for (i, rule) in channel.rules.iter().enumerate() {
                if !known().any(|known| known == rule.as_str())
                    && let Some(meant) = meant(rule.as_str(), known())
                {
                    all.add(at.then("rules").then_index(i), format!("no rule is called `{rule}`"))
                        .hint_at(format!("did you mean `{meant}`?"));
                }
            }
            if let Some(webhook) = &channel.webhook {
                check_webhook(webhook, &at.then("webhook"), all);
            }
            if let Some(alertmanager) = &channel.alertmanager {
                check_alertmanager(alertmanager, &at.then("alertmanager"), all);
            }
            if let Some(email) = &channel.email {
                check_email(email, &at.then("email"), all);
            }
            if let Some(mqtt) = &channel.mqtt {
                self.check_mqtt_channel(mqtt, &at.then("mqtt"), all);
            }
            if let Some(push) = &channel.push {
                check_push(push, &at.then("push"), all);
            }
        }
        let mut pushing = notify.channels.iter().filter(|(_, channel)| channel.push.is_some() && channel.enabled);
        if let (Some((first, _)), Some((second, _))) = (pushing.next(), pushing.next()) {
            // A browser subscribes to this server, and would not know to which of them.
            all.add(base.then(second.as_str()), "a second channel of Web Push: there is one, at most")
                .with(base.then(first.as_str()));
        }
    }

    fn check_mqtt_channel(&self, mqtt: &MqttChannelConfig, at: &Route, all: &mut Complaints) {
        let known = || self.mqtt.brokers.keys().map(String::as_str);
        if !known().any(|known| known == mqtt.broker) {
            let complaint = all.add(at.then("broker"), format!("no broker is called `{}`", mqtt.broker));
            match meant(&mqtt.broker, known()) {
                Some(meant) => complaint.hint_at(format!("did you mean `{meant}`?")),
                None => complaint.hint_at("brokers stand under `mqtt: { brokers: … }`"),
            }
        }
    }
}

fn check_push(push: &PushConfig, at: &Route, all: &mut Complaints) {
    // RFC 8292 §2.1.
    let contact = push.contact.as_deref().unwrap_or("https:");
    if !["mailto:", "https:"].iter().any(|scheme| contact.starts_with(scheme)) || contact.len() > 300 {
        all.add(at.then("contact"), "expected `mailto:…` or `https://…`, 300 bytes at most");
    }
    all.range(at.then("max_subscriptions"), push.max_subscriptions, SUBSCRIPTIONS);
    all.range(at.then("timeout"), push.timeout, secs(1)..=MINUTE);
    check_tls(&push.tls, &at.then("tls"), all);
}

fn check_webhook(webhook: &WebhookConfig, at: &Route, all: &mut Complaints) {
    either(at, "secret", webhook.secret.is_some(), webhook.secret_file.is_some(), all);
    either(at, "token", webhook.token.is_some(), webhook.token_file.is_some(), all);
    all.range(at.then("timeout"), webhook.timeout, secs(1)..=MINUTE);
    check_https(&webhook.url, &webhook.tls, at, all);
}

fn check_alertmanager(config: &AlertmanagerConfig, at: &Route, all: &mut Complaints) {
    let basic = config.password.is_some() || config.password_file.is_some();
    either(at, "password", config.password.is_some(), config.password_file.is_some(), all);
    either(at, "token", config.token.is_some(), config.token_file.is_some(), all);
    if config.username.is_some() != basic {
        all.add(at.clone(), "`username` and `password` belong together").with(at.then("username"));
    }
    if basic && (config.token.is_some() || config.token_file.is_some()) {
        all.add(at.clone(), "a password and a token are two ways to log in: one of them").with(at.then("token"));
    }
    for name in config.labels.keys() {
        // Prometheus' data model: [a-zA-Z_][a-zA-Z0-9_]*.
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || name.len() > 100 || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(known) {
            all.add(at.then("labels").then(name), "a label's name has letters, digits and `_`, no digit first");
        }
    }
    all.range(at.then("resend"), config.resend, secs(10)..=secs(3600));
    all.range(at.then("timeout"), config.timeout, secs(1)..=MINUTE);
    check_https(&config.url, &config.tls, at, all);
}

/// The most recipients of one mail.
const RECIPIENTS_MAX: usize = 50;

fn check_email(email: &EmailConfig, at: &Route, all: &mut Complaints) {
    if email.server.is_empty() || email.server.contains(['/', ' ', '@']) {
        all.add(at.then("server"), "expected the name or the address of a mail server");
    }
    if email.to.is_empty() || email.to.len() > RECIPIENTS_MAX {
        all.add(at.then("to"), format!("expected 1 to {RECIPIENTS_MAX} addresses, found {}", email.to.len()));
    }
    let addresses = email.to.iter().enumerate().map(|(i, to)| (at.then("to").then_index(i), to));
    for (route, address) in addresses.chain([(at.then("from"), &email.from)]) {
        if !looks_like_mail(address) {
            all.add(route, "expected an address of mail, such as `alerts@example.org`");
        }
    }
    either(at, "password", email.password.is_some(), email.password_file.is_some(), all);
    let login = email.password.is_some() || email.password_file.is_some();
    if email.username.is_some() != login {
        all.add(at.clone(), "`username` and `password` belong together").with(at.then("username"));
    }
    check_tls(&email.tls, &at.then("tls"), all);
    if email.encryption == MailEncryption::None {
        if login {
            all.add(at.then("encryption"), "the password would be sent in the clear").with(at.then("password"));
        }
        if email.tls != ServiceTlsConfig::default() {
            all.add(at.then("tls"), "the connection has no TLS").with(at.then("encryption"));
        }
    }
}

/// What the mail library reads is asked at the start; this finds slips of the pen with their line.
fn looks_like_mail(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>'),
        None => Some(text),
    };
    let parts = address.and_then(|address| address.trim().rsplit_once('@'));
    let printable = text.chars().all(|c| !c.is_control());
    printable && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !address_breaks(host))
}

fn address_breaks(host: &str) -> bool {
    host.contains([' ', ',', ';', '<', '>'])
}

/// A secret, or the file that holds it.
pub(super) fn either(at: &Route, key: &str, given: bool, file: bool, all: &mut Complaints) {
    if given && file {
        let of_file = at.then(&format!("{key}_file"));
        all.add(of_file, format!("`{key}` is given as well: one of the two")).with(at.then(key));
    }
}

/// How a certificate is judged, of a URL that has one.
pub(super) fn check_https(url: &crate::config::HttpUrl, tls: &ServiceTlsConfig, at: &Route, all: &mut Complaints) {
    check_tls(tls, &at.then("tls"), all);
    if *tls != ServiceTlsConfig::default() && url.url().scheme() != "https" {
        all.add(at.then("tls"), "the URL has no TLS").with(at.then("url")).hint_at("write `https://…`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_channel_is_said_with_its_key() {
        let url = "url: 'https://hook.example/'";
        let mail = "server: mail.example, from: a@example.org, to: [b@example.org]";
        let table: &[(&str, &[&str])] = &[
            (&format!("webhook: {{ {url} }}"), &[]),
            (
                &format!("{{ webhook: {{ {url} }}, rules: [smoke, of_the_api_later], paths: ['~^yard'], level: 16 }}"),
                &[],
            ),
            (&format!("email: {{ {mail} }}"), &[]),
            (&format!("email: {{ {mail}, username: u, password: p, encryption: tls }}"), &[]),
            ("{}", &["c: expected exactly one of `webhook`, `alertmanager`, `email`, `mqtt`, `push`, found none"]),
            (
                &format!("{{ webhook: {{ {url} }}, email: {{ {mail} }} }}"),
                &[
                    "c: expected exactly one of `webhook`, `alertmanager`, `email`, `mqtt`, `push`, found `webhook`, `email`",
                ],
            ),
            (&format!("{{ webhook: {{ {url} }}, rules: [smok] }}"), &["c.rules[0]: no rule is called `smok`"]),
            (&format!("{{ webhook: {{ {url} }}, level: 17 }}"), &["c.level: expected 0 to 16, found `17`"]),
            (
                &format!("webhook: {{ {url}, secret: s, secret_file: f }}"),
                &["c.webhook.secret_file: `secret` is given as well: one of the two"],
            ),
            (&format!("webhook: {{ {url}, timeout: 2m }}"), &["c.webhook.timeout: expected 1s to 1m, found `2m`"]),
            (
                "webhook: { url: 'http://hook.example/', tls: { insecure: true } }",
                &["c.webhook.tls: the URL has no TLS"],
            ),
            (
                &format!("alertmanager: {{ {url}, username: u, labels: {{ '1x': y }} }}"),
                &[
                    "c.alertmanager: `username` and `password` belong together",
                    "c.alertmanager.labels.1x: a label's name has letters, digits and `_`, no digit first",
                ],
            ),
            (
                "email: { server: 'smtp://mail', from: me, to: [] }",
                &[
                    "c.email.server: expected the name or the address of a mail server",
                    "c.email.to: expected 1 to 50 addresses, found 0",
                    "c.email.from: expected an address of mail, such as `alerts@example.org`",
                ],
            ),
            (
                &format!("email: {{ {mail}, username: u, password: p, encryption: none }}"),
                &["c.email.encryption: the password would be sent in the clear"],
            ),
        ];
        for (channel, expected) in table {
            let braced = if channel.starts_with('{') { (*channel).to_owned() } else { format!("{{ {channel} }}") };
            let config: Config = serde_saphyr::from_str(&format!("notify: {{ channels: {{ c: {braced} }} }}"))
                .unwrap_or_else(|error| panic!("{channel}: {error}"));
            let found: Vec<_> = config
                .check()
                .iter()
                .map(|found| format!("{}: {}", found.key().trim_start_matches("notify.channels."), found.message()))
                .collect();
            assert_eq!(found, *expected, "{channel}");
        }
    }
}
