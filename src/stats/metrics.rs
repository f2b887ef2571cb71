//! The text of the metrics: OpenMetrics 1.0 from a snapshot of plain values, made at each scrape.
//!
//! Names begin with `campanile_` and are in base units. Labels are bounded: paths, renditions, protocols, doors and
//! classes of statuses; never an address, a token or a URL. What goes, a path for one, goes from the text.

use std::{
    collections::BTreeMap,
    fmt::{self, Error},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    EventDoorFigures, Protocol, delays::DelaysSnapshot, process::ProcessFigures, requests::HttpDoor, sessions::Traffic,
};
use crate::base::{PathName, Rendition};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What one rendition of a path is doing.
#[derive(Clone, Debug)]
pub struct StreamMetrics {
    /// The path.
    pub path: PathName,
    /// Which of its renditions.
    pub rendition: Rendition,
    /// The word of its state.
    pub state: &'static str,
    /// Bytes received.
    pub bytes_received: u64,
    /// RTP packets that did not arrive.
    pub packets_lost: u64,
    /// Packets or units that could not be taken apart.
    pub packets_bad: u64,
    /// Connections made beyond the first.
    pub reconnects: u64,
    /// Clock steps and timestamp jumps.
    pub jumps: u64,
    /// What the ring costs in memory.
    pub held_bytes: u64,
    /// Since the newest unit arrived.
    pub age_seconds: Option<f64>,
}

impl StreamMetrics {
    fn labels(&self) -> Labels<'_> {
        vec![("path", self.path.as_str()), ("rendition", self.rendition.name())]
    }
}

/// What the log of facts did.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogMetrics {
    /// Facts given out.
    pub facts: u64,
    /// Those that were given out before they were on the disk.
    pub not_durable: u64,
    /// Those that will never be on the disk.
    pub unsaved: u64,
    /// Facts that were refused because too many waited.
    pub refused: u64,
}

/// What the ways out of one kind did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelMetrics {
    /// The kind.
    pub kind: &'static str,
    /// How many there are.
    pub channels: u64,
    /// Letters that are not delivered yet.
    pub queued: u64,
    /// Letters delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Letters given up.
    pub given_up: u64,
}

