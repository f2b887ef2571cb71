//! E-mail: a notice is one plain text for people ([`text`]), handed to a mail server over SMTP ([`smtp`]).
//!
//! `lettre` writes the message and speaks SMTP; the connection is ours, so that certificates are judged as everywhere.

mod smtp;
mod text;

use std::{sync::Arc, time::Duration};

use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
};
use rustls::ClientConfig;
use url::Url;

use super::{Channel, ChannelKind, Delivering, Letter, Outcome};
use crate::{
    base::{Error, Kind, Result, Secret, WallTime},
    config::{EmailConfig, HttpUrl, MailEncryption},
    net::trust,
};

/// A mail server, and who is written to.
#[derive(Debug)]
pub struct Email {
    server: String,
    port: u16,
    encryption: MailEncryption,
    tls: Option<Arc<ClientConfig>>,
    login: Option<(String, Secret)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    link: Option<Url>,
}

impl Email {
    /// Mail as it is configured; `server` is where people reach us.
    ///
    /// # Errors
    /// An address is none; a file cannot be read or holds nothing of its kind.
    pub fn new(config: &EmailConfig, server: Option<&HttpUrl>) -> Result<Self> {
        let mailbox = |text: &String| {
            let unfit = |_| Error::new(Kind::FailedPrecondition, format!("{text}: this is no address of mail"));
            text.parse::<Mailbox>().map_err(unfit)
        };
        let secure = config.encryption != MailEncryption::None;
        Ok(Self {
            server: config.server.clone(),
            port: config.port(),
            encryption: config.encryption,
            tls: secure.then(|| trust::client_config(&config.tls)).transpose()?,
            login: config.username.clone().map(|user| (user, config.password.clone().unwrap_or_default())),
            from: mailbox(&config.from)?,
            to: config.to.iter().map(mailbox).collect::<Result<_>>()?,
            link: server.map(|server| server.url().clone()),
        })
    }

    /// The message. Its id is the notice's, so that one that comes twice is known as one; mails about one alert are one
    /// conversation.
    fn compose(&self, letter: &Letter, now: WallTime) -> Result<Message> {
        let notice = &letter.notice;
        let domain = self.from.email.domain();
        let thread = notice.alerts.first().map(|alert| {
            let began: String = alert.started_at.chars().filter(char::is_ascii_digit).collect();
            format!("<{}.{began}@{domain}>", alert.fingerprint)
        });
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(text::subject(notice))
            .message_id(Some(format!("<{}@{domain}>", notice.id)))
            .date(std::time::SystemTime::UNIX_EPOCH + since_1970(now))
            .header(text::AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let Some(thread) = thread {
            builder = builder.references(thread.clone()).in_reply_to(thread);
        }
        builder
            .body(text::body(notice, self.link.as_ref()))
            .map_err(|error| Error::new(Kind::Internal, "the mail cannot be written").caused_by(error))
    }
}

fn since_1970(now: WallTime) -> Duration {
    Duration::from_millis(u64::try_from(now.unix_millis()).unwrap_or(0))
}

impl Channel for Email {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    fn deliver<'a>(&'a self, letter: &'a Letter, now: WallTime) -> Delivering<'a> {
        Box::pin(async move {
            match self.compose(letter, now) {
                Ok(message) => smtp::send(self, &message).await,
                Err(error) => Outcome::Refused { why: error.chain() },
            }
        })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::notice, *};
    use crate::{base::Severity, events::alarms::Reason};

    #[test]
    fn a_mail_says_what_it_is_about_and_belongs_to_a_conversation() {
        let config: EmailConfig = serde_saphyr::from_str(
            "{ server: mail.example, from: 'Kirchturm <alerts@example.org>', to: [a@example.org, 'B <b@example.org>'] }",
        )
        .unwrap();
        let email = Email::new(&config, Some(&"https://cams.example/".parse().unwrap())).unwrap();
        let now: WallTime = "2027-01-15T08:00:05Z".parse().unwrap();
        let written = |reason| {
            let notice = notice(reason, 0, &[("smoke", "hall"), ("motion", "")], Severity::Critical);
            let letter = Letter::new("mail".parse().unwrap(), String::new(), notice.into(), now);
            String::from_utf8(email.compose(&letter, now).unwrap().formatted()).unwrap()
        };
        let raised = written(Reason::Raised);
        for line in [
            "From: Kirchturm <alerts@example.org>",
            "To: a@example.org, B <b@example.org>",
            "Subject: [critical] smoke at hall (and 1 more)",
            "Message-ID: <raised-0000000000000504@example.org>",
            "References: <0000000000000504.20270115080000000@example.org>",
            "Date: Fri, 15 Jan 2027 08:00:05 +0000",
            "Auto-Submitted: auto-generated",
            "There is smoke at hall.",
            "https://cams.example/hall/",
        ] {
            assert!(raised.lines().any(|written| written.trim_end() == line), "{line}\n{raised}");
        }
        assert!(written(Reason::Cleared).contains("\r\nSubject: [over] smoke at hall (and 1 more)\r\n"));
        let same = |text: &str| text.lines().find(|line| line.starts_with("References:")).unwrap().to_owned();
        assert_eq!(same(&raised), same(&written(Reason::Cleared)));
    }
}
