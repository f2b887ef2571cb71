//! `/api/v1/alerts`: what goes on and what went on, and the ways to take note of it or not to hear of it.

use std::sync::Arc;

use async_graphql::{Json, SimpleObject};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::Named,
        graphql::scalars::{AlertStateWord, DateTime, SeverityWord, json_or_none, moment_or_none},
        pages::is_known,
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, NeedsCredential, NoneThere, TooMuchAtOnce},
    },
    listing::{Listing, PageOf},
    sent::{Sent, moment, name_of, note},
    silences::added,
    tending::tended,
};
use crate::{
    auth::{Alerts, Caller},
    base::{Error, Kind, PathName, SensorId, Severity, WallTime},
    events::{
        alarms::{Alarm, Matcher, Muted},
        alerts::{AlertsSnapshot, SilenceOptions},
        payload::{AlertRecord, AlertState, ReadingValue},
    },
};

/// An alert.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Alert {
    /// The same for every alert of the same rule about the same thing.
    #[schema(example = "5d2b1c1e7b0a4f0e")]
    fingerprint: String,
    /// The rule that raised it.
    #[schema(example = "temperature")]
    rule: String,
    /// `info`, `warning` or `critical`.
    #[schema(example = "warning")]
    #[graphql(skip, derived(name = "severity", into = "SeverityWord", owned))]
    severity: &'static str,
    /// `active` or `cleared`.
    #[schema(example = "active")]
    #[graphql(skip, derived(name = "state", into = "AlertStateWord", owned))]
    state: &'static str,
    /// One line for people.
    #[schema(example = "Attic: 36.5 °C")]
    title: String,
    /// A sentence for people.
    message: String,
    /// The camera it is about.
    path: Option<String>,
    /// The sensor it is about.
    sensor: Option<String>,
    /// What was read: a number, yes or no, or a word.
    #[schema(value_type = Option<serde_json::Value>, example = 36.5)]
    #[graphql(skip, derived(name = "value", into = "Option<Json<ReadingValue>>", owned, with = "json_or_none"))]
    value: Option<ReadingValue>,
    /// Of the value and the threshold.
    #[schema(example = "°C")]
    unit: Option<String>,
    /// What the value was compared with.
    #[schema(example = 35.0)]
    threshold: Option<f64>,
    /// When it began: the reading's own time.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "started_at", into = "DateTime", owned))]
    started_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "updated_at", into = "DateTime", owned))]
    updated_at: String,
    /// When it ended.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "ended_at", into = "Option<DateTime>", owned, with = "moment_or_none"))]
    ended_at: Option<String>,
    /// Who took note.
    ack: Option<Note>,
    /// Pictures and clips.
    evidence: Vec<Shown>,
    /// What bundles it with others.
    group: Option<String>,
    /// How many further levels were told because nobody took note.
    escalation: u8,
    /// The silence that keeps it quiet.
    silenced_by: Option<String>,
    /// The rule whose alert about the same camera keeps it quiet.
    inhibited_by: Option<String>,
}

/// Somebody took note.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[schema(as = Acknowledgement)]
#[graphql(name = "Acknowledgement")]
pub(in crate::http) struct Note {
    /// Who.
    by: String,
    /// When.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "at", into = "DateTime", owned))]
    at: String,
    /// What they said.
    note: Option<String>,
    /// Until when it holds; for the rest of the alert if `null`.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "until", into = "Option<DateTime>", owned, with = "moment_or_none"))]
    until: Option<String>,
}

/// A picture or a clip.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[schema(as = Evidence)]
#[graphql(name = "Evidence")]
pub(in crate::http) struct Shown {
    /// `picture` or `clip`.
    kind: String,
    /// `before`, `at` or `after` the moment.
    moment: String,
    /// Where it is, relative to the server.
    url: String,
}

