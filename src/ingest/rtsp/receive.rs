//! A session that plays, into a feed: items in, units out, until the camera ends it, goes silent or cannot be read.

use std::{
    future::poll_fn,
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};

use futures_util::StreamExt;
use retina::client::{PacketItem, Playing, Session};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    failure::{Failure, first_line},
    intake::{Effect, Intake},
    session::Opened,
    track::Incoming,
};
use crate::{
    base::{Monotonic, WallTime, complaints::Complaints},
    hub::Feed,
    rtp::rtcp,
};

/// How often silence and trouble are looked for.
const TICK: Duration = Duration::from_millis(250);

/// Errors in a row, without a packet between them, that end a session.
const ERRORS_MAX: u32 = 100;

/// Trouble for so long while a track that should be there is not: the sender is another one now, or out of step.
const TROUBLE: Duration = Duration::from_secs(1);

/// Errors that make trouble.
const TROUBLE_ERRORS: u32 = 5;

/// A picture track may be silent for this many times as long as the whole session before it is missed.
const LEADING_PATIENCE: u32 = 3;

/// A stream without anything to start with is given up after this; GOPs are not that long.
const NO_START: Duration = Duration::from_secs(60);

/// One log line per kind of trouble in so long.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// One log line of loss in so long.
const LOSS_EVERY: Duration = Duration::from_secs(60);

/// Items that are taken in one go.
const BATCH: usize = 64;

/// RTP header and interleaving, which `retina` takes off.
const INTERLEAVED_HEADER: u64 = 4;

/// Why receiving ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was told to stop.
    Stopped,
    Failed(Failure),
}

/// The receiving end of one session.
pub(super) struct Receiver<'a> {
    feed: &'a Feed,
    opened: &'a mut Opened,
    intake: Intake,
    silent_after: Duration,
    began_at: Monotonic,
    newest_packet: Monotonic,
    /// Errors since the last packet, and in the current spell of trouble.
    errors_in_row: u32,
    trouble: Option<Trouble>,
    complaints: Complaints,
    /// Packets lost that the log was not told of yet.
    lost: u64,
    losses: Complaints,
    /// Called once, when the hub was told what there is.
    started: &'a mut (dyn FnMut(Monotonic) + Send),
}

/// A spell of errors.
struct Trouble {
    since: Monotonic,
    errors: u32,
    packets: u32,
    words: String,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        feed: &'a Feed,
        opened: &'a mut Opened,
        silent_after: Duration,
        started: &'a mut (dyn FnMut(Monotonic) + Send),
    ) -> Self {
        let now = feed.now();
        let intake = Intake::new(&opened.offers, now);
        Self {
            feed,
            opened,
            intake,
            silent_after,
            began_at: now,
            newest_packet: now,
            errors_in_row: 0,
            trouble: None,
            complaints: Complaints::new(COMPLAIN_EVERY),
            lost: 0,
            losses: Complaints::new(LOSS_EVERY),
            started,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        let mut tick = ticks();
        let stopping = self.feed.stopping().clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let checked = tokio::select! {
                biased;
                () = stopping.cancelled() => return Ended::Stopped,
                _ = tick.tick() => self.check(),
                went_on = read(&mut self.opened.session, &mut batch) => {
                    // One look at the clocks for all that came together.
                    let (now, wall) = (self.feed.now(), self.feed.clock().wall());
                    let handled = batch.drain(..).try_for_each(|item| self.handle(item, now, wall));
                    if went_on.is_continue() { handled } else { handled.and(Err(Failure::Ended)) }
                }
            };
            if let Err(failure) = checked {
                return Ended::Failed(failure);
            }
        }
    }

    fn handle(
        &mut self,
        item: Result<PacketItem, retina::Error>,
        now: Monotonic,
        wall: WallTime,
    ) -> Result<(), Failure> {
        match item {
            Ok(item) => {
                self.handle_item(item, now, wall);
                Ok(())
            }
            Err(error) => self.handle_error(&error, now),
        }
    }

    fn handle_item(&mut self, item: PacketItem, now: Monotonic, wall: WallTime) {
        let taken = take(item, &self.opened.track_of, &mut self.intake, now, wall);
        if taken.is_media {
            self.newest_packet = now;
            self.errors_in_row = 0;
            if let Some(trouble) = &mut self.trouble {
                trouble.packets += 1;
            }
            let counters = self.feed.counters();
            add(&counters.bytes_received, taken.bytes);
            add(&counters.packets_lost, taken.lost);
            if taken.lost > 0 {
                self.note_loss(now, taken.track, taken.lost);
            }
        }
        if let Err(error) = taken.result {
            add(&self.feed.counters().packets_bad, 1);
            self.complain(now, &error);
        }
        self.apply();
    }

    /// Loss is seen as broken pictures: it is counted by track, and the log says what helps.
    fn note_loss(&mut self, now: Monotonic, track: Option<usize>, packets: u64) {
        if let Some(place) = track.and_then(|track| self.intake.place(track)) {
            self.feed.note_lost(place, packets);
        }
        self.lost += packets;
        if self.losses.note(now).is_some() {
            let packets = std::mem::take(&mut self.lost);
            match self.opened.udp {
                true => tracing::warn!(packets, "packets are lost on their way: `transport: tcp` loses none"),
                false => tracing::warn!(packets, "the camera leaves packets out: it may have too much to do"),
            }
        }
    }

    /// Tells the hub what came of it.
    fn apply(&mut self) {
        while let Some(effect) = self.intake.poll_effect() {
            match effect {
                Effect::Unit(unit) => self.feed.push(unit),
                Effect::Parameters(track, parameters) => self.feed.set_parameters(track, parameters),
                Effect::Jump => add(&self.feed.counters().jumps, 1),
                Effect::Begin(tracks) => {
                    let names: Vec<_> = tracks.iter().map(|track| track.parameters.codec().name()).collect();
                    tracing::info!(tracks = names.join(", "), "receiving");
                    self.feed.begin(tracks);
                    (self.started)(self.feed.now());
                }
            }
        }
    }

    /// An item that is an error is not the end: reading on mostly works.
    fn handle_error(&mut self, error: &retina::Error, now: Monotonic) -> Result<(), Failure> {
        add(&self.feed.counters().packets_bad, 1);
        let words = first_line(error);
        self.complain(now, &words);
        self.errors_in_row += 1;
        if self.errors_in_row >= ERRORS_MAX {
            return Err(Failure::Garbled(words));
        }
        let trouble = self.trouble.get_or_insert(Trouble { since: now, errors: 0, packets: 0, words });
        trouble.errors += 1;
        Ok(())
    }

    /// Looks for silence and for trouble that does not pass.
    fn check(&mut self) -> Result<(), Failure> {
        let now = self.feed.now();
        self.intake.handle_timeout(now);
        self.apply();
        if self.intake.has_ended(now) {
            return Err(Failure::Ended);
        }
        if now.since(self.newest_packet) >= self.silent_after {
            return Err(Failure::Silent(self.silent_after));
        }
        let leading_patience = self.silent_after * LEADING_PATIENCE;
        if self.intake.newest_of_leading().is_some_and(|newest| now.since(newest) >= leading_patience) {
            return Err(Failure::Silent(leading_patience));
        }
        if !self.intake.has_begun() && now.since(self.began_at) >= NO_START.max(self.silent_after) {
            return Err(Failure::NoStart(NO_START.max(self.silent_after)));
        }
        self.check_trouble(now)
    }

    /// A camera that changes its SSRC, or starts anew within a session, is read no more by `retina`: every packet of
    /// that track is an error from then on (wrong SSRC, out of order). Reconnecting is what helps.
    fn check_trouble(&mut self, now: Monotonic) -> Result<(), Failure> {
        let Some(trouble) = &self.trouble else { return Ok(()) };
        if now.since(trouble.since) < TROUBLE {
            return Ok(());
        }
        // A track that delivered and does no more; or nearly everything is refused.
        let fell_silent = |newest: Option<Monotonic>| newest.is_some_and(|newest| newest < trouble.since);
        let track_is_gone = trouble.errors >= TROUBLE_ERRORS && self.intake.newest_packets().any(fell_silent);
        if track_is_gone || trouble.errors >= 2 * TROUBLE_ERRORS && trouble.errors > trouble.packets {
            return Err(Failure::Astray(trouble.words.clone()));
        }
        self.trouble = None;
        Ok(())
    }

    fn complain(&mut self, now: Monotonic, words: &str) {
        if let Some(times) = self.complaints.note(now) {
            tracing::warn!(times, "packets that cannot be taken: {words}");
        }
    }
}

