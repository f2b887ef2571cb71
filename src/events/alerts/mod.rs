//! Rules and alarms at work: one task feeds the machines of [`super::rules`] and [`super::alarms`] with what sensors,
//! cameras and the log tell, puts what comes of it into the log, and keeps it over restarts. [`Alerts`] talks to it.

mod append;
mod book;
mod keeper;
mod late;
mod say;
mod task;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};

use self::{book::RuleBook, task::Command};
pub use self::{
    book::{Origin, RuleEntry},
    keeper::NOTICES,
};
use super::{
    Events,
    alarms::{Alarm, AlarmError, Alarms, Matcher, Notice, Silence, Witness},
    rules::{CameraSample, Device, DiskRoom, Reading, Rules},
};
use crate::{
    base::{Clock, Error, Kind, Result, Tasks, WallTime},
    config::{
        RuleConfig, RuleId,
        rules::{TimeZoneName, WeeklyWindow},
    },
    store::Store,
};

/// Orders and reports that may wait for the task; a further one is refused.
const WAITING: usize = 1024;

/// Whoever can look at all cameras: the room of paths, wired in `app`.
pub trait Cameras: fmt::Debug + Send + Sync {
    /// How every camera that has a name of its own does now. It answers at once.
    fn look(&self) -> Vec<CameraSample>;
}

/// The ways out to people: the room of channels, wired in `app`.
pub trait WaysOut: fmt::Debug + Send + Sync {
    /// Whether anybody is to be told of it.
    fn wants(&self, notice: &Arc<Notice>) -> bool;

    /// Takes notices over; it never waits. With `kept` they lie in the store under [`NOTICES`], by their ids, and
    /// whoever takes them takes them away there; without, the disk did not take them.
    fn take(&self, notices: Vec<Arc<Notice>>, kept: bool);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWaysOut;

impl WaysOut for NoWaysOut {
    fn wants(&self, _: &Arc<Notice>) -> bool {
        false
    }

    fn take(&self, _: Vec<Arc<Notice>>, _: bool) {}
}

/// Whoever knows the disk of the state directory. It may take as long as a system call.
pub type DiskProbe = Arc<dyn Fn() -> Option<DiskRoom> + Send + Sync>;

/// What the rules look at and begin with.
pub struct AlertsOptions {
    /// Those of the file.
    pub rules: Vec<RuleConfig>,
    /// The cameras.
    pub cameras: Arc<dyn Cameras>,
    /// The disk.
    pub disk: DiskProbe,
    /// Whoever can show what an alert is about.
    pub witness: Arc<dyn Witness>,
    /// The ways out.
    pub ways_out: Arc<dyn WaysOut>,
}

impl fmt::Debug for AlertsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlertsOptions({} rules)", self.rules.len())
    }
}

/// What a sensor is and what it showed last, as the room of sensors tells it with every change.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorReport {
    /// What it is.
    pub device: Device,
    /// What it showed just now, if it is that which changed.
    pub reading: Option<Reading>,
    /// What brings its readings is broken.
    pub broken: bool,
}

/// A silence that is wanted.
#[derive(Clone, Debug)]
pub struct SilenceOptions {
    /// What it is about.
    pub matcher: Matcher,
    /// Its beginning; now if absent.
    pub from: Option<WallTime>,
    /// Its end. Only a weekly one may have none.
    pub until: Option<WallTime>,
    /// Only in these hours of the week.
    pub weekly: Vec<WeeklyWindow>,
    /// On the clock of this place.
    pub time_zone: TimeZoneName,
    /// Why.
    pub note: Option<String>,
}

/// Everything as it is, for those who only look. It changes as a whole.
#[derive(Clone, Debug, Default)]
pub struct AlertsSnapshot {
    /// Counts the changes since the start.
    pub version: u64,
    /// Every alarm, those that are over among them, by fingerprint.
    pub alarms: Vec<Arc<Alarm>>,
    /// Every silence, by id.
    pub silences: Vec<Silence>,
    /// Every rule, those of the file first.
    pub rules: Vec<RuleEntry>,
}

/// The way to the rules and the alarms. Clones share it.
#[derive(Clone, Debug)]
pub struct Alerts {
    orders: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Arc<AlertsSnapshot>>,
    clock: Clock,
}

impl Alerts {
    /// Goes on with what the store kept. What cannot be read there is left out, and said.
    pub async fn start(options: AlertsOptions, events: Events, store: &Store, clock: Clock, tasks: &Tasks) -> Self {
        let now = clock.moment();
        let mut keeper = keeper::Keeper::new(store.documents().clone());
        let kept = keeper.load().await;
        let book = RuleBook::new(options.rules, kept.rules);
        let rules = book.resolved();
        let by_id: BTreeMap<_, _> = rules.iter().map(|rule| (rule.id.clone(), Arc::new(rule.clone()))).collect();
        let mut alarms = Alarms::resume(kept.alarms, kept.silences, &by_id, options.witness, now.wall);
        // The first start has a place as well, before anybody can post: a server killed at once loses nothing either.
        let heard = kept.heard.unwrap_or_else(|| events.cursor());
        if kept.heard.is_none() {
            keeper.keep_heard(heard);
            if let Err(error) = keeper.write().await {
                tracing::warn!("how far rules have heard is not written: {}", error.chain());
            }
        }
        let (follower, late) = late::follow(&events, heard).await;
        for (event, cursor) in late.told_after(kept.told) {
            if let Some(rule) = event.alert.rule.parse().ok().and_then(|id: RuleId| by_id.get(&id)) {
                alarms.handle_told(&event, cursor, rule, now.wall);
            }
        }
        let late_events = late.occurrences().map(|(occurrence, cursor)| {
            let known = alarms.settled(&occurrence.subject(), cursor);
            (occurrence, known)
        });
        let rules = Rules::resume(rules, kept.memory.as_ref(), &alarms.active(), late_events, now);
        let (orders, taken) = mpsc::channel(WAITING);
        let (told, snapshot) = watch::channel(Arc::default());
        let task = task::Task {
            rules,
            alarms,
            book,
            keeper,
            events,
            cameras: options.cameras,
            disk: options.disk,
            ways_out: options.ways_out,
            told,
            clock,
            complaints: crate::base::complaints::Complaints::new(std::time::Duration::from_secs(60)),
            shown: None,
            saved: task::Saved::default(),
            heard: late.heard().or(Some(heard)),
        };
        task.start(taken, follower, late.facts(), tasks).await;
        Self { orders, snapshot, clock }
    }

