//! What a mail says: a subject and a plain text. Sans-IO.

use std::fmt::Write as _;

use lettre::message::header::{Header, HeaderName, HeaderValue};
use url::Url;

use crate::events::{
    alarms::{Notice, Reason},
    payload::AlertRecord,
};

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 150;

/// Says that no human wrote it, so that no machine answers (RFC 3834 §5).
#[derive(Clone, Copy, Debug)]
pub(super) struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The subject: how bad it is, and the first title. A title comes from a template and readings: line breaks are none.
pub(super) fn subject(notice: &Notice) -> String {
    let word = match notice.reason {
        Reason::Acknowledged => "noted".to_owned(),
        Reason::Cleared => "over".to_owned(),
        Reason::Test => "test".to_owned(),
        Reason::Reminder => format!("{}, goes on", notice.severity.name()),
        Reason::Escalated(_) => format!("{}, nobody took note", notice.severity.name()),
        Reason::Raised | Reason::Worsened | Reason::Standing => notice.severity.name().to_owned(),
    };
    let more = match notice.count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let title: String = notice.title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_MAX).collect();
    format!("[{word}] {title}{more}")
}

/// The text.
pub(super) fn body(notice: &Notice, server: Option<&Url>) -> String {
    let mut text = String::new();
    let opening = match notice.reason {
        Reason::Escalated(level) => format!("Nobody took note so far (level {level}).\n\n"),
        Reason::Reminder => "This goes on, and nobody took note.\n\n".to_owned(),
        Reason::Worsened => "This is worse than it was.\n\n".to_owned(),
        Reason::Acknowledged => took_note(notice),
        Reason::Cleared => "This is over.\n\n".to_owned(),
        Reason::Raised | Reason::Standing | Reason::Test => String::new(),
    };
    text.push_str(&opening);
    for alert in &notice.alerts {
        paragraph(&mut text, alert, server);
    }
    let left_out = notice.count.saturating_sub(notice.alerts.len());
    if left_out > 0 {
        let _ = writeln!(text, "… and {left_out} more.\n");
    }
    text.push_str("-- \nCampanile\n");
    text
}

/// Who took note, and what they say of it.
fn took_note(notice: &Notice) -> String {
    let Some(ack) = notice.alerts.first().and_then(|alert| alert.ack.as_ref()) else { return String::new() };
    let note = ack.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
    format!("{} took note of this{note}\n\n", ack.by)
}

fn paragraph(text: &mut String, alert: &AlertRecord, server: Option<&Url>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{} ({})", alert.title, alert.severity.name());
    if !alert.message.is_empty() {
        let _ = writeln!(text, "{}", alert.message);
    }
    let _ = writeln!(text, "Began: {}", alert.started_at);
    if let Some(ended) = &alert.ended_at {
        let _ = writeln!(text, "Ended: {ended}");
    }
    if let Some(ack) = &alert.ack {
        let _ = writeln!(text, "Taken note of by {}", ack.by);
    }
    let link = |relative: &str| server.and_then(|server| server.join(relative).ok());
    if let Some(url) = alert.path.as_ref().and_then(|path| link(&format!("./{path}/"))) {
        let _ = writeln!(text, "{url}");
    }
    for evidence in &alert.evidence {
        if let Some(url) = link(&evidence.url) {
            let _ = writeln!(text, "{} ({}): {url}", evidence.kind, evidence.moment);
        }
    }
    text.push('\n');
}
