//! One measured run: clients up, warm-up, window, figures; and whether they may be quoted.

use std::{collections::BTreeMap, io, sync::Arc, thread::sleep, time::Duration, time::Instant};

use crate::{
    clients::{Clients, Kind},
    clock,
    counters::{Counter, Counters},
    process::{Machine, Usage},
    report::{Delivered, Report, Server, Spread, Start},
};

/// How a run is made.
#[derive(Clone, Debug)]
pub(crate) struct MeasureOptions {
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    /// Between two joins.
    pub(crate) ramp: Duration,
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    /// The processes of the server.
    pub(crate) pids: Vec<u32>,
}

/// Runs to its end; takes as long as joins, warm-up and window do.
///
/// # Errors
/// When a process cannot be read or a thread not be had.
pub(crate) fn run(kind: &Kind, url: &str, name: &str, options: &MeasureOptions) -> io::Result<Report> {
    let before = Usage::of(&options.pids)?;
    let clients = Clients::start(kind, options.clients, options.threads, options.ramp)?;
    wait_until_playing(&clients, options);
    sleep(options.warmup);

    let (at, own, machine) = (clock::now(), Usage::own()?, Machine::now()?);
    let server_before = Usage::of(&options.pids)?;
    let counts = Counts::of(&clients.counters);
    let mut memory = Memory::default();
    while at.elapsed() < options.window {
        sleep(SAMPLE.min(options.window.saturating_sub(at.elapsed())));
        memory.observe(Usage::of(&options.pids)?);
    }
    let server_after = Usage::of(&options.pids)?;
    let counts = Counts::of(&clients.counters).since(&counts);
    let (window, own_after, machine_after) = (at.elapsed().as_secs_f64(), Usage::own()?, Machine::now()?);

    let (playing, failed) = (clients.playing(), clients.failed());
    let counters = clients.counters.clone();
    let threads = options.threads.clamp(1, options.clients.max(1));
    let errors = errors_of(clients);
    let mut report = Report {
        kind: name.to_owned(),
        url: url.to_owned(),
        clients: options.clients,
        clients_playing: playing,
        clients_failed: failed,
        warmup_s: options.warmup.as_secs_f64(),
        window_s: window,
        delivered: counts.delivered(window, playing),
        start: start(&counters),
        server: None,
        generator_cpu_percent: percent((own_after.cpu.saturating_sub(own.cpu)).as_secs_f64(), window) / threads as f64,
        steal_percent: machine_after.steal_percent(machine),
        errors,
        void: Vec::new(),
    };
    if !options.pids.is_empty() {
        let cpu_s = server_after.cpu.saturating_sub(server_before.cpu).as_secs_f64();
        let each = playing.max(1) as f64;
        report.server = Some(Server {
            pids: options.pids.clone(),
            cpu_s,
            cpu_percent: percent(cpu_s, window),
            cpu_percent_per_client: percent(cpu_s, window) / each,
            cpu_us_per_packet: cpu_s * 1e6 / report.delivered.packets.max(1) as f64,
            cpu_us_per_request: if counts.requests == 0 { 0.0 } else { cpu_s * 1e6 / counts.requests as f64 },
            rss_before_bytes: before.rss_bytes,
            rss_bytes: memory.mean(),
            rss_max_bytes: memory.max,
            rss_bytes_per_client: (memory.mean_own() as f64 - before.own_bytes as f64) / each,
            threads: server_after.threads,
        });
    }
    report.void = void(&report);
    Ok(report)
}

/// Ends the clients; why some had ended before, with how many.
pub(crate) fn errors_of(clients: Clients) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for error in clients.stop() {
        *errors.entry(error).or_insert(0) += 1;
    }
    errors
}

