//! `/api/v1/auth` and `/api/v1/tokens`: logging in and out, who one is, and tokens for doors that take them in a URL or as
//! a password.
//!
//! The token of a browser stands in a cookie that no script reads; what it writes needs the word that only a page that may
//! read our answers knows (`X-CSRF-Token`).

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
        caller::{self, Asking, Secure},
        front::Front,
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, BodyTooLarge, NobodyKnown, NotJson},
    },
    momentary,
    sent::{Sent, SentByAnybody, invalid},
};
use crate::{
    auth::{Action, Caller, Credential, Identity, Issued, Purpose, Standing, Subject, View},
    base::{Error, Kind, PathName, Secret},
    config::{PathMatcher, PermissionConfig},
};

/// Name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The user's name.
    #[schema(example = "anna")]
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// Somebody who logged in. The browser's own token comes as a cookie beside it.
#[derive(Serialize, ToSchema)]
pub(super) struct LoggedIn {
    /// The user's name.
    #[schema(example = "anna")]
    user: String,
    /// For `Authorization: Bearer`, and for `?token=` on the doors of events.
    access_token: String,
    /// Seconds it lasts; `refresh` gives the next one.
    #[schema(example = 900)]
    expires_in_s: i64,
    /// What `X-CSRF-Token` has to say in every request that changes something and comes with the cookie.
    csrf_token: String,
    /// When the cookie ends, unless it is refreshed.
    #[schema(format = DateTime)]
    session_expires: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(super) struct WhoAmI {
    /// The user's name; nothing for a caller on the server's own machine without a login.
    #[schema(example = "anna")]
    user: Option<String>,
    /// `user`, `local` (on the server's own machine) or `guest` (while auth is off).
    #[schema(example = "user")]
    kind: &'static str,
    /// What the user may do.
    permissions: Vec<Allowed>,
    /// When the token that was shown ends; nothing for a password.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// What `X-CSRF-Token` has to say, if the request came with the cookie.
    csrf_token: Option<String>,
}

/// Something that is allowed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Allowed {
    /// The action.
    #[schema(example = "view")]
    action: &'static str,
    /// The paths: a name, a glob, or `~` and a regular expression; `*` is every path, and the server as a whole.
    #[schema(example = "site-1/*")]
    path: String,
}

impl Allowed {
    /// As the API shows it.
    pub(super) fn of(action: Action, path: &PathMatcher) -> Self {
        Self { action: action.name(), path: path.to_string() }
    }
}

/// A token of its own.
#[derive(Serialize, ToSchema)]
pub(super) struct NewToken {
    /// The token.
    token: String,
    /// Seconds in which it can be used.
    #[schema(example = 30)]
    expires_in_s: i64,
}

/// What a media token is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MediaToken {
    /// The path.
    #[schema(value_type = String, example = "front-door")]
    path: PathName,
    /// Seconds it lasts, an hour at most; ten minutes if absent.
    #[schema(minimum = 1, maximum = 3600)]
    lasts_s: Option<i64>,
}

/// A token for one path.
#[derive(Serialize, ToSchema)]
pub(super) struct MediaLink {
    /// The token, for `?token=` in the path's URLs, for `Authorization: Bearer`, and as a password.
    token: String,
    /// Seconds it lasts.
    #[schema(example = 600)]
    expires_in_s: i64,
    /// The path's page for whoever has nothing else, below this server's root.
    #[schema(example = "/front-door/?token=eyJ…")]
    page: String,
    /// The same for foreign pages to frame.
    #[schema(example = "/embed/front-door/?token=eyJ…")]
    embed: String,
}

