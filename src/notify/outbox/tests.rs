//! The outbox as tables: what is tried when, what is given up, what is remembered.

use std::time::Duration;

use super::*;
use crate::{base::Severity, events::alarms::Reason, notify::tests::notice};

const HOUR: Duration = Duration::from_secs(3600);

fn at(second: u64) -> Moment {
    let wall = 1_800_000_000 + second as i64;
    Moment {
        monotonic: Monotonic::from_nanos(second * 1_000_000_000),
        wall: WallTime::from_unix_nanos(wall * 1_000_000_000),
    }
}

fn away() -> Outcome {
    Outcome::Away { after: None, why: "hook: away".into() }
}

fn failed() -> Outcome {
    Outcome::Failed { why: "hook: http status 500".into() }
}

/// An outbox of two channels, and what it wants remembered, as the store would.
struct Desk {
    outbox: Outbox,
    kept: BTreeMap<u64, Letter>,
}

impl Desk {
    fn new() -> Self {
        Self::resume(Vec::new())
    }

    fn resume(kept: Vec<Letter>) -> Self {
        let names = ["a", "b"].map(|name| name.parse().unwrap());
        let known = kept.iter().map(|letter| (letter.number, letter.clone())).collect();
        let mut desk = Self { outbox: Outbox::resume(kept, &names, HOUR), kept: known };
        desk.settle();
        desk
    }

    /// What was kept goes through JSON, as over a restart.
    fn restart(&self) -> Self {
        let text = serde_json::to_string(&self.kept.values().collect::<Vec<_>>()).unwrap();
        Self::resume(serde_json::from_str(&text).unwrap())
    }

    fn settle(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Keep(letter) => drop(self.kept.insert(letter.number, (*letter).clone())),
                Output::Forget(number) => drop(self.kept.remove(&number)),
            }
        }
    }

    fn post(&mut self, channel: &str, recipient: &str, second: u64) {
        let now = at(second);
        let notice = Arc::new(notice(Reason::Raised, 0, &[("motion", "yard")], Severity::Warning));
        self.outbox.post(Letter::new(channel.parse().unwrap(), recipient.into(), notice, now.wall), now);
        self.settle();
    }

    /// Everything that is due, by channel, recipient and number.
    fn due(&mut self, second: u64) -> Vec<String> {
        let mut due = Vec::new();
        while let Some(letter) = self.outbox.poll_attempt(at(second).monotonic, 8) {
            due.push(format!("{}{}{}", letter.channel, letter.recipient, letter.number));
        }
        due
    }

    /// The next attempt, and what comes of it.
    fn attempt(&mut self, second: u64, outcome: Outcome) -> u64 {
        let letter = self.outbox.poll_attempt(at(second).monotonic, 8).expect("something is due");
        self.outbox.handle_outcome(&letter, outcome, at(second), 1.0);
        self.settle();
        letter.number
    }

    fn figures(&self, channel: &str) -> ChannelFigures {
        self.outbox.snapshot().channels[&channel.parse::<ChannelName>().unwrap()].clone()
    }

    fn dead(&self) -> Vec<(u64, String)> {
        self.outbox.snapshot().dead.iter().map(|letter| (letter.number, letter.dead.clone().unwrap().why)).collect()
    }
}

#[test]
fn letters_go_out_in_order_one_at_a_time_and_no_lane_waits_for_another() {
    let mut desk = Desk::new();
    for (channel, recipient) in [("a", ""), ("a", ""), ("b", "x"), ("b", "y"), ("b", "x")] {
        desk.post(channel, recipient, 0);
    }
    let mut due = desk.due(0);
    due.sort();
    assert_eq!(due, ["a1", "bx3", "by4"], "the first of each lane");
    assert_eq!(desk.due(100), [""; 0], "what hangs holds up its lane and no other");
    assert_eq!((desk.figures("b").sending, desk.figures("b").queued), (2, 3));
    let first = desk.kept[&1].clone();
    desk.outbox.handle_outcome(&first, Outcome::Delivered, at(100), 1.0);
    desk.outbox.handle_outcome(&first, Outcome::Delivered, at(100), 1.0);
    desk.settle();
    assert_eq!(desk.due(100), ["a2"]);
    assert_eq!(
        (desk.figures("a").delivered, desk.kept.len()),
        (1, 4),
        "what is delivered is forgotten, and counted once"
    );
}