/// Until every client has its first media, or has failed, or has been waited for long enough.
pub(crate) fn wait_until_playing(clients: &Clients, options: &MeasureOptions) {
    let count = u32::try_from(options.clients).unwrap_or(u32::MAX);
    let patience = options.ramp * count + PATIENCE;
    let began = clock::now();
    while began.elapsed() < patience && clients.playing() as u64 + clients.failed() < options.clients as u64 {
        sleep(Duration::from_millis(20));
    }
}

/// Why the figures may not be quoted (`docs/performance.md`, how to measure).
fn void(report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    let lost = report.delivered.lost as f64 * 100.0 / (report.delivered.packets + report.delivered.lost).max(1) as f64;
    if report.generator_cpu_percent > OWN_CPU_MOST {
        reasons.push(format!("the generator used {:.0} % of its threads", report.generator_cpu_percent));
    }
    if report.clients_playing < report.clients || report.clients_failed > 0 {
        reasons.push(format!("only {} of {} clients played to the end", report.clients_playing, report.clients));
    }
    if lost > LOST_MOST {
        reasons.push(format!("{lost:.2} % of the packets are missing"));
    }
    // Whether a poller asks three or four times in the window is chance.
    if report.kind != POLL && report.clients_playing > 1 && report.delivered.least_share_percent < SHARE_LEAST {
        reasons.push(format!("one client got {:.1} % of what another got", report.delivered.least_share_percent));
    }
    if report.steal_percent > STEAL_MOST {
        reasons.push(format!("the host took {:.1} % of the time", report.steal_percent));
    }
    reasons
}

pub(crate) fn percent(cpu_s: f64, window_s: f64) -> f64 {
    if window_s > 0.0 { cpu_s * 100.0 / window_s } else { 0.0 }
}

pub(crate) fn start(counters: &[Arc<Counters>]) -> Start {
    let spread = |field: fn(&Counters) -> &Counter| Spread::of(counters.iter().filter_map(|one| field(one).millis()));
    Start {
        playing_ms: spread(|one| &one.playing_us),
        first_media_ms: spread(|one| &one.first_media_us),
        first_key_ms: spread(|one| &one.first_key_us),
        first_picture_ms: spread(|one| &one.first_picture_us),
    }
}

/// All clients' counts at one moment, or between two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) packets: Vec<u64>,
    pub(crate) bytes: u64,
    requests: u64,
    gaps: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    refused: u64,
}

impl Counts {
    pub(crate) fn of(counters: &[Arc<Counters>]) -> Self {
        let sum = |field: fn(&Counters) -> &Counter| counters.iter().map(|one| field(one).read()).sum();
        Self {
            packets: counters.iter().map(|one| one.packets.read()).collect(),
            bytes: sum(|one| &one.bytes),
            requests: sum(|one| &one.requests),
            gaps: sum(|one| &one.gaps),
            lost: sum(|one| &one.lost),
            late: sum(|one| &one.late),
            refused: sum(|one| &one.refused),
        }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.iter().zip(&earlier.packets).map(|(now, then)| now - then).collect(),
            bytes: self.bytes - earlier.bytes,
            requests: self.requests - earlier.requests,
            gaps: self.gaps - earlier.gaps,
            lost: self.lost.saturating_sub(earlier.lost),
            late: self.late - earlier.late,
            refused: self.refused - earlier.refused,
        }
    }

    fn delivered(&self, window_s: f64, playing: usize) -> Delivered {
        let packets: u64 = self.packets.iter().sum();
        let most = self.packets.iter().max().copied().unwrap_or(0);
        let least = self.packets.iter().min().copied().unwrap_or(0);
        Delivered {
            packets,
            bytes: self.bytes,
            requests: self.requests,
            packets_per_s: packets as f64 / window_s,
            requests_per_s: self.requests as f64 / window_s,
            bps_per_client: self.bytes as f64 * 8.0 / window_s / playing.max(1) as f64,
            gaps: self.gaps,
            lost: self.lost,
            late: self.late,
            refused: self.refused,
            least_share_percent: if most == 0 { 0.0 } else { least as f64 * 100.0 / most as f64 },
        }
    }
}

