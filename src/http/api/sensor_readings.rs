//! `POST /api/v1/sensors/{id}/readings`: readings in our own form, as plain values, as InfluxDB's line protocol.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        body,
        front::Front,
        grant::{Named, OnServer},
        problem::{Problem, ProblemBody},
        refusals::{BodyTooLarge, NeedsCredential},
    },
    momentary,
    sensors::sensor_id,
};
use crate::{
    auth::Publish,
    base::{Error, Kind},
    sensors::formats::{json, line_protocol},
};

/// The largest body of readings.
const BODY_MAX: usize = 1 << 20;

/// What became of readings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadingsTaken)]
pub(super) struct Taken {
    /// Readings that were taken.
    accepted: usize,
    /// Readings of a time that was there before.
    duplicates: usize,
    /// Readings that were refused.
    refused: usize,
    /// Why, for the first ten of them.
    errors: Vec<Refusal>,
}

/// A reading that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadingRefused)]
pub(super) struct Refusal {
    /// Its place in the message, from zero.
    index: usize,
    /// Why.
    #[schema(example = "expected a number, found `warm`")]
    message: String,
}

/// Takes readings of a sensor.
///
/// A value, a reading `{"value", "time", "unit", "kind", "name"}`, a list of either, or `{"readings": [...]}`; with
/// `text/plain` a bare value; with `application/vnd.influx.lineprotocol` lines of InfluxDB. A sensor that is not known
/// is made. Of a batch the good ones are taken and the others told.
#[utoipa::path(post, path = "/api/v1/sensors/{id}/readings", tag = "sensors", operation_id = "take_readings",
    params(
        ("id" = String, Path, description = "The sensor's id.", pattern = "^[A-Za-z0-9_.:-]{1,100}$"),
        ("precision" = Option<String>, Query, description = "What timestamps of line protocol count: `ns`, `us`, `ms` or `s`."),
    ),
    request_body(content = serde_json::Value, description = "The readings."),
    responses(
        (status = 200, description = "What became of them.", body = Taken),
        (status = 400, description = "It is no reading, or none of the batch could be taken.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        (status = 408, description = "The body did not come to its end in time.", body = ProblemBody, content_type = "application/problem+json"),
        BodyTooLarge,
        (status = 415, description = "The body is of another type.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn take(
    State(front): State<Arc<Front>>,
    _: OnServer<Publish>,
    Named(id): Named,
    request: Request,
) -> Result<Response, Problem> {
    let room = &front.rooms.sensors;
    let id = sensor_id(&id)?;
    let (parts, body) = request.into_parts();
    let form = form(&parts.headers)?;
    let precision = precision(parts.uri.query())?;
    let body = body::whole(&parts.headers, body, BODY_MAX).await?;
    let entries = match form {
        Form::Json => json::read(id.as_str(), &body),
        Form::Text => json::read_any(id.as_str(), &body),
        Form::Lines => line_protocol::read(id.as_str(), precision, &body),
    };
    let entries = entries.map_err(|error| {
        room.fault(&id, &error);
        invalid(error.to_string())
    })?;
    let outcome = room.take(entries);
    if let (0, 0, [(_, first), ..]) = (outcome.accepted, outcome.duplicates, outcome.errors.as_slice()) {
        return Err(invalid(first.clone()));
    }
    let errors = outcome.errors.into_iter().map(|(index, message)| Refusal { index, message }).collect();
    let (accepted, duplicates, refused) = (outcome.accepted, outcome.duplicates, outcome.refused);
    Ok(momentary(&Taken { accepted, duplicates, refused, errors }))
}

fn invalid(message: String) -> Problem {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_reading").into()
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Text,
    Lines,
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    match said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        // What `curl -d` says if nobody says otherwise.
        "application/json" | "application/x-www-form-urlencoded" => Ok(Form::Json),
        "text/plain" => Ok(Form::Text),
        "application/vnd.influx.lineprotocol"
        | "application/vnd.influxdb.lineprotocol"
        | "text/vnd.influx.lineprotocol" => Ok(Form::Lines),
        _ => {
            let message = "readings are application/json, text/plain or application/vnd.influx.lineprotocol";
            Err(Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
        }
    }
}

fn precision(query: Option<&str>) -> Result<line_protocol::Precision, Problem> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match pairs.find(|(key, _)| key == "precision") {
        None => Ok(line_protocol::Precision::default()),
        Some((_, word)) => line_protocol::Precision::parse(&word)
            .ok_or_else(|| invalid("precision is one of `ns`, `us`, `ms`, `s`".to_owned())),
    }
}
