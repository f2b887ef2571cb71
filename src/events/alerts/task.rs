//! The task: one loop around the machines. It looks at the cameras every second and at the disk every half minute.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tracing::{info_span, warn};

use super::{
    AlertsSnapshot, Cameras, DiskProbe, Rules, SensorReport, Silence, WaysOut, append,
    book::RuleBook,
    keeper::Keeper,
    late::{alert, occurrence},
    say,
};
use crate::{
    base::{Clock, Error, Moment, Monotonic, Result, Tasks, WallTime, complaints::Complaints},
    config::{RuleConfig, RuleId},
    events::{
        Cursor, Delivery, EventType, Events, Fact, Follower,
        alarms::{Alarms, Output},
        rules::SavedRules,
    },
};

/// Between two looks at the cameras.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the disk, and two savings of what rules remember while no alarm turns.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// An alarm that turns is saved at once, but so many that turn together are saved together.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What waits for the disk is tried again after this; an alarm's new value alone waits as long.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How long notices wait for the disk before they go out without it.
const KEEP_WITHIN: Duration = Duration::from_secs(1);
/// The wall clock may step: what is due by it is looked at again after this.
const WALL_MOST: Duration = Duration::from_secs(60);

/// An order or a report.
#[derive(Debug)]
pub(super) enum Command {
    Observe(Box<SensorReport>),
    Acknowledge {
        fingerprint: String,
        by: String,
        note: Option<String>,
        until: Option<WallTime>,
        reply: oneshot::Sender<Result<()>>,
    },
    Silence {
        silence: Silence,
        reply: oneshot::Sender<Result<()>>,
    },
    Unsilence {
        id: String,
        by: String,
        reply: oneshot::Sender<Result<()>>,
    },
    PutRule {
        config: Box<RuleConfig>,
        new: bool,
        by: String,
        reply: oneshot::Sender<Result<RuleId>>,
    },
    RemoveRule {
        id: RuleId,
        by: String,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// What the task owns.
pub(super) struct Task {
    pub(super) rules: Rules,
    pub(super) alarms: Alarms,
    pub(super) book: RuleBook,
    pub(super) keeper: Keeper,
    pub(super) events: Events,
    pub(super) cameras: Arc<dyn Cameras>,
    pub(super) disk: DiskProbe,
    pub(super) ways_out: Arc<dyn WaysOut>,
    pub(super) told: watch::Sender<Arc<AlertsSnapshot>>,
    pub(super) clock: Clock,
    pub(super) complaints: Complaints,
    /// What was shown last, by the revisions it was made of.
    pub(super) shown: Option<(u64, u64)>,
    pub(super) saved: Saved,
    /// The last fact that the rules heard.
    pub(super) heard: Option<Cursor>,
}

/// What rules remembered when that was last saved.
#[derive(Debug, Default)]
pub(super) struct Saved {
    memory: Option<SavedRules>,
    turns: u64,
    at: Option<Monotonic>,
    heard: Option<Cursor>,
}

impl Task {
    /// Tells what came of the start, then goes on for itself.
    pub(super) async fn start(
        mut self,
        orders: mpsc::Receiver<Command>,
        follower: Follower,
        late: &[Arc<Fact>],
        tasks: &Tasks,
    ) {
        let now = self.clock.moment();
        self.hear_alerts(late, now);
        if let Some(heard) = self.heard {
            self.alarms.handle_heard(heard);
        }
        self.catch_up().await;
        let stopping = tasks.stopping().clone();
        tasks.spawn("alerts", info_span!("alerts"), async move {
            let run = self.run(orders, follower, &stopping);
            run.await;
        });
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Command>,
        mut follower: Follower,
        stopping: &tokio_util::sync::CancellationToken,
    ) {
        let [mut look, mut save, mut write] = [LOOK_EVERY, SAVE_EVERY, WRITE_EVERY].map(|every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.take(order).await,
                    None => break,
                },
                delivery = follower.next() => if let Delivery::Facts(facts) = delivery {
                    self.hear(&facts);
                },
                _ = look.tick() => {
                    let now = self.clock.moment();
                    let samples = self.cameras.look();
                    self.rules.handle_cameras(&samples, now);
                }
                _ = save.tick() => {
                    if let Some(room) = self.room().await {
                        self.rules.handle_disk(room, self.clock.moment());
                    }
                    self.save();
                }
                _ = write.tick() => drop(self.write().await),
                () = sleep_until(due) => {}
            }
            self.catch_up().await;
        }
        self.save();
        let _said = self.write().await;
    }

