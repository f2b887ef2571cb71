//! The section `notify` as the room takes it: each channel made of what it needs of the other rooms.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    base::Result,
    config::{ChannelName, Config},
    notify::{Channel, NotifierOptions},
};

/// The channels of the configuration.
///
/// # Errors
/// A file that a channel names cannot be read, or holds nothing of its kind.
pub(super) fn options(config: &Config) -> Result<NotifierOptions> {
    let channels: BTreeMap<ChannelName, Arc<dyn Channel>> = BTreeMap::new();
    Ok(NotifierOptions { config: config.notify.clone(), channels })
}
