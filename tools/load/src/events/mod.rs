//! Followers of events over WebSocket, and whoever makes the events: delivery times, loss, and what a message costs.
//!
//! Events are posted with a number and the time of this process in them, and are looked for in what comes in: the meter
//! works with any server that carries a posted JSON text to its WebSocket clients unchanged or within another.

mod client;
mod latency;
mod poster;
mod report;

use std::{io, sync::Arc, thread::sleep, time::Duration};

use url::Url;

pub(crate) use self::{client::run as follow, report::EventsReport};
use self::{latency::Latencies, poster::Poster};
use crate::{
    clients::{Clients, Kind},
    clock,
    measure::{Counts, MeasureOptions, SAMPLE, errors_of, percent, wait_until_playing},
    process::{Machine, Usage},
};

/// What a follower does.
#[derive(Clone, Debug)]
pub(crate) struct EventsOptions {
    /// `ws://host:port/…`
    pub(crate) url: Url,
    /// Offer permessage-deflate.
    pub(crate) deflate: bool,
    /// Where delivery times go.
    pub(crate) latencies: Arc<Latencies>,
}

/// What is posted.
#[derive(Clone, Debug)]
pub(crate) struct PostOptions {
    /// Where events are posted.
    pub(crate) url: Url,
    /// Events a second; none at all if zero.
    pub(crate) rate: f64,
    /// Bytes of filling in each.
    pub(crate) padding: usize,
}

/// Runs to its end; takes as long as joins, warm-up and window do.
///
/// # Errors
/// When a process cannot be read or a thread not be had.
pub(crate) fn run(
    events: &EventsOptions,
    post: &PostOptions,
    url: &str,
    options: &MeasureOptions,
) -> io::Result<EventsReport> {
    let before = Usage::of(&options.pids)?;
    let clients = Clients::start(&Kind::Events(events.clone()), options.clients, options.threads, options.ramp)?;
    wait_until_playing(&clients, options);
    // Once everybody is there and quiet: what a client costs that does nothing.
    sleep(SETTLE);
    let idle = Usage::of(&options.pids)?;
    let poster = Poster::start(post)?;
    sleep(options.warmup);

    events.latencies.clear();
    let (at, own, machine) = (clock::now(), Usage::own()?, Machine::now()?);
    let server_before = Usage::of(&options.pids)?;
    let (counts, posted) = (Counts::of(&clients.counters), poster.posted());
    let mut rss_max = 0;
    while at.elapsed() < options.window {
        sleep(SAMPLE.min(options.window.saturating_sub(at.elapsed())));
        rss_max = rss_max.max(Usage::of(&options.pids)?.rss_bytes);
    }
    let server_after = Usage::of(&options.pids)?;
    let latency = events.latencies.spread();
    let counts = Counts::of(&clients.counters).since(&counts);
    let posted = poster.posted() - posted;
    let (window, own_after, machine_after) = (at.elapsed().as_secs_f64(), Usage::own()?, Machine::now()?);
    let (post_ms, refused) = poster.stop();
    // What is on its way arrives, so that what is missing is lost.
    sleep(SETTLE);

    let (joined, failed) = (clients.playing(), clients.failed());
    let errors = errors_of(clients);
    let threads = options.threads.clamp(1, options.clients.max(1));
    let mut report = EventsReport {
        url: url.to_owned(),
        clients: options.clients,
        clients_joined: joined,
        clients_failed: failed,
        deflate: events.deflate,
        rate_per_s: post.rate,
        window_s: window,
        posted,
        post_ms,
        post_refused: refused,
        delivered: counts.packets.iter().sum(),
        bytes: counts.bytes,
        lost: counts.lost,
        repeated: counts.late,
        latency_ms: latency,
        server: None,
        generator_cpu_percent: percent(own_after.cpu.saturating_sub(own.cpu).as_secs_f64(), window) / threads as f64,
        steal_percent: machine_after.steal_percent(machine),
        errors,
        void: Vec::new(),
    };
    if !options.pids.is_empty() {
        let cpu_s = server_after.cpu.saturating_sub(server_before.cpu).as_secs_f64();
        report.server = Some(report::EventServer {
            pids: options.pids.clone(),
            cpu_s,
            cpu_percent: percent(cpu_s, window),
            cpu_us_per_message: cpu_s * 1e6 / report.delivered.max(1) as f64,
            rss_before_bytes: before.rss_bytes,
            rss_idle_bytes: idle.rss_bytes,
            rss_max_bytes: rss_max,
            rss_bytes_per_idle_client: (idle.own_bytes as f64 - before.own_bytes as f64) / joined.max(1) as f64,
        });
    }
    report.void = report.spoilt();
    Ok(report)
}

const SETTLE: Duration = Duration::from_secs(2);
