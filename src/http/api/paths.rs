//! `/api/v1/paths`: what every path is and how it goes. The figures of the main rendition stand on the path itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_graphql::{Enum, SimpleObject};
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::OnPath,
        graphql::scalars::{DateTime, Long, long_or_none},
        problem::Problem,
        refusals::{BadRequest, NeedsCredential, NoneThere},
    },
    info::millis,
    listing::{Listing, PageOf},
    momentary,
};
use crate::{
    auth::{Caller, Grant, View},
    base::{Error, Kind, Monotonic, PathName},
    hls,
    hub::{PathHandle, Stream, StreamState},
    media::{self, MediaKind, rfc6381::codec_string},
    stats::Protocol,
};

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, Enum)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum PathState {
    /// Nobody watches, and nothing is pulled.
    Idle,
    /// The source was asked for and has not delivered yet.
    Waiting,
    /// Pictures come in.
    Ready,
    /// The source is connected and silent.
    Stalled,
    /// The source is gone; it is tried again.
    Lost,
}

impl From<StreamState> for PathState {
    fn from(state: StreamState) -> Self {
        match state {
            StreamState::Idle => Self::Idle,
            StreamState::Waiting => Self::Waiting,
            StreamState::Ready => Self::Ready,
            StreamState::Stalled => Self::Stalled,
            StreamState::Lost => Self::Lost,
        }
    }
}

/// What keeps a rendition from being ready.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Trouble {
    /// The stable word.
    #[schema(example = "connection_refused")]
    code: String,
    /// One sentence.
    message: String,
    /// What can be done about it.
    hint: Option<String>,
}

/// Pictures, sound or else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, Enum)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else, camera metadata first of all.
    Application,
}

/// One component of a stream.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Track {
    /// Its place among the tracks, from zero.
    id: u8,
    /// Pictures, sound or else.
    kind: TrackKind,
    /// The coding, by the name people know.
    #[schema(example = "H.264")]
    codec: String,
    /// The same as RFC 6381 writes it, with profile and level, where it has such a name.
    #[schema(example = "avc1.640028")]
    codec_string: Option<String>,
    /// Pixels, for pictures.
    width: Option<u32>,
    /// Pixels, for pictures.
    height: Option<u32>,
    /// Samples a second, for sound.
    sample_rate_hz: Option<u32>,
    /// Channels, for sound.
    channels: Option<u8>,
    /// Pictures a second over the last seconds, for pictures.
    fps: Option<f64>,
    /// Over the last seconds.
    #[graphql(skip, derived(name = "bit_rate_bps", into = "Long", owned))]
    bit_rate_bps: u64,
    /// Between the last two random access points.
    #[graphql(skip, derived(name = "gop_ms", into = "Option<Long>", owned, with = "long_or_none"))]
    gop_ms: Option<u64>,
    /// Units between the last two random access points.
    gop_units: Option<u32>,
    /// Since the newest unit arrived.
    #[graphql(skip, derived(name = "last_frame_age_ms", into = "Option<Long>", owned, with = "long_or_none"))]
    last_frame_age_ms: Option<u64>,
    /// Units since the track began.
    #[graphql(skip, derived(name = "units", into = "Long", owned))]
    units: u64,
    /// RTP packets since the track began that did not arrive.
    #[graphql(skip, derived(name = "packets_lost", into = "Long", owned))]
    packets_lost: u64,
    /// The doors that cannot carry it, each with the reason.
    #[schema(example = json!({"hls": "HLS carries no G.711"}))]
    left_out: BTreeMap<String, String>,
}

/// One of the two sizes a camera comes in.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Rendition {
    /// `main` or `sub`.
    #[schema(example = "main")]
    rendition: &'static str,
    /// Where it stands.
    state: PathState,
    /// Since when.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "since", into = "DateTime", owned))]
    since: String,
    /// What keeps it from being ready.
    error: Option<Trouble>,
    /// What fills it, without credentials.
    #[schema(example = "rtsp://10.0.0.5/stream1")]
    source: String,
    /// Its tracks as last known; none until the source was first seen.
    tracks: Vec<Track>,
    /// All its tracks together.
    #[graphql(skip, derived(name = "bit_rate_bps", into = "Long", owned))]
    bit_rate_bps: u64,
    /// Since the newest picture arrived; without pictures, the newest sound.
    #[graphql(skip, derived(name = "last_frame_age_ms", into = "Option<Long>", owned, with = "long_or_none"))]
    last_frame_age_ms: Option<u64>,
    /// Bytes received.
    #[graphql(skip, derived(name = "bytes_received", into = "Long", owned))]
    bytes_received: u64,
    /// RTP packets that did not arrive.
    #[graphql(skip, derived(name = "packets_lost", into = "Long", owned))]
    packets_lost: u64,
    /// Packets or units that could not be taken apart.
    #[graphql(skip, derived(name = "packets_bad", into = "Long", owned))]
    packets_bad: u64,
    /// Clock steps and timestamp jumps of the source.
    #[graphql(skip, derived(name = "timestamp_jumps", into = "Long", owned))]
    timestamp_jumps: u64,
    /// Connections made beyond the first.
    #[graphql(skip, derived(name = "reconnects", into = "Long", owned))]
    reconnects: u64,
    /// How much of the past is held for new viewers.
    #[graphql(skip, derived(name = "held_ms", into = "Long", owned))]
    held_ms: u64,
    /// What that costs in memory.
    #[graphql(skip, derived(name = "held_bytes", into = "Long", owned))]
    held_bytes: u64,
}

