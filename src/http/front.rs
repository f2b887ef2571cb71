//! What every request passes, whatever its door: who asks, whose page asks, what is said on every answer, and the
//! count. One plain function around the router, so that no request pays for a stack of layers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{
    BoxError, Router,
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts, uri::Authority};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::form_urlencoded;

use super::{
    HttpOptions, Rooms,
    api::{auth::csrf_token, sensors::ReadyPages},
    caller::{Asking, Secure, authority, caller, credential, query_token, session_cookie, too_many_attempts},
    cors::{Cors, Page},
    events::EventDesk,
    forwarded,
    graphql::{GraphQl, asks_for_socket},
    hls_viewers::HlsViewers,
    link, outside,
    pace::Pace,
    problem::{Failure, Problem},
    router,
    shield::Shield,
    whep,
};
use crate::{
    auth::{Caller, Credential, Identity, Malformed, Way},
    base::{Error, Kind},
    config::Networks,
    stats::{HttpDoor, Requests},
};

/// Where the server stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// What handlers share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) rooms: Rooms,
    pub(super) requests: Arc<Requests>,
    pub(super) viewers: HlsViewers,
    /// What the doors of events keep.
    pub(super) desk: EventDesk,
    /// What the door of GraphQL keeps.
    pub(super) graphql: Arc<GraphQl>,
    /// How fast clients may ask.
    pub(super) pace: Pace,
    /// Answers about sensors, made once for all who ask.
    pub(super) sensor_pages: ReadyPages,
    /// Fires when the listener stops: what is held open ends.
    pub(super) ending: CancellationToken,
    /// What browsers are told that they may not do.
    pub(super) shield: Shield,
    /// Browsers speak TLS to this server.
    pub(super) secure: bool,
    phase: AtomicU8,
}

impl Front {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Moves on; there is no way back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }
}

/// The whole HTTP surface, without a socket.
#[derive(Clone, Debug)]
pub(super) struct Surface {
    front: Arc<Front>,
    router: Router,
    cors: Arc<Cors>,
    proxies: Arc<Networks>,
    max_body: u64,
}

impl Surface {
    pub(super) fn new(rooms: Rooms, options: &HttpOptions, ending: CancellationToken) -> Self {
        let (requests, phase) = (Arc::default(), AtomicU8::new(Phase::Starting as u8));
        let viewers = HlsViewers::new(rooms.sessions.clone());
        let desk = EventDesk::new(options.events);
        let graphql = Arc::new(GraphQl::new(options.graphql));
        let sensor_pages = ReadyPages::default();
        let (secure, pace) = (options.secure, Pace::new(options.requests, rooms.clock));
        let shield = Shield::new(&options.origins, options.hsts);
        let front =
            Front { rooms, requests, viewers, desk, graphql, pace, sensor_pages, ending, shield, secure, phase };
        let front = Arc::new(front);
        let router = router::router(front.clone());
        let (cors, proxies) = (Arc::new(Cors::new(options.origins.clone())), Arc::new(options.proxies.clone()));
        Self { front, router, cors, proxies, max_body: options.max_body }
    }