#[test]
fn a_receiver_that_is_away_holds_its_lane_with_growing_waits_and_is_given_what_it_asks_for() {
    let mut desk = Desk::new();
    desk.post("a", "", 0);
    desk.post("a", "", 0);
    let mut second = 0;
    let mut waits = Vec::new();
    for _ in 0..11 {
        assert_eq!(desk.attempt(second, away()), 1, "the order stays");
        let next = desk.outbox.poll_deadline(8).unwrap().as_nanos() / 1_000_000_000;
        assert_eq!(desk.due(next - 1), [""; 0]);
        waits.push(next - second);
        second = next;
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!(desk.kept[&1].attempts, 11);
    assert_eq!(desk.figures("a").last_error.as_deref(), Some("hook: away"));
    let asked = |seconds| Outcome::Away { after: Some(Duration::from_secs(seconds)), why: String::new() };
    desk.attempt(second, asked(1000));
    assert_eq!(desk.outbox.poll_deadline(8), Some(at(second + 1000).monotonic));
    desk.attempt(second + 1000, asked(1_000_000));
    assert_eq!(desk.outbox.poll_deadline(8), Some(at(second + 1000 + 3600).monotonic), "an hour at most");
    let mut desk = desk.restart();
    assert_eq!((desk.attempt(0, Outcome::Delivered), desk.attempt(0, Outcome::Delivered)), (1, 2), "at once");
    assert_eq!((desk.kept.len(), desk.figures("a").last_error), (0, None));
}

#[test]
fn a_letter_that_is_failed_over_again_and_again_makes_way() {
    let mut desk = Desk::new();
    desk.post("a", "", 0);
    desk.post("a", "", 0);
    for attempt in 0..8 {
        assert_eq!(desk.attempt(attempt * 1000, failed()), 1);
    }
    assert_eq!(desk.dead(), [(1, "hook: http status 500".into())]);
    assert_eq!(desk.attempt(8000, Outcome::Delivered), 2);
}

#[test]
fn what_is_refused_is_given_up_at_once_and_can_be_tried_again_or_forgotten() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.post("a", "", 0);
    }
    desk.attempt(0, Outcome::Refused { why: "hook: http status 400".into() });
    desk.attempt(0, Outcome::Refused { why: "hook: http status 400".into() });
    assert_eq!(desk.attempt(0, Outcome::Delivered), 3);
    let mut desk = desk.restart();
    assert_eq!(desk.dead().len(), 2, "they are kept");
    assert!(desk.outbox.retry(1, at(5000)) && !desk.outbox.retry(1, at(5000)));
    assert!(desk.outbox.discard(2) && !desk.outbox.discard(2));
    desk.settle();
    desk.outbox.handle_timeout(at(5000).wall);
    assert_eq!(desk.attempt(5000, Outcome::Delivered), 3, "its age counts anew");
    assert_eq!((desk.kept.len(), desk.dead().len()), (0, 0));
}

#[test]
fn a_receiver_that_is_gone_gets_nothing_more_until_somebody_says_so() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.post("a", "", 0);
    }
    desk.attempt(0, Outcome::Gone { why: "hook: http status 410".into() });
    desk.post("a", "", 1);
    assert_eq!((desk.due(1), desk.dead().len(), desk.figures("a").gone), (vec![], 4, true));
    assert!(desk.outbox.retry(1, at(2)));
    desk.settle();
    assert_eq!((desk.due(2), desk.figures("a").gone), (vec!["a5".to_owned()], false));
}

