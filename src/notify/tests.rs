//! What the tests of this room share, and the room at work on a real store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Channel, ChannelKind, Delivering, Letter, Notifier, NotifierOptions, Outcome};
use crate::{
    base::{Clock, Severity, WallTime},
    config::NotifyConfig,
    events::{
        alarms::{NoWitness, Notice, Reason},
        alerts::{Alerts, AlertsOptions, Cameras, NOTICES, WaysOut},
        payload::{AlertRecord, AlertState},
        rules::CameraSample,
        testing::{Desk, attic},
    },
    store::DocumentChange,
};

/// A notice of alerts, each a rule and a path that may be empty.
pub(super) fn notice(reason: Reason, level: u8, alerts: &[(&str, &str)], severity: Severity) -> Notice {
    let at = WallTime::from_unix_nanos(1_800_000_000_000_000_000).to_string();
    let over = reason == Reason::Cleared;
    let record = |(rule, path): &(&str, &str)| AlertRecord {
        fingerprint: format!("{:016x}", rule.len() * 256 + path.len()),
        rule: (*rule).to_owned(),
        severity,
        state: if over { AlertState::Cleared } else { AlertState::Active },
        title: format!("{rule} at {path}"),
        message: format!("There is {rule} at {path}."),
        path: path.parse().ok(),
        sensor: None,
        value: None,
        unit: None,
        threshold: None,
        started_at: at.clone(),
        updated_at: at.clone(),
        ended_at: over.then(|| at.clone()),
        ack: None,
        evidence: Vec::new(),
    };
    let alerts: Vec<_> = alerts.iter().map(record).collect();
    Notice {
        id: format!("{}-{}", reason.name(), alerts[0].fingerprint),
        at,
        reason,
        level,
        group: None,
        severity,
        title: alerts[0].title.clone(),
        count: alerts.len(),
        alerts,
    }
}

/// A channel that does as it is told, then delivers, and writes down what it was given.
#[derive(Debug, Default)]
struct Scripted {
    moods: Mutex<VecDeque<Mood>>,
    told: Mutex<Vec<String>>,
    standing: Option<Duration>,
}

#[derive(Debug)]
enum Mood {
    Says(Outcome),
    Hangs,
    Panics,
}