    /// When the machines want to be asked.
    fn due(&self) -> Instant {
        let now = self.clock.moment();
        let wall = self.alarms.poll_deadline(now.wall).map(|at| now.monotonic_of(at).min(now.monotonic + WALL_MOST));
        let most = now.monotonic + WALL_MOST;
        let next = [wall, self.rules.poll_deadline(), self.save_due()].into_iter().flatten().fold(most, Ord::min);
        self.clock.instant(next)
    }

    /// When what rules remember has to be saved because an alarm turned: times run on over a kill.
    fn save_due(&self) -> Option<Monotonic> {
        let turned = self.rules.turns() != self.saved.turns;
        turned.then(|| self.saved.at.map_or_else(Monotonic::default, |at| at + SAVE_AGAIN_AFTER))
    }

    /// The system call may wait for a disk: not on the threads that serve.
    async fn room(&self) -> Option<crate::events::rules::DiskRoom> {
        let disk = self.disk.clone();
        tokio::task::spawn_blocking(move || disk()).await.ok().flatten()
    }

    async fn take(&mut self, order: Command) {
        let now = self.clock.moment();
        match order {
            Command::Observe(report) => {
                let SensorReport { device, reading, broken } = *report;
                let sensor = device.sensor.clone();
                self.rules.handle_device(device, now);
                if let Some(reading) = reading {
                    self.rules.handle_reading(reading, now);
                }
                self.rules.handle_source(&sensor, broken, now);
            }
            Command::Acknowledge { fingerprint, by, note, until, reply } => {
                let done = self.alarms.acknowledge(&fingerprint, &by, note, until, now.wall);
                self.answer(reply, done.map_err(Error::from)).await;
            }
            Command::Silence { silence, reply } => {
                let done = self.alarms.silence(silence, now.wall);
                self.answer(reply, done.map_err(Error::from)).await;
            }
            Command::Unsilence { id, by, reply } => {
                let done = self.alarms.unsilence(&id, &by, now.wall);
                self.answer(reply, done.map_err(Error::from)).await;
            }
            Command::PutRule { config, new, by, reply } => {
                let done = self.put_rule(*config, new, &by).await;
                self.answer(reply, done).await;
            }
            Command::RemoveRule { id, by, reply } => {
                let done = self.remove_rule(&id, &by).await;
                self.answer(reply, done).await;
            }
        }
    }

    /// Answers after what was done has its place in the log.
    async fn answer<T>(&mut self, reply: oneshot::Sender<Result<T>>, done: Result<T>) {
        self.catch_up().await;
        // Whoever asked may have gone.
        let _ = reply.send(done);
    }

    async fn put_rule(&mut self, config: RuleConfig, new: bool, by: &str) -> Result<RuleId> {
        let before: Vec<_> = self.book.entries().to_vec();
        let id = self.book.put(config.clone(), new)?;
        if let Err(error) = self.keeper.put_rule(&id, Some(&config)).await {
            self.book.restore(before);
            return Err(error);
        }
        let action = if new { "rule.added" } else { "rule.changed" };
        self.deed(action, by, &id);
        Ok(id)
    }

    async fn remove_rule(&mut self, id: &RuleId, by: &str) -> Result<()> {
        let before: Vec<_> = self.book.entries().to_vec();
        self.book.remove(id)?;
        if let Err(error) = self.keeper.put_rule(id, None).await {
            self.book.restore(before);
            return Err(error);
        }
        self.deed("rule.removed", by, id);
        Ok(())
    }

    fn deed(&mut self, action: &str, by: &str, id: &RuleId) {
        let now = self.clock.moment();
        self.alarms.deed(action, by, id.as_str(), None, now.wall);
        self.rules.set_rules(self.book.resolved(), now);
    }

