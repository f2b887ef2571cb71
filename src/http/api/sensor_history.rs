//! `/api/v1/sensors/{id}/history`: what a sensor read over time, as JSON or as a table (RFC 4180).

use std::{fmt::Write as _, sync::Arc, time::Duration};

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
        grant::{Named, OnServer},
        problem::{Problem, ProblemBody},
    },
    sensors::{find, json_body, matches, max_age, tag, unchanged},
};
use crate::{
    auth::Sensors as SeeSensors,
    base::{Error, Kind, WallTime},
    sensors::time::Stated,
    store::Bucket,
};

/// Stretches of one answer.
const POINTS: usize = 11_000;

/// What a sensor read over time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    /// The sensor.
    sensor: String,
    /// The unit of its numbers; yes is 1 and no is 0.
    unit: Option<String>,
    /// From when.
    #[schema(format = DateTime)]
    from: String,
    /// Until when.
    #[schema(format = DateTime)]
    to: String,
    /// How long a stretch is: what was asked for, or more.
    step_ms: i64,
    /// The stretches that have readings. A gap is a stretch that is missing.
    points: Vec<Point>,
}

/// A stretch of time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Point {
    /// When it begins.
    #[schema(format = DateTime)]
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
        (status = 400, description = "The request cannot work as it is.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "This needs a credential, or a caller on the server's own machine.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such sensor.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(
    State(front): State<Arc<Front>>,
    _: OnServer<SeeSensors>,
    Named(id): Named,
    request: Request,
) -> Result<Response, Problem> {
    let (room, sensor) = find(&front, &id)?;
    let asked = Asked::read(request.uri().query().unwrap_or_default(), front.rooms.clock.wall())?;
    let series = room.history(&sensor.id, (asked.from, asked.to), asked.step, POINTS).await?;
    let points = series.buckets.iter().map(|bucket| point(bucket, asked.shown));
    let age = max_age(sensor.expected_interval);
    let (kind, body) = if asked.csv {
        let unit = sensor.unit.as_ref().map(ToString::to_string).unwrap_or_default();
        (HeaderValue::from_static("text/csv; charset=utf-8"), csv(points, &unit))
    } else {
        let history = History {
            sensor: sensor.id.to_string(),
            unit: sensor.unit.as_ref().map(ToString::to_string),
            from: asked.from.to_string(),
            to: asked.to.to_string(),
            step_ms: series.step_ms,
            points: points.collect(),
        };
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    All,
    Min,
    Avg,
    Max,
}

/// What is asked of a history.
#[derive(Debug, PartialEq)]
struct Asked {
    from: WallTime,
    to: WallTime,
    step: Duration,
    shown: Shown,
    csv: bool,
}

impl Asked {
    fn read(query: &str, now: WallTime) -> Result<Self, Problem> {
        let refuse = |message: &str| -> Problem {
            Error::new(Kind::InvalidArgument, message.to_owned()).with_code("invalid_history").into()
        };
        let time = |text: &str| match Stated::of_text(text) {
            Some(Stated::Utc(time)) => Ok(time),
            _ => Err(refuse("a time is RFC 3339 with its zone, or seconds since 1970")),
        };
        let (mut from, mut to, mut step, mut shown, mut csv) = (None, now, None, Shown::All, false);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (key.as_ref(), value.as_ref()) {
                // A `+` of a zone that was not escaped is a blank by now.
                ("from", value) => from = Some(time(&value.replace(' ', "+"))?),
                ("to", value) => to = time(&value.replace(' ', "+"))?,
                ("step", value) => {
                    let seconds: f64 = value.parse().map_err(|_| refuse("step is a number of seconds"))?;
                    if !(0.001..=1e8).contains(&seconds) {
                        return Err(refuse("step is 0.001 to 100000000 seconds"));
                    }
                    step = Some(Duration::from_secs_f64(seconds));
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
        const DAY: i64 = 86_400_000_000_000;
        let from = from.unwrap_or_else(|| to.plus_nanos(-DAY));
        let span = Duration::from_nanos(u64::try_from(to.nanos_since(from)).unwrap_or(0));
        if span.is_zero() {
            return Err(refuse("from is before to"));
        }
        let step = step.unwrap_or_else(|| span / 500).max(Duration::from_millis(1));
        if span.as_nanos() / step.as_nanos().max(1) > POINTS as u128 {
            return Err(refuse("that are more than 11000 stretches: ask for a longer step, or for less time"));
        }
        Ok(Self { from, to, step, shown, csv })
    }
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
fn csv(points: impl Iterator<Item = Point>, unit: &str) -> Bytes {
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
