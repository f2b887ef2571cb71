//! The door of WebSockets: `/ws/events`, `/ws/alerts`, `/ws/statistics`. What is spoken after the handshake is
//! [`crate::events::ws`]'; this one knows statuses and headers. RFC 6455 §4.2; RFC 9110 §15.5.22 (426).
//!
//! A browser cannot read a refused handshake. So a missing right and a limit are told after it, by close code; only a
//! foreign page, a server that ends, and what is no handshake at all are refused by status.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderValue, Method, StatusCode, Version, header};
use url::form_urlencoded;

use super::{
    caller::Asking,
    events::{scope, switched_off},
    front::{Front, Phase},
    grant::Named,
    problem::Problem,
    upgrade::Upgrade,
};
use crate::{
    auth::{
        Ack, Action, Admin, Caller, Control, Credential, Deed, Gate, Identity, Knock, Subject, TryLater, View, Way,
    },
    base::{Error, Kind, PathName, Result, WallTime},
    events::{
        Cursor, Scope,
        ws::{
            Arrival, Host, Login, Preset, Renewed, Rights,
            close::Violation,
            encoding::Encoding,
            handshake::{self, Agreed, Refusal},
            messages::{StreamUrl, VideoRequest},
        },
    },
};

/// `/ws/{door}`
pub(super) async fn open(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(door): Named,
    request: Request,
) -> Result<Response, Problem> {
    let preset = Preset::ALL.into_iter().find(|preset| preset.name() == door);
    let Some(preset) = preset else { return Err(Problem::not_found()) };
    switched_off(front.rooms.websockets.is_some(), "websocket")?;
    let Some(sockets) = front.rooms.websockets.clone() else { return Err(Problem::not_found()) };
    let agreed = shake_hands(&front, &request, sockets.deflates())?;
    let after = match query(request.uri().query(), "after") {
        None => None,
        Some(text) => Some(text.parse::<Cursor>().map_err(|()| {
            Error::new(Kind::InvalidArgument, "`after` is no `id` of a fact").with_code("invalid_cursor")
        })?),
    };
    let place = Place { encoding: agreed.encoding, preset, after };
    let gate = &front.rooms.gate;
    let connection = if gate.subject(&caller).is_some() {
        sockets.admit(place.arrival(&front, caller))
    } else if caller.shows_nothing() {
        let address = caller.peer.ip();
        sockets.admit_unknown(agreed.encoding, address, Arc::new(Stranger { front, caller, place }))
    } else {
        sockets.turn_away(agreed.encoding, Violation::of_nobody(&gate.nobody(&caller)))
    };
    let mut response = Upgrade::answer(HeaderValue::from_static("websocket"), move |stream, early, stopping| {
        connection.run(stream, early, stopping).boxed()
    });
    response.headers_mut().extend(agreed.headers);
    Ok(response)
}

/// What a client asked for when it came.
#[derive(Clone, Copy, Debug)]
struct Place {
    encoding: Encoding,
    preset: Preset,
    after: Option<Cursor>,
}

impl Place {
    fn arrival(self, front: &Arc<Front>, caller: Caller) -> Arrival {
        let gate = &front.rooms.gate;
        let subject = gate.subject(&caller);
        Arrival {
            encoding: self.encoding,
            preset: self.preset,
            user: user(subject.as_ref()).into(),
            named: subject.as_ref().is_some_and(Subject::is_user),
            address: caller.peer.ip(),
            until: until(&caller),
            scope: scope(gate, &caller).unwrap_or_else(|_| Scope::nothing()),
            rights: rights(gate, &caller),
            after: self.after,
            host: Arc::new(Visitor { front: front.clone(), caller }),
        }
    }
}

/// A client that showed nothing when it came, and may say who it is.
#[derive(Debug)]
struct Stranger {
    front: Arc<Front>,
    caller: Caller,
    place: Place,
}

impl Login for Stranger {
    fn log_in<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arrival>> {
        async move {
            let wrong = || Error::new(Kind::Unauthenticated, "the token is not valid").with_code("invalid_credential");
            let shown = Credential::of_token(token, Way::Message).map_err(|_malformed| wrong())?;
            let caller = Box::pin(met(&self.front, &self.caller, &shown)).await?;
            let gate = &self.front.rooms.gate;
            gate.subject(&caller).ok_or_else(|| gate.nobody(&caller))?;
            Ok(self.place.arrival(&self.front, caller))
        }
        .boxed()
    }
}

/// A caller with who it is by what it shows on a connection that is open.
///
/// # Errors
/// It has to wait first.
pub(super) async fn met(front: &Front, caller: &Caller, shown: &Credential) -> Result<Caller> {
    let (gate, now) = (&front.rooms.gate, front.rooms.clock.moment());
    let identity = gate.meet(shown, Knock::from(caller.peer.ip()), now).await.map_err(too_many)?;
    let caller = Caller { identity, ..caller.clone() };
    gate.ask(&caller, &Deed::Api, now).await.map_err(too_many)?;
    Ok(caller)
}

fn too_many(_: TryLater) -> Error {
    let message = "too many logins failed, or are tried at once";
    Error::new(Kind::Unavailable, message).with_code("too_many_attempts")
}

