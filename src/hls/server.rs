//! Requests for playlists and media: which muxer, how long to wait, what to answer. Per request there is a look-up, a
//! place in the one list of waiters, and a clone of shared bytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    CachePolicy, Document, Hls, MediaFile, MediaKind, Refused, Rendered,
    directive::{DirectiveError, Directives, FirstAnswer, Until},
    names::{FileName, Piece},
    playlist::{self, Form, Report},
};
use crate::{
    auth::{Grant, View},
    base::{Clock, Error, Kind, Monotonic, Rendition},
    cmaf::{CmafSnapshot, MuxerHandle, MuxerKey, RunToken, Selection},
    media,
};

/// The playlists somebody has asked for, by muxer.
#[derive(Debug, Default)]
pub(super) struct Playlists {
    /// Held for a look-up or an insert.
    open: Mutex<HashMap<MuxerKey, Arc<Playlist>>>,
}

/// One run of a muxer as a playlist.
#[derive(Debug)]
pub(super) struct Playlist {
    key: MuxerKey,
    muxer: MuxerHandle,
    /// The newest snapshot rendered. Held while it is rendered: whoever comes meanwhile wants the same.
    rendered: Mutex<Option<Texts>>,
}

#[derive(Debug)]
struct Texts {
    snapshot: Arc<CmafSnapshot>,
    full: Option<Arc<Document>>,
    delta: Option<Arc<Document>>,
}

impl Playlists {
    fn open(&self) -> MutexGuard<'_, HashMap<MuxerKey, Arc<Playlist>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The playlist of a muxer that runs.
    fn running(&self, key: &MuxerKey) -> Option<Arc<Playlist>> {
        self.open().get(key).filter(|playlist| !playlist.muxer.is_over()).cloned()
    }

    fn insert(&self, key: MuxerKey, muxer: MuxerHandle) -> Arc<Playlist> {
        let mut open = self.open();
        open.retain(|_, playlist| !playlist.muxer.is_over());
        let playlist = || Arc::new(Playlist { key: key.clone(), muxer, rendered: Mutex::default() });
        // Somebody may have been faster, with a handle of the same muxer.
        open.entry(key.clone()).or_insert_with(playlist).clone()
    }
}

/// Whole seconds of a target duration, as often as the standard says.
fn targets(snapshot: &CmafSnapshot, times: f64) -> Duration {
    snapshot.promise.target.duration().mul_f64(times)
}

impl Hls {
    fn playlist(
        &self,
        grant: &Grant<View>,
        rendition: Rendition,
        selection: Selection,
    ) -> Result<Arc<Playlist>, Error> {
        let path = grant.path().ok_or_else(|| Error::new(Kind::Internal, "a grant to view should name a path"))?;
        let key = MuxerKey { path: path.clone(), rendition, selection };
        if let Some(playlist) = self.shared.playlists.running(&key) {
            playlist.muxer.ask();
            return Ok(playlist);
        }
        let muxer = self.shared.cmaf.muxer(grant, rendition, selection)?;
        Ok(self.shared.playlists.insert(key, muxer))
    }

    /// A media playlist, as of now or when it has what the directives ask for.
    ///
    /// # Errors
    /// What keeps the path from playing; directives that cannot be obeyed; [`Kind::Unavailable`] after three target
    /// durations.
    pub async fn media_playlist(
        &self,
        grant: &Grant<View>,
        rendition: Rendition,
        selection: Selection,
        directives: Directives,
    ) -> Result<Rendered, Refused> {
        let playlist = self.playlist(grant, rendition, selection)?;
        let mut snapshot = playlist.ready().await?;
        let mut cache = targets(&snapshot, 0.5);
        // LL-05: once the playlist has ended there is nothing to wait for.
        if let Some(until) = directives.until.filter(|_| !snapshot.ended) {
            until.check(&snapshot).map_err(|error| bad_directive(&error).cached(targets(&snapshot, 1.0)))?;
            snapshot = playlist.wait(until, &snapshot, self.shared.clock).await?;
            cache = targets(&snapshot, 6.0);
        }
        if directives.first == FirstAnswer::WithSegment && snapshot.last_complete().is_none() && !snapshot.ended {
            let first = Until::Segment(snapshot.next_part().0);
            snapshot = playlist.wait(first, &snapshot, self.shared.clock).await?;
        }
        let form = if directives.skip { Form::Delta } else { Form::Full };
        let document = playlist.document(snapshot, form, |newest| self.reports(&playlist.key, newest));
        Ok(Rendered { document, cache: CachePolicy { max_age: cache } })
    }

