//! `/api/v1/sensors`: what sensors show. Pollers come often and mostly find nothing new: an answer is made once per
//! change, and costs those who have it already a comparison of tags.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_graphql::{Json, SimpleObject};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        front::Front,
        grant::{Named, OnServer, Somewhere},
        graphql::scalars::{DateTime, Long, json_or_none, long_or_none, moment_or_none},
        problem::Problem,
        refusals::{BadRequest, NeedsCredential, NoneThere},
    },
    info::millis,
    listing::{Listing, PageOf},
    momentary,
};
use crate::{
    auth::{Grant, Reach, Sensors as SeeSensors, Stats},
    base::{Error, Kind, SensorId},
    events::payload::ReadingValue,
    sensors::{self, BrokerSnapshot, SensorSnapshot, Snapshot},
};

/// Pages of the list that are kept ready.
const PAGES: usize = 16;

/// Something that could not be read.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct LastError {
    /// Why.
    message: String,
    /// When it came.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "at", into = "DateTime", owned))]
    at: String,
}

/// A sensor, and what it shows.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[graphql(complex)]
pub(in crate::http) struct Sensor {
    /// Its id, as it stands in every URL.
    #[schema(example = "cellar")]
    pub(in crate::http) id: String,
    /// The name people see.
    name: String,
    /// What it measures; `generic` if that is not known.
    #[schema(example = "temperature")]
    kind: String,
    /// The unit of its numbers.
    #[schema(example = "°C")]
    unit: Option<String>,
    /// The path it belongs to.
    path: Option<String>,
    /// What it shows: a number, yes or no, a word; nothing before the first reading.
    #[schema(value_type = Option<serde_json::Value>, example = 21.5)]
    #[graphql(skip, derived(name = "value", into = "Option<Json<ReadingValue>>", owned, with = "json_or_none"))]
    value: Option<ReadingValue>,
    /// When it was read.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "time", into = "Option<DateTime>", owned, with = "moment_or_none"))]
    time: Option<String>,
    /// When that came here.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "received_at", into = "Option<DateTime>", owned, with = "moment_or_none"))]
    received_at: Option<String>,
    /// The reading is older than three of its intervals, or the device said that it goes.
    stale: bool,
    /// What the device says of itself, where it does: whether it is there.
    available: Option<bool>,
    /// What is wrong with the reading's time: `time_in_future`, `time_too_old` (the server's clock took its place), or
    /// `retained` (a broker had kept it: it may be of any age).
    flags: Vec<&'static str>,
    /// What is wrong on the way to it, which is another thing than silence.
    source_error: Option<String>,
    /// The last payload that could not be read.
    last_error: Option<LastError>,
    /// Readings since the start.
    #[graphql(skip, derived(name = "readings", into = "Long", owned))]
    readings: u64,
    /// Readings that were there before.
    #[graphql(skip, derived(name = "duplicates", into = "Long", owned))]
    duplicates: u64,
    /// Payloads that could not be read.
    #[graphql(skip, derived(name = "bad_payloads", into = "Long", owned))]
    bad_payloads: u64,
    /// How often it reports.
    #[graphql(skip, derived(name = "expected_interval_ms", into = "Option<Long>", owned, with = "long_or_none"))]
    expected_interval_ms: Option<u64>,
    /// Where its readings come from: `http`, `pull`, `demo`, or `mqtt:` and the broker's name.
    source: Option<String>,
    /// It stands in the configuration.
    configured: bool,
}

/// A connection to an MQTT broker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Broker {
    /// Its name in the configuration.
    name: String,
    /// Where it is.
    #[schema(example = "mqtt://10.0.0.2")]
    url: String,
    /// `connecting`, `connected` or `lost`.
    #[schema(example = "connected")]
    state: &'static str,
    /// Since when.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// What is wrong.
    error: Option<String>,
    /// Connections since the start.
    connections: u64,
    /// Messages since the start.
    messages: u64,
    /// Messages that could not be read.
    bad_payloads: u64,
    /// The last one of them.
    last_error: Option<LastError>,
    /// Messages of ours that it did not take.
    messages_dropped: u64,
}

