//! The task: takes notices, makes letters of them, sends those that are due each in a task of its own, and keeps the
//! outbox in the store. It waits for no channel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tracing::{debug, info_span, warn};

use super::{
    Channel, Letter, Outcome,
    keeper::Keeper,
    outbox::{Outbox, Output},
    routing::addressed,
    service::{NotifySnapshot, Shared},
};
use crate::{
    base::{Clock, Error, Kind, Monotonic, Tasks, complaints::Complaints},
    config::ChannelName,
    events::{
        alarms::{Alarm, Notice, Reason},
        alerts::Alerts,
    },
};

/// Letters on their way at once, of one channel and of all. A lane has one at most.
const SENDING_PER_CHANNEL: usize = 8;
const SENDING_MAX: usize = 256;
/// How long letters wait for the disk before they go out without it.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// How long an attempt that is under way may still take when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often what is too old is looked for, and what waits for the disk is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Alerts in one notice of how things stand.
const STANDING_MAX: usize = Notice::ALERTS_MAX;

/// What somebody wants of the task.
#[derive(Debug)]
pub(super) enum Order {
    /// Try one that was given up again.
    Retry { number: u64, reply: oneshot::Sender<bool> },
    /// Forget one that was given up.
    Discard { number: u64, reply: oneshot::Sender<bool> },
}

/// What the task owns.
pub(super) struct Postman {
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Outbox,
    pub(super) keeper: Keeper,
    pub(super) told: watch::Sender<Arc<NotifySnapshot>>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) complaints: Complaints,
    /// When each channel that wants it was last told how things stand.
    pub(super) stood: BTreeMap<ChannelName, Monotonic>,
    /// The revision that was shown last.
    pub(super) shown: u64,
    /// Letters on their way.
    pub(super) sending: usize,
}

