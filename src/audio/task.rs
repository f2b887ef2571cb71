//! The task that makes one derived track: reads the ring, drives a [`Transcoder`], publishes into the same ring.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::transcode::{Packet, Transcoder};
use crate::{
    auth::Grant,
    base::{Clock, PathName, complaints::Complaints},
    hub::{BATCH, DerivedFeed, Edge, EndReason, Read, Reader, ReaderOptions, Start, Stream},
    media::{TrackSet, Unit},
};

/// How much of what the ring holds becomes Opus when the task begins: as much as a playlist starts with.
const BACK: Duration = Duration::from_secs(30);

/// How often the log hears the same complaint.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What makes the current track.
struct Making {
    transcoder: Transcoder,
    feed: DerivedFeed,
}

/// Runs until it is stopped or the path ends.
pub(super) async fn run(
    path: PathName,
    stream: Stream,
    clock: Clock,
    caught_up: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let (mut batch, mut packets) = (Vec::with_capacity(BATCH), Vec::new());
    let mut broken = Complaints::new(COMPLAIN_EVERY);
    let options = ReaderOptions { start: Start::Back(BACK), edge: Edge::Unit, ..ReaderOptions::house() };
    loop {
        let mut reader = stream.open(Grant::house("opus", path.clone()), options);
        let mut making = begin(&stream, reader.tracks());
        loop {
            let read = match reader.try_read(&mut batch) {
                Some(read) => read,
                None => {
                    caught_up.send_replace(true);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        read = reader.read(&mut batch) => read,
                    }
                }
            };
            match read {
                Read::Units => {
                    let Some(making) = &mut making else { continue };
                    let source = making.transcoder.source();
                    for unit in batch.iter().filter(|unit| unit.track.id == source) {
                        if let Err(error) = making.make(unit, &mut packets)
                            && let Some(times) = broken.note(clock.now())
                        {
                            warn!(times, "sound is missing: {error}");
                        }
                    }
                }
                Read::Lagged { dropped } => {
                    debug!(dropped, "late: sound is missing");
                    if let Some(making) = &mut making {
                        making.transcoder.handle_loss();
                    }
                }
                Read::ParametersChanged(set) | Read::TracksChanged(set) => making = begin(&stream, &set),
                Read::End(EndReason::Closed) => return,
                Read::End(EndReason::SourceLost(_)) => break,
            }
            // A burst of units must not keep the runtime's thread.
            tokio::task::consume_budget().await;
        }
        if !back(&stream, reader, &stop).await {
            return;
        }
    }
}

/// Waits until the source is there again; `false` when the task is to end. Nothing is held open meanwhile: whoever wants
/// the sound keeps the demand up.
async fn back(stream: &Stream, reader: Reader, stop: &CancellationToken) -> bool {
    drop(reader);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            ready = stream.ready() => if ready.is_ok() { return true },
        }
    }
}

/// What the tracks in force ask for; `None` if there is nothing to make.
fn begin(stream: &Stream, set: &Arc<TrackSet>) -> Option<Making> {
    let derived = set.tracks.iter().find(|track| track.is_derived())?;
    let source = set.track(derived.derived_from?)?;
    match Transcoder::new(source, derived) {
        Ok(transcoder) => {
            debug!("{} becomes {}", source.codec_name(), derived.codec_name());
            Some(Making { transcoder, feed: stream.derive(derived.clone()) })
        }
        Err(error) => {
            warn!("{} does not become {}: {error}", source.codec_name(), derived.codec_name());
            None
        }
    }
}

impl Making {
    fn make(&mut self, unit: &Unit, packets: &mut Vec<Packet>) -> Result<(), super::transcode::AudioError> {
        let outcome = self.transcoder.handle(unit, packets);
        for packet in packets.drain(..) {
            // Another list of tracks is in force: the reader will come to it.
            let _ = self.feed.push(packet.unit, packet.spliced);
        }
        outcome
    }
}
