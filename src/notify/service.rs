//! The way into the room: [`Notifier`] takes notices from the alarms, shows how every channel does, and tries one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tracing::info_span;

use super::{
    Channel, ChannelFigures, ChannelKind, Letter, OutboxSnapshot, Outcome,
    keeper::Keeper,
    outbox::Outbox,
    postman::{Order, Postman, attempt},
    routing::{Route, addressed},
};
use crate::{
    base::{Clock, Error, Kind, Moment, Result, Severity, Tasks, WallTime, complaints::Complaints},
    config::{ChannelName, NotifyConfig},
    events::{
        alarms::{Notice, Reason},
        alerts::{Alerts, WaysOut},
        payload::{AlertRecord, AlertState},
    },
    store::Store,
};

/// Orders that may wait; a further one is refused.
const WAITING: usize = 64;
/// Notices that may wait in memory. What is more is read from the store afterwards.
const INTAKE_MAX: usize = 256;
/// Trials at once.
const TRIALS: usize = 4;

/// What the room begins with.
#[derive(Debug)]
pub struct NotifierOptions {
    /// What each channel is told of, and how long letters are kept.
    pub config: NotifyConfig,
    /// The channels, by the names of the configuration.
    pub channels: BTreeMap<ChannelName, Arc<dyn Channel>>,
}

/// One channel as others see it.
#[derive(Clone, Debug)]
pub struct ChannelSnapshot {
    /// Its name.
    pub name: ChannelName,
    /// What it is.
    pub kind: ChannelKind,
    /// How it does.
    pub figures: ChannelFigures,
    /// When the next attempt is due, if it waits for one.
    pub next_attempt: Option<WallTime>,
}

impl ChannelSnapshot {
    /// `idle`, `sending`, `waiting` for another attempt, or `gone`.
    pub const fn state(&self) -> &'static str {
        match &self.figures {
            figures if figures.gone => "gone",
            figures if figures.sending > 0 => "sending",
            figures if figures.queued > 0 => "waiting",
            _ => "idle",
        }
    }
}

/// Everything as it is. It changes as a whole.
#[derive(Clone, Debug, Default)]
pub struct NotifySnapshot {
    /// Another number: something changed.
    pub version: u64,
    /// Every channel, by name.
    pub channels: Vec<ChannelSnapshot>,
    /// What was given up, the oldest first.
    pub dead: Vec<Arc<Letter>>,
}

/// What the handles and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) routes: Vec<Route>,
    channels: BTreeMap<ChannelName, Arc<dyn Channel>>,
    pub(super) intake: Intake,
    pub(super) alerts: OnceLock<Alerts>,
    trials: Semaphore,
}

impl Shared {
    pub(super) fn channel(&self, name: &ChannelName) -> Option<Arc<dyn Channel>> {
        self.channels.get(name).cloned()
    }

    pub(super) fn snapshot(&self, outbox: OutboxSnapshot, version: u64, now: Moment) -> NotifySnapshot {
        let OutboxSnapshot { mut channels, dead } = outbox;
        let channel = |(name, channel): (&ChannelName, &Arc<dyn Channel>)| {
            let figures = channels.remove(name).unwrap_or_default();
            let next_attempt = figures.next_attempt.map(|at| now.wall_of(at.max(now.monotonic)));
            ChannelSnapshot { name: name.clone(), kind: channel.kind(), figures, next_attempt }
        };
        NotifySnapshot { version, channels: self.channels.iter().map(channel).collect(), dead }
    }
}

/// Notices on their way from the alarms to the task. Handing over never waits.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Held for a push, or to take everything.
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<(Arc<Notice>, bool)>,
    /// Some lie in the store only.
    left_behind: bool,
}

impl Intake {
    fn push(&self, notices: Vec<Arc<Notice>>, kept: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in notices {
            if waiting.notices.len() < INTAKE_MAX {
                waiting.notices.push_back((notice, kept));
            } else if kept {
                waiting.left_behind = true;
            } else {
                tracing::error!("a notice is lost, too many wait and the disk takes none: {}", notice.title);
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Resolves when something came.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Everything that waits, each with whether it lies in the store, and whether more lies there.
    pub(super) fn drain(&self) -> (VecDeque<(Arc<Notice>, bool)>, bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.notices), std::mem::take(&mut waiting.left_behind))
    }
}

/// The way to the room. Clones share it.
#[derive(Clone, Debug)]
pub struct Notifier {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    snapshot: watch::Receiver<Arc<NotifySnapshot>>,
    clock: Clock,
}

impl Notifier {
    /// Goes on with what the store kept. Alarms start after this: what they left in the store is taken here.
    pub async fn start(options: NotifierOptions, store: &Store, clock: Clock, tasks: &Tasks) -> Self {
        let NotifierOptions { config, channels } = options;
        let configured = config.channels.iter().filter(|(name, _)| channels.contains_key(*name));
        let shared = Arc::new(Shared {
            routes: configured.map(|(name, config)| Route::new(name.clone(), config)).collect(),
            channels,
            intake: Intake::default(),
            alerts: OnceLock::new(),
            trials: Semaphore::new(TRIALS),
        });
        let keeper = Keeper::new(store.documents().clone());
        let kept = keeper.letters().await.unwrap_or_else(|error| {
            tracing::warn!("letters cannot be read from the store: {}", error.chain());
            Vec::new()
        });
        let names: Vec<_> = shared.channels.keys().cloned().collect();
        let (told, snapshot) = watch::channel(Arc::default());
        let (orders, taken) = mpsc::channel(WAITING);
        let mut postman = Postman {
            shared: shared.clone(),
            outbox: Outbox::resume(kept, &names, config.max_age.duration()),
            keeper,
            told,
            clock,
            tasks: tasks.clone(),
            complaints: Complaints::new(Duration::from_secs(60)),
            stood: BTreeMap::new(),
            shown: 0,
            sending: 0,
        };
        postman.resume().await;
        tasks.spawn("notify", info_span!("notify"), postman.run(taken));
        Self { shared, orders, snapshot, clock }
    }

