//! `/api/v1/sensors/{id}/history`: what a sensor read over time, as JSON or as a table (RFC 4180).

use std::{fmt::Write as _, sync::Arc, time::Duration};

use async_graphql::{Enum, SimpleObject};
use axum::{
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        front::Front,
        grant::{Named, Somewhere},
        graphql::scalars::{DateTime, Long, long},
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, NeedsCredential},
    },
    sensors::{find, json_body, matches, max_age, tag, unchanged},
};
use crate::{
    auth::Sensors as SeeSensors,
    base::{Error, Kind, WallTime},
    sensors::{self, SensorSnapshot, time::Stated},
    store::Bucket,
};

/// Stretches of one answer.
const POINTS: usize = 11_000;

/// What a sensor read over time.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "SensorHistory")]
pub(in crate::http) struct History {
    /// The sensor.
    sensor: String,
    /// The unit of its numbers; yes is 1 and no is 0.
    unit: Option<String>,
    /// From when.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "from", into = "DateTime", owned))]
    from: String,
    /// Until when.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "to", into = "DateTime", owned))]
    to: String,
    /// How long a stretch is: what was asked for, or more.
    #[graphql(skip, derived(name = "step_ms", into = "Long", owned, with = "long"))]
    step_ms: i64,
    /// The stretches that have readings. A gap is a stretch that is missing.
    points: Vec<Point>,
}

/// A stretch of time.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[graphql(name = "SensorPoint")]
pub(in crate::http) struct Point {
    /// When it begins.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "time", into = "DateTime", owned))]
    time: String,
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    /// The mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    avg: Option<f64>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// How many readings.
    #[graphql(skip, derived(name = "count", into = "Long", owned))]
    count: u64,
}

/// Which stretch of a history.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is there for the description of the API")]
pub(super) struct HistoryOf {
    /// From when: RFC 3339, or seconds since 1970; a day before `to` if left out.
    from: Option<String>,
    /// Until when; now if left out.
    to: Option<String>,
    /// How long a stretch is at least, in seconds; such that some 500 come if left out.
    step: Option<f64>,
    /// Which of `min`, `avg`, `max`; all if left out.
    agg: Option<String>,
    /// `json` or `csv`.
    format: Option<String>,
}

/// What a sensor read over time.
///
/// Single readings are kept for 7 days, sums by 10 seconds as long, by 5 minutes for 90 days, by an hour for 5 years.
#[utoipa::path(get, path = "/api/v1/sensors/{id}/history", tag = "sensors", operation_id = "sensor_history",
    params(("id" = String, Path, description = "The sensor's id.", pattern = "^[A-Za-z0-9_.:-]{1,100}$"), HistoryOf),
    responses(
        (status = 200, description = "Its readings, summed up; `text/csv` with `format=csv`.", body = History),
        (status = 304, description = "They are as `If-None-Match` knows them."),
        BadRequest,
        NeedsCredential,
        (status = 404, description = "There is no such sensor.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<SeeSensors>,
    Named(id): Named,
    request: Request,
) -> Result<Response, Problem> {
    let (room, sensor) = find(&front, &grant, &id)?;
    let asked = Asked::read(request.uri().query().unwrap_or_default(), front.rooms.clock.wall())?;
    let history = asked.look_up(room, &sensor).await?;
    let age = max_age(sensor.expected_interval);
    let (kind, body) = if asked.csv {
        let unit = sensor.unit.as_ref().map(ToString::to_string).unwrap_or_default();
        (HeaderValue::from_static("text/csv; charset=utf-8"), csv(history.points, &unit))
    } else {
        (HeaderValue::from_static("application/json"), Bytes::from(serde_json::to_vec(&history).unwrap_or_default()))
    };
    let etag = tag(digest(&body));
    if matches(request.headers(), &etag) {
        return Ok(unchanged(etag, age));
    }
    let mut response = json_body(etag, age, body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if asked.csv
        && let Ok(name) =
            HeaderValue::try_from(format!("attachment; filename=\"{}.csv\"", sensor.id.as_str().replace(':', "_")))
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Which of the sums are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "Aggregate")]
pub(in crate::http) enum Shown {
    /// All of them.
    All,
    /// The least.
    Min,
    /// The mean.
    Avg,
    /// The greatest.
    Max,
}

/// What is asked of a history.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct Asked {
    from: WallTime,
    to: WallTime,
    step: Duration,
    shown: Shown,
    csv: bool,
}