/// Which alerts.
#[derive(Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Wanted {
    /// `active` or `cleared`; both if absent.
    #[param(value_type = String, required = false)]
    pub(in crate::http) state: Option<AlertState>,
    /// At least as bad as this.
    #[param(value_type = String, required = false)]
    pub(in crate::http) severity: Option<Severity>,
    /// About this camera.
    #[param(value_type = String, required = false)]
    pub(in crate::http) path: Option<PathName>,
    /// About this sensor.
    #[param(value_type = String, required = false)]
    pub(in crate::http) sensor: Option<SensorId>,
    /// Of this rule.
    #[param(required = false)]
    pub(in crate::http) rule: Option<String>,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, Error> {
        let mut wanted = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let unfit = |words: &str| {
                Error::new(Kind::InvalidArgument, format!("{key}: expected {words}")).with_code("invalid_filter")
            };
            match key.as_ref() {
                "state" => {
                    wanted.state = Some(match value.as_ref() {
                        "active" => AlertState::Active,
                        "cleared" => AlertState::Cleared,
                        _ => return Err(unfit("`active` or `cleared`")),
                    });
                }
                "severity" => {
                    let severity = Severity::parse(&value);
                    wanted.severity = Some(severity.ok_or_else(|| unfit("`info`, `warning` or `critical`"))?);
                }
                "path" => wanted.path = Some(value.parse().map_err(|_| unfit("the name of a path"))?),
                "sensor" => wanted.sensor = Some(value.parse().map_err(|_| unfit("the id of a sensor"))?),
                "rule" => wanted.rule = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn fits(&self, alarm: &Alarm) -> bool {
        let record = &alarm.record;
        self.state.is_none_or(|state| state == record.state)
            && self.severity.is_none_or(|least| record.severity >= least)
            && self.path.as_ref().is_none_or(|path| record.path.as_ref() == Some(path))
            && self.sensor.as_ref().is_none_or(|sensor| record.sensor.as_ref() == Some(sensor))
            && self.rule.as_ref().is_none_or(|rule| *rule == record.rule)
    }
}

/// Alerts that go on, and the newest that are over, sorted by fingerprint.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", operation_id = "list_alerts", params(PageOf, Wanted), responses(
    (status = 200, description = "A page of alerts. `ETag` stands for it; asking every two seconds is useful.", body = Listing<Alert>),
    (status = 304, description = "It is what the client has."),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    page: PageOf,
    parts: Parts,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(parts.uri.query().unwrap_or_default())?;
    let snapshot = front.rooms.alerts.snapshot();
    let (items, next) = visible(&front, &caller, &wanted, &page, &snapshot)?;
    Ok(tagged(&front, snapshot.version, &parts.headers, &Listing { items, next }))
}

/// A page of the alerts that a caller may see.
///
/// # Errors
/// [`Kind::Unauthenticated`]: the caller may see none.
pub(in crate::http) fn visible(
    front: &Front,
    caller: &Caller,
    wanted: &Wanted,
    page: &PageOf,
    snapshot: &AlertsSnapshot,
) -> Result<(Vec<Alert>, Option<String>), Error> {
    let general = front.rooms.gate.check_server::<Alerts>(caller);
    let mut refused = general.as_ref().err().map(Error::kind);
    let mut seen = Vec::new();
    for alarm in snapshot.alarms.iter().filter(|alarm| wanted.fits(alarm)) {
        let allowed = match &alarm.record.path {
            Some(path) => front.rooms.gate.check::<Alerts>(caller, path).is_ok(),
            None => general.is_ok(),
        };
        if allowed {
            refused = None;
            seen.push(alarm.clone());
        }
    }
    if refused == Some(Kind::Unauthenticated) {
        general?;
    }
    let (entries, next) = page.cut(seen, |alarm| alarm.record.fingerprint.clone());
    Ok((entries.iter().map(|alarm| describe(alarm)).collect(), next))
}

