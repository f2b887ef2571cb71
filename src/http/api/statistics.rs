//! `/api/v1/statistics` (and `/api/statistics`): how the server and its paths do, now and over time.
//!
//! The body is made once a second, whoever asks. Its `ETag` changes with what is worth telling, as it is told to those who
//! follow: uptime and the like are no change. Who may see some paths alone gets those and their sums, made for this answer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use async_graphql::SimpleObject;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    front::Front,
    grant::{OnServer, Somewhere},
    graphql::scalars::{DateTime, Long, long_or_none, moment_or_none},
    problem::{Problem, ProblemBody},
    refusals::NeedsCredential,
};
use crate::{
    auth::{Reach, Stats},
    base::{Error, Kind, Result, WallTime},
    events::payload,
    hub::StreamState,
};

/// How the server and its paths do. The shape of `data` of a `statistics_update`.
#[derive(Debug, Deserialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Statistics {
    /// How long the server has been running.
    #[graphql(skip, derived(name = "uptime_s", into = "Long", owned))]
    uptime_s: u64,
    /// Memory in use.
    #[graphql(skip, derived(name = "memory_bytes", into = "Long", owned))]
    memory_bytes: u64,
    /// Processor time, in per cent of one core.
    cpu_percent: f64,
    /// What is free where the state is kept.
    #[graphql(skip, derived(name = "disk_free_bytes", into = "Option<Long>", owned, with = "long_or_none"))]
    disk_free_bytes: Option<u64>,
    /// Paths.
    #[graphql(skip, derived(name = "cameras", into = "Long", owned))]
    cameras: u64,
    /// Paths that show something.
    #[graphql(skip, derived(name = "cameras_active", into = "Long", owned))]
    cameras_active: u64,
    /// Who watches, on all protocols.
    #[graphql(skip, derived(name = "viewers", into = "Long", owned))]
    viewers: u64,
    /// Who watches, by protocol.
    viewers_by_protocol: std::collections::BTreeMap<String, u64>,
    /// What comes from all cameras.
    #[graphql(skip, derived(name = "received_bps", into = "Long", owned))]
    received_bps: u64,
    /// What goes to all viewers.
    #[graphql(skip, derived(name = "sent_bps", into = "Long", owned))]
    sent_bps: u64,
    /// Alerts that were raised today, by severity.
    alerts_today: std::collections::BTreeMap<String, u64>,
    /// Facts in the last minute.
    #[graphql(skip, derived(name = "events_per_minute", into = "Long", owned))]
    events_per_minute: u64,
    /// What a `people` event said last, else how many names were recognised.
    #[graphql(skip, derived(name = "total_people", into = "Long", owned))]
    total_people: u64,
    /// Faces recognised today.
    #[graphql(skip, derived(name = "recognitions_today", into = "Long", owned))]
    recognitions_today: u64,
    /// When the last one was.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "last_recognition", into = "Option<DateTime>", owned, with = "moment_or_none"))]
    last_recognition: Option<String>,
    /// By camera.
    paths: Vec<PathStatistics>,
}

/// How one camera does.
#[derive(Debug, Deserialize, ToSchema, SimpleObject)]
pub(in crate::http) struct PathStatistics {
    /// Its name.
    path: String,
    /// `idle`, `waiting`, `ready`, `stalled` or `lost`.
    state: String,
    /// Who watches it.
    #[graphql(skip, derived(name = "viewers", into = "Long", owned))]
    viewers: u64,
    /// What comes from it.
    #[graphql(skip, derived(name = "received_bps", into = "Long", owned))]
    received_bps: u64,
    /// What goes to its viewers.
    #[graphql(skip, derived(name = "sent_bps", into = "Long", owned))]
    sent_bps: u64,
    /// Packets of it that did not arrive.
    #[graphql(skip, derived(name = "packets_lost", into = "Long", owned))]
    packets_lost: u64,
    /// Connections to it beyond the first.
    #[graphql(skip, derived(name = "reconnects", into = "Long", owned))]
    reconnects: u64,
}

