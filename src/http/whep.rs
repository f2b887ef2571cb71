//! The door of WHEP: `POST /{path}/whep` with an offer, `PATCH` and `DELETE` of the session it makes. Sessions are
//! [`crate::webrtc`]'s; this one knows statuses and headers.
//!
//! draft-ietf-wish-whep-03 and what it takes over from RFC 9725 (`Location`, `ETag`, `Link`, `Accept-Post`); RFC 8840
//! §10 (the type of fragments); RFC 6585 §3 (428); RFC 9651 (the headers of our own).

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

use super::{
    body,
    front::Front,
    link,
    problem::{Problem, ProblemBody},
    refusals::NeedsCredential,
    target::Place,
};
use crate::{
    auth::{Caller, View},
    base::{Error, Kind, Rendition, id::SessionId},
    webrtc::{IceServer, LeftOut, Notice, OpenRefused, Opened, PatchRefused, Patched, WebRtc},
};

pub(super) const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const FRAGMENT: HeaderValue = HeaderValue::from_static("application/trickle-ice-sdpfrag");
/// RFC 9725 §4.2: what the endpoint takes.
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// RFC 5789 §3.1: what the session takes.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The tracks that are not carried (RFC 9651: a list of words with parameters).
const LEFT_OUT: HeaderName = HeaderName::from_static("campanile-left-out");
/// What the viewer may not be able to show.
const NOTICE: HeaderName = HeaderName::from_static("campanile-notice");
/// Which of the two sizes it begins with.
const RENDITION: HeaderName = HeaderName::from_static("campanile-rendition");

const ENDPOINT_TAKES: &str = "POST, OPTIONS";
const SESSION_TAKES: &str = "PATCH, DELETE, OPTIONS";

/// The largest body that is read; offers and fragments have tighter bounds of their own.
const BODY_MAX: usize = 256 * 1024;