    /// No task, no rule, no alert.
    #[cfg(test)]
    pub(crate) fn fixed(clock: Clock) -> Self {
        Self { orders: mpsc::channel(1).0, snapshot: watch::channel(Arc::default()).1, clock }
    }

    /// Everything as it is.
    pub fn snapshot(&self) -> Arc<AlertsSnapshot> {
        self.snapshot.borrow().clone()
    }

    /// Resolves when the snapshot is another than the one of `version`; never, once the server ends.
    pub async fn changed(&self, version: u64) {
        let mut snapshot = self.snapshot.clone();
        if snapshot.wait_for(|now| now.version != version).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A sensor changed. It never waits.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`]: too much waits already.
    pub fn observe(&self, report: SensorReport) -> Result<()> {
        let sent = self.orders.try_send(Command::Observe(Box::new(report)));
        sent.map_err(|_| Error::new(Kind::ResourceExhausted, "rules: too many readings wait").with_code("rules_busy"))
    }

    /// `by` took note of an alert, for the rest of it or until a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::FailedPrecondition`] (it is over), [`Kind::InvalidArgument`] (`until` is past).
    pub async fn acknowledge(
        &self,
        fingerprint: String,
        by: String,
        note: Option<String>,
        until: Option<WallTime>,
    ) -> Result<()> {
        if until.is_some_and(|until| until <= self.clock.wall()) {
            return Err(Error::new(Kind::InvalidArgument, "until: it is past").with_code("invalid_until"));
        }
        self.order(|reply| Command::Acknowledge { fingerprint, by, note, until, reply }).await
    }

    /// `by` does not want to hear of something. The silence's id comes back.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: no end, or one that is past. [`Kind::FailedPrecondition`]: there are too many.
    pub async fn silence(&self, options: SilenceOptions, by: String) -> Result<String> {
        let now = self.clock.wall();
        let unfit = |message| Error::new(Kind::InvalidArgument, message).with_code("invalid_silence");
        match options.until {
            None if options.weekly.is_empty() => return Err(unfit("until: a silence that is not weekly has an end")),
            Some(until) if until <= now || options.from.is_some_and(|from| until <= from) => {
                return Err(unfit("until: it lies before the beginning"));
            }
            _ => {}
        }
        let silence = Silence {
            id: format!("{:016x}", rand::random::<u64>()),
            matcher: options.matcher,
            from: options.from.unwrap_or(now).unix_nanos(),
            until: options.until.map(WallTime::unix_nanos),
            weekly: options.weekly,
            time_zone: options.time_zone,
            by,
            note: options.note,
        };
        let id = silence.id.clone();
        self.order(|reply| Command::Silence { silence, reply }).await?;
        Ok(id)
    }

    /// `by` ends a silence.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn unsilence(&self, id: String, by: String) -> Result<()> {
        self.order(|reply| Command::Unsilence { id, by, reply }).await
    }

    /// `by` adds a rule, or changes one that was added so.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: what is wrong with it. [`Kind::AlreadyExists`]: a new one has the name of another, or
    /// the file's. [`Kind::NotFound`]: there is none to change.
    pub async fn put_rule(&self, config: RuleConfig, new: bool, by: String) -> Result<RuleId> {
        self.order(|reply| Command::PutRule { config: Box::new(config), new, by, reply }).await
    }

    /// `by` removes a rule that was added over the API.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::FailedPrecondition`]: it stands in the file.
    pub async fn remove_rule(&self, id: RuleId, by: String) -> Result<()> {
        self.order(|reply| Command::RemoveRule { id, by, reply }).await
    }

    async fn order<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let ended = |_| Error::new(Kind::Cancelled, "rules: the server ends");
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Kind::ResourceExhausted, "rules: too many orders wait").with_code("rules_busy")
            }
            mpsc::error::TrySendError::Closed(_) => ended(()),
        })?;
        answer.await.map_err(|_closed| ended(()))?
    }
}

impl From<AlarmError> for Error {
    fn from(error: AlarmError) -> Self {
        let (kind, code) = match error {
            AlarmError::UnknownAlert => (Kind::NotFound, "alert_not_found"),
            AlarmError::Over => (Kind::FailedPrecondition, "alert_over"),
            AlarmError::UnknownSilence => (Kind::NotFound, "silence_not_found"),
            AlarmError::TooManySilences => (Kind::FailedPrecondition, "too_many_silences"),
        };
        Self::new(kind, error.to_string()).with_code(code)
    }
}