    /// What the other renditions of a path have, as far as they play (LL-08).
    fn reports(&self, key: &MuxerKey, _newest: &CmafSnapshot) -> Vec<Report> {
        let other = match key.rendition {
            Rendition::Main => Rendition::Sub,
            Rendition::Sub => Rendition::Main,
        };
        let other = MuxerKey { rendition: other, ..key.clone() };
        let latest = self.shared.playlists.running(&other).and_then(|playlist| playlist.muxer.latest());
        latest.and_then(|snapshot| Report::of(other.stem(), &snapshot)).into_iter().collect()
    }

    /// An init segment, a segment or a part. A part that the playlist hints at is waited for.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for what is not there and will not come.
    pub async fn file(&self, grant: &Grant<View>, name: &str) -> Result<MediaFile, Refused> {
        match FileName::parse(name) {
            Some(FileName::Media(rendition, selection, run, piece)) => {
                self.piece(grant, rendition, selection, run, piece).await
            }
            _ => Err(no_file(name).into()),
        }
    }

    async fn piece(
        &self,
        grant: &Grant<View>,
        rendition: Rendition,
        selection: Selection,
        run: RunToken,
        piece: Piece,
    ) -> Result<MediaFile, Refused> {
        let path = grant.path().ok_or_else(|| Error::new(Kind::Internal, "a grant to view should name a path"))?;
        let key = MuxerKey { path: path.clone(), rendition, selection };
        let missing = || no_file("it");
        // No muxer starts for a piece of one that has ended.
        let playlist = self.shared.playlists.running(&key).ok_or_else(missing)?;
        playlist.muxer.ask();
        let mut snapshot = playlist.ready().await?;
        if snapshot.run != run {
            return Err(Refused::from(missing()).cached(targets(&snapshot, 1.0)));
        }
        if is_coming(&snapshot, piece) {
            let deadline = self.shared.clock.now() + targets(&snapshot, 3.0);
            let came = |newer: &CmafSnapshot| !is_coming(newer, piece);
            snapshot = playlist.until(came, deadline, self.shared.clock).await?;
        }
        let body = match piece {
            Piece::Init(generation) => snapshot.init(generation).map(|init| vec![init.body.clone()]),
            Piece::Part(sequence, index) => snapshot.part(sequence, index).map(|part| vec![part.body.clone()]),
            Piece::Segment(sequence) => snapshot.segment(sequence).map(|segment| match &segment.gap {
                Some(filler) => vec![filler.clone()],
                None => segment.parts.iter().map(|part| part.body.clone()).collect(),
            }),
        };
        let body = body.ok_or_else(|| Refused::from(missing()).cached(targets(&snapshot, 1.0)))?;
        let kind =
            if selection == Selection::Audio || !has_picture(&snapshot) { MediaKind::Audio } else { MediaKind::Video };
        // LL-11. The bytes behind a name never change, so that a cache may keep them for longer than it must.
        Ok(MediaFile { body, kind, cache: CachePolicy { max_age: targets(&snapshot, 6.0) } })
    }
}

fn has_picture(snapshot: &CmafSnapshot) -> bool {
    let open = snapshot.open.as_ref().and_then(|open| open.init.as_ref());
    let init = open.or_else(|| snapshot.segments.iter().rev().find_map(|segment| segment.init.as_ref()));
    init.is_none_or(|init| init.tracks.iter().any(|track| track.kind == media::MediaKind::Video))
}