impl Postman {
    /// Takes what lay in the store, before anybody else puts more there.
    pub(super) async fn resume(&mut self) {
        self.take_left_behind().await;
        self.write().await;
        self.tell();
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let stopping = self.tasks.stopping().clone();
        // As many as may be on their way: a report never waits.
        let (reports, mut reported) = mpsc::channel(SENDING_MAX);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send(&reports);
            self.tell();
            let due = self.due();
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some((letter, outcome)) = reported.recv() => self.hear(&letter, outcome),
                Some(order) = orders.recv() => self.obey(order).await,
                () = shared.intake.filled() => self.take().await,
                _ = look.tick() => self.look().await,
                () = sleep_until(due) => {}
            }
            while let Ok((letter, outcome)) = reported.try_recv() {
                self.hear(&letter, outcome);
            }
            if self.note_outputs() {
                self.write().await;
            }
        }
        // What is delivered in these moments is not delivered again after the restart.
        while self.sending > 0
            && let Ok(Some((letter, outcome))) = timeout(LAST_WORDS * 2, reported.recv()).await
        {
            self.hear(&letter, outcome);
        }
        self.write().await;
    }

    fn due(&self) -> Instant {
        let next = self.outbox.poll_deadline(SENDING_PER_CHANNEL).unwrap_or_else(|| self.clock.now() + LOOK_EVERY);
        // With all places taken, it is a report that wakes.
        if self.sending >= SENDING_MAX {
            self.clock.instant(self.clock.now() + LOOK_EVERY)
        } else {
            self.clock.instant(next)
        }
    }

    /// Sends what is due, each in a task of its own.
    fn send(&mut self, reports: &mpsc::Sender<(Arc<Letter>, Outcome)>) {
        while self.sending < SENDING_MAX {
            let now = self.clock.moment();
            let Some(letter) = self.outbox.poll_attempt(now.monotonic, SENDING_PER_CHANNEL) else { return };
            let Some(channel) = self.shared.channel(&letter.channel) else { return };
            self.sending += 1;
            let report = Report {
                letter: letter.clone(),
                outcome: Outcome::Failed {
                    why: "the attempt ended in a panic; this is a fault of campanile".to_owned(),
                },
                to: reports.clone(),
            };
            let name = format!("notify/{}", letter.channel);
            let span = info_span!("notify", channel = %letter.channel);
            let stopping = self.tasks.stopping().clone();
            self.tasks.spawn(name, span, async move {
                let mut report = report;
                let ended = async {
                    stopping.cancelled().await;
                    sleep(LAST_WORDS).await;
                };
                report.outcome = tokio::select! {
                    biased;
                    outcome = attempt(&*channel, &report.letter, now.wall) => outcome,
                    () = ended => Outcome::Away { after: None, why: "the server ended".to_owned() },
                };
            });
        }
    }

    fn hear(&mut self, letter: &Letter, outcome: Outcome) {
        self.sending = self.sending.saturating_sub(1);
        let channel = &letter.channel;
        match &outcome {
            Outcome::Delivered => debug!(%channel, "delivered: {}", letter.notice.title),
            Outcome::Away { why, .. } | Outcome::Failed { why } if letter.attempts > 0 => debug!(%channel, "{why}"),
            Outcome::Away { why, .. } | Outcome::Failed { why } => warn!(%channel, "not delivered, tried again: {why}"),
            Outcome::Refused { why } | Outcome::Gone { why } => warn!(%channel, "not delivered, given up: {why}"),
        }
        self.outbox.handle_outcome(letter, outcome, self.clock.moment(), rand::random());
    }

    async fn obey(&mut self, order: Order) {
        let now = self.clock.moment();
        let (found, reply) = match order {
            Order::Retry { number, reply } => (self.outbox.retry(number, now), reply),
            Order::Discard { number, reply } => (self.outbox.discard(number), reply),
        };
        self.note_outputs();
        self.write().await;
        self.tell();
        // Whoever asked may have gone.
        let _ = reply.send(found);
    }

    /// Takes the notices that came.
    async fn take(&mut self) {
        let (notices, left_behind) = self.shared.intake.drain();
        for (notice, kept) in notices {
            self.post(&notice, kept);
        }
        if left_behind {
            self.note_outputs();
            self.write().await;
            self.take_left_behind().await;
        }
    }

    /// Takes the notices that lie in the store and of which nothing is known here.
    async fn take_left_behind(&mut self) {
        match self.keeper.notices().await {
            Ok(notices) => notices.iter().for_each(|notice| self.post(notice, true)),
            Err(error) => warn!("notices cannot be read from the store: {}", error.chain()),
        }
        self.note_outputs();
    }

    fn post(&mut self, notice: &Arc<Notice>, kept: bool) {
        if !self.outbox.has(&notice.id) {
            let now = self.clock.moment();
            for (route, part) in addressed(&self.shared.routes, notice) {
                let Some(channel) = self.shared.channel(&route.name) else { continue };
                for recipient in channel.recipients() {
                    self.outbox.post(Letter::new(route.name.clone(), recipient, part.clone(), now.wall), now);
                }
            }
        }
        if kept {
            self.keeper.taken(notice);
        }
    }

    async fn look(&mut self) {
        self.outbox.handle_timeout(self.clock.wall());
        self.tell_how_things_stand();
        if self.keeper.is_behind() {
            self.write().await;
        }
    }

    /// Tells the channels that want to hear it again and again which alerts go on.
    fn tell_how_things_stand(&mut self) {
        let Some(alerts) = self.shared.alerts.get() else { return };
        let now = self.clock.moment();
        let mut going = None;
        for route in &self.shared.routes {
            let Some(channel) = self.shared.channel(&route.name) else { continue };
            let Some(every) = channel.standing_every() else { continue };
            let due = self.stood.get(&route.name).is_none_or(|last| now.monotonic.since(*last) >= every);
            if !due || channel.recipients().iter().any(|recipient| !self.outbox.is_idle(&route.name, recipient)) {
                continue;
            }
            self.stood.insert(route.name.clone(), now.monotonic);
            let going = going.get_or_insert_with(|| standing(alerts));
            let known: Vec<_> = going.iter().filter(|alarm| route.knows(&alarm.record, alarm.level)).collect();
            for alarms in known.chunks(STANDING_MAX) {
                let Some(first) = alarms.first() else { continue };
                let notice = Arc::new(Notice {
                    id: format!("{:016x}{}", now.wall.unix_nanos(), first.record.fingerprint),
                    at: now.wall.to_string(),
                    reason: Reason::Standing,
                    level: alarms.iter().map(|alarm| alarm.level).max().unwrap_or_default(),
                    group: None,
                    severity: alarms.iter().map(|alarm| alarm.record.severity).max().unwrap_or_default(),
                    title: first.record.title.clone(),
                    alerts: alarms.iter().map(|alarm| alarm.record.clone()).collect(),
                    count: alarms.len(),
                });
                for recipient in channel.recipients() {
                    let letter = Letter::new(route.name.clone(), recipient, notice.clone(), now.wall);
                    self.outbox.post(Letter { passing: true, ..letter }, now);
                }
            }
        }
    }

    /// Hands what the outbox wants remembered to the keeper; whether there is anything to write.
    fn note_outputs(&mut self) -> bool {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Keep(letter) => self.keeper.keep(letter),
                Output::Forget(number) => self.keeper.forget(number),
            }
        }
        self.keeper.is_behind()
    }

    async fn write(&mut self) {
        self.note_outputs();
        if !self.keeper.is_behind() {
            return;
        }
        // A disk that hangs holds nothing up: what is not written waits, and letters go out.
        let slow = |_| Error::new(Kind::DeadlineExceeded, "documents.db: the disk takes too long");
        let written = timeout(WRITE_WITHIN, self.keeper.write()).await.map_err(slow).flatten();
        if let Err(failure) = written
            && let Some(times) = self.complaints.note(self.clock.now())
        {
            warn!(times, "the outbox is not kept over a restart: {}", failure.chain());
        }
    }

    /// Shows everything as it is to those who look, if anything changed.
    fn tell(&mut self) {
        if self.shown != self.outbox.revision() {
            self.shown = self.outbox.revision();
            let snapshot = self.shared.snapshot(self.outbox.snapshot(), self.shown, self.clock.moment());
            self.told.send_replace(Arc::new(snapshot));
        }
    }
}

/// The alerts that go on and that people know of.
fn standing(alerts: &Alerts) -> Vec<Arc<Alarm>> {
    let snapshot = alerts.snapshot();
    snapshot.alarms.iter().filter(|alarm| alarm.is_active() && alarm.is_told()).cloned().collect()
}

/// One attempt, within its time.
pub(super) async fn attempt(channel: &dyn Channel, letter: &Letter, now: crate::base::WallTime) -> Outcome {
    let limit = channel.limit();
    timeout(limit, channel.deliver(letter, now))
        .await
        .unwrap_or_else(|_| Outcome::Away { after: None, why: format!("no answer within {} s", limit.as_secs()) })
}

/// What came of an attempt, told whatever becomes of its task.
struct Report {
    letter: Arc<Letter>,
    outcome: Outcome,
    to: mpsc::Sender<(Arc<Letter>, Outcome)>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // There is room for every one that is on its way; without the task nobody listens.
        let _ = self.to.try_send((self.letter.clone(), self.outcome.clone()));
    }
}