impl Scripted {
    fn of(moods: impl IntoIterator<Item = Mood>) -> Arc<Self> {
        Arc::new(Self { moods: Mutex::new(moods.into_iter().collect()), ..Self::default() })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn until(&self, count: usize) -> Vec<String> {
        for _ in 0..6000 {
            if self.told().len() >= count {
                return self.told();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("told {:?}, {count} expected", self.told());
    }
}

impl Channel for Scripted {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    fn deliver<'a>(&'a self, letter: &'a Letter, _: WallTime) -> Delivering<'a> {
        let told = format!("{} {}", letter.notice.reason.name(), letter.notice.title);
        self.told.lock().unwrap().push(told);
        let mood = self.moods.lock().unwrap().pop_front();
        Box::pin(async move {
            match mood {
                None => Outcome::Delivered,
                Some(Mood::Says(outcome)) => outcome,
                Some(Mood::Hangs) => std::future::pending().await,
                Some(Mood::Panics) => panic!("on purpose"),
            }
        })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn standing_every(&self) -> Option<Duration> {
        self.standing
    }
}

async fn start(desk: &Desk, channels: &[(&str, &Arc<Scripted>)]) -> Notifier {
    let yaml: String = channels.iter().map(|(name, _)| format!("  {name}: {{}}\n")).collect();
    let config: NotifyConfig = serde_saphyr::from_str(&format!("channels:\n{yaml}")).unwrap();
    let channel = |(name, channel): &(&str, &Arc<Scripted>)| {
        let channel: Arc<dyn Channel> = Arc::<Scripted>::clone(channel);
        (name.parse().unwrap(), channel)
    };
    let options = NotifierOptions { config, channels: channels.iter().map(channel).collect() };
    Notifier::start(options, &desk.store, Clock, &desk.tasks).await
}

fn numbered(number: usize) -> Arc<Notice> {
    let notice = notice(Reason::Raised, 0, &[("motion", "yard")], Severity::Warning);
    Arc::new(Notice { id: format!("{number:016}"), title: number.to_string(), ..notice })
}

/// Puts notices into the store, as the alarms do.
async fn leave(desk: &Desk, notices: &[Arc<Notice>]) {
    let change = |notice: &Arc<Notice>| DocumentChange {
        collection: NOTICES,
        key: notice.id.clone(),
        body: Some(serde_json::to_string(&**notice).unwrap()),
    };
    desk.store.documents().apply(notices.iter().map(change).collect()).await.unwrap();
}

/// Waits until the store keeps nothing of the room.
async fn empty(desk: &Desk) {
    for _ in 0..6000 {
        let documents = desk.store.documents();
        let (notices, letters) = (documents.all(NOTICES).await.unwrap(), documents.all("letters").await.unwrap());
        if notices.is_empty() && letters.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something is left in the store");
}

#[tokio::test]
async fn notices_that_lie_in_the_store_are_delivered_once_in_order() {
    let desk = Desk::new().await;
    let notices: Vec<_> = (0..3).map(numbered).collect();
    leave(&desk, &notices).await;
    let hanging = Scripted::of([Mood::Hangs]);
    start(&desk, &[("ops", &hanging)]).await;
    assert_eq!(hanging.until(1).await, ["raised 0"]);
    // Ended while the first one is on its way: nothing is lost, and the rest has not overtaken it.
    let desk = desk.restart().await;
    let good = Scripted::of([]);
    start(&desk, &[("ops", &good)]).await;
    assert_eq!(good.until(3).await, ["raised 0", "raised 1", "raised 2"]);
    empty(&desk).await;
    let desk = desk.restart().await;
    let notifier = start(&desk, &[("ops", &good)]).await;
    notifier.take(vec![numbered(9)], false);
    assert_eq!(good.until(4).await[3], "raised 9", "and none of the others again");
}

#[tokio::test]
async fn more_than_fits_into_memory_is_read_from_the_store() {
    let desk = Desk::new().await;
    let channel = Scripted::of([]);
    let notifier = start(&desk, &[("ops", &channel)]).await;
    let notices: Vec<_> = (0..400).map(numbered).collect();
    leave(&desk, &notices).await;
    notifier.take(notices, true);
    let mut told = channel.until(400).await;
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 400, "each once");
    empty(&desk).await;
    assert_eq!(channel.told().len(), 400);
}

#[tokio::test]
async fn a_channel_that_panics_or_hangs_is_nobody_elses_trouble() {
    let desk = Desk::new().await;
    let (broken, hanging, good) = (Scripted::of([Mood::Panics]), Scripted::of([Mood::Hangs]), Scripted::of([]));
    let notifier = start(&desk, &[("broken", &broken), ("good", &good), ("hanging", &hanging)]).await;
    notifier.take(vec![numbered(0), numbered(1)], false);
    assert_eq!(good.until(2).await, ["raised 0", "raised 1"]);
    assert_eq!(broken.until(3).await, ["raised 0", "raised 0", "raised 1"], "tried again after the panic");
    assert_eq!(hanging.told(), ["raised 0"]);
    let snapshot = notifier.snapshot();
    let states: Vec<_> =
        snapshot.channels.iter().map(|channel| (channel.name.as_str(), channel.figures.queued)).collect();
    assert_eq!(states.iter().find(|(name, _)| *name == "hanging"), Some(&("hanging", 2)));
}

#[tokio::test]
async fn what_is_asked_of_a_channel_is_answered() {
    let desk = Desk::new().await;
    let refused = || Mood::Says(Outcome::Refused { why: "no".into() });
    let channel = Scripted::of([refused(), refused()]);
    let notifier = start(&desk, &[("ops", &channel)]).await;
    let outcomes = notifier.test(&"ops".parse().unwrap()).await.unwrap();
    assert_eq!(outcomes, [(String::new(), Outcome::Refused { why: "no".into() })]);
    assert_eq!(notifier.test(&"none".parse().unwrap()).await.unwrap_err().code(), "channel_not_found");
    notifier.take(vec![numbered(7)], false);
    channel.until(2).await;
    let number = loop {
        if let Some(dead) = notifier.snapshot().dead.first() {
            break dead.number;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    notifier.retry(number).await.unwrap();
    assert_eq!(channel.until(3).await[2], "raised 7");
    assert_eq!(notifier.discard(number).await.unwrap_err().code(), "letter_not_found");
    empty(&desk).await;
}

#[derive(Debug)]
struct NoCamera;

impl Cameras for NoCamera {
    fn look(&self) -> Vec<CameraSample> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_channel_that_wants_it_is_told_how_things_stand_until_they_are_over() {
    let desk = Desk::new().await;
    let channel = Arc::new(Scripted { standing: Some(Duration::from_millis(1)), ..Scripted::default() });
    let notifier = start(&desk, &[("am", &channel)]).await;
    let options = AlertsOptions {
        rules: vec![serde_saphyr::from_str("{ preset: temperature, title: hot }").unwrap()],
        cameras: Arc::new(NoCamera),
        disk: Arc::new(|| None),
        witness: Arc::new(NoWitness),
        ways_out: Arc::new(notifier.clone()),
    };
    let alerts = Alerts::start(options, desk.events.clone(), &desk.store, Clock, &desk.tasks).await;
    notifier.watch(alerts.clone());
    alerts.observe(attic(40.0)).unwrap();
    // A look may come before the notice.
    let told = channel.until(3).await;
    assert_eq!(told.iter().filter(|told| *told == "raised hot").count(), 1, "{told:?}");
    alerts.observe(attic(20.0)).unwrap();
    let over = || channel.told().iter().any(|told| told == "cleared hot");
    while !over() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(channel.told().last().unwrap(), "cleared hot");
    empty(&desk).await;
}
