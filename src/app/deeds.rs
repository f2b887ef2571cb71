//! Deeds that are done past the running server, by the command line or in the configuration file, on their way into the
//! audit.
//!
//! Whoever does one puts a line into a journal of the store, in the transaction of the deed itself. The server takes lines
//! over into the log, a moment later or with its next start. A line goes when its fact is on the disk, so that none is lost;
//! one whose fact is in the log already, since the server was killed in between, is not told again. [`MOST`] lines wait at
//! most; further ones push out the oldest.

use std::{collections::HashMap, time::Duration};

use rand::random;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, info_span, warn};

use crate::{
    base::{Clock, Result, Tasks, WallTime},
    events::{Cursor, Draft, EventType, Events, Filter, Scope, audit_draft, payload::AuditEvent},
    store::{DocumentChange, Documents, Facts},
};

/// Where the store keeps the journal; the keys have the order of the deeds.
const DEEDS: &str = "deeds";
/// Lines that wait at most, and facts that are looked back at.
const MOST: usize = 1000;
/// How often the server looks for lines.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who changes the file. No user is called so: there is a space in it.
pub(super) const FILE: &str = "configuration file";

/// Who types on the command line, as far as the system tells. No user is called so either.
pub(super) fn command_line() -> String {
    system_user().map_or_else(|| "command line".to_owned(), |user| format!("command line ({user})"))
}

/// The user of the operating system whose process this is, where the system has a `/proc`: the owner of a process's folder there
/// is its user, whatever the environment says.
#[cfg(unix)]
fn system_user() -> Option<String> {
    use std::{fs, os::unix::fs::MetadataExt};
    let id = fs::metadata("/proc/self").ok()?.uid().to_string();
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&id)).then(|| name.to_owned())
    });
    name.or(Some(id))
}