/// Whether a piece is not there and the next to come: the part that is hinted at, or the segment it belongs to.
fn is_coming(snapshot: &CmafSnapshot, piece: Piece) -> bool {
    if snapshot.ended {
        return false;
    }
    let (next, parts) = snapshot.next_part();
    match piece {
        Piece::Part(sequence, index) => sequence == next && index == parts && !snapshot.silent,
        Piece::Segment(sequence) => sequence == next && (parts > 0 || !snapshot.silent),
        Piece::Init(_) => false,
    }
}

impl Playlist {
    async fn ready(&self) -> Result<Arc<CmafSnapshot>, Error> {
        match self.muxer.latest() {
            Some(snapshot) => Ok(snapshot),
            // A source that is there and sends no picture keeps nobody waiting for ever.
            None => tokio::time::timeout(START_MOST, self.muxer.ready()).await.map_err(|_| {
                let silent = format!("path {}: no picture within {} s", self.key.path, START_MOST.as_secs());
                Error::new(Kind::Unavailable, silent).with_code("path_not_ready")
            })?,
        }
    }

    async fn wait(&self, until: Until, now: &CmafSnapshot, clock: Clock) -> Result<Arc<CmafSnapshot>, Refused> {
        let deadline = clock.now() + targets(now, 3.0);
        let snapshot = self.until(|newer| until.is_in(newer), deadline, clock).await?;
        if until.is_in(&snapshot) || snapshot.ended {
            return Ok(snapshot);
        }
        // LL-05
        let error = Error::new(Kind::Unavailable, format!("path {}: the stream is not there yet", self.key.path))
            .with_code("playlist_timeout");
        Err(Refused::from(error).cached(targets(&snapshot, 1.0)))
    }

    /// Waits for a snapshot, or until the deadline has passed. There is no timer: a muxer publishes more often than any
    /// deadline here is long, gaps if nothing else.
    async fn until(
        &self,
        wanted: impl Fn(&CmafSnapshot) -> bool,
        deadline: Monotonic,
        clock: Clock,
    ) -> Result<Arc<CmafSnapshot>, Error> {
        let snapshot = self.muxer.until(|snapshot| wanted(snapshot) || clock.now() >= deadline).await;
        self.muxer.ask();
        snapshot
    }

    /// The text of a snapshot, or of a newer one that somebody rendered meanwhile.
    fn document(
        &self,
        snapshot: Arc<CmafSnapshot>,
        form: Form,
        reports: impl FnOnce(&CmafSnapshot) -> Vec<Report>,
    ) -> Arc<Document> {
        let form = if playlist::skippable(&snapshot) == 0 { Form::Full } else { form };
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = match &mut *rendered {
            Some(texts) if texts.snapshot.version >= snapshot.version => texts,
            stale => stale.insert(Texts { snapshot, full: None, delta: None }),
        };
        let place = match form {
            Form::Full => &mut texts.full,
            Form::Delta => &mut texts.delta,
        };
        let snapshot = &texts.snapshot;
        let document = place.get_or_insert_with(|| {
            let text = playlist::render(self.key.stem(), snapshot, form, &reports(snapshot));
            let mark = if form == Form::Delta { "d" } else { "" };
            Arc::new(Document::new(text, &format!("{}-{}{mark}", snapshot.run, snapshot.version)))
        });
        document.clone()
    }
}

/// How long a first request waits for a muxer; the path's own start time-out is shorter.
const START_MOST: Duration = Duration::from_secs(60);

fn bad_directive(error: &DirectiveError) -> Refused {
    Error::new(Kind::InvalidArgument, error.to_string()).with_code("invalid_directive").into()
}

fn no_file(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    Error::new(Kind::NotFound, format!("{name} is not there, or not any more")).with_code("media_not_found")
}