/// How some cameras do: those that the caller may see counters of, and nothing of the server beside them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatisticsOfPaths {
    /// Paths.
    cameras: u64,
    /// Paths that show something.
    cameras_active: u64,
    /// Who watches them.
    viewers: u64,
    /// What comes from them.
    received_bps: u64,
    /// What goes to their viewers.
    sent_bps: u64,
    /// By camera.
    #[schema(value_type = Vec<PathStatistics>)]
    paths: Vec<payload::PathStatistics>,
}

impl StatisticsOfPaths {
    /// Those that `reach` covers.
    fn of(whole: &payload::Statistics, reach: &Reach) -> Self {
        let seen = |one: &&payload::PathStatistics| one.path.parse().is_ok_and(|path| reach.covers(Some(&path)));
        let paths: Vec<_> = whole.paths.iter().filter(seen).cloned().collect();
        let sum = |of: fn(&payload::PathStatistics) -> u64| paths.iter().map(of).sum();
        Self {
            cameras: paths.len() as u64,
            cameras_active: paths.iter().filter(|path| path.state == StreamState::Ready.name()).count() as u64,
            viewers: sum(|path| path.viewers),
            received_bps: sum(|path| path.received_bps),
            sent_bps: sum(|path| path.sent_bps),
            paths,
        }
    }
}

/// Of the server as a whole; or, for those who may see counters of some cameras alone, of these.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of the answer, which is made ready for everybody or of a part")]
pub(super) enum StatisticsAnswer {
    Server(Statistics),
    Paths(StatisticsOfPaths),
}

/// How the server and its cameras do now; for a caller who may see counters of some cameras, these and their sums.
///
/// Asking every five seconds is enough; with `If-None-Match` it costs next to nothing.
#[utoipa::path(get, path = "/api/v1/statistics", tag = "statistics", operation_id = "statistics", responses(
    (status = 200, description = "As it is now.", body = StatisticsAnswer),
    (status = 304, description = "Nothing changed since the answer with this `ETag`."),
    NeedsCredential,
    (status = 503, description = "The server just started: ask again.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn show(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<Stats>,
    headers: HeaderMap,
) -> std::result::Result<Response, Problem> {
    let shown = front.rooms.statistics.newest();
    if shown.body.is_empty() {
        return Err(Error::new(Kind::Unavailable, "statistics: there are none yet").into());
    }
    // Weak: what rides along may differ (RFC 9110 §8.8.1). The start keeps versions of two runs apart.
    let (tag, body) = match grant.reach() {
        Reach::Server => (format!("W/\"{:x}-{}\"", front.rooms.info.started.unix_millis(), shown.version), shown.body),
        reach => {
            let part = StatisticsOfPaths::of(&shown.statistics, reach);
            let body = serde_json::to_vec(&part).unwrap_or_default();
            // A tag of what is told: it says nothing of the start, nor of what changes elsewhere.
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            (format!("W/\"{:x}\"", hasher.finish()), body.into())
        }
    };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let about = [
        (header::ETAG, HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=1")),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((about, json, body).into_response())
}

/// Which time.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Period {
    /// From when, RFC 3339; an hour ago if absent.
    #[param(example = "2026-11-20T10:00:00Z")]
    from: Option<String>,
    /// Until when, RFC 3339; now if absent.
    to: Option<String>,
    /// Seconds that a stretch has at least. Stretches of 10 s are kept for a day, of 5 min for a month, of 1 h for two
    /// years.
    #[param(minimum = 1, maximum = 3600)]
    step: Option<u32>,
}

/// How it was over time.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct StatisticsHistory {
    /// The length of a stretch.
    #[schema(example = 10)]
    step_s: u64,
    /// The stretches, the oldest first. One in which the server did not run is not there.
    items: Vec<Stretch>,
}

/// The means of one stretch.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Stretch {
    /// Its beginning.
    #[schema(format = DateTime)]
    time: String,
    /// Who watched.
    viewers: f64,
    /// Paths that showed something.
    cameras_active: f64,
    /// What came from cameras.
    received_bps: u64,
    /// What went to viewers.
    sent_bps: u64,
    /// In per cent of one core.
    cpu_percent: f64,
    /// Memory in use.
    memory_bytes: u64,
    /// Facts a minute.
    events_per_minute: f64,
}

