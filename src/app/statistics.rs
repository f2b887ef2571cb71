//! Looks at every room once a second, and says how the server and its paths are.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info_span};

use super::{alerts, process};
use crate::{
    auth::Grant,
    base::{Clock, Monotonic, PathName, Tasks, complaints::Complaints},
    events::{
        Delivery, Events, Fact, Filter, From, Scope, Severity, StatisticsReader, StatisticsWriter, Tally, Types,
        payload::{PathStatistics, Statistics},
        statistics,
    },
    hub::{Hub, StreamState},
    stats::{Protocol, Sessions},
    store::{FigureHistory, Figures},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two samples of the process and of the disk, and two entries in the history.
const SAMPLE_EVERY: u64 = 10;
/// Rates are means of so many looks: a GOP or two.
const RATE_LOOKS: usize = 6;
/// Facts of today that are counted again after a restart.
const TODAY_MOST: usize = 20_000;

/// Begins to look.
pub(super) fn start(
    hub: Hub,
    sessions: Sessions,
    events: Events,
    history: FigureHistory,
    state_dir: PathBuf,
    clock: Clock,
    tasks: &Tasks,
) -> StatisticsReader {
    let (writer, reader) = statistics(events.clone(), history.clone());
    let started = clock.now();
    let look = Look {
        hub,
        sessions,
        state_dir,
        clock,
        started,
        tally: Tally::default(),
        received: Rates::default(),
        sent: Rates::default(),
        process: Process::default(),
    };
    let stopping = tasks.stopping().clone();
    tasks.spawn("statistics", info_span!("statistics"), async move {
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = run(look, writer, events, history, clock) => {}
        }
    });
    reader
}

async fn run(mut look: Look, mut writer: StatisticsWriter, events: Events, history: FigureHistory, clock: Clock) {
    let (scope, facts) = (|| Scope::house().within(Types::FACTS), Filter::everything());
    // The place first: what comes in between is counted by following.
    let place = events.cursor();
    for fact in events.recent(&scope(), &facts, TODAY_MOST).await {
        if fact.cursor.offset <= place.offset {
            look.tally.handle_fact(&fact, clock.day(fact.time), None);
        }
    }
    let mut follower = events.follow(scope(), facts, From::After(place));
    let mut complaints = Complaints::new(Duration::from_secs(60));
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        ticks.tick().await;
        while let Some(delivery) = follower.ready().await {
            let Delivery::Facts(facts) = delivery else { continue };
            facts.iter().for_each(|fact: &std::sync::Arc<Fact>| {
                look.tally.handle_fact(fact, clock.day(fact.time), Some(clock.now()));
            });
        }
        let sampled = number % SAMPLE_EVERY == 0;
        let statistics = look.statistics(sampled);
        if let Err(error) = writer.put(&statistics, clock.now(), clock.wall()) {
            debug!("statistics: {}", error.chain());
        }
        if sampled
            && number > 0
            && let Err(error) = history.add(figures(&statistics, clock)).await
            && let Some(times) = complaints.note(clock.now())
        {
            tracing::warn!(times, "statistics are not kept: {}", error.chain());
        }
    }
}

fn figures(statistics: &Statistics, clock: Clock) -> Figures {
    Figures {
        time_ms: clock.wall().unix_millis(),
        viewers: statistics.viewers as f64,
        cameras_active: statistics.cameras_active as f64,
        received_bps: statistics.received_bps as f64,
        sent_bps: statistics.sent_bps as f64,
        cpu_percent: statistics.cpu_percent,
        memory_bytes: statistics.memory_bytes as f64,
        events_per_minute: statistics.events_per_minute as f64,
    }
}

/// What is looked at, and what has to be remembered for it.
struct Look {
    hub: Hub,
    sessions: Sessions,
    state_dir: PathBuf,
    clock: Clock,
    started: Monotonic,
    tally: Tally,
    received: Rates<PathName>,
    sent: Rates<PathName>,
    process: Process,
}

