//! What is still to be delivered, by lane: a channel and a recipient. A sans-IO machine; letters go out in order within a
//! lane, one at a time, and no lane waits for another.
//!
//! A receiver that is away holds its lane up, with waits that grow, until letters are too old. A letter that the receiver
//! answers and fails over is given up after some attempts, so that those behind it have their turn. Everything is bounded:
//! of a lane that is full the oldest letter is given up, and of those that were given up the newest are kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{Letter, Outcome, letter::Dead};
use crate::{
    base::{
        Moment, Monotonic, WallTime,
        backoff::{Backoff, BackoffPolicy},
    },
    config::ChannelName,
};

/// Letters that wait in one lane, and in all of them.
pub(super) const LANE_MAX: usize = 1000;
pub(super) const TOTAL_MAX: usize = 20_000;
/// Letters that were given up and are kept.
pub(super) const DEAD_MAX: usize = 500;
/// Attempts that a receiver may fail over one letter.
const FAILURES_MAX: u32 = 8;
/// The longest wait a receiver may ask for.
const AFTER_MAX: Duration = Duration::from_secs(3600);
/// The waits of a lane whose receiver is away.
const WAITS: BackoffPolicy =
    BackoffPolicy { first: Duration::from_secs(2), most: Duration::from_secs(600), stable_after: Duration::ZERO };

/// What is to be remembered over a restart.
#[derive(Debug)]
pub(super) enum Output {
    Keep(Arc<Letter>),
    Forget(u64),
}

/// What is known of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelFigures {
    /// Letters that wait, those on their way among them.
    pub queued: usize,
    /// Letters that are on their way at this moment.
    pub sending: usize,
    /// Letters that were delivered since the start.
    pub delivered: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Letters that were given up since the start.
    pub given_up: u64,
    /// Its receiver said that it takes nothing more.
    pub gone: bool,
    /// What was wrong the last time; nothing once a letter was delivered after that.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<WallTime>,
    /// When a letter was last delivered.
    pub delivered_at: Option<WallTime>,
    /// When the next attempt is due, if it waits for one.
    pub next_attempt: Option<Monotonic>,
}

/// The outbox as others see it.
#[derive(Clone, Debug, Default)]
pub struct OutboxSnapshot {
    /// By channel.
    pub channels: BTreeMap<ChannelName, ChannelFigures>,
    /// What was given up, the oldest first.
    pub dead: Vec<Arc<Letter>>,
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Arc<Letter>>,
    /// Its first letter is on its way.
    busy: bool,
    backoff: Backoff,
    next: Monotonic,
    /// Its receiver takes nothing any more.
    closed: bool,
}

impl Lane {
    const fn new() -> Self {
        let backoff = Backoff::new(WAITS);
        Self { waiting: VecDeque::new(), busy: false, backoff, next: Monotonic::from_nanos(0), closed: false }
    }
}

/// The outbox.
#[derive(Debug)]
pub(super) struct Outbox {
    max_age: Duration,
    lanes: BTreeMap<(ChannelName, String), Lane>,
    figures: BTreeMap<ChannelName, ChannelFigures>,
    dead: VecDeque<Arc<Letter>>,
    total: usize,
    last: u64,
    output: VecDeque<Output>,
    revision: u64,
}

impl Outbox {
    /// Goes on with what was kept. Letters of channels that are no more are forgotten.
    pub(super) fn resume(kept: Vec<Letter>, channels: &[ChannelName], max_age: Duration) -> Self {
        let figures = channels.iter().map(|name| (name.clone(), ChannelFigures::default())).collect();
        let mut outbox = Self {
            max_age,
            lanes: BTreeMap::new(),
            figures,
            dead: VecDeque::new(),
            total: 0,
            last: 0,
            output: VecDeque::new(),
            revision: 1,
        };
        for letter in kept {
            outbox.last = outbox.last.max(letter.number);
            if !outbox.figures.contains_key(&letter.channel) {
                outbox.output.push_back(Output::Forget(letter.number));
            } else if letter.dead.is_some() {
                outbox.dead.push_back(Arc::new(letter));
            } else {
                outbox.queue(Arc::new(letter));
            }
        }
        outbox
    }

    /// Another number: something changed.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a letter of this notice is here.
    pub(super) fn has(&self, notice: &str) -> bool {
        let waiting = self.lanes.values().flat_map(|lane| &lane.waiting);
        waiting.chain(&self.dead).any(|letter| letter.notice.id == notice)
    }

    /// Whether a lane has nothing on its way and nothing waiting.
    pub(super) fn is_idle(&self, channel: &ChannelName, recipient: &str) -> bool {
        self.lanes.get(&(channel.clone(), recipient.to_owned())).is_none_or(|lane| lane.waiting.is_empty())
    }

