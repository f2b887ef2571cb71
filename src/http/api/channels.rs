//! `/api/v1/channels`: how the ways out do, and a try of one; `/api/v1/dead-letters`: what they gave up.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
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
    momentary,
};
use crate::{
    auth::{Admin, Alerts},
    base::{Error, Kind, WallTime},
    notify::{ChannelSnapshot, Letter, Outcome},
};

/// A way out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub(super) struct WayOut {
    /// Its name in the configuration.
    #[schema(example = "on-call")]
    name: String,
    /// `webhook`, `alertmanager`, `email`, …
    #[serde(rename = "type")]
    #[schema(example = "webhook")]
    kind: &'static str,
    /// `idle`; `sending`; `waiting` for another attempt; `gone`: its receiver said that it takes nothing any more.
    #[schema(example = "idle")]
    state: &'static str,
    /// Letters that are not delivered yet.
    queued: usize,
    /// Letters delivered since the start.
    delivered: u64,
    /// Attempts that failed since the start.
    failed: u64,
    /// Letters given up since the start.
    given_up: u64,
    /// What was wrong the last time; `null` once a letter was delivered after that.
    #[schema(example = "hook.example.org: http status 503")]
    last_error: Option<String>,
    /// When that was.
    #[schema(format = DateTime)]
    last_error_at: Option<String>,
    /// When a letter was last delivered.
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
    /// When the next attempt is due, if it waits for one.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
}

/// A letter that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetter {
    /// Its name.
    #[schema(example = "000000000017")]
    id: String,
    /// By which channel it was to go.
    #[schema(example = "on-call")]
    channel: String,
    /// Whom it was for, if the channel has several recipients.
    recipient: Option<String>,
    /// The notice it carries, as receivers see its id.
    notice: String,
    /// `raised`, `worsened`, `reminder`, `escalated`, `acknowledged`, `cleared`.
    #[schema(example = "raised")]
    reason: &'static str,
    /// `info`, `warning` or `critical`.
    #[schema(example = "critical")]
    severity: &'static str,
    /// One line for people.
    title: String,
    /// When it was written.
    #[schema(format = DateTime)]
    created_at: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was given up.
    #[schema(format = DateTime)]
    given_up_at: String,
    /// Why.
    why: String,
}

/// What came of a try.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tried {
    /// Every recipient has it.
    delivered: bool,
    /// What came of it, by recipient.
    results: Vec<TriedRecipient>,
}

/// What came of a try, of one recipient.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TriedRecipient {
    /// Who, if the channel has several.
    recipient: Option<String>,
    /// `delivered`; `away`: it could not be reached, or is busy; `failed` over it; `refused` it; `gone` for good.
    #[schema(example = "delivered")]
    outcome: &'static str,
    /// What is wrong.
    error: Option<String>,
}

/// Every way out, sorted by name.
#[utoipa::path(get, path = "/api/v1/channels", tag = "alerts", operation_id = "list_channels", params(PageOf), responses(
    (status = 200, description = "A page of channels.", body = Listing<WayOut>),
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
    let snapshot = front.rooms.notifier.snapshot();
    let (entries, next) = page.cut(snapshot.channels.clone(), |channel| channel.name.to_string());
    let items = entries.into_iter().map(describe).collect();
    tagged(&front, snapshot.version, &headers, &Listing { items, next })
}

/// Tries a channel: sends a test to each of its recipients, and answers with what came of it.
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "alerts", operation_id = "test_channel",
    params(("name" = String, Path, description = "The channel's name.")),
    responses(
        (status = 200, description = "It was tried.", body = Tried),
        NeedsCredential,
        NoneThere,
        (status = 503, description = "Too many are tried at once.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(name): Named,
) -> Result<Response, Problem> {
    front.rooms.gate.check_server::<Admin>(&caller)?;
    let unknown = |_| Error::new(Kind::NotFound, "there is no such channel").with_code("channel_not_found");
    let name = name.parse().map_err(unknown)?;
    let outcomes = front.rooms.notifier.test(&name).await?;
    let delivered = outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Delivered);
    let result = |(recipient, outcome): (String, Outcome)| {
        let (word, error) = match outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Away { why, .. } => ("away", Some(why)),
            Outcome::Failed { why } => ("failed", Some(why)),
            Outcome::Refused { why } => ("refused", Some(why)),
            Outcome::Gone { why } => ("gone", Some(why)),
        };
        TriedRecipient { recipient: Some(recipient).filter(|name| !name.is_empty()), outcome: word, error }
    };
    Ok(momentary(&Tried { delivered, results: outcomes.into_iter().map(result).collect() }))
}