impl Look {
    fn statistics(&mut self, sample: bool) -> Statistics {
        let now = self.clock.now();
        if sample {
            self.process.sample(now, &self.state_dir);
        }
        let (mut viewers, mut sent) = (BTreeMap::<PathName, u64>::new(), BTreeMap::<PathName, u64>::new());
        let mut by_protocol: BTreeMap<String, u64> =
            Protocol::ALL.into_iter().map(|protocol| (protocol.name().to_owned(), 0)).collect();
        for ((path, _, protocol), traffic) in self.sessions.traffic() {
            *by_protocol.entry(protocol.name().to_owned()).or_default() += traffic.open;
            *viewers.entry(path.clone()).or_default() += traffic.open;
            *sent.entry(path).or_default() += traffic.bytes_sent;
        }
        let mut paths = Vec::new();
        for name in self.hub.names() {
            let Ok(path) = self.hub.path(&Grant::house("statistics", name.clone())) else { continue };
            let total = |of: fn(&crate::hub::SourceCounters) -> u64| path.streams().map(|s| of(s.counters())).sum();
            let bytes = total(|counters| counters.bytes_received.load(Ordering::Relaxed));
            paths.push(PathStatistics {
                path: name.to_string(),
                state: path.main().snapshot().state.name().to_owned(),
                viewers: viewers.get(&name).copied().unwrap_or(0),
                received_bps: self.received.note(&name, bytes, now),
                sent_bps: self.sent.note(&name, sent.get(&name).copied().unwrap_or(0), now),
                packets_lost: total(|counters| counters.packets_lost.load(Ordering::Relaxed)),
                reconnects: total(|counters| counters.reconnects.load(Ordering::Relaxed)),
            });
        }
        self.received.keep(&paths);
        self.sent.keep(&paths);
        self.tally.begin(self.clock.day(self.clock.wall()));
        let totals = self.tally.totals(now);
        let alerts = Severity::ALL.into_iter().map(|s| (s.name().to_owned(), totals.alerts_today[s as usize]));
        Statistics {
            uptime_s: now.since(self.started).as_secs(),
            memory_bytes: self.process.memory_bytes,
            cpu_percent: self.process.cpu_percent,
            disk_free_bytes: self.process.disk_free_bytes,
            cameras: paths.len() as u64,
            cameras_active: paths.iter().filter(|path| path.state == StreamState::Ready.name()).count() as u64,
            viewers: by_protocol.values().sum(),
            viewers_by_protocol: by_protocol,
            received_bps: paths.iter().map(|path| path.received_bps).sum(),
            sent_bps: paths.iter().map(|path| path.sent_bps).sum(),
            alerts_today: alerts.collect(),
            events_per_minute: totals.events_per_minute,
            total_people: totals.total_people,
            recognitions_today: totals.recognitions_today,
            last_recognition: totals.last_recognition.map(|time| time.to_string()),
            paths,
        }
    }
}

/// Counters that only grow, as rates over the last looks.
#[derive(Debug)]
struct Rates<K>(HashMap<K, VecDeque<(Monotonic, u64)>>);

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl Rates<PathName> {
    /// Bits a second, now that the counter of `path` shows `bytes`.
    fn note(&mut self, path: &PathName, bytes: u64, now: Monotonic) -> u64 {
        let seen = self.0.entry(path.clone()).or_default();
        if seen.back().is_some_and(|(_, before)| *before > bytes) {
            // It began again.
            seen.clear();
        }
        seen.push_back((now, bytes));
        if seen.len() > RATE_LOOKS {
            seen.pop_front();
        }
        let (since, first) = seen.front().copied().unwrap_or((now, bytes));
        let seconds = now.since(since).as_secs_f64();
        if seconds > 0.0 { ((bytes - first) as f64 * 8.0 / seconds) as u64 } else { 0 }
    }

    /// Forgets paths that are gone.
    fn keep(&mut self, paths: &[PathStatistics]) {
        if self.0.len() > paths.len() {
            self.0.retain(|name, _| paths.iter().any(|path| path.path == name.as_str()));
        }
    }
}

/// What the process takes.
#[derive(Debug, Default)]
struct Process {
    memory_bytes: u64,
    cpu_percent: f64,
    disk_free_bytes: Option<u64>,
    before: Option<(Monotonic, f64)>,
}

impl Process {
    fn sample(&mut self, now: Monotonic, state_dir: &std::path::Path) {
        self.disk_free_bytes = alerts::room(state_dir).map(|room| room.free);
        let Some(figures) = process::sample() else { return };
        self.memory_bytes = figures.resident_bytes;
        if let Some((then, cpu_seconds)) = self.before.replace((now, figures.cpu_seconds)) {
            let seconds = now.since(then).as_secs_f64();
            if seconds > 0.0 {
                self.cpu_percent = ((figures.cpu_seconds - cpu_seconds) / seconds * 10_000.0).round() / 100.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_looks_and_begins_again_with_its_counter() {
        let (mut rates, path) = (Rates::default(), "cam".parse().unwrap());
        let at = |second| Monotonic::default() + Duration::from_secs(second);
        let seen: Vec<_> = [0, 1000, 2000, 2000, 10].into_iter().zip(1..).collect();
        let rated: Vec<_> = seen.into_iter().map(|(bytes, second)| rates.note(&path, bytes, at(second))).collect();
        assert_eq!(rated, [0, 8000, 8000, 5333, 0]);
        rates.keep(&[]);
        assert!(rates.0.is_empty());
    }
}
