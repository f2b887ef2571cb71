//! `/api/v1/silences`: who does not want to hear of what.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::{Named, OnServer},
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, NeedsCredential, NoneThere, TooMuchAtOnce},
    },
    alerts::tagged,
    listing::{Listing, PageOf},
    sent::{Sent, invalid, moment, name_of, note, read},
};
use crate::{
    auth::{Ack, Alerts},
    base::{Severity, WallTime},
    config::rules::WeeklyWindow,
    events::{
        alarms::{Matcher, Silence},
        alerts::SilenceOptions,
    },
};

/// Alerts that are kept quiet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Silence)]
pub(super) struct Quiet {
    /// Its name.
    #[schema(example = "5d2b1c1e7b0a4f0e")]
    id: String,
    /// Of this rule.
    rule: Option<String>,
    /// About this camera.
    path: Option<String>,
    /// About this sensor.
    sensor: Option<String>,
    /// Exactly this alert.
    fingerprint: Option<String>,
    /// Not worse than this.
    up_to: Option<&'static str>,
    /// Its beginning.
    #[schema(format = DateTime)]
    from: String,
    /// Its end.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Only in these hours of the week; always if there are none.
    #[schema(value_type = Vec<Window>)]
    weekly: Vec<WeeklyWindow>,
    /// On the clock of this place.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// It holds at this moment.
    active: bool,
    /// Who wanted it.
    by: String,
    /// Why.
    note: Option<String>,
}

/// Hours of the week.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of config's WeeklyWindow, which knows no OpenAPI")]
pub(super) struct Window {
    /// The days it begins on, `mon` to `sun`; every day if there are none.
    days: Vec<String>,
    /// When it begins.
    #[schema(example = "22:00")]
    from: String,
    /// When it ends; on the next day if that is not later than `from`.
    #[schema(example = "06:00")]
    to: String,
}

/// A silence that is wanted: of alerts that fit everything that is named. Without `until` it has to be weekly.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct QuietOptions {
    /// Of this rule.
    rule: Option<String>,
    /// About this camera.
    path: Option<String>,
    /// About this sensor.
    sensor: Option<String>,
    /// Not worse than this.
    up_to: Option<String>,
    /// Its beginning; now if absent.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Its end.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Only in these hours of the week.
    #[schema(value_type = Vec<Window>)]
    weekly: Vec<WeeklyWindow>,
    /// On the clock of this place; UTC if absent.
    time_zone: Option<String>,
    /// Why.
    note: Option<String>,
}

/// The name of something that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    /// Its name.
    id: String,
}

/// Says that something was added.
pub(super) fn added(id: String) -> Response {
    (StatusCode::CREATED, axum::Json(Added { id })).into_response()
}

/// Every silence that holds or will hold.
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", operation_id = "list_silences", params(PageOf), responses(
    (status = 200, description = "A page of silences.", body = Listing<Quiet>),
    (status = 304, description = "It is what the client has."),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    _: OnServer<Alerts>,
    page: PageOf,
    headers: HeaderMap,
) -> Response {
    let (snapshot, now) = (front.rooms.alerts.snapshot(), front.rooms.clock.wall());
    let (entries, next) = page.cut(snapshot.silences.clone(), |silence| silence.id.clone());
    let items = entries.into_iter().map(|silence| describe(silence, now)).collect();
    tagged(&front, snapshot.version, &headers, &Listing { items, next })
}

/// Adds a silence.
#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", operation_id = "add_silence",
    request_body = QuietOptions,
    responses(
        (status = 201, description = "It holds, or will.", body = Added),
        BadRequest,
        NeedsCredential,
        (status = 409, description = "There are as many as may be.", body = ProblemBody, content_type = "application/problem+json"),
        TooMuchAtOnce,
    )
)]
pub(super) async fn add(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sent(options): Sent<QuietOptions>,
) -> Result<Response, Problem> {
    let grant = front.rooms.gate.check_server::<Ack>(&caller)?;
    let wanted = SilenceOptions {
        matcher: Matcher {
            rule: read("rule", options.rule.as_deref(), |text| text.parse().ok())?,
            path: read("path", options.path.as_deref(), |text| text.parse().ok())?,
            sensor: read("sensor", options.sensor.as_deref(), |text| text.parse().ok())?,
            fingerprint: None,
            up_to: read("up_to", options.up_to.as_deref(), Severity::parse)?,
        },
        from: moment("from", options.from.as_deref())?,
        until: moment("until", options.until.as_deref())?,
        weekly: options.weekly,
        time_zone: read("time_zone", options.time_zone.as_deref(), |text| text.parse().ok())?.unwrap_or_default(),
        note: note(options.note)?,
    };
    if wanted.weekly.len() > 16 {
        return Err(invalid("weekly: it has at most 16 windows").into());
    }
    let id = front.rooms.alerts.silence(wanted, name_of(grant.subject())).await?;
    Ok(added(id))
}

/// Ends a silence.
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "alerts", operation_id = "end_silence",
    params(("id" = String, Path, description = "The silence's id.")),
    responses(
        (status = 204, description = "It is over."),
        NeedsCredential,
        NoneThere,
        TooMuchAtOnce,
    )
)]
pub(super) async fn remove(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    let grant = front.rooms.gate.check_server::<Ack>(&caller)?;
    front.rooms.alerts.unsilence(id, name_of(grant.subject())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn describe(silence: Silence, now: WallTime) -> Quiet {
    let matcher = &silence.matcher;
    Quiet {
        rule: matcher.rule.as_ref().map(ToString::to_string),
        path: matcher.path.as_ref().map(ToString::to_string),
        sensor: matcher.sensor.as_ref().map(ToString::to_string),
        fingerprint: matcher.fingerprint.clone(),
        up_to: matcher.up_to.map(Severity::name),
        from: WallTime::from_unix_nanos(silence.from).to_string(),
        until: silence.until.map(|until| WallTime::from_unix_nanos(until).to_string()),
        active: silence.holds(now),
        time_zone: silence.time_zone.to_string(),
        id: silence.id,
        weekly: silence.weekly,
        by: silence.by,
        note: silence.note,
    }
}