/// A path.
#[derive(Debug, Serialize, ToSchema, SimpleObject)]
pub(in crate::http) struct Path {
    /// Its name, as it stands in every URL.
    #[schema(example = "front-door")]
    name: String,
    /// What people call it.
    title: Option<String>,
    /// What people sort it under.
    group: Option<String>,
    /// Where the main rendition stands.
    state: PathState,
    /// Since when.
    #[schema(format = DateTime)]
    #[graphql(skip, derived(name = "since", into = "DateTime", owned))]
    since: String,
    /// What keeps the main rendition from being ready.
    error: Option<Trouble>,
    /// What fills the main rendition, without credentials.
    source: String,
    /// The tracks of the main rendition.
    tracks: Vec<Track>,
    /// Bits a second of the main rendition.
    #[graphql(skip, derived(name = "bit_rate_bps", into = "Long", owned))]
    bit_rate_bps: u64,
    /// Since the newest picture of the main rendition arrived.
    #[graphql(skip, derived(name = "last_frame_age_ms", into = "Option<Long>", owned, with = "long_or_none"))]
    last_frame_age_ms: Option<u64>,
    /// Bytes received, all renditions.
    #[graphql(skip, derived(name = "bytes_received", into = "Long", owned))]
    bytes_received: u64,
    /// RTP packets that did not arrive, all renditions.
    #[graphql(skip, derived(name = "packets_lost", into = "Long", owned))]
    packets_lost: u64,
    /// Connections made beyond the first, all renditions.
    #[graphql(skip, derived(name = "reconnects", into = "Long", owned))]
    reconnects: u64,
    /// Every rendition, the main one first.
    renditions: Vec<Rendition>,
    /// Who watches, by protocol.
    #[schema(example = json!({"rtsp": 1, "hls": 2, "webrtc": 0}))]
    readers: BTreeMap<String, usize>,
}

/// All paths the caller may see.
#[utoipa::path(get, path = "/api/v1/paths", tag = "paths", operation_id = "list_paths", params(PageOf), responses(
    (status = 200, description = "A page of paths.", body = Listing<Path>),
    BadRequest,
    NeedsCredential,
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    page: PageOf,
) -> Result<Response, Problem> {
    front.ask_about_all(&caller).await?;
    let (items, next) = visible(&front, &caller, &page)?;
    Ok(momentary(&Listing { items, next }))
}

/// A page of the paths that a caller may see.
///
/// # Errors
/// [`Kind::Unauthenticated`]: the caller may see none.
pub(in crate::http) fn visible(
    front: &Front,
    caller: &Caller,
    page: &PageOf,
) -> Result<(Vec<Path>, Option<String>), Error> {
    let mut names = front.rooms.hub.names();
    names.sort_unstable();
    let (mut granted, mut refused) = (Vec::<(PathName, Grant<View>)>::new(), None);
    for name in names {
        match front.rooms.gate.check::<View>(caller, &name) {
            Ok(grant) => granted.push((name, grant)),
            Err(error) => refused = Some(error),
        }
    }
    if granted.is_empty() {
        // Somebody unknown learns nothing, not even that there is nothing; somebody known sees his empty list.
        if let Some(error) = refused.filter(|error| error.kind() == Kind::Unauthenticated) {
            return Err(error);
        }
        front.rooms.gate.check_server::<View>(caller)?;
    }
    let (granted, next) = page.cut(granted, |(name, _)| name.to_string());
    // A path that a pattern made may have gone since.
    let paths = granted.iter().filter_map(|(_, grant)| front.rooms.hub.path(grant).ok());
    Ok((paths.map(|path| describe(front, &path)).collect(), next))
}