/// An answer that is the same until the next change. Whoever may see less asks with another credential.
pub(super) fn tagged<T: Serialize>(front: &Front, version: u64, headers: &HeaderMap, body: &T) -> Response {
    let etag = format!("W/\"{:x}-{version:x}\"", front.rooms.info.started.unix_nanos());
    let mut response = if is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        axum::Json(body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=2"));
    headers.extend(HeaderValue::try_from(etag).map(|etag| (header::ETAG, etag)));
    response
}

/// What to take note with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AckOptions {
    /// What there is to say.
    note: Option<String>,
    /// Until when it holds; for the rest of the alert if absent.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Takes note of an alert: no reminders and no further levels. One that becomes worse wants it again.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/ack", tag = "alerts", operation_id = "acknowledge_alert",
    params(("fingerprint" = String, Path, description = "The alert's fingerprint.")),
    request_body = AckOptions,
    responses(
        (status = 204, description = "It is noted, and in the log."),
        BadRequest,
        NeedsCredential,
        NoneThere,
        (status = 409, description = "It is over.", body = ProblemBody, content_type = "application/problem+json"),
        TooMuchAtOnce,
    )
)]
pub(super) async fn acknowledge(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(fingerprint): Named,
    Sent(options): Sent<AckOptions>,
) -> Result<Response, Problem> {
    let grant = tended(&front, &caller, &fingerprint)?;
    let (until, note) = (moment("until", options.until.as_deref())?, note(options.note)?);
    front.rooms.alerts.acknowledge(fingerprint, name_of(grant.subject()), note, until).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How to silence one alert.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HushOptions {
    /// Until when.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Why.
    note: Option<String>,
}

/// Keeps one alert quiet until a moment: a silence that is about it alone.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/silence", tag = "alerts", operation_id = "silence_alert",
    params(("fingerprint" = String, Path, description = "The alert's fingerprint.")),
    request_body = HushOptions,
    responses(
        (status = 201, description = "It is quiet.", body = super::silences::Added),
        BadRequest,
        NeedsCredential,
        NoneThere,
        (status = 409, description = "There are as many silences as may be.", body = ProblemBody, content_type = "application/problem+json"),
        TooMuchAtOnce,
    )
)]
pub(super) async fn silence(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(fingerprint): Named,
    Sent(options): Sent<HushOptions>,
) -> Result<Response, Problem> {
    let until = moment("until", options.until.as_deref())?;
    Ok(added(hush(&front, &caller, fingerprint, until, options.note).await?))
}

/// Keeps one alert quiet; the silence's id comes back.
///
/// # Errors
/// The caller may not, or the silence cannot be.
pub(in crate::http) async fn hush(
    front: &Front,
    caller: &Caller,
    fingerprint: String,
    until: Option<WallTime>,
    said: Option<String>,
) -> Result<String, Error> {
    let grant = tended(front, caller, &fingerprint)?;
    let wanted = SilenceOptions {
        matcher: Matcher { fingerprint: Some(fingerprint), ..Matcher::default() },
        from: None,
        until,
        weekly: Vec::new(),
        time_zone: Default::default(),
        note: note(said)?,
    };
    front.rooms.alerts.silence(wanted, name_of(grant.subject())).await
}

fn describe(alarm: &Alarm) -> Alert {
    let (silenced_by, inhibited_by) = match &alarm.muted {
        Some(Muted::Silence(id)) => (Some(id.clone()), None),
        Some(Muted::Inhibited(rule)) => (None, Some(rule.to_string())),
        None => (None, None),
    };
    let told = tell(alarm.record.clone(), alarm.group.clone(), alarm.level);
    Alert { silenced_by, inhibited_by, ..told }
}

/// An alert as its record tells it.
pub(in crate::http) fn tell(record: AlertRecord, group: Option<String>, escalation: u8) -> Alert {
    Alert {
        fingerprint: record.fingerprint,
        rule: record.rule,
        severity: record.severity.name(),
        state: match record.state {
            AlertState::Active => "active",
            AlertState::Cleared => "cleared",
        },
        title: record.title,
        message: record.message,
        path: record.path.map(|path| path.to_string()),
        sensor: record.sensor.map(|sensor| sensor.to_string()),
        value: record.value,
        unit: record.unit,
        threshold: record.threshold,
        started_at: record.started_at,
        updated_at: record.updated_at,
        ended_at: record.ended_at,
        ack: record.ack.map(|ack| Note { by: ack.by, at: ack.at, note: ack.note, until: ack.until }),
        evidence: record
            .evidence
            .into_iter()
            .map(|shown| Shown { kind: shown.kind, moment: shown.moment, url: shown.url })
            .collect(),
        group,
        escalation,
        silenced_by: None,
        inhibited_by: None,
    }
}
