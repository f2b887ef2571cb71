//! `/metrics`: gathers what the rooms count, for the text that [`crate::stats::metrics`] writes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::{front::Front, grant::OnServer, refusals::NeedsCredential};
use crate::{
    auth::{Grant, Stats},
    base::{Monotonic, tasks::panics},
    events::LogFigures,
    hub::{PathHandle, Stream},
    notify::{ChannelKind, NotifySnapshot},
    stats::{ChannelMetrics, LogMetrics, MetricsSnapshot, StreamMetrics, metrics::CONTENT_TYPE},
    webrtc::WebRtc,
};

/// The metrics, in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics", responses(
    (status = 200, description = "OpenMetrics 1.0", body = String, content_type = "application/openmetrics-text"),
    NeedsCredential,
))]
pub(super) async fn show(State(front): State<Arc<Front>>, _: OnServer<Stats>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, snapshot(&front).text()).into_response()
}

fn snapshot(front: &Front) -> MetricsSnapshot {
    let rooms = &front.rooms;
    let now = rooms.clock.now();
    let paths = rooms.hub.names().into_iter().filter_map(|name| rooms.hub.path(&Grant::house("metrics", name)).ok());
    let streams =
        paths.flat_map(|path| path.streams().map(|stream| stream_metrics(&path, stream, now)).collect::<Vec<_>>());
    MetricsSnapshot {
        version: env!("CARGO_PKG_VERSION"),
        start_seconds: rooms.info.started.unix_millis() as f64 / 1000.0,
        process: (rooms.process)(),
        panics: panics(),
        streams: streams.collect(),
        traffic: rooms.sessions.traffic(),
        sessions_opened: rooms.sessions.opened(),
        sessions_refused: rooms.sessions.refused(),
        webrtc_dropped: rooms.webrtc.as_ref().map(WebRtc::dropped).unwrap_or_default(),
        webrtc_relay: rooms.webrtc.as_ref().map(WebRtc::relay_delays),
        webrtc_reused: WebRtc::numbers_reused(),
        log: log_metrics(rooms.events.figures()),
        event_doors: rooms.event_doors.all(),
        channels: channels(&rooms.notifier.snapshot()),
        connections: front.requests.connections(),
        requests: front.requests.all(),
        refusals: front.requests.refusals().to_vec(),
        connections_refused: rooms.connections.refused(),
        decisions: rooms.gate.outside_figures(),
    }
}

fn log_metrics(figures: LogFigures) -> LogMetrics {
    let LogFigures { released, not_durable, unsaved, refused } = figures;
    LogMetrics { facts: released, not_durable, unsaved, refused }
}

/// By kind: a name is anybody's choice.
fn channels(snapshot: &NotifySnapshot) -> Vec<ChannelMetrics> {
    let of_kind = |kind: ChannelKind| {
        let mut sums = ChannelMetrics { kind: kind.name(), ..ChannelMetrics::default() };
        for channel in snapshot.channels.iter().filter(|channel| channel.kind == kind) {
            sums.channels += 1;
            sums.queued += channel.figures.queued as u64;
            sums.delivered += channel.figures.delivered;
            sums.failed += channel.figures.failed;
            sums.given_up += channel.figures.given_up;
        }
        sums
    };
    ChannelKind::ALL.map(of_kind).into_iter().filter(|sums| sums.channels > 0).collect()
}

fn stream_metrics(path: &PathHandle, stream: &Stream, now: Monotonic) -> StreamMetrics {
    let counters = stream.counters();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let newest = stream.tracks().leading().map(|track| track.id).and_then(|id| stream.figures(id).newest);
    StreamMetrics {
        path: path.name().clone(),
        rendition: stream.rendition(),
        state: stream.snapshot().state.name(),
        bytes_received: count(&counters.bytes_received),
        packets_lost: count(&counters.packets_lost),
        packets_bad: count(&counters.packets_bad),
        reconnects: count(&counters.reconnects),
        jumps: count(&counters.jumps),
        held_bytes: stream.holding().1 as u64,
        age_seconds: newest.map(|newest| now.since(newest).as_secs_f64()),
    }
}
