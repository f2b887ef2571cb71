//! Prometheus' Alertmanager: alerts POSTed to `/api/v2/alerts` as Prometheus itself does it. What goes on is told again
//! and again with an end that lies a little ahead; what is over is told with its end. An alert that is told no more is
//! over there when that end comes, so a lost letter corrects itself.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use url::Url;

use super::{Channel, ChannelKind, Delivering, Letter, courier::Courier};
use crate::{
    base::{Error, Kind, Result, WallTime},
    config::{AlertmanagerConfig, HttpUrl},
    events::{
        alarms::Reason,
        payload::{AlertRecord, AlertState},
    },
    net::exchange::{basic, bearer},
};

/// An alert that is not told again for so many turns is over.
const TURNS: u32 = 4;

/// An Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    url: Url,
    courier: Courier,
    login: Option<HeaderValue>,
    labels: BTreeMap<String, String>,
    resend: Duration,
    server: Option<Url>,
    limit: Duration,
}

/// An alert, as the interface has it (`postableAlert` of its OpenAPI document).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Postable<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl Alertmanager {
    /// An Alertmanager as it is configured; `server` is where people reach us.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing of its kind; a token or a user cannot be used.
    pub fn new(config: &AlertmanagerConfig, server: Option<&HttpUrl>) -> Result<Self> {
        let mut url = config.url.url().clone();
        url.path_segments_mut()
            .map_err(|()| Error::new(Kind::InvalidArgument, "the URL has no path"))?
            .pop_if_empty()
            .extend(["api", "v2", "alerts"]);
        let login = match (&config.username, &config.password, &config.token) {
            (Some(user), Some(password), _) => Some(basic(user, password)?),
            (_, _, Some(token)) => Some(bearer(token)?),
            _ => None,
        };
        Ok(Self {
            courier: Courier::new(&url, &config.tls, config.allow_private)?,
            login,
            labels: config.labels.clone(),
            resend: config.resend.duration(),
            server: server.map(|server| server.url().clone()),
            limit: config.timeout.duration(),
            url,
        })
    }

    fn compose(&self, letter: &Letter, now: WallTime) -> (HeaderMap, Bytes) {
        let alerts: Vec<_> =
            letter.notice.alerts.iter().map(|alert| self.postable(alert, letter.notice.reason, now)).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(login) = &self.login {
            headers.insert(header::AUTHORIZATION, login.clone());
        }
        (headers, Bytes::from(serde_json::to_vec(&alerts).unwrap_or_default()))
    }

    fn postable<'a>(&'a self, alert: &'a AlertRecord, reason: Reason, now: WallTime) -> Postable<'a> {
        let mut labels: BTreeMap<&str, &str> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        labels.insert("alertname", &alert.rule);
        labels.insert("severity", alert.severity.name());
        labels.insert("fingerprint", &alert.fingerprint);
        labels.extend(alert.path.iter().map(|path| ("path", path.as_str())));
        labels.extend(alert.sensor.iter().map(|sensor| ("sensor", sensor.as_str())));
        // An empty label is none (Prometheus' data model).
        labels.retain(|_, value| !value.is_empty());
        let mut annotations =
            BTreeMap::from([("summary", alert.title.clone()), ("description", alert.message.clone())]);
        annotations.extend(alert.value.as_ref().map(|value| ("value", value.to_string())));
        let read = |text: &str| text.parse::<WallTime>().unwrap_or(now);
        // A sensor's clock may be ahead; an alert that ends before it begins is not taken.
        let starts = read(&alert.started_at).min(now);
        let ahead = |span: Duration| now.plus_nanos(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX));
        let ends = match (alert.state, &alert.ended_at) {
            (AlertState::Cleared, Some(ended)) => read(ended).max(starts).min(now),
            (AlertState::Cleared, None) => now,
            (AlertState::Active, _) if reason == Reason::Test => ahead(Duration::from_secs(60)),
            (AlertState::Active, _) => ahead(self.resend * TURNS),
        };
        let generator_url = self.server.as_ref().and_then(|server| {
            let path = alert.path.as_ref().map_or_else(|| "./".to_owned(), |path| format!("./{path}/"));
            server.join(&path).ok().map(Into::into)
        });
        Postable { labels, annotations, starts_at: starts.to_string(), ends_at: ends.to_string(), generator_url }
    }
}

impl Channel for Alertmanager {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Alertmanager
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

    fn standing_every(&self) -> Option<Duration> {
        Some(self.resend)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::{super::tests::notice, *};
    use crate::base::Severity;

    fn composed(reason: Reason, now: &str) -> Value {
        let config: AlertmanagerConfig =
            serde_saphyr::from_str("{ url: 'http://am:9093/prefix/', labels: { site: north, empty: '' } }").unwrap();
        let manager = Alertmanager::new(&config, Some(&"https://cams.example/x/".parse().unwrap())).unwrap();
        assert_eq!(manager.url.as_str(), "http://am:9093/prefix/api/v2/alerts");
        let notice = notice(reason, 0, &[("smoke", "hall")], Severity::Critical);
        let now: WallTime = now.parse().unwrap();
        let letter = Letter::new("am".parse().unwrap(), String::new(), Arc::new(notice), now);
        serde_json::from_slice(&manager.compose(&letter, now).1).unwrap()
    }

    #[test]
    fn an_alert_that_goes_on_ends_a_little_ahead_and_one_that_is_over_when_it_did() {
        // The notices of these tests are of 2027-01-15T08:00:00Z.
        let going = composed(Reason::Standing, "2027-01-15T09:00:00Z");
        assert_eq!(
            going,
            json!([{
                "labels": {
                    "alertname": "smoke", "severity": "critical", "fingerprint": "0000000000000504",
                    "path": "hall", "site": "north"
                },
                "annotations": { "summary": "smoke at hall", "description": "There is smoke at hall." },
                "startsAt": "2027-01-15T08:00:00.000Z",
                "endsAt": "2027-01-15T09:04:00.000Z",
                "generatorURL": "https://cams.example/x/hall/"
            }])
        );
        assert_eq!(composed(Reason::Cleared, "2027-01-15T09:00:00Z")[0]["endsAt"], "2027-01-15T08:00:00.000Z");
        let early = composed(Reason::Raised, "2027-01-15T07:59:00Z");
        assert_eq!(early[0]["startsAt"], "2027-01-15T07:59:00.000Z", "a sensor's clock was ahead");
    }
}
