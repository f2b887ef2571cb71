//! What a push message says: the JSON that the page's worker (`web/public/assets/push-worker.js`) shows, and the headers
//! of RFC 8030 that go with it. Sans-IO.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::message::CONTENT_MAX;
use crate::{
    base::Severity,
    events::alarms::{Notice, Reason},
};

/// A message before it is encrypted: made once for each alert, whatever the number of browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// JSON, at most [`CONTENT_MAX`] bytes.
    pub json: Bytes,
    /// For so many seconds the push service keeps it for a browser that is away (RFC 8030 §5.2).
    pub ttl: u32,
    /// How urgent it is (§5.3): a phone on its battery is woken for `normal` and `high`, and hears `low` on a charger.
    pub urgency: &'static str,
    /// A later message of the same topic takes the place of one that still waits (§5.4). At most 32 characters of
    /// base64url.
    pub topic: String,
}

/// As the worker reads it.
#[derive(Serialize)]
struct Shown<'a> {
    title: &'a str,
    body: &'a str,
    /// A notification of the same tag is replaced.
    tag: &'a str,
    severity: Severity,
    reason: &'static str,
    /// It makes itself heard.
    alarm: bool,
    time: &'a str,
    /// Where a click leads, relative to the server's root.
    url: &'a str,
}

/// All but what may stand in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Characters of title and body that are sent, at most.
const TITLE_MAX: usize = 200;
const BODY_MAX: usize = 1_000;

impl Content {
    /// What is told of a notice.
    pub fn of(notice: &Notice) -> Self {
        let first = notice.alerts.first();
        let title = match (notice.reason, notice.count) {
            (Reason::Acknowledged, _) => Cow::Owned(format!("Noted: {}", notice.title)),
            (Reason::Cleared, _) => Cow::Owned(format!("Over: {}", notice.title)),
            (_, 0 | 1) => Cow::Borrowed(notice.title.as_str()),
            (_, count) => Cow::Owned(format!("{} and {} more", notice.title, count - 1)),
        };
        let path = first.and_then(|alert| alert.path.as_ref());
        let url = path.map_or_else(String::new, |path| format!("{}/", utf8_percent_encode(path.as_str(), SEGMENT)));
        let tag = tag(notice);
        let title = cut(&title, TITLE_MAX);
        let mut body = cut(first.map_or("", |alert| alert.message.as_str()), BODY_MAX);
        let json = loop {
            let shown = Shown {
                title,
                body,
                tag: &tag,
                severity: notice.severity,
                reason: notice.reason.name(),
                alarm: !matches!(notice.reason, Reason::Acknowledged | Reason::Cleared),
                time: &notice.at,
                url: &url,
            };
            let json = serde_json::to_vec(&shown).unwrap_or_default();
            // A character takes four bytes at most, or six if JSON has to escape it: the title alone always fits.
            if json.len() <= CONTENT_MAX {
                break json;
            }
            body = cut(body, body.chars().count() / 2);
        };
        let (ttl, urgency) = match notice.severity {
            Severity::Critical => (24 * 3600, "high"),
            Severity::Warning => (4 * 3600, "normal"),
            Severity::Info => (3600, "low"),
        };
        Self { json: Bytes::from(json), ttl, urgency, topic: tag }
    }
}

/// What later news of the same thing replaces: the alert's fingerprint; of a bundle, what it is bundled by.
fn tag(notice: &Notice) -> String {
    match (&notice.group, notice.alerts.first()) {
        (Some(group), _) if notice.count > 1 => {
            Sha256::digest(group).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
        }
        (_, first) => topic(first.map_or("", |alert| alert.fingerprint.as_str())),
    }
}

/// The beginning of a text.
fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// A fingerprint as a topic.
fn topic(fingerprint: &str) -> String {
    fingerprint.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(32).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::notify::tests::notice;

    fn said(content: &Content) -> Value {
        serde_json::from_slice(&content.json).unwrap()
    }

    #[test]
    fn an_alert_is_told_with_its_place_and_its_urgency() {
        let raised = notice(Reason::Raised, 0, &[("too-warm", "site/gate")], Severity::Critical);
        let content = Content::of(&raised);
        let fingerprint = &raised.alerts[0].fingerprint;
        let wanted = json!({
            "title": "too-warm at site/gate", "body": "There is too-warm at site/gate.", "tag": fingerprint,
            "severity": "critical", "reason": "raised", "alarm": true, "time": raised.at, "url": "site/gate/",
        });
        assert_eq!(said(&content), wanted);
        assert_eq!((content.ttl, content.urgency, &content.topic), (86_400, "high", fingerprint));
        let urgency = |severity| Content::of(&notice(Reason::Raised, 0, &[("r", "")], severity)).urgency;
        assert_eq!((urgency(Severity::Warning), urgency(Severity::Info)), ("normal", "low"));
    }

    #[test]
    fn the_end_replaces_the_beginning_in_silence() {
        let raised = Content::of(&notice(Reason::Raised, 0, &[("door", "gate")], Severity::Warning));
        let over = Content::of(&notice(Reason::Cleared, 0, &[("door", "gate")], Severity::Warning));
        assert_eq!((&raised.topic, &said(&raised)["tag"]), (&over.topic, &said(&over)["tag"]));
        assert_eq!((&said(&over)["title"], &said(&over)["alarm"]), (&json!("Over: door at gate"), &json!(false)));
    }

    #[test]
    fn a_bundle_is_told_once_and_has_a_topic_of_its_own() {
        let mut bundle = notice(Reason::Raised, 0, &[("door", "gate"), ("door", "yard")], Severity::Warning);
        bundle.group = Some("doors at night, of the whole site".into());
        let content = Content::of(&bundle);
        assert_eq!(said(&content)["title"], "door at gate and 1 more");
        assert_ne!(content.topic, bundle.alerts[0].fingerprint);
        // RFC 8030 §5.4.
        assert!(content.topic.len() <= 32 && content.topic.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn the_longest_words_fit_into_a_message() {
        for character in ["x", "\u{1}", "\u{1F525}", "\""] {
            let mut long = notice(Reason::Raised, 0, &[("r", "")], Severity::Info);
            long.title = character.repeat(3_000);
            long.alerts[0].message = character.repeat(9_000);
            let content = Content::of(&long);
            assert!(content.json.len() <= CONTENT_MAX && content.json.len() > 1_000, "{}", content.json.len());
            assert_eq!(said(&content)["title"].as_str().unwrap().chars().count(), TITLE_MAX);
        }
    }
}
