//! `/api/v1/users`: who may do what, for administrators; and what each user's own pages keep.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    super::{
        accounts::{Account, Accounts, NewAccount},
        caller::Asking,
        front::Front,
        grant::{Named, OnServer},
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, BodyTooLarge, NeedsAdministrator, NobodyKnown, NotJson},
    },
    auth::Allowed,
    momentary,
    sent::{Sent, name_of},
};
use crate::{
    auth::{Admin, Caller, Identity, Purpose, Subject},
    base::{Error, Kind, Secret},
    config::{PermissionConfig, UserName},
};

/// The most bytes of one user's preferences.
const PREFERENCES_MOST: usize = 16 << 10;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    /// What the user is called.
    #[schema(example = "anna")]
    name: String,
    /// `file` or `store`; those of the file are changed there.
    #[schema(example = "store")]
    origin: &'static str,
    /// RTSP takes the password by digest.
    rtsp_digest: bool,
    /// The groups the user is in.
    groups: Vec<String>,
    /// What the user may do besides.
    permissions: Vec<Allowed>,
}

/// Every user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    /// By name.
    users: Vec<User>,
}

/// A user that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// 1 to 64 letters, digits, `_`, `.`, `-` and `@`.
    #[schema(example = "anna")]
    name: String,
    /// Eight bytes at least.
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// Groups of the configuration.
    #[serde(default)]
    groups: Vec<String>,
    /// What the user may do besides; `*` is every path, and the server as a whole.
    #[serde(default)]
    #[schema(value_type = Vec<Allowed>)]
    permissions: Vec<PermissionConfig>,
    /// Keep what RTSP's digest needs, which is as secret as the password. True if absent.
    rtsp_digest: Option<bool>,
}

/// Another password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// Eight bytes at least.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// What a user may do from now on, and nothing else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rights {
    /// Groups of the configuration.
    #[serde(default)]
    groups: Vec<String>,
    /// What the user may do besides.
    #[schema(value_type = Vec<Allowed>)]
    permissions: Vec<PermissionConfig>,
}

/// Every user, those of the file among them, without their secrets.
#[utoipa::path(get, path = "/api/v1/users", tag = "auth", operation_id = "list_users", responses(
    (status = 200, description = "Every user.", body = Users),
    NeedsAdministrator,
    (status = 409, description = "There are no users: auth is off.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The store cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(front): State<Arc<Front>>, Asking(caller): Asking) -> Result<Response, Problem> {
    let (accounts, _) = administer(&front, &caller)?;
    let users = accounts.list().await?.into_iter().map(describe).collect();
    Ok(momentary(&Users { users }))
}