    pub(super) fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Answers a request that came on a connection from `peer`.
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut parts, body) = request.into_parts();
        let forwarded::Origin { peer, secure } = forwarded::origin(&self.proxies, peer, &parts.headers);
        let secure = secure || self.front.secure;
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        // A viewer was told with its page.
        let told = secure && !matches!(door(uri.path()), HttpDoor::Playlist | HttpDoor::Media);
        let host = parts.headers.get(header::HOST).filter(|_| told && uri.authority().is_none()).cloned();
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let user_agent = parts.headers.get(header::USER_AGENT).cloned();
        let door = door(uri.path());
        let secret = link::is_secret(&parts);
        let (page, admitted) = self.admit(&parts, peer, door);
        let admitted = match admitted {
            Ok(caller) if shows_something(&parts, door) || self.front.rooms.gate.asks_outside() => {
                self.identified(&parts, caller, door).await
            }
            admitted => admitted,
        };
        let mut response = match (admitted, door) {
            (Err(response), _) => response,
            // The doors that are knocked at all the time: the router would come to the same end.
            (Ok(caller), HttpDoor::Playlist | HttpDoor::Media) => router::named(&self.front, &parts, &caller).await,
            (Ok(caller), _) => {
                parts.extensions.insert(Asking(caller));
                parts.extensions.insert(Secure(secure));
                let request = Request::from_parts(parts, Body::new(body));
                // In a place of its own, so that the requests of those doors do not carry room for it.
                let answered = Box::pin(self.router.clone().oneshot(request)).await;
                answered.unwrap_or_else(|never| match never {})
            }
        };
        self.cors.stamp(page, origin.as_ref(), response.headers_mut());
        Shield::stamp(response.headers_mut(), secret);
        if told {
            let host = host.as_ref().and_then(|host| host.to_str().ok());
            self.front.shield.stamp_tls(uri.authority().map(Authority::as_str).or(host), response.headers_mut());
        }
        if response.status() == StatusCode::UNAUTHORIZED && !is_browser(&user_agent) {
            response.headers_mut().append(header::WWW_AUTHENTICATE, BASIC);
        }
        self.front.requests.count(door, response.status().as_u16());
        if let Some(failure) = response.extensions_mut().remove::<Failure>() {
            self.front.requests.refused(failure.code);
            log(&failure, &method, &uri, peer, response.status());
        }
        if method == Method::HEAD {
            // RFC 9110 §9.3.2: the headers, `Content-Length` among them, and no body.
            let length = http_body::Body::size_hint(response.body()).exact();
            *response.body_mut() = Body::empty();
            if let Some(length) = length {
                response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
            }
        }
        response
    }

    /// Who asks; or the answer, if the request goes no further.
    fn admit(&self, parts: &Parts, peer: SocketAddr, door: HttpDoor) -> (Page, Result<Caller, Response>) {
        let asked = authority(parts.version, &parts.uri, &parts.headers);
        let host = match asked {
            Ok(host) => host,
            Err(error) => return (Page::Foreign, Err(Problem::from(error).into_response())),
        };
        let page = self.cors.page(&parts.headers, host);
        if Cors::is_preflight(&parts.method, &parts.headers) {
            return (page, Err(self.preflight(page, door)));
        }
        // To watch is to read, whatever the method.
        let reads = parts.method.is_safe() || (door == HttpDoor::Whep && page != Page::Foreign);
        let listens = follows(parts) && !matches!(page, Page::Own | Page::Listed);
        let problem = if listens || (!reads && !self.cors.lets_in(page, &parts.method)) {
            Some(foreign_page())
        } else if content_length(parts) > self.max_body {
            let message = format!("a body has at most {} bytes", self.max_body);
            Some(Problem::of_http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        } else {
            None
        };
        let caller = caller(peer, host, &parts.headers);
        let admitted = match problem {
            None if caller.is_local() => Ok(caller),
            None => self.front.pace.of_address(peer.ip(), door).map(|()| caller).map_err(Problem::from),
            Some(problem) => Err(problem),
        };
        (page, admitted.map_err(IntoResponse::into_response))
    }

    /// The caller with who it is, as far as the request shows; or the answer, if it has to come back.
    async fn identified(&self, parts: &Parts, caller: Caller, door: HttpDoor) -> Result<Caller, Response> {
        let rooms = &self.front.rooms;
        if rooms.gate.is_off() {
            return Ok(caller);
        }
        let (credential, by_cookie) = match shown(parts, door) {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                let identity = rooms.gate.meet_nobody(&caller, || outside::knock(&caller, &parts.uri, door));
                return self.asked_about(parts, Caller { identity, ..caller }, door).await;
            }
            Err(Malformed) => return Ok(Caller { identity: Identity::Refused, ..caller }),
        };
        let (now, knock) = (rooms.clock.moment(), || outside::knock(&caller, &parts.uri, door));
        let at_once = match by_cookie {
            true => rooms.gate.recall(&credential, caller.peer.ip(), now),
            false => rooms.gate.meet_at_once(&credential, caller.peer.ip(), knock, now),
        };
        let identity = match at_once {
            // A cookie that ended is what a browser has left over, no attempt.
            Some(Identity::Refused) if by_cookie => Identity::Nobody,
            Some(identity) => identity,
            // In a place of its own, so that other requests do not carry room for it.
            None => Box::pin(rooms.gate.meet(&credential, knock(), now))
                .await
                .map_err(|late| too_many_attempts(late).into_response())?,
        };
        if let Identity::Known(known) = &identity {
            let counted = self.front.pace.of_user(known.name(), door);
            counted.map_err(|fast| Problem::from(fast).into_response())?;
        }
        let known = matches!(identity, Identity::Known(_));
        // Logging in anew asks for the password, and needs nothing else.
        let free = parts.method.is_safe() || door == HttpDoor::Whep || parts.uri.path() == "/api/v1/auth/login";
        if known && by_cookie && !free && !has_csrf_token(parts) {
            let problem = Error::new(Kind::PermissionDenied, "X-CSRF-Token is missing, or is not that of the cookie")
                .with_code("csrf_token")
                .with_hint("GET /api/v1/auth/whoami tells it");
            return Err(Problem::from(problem).into_response());
        }
        self.asked_about(parts, Caller { identity, ..caller }, door).await
    }

    /// The caller, after whoever decides was asked about this request, if that is somebody else.
    async fn asked_about(&self, parts: &Parts, caller: Caller, door: HttpDoor) -> Result<Caller, Response> {
        if matches!(caller.identity, Identity::Outside(_))
            && let Some(deed) = outside::deed(&parts.uri, door)
        {
            Box::pin(self.front.ask_about(&caller, &deed)).await.map_err(IntoResponse::into_response)?;
        }
        Ok(caller)
    }

    fn preflight(&self, page: Page, door: HttpDoor) -> Response {
        if page == Page::Foreign {
            return foreign_page().into_response();
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        self.cors.stamp_preflight(page, door == HttpDoor::Whep, response.headers_mut());
        if door == HttpDoor::Whep {
            // RFC 9725 §4.2
            response.headers_mut().insert(whep::ACCEPT_POST, whep::SDP);
        }
        response
    }
}

