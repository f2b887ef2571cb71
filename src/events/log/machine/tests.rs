//! The log's machine: as tables, and against a naive model whose disk fails, is slow, and loses its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::events::{EventType, event::testing::draft};

/// Every epoch is another one.
fn draw() -> Epoch {
    static NEXT: AtomicU32 = AtomicU32::new(1000);
    Epoch(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000 + ms * 1_000_000)
}

fn machine() -> LogMachine<u32> {
    LogMachine::new(Epoch(7), 100, 100 + BLOCK, Disk::Well, draw)
}

fn put(machine: &mut LogMachine<u32>, ticket: u32) -> Result<(), Full> {
    machine.handle_draft(draft(EventType::Alert, "raised"), ticket)
}

/// Tickets and whether their facts were durable, as they were released.
fn released(machine: &mut LogMachine<u32>) -> Vec<(u32, bool)> {
    machine.poll_released().into_iter().map(|out| (out.ticket.unwrap(), out.fact.durable)).collect()
}

fn offsets(commit: &Commit) -> Vec<u64> {
    commit.facts.iter().map(|fact| fact.cursor.offset).collect()
}

#[test]
fn what_waits_is_committed_together_as_soon_as_the_last_commit_returns() {
    let mut machine = machine();
    assert!(machine.poll_commit(at(0)).is_none(), "nothing to do");
    put(&mut machine, 1).unwrap();
    let commit = machine.poll_commit(at(0)).unwrap();
    assert_eq!((offsets(&commit), commit.reserve), (vec![101], 101 + BLOCK));
    put(&mut machine, 2).unwrap();
    put(&mut machine, 3).unwrap();
    assert!(machine.poll_commit(at(1)).is_none(), "one at a time");
    assert_eq!((released(&mut machine), machine.cursor().offset), (vec![], 100), "nothing is out before its commit");
    machine.handle_committed(at(2));
    assert_eq!((released(&mut machine), machine.cursor().offset), (vec![(1, true)], 101));
    assert_eq!(offsets(&machine.poll_commit(at(2)).unwrap()), [102, 103]);
    machine.handle_committed(at(3));
    assert_eq!((released(&mut machine), machine.is_busy()), (vec![(2, true), (3, true)], false));
}

#[test]
fn a_commit_that_is_late_lets_go_what_waits_and_what_comes_until_it_returns() {
    let mut machine = machine();
    put(&mut machine, 1).unwrap();
    machine.poll_commit(at(0)).unwrap();
    put(&mut machine, 2).unwrap();
    machine.handle_timeout(at(249));
    assert_eq!((released(&mut machine), machine.poll_deadline()), (vec![], Some(at(250))));
    machine.handle_timeout(at(250));
    assert_eq!((released(&mut machine), machine.disk()), (vec![(1, false), (2, false)], Disk::Late));
    put(&mut machine, 3).unwrap();
    assert_eq!(released(&mut machine), [(3, false)]);
    machine.handle_committed(at(900));
    assert_eq!((machine.disk(), machine.poll_released().len()), (Disk::Well, 0), "nothing is out twice");
    put(&mut machine, 4).unwrap();
    assert_eq!(offsets(&machine.poll_commit(at(900)).unwrap()), [102, 103, 104], "what was let go is saved");
    machine.handle_committed(at(901));
    assert_eq!(released(&mut machine), [(4, true)]);
}

#[test]
fn a_disk_that_fails_is_tried_again_with_everything_and_nobody_waits_for_it() {
    let mut machine = machine();
    put(&mut machine, 1).unwrap();
    machine.poll_commit(at(0)).unwrap();
    machine.handle_failed(at(10), 1.0);
    assert_eq!((released(&mut machine), machine.disk()), (vec![(1, false)], Disk::Failing(at(1010))));
    put(&mut machine, 2).unwrap();
    assert_eq!(released(&mut machine), [(2, false)]);
    assert!(machine.poll_commit(at(1009)).is_none());
    assert_eq!(offsets(&machine.poll_commit(at(1010)).unwrap()), [101, 102]);
    machine.handle_failed(at(1011), 1.0);
    assert_eq!(machine.poll_deadline(), Some(at(3011)), "it backs off");
    machine.poll_commit(at(3011)).unwrap();
    machine.handle_committed(at(3012));
    assert_eq!((machine.disk(), machine.is_busy()), (Disk::Well, false));
    put(&mut machine, 3).unwrap();
    machine.poll_commit(at(3012)).unwrap();
    machine.handle_committed(at(3013));
    assert_eq!((released(&mut machine), machine.unsaved()), (vec![(3, true)], 0));
}

#[test]
fn what_waits_is_bounded_and_senders_are_told_or_the_oldest_are_not_saved() {
    let mut machine = machine();
    machine.poll_commit(at(0));
    let waiting = (0..u32::MAX).take_while(|ticket| put(&mut machine, *ticket).is_ok()).count();
    assert_eq!(waiting, WAITING);
    machine.poll_commit(at(0)).unwrap();
    machine.handle_failed(at(1), 1.0);
    assert_eq!(machine.poll_released().len(), WAITING, "with a failing disk they go out at once");
    (0..1000).for_each(|ticket| put(&mut machine, ticket).unwrap());
    assert_eq!((machine.unsaved(), machine.poll_released().len()), (1000, 1000));
    let saved = offsets(&machine.poll_commit(at(60_000)).unwrap());
    assert_eq!(saved[0], 1101, "the oldest are given up");
}