/// Logs in: a token for programs, and a cookie for browsers.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", operation_id = "log_in", request_body = Login, responses(
    (status = 200, description = "Logged in.", body = LoggedIn),
    BadRequest,
    (status = 401, description = "There is no such user, or the password is another one.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "There are no users: auth is off.", body = ProblemBody, content_type = "application/problem+json"),
    BodyTooLarge,
    NotJson,
))]
pub(super) async fn log_in(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    secure: Secure,
    SentByAnybody(login): SentByAnybody<Login>,
) -> Result<Response, Problem> {
    let gate = &front.rooms.gate;
    if gate.is_off() {
        return Err(Error::new(Kind::FailedPrecondition, "auth is off: nobody logs in").with_code("auth_off").into());
    }
    let shown = Credential::of_password(&login.name, login.password.reveal()).map_err(|_malformed| wrong())?;
    let identity = Box::pin(gate.identify(&shown, caller.peer.ip(), front.rooms.clock.moment())).await;
    match identity.map_err(caller::too_many_attempts)? {
        Identity::Known(known) => {
            let (by, from) = (known.name().to_string(), caller.peer.ip().to_string());
            let response = logged_in(&front, &known, secure)?;
            front.rooms.events.write_down("login", by, from, front.rooms.clock.wall());
            Ok(response)
        }
        Identity::Nobody | Identity::Refused | Identity::Outside(_) => Err(wrong().into()),
    }
}

fn wrong() -> Error {
    Error::new(Kind::Unauthenticated, "there is no such user, or the password is another one")
        .with_code("invalid_credential")
}

/// The next access token, and a cookie that lasts anew.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "auth", operation_id = "refresh", responses(
    (status = 200, description = "Still logged in.", body = LoggedIn),
    (status = 401, description = "This needs a token of somebody who logged in, not too long ago.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn refresh(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    secure: Secure,
) -> Result<Response, Problem> {
    logged_in(&front, user(&caller)?, secure)
}

/// Ends what the login of the token that is shown began: its cookie, its access tokens, and what they opened.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", operation_id = "log_out", responses(
    (status = 204, description = "Logged out."),
    NobodyKnown,
))]
pub(super) async fn log_out(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    secure: Secure,
) -> Result<Response, Problem> {
    let known = user(&caller)?;
    front.rooms.gate.log_out(known, front.rooms.clock.moment());
    let (by, from) = (known.name().to_string(), caller.peer.ip().to_string());
    front.rooms.events.write_down("logout", by, from, front.rooms.clock.wall());
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie(secure, "", 0)?);
    Ok(response)
}

/// Who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/auth/whoami", tag = "auth", operation_id = "who_am_i", responses(
    (status = 200, description = "Who asks.", body = WhoAmI),
    NobodyKnown,
))]
pub(super) async fn who_am_i(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    headers: http::HeaderMap,
) -> Result<Response, Problem> {
    let gate = &front.rooms.gate;
    // Its refusal says why.
    let Some(subject) = gate.subject(&caller) else { return Err(gate.nobody(&caller).into()) };
    let known = match &caller.identity {
        Identity::Known(known) => Some(known),
        Identity::Outside(outsider) => outsider.known(),
        Identity::Nobody | Identity::Refused => None,
    };
    let of = |known: &Arc<Standing>| {
        let permissions = known.permissions();
        let list = permissions.list().map(|(action, path)| Allowed::of(action, path));
        list.collect()
    };
    let kind = match &subject {
        Subject::User(_) => "user",
        Subject::Loopback => "local",
        Subject::Anonymous => "guest",
        Subject::House(_) => "house",
    };
    let token = known.and_then(|known| known.token());
    let by_cookie = token.is_some_and(|token| token.purpose == Purpose::Session);
    Ok(momentary(&WhoAmI {
        user: if let Subject::User(name) = &subject { Some(name.to_string()) } else { None },
        kind,
        permissions: known.map(of).unwrap_or_default(),
        expires: token.filter(|token| token.ends()).map(|token| token.until.to_string()),
        csrf_token: caller::session_cookie(&headers).filter(|_| by_cookie).map(csrf_token),
    }))
}

/// A ticket for the doors of events, to stand in their URL: browsers can set no header there. It opens for half a minute;
/// what it opened lasts as long as the login that asked for it.
#[utoipa::path(post, path = "/api/v1/tokens/events", tag = "auth", operation_id = "events_ticket", responses(
    (status = 200, description = "A ticket for `?token=`.", body = NewToken),
    NobodyKnown,
    (status = 409, description = "The caller has more permissions than a ticket holds.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn events_ticket(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
) -> Result<Response, Problem> {
    let issued = front.rooms.gate.issue(user(&caller)?, Purpose::Events, 30, None, front.rooms.clock.moment())?;
    Ok(momentary(&NewToken { token: issued.token.reveal().to_owned(), expires_in_s: 30 }))
}

