//! The files as disks treat them: full, read-only, locked, damaged, of an older shape.

use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;

use super::{FactRow, Incident, Mark, Store, file::FileSpec};
use crate::{
    base::{Clock, WallTime},
    events::{Delivery, EventType, Events, Filter, From, Scope, testing::draft},
};

const PATIENCE: Duration = Duration::from_secs(120);

fn row(offset: u64, time_ms: i64, size: usize) -> FactRow {
    FactRow {
        offset,
        time_ms,
        kind: "alert".into(),
        name: "raised".into(),
        path: None,
        sensor: None,
        severity: None,
        body: "x".repeat(size).into(),
    }
}

async fn open(directory: &Path) -> Store {
    let (store, incidents) = Store::open(directory, Clock).await;
    assert!(incidents.is_empty(), "{incidents:?}");
    store
}

const MARK: Mark = Mark { epoch: 7, reserve: 10_000 };

#[tokio::test(start_paused = true)]
async fn rows_and_numbers_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    assert_eq!(store.facts().standing(), None);
    let rows: Vec<_> = (1..=100).map(|offset| row(offset, 5, 1000)).collect();
    store.facts().append(rows.clone(), MARK).await.unwrap();
    drop(store);
    let store = open(directory.path()).await;
    assert_eq!(store.facts().standing().unwrap().mark, MARK);
    assert_eq!(store.facts().read(98, 10, 1 << 20).await.unwrap(), rows[98..]);
    assert_eq!(store.facts().read(0, 10, 2500).await.unwrap().len(), 2, "bytes are bounded");
    assert_eq!(store.facts().read(0, 10, 1).await.unwrap().len(), 1, "one comes whatever its size");
    let before: Vec<_> = store.facts().before(50, 2).await.unwrap().iter().map(|row| row.offset).collect();
    assert_eq!(before, [49, 48]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_too_much_goes_from_the_front_in_small_steps() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let facts = store.facts();
    // One that came late stands between: what follows it stays.
    let rows: Vec<_> = (1..=1200).map(|offset| row(offset, if offset == 900 { 99 } else { 5 }, 100)).collect();
    facts.append(rows, MARK).await.unwrap();
    let mut steps = 0;
    while facts.retain(10, 1 << 30).await.unwrap().more {
        steps += 1;
    }
    let left = facts.retain(10, 1 << 30).await.unwrap();
    assert_eq!((left.gone, left.more, steps), (899, false, 1));
    assert_eq!(facts.read(0, 1, 1 << 20).await.unwrap()[0].offset, 900);
    let rows: Vec<_> = (2000..3000).map(|offset| row(offset, 99, 4000)).collect();
    facts.append(rows, MARK).await.unwrap();
    while facts.retain(10, 1 << 20).await.unwrap().more {}
    let size = fs::metadata(directory.path().join("facts.db")).unwrap().len();
    assert!(facts.read(0, 1, 1 << 20).await.unwrap()[0].offset > 2500 && size < 8 << 20, "{size} bytes");
    drop(store);
    assert!(open(directory.path()).await.facts().standing().unwrap().gone > 2500, "it is remembered");
}

#[test]
fn an_older_file_is_copied_before_its_shape_changes_and_a_newer_one_is_left_alone() {
    const ONE: &[&str] = &["CREATE TABLE a (x INTEGER)"];
    const TWO: &[&str] = &["CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD COLUMN y INTEGER"];
    let directory = tempfile::tempdir().unwrap();
    let spec = |migrations| FileSpec { path: directory.path().join("x.db"), name: "x.db", full: false, migrations };
    let now = WallTime::from_unix_nanos(0);
    spec(ONE).open(now).unwrap().connection.execute("INSERT INTO a VALUES (1)", []).unwrap();
    let opened = spec(TWO).open(now).unwrap();
    let sum: i64 = opened.connection.query_row("SELECT x + coalesce(y, 5) FROM a", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 6);
    let copy = directory.path().join("x.db.before-2-1970-01-01T000000000Z");
    let copied: i64 =
        Connection::open(copy).unwrap().query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
    assert_eq!(copied, 1);
    drop(opened);
    assert_eq!(spec(ONE).open(now).unwrap_err().code(), "store_newer");
    assert!(directory.path().join("x.db").exists());
}