/// Whether a request opens a WebSocket, and what is agreed on then.
///
/// # Errors
/// It is no handshake, or the server ends.
pub(super) fn shake_hands(front: &Front, request: &Request, deflate: bool) -> Result<Agreed, Problem> {
    if request.method() != Method::GET {
        return Err(Problem::method_not_allowed("GET"));
    }
    // RFC 9113 §8.6: HTTP/2 has no upgrade, and RFC 8441 is not spoken here.
    if request.version() != Version::HTTP_11 {
        let message = "a WebSocket is opened over HTTP/1.1";
        return Err(Error::new(Kind::InvalidArgument, message).with_code("websocket_needs_http_1_1").into());
    }
    if front.phase() == Phase::Draining {
        return Err(Error::new(Kind::Unavailable, "the server ends").with_code("draining").into());
    }
    handshake::negotiate(request.headers(), deflate).map_err(refuse)
}

fn refuse(refusal: Refusal) -> Problem {
    let (status, code) = match refusal {
        Refusal::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, "websocket_expected"),
        Refusal::Version => (StatusCode::UPGRADE_REQUIRED, "websocket_version"),
        Refusal::Key => (StatusCode::BAD_REQUEST, "websocket_key"),
    };
    let problem = Problem::of_http(status, code, refusal.to_string());
    if status == StatusCode::BAD_REQUEST {
        return problem;
    }
    // RFC 9110 §15.5.22, RFC 6455 §4.2.2
    problem
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
        .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// The first value of a parameter.
fn query(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn rights(gate: &Gate, caller: &Caller) -> Rights {
    Rights {
        ack: gate.check_server::<Ack>(caller).ok(),
        control: gate.check_server::<Control>(caller).ok(),
        admin: gate.check_server::<Admin>(caller).ok(),
    }
}

/// When the token ends by which a caller is known.
fn until(caller: &Caller) -> Option<WallTime> {
    match &caller.identity {
        Identity::Known(known) => known.token().filter(|token| token.ends()).map(|token| token.until),
        Identity::Nobody | Identity::Refused | Identity::Outside(_) => None,
    }
}

/// The name of a caller, for those it writes to and for the audit.
pub(super) fn user(subject: Option<&Subject>) -> &str {
    subject.map_or("guest", Subject::name)
}

/// One caller.
#[derive(Debug)]
struct Visitor {
    front: Arc<Front>,
    caller: Caller,
}

impl Host for Visitor {
    fn urls<'a>(&'a self, request: &'a VideoRequest) -> BoxFuture<'a, Result<(String, Vec<StreamUrl>)>> {
        self.urls_of(request).boxed()
    }

    fn renew<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Renewed>> {
        self.renewed(token).boxed()
    }
}

/// The kinds of doors, the liveliest first.
const KINDS: [&str; 3] = ["whep", "hls", "rtsp"];

impl Visitor {
    async fn urls_of(&self, request: &VideoRequest) -> Result<(String, Vec<StreamUrl>)> {
        let rooms = &self.front.rooms;
        let named = request.path.as_deref().map(str::parse::<PathName>).transpose().map_err(|error| {
            Error::new(Kind::InvalidArgument, "path is no camera's name")
                .with_code("invalid_path_name")
                .caused_by(error)
        })?;
        let none = || Error::new(Kind::NotFound, "there is no camera").with_code("path_not_found");
        let name = named.or_else(|| rooms.info.default_path.clone()).ok_or_else(none)?;
        self.front.ask(&self.caller, Action::View, &name).await.map_err(Problem::into_error)?;
        let grant = rooms.gate.check::<View>(&self.caller, &name)?;
        rooms.hub.path(&grant)?;
        let accepted = |kind: &&str| request.accepts.is_empty() || request.accepts.iter().any(|word| word == kind);
        let mut kinds: Vec<&str> = KINDS.into_iter().filter(accepted).collect();
        // The caller's order.
        kinds.sort_by_key(|kind| request.accepts.iter().position(|word| word == kind));
        let urls: Vec<_> = kinds.into_iter().filter_map(|kind| self.url(kind, &name)).collect();
        if urls.is_empty() {
            let message = "no door is open that can play what you accept";
            return Err(Error::new(Kind::Unsupported, message).with_code("nothing_to_play"));
        }
        Ok((name.to_string(), urls))
    }

    async fn renewed(&self, token: &str) -> Result<Renewed> {
        let (rooms, wrong) = (&self.front.rooms, Error::new(Kind::Unauthenticated, "the token is not valid"));
        let Ok(shown) = Credential::of_token(token, Way::Message) else {
            return Err(wrong.with_code("invalid_credential"));
        };
        let (from, now) = (self.caller.peer.ip(), rooms.clock.moment());
        let identity = Box::pin(rooms.gate.identify(&shown, from, now)).await.map_err(too_many)?;
        let (Identity::Known(before), Identity::Known(known)) = (&self.caller.identity, &identity) else {
            return Err(wrong.with_code("invalid_credential"));
        };
        if before.name() != known.name() {
            let message = "the token is another user's: open a connection of its own";
            return Err(Error::new(Kind::PermissionDenied, message).with_code("another_user"));
        }
        let caller = Caller { identity, ..self.caller.clone() };
        let scope = scope(&rooms.gate, &caller)?;
        let (until, rights) = (until(&caller), rights(&rooms.gate, &caller));
        Ok(Renewed { until, scope, rights, host: Arc::new(Self { front: self.front.clone(), caller }) })
    }

    fn url(&self, kind: &str, name: &PathName) -> Option<StreamUrl> {
        let door = self.front.rooms.info.doors.iter().find(|door| door.name == kind)?;
        let url = match kind {
            "whep" => format!("/{name}/whep"),
            "hls" => format!("/{name}/index.m3u8"),
            _ => door.urls.first()?.replace("{path}", name.as_str()),
        };
        Some(StreamUrl { kind: kind.to_owned(), url })
    }
}

#[cfg(test)]
mod tests;
