//! The ways out that stand on other rooms: MQTT on the brokers of the sensors, Web Push on the store and the pages.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{
    base::{Error, Kind, Result},
    config::{ChannelName, Config},
    notify::{
        Channel, Mqtt,
        mqtt::{Broker, Publishing},
        push::Push,
    },
    sensors::Sensors,
    store::Store,
};

/// What the rest of the house does with those channels.
#[derive(Debug)]
pub(super) struct WaysOut {
    /// Where browsers subscribe, if the configuration has such a channel.
    pub(super) push: Option<Arc<Push>>,
    sensors: Arc<OnceLock<Sensors>>,
}

impl WaysOut {
    /// The brokers are there from now on. Letters start before them: alarms may have left some in the store.
    pub(super) fn connect(&self, sensors: &Sensors) {
        // A second time changes nothing.
        let _ = self.sensors.set(sensors.clone());
    }
}

/// Adds the channels of both kinds.
///
/// # Errors
/// The key of Web Push, or a file that a channel names, cannot be used.
pub(super) async fn add(
    config: &Config,
    store: &Store,
    channels: &mut BTreeMap<ChannelName, Arc<dyn Channel>>,
) -> Result<WaysOut> {
    let mut ways_out = WaysOut { push: None, sensors: Arc::default() };
    for (name, channel) in config.notify.channels.iter().filter(|(_, channel)| channel.enabled) {
        if let Some(mqtt) = &channel.mqtt {
            let broker = Named { broker: mqtt.broker.clone(), sensors: ways_out.sensors.clone() };
            channels.insert(name.clone(), Arc::new(Mqtt::new(mqtt, broker)));
        }
        if let Some(push) = &channel.push {
            let (server, documents) = (config.notify.server_url.as_ref(), store.documents().clone());
            let started = Push::start(push, server, documents, &config.state_dir).await;
            let push = started.map_err(|error| error.context(format_args!("notify.channels.{name}")))?;
            let push = Arc::new(push);
            channels.insert(name.clone(), push.clone());
            ways_out.push = Some(push);
        }
    }
    Ok(ways_out)
}

/// A broker by its name in the configuration.
#[derive(Debug)]
struct Named {
    broker: String,
    sensors: Arc<OnceLock<Sensors>>,
}

impl Broker for Named {
    fn publish<'a>(&'a self, topic: &'a str, payload: Bytes, retain: bool) -> Publishing<'a> {
        Box::pin(async move {
            let publisher = self.sensors.get().and_then(|sensors| sensors.publisher(&self.broker));
            let unknown = || Error::new(Kind::Unavailable, format!("mqtt broker {}: there is none yet", self.broker));
            publisher.ok_or_else(unknown)?.publish(topic, payload, retain).await
        })
    }
}
