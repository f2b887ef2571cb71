//! The doors of HLS: `/{path}/index.m3u8` and what its playlists name. Bytes and promises are [`crate::hls`]'s; this one
//! knows headers.
//!
//! These are the doors that are knocked at ten times a second by every viewer: a request pays for the permission check,
//! a look-up of its viewer and the answer, and for nothing else. RFC 8216; draft-pantos-hls-rfc8216bis §6.2.1 and
//! appendix B.1 (what caches may keep); RFC 9110 §14 (ranges).

use std::{sync::LazyLock, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header, request::Parts};

use super::{
    assets::accepts,
    front::Front,
    hls_viewers::{Viewer, Visit},
    link,
    pages::is_known,
    problem::Problem,
    range::{self, Wanted},
    target::{HlsFile, Place},
};
use crate::{
    auth::{Caller, View},
    base::{Error, Kind, Rendition},
    cmaf::Selection,
    hls::{CachePolicy, FirstAnswer, MediaFile, MediaKind, Refused, Rendered, Reply},
};

/// Answers a GET or HEAD of a playlist or a piece of media.
pub(super) async fn serve(front: &Front, parts: &Parts, caller: &Caller, place: Place, file: HlsFile) -> Response {
    let kept = if front.rooms.gate.is_off() { Kept::ByAll } else { Kept::ByAsker };
    match answer(front, parts, caller, &place, &file, kept).await {
        Ok(response) => response,
        Err(refused) => refuse(refused, kept),
    }
}

/// Who may keep an answer. What a login allowed is for nobody else, whatever it came by: a cache would not ask again
/// (RFC 9111 §5.2.2.7; §3.5 speaks of `Authorization` alone, and a cookie opens these doors as well).
#[derive(Clone, Copy)]
enum Kept {
    ByAll,
    ByAsker,
}

async fn answer(
    front: &Front,
    parts: &Parts,
    caller: &Caller,
    place: &Place,
    file: &HlsFile,
    kept: Kept,
) -> Result<Response, Refused> {
    let disabled = || Error::new(Kind::NotFound, "HLS is switched off").with_code("hls_disabled");
    let hls = front.rooms.hls.as_ref().ok_or_else(disabled)?;
    let grant = front.rooms.gate.check::<View>(caller, &place.path)?;
    let carried = link::carried(parts, caller);
    let HlsFile::Named(name) = file else {
        let only = place.explicit.then_some(place.rendition);
        // Once per player: in a place of its own, so that the other requests do not carry room for it.
        let playlist = Box::pin(hls.multivariant(&grant, only, selection(parts.uri.query())?));
        let playlist = front.unless_ending(playlist).await?;
        return Ok(playlist_response(&playlist, &parts.headers, kept, carried.as_deref()));
    };
    let visit = Visit {
        path: &place.path,
        rendition: if name.starts_with(Rendition::Sub.name()) { Rendition::Sub } else { Rendition::Main },
        peer: caller.peer,
        agent: parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
        transport: if parts.version == Version::HTTP_2 { "http/2" } else { "http/1.1" },
    };
    let known = front.viewers.known(&visit, front.rooms.clock.now())?;
    let reply = hls.open(&grant, name, parts.uri.query(), first_answer(visit.agent));
    let reply = front.unless_ending(reply).await?;
    // Only what exists has viewers; one who was sent away meanwhile gets nothing more.
    let clock = front.rooms.clock;
    let viewer = match known.filter(|viewer| !viewer.session().kicked().is_cancelled()) {
        Some(viewer) => viewer,
        None => front.viewers.admit(&visit, clock.now(), clock.wall())?,
    };
    Ok(match reply {
        Reply::Playlist(playlist) => playlist_response(&playlist, &parts.headers, kept, carried.as_deref()),
        Reply::Media(media) => media_response(media, &parts.headers, &viewer, kept),
    })
}

impl Front {
    /// The same, unless the server ends first: what is held open must not hold up the end.
    async fn unless_ending<T>(&self, answer: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.ending.cancelled() => {
                Err(Error::new(Kind::Unavailable, "the server is ending").with_code("draining").into())
            }
        }
    }
}

/// ffmpeg, and what is built on it, names itself by its library.
fn first_answer(agent: Option<&str>) -> FirstAnswer {
    if agent.is_some_and(|agent| agent.starts_with("Lavf/")) { FirstAnswer::WithSegment } else { FirstAnswer::AtOnce }
}

