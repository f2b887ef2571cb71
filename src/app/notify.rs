//! The section `notify` as the room takes it: each channel made of what it needs of the other rooms.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    base::Result,
    config::{ChannelConfig, ChannelName, Config, HttpUrl},
    notify::{Alertmanager, Channel, Email, NotifierOptions, Webhook},
};

/// The channels of the configuration.
///
/// # Errors
/// A file that a channel names cannot be read, or holds nothing of its kind.
pub(super) fn options(config: &Config) -> Result<NotifierOptions> {
    let mut channels: BTreeMap<ChannelName, Arc<dyn Channel>> = BTreeMap::new();
    let server = config.notify.server_url.as_ref();
    for (name, channel) in config.notify.channels.iter().filter(|(_, channel)| channel.enabled) {
        let made = make(channel, server).map_err(|error| error.context(format!("notify.channels.{name}")))?;
        channels.extend(made.map(|made| (name.clone(), made)));
    }
    Ok(NotifierOptions { config: config.notify.clone(), channels })
}

/// A channel of the kind that is given; the configuration has exactly one.
fn make(config: &ChannelConfig, server: Option<&HttpUrl>) -> Result<Option<Arc<dyn Channel>>> {
    Ok(match config {
        ChannelConfig { webhook: Some(webhook), .. } => Some(Arc::new(Webhook::new(webhook, server)?)),
        ChannelConfig { alertmanager: Some(alertmanager), .. } => {
            Some(Arc::new(Alertmanager::new(alertmanager, server)?))
        }
        ChannelConfig { email: Some(email), .. } => Some(Arc::new(Email::new(email, server)?)),
        _ => None,
    })
}
