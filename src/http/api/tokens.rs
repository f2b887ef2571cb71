//! `/api/v1/tokens`: tokens that programs keep. Whoever logs in here makes them, sees their own and withdraws them; an admin
//! sees everybody's.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::Named,
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, BodyTooLarge, NobodyKnown, NotJson},
    },
    auth::{Allowed, user},
    listing::{Listing, PageOf},
    momentary,
    sent::{Sent, moment},
};
use crate::{
    auth::{ApiToken, Standing},
    base::WallTime,
    config::PermissionConfig,
};

/// A token of a program.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiToken)]
pub(super) struct Program {
    /// Its name for this API.
    #[schema(example = "5d2b1c1e7b0a4f0e")]
    id: String,
    /// What its user calls it.
    #[schema(example = "door bell")]
    name: String,
    /// Whose it is.
    #[schema(example = "anna")]
    user: String,
    /// What it allows, as far as its user may do that; nothing: whatever its user may.
    permissions: Option<Vec<Allowed>>,
    /// When it was made.
    #[schema(format = DateTime)]
    made: String,
    /// When it ends; nothing: when it is withdrawn.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// When it was last shown.
    #[schema(format = DateTime)]
    last_used: Option<String>,
    /// The token itself, in the answer that made it and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    token: Option<String>,
}

/// A token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiTokenOptions)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramOptions {
    /// What to call it.
    #[schema(example = "door bell")]
    name: String,
    /// What it allows, as far as its user may do that; whatever its user may if absent.
    #[schema(value_type = Option<Vec<PermissionOptions>>)]
    permissions: Option<Vec<PermissionConfig>>,
    /// When it ends; when it is withdrawn if absent.
    #[schema(format = DateTime)]
    expires: Option<String>,
}

/// Something to be allowed.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of config's PermissionConfig, which knows no OpenAPI")]
pub(super) struct PermissionOptions {
    /// The action.
    #[schema(example = "view")]
    action: String,
    /// The paths: a name, a glob, or `~` and a regular expression; every path, and the server as a whole, if absent.
    #[schema(example = "site-1/*")]
    path: Option<String>,
}

/// The tokens of programs that whoever asks made; everybody's for an admin.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "auth", operation_id = "list_tokens", params(PageOf), responses(
    (status = 200, description = "A page of tokens.", body = Listing<Program>),
    BadRequest,
    NobodyKnown,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    page: PageOf,
) -> Result<Response, Problem> {
    let all = front.rooms.gate.api_tokens(user(&caller)?)?;
    let (entries, next) = page.cut(all, |seen| seen.token.id.clone());
    let items: Vec<_> = entries.iter().map(|seen| describe(&seen.token, seen.last_used)).collect();
    Ok(momentary(&Listing { items, next }))
}

/// Makes a token for a program. The token itself is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "auth", operation_id = "add_token", request_body = ProgramOptions, responses(
    (status = 201, description = "It holds from now on.", body = Program),
    BadRequest,
    NobodyKnown,
    BodyTooLarge,
    NotJson,
    (status = 409, description = "There are as many as may be.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "It cannot be kept.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn add(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sent(options): Sent<ProgramOptions>,
) -> Result<Response, Problem> {
    let known = user(&caller)?;
    let until = moment("expires", options.expires.as_deref())?;
    let now = front.rooms.clock.wall();
    let made = front.rooms.gate.add_api_token(known, &options.name, options.permissions, until, now).await;
    let (token, text) = made?;
    write_down(&front, "token.added", known, &token);
    let body = Program { token: Some(text.reveal().to_owned()), ..describe(&token, None) };
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, axum::Json(body)).into_response())
}

/// Withdraws a token of a program: what it opened ends within a second.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "auth", operation_id = "remove_token",
    params(("id" = String, Path, description = "The token's id.")),
    responses(
        (status = 204, description = "It is none any more."),
        NobodyKnown,
        (status = 404, description = "There is none of this id that is theirs.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be written down.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    let known = user(&caller)?;
    let token = front.rooms.gate.remove_api_token(known, &id).await?;
    write_down(&front, "token.removed", known, &token);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn write_down(front: &Front, action: &str, known: &Standing, token: &ApiToken) {
    let (by, now) = (known.name().to_string(), front.rooms.clock.wall());
    front.rooms.events.write_down_with(action, by, token.id.clone(), Some(token.label()), now);
}

fn describe(token: &ApiToken, last_used: Option<WallTime>) -> Program {
    let allowed = |one: &PermissionConfig| Allowed::of(one.action, &one.path);
    Program {
        id: token.id.clone(),
        name: token.name.clone(),
        user: token.user.to_string(),
        permissions: token.permissions.as_ref().map(|list| list.iter().map(allowed).collect()),
        made: token.made.to_string(),
        expires: token.until.map(|until| until.to_string()),
        last_used: last_used.map(|used| used.to_string()),
        token: None,
    }
}