/// `?tracks=video` is for muted tiles; the default is picture and sound in one.
fn selection(query: Option<&str>) -> Result<Selection, Error> {
    let tracks = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("tracks="));
    match tracks {
        None => Ok(Selection::Muxed),
        Some("video") => Ok(Selection::Video),
        Some("audio") => Ok(Selection::Audio),
        Some(_) => Err(Error::new(Kind::InvalidArgument, "tracks is `video` or `audio`, or is left out")
            .with_code("invalid_tracks")),
    }
}

/// A playlist; for whoever has a link, with its token on every URI: that one is made for them alone.
fn playlist_response(playlist: &Rendered, asked: &HeaderMap, kept: Kept, carried: Option<&str>) -> Response {
    let document = &playlist.document;
    let etag = HeaderValue::from_maybe_shared(document.etag().clone()).ok();
    let packed = asked
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accepted| carried.is_none() && accepts(accepted, "gzip"));
    let known = etag.as_ref().and_then(|etag| etag.to_str().ok()).is_some_and(|etag| is_known(asked, etag));
    let mut response = if known {
        answer_of(StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        let whole = if packed { document.gzip() } else { document.body() };
        let body = match carried {
            Some(token) => Body::from(link::playlist(&String::from_utf8_lossy(&whole), token)),
            None => Body::from(whole),
        };
        answer_of(StatusCode::OK, body)
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apple.mpegurl"));
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CACHE_CONTROL, cache_control(playlist.cache, kept));
    headers.extend(etag.map(|etag| (header::ETAG, etag)));
    response
}

/// An answer with room for the headers it will have: a map that grows is filled anew each time.
fn answer_of(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    response
}

/// Headers of an answer: six of these doors, the front's three, and what the codec adds.
const HEADERS: usize = 12;

fn media_response(media: MediaFile, asked: &HeaderMap, viewer: &Viewer, kept: Kept) -> Response {
    let MediaFile { body, kind, cache } = media;
    let length = range::total(&body);
    let (status, body, content_range) = match range::wanted(asked, length) {
        Wanted::Whole => (StatusCode::OK, body, None),
        Wanted::Part(part) => {
            let told = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            (StatusCode::PARTIAL_CONTENT, range::cut(body, &part), Some(told))
        }
        Wanted::Nothing => {
            let told = format!("bytes */{length}");
            let problem = Problem::of_http(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", told.clone());
            let told = HeaderValue::try_from(told).into_iter();
            return told
                .fold(problem, |problem, told| problem.with_header(header::CONTENT_RANGE, told))
                .into_response();
        }
    };
    viewer.session().sent(1, range::total(&body));
    let mut response = answer_of(status, range::body(body));
    let headers = response.headers_mut();
    let content_type = match kind {
        MediaKind::Video => "video/mp4",
        MediaKind::Audio => "audio/mp4",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, cache_control(cache, kept));
    headers.extend(
        content_range.map(HeaderValue::try_from).and_then(Result::ok).map(|told| (header::CONTENT_RANGE, told)),
    );
    response
}

fn refuse(refused: Refused, kept: Kept) -> Response {
    let Refused { error, cache } = refused;
    let problem = Problem::from(error);
    let problem = match cache {
        Some(cache) => problem.with_header(header::CACHE_CONTROL, cache_control(cache, kept)),
        None => problem,
    };
    problem.into_response()
}

/// `max-age` in whole seconds, rounded down, but not to nothing.
fn cache_control(cache: CachePolicy, kept: Kept) -> HeaderValue {
    /// Those of every target duration there is, made once.
    static AGES: LazyLock<[Vec<HeaderValue>; 2]> = LazyLock::new(|| {
        let ages = |kept| (0..=180).map(|seconds| max_age(seconds, kept)).collect();
        [ages(Kept::ByAll), ages(Kept::ByAsker)]
    });
    let seconds = cache.max_age.as_secs().max(u64::from(cache.max_age > Duration::ZERO));
    let made = usize::try_from(seconds).ok().and_then(|seconds| AGES[kept as usize].get(seconds));
    made.cloned().unwrap_or_else(|| max_age(seconds, kept))
}

fn max_age(seconds: u64, kept: Kept) -> HeaderValue {
    let value = match kept {
        Kept::ByAll => HeaderValue::try_from(format!("max-age={seconds}")),
        Kept::ByAsker => HeaderValue::try_from(format!("private, max-age={seconds}")),
    };
    // Digits are always a header value.
    value.unwrap_or(HeaderValue::from_static("no-store"))
}
