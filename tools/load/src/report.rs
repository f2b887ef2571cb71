//! The figures of a run, as JSON and as a table.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What `rtsp` and `hls` report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) kind: String,
    pub(crate) url: String,
    pub(crate) clients: usize,
    pub(crate) clients_playing: usize,
    pub(crate) clients_failed: u64,
    pub(crate) warmup_s: f64,
    pub(crate) window_s: f64,
    pub(crate) delivered: Delivered,
    pub(crate) start: Start,
    pub(crate) server: Option<Server>,
    pub(crate) generator_cpu_percent: f64,
    pub(crate) steal_percent: f64,
    /// Why clients ended early, with how many.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Why the figures may not be quoted; empty when they may.
    pub(crate) void: Vec<String>,
}

/// What arrived within the window, all clients together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Delivered {
    /// RTP packets, or HLS parts.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    pub(crate) packets_per_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) bps_per_client: f64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) refused: u64,
    /// What the worst client got of the best client's packets.
    pub(crate) least_share_percent: f64,
}

/// From the first byte of the connection, over all clients.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    /// RTSP: answer to PLAY; HLS: first media playlist.
    pub(crate) playing_ms: Spread,
    /// First packet or part.
    pub(crate) first_media_ms: Spread,
    /// First packet of a random access point.
    pub(crate) first_key_ms: Spread,
    /// First whole picture a decoder can start with; HLS: first independent part.
    pub(crate) first_picture_ms: Spread,
}

/// The process that was measured, within the window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) pids: Vec<u32>,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_percent: f64,
    /// CPU-seconds per viewer-second, in per cent of a core.
    pub(crate) cpu_percent_per_client: f64,
    pub(crate) cpu_us_per_packet: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_max_bytes: u64,
    /// Growth of what is no file's since before the first client, by client.
    pub(crate) rss_bytes_per_client: f64,
    pub(crate) threads: u64,
}

/// Quantiles of a set of measurements, in the unit of the field's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) n: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Nearest rank; all zero of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let at = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { n: sorted.len(), min: rank(0.0), p50: rank(0.5), p95: rank(0.95), max: rank(1.0) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.n == 0 {
            return f.write_str("–");
        }
        write!(f, "p50 {:.1}  p95 {:.1}  max {:.1}  (n {})", self.p50, self.p95, self.max, self.n)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, start, .. } = self;
        row(f, "target", format_args!("{} {}", self.kind, self.url))?;
        row(
            f,
            "clients",
            format_args!("{} of {} playing, {} ended early", self.clients_playing, self.clients, self.clients_failed),
        )?;
        row(f, "window", format_args!("{:.1} s after {:.1} s of warm-up", self.window_s, self.warmup_s))?;
        row(
            f,
            "delivered",
            format_args!(
                "{} packets ({:.0}/s), {:.1} MB, {:.3} Mbit/s per client, least share {:.1} %",
                delivered.packets,
                delivered.packets_per_s,
                delivered.bytes as f64 / 1e6,
                delivered.bps_per_client / 1e6,
                delivered.least_share_percent,
            ),
        )?;
        if delivered.requests > 0 {
            let refused = delivered.refused;
            row(
                f,
                "requests",
                format_args!("{} ({:.1}/s), {refused} refused", delivered.requests, delivered.requests_per_s),
            )?;
        }
        row(f, "gaps", format_args!("{} with {} lost, {} late", delivered.gaps, delivered.lost, delivered.late))?;
        row(f, "playing, ms", start.playing_ms)?;
        row(f, "first media, ms", start.first_media_ms)?;
        row(f, "first key, ms", start.first_key_ms)?;
        row(f, "first picture, ms", start.first_picture_ms)?;
        if let Some(server) = &self.server {
            row(
                f,
                "server CPU",
                format_args!(
                    "{:.3} s = {:.2} % of a core, {:.4} % per client, {:.2} µs per packet, {:.1} µs per request",
                    server.cpu_s,
                    server.cpu_percent,
                    server.cpu_percent_per_client,
                    server.cpu_us_per_packet,
                    server.cpu_us_per_request,
                ),
            )?;
            row(
                f,
                "server memory",
                format_args!(
                    "{:.1} MB resident ({:.1} before, {:.1} at most), {:.1} KB per client, {} threads",
                    server.rss_bytes as f64 / 1e6,
                    server.rss_before_bytes as f64 / 1e6,
                    server.rss_max_bytes as f64 / 1e6,
                    server.rss_bytes_per_client / 1e3,
                    server.threads,
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

/// What `idle` reports.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Idle(pub(crate) Server);

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(server) = self;
        row(f, "CPU", format_args!("{:.3} s = {:.3} % of a core", server.cpu_s, server.cpu_percent))?;
        let (now, most) = (server.rss_bytes as f64 / 1e6, server.rss_max_bytes as f64 / 1e6);
        row(f, "memory", format_args!("{now:.2} MB resident ({most:.2} at most), {} threads", server.threads))
    }
}

/// One line of a table.
pub(crate) fn row(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:<18} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let spread = Spread::of((1..=100).rev().map(f64::from));
        assert_eq!(spread, Spread { n: 100, min: 1.0, p50: 50.0, p95: 95.0, max: 100.0 });
        assert_eq!(Spread::of([7.0]), Spread { n: 1, min: 7.0, p50: 7.0, p95: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn a_report_survives_json() {
        let report = Report { clients: 3, server: Some(Server::default()), ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!((back.clients, back.server.is_some()), (3, true));
        assert!(report.to_string().contains("0 of 3 playing"));
    }
}