/// A token to watch one path, for somebody who gets nothing else: in the path's URLs (`?token=`), as `Authorization:
/// Bearer`, or as a password. What it opened ends with it.
#[utoipa::path(post, path = "/api/v1/tokens/media", tag = "auth", operation_id = "media_token", request_body = MediaToken, responses(
    (status = 200, description = "A token for one path.", body = MediaLink),
    BadRequest,
    NobodyKnown,
    (status = 404, description = "There is no such path.", body = ProblemBody, content_type = "application/problem+json"),
    BodyTooLarge,
    NotJson,
))]
pub(super) async fn media_token(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Sent(wanted): Sent<MediaToken>,
) -> Result<Response, Problem> {
    const LASTS: i64 = 600;
    let lasts = wanted.lasts_s.unwrap_or(LASTS);
    if !(1..=3600).contains(&lasts) {
        return Err(invalid("lasts_s: a media token lasts 1 to 3600 s").into());
    }
    let known = user(&caller)?;
    let grant = front.rooms.gate.check::<View>(&caller, &wanted.path)?;
    front.rooms.hub.path(&grant)?;
    let limit = PermissionConfig { action: Action::View, path: PathMatcher::Name(wanted.path.clone()) };
    let moment = front.rooms.clock.moment();
    let issued = front.rooms.gate.issue(known, Purpose::Media, lasts, Some(vec![limit]), moment)?;
    // Not longer than what it was asked for with.
    let lasts = lasts.min(issued.until.nanos_since(moment.wall).max(0) / 1_000_000_000);
    let (path, token) = (&wanted.path, issued.token.reveal().to_owned());
    let (page, embed) = (format!("/{path}/?token={token}"), format!("/embed/{path}/?token={token}"));
    Ok(momentary(&MediaLink { token, expires_in_s: lasts, page, embed }))
}

/// The user who asks.
pub(super) fn user(caller: &Caller) -> Result<&Arc<Standing>, Error> {
    match &caller.identity {
        Identity::Known(known) if !known.is_over() => Ok(known),
        Identity::Known(_) | Identity::Refused => Err(wrong()),
        Identity::Outside(outsider) if outsider.known().is_none() => Err(wrong()),
        Identity::Outside(_) => {
            let message = "another server decides about you (`auth.http`): there is no login here";
            Err(Error::new(Kind::PermissionDenied, message).with_code("not_allowed"))
        }
        Identity::Nobody => Err(Error::new(Kind::Unauthenticated, "this needs a login")),
    }
}

fn logged_in(front: &Front, known: &Arc<Standing>, secure: Secure) -> Result<Response, Problem> {
    let opened = front.rooms.gate.open_session(known, front.rooms.clock.moment())?;
    let Issued { token, until } = &opened.session;
    let lasts = until.nanos_since(front.rooms.clock.wall()).max(0) / 1_000_000_000;
    let mut response = momentary(&LoggedIn {
        user: known.name().to_string(),
        access_token: opened.access.token.reveal().to_owned(),
        expires_in_s: opened.access_lasts,
        csrf_token: csrf_token(token.reveal()),
        session_expires: until.to_string(),
    });
    response.headers_mut().insert(header::SET_COOKIE, cookie(secure, token.reveal(), lasts)?);
    Ok(response)
}

/// Known to whoever reads our answers, and to nobody who only makes a browser send its cookie.
pub(in crate::http) fn csrf_token(session: &str) -> String {
    crate::auth::digest_of("csrf", session)
}

/// RFC 6265 §4.1. `Secure` where the browser speaks TLS: it would not send it back otherwise.
fn cookie(Secure(secure): Secure, token: &str, lasts: i64) -> Result<HeaderValue, Error> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{}={token}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}", caller::COOKIE);
    HeaderValue::try_from(text).map_err(|_| Error::new(Kind::Internal, "a token that fits into no header"))
}