/// What was given up, the oldest first.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "alerts", operation_id = "list_dead_letters", params(PageOf), responses(
    (status = 200, description = "A page of letters.", body = Listing<DeadLetter>),
    (status = 304, description = "It is what the client has."),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn dead(
    State(front): State<Arc<Front>>,
    _: OnServer<Alerts>,
    page: PageOf,
    headers: HeaderMap,
) -> Response {
    let snapshot = front.rooms.notifier.snapshot();
    let mut letters = snapshot.dead.clone();
    letters.sort_by_key(|letter| letter.number);
    let (entries, next) = page.cut(letters, |letter| id(letter.number));
    let items = entries.iter().map(|letter| lay_out(letter)).collect();
    tagged(&front, snapshot.version, &headers, &Listing { items, next })
}

/// Puts a letter that was given up into the outbox again.
#[utoipa::path(post, path = "/api/v1/dead-letters/{id}/retry", tag = "alerts", operation_id = "retry_dead_letter",
    params(("id" = String, Path, description = "The letter's id.")),
    responses(
        (status = 204, description = "It waits for its turn."),
        NeedsCredential,
        NoneThere,
        TooMuchAtOnce,
    )
)]
pub(super) async fn retry(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    front.rooms.gate.check_server::<Admin>(&caller)?;
    front.rooms.notifier.retry(number(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets a letter that was given up.
#[utoipa::path(delete, path = "/api/v1/dead-letters/{id}", tag = "alerts", operation_id = "discard_dead_letter",
    params(("id" = String, Path, description = "The letter's id.")),
    responses(
        (status = 204, description = "It is gone."),
        NeedsCredential,
        NoneThere,
        TooMuchAtOnce,
    )
)]
pub(super) async fn discard(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    front.rooms.gate.check_server::<Admin>(&caller)?;
    front.rooms.notifier.discard(number(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// As wide as the list sorts it.
fn id(number: u64) -> String {
    format!("{number:012}")
}

fn number(id: &str) -> Result<u64, Error> {
    id.parse().map_err(|_| Error::new(Kind::NotFound, "there is no letter of this id").with_code("letter_not_found"))
}

fn describe(channel: ChannelSnapshot) -> WayOut {
    let state = channel.state();
    let at = |at: Option<WallTime>| at.map(|at| at.to_string());
    let figures = channel.figures;
    WayOut {
        name: channel.name.to_string(),
        kind: channel.kind.name(),
        state,
        queued: figures.queued,
        delivered: figures.delivered,
        failed: figures.failed,
        given_up: figures.given_up,
        last_error: figures.last_error,
        last_error_at: at(figures.last_error_at),
        delivered_at: at(figures.delivered_at),
        next_attempt_at: at(channel.next_attempt),
    }
}

fn lay_out(letter: &Letter) -> DeadLetter {
    let (given_up_at, why) = letter.dead.clone().map(|dead| (dead.at, dead.why)).unwrap_or_default();
    DeadLetter {
        id: id(letter.number),
        channel: letter.channel.to_string(),
        recipient: Some(letter.recipient.clone()).filter(|name| !name.is_empty()),
        notice: letter.notice.id.clone(),
        reason: letter.notice.reason.name(),
        severity: letter.notice.severity.name(),
        title: letter.notice.title.clone(),
        created_at: WallTime::from_unix_nanos(letter.since).to_string(),
        attempts: letter.attempts,
        given_up_at,
        why,
    }
}