/// Answers that were made for one version of the sensors.
#[derive(Debug, Default)]
pub(in crate::http) struct ReadyPages {
    /// Held for a look or an insert, and while a page is made, so that it is made once.
    pages: Mutex<(u64, HashMap<PageOf, Bytes>)>,
}

/// Tags of this run of the server: versions begin anew with each.
static RUN: LazyLock<u64> = LazyLock::new(rand::random);

/// All sensors; for a caller who may see those of some cameras, these.
///
/// `Cache-Control` says how soon it is worth asking again, and with `If-None-Match` nothing comes twice.
#[utoipa::path(get, path = "/api/v1/sensors", tag = "sensors", operation_id = "list_sensors", params(PageOf), responses(
    (status = 200, description = "A page of sensors.", body = Listing<Sensor>),
    (status = 304, description = "They are as `If-None-Match` knows them."),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<SeeSensors>,
    page: PageOf,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let snapshot = front.rooms.sensors.snapshot();
    if !matches!(grant.reach(), Reach::Server) {
        // What is kept ready is for those who see everything.
        let (sensors, next) = page.cut(visible(&snapshot, &grant), |sensor| sensor.id.to_string());
        let items: Vec<Sensor> = sensors.into_iter().map(|sensor| describe(sensor)).collect();
        return Ok(momentary(&Listing { items, next }));
    }
    let intervals = snapshot.sensors.iter().filter_map(|sensor| sensor.expected_interval);
    let age = max_age(intervals.min());
    let etag = tag(snapshot.version);
    if matches(&headers, &etag) {
        return Ok(unchanged(etag, age));
    }
    Ok(json_body(etag, age, front.sensor_pages.page(&snapshot, page)))
}

/// The sensors that a grant holds for: of its paths, or of none where it is for the server.
pub(in crate::http) fn visible<'a>(snapshot: &'a Snapshot, grant: &Grant<SeeSensors>) -> Vec<&'a Arc<SensorSnapshot>> {
    snapshot.sensors.iter().filter(|sensor| grant.reach().covers(sensor.path.as_ref())).collect()
}

impl ReadyPages {
    fn page(&self, snapshot: &Snapshot, page: PageOf) -> Bytes {
        let mut ready = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.0 != snapshot.version {
            *ready = (snapshot.version, HashMap::new());
        }
        if let Some(made) = ready.1.get(&page) {
            return made.clone();
        }
        let (sensors, next) = page.cut(snapshot.sensors.iter().collect(), |sensor| sensor.id.to_string());
        let listing = Listing { items: sensors.into_iter().map(|sensor| describe(sensor)).collect(), next };
        let made = Bytes::from(serde_json::to_vec(&listing).unwrap_or_default());
        if ready.1.len() < PAGES {
            ready.1.insert(page, made.clone());
        }
        made
    }
}

/// One sensor.
#[utoipa::path(get, path = "/api/v1/sensors/{id}", tag = "sensors", operation_id = "show_sensor",
    params(("id" = String, Path, description = "The sensor's id.", pattern = "^[A-Za-z0-9_.:-]{1,100}$")),
    responses(
        (status = 200, description = "The sensor.", body = Sensor),
        (status = 304, description = "It is as `If-None-Match` knows it."),
        BadRequest,
        NeedsCredential,
        NoneThere,
    )
)]
pub(super) async fn show(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<SeeSensors>,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, sensor) = find(&front, &grant, &id)?;
    let (etag, age) = (tag(sensor.version), max_age(sensor.expected_interval));
    if matches(&headers, &etag) {
        return Ok(unchanged(etag, age));
    }
    Ok(json_body(etag, age, Bytes::from(serde_json::to_vec(&describe(&sensor)).unwrap_or_default())))
}

/// The connections to MQTT brokers.
#[utoipa::path(get, path = "/api/v1/mqtt", tag = "sensors", operation_id = "list_brokers", params(PageOf), responses(
    (status = 200, description = "The brokers of the configuration.", body = Listing<Broker>),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn brokers(
    State(front): State<Arc<Front>>,
    _: OnServer<Stats>,
    page: PageOf,
) -> Result<Response, Problem> {
    let (brokers, next) = page.cut(front.rooms.sensors.brokers(), |broker| broker.name.clone());
    Ok(momentary(&Listing { items: brokers.iter().map(describe_broker).collect(), next }))
}

