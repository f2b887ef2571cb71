//! An HLS client by hand: follows a media playlist by blocking reload, keeps every playlist it saw, fetches what it names.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::time::Instant;

use super::server::Server;

/// A client on one path of a server.
pub struct HlsClient<'a> {
    server: &'a Server,
    /// The multivariant playlist as it was when the client opened.
    pub multivariant: String,
    /// The URL path of the media playlist, without a query.
    pub media: String,
    folder: TempDir,
    recorded: usize,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub uri: String,
    pub duration: f64,
    pub independent: bool,
}

/// A segment, finished or (at the end, without a URI) still open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub uri: Option<String>,
    pub duration: f64,
    pub parts: Vec<Part>,
    pub discontinuity: bool,
    pub gap: bool,
    pub map: Option<String>,
    pub date_time: Option<String>,
}

/// A media playlist, as far as the tests look.
#[derive(Clone, Debug, Default)]
pub struct Playlist {
    pub text: String,
    pub target_duration: f64,
    pub part_target: f64,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    pub skipped: u64,
    pub segments: Vec<Segment>,
    pub hint: Option<String>,
    pub ended: bool,
}

impl Playlist {
    /// Reads a playlist; unknown tags are left to the strict parsers.
    pub fn parse(text: &str) -> Self {
        let mut playlist = Self { text: text.to_owned(), ..Self::default() };
        let (mut next, mut map) = (Segment::default(), None);
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let number = || value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
            match tag {
                "#EXT-X-TARGETDURATION" => playlist.target_duration = number(),
                "#EXT-X-PART-INF" => playlist.part_target = attribute(value, "PART-TARGET").unwrap().parse().unwrap(),
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = value.parse().unwrap(),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuity_sequence = value.parse().unwrap(),
                "#EXT-X-SKIP" => playlist.skipped = attribute(value, "SKIPPED-SEGMENTS").unwrap().parse().unwrap(),
                "#EXT-X-MAP" => map = attribute(value, "URI"),
                "#EXT-X-DISCONTINUITY" => next.discontinuity = true,
                "#EXT-X-GAP" => next.gap = true,
                "#EXT-X-PROGRAM-DATE-TIME" => next.date_time = Some(value.to_owned()),
                "#EXT-X-PART" => next.parts.push(Part {
                    uri: attribute(value, "URI").unwrap(),
                    duration: attribute(value, "DURATION").unwrap().parse().unwrap(),
                    independent: attribute(value, "INDEPENDENT").as_deref() == Some("YES"),
                }),
                "#EXT-X-PRELOAD-HINT" => playlist.hint = attribute(value, "URI"),
                "#EXT-X-ENDLIST" => playlist.ended = true,
                "#EXTINF" => next.duration = value.trim_end_matches(',').parse().unwrap(),
                _ if !line.is_empty() && !line.starts_with('#') => {
                    (next.uri, next.map) = (Some(line.to_owned()), map.clone());
                    playlist.segments.push(std::mem::take(&mut next));
                }
                _ => {}
            }
        }
        if !next.parts.is_empty() {
            next.map = map;
            playlist.segments.push(next);
        }
        playlist
    }

    /// The segments that are finished, with their media sequence numbers.
    pub fn finished(&self) -> impl Iterator<Item = (u64, &Segment)> {
        let first = self.media_sequence + self.skipped;
        (first..).zip(&self.segments).filter(|(_, segment)| segment.uri.is_some())
    }

    /// Media sequence number and part index of what comes next.
    pub fn next_part(&self) -> (u64, usize) {
        let after = self.media_sequence + self.skipped + self.segments.len() as u64;
        match self.segments.last() {
            Some(open) if open.uri.is_none() => (after - 1, open.parts.len()),
            _ => (after, 0),
        }
    }
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    // Commas stand inside quotes too, but never before a name of ours.
    let start = format!(",{attributes}").find(&format!(",{name}="))?;
    let value = &attributes[start + name.len() + 1..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().map(str::to_owned),
        None => value.split(',').next().map(str::to_owned),
    }
}

impl<'a> HlsClient<'a> {
    /// Opens a path: fetches the multivariant playlist and takes its first variant.
    pub async fn open(server: &'a Server, name: &str) -> Self {
        let response = server.get(&format!("/{name}/index.m3u8")).await;
        let status = response.status();
        let multivariant = response.text().await.unwrap();
        assert_eq!(status, 200, "{multivariant}");
        let variant = multivariant.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        let variant = variant.unwrap_or_else(|| panic!("no variant: {multivariant}"));
        let media = resolve(&format!("/{name}/index.m3u8"), variant);
        Self { server, multivariant, media, folder: tempfile::tempdir().unwrap(), recorded: 0 }
    }

    /// The playlist as it is now.
    pub async fn playlist(&mut self) -> Playlist {
        self.fetch_playlist("").await
    }

    /// The playlist once the part after those of `seen` is there (blocking reload).
    pub async fn after(&mut self, seen: &Playlist) -> Playlist {
        let (msn, part) = seen.next_part();
        self.fetch_playlist(&format!("_HLS_msn={msn}&_HLS_part={part}")).await
    }

    /// The playlist with a query of directives.
    pub async fn fetch_playlist(&mut self, query: &str) -> Playlist {
        let separator = if self.media.contains('?') { "&" } else { "?" };
        let url = if query.is_empty() { self.media.clone() } else { format!("{}{separator}{query}", self.media) };
        let response = self.server.get(&url).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "GET {url}: {text}");
        fs::write(self.folder.path().join(format!("{:04}.m3u8", self.recorded)), &text).unwrap();
        self.recorded += 1;
        Playlist::parse(&text)
    }

    /// Follows the playlist for a while; every version in order.
    pub async fn follow(&mut self, span: Duration) -> Vec<Playlist> {
        let deadline = Instant::now() + span;
        let mut seen = vec![self.playlist().await];
        while Instant::now() < deadline {
            let next = self.after(seen.last().unwrap()).await;
            seen.push(next);
        }
        seen
    }

    /// The bytes of what a playlist names.
    pub async fn bytes(&self, uri: &str) -> Vec<u8> {
        let url = resolve(&self.media, uri);
        let response = self.server.get(&url).await;
        assert_eq!(response.status(), 200, "GET {url}");
        response.bytes().await.unwrap().to_vec()
    }

    /// The files of every playlist recorded so far.
    pub fn files(&self) -> Vec<PathBuf> {
        (0..self.recorded).map(|number| self.folder.path().join(format!("{number:04}.m3u8"))).collect()
    }
}

/// A relative reference against the URL path it stood in.
pub fn resolve(base: &str, reference: &str) -> String {
    let base = url::Url::parse("http://origin").unwrap().join(base).unwrap();
    let url = base.join(reference).unwrap();
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}