    /// No channel, no task.
    #[cfg(test)]
    pub(crate) fn fixed(clock: Clock) -> Self {
        let shared = Shared {
            routes: Vec::new(),
            channels: BTreeMap::new(),
            intake: Intake::default(),
            alerts: OnceLock::new(),
            trials: Semaphore::new(TRIALS),
        };
        Self { shared: Arc::new(shared), orders: mpsc::channel(1).0, snapshot: watch::channel(Arc::default()).1, clock }
    }

    /// Tells the room where to look for alerts that go on.
    pub fn watch(&self, alerts: Alerts) {
        // A second time changes nothing.
        let _ = self.shared.alerts.set(alerts);
    }

    /// Everything as it is.
    pub fn snapshot(&self) -> Arc<NotifySnapshot> {
        self.snapshot.borrow().clone()
    }

    /// Tries a channel: every recipient is sent a test, past the outbox, and what came of it comes back.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::ResourceExhausted`]: too many are tried at once.
    pub async fn test(&self, name: &ChannelName) -> Result<Vec<(String, Outcome)>> {
        let unknown =
            || Error::new(Kind::NotFound, format!("{name}: there is no such channel")).with_code("channel_not_found");
        let channel = self.shared.channel(name).ok_or_else(unknown)?;
        let busy =
            |_| Error::new(Kind::ResourceExhausted, "too many channels are tried at once").with_code("channels_busy");
        let _place = self.shared.trials.try_acquire().map_err(busy)?;
        let now = self.clock.wall();
        let notice = Arc::new(trial(name, now));
        let mut outcomes = Vec::new();
        for recipient in channel.recipients() {
            let letter = Letter::new(name.clone(), recipient.clone(), notice.clone(), now);
            outcomes.push((recipient, attempt(&*channel, &letter, now).await));
        }
        Ok(outcomes)
    }

    /// Tries a letter again that was given up.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::ResourceExhausted`]; [`Kind::Cancelled`].
    pub async fn retry(&self, number: u64) -> Result<()> {
        self.order(|reply| Order::Retry { number, reply }).await
    }

    /// Forgets a letter that was given up.
    ///
    /// # Errors
    /// As [`Notifier::retry`].
    pub async fn discard(&self, number: u64) -> Result<()> {
        self.order(|reply| Order::Discard { number, reply }).await
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<bool>) -> Order) -> Result<()> {
        let ended = || Error::new(Kind::Cancelled, "notify: the server ends");
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(order(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Kind::ResourceExhausted, "notify: too many orders wait").with_code("channels_busy")
            }
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        if answer.await.map_err(|_closed| ended())? {
            return Ok(());
        }
        Err(Error::new(Kind::NotFound, "there is no letter of this number that was given up")
            .with_code("letter_not_found"))
    }
}

impl WaysOut for Notifier {
    fn wants(&self, notice: &Arc<Notice>) -> bool {
        !addressed(&self.shared.routes, notice).is_empty()
    }

    fn take(&self, notices: Vec<Arc<Notice>>, kept: bool) {
        self.shared.intake.push(notices, kept);
    }
}

/// What is sent by whoever tries a channel.
fn trial(name: &ChannelName, now: WallTime) -> Notice {
    let title = format!("Test of the channel {name}");
    let alert = AlertRecord {
        fingerprint: "0000000000000000".to_owned(),
        rule: "test".to_owned(),
        severity: Severity::Info,
        state: AlertState::Cleared,
        title: title.clone(),
        message: "Somebody tries this channel. Nothing has happened.".to_owned(),
        path: None,
        sensor: None,
        value: None,
        unit: None,
        threshold: None,
        started_at: now.to_string(),
        updated_at: now.to_string(),
        ended_at: Some(now.to_string()),
        ack: None,
        evidence: Vec::new(),
    };
    Notice {
        id: format!("{:016x}{:016x}", now.unix_nanos(), rand::random::<u64>()),
        at: now.to_string(),
        reason: Reason::Test,
        level: 0,
        group: None,
        severity: Severity::Info,
        title,
        alerts: vec![alert],
        count: 1,
    }
}