pub(super) fn sensor_id(text: &str) -> Result<SensorId, Error> {
    let refused = |error| Error::new(Kind::InvalidArgument, format!("{error}")).with_code("invalid_sensor_id");
    text.parse::<SensorId>().map_err(refused)
}

/// The sensor of an id, and the room it stands in.
///
/// # Errors
/// It is no id, or there is no such sensor that the grant holds for.
pub(in crate::http) fn find<'a>(
    front: &'a Front,
    grant: &Grant<SeeSensors>,
    id: &str,
) -> Result<(&'a sensors::Sensors, Arc<SensorSnapshot>), Error> {
    let (room, id) = (&front.rooms.sensors, sensor_id(id)?);
    let found = room.snapshot().sensor(&id).filter(|sensor| grant.reach().covers(sensor.path.as_ref())).cloned();
    let none = || Error::new(Kind::NotFound, "there is no sensor of this id").with_code("sensor_not_found");
    Ok((room, found.ok_or_else(none)?))
}

/// Half the interval in which something new is to be expected, between no second and half a minute.
pub(super) fn max_age(interval: Option<Duration>) -> HeaderValue {
    let seconds = interval.map_or(2, |interval| interval.as_secs() / 2).min(30);
    HeaderValue::try_from(format!("private, max-age={seconds}")).unwrap_or(HeaderValue::from_static("no-cache"))
}

pub(super) fn tag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{:x}-{version:x}\"", *RUN)).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// RFC 9110 §13.1.2: weakly, and any of a list.
pub(super) fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Some(given) = headers.get(header::IF_NONE_MATCH).and_then(|given| given.to_str().ok()) else { return false };
    given
        .split(',')
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one.as_bytes() == etag.as_bytes())
}

pub(super) fn unchanged(etag: HeaderValue, age: HeaderValue) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, age)]).into_response()
}

pub(super) fn json_body(etag: HeaderValue, age: HeaderValue, body: Bytes) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind), (header::ETAG, etag), (header::CACHE_CONTROL, age)], body).into_response()
}

/// A sensor as it is now.
pub(in crate::http) fn describe(sensor: &SensorSnapshot) -> Sensor {
    let reading = sensor.reading.as_ref();
    let retained = reading.is_some_and(|reading| reading.retained).then_some("retained");
    let flaw = reading.and_then(|reading| reading.flaw).map(|flaw| flaw.name());
    Sensor {
        id: sensor.id.to_string(),
        name: sensor.name.clone(),
        kind: sensor.kind.as_ref().map_or_else(|| "generic".to_owned(), ToString::to_string),
        unit: sensor.unit.as_ref().map(ToString::to_string),
        path: sensor.path.as_ref().map(ToString::to_string),
        value: reading.map(|reading| reading.value.clone()),
        time: reading.map(|reading| reading.time.to_string()),
        received_at: reading.map(|reading| reading.received.to_string()),
        stale: sensor.stale,
        available: sensor.available,
        flags: flaw.into_iter().chain(retained).collect(),
        source_error: sensor.source_error.clone(),
        last_error: sensor.last_error.as_ref().map(describe_fault),
        readings: sensor.counts.readings,
        duplicates: sensor.counts.duplicates,
        bad_payloads: sensor.counts.bad,
        expected_interval_ms: sensor.expected_interval.map(millis),
        source: sensor.origin.as_deref().map(str::to_owned),
        configured: sensor.configured,
    }
}

fn describe_fault(fault: &sensors::sensor::Fault) -> LastError {
    LastError { message: fault.message.clone(), at: fault.at.to_string() }
}

fn describe_broker(broker: &BrokerSnapshot) -> Broker {
    Broker {
        name: broker.name.clone(),
        url: broker.url.clone(),
        state: broker.link.name(),
        since: broker.since.map(|since| since.to_string()),
        error: broker.error.clone(),
        connections: broker.connections,
        messages: broker.messages,
        bad_payloads: broker.bad,
        last_error: broker.last_error.as_ref().map(describe_fault),
        messages_dropped: broker.dropped,
    }
}