/// RFC 7617 §2.1. Players ask for a password only when they are told so. A browser would open a window of its own for
/// it, whatever the page does.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"campanile\", charset=\"UTF-8\"");

/// Whether a program says that it is a browser, as all of them do.
fn is_browser(user_agent: &Option<HeaderValue>) -> bool {
    user_agent.as_ref().is_some_and(|name| name.as_bytes().starts_with(b"Mozilla/"))
}

/// Whether a request may show who sent it: looked at before anything is read.
fn shows_something(parts: &Parts, door: HttpDoor) -> bool {
    parts.headers.contains_key(header::AUTHORIZATION)
        || parts.headers.contains_key(header::COOKIE)
        || (link::is_secret(parts) && url_way(parts, door).is_some())
}

/// As what a token in a URL comes, where it may stand there: at the doors of events, to which a browser can add nothing
/// else, and at those of media, for whoever has a link.
fn url_way(parts: &Parts, door: HttpDoor) -> Option<Way> {
    match door {
        HttpDoor::Events => Some(Way::Query),
        HttpDoor::Api if parts.uri.path() == EVENTS && parts.method == Method::GET => Some(Way::Query),
        HttpDoor::Playlist | HttpDoor::Media | HttpDoor::Whep => Some(Way::Link),
        _ => None,
    }
}

/// What a request shows of who sent it, and whether that came by itself, as cookies do: the header stands above the URL,
/// and that above the cookie.
fn shown(parts: &Parts, door: HttpDoor) -> Result<Option<(Credential, bool)>, Malformed> {
    if let Some(shown) = credential(&parts.headers)? {
        return Ok(Some((shown, false)));
    }
    if let Some(way) = url_way(parts, door)
        && let Some(token) = query_token(&parts.uri)
    {
        return Credential::of_token(&token, way).map(|shown| Some((shown, false)));
    }
    let cookie = session_cookie(&parts.headers).and_then(|token| Credential::of_token(token, Way::Cookie).ok());
    Ok(cookie.map(|shown| (shown, true)))
}

fn has_csrf_token(parts: &Parts) -> bool {
    let sent = parts.headers.get("x-csrf-token").map(HeaderValue::as_bytes);
    let expected = session_cookie(&parts.headers).map(csrf_token);
    sent.zip(expected).is_some_and(|(sent, expected)| sent == expected.as_bytes())
}

fn foreign_page() -> Problem {
    Error::new(Kind::PermissionDenied, "this server does not let pages of that origin in")
        .with_code("origin_not_allowed")
        .with_hint("add the origin to http.allowed_origins")
        .into()
}

/// Whether a request is answered for as long as something happens. RFC 6455 §10.2: a page that may not read the answer of a
/// request could read all that comes on a WebSocket; and whatever is held open takes a place of the user's.
fn follows(parts: &Parts) -> bool {
    let waits = |query: &str| form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "wait");
    match parts.uri.path() {
        GRAPHQL => asks_for_socket(&parts.headers),
        EVENTS => parts.uri.query().is_some_and(waits),
        path => is_socket(path) || path.starts_with(STREAMS),
    }
}

fn content_length(parts: &Parts) -> u64 {
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Where GraphQL is spoken.
pub(super) const GRAPHQL: &str = "/graphql";

/// Where events are asked for.
const EVENTS: &str = "/api/v1/events";

/// Where server-sent events come from.
const STREAMS: &str = "/stream/";

/// Whether a URL is one of the WebSockets'.
fn is_socket(path: &str) -> bool {
    path.starts_with("/ws/")
}

/// Which door a URL belongs to.
fn door(path: &str) -> HttpDoor {
    if path.starts_with("/api/") || path == GRAPHQL {
        HttpDoor::Api
    } else if path.starts_with(STREAMS) || is_socket(path) {
        HttpDoor::Events
    } else if path.starts_with("/assets/") {
        HttpDoor::Page
    } else if path.ends_with(".m3u8") {
        HttpDoor::Playlist
    } else if path.contains("/hls/") {
        HttpDoor::Media
    } else if path.ends_with("/whep") || path.contains("/whep/") {
        HttpDoor::Whep
    } else if matches!(path, "/healthz" | "/readyz" | "/metrics") {
        HttpDoor::Watch
    } else {
        HttpDoor::Page
    }
}

fn log(failure: &Failure, method: &Method, uri: &Uri, peer: SocketAddr, status: StatusCode) {
    let (id, code, path, status) = (&failure.id, failure.code, uri.path(), status.as_u16());
    if failure.ours {
        tracing::error!(%id, code, %peer, status, "{method} {path}: {}", failure.chain);
    } else {
        tracing::debug!(%id, code, %peer, status, "{method} {path}: {}", failure.chain);
    }
}
