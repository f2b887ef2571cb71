//! Webhooks: every notice is a CloudEvent (CloudEvents 1.0.2, structured mode in JSON) that is POSTed, signed as Standard
//! Webhooks say: HMAC-SHA256 over the id, the time and the body. `docs/notifications.md` shows how to verify that.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use url::Url;

use super::{Channel, ChannelKind, Delivering, Letter, courier::Courier};
use crate::{
    base::{Result, Severity, WallTime},
    config::{HttpUrl, WebhookConfig},
    events::{alarms::Reason, payload::AlertRecord},
    net::exchange::bearer,
};

/// Secrets that begin so are base64 (Standard Webhooks).
const ENCODED: &str = "whsec_";

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    url: Url,
    courier: Courier,
    token: Option<HeaderValue>,
    key: Option<hmac::Key>,
    source: String,
    limit: Duration,
}

/// The event, with what alerts and their notice say in `data`.
#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    /// `raised`, `worsened`, `reminder`, `escalated`, `cleared`, `test`.
    reason: &'static str,
    /// How many further levels were told.
    level: u8,
    severity: Severity,
    title: &'a str,
    group: Option<&'a str>,
    /// How many alerts there are; the first ones follow.
    count: usize,
    alerts: &'a [AlertRecord],
}

impl Webhook {
    /// A webhook as it is configured; `server` is where people reach us.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing of its kind; a token or a secret cannot be used.
    pub fn new(config: &WebhookConfig, server: Option<&HttpUrl>) -> Result<Self> {
        let url = config.url.url().clone();
        Ok(Self {
            courier: Courier::new(&url, &config.tls, config.allow_private)?,
            token: config.token.as_ref().map(bearer).transpose()?,
            key: config.secret.as_ref().map(|secret| key(secret.reveal())),
            source: server.map_or_else(|| "urn:campanile".to_owned(), |server| server.url().to_string()),
            limit: config.timeout.duration(),
            url,
        })
    }

    /// What is sent, and how it is signed at this moment.
    fn compose(&self, letter: &Letter, now: WallTime) -> (HeaderMap, Bytes) {
        let notice = &letter.notice;
        let first = notice.alerts.first();
        let event = CloudEvent {
            specversion: "1.0",
            id: &notice.id,
            source: &self.source,
            r#type: match notice.reason {
                Reason::Test => "campanile.test".to_owned(),
                reason => format!("campanile.alert.{}", reason.name()),
            },
            subject: first.map(|alert| alert.fingerprint.as_str()),
            time: &notice.at,
            datacontenttype: "application/json",
            data: Data {
                reason: notice.reason.name(),
                level: notice.level,
                severity: notice.severity,
                title: &notice.title,
                group: notice.group.as_deref(),
                count: notice.count,
                alerts: &notice.alerts,
            },
        };
        let body = Bytes::from(serde_json::to_vec(&event).unwrap_or_default());
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8"));
        let seconds = now.unix_millis().div_euclid(1000).to_string();
        headers.insert("webhook-id", value(&notice.id));
        headers.insert("webhook-timestamp", value(&seconds));
        if let Some(key) = &self.key {
            headers.insert("webhook-signature", value(&sign(key, &notice.id, &seconds, &body)));
        }
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        (headers, body)
    }
}

fn key(secret: &str) -> hmac::Key {
    let decoded = secret.strip_prefix(ENCODED).and_then(|rest| STANDARD.decode(rest).ok());
    hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(secret.as_bytes()))
}

fn sign(key: &hmac::Key, id: &str, seconds: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    [id.as_bytes(), b".", seconds.as_bytes(), b".", body].into_iter().for_each(|part| context.update(part));
    format!("v1,{}", STANDARD.encode(context.sign()))
}

impl Channel for Webhook {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    fn deliver<'a>(&'a self, letter: &'a Letter, now: WallTime) -> Delivering<'a> {
        Box::pin(async move {
            let (headers, body) = self.compose(letter, now);
            self.courier.deliver(&self.url, headers, body, now).await
        })
    }

    fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::{super::tests::notice, *};

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        // Standard Webhooks, the example of the specification.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_notice_is_a_cloud_event() {
        let config: WebhookConfig =
            serde_saphyr::from_str("{ url: 'https://hook.example/x', secret: s, token: t }").unwrap();
        let webhook = Webhook::new(&config, Some(&"https://cams.example".parse().unwrap())).unwrap();
        let notice = notice(Reason::Escalated(2), 2, &[("smoke", "hall")], Severity::Critical);
        let letter = Letter::new("ops".parse().unwrap(), String::new(), Arc::new(notice), WallTime::from_unix_nanos(0));
        let now = WallTime::from_unix_nanos(1_800_000_000_999_000_000);
        let (headers, body) = webhook.compose(&letter, now);
        let event: Value = serde_json::from_slice(&body).unwrap();
        let id = &letter.notice.id;
        let rest = |key: &str| event[key].clone();
        assert_eq!(
            [rest("specversion"), rest("id"), rest("source"), rest("type"), rest("subject"), rest("datacontenttype")],
            [
                json!("1.0"),
                json!(id),
                json!("https://cams.example/"),
                json!("campanile.alert.escalated"),
                json!(letter.notice.alerts[0].fingerprint),
                json!("application/json")
            ]
        );
        assert_eq!(event["data"]["alerts"][0]["title"], "smoke at hall");
        assert_eq!((&event["data"]["level"], &event["data"]["severity"]), (&json!(2), &json!("critical")));
        assert_eq!(headers["webhook-timestamp"], "1800000000");
        assert_eq!(headers["webhook-id"], id.as_str());
        assert_eq!(headers["webhook-signature"], sign(&key("s"), id, "1800000000", &body).as_str());
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
        assert!(!format!("{webhook:?}").contains("\"t\""));
    }
}
