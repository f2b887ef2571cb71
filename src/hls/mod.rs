//! HLS and Low-Latency HLS over the snapshots of [`crate::cmaf`]: playlists, their numbers and promises, blocking
//! requests (RFC 8216, draft-pantos-hls-rfc8216bis). It speaks no HTTP: doors get bytes, enums, durations and errors.
//!
//! ```text
//! /{path}/index.m3u8   Hls::multivariant
//! /{path}/hls/{file}   Hls::open, which is Hls::media_playlist for *.m3u8 and Hls::file for the rest
//! ```

mod directive;
mod document;
mod multivariant;
mod names;
mod numbers;
mod playlist;
mod server;
mod target;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::info_span;

pub use self::{
    directive::{DirectiveError, Directives, FirstAnswer, Until},
    document::Document,
};
use self::{
    multivariant::{LEARN_WITHIN, Variant},
    names::FileName,
    numbers::Numbers,
    server::Playlists,
};
use crate::{
    audio::Audio,
    auth::{Grant, View},
    base::{Clock, Error, Kind, Rendition, Result, Tasks},
    cmaf::{Carried, Cmaf, CmafPolicy, LeftOut, MuxerKey, Selection},
    config::HlsConfig,
    hub::{Hub, Stream},
    media::TrackSet,
    store::Documents,
};

/// How HLS is made.
#[derive(Clone, Debug)]
pub struct HlsOptions {
    /// The section of the configuration.
    pub config: HlsConfig,
    /// Where the numbers of playlists are kept.
    pub documents: Documents,
    /// Where earlier versions kept them, in files of `hls/`.
    pub state_dir: PathBuf,
}

/// How long an answer may be kept by caches (rfc8216bis B.1); a playlist that was waited for and all media may be kept
/// for long, since their URLs never stand for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// `Cache-Control: max-age`.
    pub max_age: Duration,
}

/// A playlist to answer with.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The text, plain and compressed.
    pub document: Arc<Document>,
    /// How long it may be kept.
    pub cache: CachePolicy,
}

/// What a piece of media holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// Pictures, with or without sound: `video/mp4`.
    Video,
    /// Sound alone: `audio/mp4`.
    Audio,
}

/// A piece of media to answer with.
#[derive(Clone, Debug)]
pub struct MediaFile {
    /// The bytes, to be sent one after the other; shared by all who ask.
    pub body: Vec<Bytes>,
    /// What they are.
    pub kind: MediaKind,
    /// How long they may be kept.
    pub cache: CachePolicy,
}

/// What is answered to a request for a file.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A playlist.
    Playlist(Rendered),
    /// A piece of media.
    Media(MediaFile),
}

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// How long that may be kept; `None` not at all.
    pub cache: Option<CachePolicy>,
}

impl Refused {
    fn cached(mut self, max_age: Duration) -> Self {
        self.cache = Some(CachePolicy { max_age });
        self
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, cache: None }
    }
}

/// The HLS of all paths. Clones share it.
#[derive(Clone, Debug)]
pub struct Hls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: Hub,
    clock: Clock,
    tasks: Tasks,
    cmaf: Cmaf,
    playlists: Playlists,
}

/// The least that the configuration may ask of parts: less than a picture is none.
const PART_LEAST: Duration = Duration::from_millis(20);

impl Hls {
    /// HLS over the paths of a hub.
    pub fn new(hub: Hub, audio: Audio, clock: Clock, tasks: &Tasks, options: HlsOptions) -> Self {
        let HlsOptions { config, documents, state_dir } = options;
        let tasks = tasks.child();
        let least_target = config.target_duration.duration().max(2 * config.segment.duration());
        let numbers = Numbers::new(documents, state_dir.join("hls"), least_target, clock, &tasks);
        let numbers = Arc::new(numbers);
        let policy = CmafPolicy {
            part: config.part.duration().max(PART_LEAST),
            segment: config.segment.duration().max(PART_LEAST),
            segments: config.segments as usize,
            max_bytes: config.max_size.as_usize(),
            close_after: (!config.always_on).then(|| config.close_after.duration()),
        };
        let cmaf = Cmaf::new(hub.clone(), audio, clock, &tasks, policy, numbers);
        let hls = Self { shared: Arc::new(Shared { hub, clock, tasks, cmaf, playlists: Playlists::default() }) };
        if config.always_on {
            hls.keep_on();
        }
        hls
    }