/// Adds a user, who can log in within a second.
#[utoipa::path(post, path = "/api/v1/users", tag = "auth", operation_id = "add_user", request_body = NewUser, responses(
    (status = 201, description = "The user was added."),
    BadRequest,
    NeedsAdministrator,
    (status = 409, description = "There is one of this name, there are as many as may be, or auth is off.", body = ProblemBody, content_type = "application/problem+json"),
    BodyTooLarge,
    NotJson,
    (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn add(
    State(front): State<Arc<Front>>,
    _: OnServer<Admin>,
    Asking(caller): Asking,
    Sent(wanted): Sent<NewUser>,
) -> Result<Response, Problem> {
    let (accounts, by) = administer(&front, &caller)?;
    let name = user_name(&wanted.name)?;
    let NewUser { password, groups, permissions, rtsp_digest, .. } = wanted;
    let digest = rtsp_digest.unwrap_or(true);
    accounts.add(NewAccount { name: name.clone(), password, digest, groups, permissions }).await?;
    write_down(&front, "user.added", by, &name);
    Ok(StatusCode::CREATED.into_response())
}

/// Gives a user another password. What was opened with the old one ends.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", tag = "auth", operation_id = "change_password",
    params(("name" = String, Path, description = "The user's name.")), request_body = NewPassword,
    responses(
        (status = 204, description = "It is another one."),
        BadRequest,
        NeedsAdministrator,
        (status = 404, description = "There is no such user.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The user stands in the file, or auth is off.", body = ProblemBody, content_type = "application/problem+json"),
        BodyTooLarge,
        NotJson,
        (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change_password(
    State(front): State<Arc<Front>>,
    _: OnServer<Admin>,
    Asking(caller): Asking,
    Named(name): Named,
    Sent(NewPassword { password }): Sent<NewPassword>,
) -> Result<Response, Problem> {
    let (accounts, by) = administer(&front, &caller)?;
    let name = user_name(&name)?;
    accounts.change_password(name.clone(), password).await?;
    write_down(&front, "user.password", by, &name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives a user other rights, which hold within a second: what was opened by those that are gone ends. The last
/// administrator stays one.
#[utoipa::path(put, path = "/api/v1/users/{name}/permissions", tag = "auth", operation_id = "change_permissions",
    params(("name" = String, Path, description = "The user's name.")), request_body = Rights,
    responses(
        (status = 204, description = "They are others."),
        BadRequest,
        NeedsAdministrator,
        (status = 404, description = "There is no such user.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The user stands in the file or is the last administrator, or auth is off.", body = ProblemBody, content_type = "application/problem+json"),
        BodyTooLarge,
        NotJson,
        (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change_rights(
    State(front): State<Arc<Front>>,
    _: OnServer<Admin>,
    Asking(caller): Asking,
    Named(name): Named,
    Sent(Rights { groups, permissions }): Sent<Rights>,
) -> Result<Response, Problem> {
    let (accounts, by) = administer(&front, &caller)?;
    let name = user_name(&name)?;
    accounts.change_rights(name.clone(), groups, permissions).await?;
    write_down(&front, "user.permissions", by, &name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes a user; within a second everything ends that was opened by it. The last administrator stays.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "auth", operation_id = "remove_user",
    params(("name" = String, Path, description = "The user's name.")),
    responses(
        (status = 204, description = "The user is gone."),
        BadRequest,
        NeedsAdministrator,
        (status = 404, description = "There is no such user.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The user stands in the file or is the last administrator, or auth is off.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(name): Named,
) -> Result<Response, Problem> {
    let (accounts, by) = administer(&front, &caller)?;
    let name = user_name(&name)?;
    accounts.remove(name.clone()).await?;
    write_down(&front, "user.removed", by, &name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What the caller's own pages keep, as they left it; an empty object before that.
#[utoipa::path(get, path = "/api/v1/users/me/preferences", tag = "auth", operation_id = "preferences", responses(
    (status = 200, description = "The caller's preferences.", body = Object),
    NobodyKnown,
    (status = 409, description = "There are no users: auth is off.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The store cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn preferences(State(front): State<Arc<Front>>, Asking(caller): Asking) -> Result<Response, Problem> {
    let (accounts, name) = myself(&front, &caller)?;
    let kept = accounts.preferences(name).await?;
    let kept: Map<String, Value> = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(momentary(&kept))
}

/// Keeps an object of at most 16 KiB for the caller's own pages, in the place of the one before.
#[utoipa::path(put, path = "/api/v1/users/me/preferences", tag = "auth", operation_id = "keep_preferences",
    request_body = Object,
    responses(
        (status = 204, description = "They are kept."),
        BadRequest,
        NobodyKnown,
        (status = 409, description = "There are no users: auth is off.", body = ProblemBody, content_type = "application/problem+json"),
        BodyTooLarge,
        NotJson,
        (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn prefer(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sent(wanted): Sent<Map<String, Value>>,
) -> Result<Response, Problem> {
    let (accounts, name) = myself(&front, &caller)?;
    let text = Value::Object(wanted).to_string();
    if text.len() > PREFERENCES_MOST {
        let message = format!("preferences have at most {PREFERENCES_MOST} bytes");
        return Err(Problem::of_http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    accounts.prefer(name, text).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whoever keeps the users, for an administrator; and the name of that one.
fn administer(front: &Front, caller: &Caller) -> Result<(Arc<dyn Accounts>, String), Problem> {
    let grant = front.rooms.gate.check_server::<Admin>(caller)?;
    Ok((accounts(front)?, name_of(grant.subject())))
}

/// The same for somebody who has a name: the name.
fn myself(front: &Front, caller: &Caller) -> Result<(Arc<dyn Accounts>, UserName), Problem> {
    let gate = &front.rooms.gate;
    let accounts = accounts(front)?;
    // A token for one path or for one door is not its owner.
    let whole = match &caller.identity {
        Identity::Known(known) => {
            known.token().is_none_or(|token| matches!(token.purpose, Purpose::Session | Purpose::Access))
        }
        Identity::Nobody | Identity::Refused | Identity::Outside(_) => false,
    };
    match gate.subject(caller) {
        Some(Subject::User(name)) if whole => Ok((accounts, name)),
        Some(Subject::User(_)) => {
            Err(Error::new(Kind::PermissionDenied, "this needs a login").with_code("not_allowed").into())
        }
        _ => Err(gate.nobody(caller).into()),
    }
}

fn accounts(front: &Front) -> Result<Arc<dyn Accounts>, Error> {
    let off = || Error::new(Kind::FailedPrecondition, "auth is off: there are no users").with_code("auth_off");
    front.rooms.accounts.clone().ok_or_else(off)
}

fn user_name(text: &str) -> Result<UserName, Error> {
    text.parse().map_err(|why| Error::new(Kind::InvalidArgument, format!("name: {why}")).with_code("invalid_user_name"))
}

fn describe(account: Account) -> User {
    let Account { name, of_file, digest, groups, permissions } = account;
    let allowed = |one: &PermissionConfig| Allowed::of(one.action, &one.path);
    User {
        name: name.to_string(),
        origin: if of_file { "file" } else { "store" },
        rtsp_digest: digest,
        groups,
        permissions: permissions.iter().map(allowed).collect(),
    }
}

fn write_down(front: &Front, action: &str, by: String, name: &UserName) {
    front.rooms.events.write_down(action, by, name.to_string(), front.rooms.clock.wall());
}