/// Waits for items and takes all that are there: the packets of a picture come together, and waiting once for all of
/// them costs less than for each. Breaks at the end of the session.
async fn read(session: &mut Session<Playing>, batch: &mut Vec<Result<PacketItem, retina::Error>>) -> ControlFlow<()> {
    poll_fn(|context| {
        loop {
            match session.poll_next_unpin(context) {
                Poll::Ready(Some(item)) => batch.push(item),
                Poll::Ready(None) => return Poll::Ready(ControlFlow::Break(())),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(ControlFlow::Continue(())),
            }
            if batch.len() == BATCH {
                return Poll::Ready(ControlFlow::Continue(()));
            }
        }
    })
    .await
}

/// What an item was.
pub(super) struct Taken {
    pub(super) is_media: bool,
    pub(super) track: Option<usize>,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) result: Result<(), String>,
}

/// Gives an item of a session to its intake.
pub(super) fn take(
    item: PacketItem,
    track_of: &[Option<usize>],
    intake: &mut Intake,
    now: Monotonic,
    wall: WallTime,
) -> Taken {
    let mut taken = Taken { is_media: false, track: None, bytes: 0, lost: 0, result: Ok(()) };
    match item {
        PacketItem::Rtp(packet) => {
            taken.is_media = true;
            taken.bytes = packet.raw().len() as u64 + INTERLEAVED_HEADER;
            taken.lost = u64::from(packet.loss());
            let Some(Some(track)) = track_of.get(packet.stream_id()).copied() else { return taken };
            taken.track = Some(track);
            let incoming = Incoming {
                timestamp: packet.timestamp().elapsed(),
                sequence: packet.sequence_number(),
                payload_type: packet.header().payload_type(),
                marker: packet.mark(),
                lost: packet.loss(),
                arrived: now,
                arrived_wall: wall,
                payload: packet.into_payload_bytes(),
            };
            taken.result = intake.handle_packet(track, incoming);
        }
        PacketItem::Rtcp(report) => {
            let track = track_of.get(report.stream_id()).copied().flatten();
            if let (Some(track), Some(timestamp)) = (track, report.rtp_timestamp())
                && let Some(Ok(Some(sender))) = report.pkts().next().map(|packet| packet.as_sender_report())
            {
                intake.handle_report(track, sender.ntp_timestamp().0, timestamp.elapsed(), wall);
            }
            let says_goodbye = |packet| matches!(packet, Ok(rtcp::Packet::Goodbye { .. }));
            if let Some(track) = track.filter(|_| rtcp::packets(report.raw()).any(says_goodbye)) {
                intake.handle_goodbye(track, now);
            }
        }
        _ => {}
    }
    taken
}

fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