#[test]
fn numbers_beyond_the_reserve_belong_to_a_new_epoch() {
    let mut machine = machine();
    put(&mut machine, 0).unwrap();
    machine.poll_commit(at(0)).unwrap();
    machine.handle_failed(at(1), 1.0);
    (0..BLOCK).for_each(|ticket| put(&mut machine, ticket as u32).unwrap());
    let cursors: Vec<_> = machine.poll_released().iter().map(|out| out.fact.cursor).collect();
    assert_eq!(cursors[BLOCK as usize - 1], Cursor { epoch: Epoch(7), offset: 100 + BLOCK });
    let last = cursors[BLOCK as usize];
    assert!(last.epoch != Epoch(7) && last.offset == 101 + BLOCK, "{last}: nobody has seen its numbers");
    assert_eq!(machine.poll_commit(at(60_000)).unwrap().epoch, last.epoch);
}

#[derive(Clone, Debug)]
enum Act {
    Send(usize),
    /// The commit that runs ends so.
    Commit(Ended),
    Wait(u64),
    /// The process is gone; the next one finds what is on the disk.
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    Well,
    Failed,
    /// It is on the disk, and the answer was lost.
    FailedAfterAll,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ended = prop_oneof![4 => Just(Ended::Well), 2 => Just(Ended::Failed), 1 => Just(Ended::FailedAfterAll)];
    let act = prop_oneof![
        6 => (1..8_usize).prop_map(Act::Send),
        1 => (2000..4500_usize).prop_map(Act::Send),
        8 => ended.prop_map(Act::Commit),
        3 => (1..400_u64).prop_map(Act::Wait),
        1 => (10_000..60_000_u64).prop_map(Act::Wait),
        1 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 1..60)
}

/// What is on the disk.
#[derive(Default)]
struct Platter {
    mark: Option<(Epoch, u64)>,
    rows: BTreeMap<u64, Arc<Fact>>,
}

/// The naive model: everything that was seen, and what has to be true of it.
struct Model {
    machine: LogMachine<u32>,
    disk: Platter,
    running: Option<Commit>,
    now: u64,
    sent: Vec<u32>,
    heard: Vec<u32>,
    seen: BTreeSet<(u32, u64)>,
    last: u64,
}

impl Model {
    fn new() -> Self {
        let machine = LogMachine::new(draw(), 0, BLOCK, Disk::Well, draw);
        let (disk, seen) = (Platter::default(), BTreeSet::new());
        Self { machine, disk, running: None, now: 0, sent: vec![], heard: vec![], seen, last: 0 }
    }

    fn run(&mut self) {
        self.machine.handle_timeout(at(self.now));
        for out in self.machine.poll_released() {
            let cursor = out.fact.cursor;
            assert!(cursor.offset > self.last, "in order: {cursor} after {}", self.last);
            assert!(self.seen.insert((cursor.epoch.0, cursor.offset)), "{cursor} was given out before");
            self.last = cursor.offset;
            if out.fact.durable {
                assert_eq!(self.disk.rows.get(&cursor.offset).map(|row| row.cursor), Some(cursor), "it is on the disk");
            }
            self.heard.push(out.ticket.expect("once"));
        }
        if self.running.is_none() {
            self.running = self.machine.poll_commit(at(self.now));
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Send(count) => {
                for _ in 0..*count {
                    let ticket = self.sent.len() as u32;
                    if put(&mut self.machine, ticket).is_ok() {
                        self.sent.push(ticket);
                    } else {
                        assert_eq!(self.machine.disk(), Disk::Well, "a failing disk refuses nobody");
                    }
                }
            }
            Act::Commit(ended) => {
                let Some(commit) = self.running.take() else { return };
                if !matches!(ended, Ended::Failed) {
                    self.disk.mark = Some((commit.epoch, commit.reserve));
                    self.disk.rows.extend(commit.facts.into_iter().map(|fact| (fact.cursor.offset, fact)));
                }
                match ended {
                    Ended::Well => self.machine.handle_committed(at(self.now)),
                    _ => self.machine.handle_failed(at(self.now), 0.5),
                }
            }
            Act::Wait(ms) => self.now += ms,
            Act::Crash => {
                self.running = None;
                self.machine = match &mut self.disk.mark {
                    Some((epoch, reserve)) => {
                        let last = *reserve;
                        // As the log does when it starts.
                        *reserve = last + BLOCK;
                        LogMachine::new(*epoch, last, last + BLOCK, Disk::Well, draw)
                    }
                    None => LogMachine::new(draw(), 0, BLOCK, Disk::Well, draw),
                };
                self.last = self.machine.cursor().offset;
                // What was sent and not answered may be lost; nobody was told otherwise.
                self.sent.clone_from(&self.heard);
                let next = self.sent.iter().max().map_or(0, |last| last + 1);
                assert_eq!(self.sent.len() as u32, next);
            }
        }
        self.run();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_disk_does_facts_are_out_once_in_order_under_numbers_of_their_own(acts in acts()) {
        let mut model = Model::new();
        for act in &acts {
            model.act(act);
        }
        // In the end the disk is well, and what waited is out and saved.
        for _ in 0..100 {
            model.act(&Act::Wait(60_000));
            model.act(&Act::Commit(Ended::Well));
        }
        prop_assert_eq!(&model.heard, &model.sent);
        prop_assert!(!model.machine.is_busy() && model.machine.disk() == Disk::Well);
    }
}
