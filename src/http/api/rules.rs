//! `/api/v1/rules`: what raises alerts. Rules of the file can be read; those added here are kept over restarts. Who may see
//! alerts of some cameras alone sees the rules about nothing but these.

use std::{collections::BTreeSet, sync::Arc};

use async_graphql::SimpleObject;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::{Named, Somewhere},
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, NeedsCredential, NoneThere},
    },
    alerts::tagged,
    listing::{Listing, PageOf},
    momentary,
    sent::{Sent, name_of},
    silences::added,
};
use crate::{
    auth::{Admin, Alerts, Grant, Reach},
    base::{Error, Kind, PathName, SensorId},
    config::{RuleConfig, RuleId},
    events::alerts::{AlertsSnapshot, Origin, RuleEntry},
};

/// A rule.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
#[schema(as = Rule)]
#[graphql(name = "Rule")]
pub(in crate::http) struct Written {
    /// Its name.
    #[schema(example = "freezer_warm")]
    id: String,
    /// `file`: it stands in the configuration. `api`: it was added here, and may be changed and removed.
    #[schema(example = "api")]
    origin: &'static str,
    /// It is at work.
    enabled: bool,
    /// What was written, in the shape of an entry of `rules` in the configuration (`config/schema.json`).
    #[schema(value_type = serde_json::Value, example = json!({"preset": "temperature", "above": 40}))]
    rule: Value,
}

/// Every rule, sorted by id; for a caller who may see alerts of some cameras, the rules about nothing but these.
#[utoipa::path(get, path = "/api/v1/rules", tag = "alerts", operation_id = "list_rules", params(PageOf), responses(
    (status = 200, description = "A page of rules.", body = Listing<Written>),
    (status = 304, description = "It is what the client has."),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Somewhere(grant): Somewhere<Alerts>,
    page: PageOf,
    headers: HeaderMap,
) -> Response {
    let snapshot = front.rooms.alerts.snapshot();
    let (entries, next) = page.cut(visible(&front, &snapshot, &grant), |entry| entry.id.to_string());
    let items = entries.iter().map(describe).collect();
    match grant.reach() {
        Reach::Server => tagged(&front, snapshot.version, &headers, &Listing { items, next }),
        // The tag tells of every alert there is.
        _ => momentary(&Listing { items, next }),
    }
}

/// The rules that a grant holds for, by id: each, or those about nothing but its paths and the sensors there.
pub(in crate::http) fn visible(front: &Front, snapshot: &AlertsSnapshot, grant: &Grant<Alerts>) -> Vec<RuleEntry> {
    let mut rules = snapshot.rules.clone();
    let reach = grant.reach();
    if !matches!(reach, Reach::Server) {
        let sensors = front.rooms.sensors.snapshot();
        let of_path = |path: &PathName| reach.covers(Some(path));
        let of_sensor =
            |id: &SensorId| sensors.sensors.iter().any(|sensor| sensor.id == *id && reach.covers(sensor.path.as_ref()));
        rules.retain(|entry| entry.config.resolve().is_some_and(|rule| rule.when.is_within(&of_sensor, &of_path)));
        let seen: BTreeSet<RuleId> = rules.iter().map(|entry| entry.id.clone()).collect();
        // The names of rules that are not seen may be those of cameras.
        for others in rules.iter_mut().filter_map(|entry| entry.config.inhibited_by.as_mut()) {
            others.retain(|other| seen.contains(other));
        }
    }
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}

/// Adds a rule; it is at work when this answers.
#[utoipa::path(post, path = "/api/v1/rules", tag = "alerts", operation_id = "add_rule",
    request_body(content = serde_json::Value, description = "An entry of `rules` in the configuration (`config/schema.json`), as JSON.", content_type = "application/json"),
    responses(
        (status = 201, description = "It is at work.", body = super::silences::Added),
        (status = 400, description = "The rule is not right; `detail` says where.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        (status = 409, description = "There is one of this name.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be kept now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sent(rule): Sent<RuleConfig>,
) -> Result<Response, Problem> {
    let grant = front.rooms.gate.check_server::<Admin>(&caller)?;
    let id = front.rooms.alerts.put_rule(rule, true, name_of(grant.subject())).await?;
    Ok(added(id.to_string()))
}

/// Changes a rule that was added here.
#[utoipa::path(put, path = "/api/v1/rules/{id}", tag = "alerts", operation_id = "change_rule",
    params(("id" = String, Path, description = "The rule's id.")),
    request_body(content = serde_json::Value, description = "The whole rule, in the shape of an entry of `rules` in the configuration.", content_type = "application/json"),
    responses(
        (status = 204, description = "It is at work."),
        (status = 400, description = "The rule is not right; `detail` says where.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        NoneThere,
        (status = 409, description = "It stands in the file.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be kept now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
    Sent(rule): Sent<RuleConfig>,
) -> Result<Response, Problem> {
    let grant = front.rooms.gate.check_server::<Admin>(&caller)?;
    let id = rule_id(&id)?;
    let rule = RuleConfig { id: rule.id.or_else(|| Some(id.clone())), ..rule };
    if rule.id.as_ref() != Some(&id) {
        let message = "id: a rule keeps its name";
        return Err(Error::new(Kind::InvalidArgument, message).with_code("invalid_rule").into());
    }
    front.rooms.alerts.put_rule(rule, false, name_of(grant.subject())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes a rule that was added here; its alerts end.
#[utoipa::path(delete, path = "/api/v1/rules/{id}", tag = "alerts", operation_id = "remove_rule",
    params(("id" = String, Path, description = "The rule's id.")),
    responses(
        (status = 204, description = "It is gone."),
        NeedsCredential,
        NoneThere,
        (status = 409, description = "It stands in the file.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be kept now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    let grant = front.rooms.gate.check_server::<Admin>(&caller)?;
    front.rooms.alerts.remove_rule(rule_id(&id)?, name_of(grant.subject())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn rule_id(text: &str) -> Result<RuleId, Error> {
    text.parse().map_err(|_| Error::new(Kind::NotFound, "there is no rule of this id").with_code("rule_not_found"))
}

/// A rule as it was written.
pub(in crate::http) fn describe(entry: &RuleEntry) -> Written {
    Written {
        id: entry.id.to_string(),
        origin: match entry.origin {
            Origin::File => "file",
            Origin::Api => "api",
        },
        enabled: entry.config.enabled,
        rule: serde_json::to_value(&entry.config).unwrap_or_default(),
    }
}