/// Answers any request of the endpoint, or of one of its sessions.
pub(super) async fn serve(
    front: &Front,
    parts: &Parts,
    caller: &Caller,
    body: Body,
    place: Place,
    session: Option<String>,
) -> Response {
    let takes = if session.is_some() { SESSION_TAKES } else { ENDPOINT_TAKES };
    let answered = match (&parts.method, session) {
        // Never needs a credential (RFC 9725 §4.2), and tells nothing of the path.
        (&Method::OPTIONS, session) => Ok(options(session.is_some())),
        (&Method::POST, None) => open(front, parts, caller, body, &place).await,
        (&Method::PATCH, Some(id)) => patch(front, parts, caller, body, &place, &id).await,
        (&Method::DELETE, Some(id)) => close(front, caller, &place, &id).await,
        // RFC 9725 §4.2: GET, HEAD and PUT are kept for the future.
        _ => Err(Problem::method_not_allowed(takes)),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn options(session: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if session {
        headers.insert(header::ALLOW, HeaderValue::from_static(SESSION_TAKES));
        headers.insert(ACCEPT_PATCH, FRAGMENT);
    } else {
        headers.insert(header::ALLOW, HeaderValue::from_static(ENDPOINT_TAKES));
        headers.insert(ACCEPT_POST, SDP);
    }
    response
}

/// The choice of a viewer that says nothing about it in its URL.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is there for the description of the API")]
struct OpenOptions {
    /// `main` or `sub`, the size to begin with; the server chooses if it is left out.
    rendition: Option<String>,
}

/// Begins to watch a path over WebRTC.
///
/// The answer is complete: no candidate follows, and none of the viewer's is needed. `/{path}/sub/whep` is the same with
/// `rendition=sub`.
#[utoipa::path(post, path = "/{path}/whep", tag = "whep", operation_id = "open_whep_session",
    params(("path" = String, Path, description = "The path, which may have slashes."), OpenOptions),
    request_body(content = String, content_type = "application/sdp", description = "The viewer's SDP offer."),
    responses(
        (status = 201, description = "The SDP answer.", body = String, content_type = "application/sdp", headers(
            ("location" = String, description = "The session, relative to this URL."),
            ("etag" = String, description = "The ICE session, for `If-Match`."),
            ("link" = String, description = "STUN and TURN servers, `rel=\"ice-server\"`."),
            ("campanile-left-out" = String, description = "Tracks of the path that are not carried, and why."),
            ("campanile-notice" = String, description = "What the viewer may not be able to show although it is sent."),
            ("campanile-rendition" = String, description = "`main` or `sub`."),
        )),
        (status = 400, description = "There is no offer, or it cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        (status = 404, description = "There is no such path.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "The viewer can take none of the path's tracks; the detail has both lists.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The path has nothing to show yet: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not `application/sdp`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The offer is none of a viewer: it does not ask to receive.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "A limit is reached: try again after `Retry-After`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn open(front: &Front, parts: &Parts, caller: &Caller, body: Body, place: &Place) -> Result<Response, Problem> {
    let webrtc = webrtc(front)?;
    let grant = front.rooms.gate.check::<View>(caller, &place.path)?;
    let asked = asked(place, parts.uri.query())?;
    let offer = text(&parts.headers, body).await?;
    if offer.trim().is_empty() {
        return Err(no_offer());
    }
    content_type(&parts.headers, &SDP, ACCEPT_POST)?;
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    match webrtc.open(grant, asked, &offer, caller.peer, agent).await {
        Ok(opened) => Ok(created(opened, &webrtc.ice_servers(), link::carried(parts, caller).as_deref())),
        Err(refused) => Err(refuse(refused)),
    }
}

/// Sends candidates, or begins ICE anew.
#[utoipa::path(patch, path = "/{path}/whep/{id}", tag = "whep", operation_id = "patch_whep_session",
    params(
        ("path" = String, Path, description = "The path, which may have slashes."),
        ("id" = String, Path, description = "The session's id.", pattern = "^[0-9a-f]{32}$"),
        ("if-match" = String, Header, description = "The session's entity tag, or `*` to begin ICE anew."),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag", description = "A fragment (RFC 8840)."),
    responses(
        (status = 200, description = "ICE begins anew: our half.", body = String, content_type = "application/trickle-ice-sdpfrag", headers(
            ("etag" = String, description = "The new ICE session."),
        )),
        (status = 204, description = "The candidates were taken note of."),
        (status = 400, description = "The fragment cannot be read.", body = ProblemBody, content_type = "application/problem+json"),
        NeedsCredential,
        (status = 404, description = "There is no such session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "The entity tag is that of an earlier ICE session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not a fragment.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The fragment asks for what is not done here.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn patch(
    front: &Front,
    parts: &Parts,
    caller: &Caller,
    body: Body,
    place: &Place,
    id: &str,
) -> Result<Response, Problem> {
    let webrtc = webrtc(front)?;
    front.rooms.gate.check::<View>(caller, &place.path)?;
    content_type(&parts.headers, &FRAGMENT, ACCEPT_PATCH)?;
    let id = SessionId::parse(id).ok_or_else(no_session)?;
    let fragment = text(&parts.headers, body).await?;
    match webrtc.patch(&place.path, id, if_match(&parts.headers), &fragment).await {
        Ok(patched) => Ok(accepted(patched)),
        Err(refused) => Err(refuse_patch(refused)),
    }
}

/// Stops watching.
#[utoipa::path(delete, path = "/{path}/whep/{id}", tag = "whep", operation_id = "close_whep_session",
    params(
        ("path" = String, Path, description = "The path, which may have slashes."),
        ("id" = String, Path, description = "The session's id.", pattern = "^[0-9a-f]{32}$"),
    ),
    responses(
        (status = 200, description = "It has ended."),
        NeedsCredential,
        (status = 404, description = "There is no such session.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn close(front: &Front, caller: &Caller, place: &Place, id: &str) -> Result<Response, Problem> {
    let webrtc = webrtc(front)?;
    front.rooms.gate.check::<View>(caller, &place.path)?;
    let id = SessionId::parse(id).ok_or_else(no_session)?;
    if webrtc.close(&place.path, id).await { Ok(StatusCode::OK.into_response()) } else { Err(no_session()) }
}

/// RFC 9725 §4.3.3 writes `If-Match: "*"`, with quotes that make a tag of it (RFC 9110 §8.8.3); any tag is meant.
fn if_match(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    Some(if given == "\"*\"" { "*" } else { given })
}

fn webrtc(front: &Front) -> Result<&WebRtc, Problem> {
    let off = || Error::new(Kind::NotFound, "WebRTC is switched off").with_code("webrtc_disabled");
    front.rooms.webrtc.as_ref().ok_or_else(|| off().into())
}

/// The size that the URL names, in its path or in its query.
fn asked(place: &Place, query: Option<&str>) -> Result<Option<Rendition>, Problem> {
    let named = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("rendition="));
    match named {
        None => Ok(place.explicit.then_some(place.rendition)),
        Some("main") => Ok(Some(Rendition::Main)),
        Some("sub") => Ok(Some(Rendition::Sub)),
        Some(_) => Err(Error::new(Kind::InvalidArgument, "rendition is `main` or `sub`, or is left out")
            .with_code("invalid_rendition")
            .into()),
    }
}

/// RFC 9725 §4.2: the type is what tells an offer from anything else. Parameters say nothing here.
fn content_type(headers: &HeaderMap, wanted: &HeaderValue, announce: HeaderName) -> Result<(), Problem> {
    let wanted_text = wanted.to_str().unwrap_or_default();
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted_text)) {
        return Ok(());
    }
    let message = match given {
        "" => format!("a body of {wanted_text} needs its `Content-Type`"),
        _ => format!("this URL takes {wanted_text}"),
    };
    let problem = Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message);
    Err(problem.with_header(announce, wanted.clone()))
}

async fn text(headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let collected = body::whole(headers, body, BODY_MAX).await?;
    String::from_utf8(collected.into()).map_err(|_| {
        Error::new(Kind::InvalidArgument, "a session description is a text in UTF-8").with_code("invalid_offer").into()
    })
}

/// Some clients expect the server's offer first, as older drafts had it.
fn no_offer() -> Problem {
    Error::new(Kind::InvalidArgument, "the request has no offer: here the viewer offers and the server answers")
        .with_code("offer_missing")
        .with_hint(
            "POST the viewer's SDP offer (recvonly) with `Content-Type: application/sdp`; the body of the 201 is the \
             SDP answer",
        )
        .into()
}

fn no_session() -> Problem {
    Error::new(Kind::NotFound, "there is no session of this id on this path").with_code("session_not_found").into()
}

/// For whoever has a link, the session's URL carries its token on.
fn created(opened: Opened, servers: &[IceServer], carried: Option<&str>) -> Response {
    let mut response = Response::new(Body::from(opened.answer));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, SDP);
    headers.insert(ACCEPT_PATCH, FRAGMENT);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Relative (RFC 9110 §10.2.2), so that it holds behind a proxy under any prefix.
    let location = format!("whep/{}", opened.id);
    let location = carried.map_or_else(|| location.clone(), |token| link::with_token(&location, token));
    headers.extend(HeaderValue::try_from(location).map(|location| (header::LOCATION, location)));
    headers.extend(HeaderValue::try_from(opened.etag).map(|etag| (header::ETAG, etag)));
    headers.insert(RENDITION, HeaderValue::from_static(opened.rendition.name()));
    if !opened.left_out.is_empty() {
        headers.extend(list(opened.left_out.iter().map(left_out)).map(|list| (LEFT_OUT, list)));
    }
    if !opened.notices.is_empty() {
        headers.extend(list(opened.notices.iter().map(notice)).map(|list| (NOTICE, list)));
    }
    for link in servers.iter().flat_map(links) {
        headers.append(header::LINK, link);
    }
    response
}

/// RFC 9725 §4.6: one link for each URL of a server. What no header can carry is left out.
fn links(server: &IceServer) -> impl Iterator<Item = HeaderValue> {
    server.urls.iter().filter_map(|url| {
        let mut link = format!("<{url}>; rel=\"ice-server\"");
        if let (true, Some(username), Some(credential)) =
            (url.starts_with("turn"), &server.username, &server.credential)
        {
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            link += &format!(
                "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(username),
                quoted(credential)
            );
        }
        let mut value = HeaderValue::try_from(link).ok()?;
        value.set_sensitive(server.credential.is_some());
        Some(value)
    })
}

fn list(items: impl Iterator<Item = String>) -> Option<HeaderValue> {
    HeaderValue::try_from(items.collect::<Vec<_>>().join(", ")).ok()
}

/// `audio;track=1;codec="AAC";reason="…"`
fn left_out(left_out: &LeftOut) -> String {
    let LeftOut { track, kind, codec, reason } = left_out;
    format!("{};track={track};codec={};reason={}", kind.name(), string(codec), string(reason))
}

/// `reordered-pictures;track=0;text="…"`
fn notice(notice: &Notice) -> String {
    let Notice { track, code, text } = notice;
    format!("{};track={track};text={}", code.replace('_', "-"), string(text))
}

/// RFC 9651 §3.3.3: a string has ASCII only.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            'µ' => out.push('u'),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

fn accepted(patched: Patched) -> Response {
    match patched {
        // RFC 9725 §4.3.1: no entity tag, since nothing changed that it stands for.
        Patched::Accepted => StatusCode::NO_CONTENT.into_response(),
        Patched::Restarted { fragment, etag } => {
            let mut response = Response::new(Body::from(fragment));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, FRAGMENT);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.extend(HeaderValue::try_from(etag).map(|etag| (header::ETAG, etag)));
            response
        }
    }
}

/// The error as a problem of a status that only this door has.
fn with_status(status: StatusCode, error: Error) -> Problem {
    Problem::from(error).with_status(status)
}

fn later(problem: Problem, retry_after: Duration) -> Problem {
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    problem.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

fn refuse(refused: OpenRefused) -> Problem {
    match refused {
        OpenRefused::Invalid(error) => with_status(StatusCode::BAD_REQUEST, error),
        OpenRefused::Direction(error) => with_status(StatusCode::UNPROCESSABLE_ENTITY, error),
        OpenRefused::NothingShared(error) => with_status(StatusCode::NOT_ACCEPTABLE, error),
        OpenRefused::NotReady { error, retry_after } => later(with_status(StatusCode::CONFLICT, error), retry_after),
        OpenRefused::Full { error, retry_after } => {
            later(with_status(StatusCode::SERVICE_UNAVAILABLE, error), retry_after)
        }
        OpenRefused::Refused(error) => error.into(),
    }
}

fn refuse_patch(refused: PatchRefused) -> Problem {
    match refused {
        PatchRefused::NoSession => no_session(),
        PatchRefused::MissingMatch => Problem::of_http(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_missing",
            "`If-Match` is missing: the session's `ETag`, or `*` to begin ICE anew",
        ),
        PatchRefused::Stale => Problem::of_http(
            StatusCode::PRECONDITION_FAILED,
            "ice_session_stale",
            "`If-Match` is the tag of an earlier ICE session",
        ),
        PatchRefused::Invalid(error) => with_status(StatusCode::BAD_REQUEST, error),
        PatchRefused::Unsupported(error) => with_status(StatusCode::UNPROCESSABLE_ENTITY, error),
    }
}

#[cfg(test)]
mod tests;