impl Asked {
    fn read(query: &str, now: WallTime) -> Result<Self, Error> {
        let time = |text: &str| match Stated::of_text(text) {
            Some(Stated::Utc(time)) => Ok(time),
            _ => Err(refuse("a time is RFC 3339 with its zone, or seconds since 1970")),
        };
        let (mut from, mut to, mut step, mut shown, mut csv) = (None, None, None, Shown::All, false);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (key.as_ref(), value.as_ref()) {
                // A `+` of a zone that was not escaped is a blank by now.
                ("from", value) => from = Some(time(&value.replace(' ', "+"))?),
                ("to", value) => to = Some(time(&value.replace(' ', "+"))?),
                ("step", value) => {
                    step = Some(value.parse().map_err(|_| refuse("step is a number of seconds"))?);
                }
                ("agg", "min") => shown = Shown::Min,
                ("agg", "avg") => shown = Shown::Avg,
                ("agg", "max") => shown = Shown::Max,
                ("agg", _) => return Err(refuse("agg is one of `min`, `avg`, `max`")),
                ("format", "csv") => csv = true,
                ("format", "json") => csv = false,
                ("format", _) => return Err(refuse("format is `json` or `csv`")),
                _ => {}
            }
        }
        Ok(Self { csv, ..Self::of(from, to, step, shown, now)? })
    }

    /// The question in numbers; `step` in seconds.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: it makes no sense, or asks for too much.
    pub(in crate::http) fn of(
        from: Option<WallTime>,
        to: Option<WallTime>,
        step: Option<f64>,
        shown: Shown,
        now: WallTime,
    ) -> Result<Self, Error> {
        const DAY: i64 = 86_400_000_000_000;
        if step.is_some_and(|seconds| !(0.001..=1e8).contains(&seconds)) {
            return Err(refuse("step is 0.001 to 100000000 seconds"));
        }
        let to = to.unwrap_or(now);
        let from = from.unwrap_or_else(|| to.plus_nanos(-DAY));
        let span = Duration::from_nanos(u64::try_from(to.nanos_since(from)).unwrap_or(0));
        if span.is_zero() {
            return Err(refuse("from is before to"));
        }
        let step = step.map_or_else(|| span / 500, Duration::from_secs_f64).max(Duration::from_millis(1));
        if span.as_nanos() / step.as_nanos().max(1) > POINTS as u128 {
            return Err(refuse("that are more than 11000 stretches: ask for a longer step, or for less time"));
        }
        Ok(Self { from, to, step, shown, csv: false })
    }

    /// What the sensor read in that time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::http) async fn look_up(
        &self,
        room: &sensors::Sensors,
        sensor: &SensorSnapshot,
    ) -> Result<History, Error> {
        let series = room.history(&sensor.id, (self.from, self.to), self.step, POINTS).await?;
        Ok(History {
            sensor: sensor.id.to_string(),
            unit: sensor.unit.as_ref().map(ToString::to_string),
            from: self.from.to_string(),
            to: self.to.to_string(),
            step_ms: series.step_ms,
            points: series.buckets.iter().map(|bucket| point(bucket, self.shown)).collect(),
        })
    }
}

fn refuse(message: &str) -> Error {
    Error::new(Kind::InvalidArgument, message.to_owned()).with_code("invalid_history")
}

fn point(bucket: &Bucket, shown: Shown) -> Point {
    let is = |which| shown == Shown::All || shown == which;
    Point {
        time: WallTime::from_unix_nanos(bucket.start_ms.saturating_mul(1_000_000)).to_string(),
        min: is(Shown::Min).then_some(bucket.min),
        // Nine places are more than any sensor has.
        avg: is(Shown::Avg).then(|| (bucket.sum / bucket.count.max(1) as f64 * 1e9).round() / 1e9),
        max: is(Shown::Max).then_some(bucket.max),
        count: bucket.count,
    }
}

/// RFC 4180.
fn csv(points: Vec<Point>, unit: &str) -> Bytes {
    let mut text = String::from("time,min,avg,max,count,unit\r\n");
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    for point in points {
        let Point { time, min, avg, max, count } = point;
        // Writing to a string does not fail; units hold neither commas nor quotes.
        let _ = write!(text, "{time},{},{},{},{count},{unit}\r\n", number(min), number(avg), number(max));
    }
    Bytes::from(text)
}

/// FNV-1a over eight bytes at a time: it tells two answers apart, and need not do more.
fn digest(body: &[u8]) -> u64 {
    body.chunks(8).fold(0xcbf2_9ce4_8422_2325 ^ body.len() as u64, |hash, chunk| {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
    })
}