    /// Takes a letter in.
    pub(super) fn post(&mut self, letter: Letter, now: Moment) {
        self.last += 1;
        let letter = Arc::new(Letter { number: self.last, ..letter });
        let key = (letter.channel.clone(), letter.recipient.clone());
        if self.lanes.get(&key).is_some_and(|lane| lane.closed) {
            self.give_up(letter, "the receiver said that it takes nothing any more", now.wall);
            return;
        }
        self.keep(&letter);
        self.queue(letter);
        let full = self.lanes.get(&key).is_some_and(|lane| lane.waiting.len() > LANE_MAX) || self.total > TOTAL_MAX;
        if full {
            let lane = self.lanes.get_mut(&key);
            // The first one may be on its way.
            let oldest = lane.and_then(|lane| lane.waiting.remove(usize::from(lane.busy)));
            if let Some(oldest) = oldest {
                self.total -= 1;
                self.give_up(oldest, "too many letters wait for this receiver", now.wall);
            }
        }
    }

    /// The next letter whose time has come; what came of it is told by [`Outbox::handle_outcome`].
    pub(super) fn poll_attempt(&mut self, now: Monotonic, most: usize) -> Option<Arc<Letter>> {
        let figures = &self.figures;
        let due = |(channel, _): &(ChannelName, String), lane: &Lane| {
            let free = figures.get(channel).is_some_and(|figures| figures.sending < most);
            free && !lane.busy && !lane.waiting.is_empty() && lane.next <= now
        };
        // The one that has been due for longest: a busy lane does not starve its neighbours.
        let ready = self.lanes.iter_mut().filter(|(key, lane)| due(key, lane));
        let ((channel, _), lane) = ready.min_by_key(|(_, lane)| lane.next)?;
        lane.busy = true;
        self.revision += 1;
        if let Some(figures) = self.figures.get_mut(channel) {
            figures.sending += 1;
        }
        lane.waiting.front().cloned()
    }

    /// What came of an attempt. `chance` is uniform in `0.0..1.0`.
    pub(super) fn handle_outcome(&mut self, letter: &Letter, outcome: Outcome, now: Moment, chance: f64) {
        let key = (letter.channel.clone(), letter.recipient.clone());
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(first) = lane.waiting.front().filter(|first| lane.busy && first.number == letter.number) else {
            return;
        };
        let mut tried = Letter::clone(first);
        tried.attempts = tried.attempts.saturating_add(1);
        lane.busy = false;
        self.revision += 1;
        let Some(figures) = self.figures.get_mut(&letter.channel) else { return };
        figures.sending = figures.sending.saturating_sub(1);
        if outcome == Outcome::Delivered {
            lane.backoff = Backoff::new(WAITS);
            lane.next = now.monotonic;
            lane.closed = false;
            figures.delivered += 1;
            (figures.delivered_at, figures.gone) = (Some(now.wall), false);
            (figures.last_error, figures.last_error_at) = (None, None);
            self.drop_first(&key);
            return;
        }
        figures.failed += 1;
        let (Outcome::Away { why, .. } | Outcome::Failed { why } | Outcome::Refused { why } | Outcome::Gone { why }) =
            &outcome
        else {
            return;
        };
        let why: String = why.chars().take(300).collect();
        (figures.last_error, figures.last_error_at) = (Some(why.clone()), Some(now.wall));
        tried.last_error = Some(why.clone());
        match outcome {
            Outcome::Away { after, .. } => {
                let wait = lane.backoff.failed(now.monotonic, chance).max(after.unwrap_or_default().min(AFTER_MAX));
                lane.next = now.monotonic + wait;
                self.again(&key, tried);
            }
            Outcome::Failed { .. } => {
                tried.failures += 1;
                lane.next = now.monotonic + lane.backoff.failed(now.monotonic, chance);
                if tried.failures < FAILURES_MAX {
                    self.again(&key, tried);
                } else {
                    lane.backoff = Backoff::new(WAITS);
                    self.drop_first_for(&key, tried, &why, now.wall);
                }
            }
            Outcome::Refused { .. } => {
                lane.next = now.monotonic;
                self.drop_first_for(&key, tried, &why, now.wall);
            }
            Outcome::Gone { .. } if letter.recipient.is_empty() => {
                (lane.closed, figures.gone) = (true, true);
                self.drop_first_for(&key, tried, &why, now.wall);
                while let Some(next) = self.lanes.get_mut(&key).and_then(|lane| lane.waiting.pop_front()) {
                    self.total -= 1;
                    self.give_up(next, &why, now.wall);
                }
            }
            Outcome::Gone { .. } => self.drop_lane(&key),
            Outcome::Delivered => {}
        }
    }

    /// Gives up what is too old.
    pub(super) fn handle_timeout(&mut self, now: WallTime) {
        let oldest = now.plus_nanos(-i64::try_from(self.max_age.as_nanos()).unwrap_or(i64::MAX)).unix_nanos();
        let mut old = Vec::new();
        for lane in self.lanes.values_mut() {
            // In order of their times; the first one may be on its way.
            let from = usize::from(lane.busy).min(lane.waiting.len());
            let end = lane.waiting.iter().skip(from).take_while(|letter| letter.since < oldest).count();
            old.extend(lane.waiting.drain(from..from + end));
        }
        for letter in old {
            self.total -= 1;
            let why = match &letter.last_error {
                Some(error) => format!("not delivered in time: {error}"),
                None => "not delivered in time".to_owned(),
            };
            self.give_up(letter, &why, now);
        }
        // Lanes of recipients that come and go.
        self.lanes.retain(|(_, recipient), lane| lane.busy || !lane.waiting.is_empty() || recipient.is_empty());
    }