#[cfg(not(unix))]
const fn system_user() -> Option<String> {
    None
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deed {
    /// When, in milliseconds since 1970, which is what the log keeps.
    at_ms: i64,
    done: AuditEvent,
}

impl Deed {
    /// It is done now.
    pub(super) fn now(action: &str, by: &str, target: &str, note: Option<String>) -> Self {
        let (action, by, target) = (action.to_owned(), by.to_owned(), target.to_owned());
        Self { at_ms: Clock.wall().unix_millis(), done: AuditEvent { action, by, target, note, command: None } }
    }

    fn draft(&self) -> Draft {
        audit_draft(&self.done, WallTime::from_unix_nanos(self.at_ms.saturating_mul(1_000_000)))
    }
}

/// Makes changes and writes down whose they are, both or nothing. Without a deed somebody else writes it down.
///
/// # Errors
/// The store cannot be read or written.
pub(super) async fn apply(documents: &Documents, mut changes: Vec<DocumentChange>, deeds: Vec<Deed>) -> Result<()> {
    if !deeds.is_empty() {
        let waiting = documents.all(DEEDS).await?.into_iter().map(|(key, _)| key);
        changes.extend(lines(waiting.collect(), &deeds));
    }
    documents.apply(changes).await
}

/// What puts deeds into the journal, behind those that wait.
fn lines(waiting: Vec<String>, deeds: &[Deed]) -> Vec<DocumentChange> {
    let surplus = (waiting.len() + deeds.len()).saturating_sub(MOST);
    let gone = waiting.into_iter().map(|key| (key, None));
    let line = |(number, deed): (usize, &Deed)| {
        (format!("{:015}-{number:06}-{:08x}", deed.at_ms, random::<u32>()), serde_json::to_string(deed).ok())
    };
    let kept = deeds.len().saturating_sub(MOST);
    let lines = gone.take(surplus).chain(deeds.iter().enumerate().skip(kept).map(line));
    lines.map(|(key, body)| DocumentChange { collection: DEEDS, key, body }).collect()
}

/// Takes the journal over into the log, from now on.
pub(super) fn start(documents: Documents, facts: Facts, events: Events, tasks: &Tasks) {
    let stopping = tasks.stopping().clone();
    tasks.spawn("deeds", info_span!("audit"), async move {
        let mut taker = Taker::new(documents, facts, events);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                looked = taker.look() => if let Err(error) = looked {
                    debug!("the journal of deeds waits: {}", error.chain());
                },
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    });
}

struct Taker {
    documents: Documents,
    facts: Facts,
    events: Events,
    /// The newest deeds that were in the log before the first line was looked at.
    told_before: Option<Vec<Deed>>,
    /// Lines that were told and are still there, and their facts' places.
    told: HashMap<String, Cursor>,
}

impl Taker {
    fn new(documents: Documents, facts: Facts, events: Events) -> Self {
        Self { documents, facts, events, told_before: None, told: HashMap::new() }
    }

    /// Tells what is new, and takes away what is safe.
    ///
    /// # Errors
    /// The store cannot be read or written, or the log is full: the lines stay.
    ///
    /// # Cancel safety
    /// What was handed to the log stays there, and its line is found again as one that was told.
    async fn look(&mut self) -> Result<()> {
        let lines = self.documents.all(DEEDS).await?;
        self.told.retain(|key, _| lines.iter().any(|(line, _)| line == key));
        let mut safe = Vec::new();
        for (key, body) in lines {
            if self.is_safe(&key, &body).await? {
                safe.push(DocumentChange { collection: DEEDS, key, body: None });
            }
        }
        if safe.is_empty() { Ok(()) } else { self.documents.apply(safe).await }
    }

    /// Tells a line unless that was done; whether the fact is on the disk.
    async fn is_safe(&mut self, key: &str, body: &str) -> Result<bool> {
        if let Some(place) = self.told.get(key) {
            // It was given out before it was on the disk. A fact that never gets there is told again after a restart.
            let there = self.facts.read(place.offset.saturating_sub(1), 1, 1).await.unwrap_or_default();
            return Ok(there.first().is_some_and(|row| row.offset == place.offset));
        }
        let Ok(deed) = serde_json::from_str::<Deed>(body) else {
            warn!(key, "a line in the journal of deeds cannot be read");
            return Ok(true);
        };
        if self.told_before.is_none() {
            self.told_before = Some(told(&self.events).await);
        }
        if self.told_before.iter().flatten().any(|known| *known == deed) {
            return Ok(true);
        }
        let receipt = self.events.append(deed.draft()).await?;
        self.told.insert(key.to_owned(), receipt.cursor);
        Ok(receipt.durable)
    }
}

/// The newest deeds in the log. A line that was told before the server was killed is among them: it goes with the first look
/// after its fact is on the disk.
async fn told(events: &Events) -> Vec<Deed> {
    #[derive(Deserialize)]
    struct Envelope {
        data: AuditEvent,
    }
    let filter = Filter::everything().event_types([EventType::Audit.name()]).unwrap_or_default();
    let facts = events.recent(&Scope::house(), &filter, MOST).await;
    let deed = |fact: &std::sync::Arc<crate::events::Fact>| {
        let done = serde_json::from_slice::<Envelope>(&fact.body).ok()?.data;
        Some(Deed { at_ms: fact.time.unix_millis(), done })
    };
    facts.iter().filter_map(deed).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{events::Retention, store::Store};

    fn deed(number: i64) -> Deed {
        Deed { at_ms: 1_000 + number, ..Deed::now("user.added", "command line", &format!("user-{number}"), None) }
    }

    async fn house(folder: &Path, tasks: &Tasks) -> (Store, Events) {
        let (store, incidents) = Store::open(folder, Clock).await;
        let retention = Retention { age: Duration::MAX, ..Retention::default() };
        let events = Events::start(&store, &incidents, retention, Clock, tasks).await;
        (store, events)
    }

    fn taker(store: &Store, events: &Events) -> Taker {
        Taker::new(store.documents().clone(), store.facts().clone(), events.clone())
    }

    #[tokio::test]
    async fn a_deed_is_told_once_also_when_the_server_was_killed_before_its_line_was_gone() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (store, events) = house(folder.path(), &tasks).await;
        let documents = store.documents();
        apply(documents, Vec::new(), vec![deed(1), deed(2)]).await.unwrap();
        let lines = documents.all(DEEDS).await.unwrap();
        taker(&store, &events).look().await.unwrap();
        assert_eq!(told(&events).await, [deed(1), deed(2)]);
        assert_eq!(documents.all(DEEDS).await.unwrap(), []);
        // The lines are there again, as after a kill, and beside them one that is new.
        let back = |(key, body): &(String, String)| DocumentChange {
            collection: DEEDS,
            key: key.clone(),
            body: Some(body.clone()),
        };
        documents.apply(lines.iter().map(back).collect()).await.unwrap();
        apply(documents, Vec::new(), vec![deed(3)]).await.unwrap();
        let unreadable = DocumentChange { collection: DEEDS, key: "0".into(), body: Some("{}".into()) };
        documents.apply(vec![unreadable]).await.unwrap();
        let mut second = taker(&store, &events);
        second.look().await.unwrap();
        second.look().await.unwrap();
        assert_eq!(told(&events).await, [deed(1), deed(2), deed(3)]);
        assert_eq!(documents.all(DEEDS).await.unwrap(), []);
        tasks.stop();
    }

    #[tokio::test]
    async fn a_line_stays_until_its_fact_is_on_the_disk_and_is_not_told_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (store, events) = house(folder.path(), &tasks).await;
        apply(store.documents(), Vec::new(), vec![deed(1)]).await.unwrap();
        let key = store.documents().all(DEEDS).await.unwrap().remove(0).0;
        let mut taker = taker(&store, &events);
        let later = Cursor { offset: events.cursor().offset + 1, ..events.cursor() };
        taker.told.insert(key, later);
        taker.look().await.unwrap();
        assert_eq!((told(&events).await.len(), store.documents().all(DEEDS).await.unwrap().len()), (0, 1));
        assert_eq!(events.append(deed(1).draft()).await.unwrap().cursor, later);
        taker.look().await.unwrap();
        assert_eq!((told(&events).await.len(), store.documents().all(DEEDS).await.unwrap().len()), (1, 0));
        assert!(taker.told.len() == 1 && taker.look().await.is_ok() && taker.told.is_empty());
        tasks.stop();
    }

    #[test]
    fn the_journal_has_a_bound_and_the_newest_stay() {
        let waiting = |count: usize| (0..count).map(|number| format!("{number:015}")).collect::<Vec<_>>();
        let new: Vec<Deed> = (0..3).map(deed).collect();
        for (before, gone) in [(0, 0), (MOST - 3, 0), (MOST - 1, 2), (MOST, 3)] {
            let changes = lines(waiting(before), &new);
            let (removed, added): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.body.is_none());
            assert_eq!((removed.len(), added.len()), (gone, 3), "{before}");
            assert!(removed.iter().zip(waiting(gone)).all(|(change, key)| change.key == key));
            assert!(added.is_sorted_by_key(|change| &change.key));
        }
        let many: Vec<Deed> = (0..MOST as i64 + 5).map(deed).collect();
        let changes = lines(waiting(2), &many);
        assert_eq!(changes.iter().filter(|change| change.body.is_some()).count(), MOST);
        assert!(changes.last().unwrap().body.as_ref().unwrap().contains(&format!("user-{}", MOST + 4)));
    }
}