/// Begins to follow, and waits for a fact that passes.
async fn hear(events: &Events, place: From, kind: &str) -> String {
    let filter = Filter::everything().event_types([kind]).unwrap();
    let mut follower = events.follow(Scope::house(), filter, place);
    let heard = async {
        loop {
            if let Delivery::Facts(facts) = follower.next().await {
                return facts[0].clone();
            }
        }
    };
    let fact = tokio::time::timeout(PATIENCE, heard).await.expect("a fact should come");
    String::from_utf8(fact.body.to_vec()).unwrap()
}

/// A disk that fails: facts go out, marked; the disk is an alert; when it is well again they are on it.
async fn rides_out(store: &Store, events: &Events, begin: From, mend: impl FnOnce()) {
    let motion = || draft(EventType::CameraEvent, "motion");
    let receipt = events.append(motion()).await.unwrap();
    assert!(!receipt.durable);
    let said = hear(events, begin, "alert").await;
    assert!(said.contains(r#""rule":"disk""#) && said.contains(r#""change":"raised""#), "{said}");
    assert!(hear(events, begin, "motion").await.ends_with(r#""durable":false}"#));
    mend();
    let saved = async {
        loop {
            let rows = store.facts().before(receipt.cursor.offset + 1, 1).await.unwrap_or_default();
            if rows.first().is_some_and(|row| row.offset == receipt.cursor.offset) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, saved).await.expect("it should be tried again");
    let durable = async {
        while !events.append(motion()).await.unwrap().durable {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, durable).await.expect("the disk is well");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_loses_nothing_that_fits_in_memory() {
    let desk = crate::events::testing::Desk::new().await;
    let begin = From::After(desk.events.cursor());
    let limit = |pages: i64| {
        desk.store.facts().database().write(move |connection| connection.pragma_update(None, "max_page_count", pages))
    };
    let used = desk
        .store
        .facts()
        .database()
        .write(|connection| connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)));
    let used = used.await.unwrap();
    limit(used).await.unwrap();
    // The last page may have room for a few.
    while desk.events.append(draft(EventType::CameraEvent, "filler")).await.unwrap().durable {}
    let (told, when) = tokio::sync::oneshot::channel::<()>();
    let mended = async {
        let _ = when.await;
        limit(1 << 20).await.unwrap();
    };
    tokio::join!(rides_out(&desk.store, &desk.events, begin, || told.send(()).unwrap()), mended);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_another_program_holds_is_tried_again() {
    let desk = crate::events::testing::Desk::new().await;
    let other = Connection::open(desk.directory.path().join("facts.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    rides_out(&desk.store, &desk.events, From::After(desk.events.cursor()), || {
        other.execute_batch("ROLLBACK").unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_made_is_made_when_it_can() {
    let directory = tempfile::tempdir().unwrap();
    // A directory in its place: not even root can write there.
    let place = directory.path().join("facts.db");
    fs::create_dir(&place).unwrap();
    let tasks = crate::base::Tasks::new();
    let (store, incidents) = Store::open(directory.path(), Clock).await;
    assert!(matches!(&incidents[..], [Incident::Unavailable { file: "facts.db", .. }]), "{incidents:?}");
    let events = Events::start(&store, &incidents, crate::events::Retention::default(), Clock, &tasks).await;
    rides_out(&store, &events, From::After(events.cursor()), || fs::remove_dir(&place).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_database_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["facts.db", "history.db", "documents.db"] {
        fs::write(directory.path().join(file), "this is no database, it is a text of some length").unwrap();
    }
    let (store, incidents) = Store::open(directory.path(), Clock).await;
    for (incident, name) in incidents.iter().zip(["facts.db", "history.db", "documents.db"]) {
        let Incident::SetAside { file, now } = incident else { panic!("{incident:?}") };
        assert!(*file == name && now.exists(), "{incident:?}");
    }
    assert_eq!(incidents.len(), 3);
    store.facts().append(vec![row(1, 1, 10)], MARK).await.unwrap();
}