    /// What the log tells: events of cameras and of security, and alerts that a part of the server raised by itself.
    fn hear(&mut self, facts: &[Arc<Fact>]) {
        let now = self.clock.moment();
        for occurrence in facts.iter().filter_map(|fact| occurrence(fact)) {
            self.rules.handle_event(&occurrence, now);
        }
        self.hear_alerts(facts, now);
        if let Some(last) = facts.last() {
            self.heard = Some(last.cursor);
            self.alarms.handle_heard(last.cursor);
        }
    }

    fn hear_alerts(&mut self, facts: &[Arc<Fact>], now: Moment) {
        for fact in facts.iter().filter(|fact| fact.topic.kind == EventType::Alert) {
            if let Some(event) = alert(fact) {
                self.alarms.handle_foreign(&event, now.wall);
            }
        }
    }

    /// Lets what is due happen, and does what the machines want done.
    async fn catch_up(&mut self) {
        let now = self.clock.moment();
        self.rules.handle_timeout(now);
        while let Some(transition) = self.rules.poll_output() {
            self.alarms.handle_transition(&transition, now.wall);
        }
        if self.alarms.poll_deadline(now.wall).is_some_and(|due| due <= now.wall) {
            self.alarms.handle_timeout(now.wall);
        }
        let (mut drafts, mut notices) = (Vec::new(), Vec::new());
        while let Some(output) = self.alarms.poll_output() {
            match output {
                Output::Append(draft) => drafts.push(draft),
                Output::Notify(notice) => {
                    say::log(&notice);
                    let notice = Arc::new(notice);
                    if self.ways_out.wants(&notice) {
                        self.keeper.keep_notice(&notice);
                        notices.push(notice);
                    }
                }
                Output::KeepAlarm(alarm) => self.keeper.keep_alarm(alarm),
                Output::ForgetAlarm(fingerprint) => self.keeper.forget_alarm(fingerprint),
                Output::KeepSilence(silence) => self.keeper.keep_silence(&silence),
                Output::ForgetSilence(id) => self.keeper.forget_silence(id),
            }
        }
        // Whoever hears of a fact finds what it tells of.
        self.tell();
        let turned = self.save_due().is_some_and(|due| due <= self.clock.now());
        if turned {
            self.save();
        }
        if turned || !drafts.is_empty() || !notices.is_empty() {
            if let Some(told) = append::all(&self.events, drafts).await {
                self.keeper.keep_told(told);
            }
            // In one commit with the alarms they are about: neither is told twice nor forgotten.
            let kept = timeout(KEEP_WITHIN, self.write()).await.unwrap_or(false);
            if !kept {
                self.keeper.let_go_of_notices();
            }
            if !notices.is_empty() {
                self.ways_out.take(notices, kept);
            }
        }
    }

    fn save(&mut self) {
        let now = self.clock.moment();
        let memory = self.rules.save(now);
        if !self.saved.memory.as_ref().is_some_and(|saved| saved.says(&memory)) {
            self.keeper.keep_memory(&memory);
            self.saved.memory = Some(memory);
        }
        if let Some(heard) = self.heard.filter(|heard| self.saved.heard != Some(*heard)) {
            self.keeper.keep_heard(heard);
            self.saved.heard = Some(heard);
        }
        (self.saved.turns, self.saved.at) = (self.rules.turns(), Some(now.monotonic));
    }

    /// Writes what waits; whether that went well.
    async fn write(&mut self) -> bool {
        if !self.keeper.is_behind() {
            return true;
        }
        let Err(failure) = self.keeper.write().await else { return true };
        if let Some(times) = self.complaints.note(self.clock.now()) {
            warn!(times, "alerts and silences are not kept over a restart: {}", failure.chain());
        }
        false
    }

    /// Shows everything as it is to those who look, if anything changed.
    fn tell(&mut self) {
        let revision = (self.alarms.revision(), self.book.revision());
        if self.shown.replace(revision) == Some(revision) {
            return;
        }
        let alarms: Vec<_> = self.alarms.all().cloned().collect();
        let silences: Vec<_> = self.alarms.silences().cloned().collect();
        let rules = self.book.entries().to_vec();
        self.told.send_modify(|before| {
            let version = before.version + 1;
            *before = Arc::new(AlertsSnapshot { version, alarms, silences, rules });
        });
    }
}