/// One path.
#[utoipa::path(get, path = "/api/v1/paths/{path}", tag = "paths", operation_id = "show_path",
    params((
        "path" = String,
        Path,
        description = "The path's name; its slashes may stand as they are, or as %2F.",
        max_length = 200,
        pattern = r"^(?!\.{1,2}(/|$))[A-Za-z0-9_.-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9_.-]+)*$",
    )),
    responses(
        (status = 200, description = "The path.", body = Path),
        BadRequest,
        NeedsCredential,
        NoneThere,
    )
)]
pub(super) async fn show(State(front): State<Arc<Front>>, OnPath(grant): OnPath<View>) -> Result<Response, Problem> {
    let path = front.rooms.hub.path(&grant)?;
    Ok(momentary(&describe(&front, &path)))
}

/// A path as it is now.
pub(in crate::http) fn describe(front: &Front, path: &PathHandle) -> Path {
    let now = front.rooms.clock.now();
    let spec = path.spec();
    let main = rendition(path.main(), now);
    let renditions: Vec<Rendition> = path.streams().map(|stream| rendition(stream, now)).collect();
    let sum = |count: fn(&Rendition) -> u64| renditions.iter().map(count).sum();
    let readers = front.rooms.sessions.readers(path.name());
    Path {
        name: path.name().to_string(),
        title: spec.title.clone(),
        group: spec.group.clone(),
        state: main.state,
        since: main.since,
        error: main.error,
        source: main.source,
        tracks: main.tracks,
        bit_rate_bps: main.bit_rate_bps,
        last_frame_age_ms: main.last_frame_age_ms,
        bytes_received: sum(|rendition| rendition.bytes_received),
        packets_lost: sum(|rendition| rendition.packets_lost),
        reconnects: sum(|rendition| rendition.reconnects),
        readers: Protocol::ALL.iter().map(|protocol| protocol.name().to_owned()).zip(readers).collect(),
        renditions,
    }
}

fn rendition(stream: &Stream, now: Monotonic) -> Rendition {
    let snapshot = stream.snapshot();
    let counters = stream.counters();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let set = stream.tracks();
    let left_out = hls::left_out(&set);
    let without = |id| left_out.iter().find(|left| left.track == id).map(|left| ("hls".to_owned(), left.to_string()));
    let tracks = set.sent().map(|described| track(stream, described, without(described.id), now));
    let tracks: Vec<Track> = tracks.collect();
    let leading = set.leading().map_or(0, |track| usize::from(track.id.0));
    let (_, held_bytes, held) = stream.holding();
    Rendition {
        rendition: stream.rendition().name(),
        state: snapshot.state.into(),
        since: snapshot.since.to_string(),
        error: snapshot.error.as_deref().map(trouble),
        source: stream.source(),
        bit_rate_bps: tracks.iter().map(|track| track.bit_rate_bps).sum(),
        last_frame_age_ms: tracks.get(leading).and_then(|track| track.last_frame_age_ms),
        tracks,
        bytes_received: count(&counters.bytes_received),
        packets_lost: count(&counters.packets_lost),
        packets_bad: count(&counters.packets_bad),
        timestamp_jumps: count(&counters.jumps),
        reconnects: count(&counters.reconnects),
        held_ms: millis(held),
        held_bytes: held_bytes as u64,
    }
}

fn track(stream: &Stream, track: &media::Track, left_out: Option<(String, String)>, now: Monotonic) -> Track {
    let figures = stream.figures(track.id);
    let size = track.parameters.picture_size();
    let sound = track.parameters.sound();
    Track {
        id: track.id.0,
        kind: match track.kind {
            MediaKind::Video => TrackKind::Video,
            MediaKind::Audio => TrackKind::Audio,
            MediaKind::Application => TrackKind::Application,
        },
        codec: track.codec_name().to_owned(),
        codec_string: codec_string(&track.parameters),
        width: size.map(|size| size.width),
        height: size.map(|size| size.height),
        sample_rate_hz: sound.map(|sound| sound.sample_rate),
        channels: sound.map(|sound| sound.channels),
        fps: (track.kind == MediaKind::Video).then_some(figures.units_per_second),
        bit_rate_bps: figures.bit_rate_bps,
        gop_ms: figures.gop.map(millis),
        gop_units: figures.gop_units,
        last_frame_age_ms: figures.newest.map(|newest| millis(now.since(newest))),
        units: figures.units,
        packets_lost: figures.packets_lost,
        left_out: left_out.into_iter().collect(),
    }
}

fn trouble(error: &Error) -> Trouble {
    Trouble {
        code: error.code().to_owned(),
        message: error.message().to_owned(),
        hint: error.hint().map(str::to_owned),
    }
}
