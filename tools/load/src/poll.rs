//! One poller: the same URL at a fixed interval over a connection that stays, with what it knows already in
//! `If-None-Match`, as a dashboard or Home Assistant asks.

use std::{rc::Rc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use url::Url;

use crate::{
    http::{Body, Connection, HttpError},
    shared::{Scratch, Shared},
};

/// What every poller of a run does.
#[derive(Clone, Debug)]
pub(crate) struct PollOptions {
    pub(crate) url: Url,
    /// From one request to the next.
    pub(crate) every: Duration,
    /// Send the entity tag of the last answer.
    pub(crate) etag: bool,
}

/// Why a poller ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("{0} to a poll")]
    Refused(u16),
}

/// Asks until `stop` says so.
///
/// # Errors
/// Whatever was no answer.
pub(crate) async fn run(
    options: &PollOptions,
    shared: &Rc<Shared>,
    scratch: &Scratch,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        ended = ask(options, shared, scratch) => ended,
    }
}

async fn ask(options: &PollOptions, shared: &Rc<Shared>, scratch: &Scratch) -> Result<(), Error> {
    let mut connection = Connection::new(&options.url, scratch, false)?;
    let mut ticks = interval(options.every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let counters = &shared.counters;
    loop {
        ticks.tick().await;
        let response = connection.get(&options.url, "", Body::Count).await?;
        counters.requests.add(1);
        counters.bytes.add(response.length);
        if !matches!(response.status, 200 | 304) {
            counters.refused.add(1);
            return Err(Error::Refused(response.status));
        }
        counters.packets.add(1);
        counters.playing_us.mark(shared.began);
        counters.first_media_us.mark(shared.began);
        if options.etag && response.etag.is_some() {
            connection.known = response.etag;
        }
    }
}
