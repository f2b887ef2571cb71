//! The figures of a run with events.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::latency::Quantiles;
use crate::report::{Spread, row};

/// What `events` reports.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventsReport {
    pub(crate) url: String,
    pub(crate) clients: usize,
    pub(crate) clients_joined: usize,
    pub(crate) clients_failed: u64,
    pub(crate) deflate: bool,
    pub(crate) rate_per_s: f64,
    pub(crate) window_s: f64,
    /// Events accepted within the window.
    pub(crate) posted: u64,
    /// From sending a request to its answer.
    pub(crate) post_ms: Spread,
    pub(crate) post_refused: u64,
    /// Events that arrived, all clients together.
    pub(crate) delivered: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    /// From just before posting to arrival.
    pub(crate) latency_ms: Quantiles,
    pub(crate) server: Option<EventServer>,
    pub(crate) generator_cpu_percent: f64,
    pub(crate) steal_percent: f64,
    /// Why clients ended early, with how many.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Why the figures may not be quoted; empty when they may.
    pub(crate) void: Vec<String>,
}

/// The process that was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventServer {
    pub(crate) pids: Vec<u32>,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_percent: f64,
    /// Everything that the server does, by message delivered.
    pub(crate) cpu_us_per_message: f64,
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_idle_bytes: u64,
    pub(crate) rss_max_bytes: u64,
    /// Growth from before the first client until all are there and nothing happens, by client.
    pub(crate) rss_bytes_per_idle_client: f64,
}

impl EventsReport {
    /// Why the figures may not be quoted.
    pub(super) fn spoilt(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.generator_cpu_percent > 90.0 {
            reasons.push(format!("the generator used {:.0} % of its threads", self.generator_cpu_percent));
        }
        if self.clients_joined < self.clients || self.clients_failed > 0 {
            reasons.push(format!("only {} of {} clients stayed to the end", self.clients_joined, self.clients));
        }
        if self.post_refused > 0 {
            reasons.push(format!("{} events were refused", self.post_refused));
        }
        if (self.posted as f64) < self.rate_per_s * self.window_s * 0.95 - 1.0 {
            reasons.push(format!("only {} events were posted", self.posted));
        }
        if self.lost > 0 || self.repeated > 0 {
            reasons.push(format!("{} messages are missing, {} came twice", self.lost, self.repeated));
        }
        if self.steal_percent > 2.0 {
            reasons.push(format!("the host took {:.1} % of the time", self.steal_percent));
        }
        reasons
    }
}

impl fmt::Display for EventsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "target", &self.url)?;
        let deflate = if self.deflate { ", deflate offered" } else { "" };
        let (joined, failed) = (self.clients_joined, self.clients_failed);
        row(f, "clients", format_args!("{joined} of {} joined, {failed} ended early{deflate}", self.clients))?;
        row(f, "posted", format_args!("{} in {:.1} s, {} refused", self.posted, self.window_s, self.post_refused))?;
        row(f, "post, ms", self.post_ms)?;
        let (megabytes, lost) = (self.bytes as f64 / 1e6, self.lost);
        row(
            f,
            "delivered",
            format_args!("{} messages, {megabytes:.1} MB, {lost} lost, {} twice", self.delivered, self.repeated),
        )?;
        let Quantiles { n, p50, p95, p99, max } = self.latency_ms;
        row(f, "latency, ms", format_args!("p50 {p50:.1}  p95 {p95:.1}  p99 {p99:.1}  max {max:.1}  (n {n})"))?;
        if let Some(server) = &self.server {
            let EventServer { cpu_s, cpu_percent, cpu_us_per_message, .. } = server;
            row(
                f,
                "server CPU",
                format_args!("{cpu_s:.3} s = {cpu_percent:.2} % of a core, {cpu_us_per_message:.2} µs per message"),
            )?;
            row(
                f,
                "server memory",
                format_args!(
                    "{:.1} MB idle ({:.1} before, {:.1} at most), {:.1} KB per idle client",
                    server.rss_idle_bytes as f64 / 1e6,
                    server.rss_before_bytes as f64 / 1e6,
                    server.rss_max_bytes as f64 / 1e6,
                    server.rss_bytes_per_idle_client / 1e3,
                ),
            )?;
        }
        row(f, "generator CPU", format_args!("{:.1} % of its threads", self.generator_cpu_percent))?;
        row(f, "stolen", format_args!("{:.2} %", self.steal_percent))?;
        for (error, count) in &self.errors {
            row(f, "error", format_args!("{count} × {error}"))?;
        }
        for reason in &self.void {
            row(f, "VOID", reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_spoils_a_run_is_named() {
        type Spoil = fn(&mut EventsReport);
        let good = || EventsReport {
            clients: 2,
            clients_joined: 2,
            rate_per_s: 10.0,
            window_s: 20.0,
            posted: 200,
            ..EventsReport::default()
        };
        assert!(good().spoilt().is_empty());
        let table: [(&str, Spoil); 7] = [
            ("generator", |report| report.generator_cpu_percent = 91.0),
            ("1 of 2", |report| report.clients_joined = 1),
            ("clients", |report| report.clients_failed = 1),
            ("refused", |report| report.post_refused = 1),
            ("posted", |report| report.posted = 150),
            ("missing", |report| report.lost = 1),
            ("host", |report| report.steal_percent = 3.0),
        ];
        for (word, spoil) in table {
            let mut report = good();
            spoil(&mut report);
            let reasons = report.spoilt();
            assert!(reasons.len() == 1 && reasons[0].contains(word), "{word}: {reasons:?}");
        }
        assert!(good().to_string().contains("2 of 2 joined"));
    }
}
