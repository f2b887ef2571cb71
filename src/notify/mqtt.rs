//! Alerts as JSON on the topics of a broker: whoever listens there hears of them, and with `retain` also how those stand
//! that came before. Delivered means that the broker has acknowledged it (QoS 1): a message may come twice, and never
//! not at all.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{Channel, ChannelKind, Delivering, Letter, Outcome};
use crate::{
    base::{Kind, Result, WallTime},
    config::{AlertTopic, MqttChannelConfig},
    events::{
        alarms::{Notice, Reason},
        payload::AlertRecord,
    },
};

/// A message that is under way.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// The way to one broker; the room of sensors has the connections.
pub trait Broker: fmt::Debug + Send + Sync {
    /// Publishes at least once: when this is done, the broker has it. A failure of [`Kind::FailedPrecondition`] is one of
    /// this message; every other may pass.
    fn publish<'a>(&'a self, topic: &'a str, payload: Bytes, retain: bool) -> Publishing<'a>;
}

/// A channel that publishes.
#[derive(Debug)]
pub struct Mqtt<B> {
    broker: B,
    topic: AlertTopic,
    retain: bool,
}

/// What stands in a message: one alert.
#[derive(Serialize)]
struct Said<'a> {
    /// The notice it came with.
    id: &'a str,
    time: &'a str,
    /// `raised`, `worsened`, `reminder`, `escalated`, `cleared`, `test`.
    reason: &'static str,
    /// How many further levels were told.
    level: u8,
    alert: &'a AlertRecord,
}

impl<B: Broker> Mqtt<B> {
    /// A channel as it is configured, through the broker that it names.
    pub fn new(config: &MqttChannelConfig, broker: B) -> Self {
        Self { broker, topic: config.topic.clone(), retain: config.retain }
    }

    fn topic(&self, notice: &Notice, alert: &AlertRecord) -> String {
        self.topic.fill(|name| match name {
            "fingerprint" => Some(&*alert.fingerprint),
            "rule" => Some(&*alert.rule),
            "severity" => Some(alert.severity.name()),
            "reason" => Some(notice.reason.name()),
            "path" => alert.path.as_ref().map(|path| path.as_str()),
            "sensor" => alert.sensor.as_ref().map(|sensor| sensor.as_str()),
            _ => None,
        })
    }
}

/// One message.
fn said(notice: &Notice, alert: &AlertRecord) -> Bytes {
    let said = Said { id: &notice.id, time: &notice.at, reason: notice.reason.name(), level: notice.level, alert };
    Bytes::from(serde_json::to_vec(&said).unwrap_or_default())
}

impl<B: Broker> Channel for Mqtt<B> {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Mqtt
    }

    fn deliver<'a>(&'a self, letter: &'a Letter, _: WallTime) -> Delivering<'a> {
        Box::pin(async move {
            let notice = &*letter.notice;
            // A test is nobody's state.
            let retain = self.retain && notice.reason != Reason::Test;
            for alert in &notice.alerts {
                let topic = self.topic(notice, alert);
                if let Err(error) = self.broker.publish(&topic, said(notice, alert), retain).await {
                    let why = error.chain();
                    return match error.kind() {
                        Kind::FailedPrecondition => Outcome::Failed { why },
                        _ => Outcome::Away { after: None, why },
                    };
                }
            }
            Outcome::Delivered
        })
    }

    /// A broker that is away is waited for: it says so itself, and sooner.
    fn limit(&self) -> Duration {
        Duration::from_secs(45)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        base::{Error, Severity},
        notify::tests::notice,
    };

    /// Takes so many messages, then fails as told.
    #[derive(Debug)]
    struct Scripted {
        taken: Mutex<Vec<(String, Value, bool)>>,
        most: usize,
        then: Kind,
    }

    impl Broker for Scripted {
        fn publish<'a>(&'a self, topic: &'a str, payload: Bytes, retain: bool) -> Publishing<'a> {
            Box::pin(async move {
                let mut taken = self.taken.lock().unwrap();
                if taken.len() >= self.most {
                    return Err(Error::new(self.then, "mqtt broker home: no"));
                }
                taken.push((topic.to_owned(), serde_json::from_slice(&payload).unwrap(), retain));
                Ok(())
            })
        }
    }

    fn channel(most: usize, then: Kind) -> Mqtt<Scripted> {
        let config = MqttChannelConfig {
            broker: "home".into(),
            topic: "alerts/{severity}/{path}/{rule}".parse().unwrap(),
            retain: true,
        };
        Mqtt::new(&config, Scripted { taken: Mutex::default(), most, then })
    }

    async fn deliver(channel: &Mqtt<Scripted>, notice: Notice) -> Outcome {
        let now = WallTime::from_unix_nanos(0);
        let letter = Letter::new("home".parse().unwrap(), String::new(), std::sync::Arc::new(notice), now);
        channel.deliver(&letter, now).await
    }

    #[tokio::test]
    async fn every_alert_of_a_notice_goes_to_its_topic() {
        let channel = channel(9, Kind::Unavailable);
        let two = notice(Reason::Raised, 1, &[("door", "gate"), ("smoke", "")], Severity::Critical);
        assert_eq!(deliver(&channel, two.clone()).await, Outcome::Delivered);
        let taken = channel.broker.taken.lock().unwrap();
        let [(gate, said, true), (none, _, true)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((gate.as_str(), none.as_str()), ("alerts/critical/gate/door", "alerts/critical/none/smoke"));
        let wanted = json!({
            "id": two.id, "time": two.at, "reason": "raised", "level": 1,
            "alert": serde_json::to_value(&two.alerts[0]).unwrap(),
        });
        assert_eq!(*said, wanted);
        assert_eq!(said["alert"]["state"], "active");
    }

    #[tokio::test]
    async fn a_test_is_not_kept_by_the_broker() {
        let channel = channel(9, Kind::Unavailable);
        let test = notice(Reason::Test, 0, &[("test", "")], Severity::Info);
        assert_eq!(deliver(&channel, test).await, Outcome::Delivered);
        assert!(!channel.broker.taken.lock().unwrap()[0].2);
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_another_thing_than_one_that_refuses() {
        let two = notice(Reason::Raised, 0, &[("door", "gate"), ("smoke", "")], Severity::Critical);
        let away = deliver(&channel(1, Kind::Unavailable), two.clone()).await;
        assert_eq!(away, Outcome::Away { after: None, why: "mqtt broker home: no".into() });
        let refused = deliver(&channel(1, Kind::FailedPrecondition), two).await;
        assert_eq!(refused, Outcome::Failed { why: "mqtt broker home: no".into() });
    }
}