    /// Cuts the main rendition of every path that is pulled whether or not anybody watches.
    fn keep_on(&self) {
        /// A muxer that could not start, or a path that is new, waits for this long at most.
        const LOOK_EVERY: Duration = Duration::from_secs(2);
        let (hls, stop) = (self.clone(), self.shared.tasks.stopping().clone());
        let keep = async move {
            loop {
                for name in hls.shared.hub.names() {
                    let grant = Grant::house("hls always on", name);
                    let on_demand =
                        hls.shared.hub.path(&grant).is_ok_and(|path| path.spec().policy.close_after.is_some());
                    if !on_demand && let Err(error) = hls.shared.cmaf.muxer(&grant, Rendition::Main, Selection::Muxed) {
                        tracing::debug!("{}", error.chain());
                    }
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        };
        self.shared.tasks.spawn("hls/always on", info_span!("hls"), keep);
    }

    /// Any file below `/{path}/hls/`, with the query of its URL; `first` is what the client needs of a playlist.
    ///
    /// # Errors
    /// As [`Self::media_playlist`] and [`Self::file`].
    pub async fn open(
        &self,
        grant: &Grant<View>,
        name: &str,
        query: Option<&str>,
        first: FirstAnswer,
    ) -> Result<Reply, Refused> {
        match FileName::parse(name) {
            Some(FileName::Playlist(rendition, selection)) => {
                let directives = Directives::parse(query).map_err(|error| {
                    Error::new(Kind::InvalidArgument, error.to_string()).with_code("invalid_directive")
                })?;
                let directives = Directives { first, ..directives };
                self.media_playlist(grant, rendition, selection, directives).await.map(Reply::Playlist)
            }
            _ => self.file(grant, name).await.map(Reply::Media),
        }
    }

    /// The playlist of playlists of a path, of one of its renditions or of all it has. Asking starts the main muxer, so
    /// that there is something to play when the player comes for it.
    ///
    /// # Errors
    /// What keeps the path from playing; `nothing_playable`.
    pub async fn multivariant(
        &self,
        grant: &Grant<View>,
        rendition: Option<Rendition>,
        selection: Selection,
    ) -> Result<Rendered, Refused> {
        let path = self.shared.hub.path(grant)?;
        let name = path.name().clone();
        let first = rendition.unwrap_or_default();
        // The muxer waits for the source, and says what is wrong with it.
        let muxer = self.shared.cmaf.muxer(grant, first, selection)?;
        let snapshot = muxer.ready().await?;
        let mut variants = Vec::with_capacity(2);
        for stream in path.streams().filter(|stream| rendition.is_none_or(|only| only == stream.rendition())) {
            let set = if stream.rendition() == first { Some(stream.tracks()) } else { self.learn(stream).await };
            let Some(set) = set else { continue };
            let carried = Carried::choose(&set, selection);
            if carried.tracks.is_empty() {
                continue;
            }
            let figures = carried.tracks.iter().map(|track| stream.figures(track.id)).collect();
            let key = MuxerKey { path: name.clone(), rendition: stream.rendition(), selection };
            variants.push(Variant { key, carried, figures });
        }
        let text = multivariant::render(&variants, "hls/");
        let etag = format!("{}-{}", snapshot.run, variants.len());
        let max_age = snapshot.promise.target.duration() / 2;
        Ok(Rendered { document: Arc::new(Document::new(text, &etag)), cache: CachePolicy { max_age } })
    }

    /// The tracks of a rendition that is pulled only while it is watched. They are asked for once; who comes before
    /// they are known goes without.
    async fn learn(&self, stream: &Stream) -> Option<Arc<TrackSet>> {
        let known = stream.tracks();
        if !known.tracks.is_empty() {
            return Some(known);
        }
        let (learning, asked) = (stream.clone(), tokio::sync::oneshot::channel());
        let stop = self.shared.tasks.stopping().clone();
        let learn = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                learnt = learning.learn_tracks() => {
                    // Who asked may have gone by now.
                    let _ = asked.0.send(learnt);
                }
            }
        };
        self.shared.tasks.spawn("hls/learn", info_span!("hls"), learn);
        tokio::time::timeout(LEARN_WITHIN, asked.1).await.ok()?.ok()?
    }
}

/// The tracks of a stream that HLS does not carry, each with the reason.
pub fn left_out(set: &TrackSet) -> Vec<LeftOut> {
    Carried::choose(set, Selection::Muxed).left_out
}