    /// When [`Outbox::poll_attempt`] has something, if no attempt ends before.
    pub(super) fn poll_deadline(&self, most: usize) -> Option<Monotonic> {
        let free = |channel| self.figures.get(channel).is_some_and(|figures| figures.sending < most);
        let waits = self.lanes.iter().filter(|(_, lane)| !lane.busy && !lane.waiting.is_empty());
        waits.filter(|((channel, _), _)| free(channel)).map(|(_, lane)| lane.next).min()
    }

    /// Tries one that was given up again; whether there is one of this number.
    pub(super) fn retry(&mut self, number: u64, now: Moment) -> bool {
        let Some(place) = self.dead.iter().position(|letter| letter.number == number) else { return false };
        let Some(dead) = self.dead.remove(place) else { return false };
        self.output.push_back(Output::Forget(number));
        let key = (dead.channel.clone(), dead.recipient.clone());
        if let Some(lane) = self.lanes.get_mut(&key) {
            (lane.closed, lane.next) = (false, now.monotonic);
        }
        if let Some(figures) = self.figures.get_mut(&dead.channel) {
            figures.gone = false;
        }
        let fresh = Letter::new(dead.channel.clone(), dead.recipient.clone(), dead.notice.clone(), now.wall);
        self.post(fresh, now);
        true
    }

    /// Forgets one that was given up; whether there is one of this number.
    pub(super) fn discard(&mut self, number: u64) -> bool {
        let Some(place) = self.dead.iter().position(|letter| letter.number == number) else { return false };
        self.dead.remove(place);
        self.output.push_back(Output::Forget(number));
        self.revision += 1;
        true
    }

    /// What is to be remembered, in order.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// How everything stands.
    pub(super) fn snapshot(&self) -> OutboxSnapshot {
        let mut channels = self.figures.clone();
        for ((channel, _), lane) in &self.lanes {
            let Some(figures) = channels.get_mut(channel) else { continue };
            figures.queued += lane.waiting.len();
            if !lane.busy && !lane.waiting.is_empty() {
                figures.next_attempt = Some(figures.next_attempt.map_or(lane.next, |next| next.min(lane.next)));
            }
        }
        OutboxSnapshot { channels, dead: self.dead.iter().cloned().collect() }
    }

    fn queue(&mut self, letter: Arc<Letter>) {
        self.revision += 1;
        self.total += 1;
        let key = (letter.channel.clone(), letter.recipient.clone());
        self.lanes.entry(key).or_insert_with(Lane::new).waiting.push_back(letter);
    }

    fn keep(&mut self, letter: &Arc<Letter>) {
        if !letter.passing {
            self.output.push_back(Output::Keep(letter.clone()));
        }
    }

    /// The first letter of a lane waits for another attempt. One that only passes is not worth it.
    fn again(&mut self, key: &(ChannelName, String), tried: Letter) {
        if tried.passing {
            self.drop_first(key);
            return;
        }
        let tried = Arc::new(tried);
        self.keep(&tried);
        if let Some(first) = self.lanes.get_mut(key).and_then(|lane| lane.waiting.front_mut()) {
            *first = tried;
        }
    }

    fn drop_first(&mut self, key: &(ChannelName, String)) {
        let first = self.lanes.get_mut(key).and_then(|lane| lane.waiting.pop_front());
        if let Some(first) = first {
            self.total -= 1;
            if !first.passing {
                self.output.push_back(Output::Forget(first.number));
            }
        }
    }

    fn drop_first_for(&mut self, key: &(ChannelName, String), tried: Letter, why: &str, now: WallTime) {
        if self.lanes.get_mut(key).and_then(|lane| lane.waiting.pop_front()).is_some() {
            self.total -= 1;
            self.give_up(Arc::new(tried), why, now);
        }
    }

    /// A recipient is no more.
    fn drop_lane(&mut self, key: &(ChannelName, String)) {
        for letter in self.lanes.remove(key).map(|lane| lane.waiting).unwrap_or_default() {
            self.total -= 1;
            self.output.push_back(Output::Forget(letter.number));
        }
    }

    fn give_up(&mut self, letter: Arc<Letter>, why: &str, now: WallTime) {
        self.revision += 1;
        if letter.passing {
            return;
        }
        if let Some(figures) = self.figures.get_mut(&letter.channel) {
            figures.given_up += 1;
        }
        let dead = Some(Dead { at: now.to_string(), why: why.to_owned() });
        let letter = Arc::new(Letter { dead, ..Letter::clone(&letter) });
        self.keep(&letter);
        self.dead.push_back(letter);
        while self.dead.len() > DEAD_MAX {
            let Some(oldest) = self.dead.pop_front() else { break };
            self.output.push_back(Output::Forget(oldest.number));
        }
    }
}

#[cfg(test)]
mod tests;
