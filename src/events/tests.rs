//! The log and the board as a whole, on a real file.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Delivery, EventType, Events, Filter, Follower, From, Scope,
    testing::{Desk, draft, open},
};
use crate::base::Tasks;

fn follow(events: &Events, from: From) -> Follower {
    events.follow(Scope::house(), Filter::everything(), from)
}

/// The offsets of the next `count` facts; values and gaps are in nobody's way.
async fn facts(follower: &mut Follower, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        match tokio::time::timeout(Duration::from_secs(20), follower.next()).await.expect("facts should come") {
            Delivery::Facts(facts) => offsets.extend(facts.iter().map(|fact| fact.cursor.offset)),
            other => panic!("{other:?}"),
        }
    }
    offsets
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_fact_survives_a_restart_and_its_number_is_never_used_again() {
    let desk = Desk::new().await;
    let first = desk.events.append(draft(EventType::Alert, "raised")).await.unwrap();
    assert!(first.durable);
    let desk = desk.restart().await;
    let second = desk.events.append(draft(EventType::Alert, "cleared")).await.unwrap();
    assert_eq!(second.cursor.epoch, first.cursor.epoch);
    assert!(second.cursor.offset > first.cursor.offset + 1000, "numbers go on after the reserve: {second:?}");
    let all = desk.events.recent(&Scope::house(), &Filter::everything(), 10).await;
    let cursors: Vec<_> = all.iter().map(|fact| fact.cursor).collect();
    assert_eq!(cursors, [first.cursor, second.cursor]);
    let mut follower = follow(&desk.events, From::After(first.cursor));
    assert_eq!(facts(&mut follower, 1).await, [second.cursor.offset], "a missing number is no gap");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_facts_are_resumed_from_the_store_and_then_from_memory() {
    let desk = Desk::new().await;
    let begin = desk.events.cursor();
    let mut receipts = Vec::new();
    for batch in 0..20 {
        let sent = (0..500).map(|_| desk.events.append(draft(EventType::CameraEvent, "motion")));
        receipts = futures_util::future::try_join_all(sent).await.unwrap();
        assert!(receipts.iter().all(|receipt| receipt.cursor.epoch == begin.epoch), "{batch}");
    }
    let mut follower = follow(&desk.events, From::After(begin));
    let seen = facts(&mut follower, 10_000).await;
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "in order, each once");
    assert_eq!((seen.len(), follower.cursor()), (10_000, receipts.last().unwrap().cursor));
    assert!(follower.ready().await.is_none());
    let desk = desk.restart().await;
    let mut follower = follow(&desk.events, From::After(begin));
    assert_eq!(facts(&mut follower, 10_000).await, seen);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_set_aside_and_a_new_log_begins_with_a_gap_and_an_alert() {
    let desk = Desk::new().await;
    let old = desk.events.append(draft(EventType::Alert, "raised")).await.unwrap();
    desk.tasks.stop();
    desk.tasks.drained(Duration::from_secs(20)).await;
    let directory = desk.directory;
    drop((desk.events, desk.store));
    let file = directory.path().join("facts.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 5000);
    let end = bytes.len();
    bytes[100..end].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("facts.db{end}")));
    }

    let tasks = Tasks::new();
    let (_store, events) = open(directory.path(), &tasks).await;
    let aside = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("facts.db.corrupt-"));
    assert_eq!(aside.count(), 1, "it is kept");
    let mut follower = follow(&events, From::After(old.cursor));
    assert!(matches!(follower.next().await, Delivery::Gap { lost: None }));
    let told = events.recent(&Scope::house(), &Filter::everything(), 10).await;
    let told = if told.is_empty() { facts(&mut follower, 1).await.len() } else { told.len() };
    assert_eq!(told, 1, "the file is an alert");
    let new = events.append(draft(EventType::Alert, "raised")).await.unwrap();
    assert!(new.durable && new.cursor.epoch != old.cursor.epoch);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Append(usize),
    /// The follower comes back, and hears so many at most.
    Hear(usize),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..200_usize).prop_map(Act::Append),
        4 => (0..150_usize).prop_map(Act::Hear),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever ends, the server or the follower, every fact that passes comes once and in order.
    #[test]
    fn a_follower_that_comes_back_hears_everything_once(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut desk = Desk::new().await;
            let mut place = desk.events.cursor();
            let (mut said, mut heard) = (Vec::new(), Vec::new());
            for act in acts.into_iter().chain([Act::Hear(usize::MAX)]) {
                match act {
                    Act::Append(count) => {
                        let kinds = [EventType::Alert, EventType::CameraEvent];
                        let sent = (0..count).map(|number| desk.events.append(draft(kinds[number % 2], "x")));
                        let receipts = futures_util::future::try_join_all(sent).await.unwrap();
                        said.extend(receipts.iter().step_by(2).map(|receipt| receipt.cursor));
                    }
                    Act::Hear(most) => {
                        let alerts = Filter::everything().event_types(["alert"]).unwrap();
                        let mut follower = desk.events.follow(Scope::house(), alerts, From::After(place));
                        let mut left = most;
                        while left > 0 {
                            match follower.ready_at_most(left).await {
                                Some(Delivery::Facts(facts)) => {
                                    left -= facts.len();
                                    heard.extend(facts.iter().map(|fact| fact.cursor));
                                }
                                None => break,
                                other => panic!("{other:?}"),
                            }
                        }
                        place = follower.cursor();
                    }
                    Act::Restart => desk = desk.restart().await,
                }
            }
            assert_eq!(heard, said);
        });
    }
}