/// Everything the metrics say.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// The version of the program.
    pub version: &'static str,
    /// When it started, in seconds since 1970.
    pub start_seconds: f64,
    /// What it takes of the machine, where that is known.
    pub process: Option<ProcessFigures>,
    /// Tasks that ended in a panic.
    pub panics: u64,
    /// The renditions of all paths.
    pub streams: Vec<StreamMetrics>,
    /// What viewers did, by path, rendition and protocol.
    pub traffic: BTreeMap<(PathName, Rendition, Protocol), Traffic>,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions refused, by the limit that did.
    pub sessions_refused: Vec<(&'static str, u64)>,
    /// Datagrams of WebRTC viewers that were dropped, by reason.
    pub webrtc_dropped: Vec<(&'static str, u64)>,
    /// From a picture's arrival to its last packet to the last of a send thread's WebRTC viewers.
    pub webrtc_relay: Option<DelaysSnapshot>,
    /// Numbers of packets that were sealed twice.
    pub webrtc_reused: u64,
    /// What the log of facts did.
    pub log: LogMetrics,
    /// The doors of events, by name.
    pub event_doors: Vec<(&'static str, EventDoorFigures)>,
    /// The ways out, by kind.
    pub channels: Vec<ChannelMetrics>,
    /// HTTP connections open and accepted.
    pub connections: (u64, u64),
    /// HTTP requests answered, by door and class of status.
    pub requests: Vec<(HttpDoor, &'static str, u64)>,
    /// HTTP requests that a limit refused, by the code of the answer.
    pub refusals: Vec<(&'static str, u64)>,
    /// Connections beyond those of one address.
    pub connections_refused: u64,
    /// What came of questions to the server that decides about callers; nothing where there is none.
    pub decisions: Vec<(&'static str, u64)>,
}

impl MetricsSnapshot {
    /// The text.
    pub fn text(self) -> String {
        let mut registry = Registry::with_prefix("campanile");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

/// The words of the states, in the order of a path's life.
const STATES: [&str; 5] = ["idle", "waiting", "ready", "stalled", "lost"];

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Writes one metric after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counters<'l, V: EncodeCounterValue>(
        &mut self,
        (name, help, unit): (&str, &str, Option<Unit>),
        rows: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            } else {
                metric.encode_family(&labels.as_slice())?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauges<'l, V: EncodeGaugeValue>(
        &mut self,
        (name, help, unit): (&str, &str, Option<Unit>),
        rows: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels.as_slice())?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

impl Families<'_> {
    fn histogram(&mut self, (name, help, unit): (&str, &str, Option<Unit>), delays: &DelaysSnapshot) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
        let count = delays.buckets.iter().map(|(_, count)| count).sum();
        metric.encode_histogram::<NoLabelSet>(delays.sum_seconds, count, &delays.buckets, None)
    }
}

const fn one<V>(value: V) -> [(Labels<'static>, V); 1] {
    [(Vec::new(), value)]
}

impl Collector for MetricsSnapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut families = Families(encoder);
        self.program(&mut families)?;
        self.paths(&mut families)?;
        self.viewers(&mut families)?;
        self.events(&mut families)?;
        self.channels(&mut families)?;
        self.http(&mut families)
    }
}

impl MetricsSnapshot {
    fn program(&self, families: &mut Families<'_>) -> fmt::Result {
        let mut build = families.0.encode_descriptor("build", "The program", None, MetricType::Info)?;
        build.encode_info(&[("version", self.version)].as_slice())?;
        families.gauges(("start_time", "When the program started", Some(Unit::Seconds)), one(self.start_seconds))?;
        families.counters(
            ("task_panics", "Tasks that ended in a panic; each is a fault of campanile", None),
            one(self.panics),
        )?;
        let Some(process) = &self.process else { return Ok(()) };
        let cpu = ("process_cpu", "Processor time used", Some(Unit::Seconds));
        families.counters(cpu, one(process.cpu_seconds))?;
        let resident = ("process_resident_memory", "Memory in use", Some(Unit::Bytes));
        families.gauges(resident, one(process.resident_bytes))?;
        families.gauges(("process_threads", "Threads", None), one(process.threads))?;
        families.gauges(("process_open_fds", "File descriptors open", None), one(process.open_fds))?;
        let allowed = process.max_fds.map(|max| (Vec::new(), max));
        families.gauges(("process_max_fds", "File descriptors allowed", None), allowed)
    }

    fn paths(&self, families: &mut Families<'_>) -> fmt::Result {
        let labels = StreamMetrics::labels;
        let rows = self.streams.iter().flat_map(|stream| {
            STATES.map(|state| {
                let labels = [labels(stream), vec![("state", state)]].concat();
                (labels, u64::from(stream.state == state))
            })
        });
        families.gauges(("path_state", "1 for the state a path is in, 0 for the others", None), rows)?;
        let mut count = |name, help, unit, value: fn(&StreamMetrics) -> u64| {
            families.counters((name, help, unit), self.streams.iter().map(|stream| (labels(stream), value(stream))))
        };
        count("path_received", "Bytes received from the source", Some(Unit::Bytes), |stream| stream.bytes_received)?;
        count("path_packets_lost", "Packets of the source that did not arrive", None, |stream| stream.packets_lost)?;
        count("path_packets_bad", "Packets or units that could not be taken apart", None, |stream| stream.packets_bad)?;
        count("path_reconnects", "Connections to the source beyond the first", None, |stream| stream.reconnects)?;
        count("path_timestamp_jumps", "Clock steps and timestamp jumps of the source", None, |stream| stream.jumps)?;
        let held = self.streams.iter().map(|stream| (labels(stream), stream.held_bytes));
        families.gauges(("path_held", "What a path's history costs in memory", Some(Unit::Bytes)), held)?;
        let ages = self.streams.iter().filter_map(|stream| Some((labels(stream), stream.age_seconds?)));
        families.gauges(("path_last_unit_age", "Since the newest unit arrived", Some(Unit::Seconds)), ages)
    }

    fn viewers(&self, families: &mut Families<'_>) -> fmt::Result {
        let rows = |value: fn(&Traffic) -> u64| {
            self.traffic.iter().map(move |((path, rendition, protocol), traffic)| {
                let labels =
                    vec![("path", path.as_str()), ("rendition", rendition.name()), ("protocol", protocol.name())];
                (labels, value(traffic))
            })
        };
        families.gauges(("path_readers", "Sessions that watch", None), rows(|traffic| traffic.open))?;
        let sent = ("path_sent", "Bytes sent to viewers", Some(Unit::Bytes));
        families.counters(sent, rows(|traffic| traffic.bytes_sent))?;
        let dropped = ("path_units_dropped", "Units that slow viewers missed", None);
        families.counters(dropped, rows(|traffic| traffic.units_dropped))?;
        let lost = ("path_sent_packets_lost", "Packets that viewers report as lost", None);
        families.counters(lost, rows(|traffic| traffic.packets_lost))?;
        let refused = ("path_sent_packets_refused", "Packets too large for the viewer's transport", None);
        families.counters(refused, rows(|traffic| traffic.packets_refused))?;
        families.counters(("sessions_opened", "Sessions opened", None), one(self.sessions_opened))?;
        let rows = self.sessions_refused.iter().map(|(reason, count)| (vec![("reason", *reason)], *count));
        families.counters(("sessions_refused", "Sessions refused, by the limit that did", None), rows)?;
        let rows = self.webrtc_dropped.iter().map(|(reason, count)| (vec![("reason", *reason)], *count));
        families
            .counters(("webrtc_datagrams_dropped", "Datagrams to the WebRTC listener that were dropped", None), rows)?;
        families.counters(
            ("webrtc_packet_numbers_reused", "Packet numbers used twice; each is a fault of campanile", None),
            one(self.webrtc_reused),
        )?;
        let Some(relay) = &self.webrtc_relay else { return Ok(()) };
        let help = "From a picture's arrival to its last packet to the last WebRTC viewer of a thread";
        families.histogram(("webrtc_relay", help, Some(Unit::Seconds)), relay)
    }

    fn events(&self, families: &mut Families<'_>) -> fmt::Result {
        let log = &self.log;
        families.counters(("events_facts", "Facts given out", None), one(log.facts))?;
        let early = ("events_facts_not_durable", "Facts given out before they were on the disk", None);
        families.counters(early, one(log.not_durable))?;
        let unsaved = ("events_facts_unsaved", "Facts given out that will never be on the disk", None);
        families.counters(unsaved, one(log.unsaved))?;
        let refused = ("events_facts_refused", "Facts refused because too many waited for the disk", None);
        families.counters(refused, one(log.refused))?;
        let rows = |value: fn(&EventDoorFigures) -> u64| {
            self.event_doors.iter().map(move |(door, figures)| (vec![("door", *door)], value(figures)))
        };
        families.gauges(("event_clients", "Clients that follow events", None), rows(|door| door.open))?;
        families.counters(("event_clients_opened", "Clients that came to follow", None), rows(|door| door.opened))?;
        families.counters(("events_delivered", "Events told to clients", None), rows(|door| door.delivered))?;
        let dropped = ("events_dropped", "Facts asked for that were no longer there", None);
        families.counters(dropped, rows(|door| door.dropped))?;
        let refused = self.event_doors.iter().flat_map(|(door, figures)| {
            figures.refused.iter().map(move |(reason, count)| (vec![("door", *door), ("reason", *reason)], *count))
        });
        families.counters(("event_clients_refused", "Clients sent away, by reason", None), refused)
    }

    fn channels(&self, families: &mut Families<'_>) -> fmt::Result {
        let rows = |value: fn(&ChannelMetrics) -> u64| {
            self.channels.iter().map(move |channel| (vec![("type", channel.kind)], value(channel)))
        };
        families.gauges(("notify_channels", "Ways out that are configured", None), rows(|kind| kind.channels))?;
        families.gauges(("notify_queued", "Letters that are not delivered yet", None), rows(|kind| kind.queued))?;
        families.counters(("notify_delivered", "Letters delivered", None), rows(|kind| kind.delivered))?;
        families.counters(("notify_failed", "Attempts to deliver that failed", None), rows(|kind| kind.failed))?;
        families.counters(("notify_given_up", "Letters given up", None), rows(|kind| kind.given_up))
    }

    fn http(&self, families: &mut Families<'_>) -> fmt::Result {
        families.gauges(("http_connections", "HTTP connections open", None), one(self.connections.0))?;
        families.counters(("http_connections_accepted", "HTTP connections accepted", None), one(self.connections.1))?;
        let rows =
            self.requests.iter().map(|(door, class, count)| (vec![("door", door.name()), ("class", *class)], *count));
        families.counters(("http_requests", "HTTP requests answered, by door and class of status", None), rows)?;
        let rows = self.refusals.iter().map(|(code, count)| (vec![("reason", *code)], *count));
        families.counters(("http_requests_refused", "HTTP requests that a limit refused", None), rows)?;
        let help = "Connections to the HTTP and RTSP listeners beyond those of one address";
        families.counters(("connections_refused", help, None), one(self.connections_refused))?;
        let rows = self.decisions.iter().map(|(outcome, count)| (vec![("outcome", *outcome)], *count));
        families.counters(("auth_http_decisions", "Questions about callers, by what came of them", None), rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn snapshot() -> MetricsSnapshot {
        let path: PathName = "site/gate".parse().unwrap();
        let traffic = Traffic {
            open: 2,
            bytes_sent: 300,
            packets_sent: 3,
            units_dropped: 4,
            packets_lost: 5,
            packets_refused: 6,
        };
        let relay = crate::stats::Delays::default();
        relay.count(std::time::Duration::from_micros(400));
        MetricsSnapshot {
            version: "0.1.0",
            start_seconds: 1_700_000_000.5,
            process: Some(ProcessFigures { cpu_seconds: 1.5, max_fds: Some(9), ..ProcessFigures::default() }),
            panics: 0,
            streams: vec![StreamMetrics {
                path: path.clone(),
                rendition: Rendition::Main,
                state: "ready",
                bytes_received: 1000,
                packets_lost: 1,
                packets_bad: 0,
                reconnects: 2,
                jumps: 0,
                held_bytes: 5000,
                age_seconds: Some(0.02),
            }],
            traffic: BTreeMap::from([((path, Rendition::Main, Protocol::Rtsp), traffic)]),
            sessions_opened: 7,
            sessions_refused: vec![("path", 1)],
            webrtc_dropped: vec![("unknown", 3)],
            webrtc_relay: Some(relay.snapshot()),
            webrtc_reused: 0,
            log: LogMetrics { facts: 8, ..LogMetrics::default() },
            event_doors: vec![(
                "websocket",
                EventDoorFigures { open: 4, delivered: 9, refused: vec![("limit", 2)], ..EventDoorFigures::default() },
            )],
            channels: vec![ChannelMetrics { kind: "webhook", channels: 1, delivered: 5, ..ChannelMetrics::default() }],
            connections: (3, 30),
            requests: vec![(HttpDoor::Api, "2xx", 12)],
            refusals: vec![("too_many_requests", 3)],
            connections_refused: 2,
            decisions: vec![("silent", 4)],
        }
    }

    #[test]
    fn the_text_says_what_the_snapshot_says() {
        let text = snapshot().text();
        for line in [
            "campanile_build_info{version=\"0.1.0\"} 1",
            "campanile_start_time_seconds 1700000000.5",
            "campanile_process_cpu_seconds_total 1.5",
            "campanile_path_state{path=\"site/gate\",rendition=\"main\",state=\"ready\"} 1",
            "campanile_path_state{path=\"site/gate\",rendition=\"main\",state=\"lost\"} 0",
            "campanile_path_received_bytes_total{path=\"site/gate\",rendition=\"main\"} 1000",
            "campanile_path_last_unit_age_seconds{path=\"site/gate\",rendition=\"main\"} 0.02",
            "campanile_path_readers{path=\"site/gate\",rendition=\"main\",protocol=\"rtsp\"} 2",
            "campanile_path_units_dropped_total{path=\"site/gate\",rendition=\"main\",protocol=\"rtsp\"} 4",
            "campanile_event_clients{door=\"websocket\"} 4",
            "campanile_notify_delivered_total{type=\"webhook\"} 5",
            "campanile_events_delivered_total{door=\"websocket\"} 9",
            "campanile_event_clients_refused_total{door=\"websocket\",reason=\"limit\"} 2",
            "campanile_http_requests_total{door=\"api\",class=\"2xx\"} 12",
            "campanile_sessions_refused_total{reason=\"path\"} 1",
            "campanile_http_requests_refused_total{reason=\"too_many_requests\"} 3",
            "campanile_connections_refused_total 2",
            "campanile_auth_http_decisions_total{outcome=\"silent\"} 4",
            "campanile_webrtc_relay_seconds_bucket{le=\"0.00025\"} 0",
            "campanile_webrtc_relay_seconds_bucket{le=\"0.0005\"} 1",
            "campanile_webrtc_relay_seconds_bucket{le=\"+Inf\"} 1",
            "campanile_webrtc_relay_seconds_count 1",
            "campanile_webrtc_packet_numbers_reused_total 0",
            "campanile_events_facts_total 8",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    /// OpenMetrics 1.0: a family is told once, before its samples, and its samples stand together; PM-01 of the names.
    #[test]
    fn the_text_keeps_the_rules_of_openmetrics() {
        let text = snapshot().text();
        let (mut seen, mut current, mut kind) = (BTreeSet::new(), String::new(), "");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, told) = told.split_once(' ').unwrap();
                assert!(seen.insert(name.to_owned()), "{name} is told twice");
                (current, kind) = (name.to_owned(), told);
            } else if !line.starts_with('#') {
                let end = line.find(['{', ' ']).unwrap();
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                let own = match kind {
                    "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{current}{suffix}")).to_vec(),
                    _ => vec![format!("{current}{suffix}")],
                };
                assert!(own.iter().any(|own| *own == line[..end]), "{line}");
                assert!(line.starts_with("campanile_"), "{line}");
                assert!(!["_ms", "_bps", "_kb", "_percent"].iter().any(|unit| line[..end].contains(unit)), "{line}");
            }
        }
        assert!(seen.len() > 20, "{seen:?}");
    }

    #[test]
    fn the_page_for_users_names_every_metric_and_no_other() {
        let text = snapshot().text();
        let written: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            })
            .collect();
        let page = include_str!("../../docs/protocols.md");
        let rows = page.lines().filter(|line| line.starts_with("| `campanile_"));
        let mut named = BTreeSet::new();
        for row in rows {
            let cell = row.split('|').nth(1).unwrap();
            let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            for name in &names {
                // `…_rest`: after the longest beginning of the first name that makes a metric of it.
                let whole = name.strip_prefix('…').and_then(|rest| {
                    let ends = names[0].match_indices('_').map(|(at, _)| at).rev();
                    ends.map(|end| format!("{}{rest}", &names[0][..end])).find(|whole| written.contains(whole))
                });
                named.insert(whole.unwrap_or_else(|| (*name).to_owned()));
            }
        }
        assert_eq!(named, written);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = MetricsSnapshot::default().text();
        assert!(!text.contains("process_cpu_seconds_total") && !text.contains("path=\""), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