/// How the server did over time.
#[utoipa::path(get, path = "/api/v1/statistics/history", tag = "statistics", operation_id = "statistics_history", params(Period), responses(
    (status = 200, description = "Means by stretches of time.", body = StatisticsHistory),
    (status = 400, description = "The query makes no sense.", body = ProblemBody, content_type = "application/problem+json"),
    NeedsCredential,
    (status = 503, description = "The disk does not answer.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn history(
    State(front): State<Arc<Front>>,
    _: OnServer<Stats>,
    period: std::result::Result<Query<Period>, axum::extract::rejection::QueryRejection>,
) -> std::result::Result<Response, Problem> {
    const HOUR_MS: i64 = 3_600_000;
    let Query(period) = period.map_err(|error| bad(format!("query: {}", error.body_text())))?;
    let now_ms = front.rooms.clock.wall().unix_millis();
    let moment = |name: &str, text: &Option<String>| -> Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        let time = text.parse::<WallTime>().map_err(|_| bad(format!("{name}: {text:?} is no RFC 3339 time")))?;
        Ok(Some(time.unix_millis()))
    };
    let to_ms = moment("to", &period.to)?.unwrap_or(now_ms);
    let from_ms = moment("from", &period.from)?.unwrap_or(to_ms - HOUR_MS);
    if from_ms >= to_ms {
        return Err(bad("from: it is not before `to`".into()).into());
    }
    if period.step.is_some_and(|step| !(1..=3600).contains(&step)) {
        return Err(bad("step: it is 1 to 3600 seconds".into()).into());
    }
    let step_ms = period.step.map(|seconds| i64::from(seconds) * 1000);
    let (step_ms, figures) = front.rooms.statistics.over_time(now_ms, from_ms, to_ms, step_ms).await?;
    let items = figures.iter().map(|means| Stretch {
        time: WallTime::from_unix_nanos(means.time_ms * 1_000_000).to_string(),
        viewers: rounded(means.viewers),
        cameras_active: rounded(means.cameras_active),
        received_bps: means.received_bps as u64,
        sent_bps: means.sent_bps as u64,
        cpu_percent: rounded(means.cpu_percent),
        memory_bytes: means.memory_bytes as u64,
        events_per_minute: rounded(means.events_per_minute),
    });
    let body = StatisticsHistory { step_s: step_ms.unsigned_abs() / 1000, items: items.collect() };
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=10"))], axum::Json(body)).into_response())
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn bad(message: String) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_query")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::*;

    fn keys(value: &serde_json::Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_document_tells_the_shape_that_is_sent() {
        for (told, sent) in [
            (Statistics::schema(), serde_json::to_value(payload::Statistics::default()).unwrap()),
            (PathStatistics::schema(), serde_json::to_value(payload::PathStatistics::default()).unwrap()),
            (StatisticsOfPaths::schema(), serde_json::to_value(part(&Reach::Server)).unwrap()),
        ] {
            let told = serde_json::to_value(told).unwrap();
            assert_eq!(keys(&told["properties"]), keys(&sent));
        }
    }

    fn part(reach: &Reach) -> StatisticsOfPaths {
        let path = |path: &str, state: &str, viewers| payload::PathStatistics {
            path: path.into(),
            state: state.into(),
            viewers,
            received_bps: 1000 * viewers,
            sent_bps: 10 * viewers,
            ..payload::PathStatistics::default()
        };
        let paths = vec![path("front", "ready", 1), path("site/a", "lost", 2), path("site/b", "ready", 4)];
        StatisticsOfPaths::of(&payload::Statistics { viewers: 7, paths, ..payload::Statistics::default() }, reach)
    }

    #[test]
    fn whoever_may_see_some_paths_gets_these_and_their_sums() {
        let site = r#"[{"action":"stats","path":"site/*"}]"#;
        let permissions = crate::auth::Permissions::new(&serde_json::from_str::<Vec<_>>(site).unwrap());
        let part = part(&Reach::Where(crate::auth::Action::Stats, Arc::new(permissions)));
        let names: Vec<_> = part.paths.iter().map(|path| path.path.as_str()).collect();
        assert_eq!(names, ["site/a", "site/b"]);
        let sums = (part.cameras, part.cameras_active, part.viewers, part.received_bps, part.sent_bps);
        assert_eq!(sums, (2, 1, 6, 6000, 60));
    }
}