#[derive(Debug, Default)]
struct Memory {
    sum: u64,
    sum_own: u64,
    samples: u64,
    max: u64,
}

impl Memory {
    fn observe(&mut self, usage: Usage) {
        self.sum += usage.rss_bytes;
        self.sum_own += usage.own_bytes;
        self.samples += 1;
        self.max = self.max.max(usage.rss_bytes);
    }

    fn mean(&self) -> u64 {
        self.sum.checked_div(self.samples).unwrap_or(0)
    }

    fn mean_own(&self) -> u64 {
        self.sum_own.checked_div(self.samples).unwrap_or(0)
    }
}

/// CPU and memory of a process at rest, or whatever it does meanwhile.
///
/// # Errors
/// When it is gone or may not be read.
pub(crate) fn idle(pids: &[u32], window: Duration) -> io::Result<Server> {
    let (at, before) = (clock::now(), Usage::of(pids)?);
    let mut memory = Memory::default();
    loop {
        memory.observe(Usage::of(pids)?);
        let left = remaining(at, window);
        if left.is_zero() {
            break;
        }
        sleep(SAMPLE.min(left));
    }
    let after = Usage::of(pids)?;
    let cpu_s = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    Ok(Server {
        pids: pids.to_vec(),
        cpu_s,
        cpu_percent: percent(cpu_s, at.elapsed().as_secs_f64()),
        rss_before_bytes: before.rss_bytes,
        rss_bytes: memory.mean(),
        rss_max_bytes: memory.max,
        threads: after.threads,
        ..Server::default()
    })
}

fn remaining(at: Instant, window: Duration) -> Duration {
    window.saturating_sub(at.elapsed())
}

pub(crate) const SAMPLE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(30);
/// Beyond these a run says nothing.
const OWN_CPU_MOST: f64 = 90.0;
const LOST_MOST: f64 = 0.1;
const STEAL_MOST: f64 = 2.0;
/// Clients join at different moments of a part, and one more or less falls into the window.
const SHARE_LEAST: f64 = 95.0;

/// The kind of run in which a packet is an answer.
pub(crate) const POLL: &str = "poll";

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let delivered = Delivered { packets: 1000, least_share_percent: 100.0, ..Delivered::default() };
        Report { clients: 2, clients_playing: 2, delivered, ..Report::default() }
    }

    #[test]
    fn a_clean_run_may_be_quoted() {
        assert!(void(&good()).is_empty());
    }

    #[test]
    fn whatever_spoils_a_run_is_named() {
        type Spoil = fn(&mut Report);
        let table: [(&str, Spoil); 6] = [
            ("generator", |report| report.generator_cpu_percent = 91.0),
            ("1 of 2", |report| report.clients_playing = 1),
            ("clients", |report| report.clients_failed = 1),
            ("missing", |report| report.delivered.lost = 2),
            ("one client", |report| report.delivered.least_share_percent = 50.0),
            ("host", |report| report.steal_percent = 3.0),
        ];
        for (word, spoil) in table {
            let mut report = good();
            spoil(&mut report);
            let reasons = void(&report);
            assert!(reasons.len() == 1 && reasons[0].contains(word), "{word}: {reasons:?}");
        }
    }

    #[test]
    fn counts_between_two_moments_are_differences() {
        let counters: Vec<Arc<Counters>> = (0..2).map(|_| Arc::default()).collect();
        counters[0].packets.add(5);
        let before = Counts::of(&counters);
        counters[0].packets.add(10);
        counters[1].packets.add(8);
        counters[1].bytes.add(1000);
        let delivered = Counts::of(&counters).since(&before).delivered(2.0, 2);
        assert_eq!((delivered.packets, delivered.bytes), (18, 1000));
        assert!((delivered.least_share_percent - 80.0).abs() < 1e-9);
        assert!((delivered.bps_per_client - 2000.0).abs() < 1e-9);
    }
}