#[test]
fn a_recipient_that_is_gone_takes_its_letters_along() {
    let mut desk = Desk::new();
    for recipient in ["x", "x", "y"] {
        desk.post("b", recipient, 0);
    }
    assert_eq!(desk.attempt(0, Outcome::Gone { why: "unsubscribed".into() }), 1);
    assert_eq!((desk.due(0), desk.kept.len(), desk.dead().len()), (vec!["by3".to_owned()], 1, 0));
}

#[test]
fn what_is_too_old_is_given_up_but_for_what_is_on_its_way() {
    let mut desk = Desk::new();
    desk.post("a", "", 0);
    desk.post("a", "", 10);
    desk.post("a", "", 3000);
    desk.attempt(0, away());
    desk.outbox.handle_timeout(at(3605).wall);
    assert_eq!(desk.dead(), [(1, "not delivered in time: hook: away".into())]);
    assert_eq!(desk.due(3605), ["a2"]);
    desk.outbox.handle_timeout(at(3620).wall);
    assert_eq!(desk.dead().len(), 1, "it is on its way");
    let second = desk.kept[&2].clone();
    desk.outbox.handle_outcome(&second, away(), at(3621), 1.0);
    desk.outbox.handle_timeout(at(3622).wall);
    assert_eq!(desk.dead().len(), 2);
}

#[test]
fn nothing_grows_without_bound() {
    let mut desk = Desk::new();
    desk.post("a", "", 0);
    assert_eq!(desk.due(0), ["a1"]);
    for _ in 0..LANE_MAX + 700 {
        desk.post("a", "", 0);
    }
    assert_eq!(desk.figures("a").queued, LANE_MAX);
    assert_eq!(desk.outbox.snapshot().dead.len(), DEAD_MAX);
    assert_eq!(desk.kept.len(), LANE_MAX + DEAD_MAX, "what is dropped is forgotten on the disk too");
    assert_eq!(desk.dead()[0].1, "too many letters wait for this receiver");
    for recipient in 0..TOTAL_MAX + 10 {
        desk.post("b", &recipient.to_string(), 0);
    }
    assert!(desk.outbox.total <= TOTAL_MAX);
    assert!(desk.kept.contains_key(&1), "the one on its way is not taken away");
}

#[test]
fn letters_of_a_channel_that_is_no_more_are_forgotten() {
    let mut desk = Desk::new();
    desk.post("a", "", 0);
    let mut kept: Vec<Letter> = desk.kept.values().cloned().collect();
    kept[0].channel = "old".parse().unwrap();
    let desk = Desk::resume(kept);
    assert!(desk.kept.is_empty());
}

#[test]
fn what_only_passes_is_tried_once_and_leaves_no_trace() {
    let mut desk = Desk::new();
    let now = at(0);
    let notice = Arc::new(notice(Reason::Standing, 0, &[("motion", "yard")], Severity::Warning));
    let letter = Letter { passing: true, ..Letter::new("a".parse().unwrap(), String::new(), notice, now.wall) };
    let outcomes = [away(), failed(), Outcome::Refused { why: String::new() }, Outcome::Delivered];
    for (i, outcome) in outcomes.into_iter().enumerate() {
        desk.outbox.post(letter.clone(), now);
        desk.attempt(i as u64 * 10_000, outcome);
        assert!(desk.kept.is_empty() && desk.dead().is_empty());
        assert!(desk.outbox.is_idle(&"a".parse().unwrap(), ""));
    }
}

#[test]
fn a_channel_with_many_recipients_has_some_on_their_way_at_once_and_no_more() {
    let mut desk = Desk::new();
    for recipient in 0..20 {
        desk.post("b", &recipient.to_string(), 0);
    }
    desk.post("a", "", 5);
    assert_eq!(desk.due(0).len(), 9, "eight of the one, and the other's");
    assert_eq!(desk.outbox.poll_deadline(8), None, "an attempt has to end before");
    assert_eq!(desk.outbox.poll_deadline(9), Some(Monotonic::from_nanos(0)));
}
