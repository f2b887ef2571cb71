//! What types cannot say about the ways out.

use super::{Complaints, MINUTE, secs, sensors::check_tls};
use crate::config::{Config, ServiceTlsConfig, WebhookConfig, problem::meant, rules::Preset, tree::Route};

/// Channels, at most.
const CHANNELS_MAX: usize = 64;
/// Rules and paths of one channel, at most.
const LIST_MAX: usize = 1000;

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
        }
    }
}

fn check_webhook(webhook: &WebhookConfig, at: &Route, all: &mut Complaints) {
    either(at, "secret", webhook.secret.is_some(), webhook.secret_file.is_some(), all);
    either(at, "token", webhook.token.is_some(), webhook.token_file.is_some(), all);
    all.range(at.then("timeout"), webhook.timeout, secs(1)..=MINUTE);
    check_https(&webhook.url, &webhook.tls, at, all);
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
