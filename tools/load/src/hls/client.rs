//! One LL-HLS viewer: blocking playlist reloads on one connection, parts on another, as a player on HTTP/1.1 does it.
//!
//! Both run at once: while the next playlist is held back by the server, so is the part that the last one hinted at.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use url::Url;

use super::playlist::{self, Item, Playlist};
use crate::{
    counters::Counters,
    http::{Body, Connection, HttpError, Response},
    shared::{Scratch, Shared},
};

/// What every viewer of a run does.
#[derive(Clone, Debug)]
pub(crate) struct HlsOptions {
    pub(crate) url: Url,
    /// Ask for the hinted part before it is listed.
    pub(crate) hints: bool,
    /// Accept gzip for playlists.
    pub(crate) gzip: bool,
    /// Ask for delta updates where they are offered.
    pub(crate) delta: bool,
}

/// Why a viewer ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("{status} to {what}")]
    Refused { what: &'static str, status: u16 },
    #[error("the playlist is empty")]
    Empty,
    #[error("the playlist names no URL that can be read: {0}")]
    Url(#[from] url::ParseError),
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    #[error("the stream ended")]
    Ended,
}

/// Watches until `stop` says so.
///
/// # Errors
/// Whatever kept the viewer from playing or ended it early.
pub(crate) async fn run(
    options: &HlsOptions,
    shared: &Rc<Shared>,
    scratch: &Scratch,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        ended = watch_stream(options, shared, scratch) => ended,
    }
}

async fn watch_stream(options: &HlsOptions, shared: &Rc<Shared>, scratch: &Scratch) -> Result<(), Error> {
    let mut lists = Loader::new(options, shared, scratch)?;
    let (text, url) = lists.text(&options.url).await?;
    let Some(master) = playlist::parse_master(&text) else {
        return Rendition::new(options, shared, scratch, lists.cookies.clone())?.follow(lists, url, Some(text)).await;
    };
    // The best picture, as a player on a fast line ends up with; sound beside it when it is a playlist of its own.
    let best = master.variants.iter().max_by_key(|(bandwidth, _)| *bandwidth).ok_or(Error::Empty)?;
    let picture = url.join(best.1)?;
    let sound = master.audio.map(|uri| url.join(uri)).transpose()?;
    let cookies = lists.cookies.clone();
    let main = Rendition::new(options, shared, scratch, cookies.clone())?;
    match sound {
        None => main.follow(lists, picture, None).await,
        Some(sound) => {
            let mut more = Loader::new(options, shared, scratch)?;
            more.cookies.clone_from(&cookies);
            let beside = Rendition { marks: false, ..Rendition::new(options, shared, scratch, cookies)? };
            tokio::try_join!(main.follow(lists, picture, None), beside.follow(more, sound, None))?;
            Ok(())
        }
    }
}

/// One connection with its cookies, following redirects.
struct Loader {
    connection: Connection,
    cookies: String,
    counters: Arc<Counters>,
}

impl Loader {
    fn new(options: &HlsOptions, shared: &Rc<Shared>, scratch: &Scratch) -> Result<Self, Error> {
        let connection = Connection::new(&options.url, scratch, options.gzip)?;
        Ok(Self { connection, cookies: String::new(), counters: shared.counters.clone() })
    }

    async fn get(&mut self, url: &Url, body: Body) -> Result<(Response, Url), Error> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.connection.get(&url, &self.cookies, body).await?;
            self.counters.requests.add(1);
            for cookie in &response.cookies {
                let name = cookie.split_once('=').map_or("", |(name, _)| name);
                let kept =
                    self.cookies.split("; ").filter(|old| !old.is_empty() && !old.starts_with(&format!("{name}=")));
                self.cookies = kept.chain([cookie.as_str()]).collect::<Vec<_>>().join("; ");
            }
            match &response.location {
                Some(location) if (300..400).contains(&response.status) => url = url.join(location)?,
                _ => return Ok((response, url)),
            }
        }
        Err(Error::Redirects)
    }

    async fn text(&mut self, url: &Url) -> Result<(String, Url), Error> {
        let (response, url) = self.get(url, Body::Keep).await?;
        if response.status != 200 {
            self.counters.refused.add(1);
            return Err(Error::Refused { what: "the playlist", status: response.status });
        }
        Ok((String::from_utf8_lossy(&response.body).into_owned(), url))
    }
}

/// A media playlist and its parts.
struct Rendition {
    options: HlsOptions,
    shared: Rc<Shared>,
    media: RefCell<Loader>,
    queue: RefCell<VecDeque<Wanted>>,
    /// What was asked for lately, so that a hinted part is not asked for twice.
    asked: RefCell<VecDeque<u64>>,
    arrived: Notify,
    /// The hinted part that is being waited for, and the word that it will never come.
    waiting: RefCell<Option<Url>>,
    withdrawn: Notify,
    /// Whether this rendition decides when the first picture is there.
    marks: bool,
}

struct Wanted {
    url: Url,
    independent: bool,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Map,
    /// Listed: it has to be there.
    Listed,
    /// Promised: it may be withdrawn.
    Hinted,
}

impl Rendition {
    fn new(options: &HlsOptions, shared: &Rc<Shared>, scratch: &Scratch, cookies: String) -> Result<Self, Error> {
        let media = Loader { cookies, ..Loader::new(options, shared, scratch)? };
        Ok(Self {
            options: options.clone(),
            shared: shared.clone(),
            media: RefCell::new(media),
            queue: RefCell::default(),
            asked: RefCell::default(),
            arrived: Notify::new(),
            waiting: RefCell::default(),
            withdrawn: Notify::new(),
            marks: true,
        })
    }

    async fn follow(self, lists: Loader, url: Url, first: Option<String>) -> Result<(), Error> {
        tokio::select! {
            ended = self.follow_list(lists, url, first) => ended,
            ended = self.fetch_media() => ended,
        }
    }

    async fn follow_list(&self, mut lists: Loader, mut url: Url, first: Option<String>) -> Result<(), Error> {
        let counters = &self.shared.counters;
        let mut text = match first {
            Some(text) => text,
            None => {
                let (text, at) = lists.text(&url).await?;
                url = at;
                text
            }
        };
        if self.marks {
            counters.playing_us.mark(self.shared.began);
        }
        let mut next: Option<(u64, u32)> = None;
        let mut map = String::new();
        let mut failures = 0;
        loop {
            let list = playlist::parse(&text);
            if list.ended {
                return Err(Error::Ended);
            }
            if let Some(uri) = list.map.filter(|uri| *uri != map) {
                map = uri.to_owned();
                self.want(Wanted { url: url.join(uri)?, independent: false, role: Role::Map });
            }
            let start = match next {
                Some(next) => next,
                // The newest place a decoder can start at, as every player begins.
                None => list
                    .items
                    .iter()
                    .rev()
                    .find(|item| item.independent && !item.gap)
                    .map(position)
                    .ok_or(Error::Empty)?,
            };
            // What left the playlist before it was asked for is lost.
            if let Some(oldest) = list.items.first().map(position).filter(|oldest| next.is_some() && *oldest > start) {
                counters.gaps.add(1);
                counters.lost.add(oldest.0.saturating_sub(start.0).max(1));
            }
            for item in list.items.iter().filter(|item| !item.gap && is_new(item, start)) {
                self.want_once(Wanted { url: url.join(item.uri)?, independent: item.independent, role: Role::Listed });
            }
            if let Some(hint) = list.hint.filter(|_| self.options.hints) {
                self.want_once(Wanted { url: url.join(hint)?, independent: false, role: Role::Hinted });
            }
            self.withdraw(&url, &list)?;
            next = Some(list.next);
            let asked = ask_for(&url, list.next, list.can_block, list.can_skip && self.options.delta);
            if !list.can_block {
                sleep(Duration::from_secs_f64(list.target_s / 2.0)).await;
            }
            text = loop {
                match lists.text(&asked).await {
                    Ok((text, _)) => {
                        failures = 0;
                        break text;
                    }
                    Err(error) if failures >= PATIENCE => return Err(error),
                    Err(_) => {
                        failures += 1;
                        sleep(RETRY).await;
                    }
                }
            };
        }
    }

    /// RFC 8216bis §4.4.5.3: a hinted part that a later playlist neither lists nor hints at will not come.
    fn withdraw(&self, url: &Url, list: &Playlist<'_>) -> Result<(), Error> {
        let waiting = self.waiting.borrow();
        let Some(waiting) = waiting.as_ref() else { return Ok(()) };
        for uri in list.items.iter().rev().take(RECENT).map(|item| item.uri).chain(list.hint) {
            if url.join(uri)? == *waiting {
                return Ok(());
            }
        }
        // Only who waits now: a word kept for later would hit another part.
        self.withdrawn.notify_waiters();
        Ok(())
    }

    fn want_once(&self, wanted: Wanted) {
        let mark = fingerprint(wanted.url.as_str());
        let mut asked = self.asked.borrow_mut();
        if asked.contains(&mark) {
            return;
        }
        if asked.len() == MEMORY {
            asked.pop_front();
        }
        asked.push_back(mark);
        drop(asked);
        self.want(wanted);
    }

    fn want(&self, wanted: Wanted) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= QUEUE {
            // So far behind that a player would jump: begin again at what comes now.
            self.shared.counters.gaps.add(1);
            self.shared.counters.lost.add(queue.len() as u64);
            queue.clear();
        }
        queue.push_back(wanted);
        drop(queue);
        self.arrived.notify_one();
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "the loader is this loop's alone; nothing else borrows it")]
    async fn fetch_media(&self) -> Result<(), Error> {
        let Shared { counters, began } = &*self.shared;
        let mut loader = self.media.borrow_mut();
        let mut failures = 0;
        loop {
            let wanted = self.queue.borrow_mut().pop_front();
            let Some(wanted) = wanted else {
                self.arrived.notified().await;
                continue;
            };
            let hinted = wanted.role == Role::Hinted;
            *self.waiting.borrow_mut() = hinted.then(|| wanted.url.clone());
            let answer = tokio::select! {
                answer = loader.get(&wanted.url, Body::Count) => answer?,
                () = self.withdrawn.notified(), if hinted => continue,
            };
            *self.waiting.borrow_mut() = None;
            let (response, _) = answer;
            if response.status != 200 && response.status != 206 {
                counters.refused.add(1);
                counters.lost.add(u64::from(!hinted));
                failures += 1;
                if failures > PATIENCE {
                    return Err(Error::Refused { what: "a part", status: response.status });
                }
                continue;
            }
            failures = 0;
            counters.bytes.add(response.length);
            if wanted.role == Role::Map {
                continue;
            }
            counters.packets.add(1);
            if self.marks {
                counters.first_media_us.mark(*began);
                // The first thing fetched is independent by choice, so its end is the first whole picture.
                if wanted.independent {
                    counters.first_key_us.mark(*began);
                    counters.first_picture_us.mark(*began);
                }
            }
        }
    }
}

fn position(item: &Item<'_>) -> (u64, u32) {
    (item.segment, item.part.unwrap_or(0))
}

/// Not listed before `start`; a whole segment stands for parts that were fetched once one of them was.
fn is_new(item: &Item<'_>, start: (u64, u32)) -> bool {
    match item.part {
        Some(part) => (item.segment, part) >= start,
        None => item.segment > start.0 || (item.segment == start.0 && start.1 == 0),
    }
}

/// RFC 8216bis §6.2.5: the directives for the next version.
fn ask_for(url: &Url, next: (u64, u32), block: bool, skip: bool) -> Url {
    let mut url = url.clone();
    if block {
        let mut query = url.query_pairs_mut();
        query.append_pair("_HLS_msn", &next.0.to_string()).append_pair("_HLS_part", &next.1.to_string());
        if skip {
            query.append_pair("_HLS_skip", "YES");
        }
    }
    url
}

/// FNV-1a: two of 64 URLs meet about never.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

const REDIRECTS: usize = 5;
/// Bad answers in a row before a viewer gives up.
const PATIENCE: usize = 8;
const RETRY: Duration = Duration::from_millis(500);
const MEMORY: usize = 64;
/// Items at the end of a playlist among which a part that was just hinted at must be.
const RECENT: usize = 8;
/// Parts of a GOP of 10 s, with room: a viewer that joins at its end asks for them all at once.
const QUEUE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    /// A live stream of parts of 20 ms, two to a segment; the second hint of all is broken and never comes.
    async fn serve_live(listener: TcpListener) {
        let began = crate::clock::now();
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn_local(async move {
                loop {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        request.push(byte);
                    }
                    let request = String::from_utf8(request).unwrap();
                    let target = request.split(' ').nth(1).unwrap().to_owned();
                    let body = answer(&target, began).await;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                }
            });
        }
    }

    async fn answer(target: &str, began: std::time::Instant) -> String {
        let parts = || began.elapsed().as_millis() / 20 + 1;
        if target.starts_with("/live/index.m3u8") {
            return "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmain.m3u8\n".to_owned();
        }
        if target.contains("never") {
            std::future::pending::<()>().await;
        }
        if let Some(number) = target.strip_prefix("/live/part") {
            let number: u128 = number.parse().unwrap();
            while parts() <= number {
                sleep(Duration::from_millis(1)).await;
            }
            return "0123456789".to_owned();
        }
        if !target.contains("main.m3u8") {
            return "init".to_owned();
        }
        let value = |name: &str| {
            let (_, rest) = target.split_once(name)?;
            rest.split('&').next()?.parse::<u128>().ok()
        };
        if let (Some(segment), Some(part)) = (value("_HLS_msn="), value("_HLS_part=")) {
            while parts() <= segment * 2 + part {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let count = parts();
        let mut text = "#EXTM3U\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n#EXT-X-MAP:URI=\"init\"\n".to_owned();
        for number in 0..count {
            let independent = if number % 2 == 0 { ",INDEPENDENT=YES" } else { "" };
            text.push_str(&format!("#EXT-X-PART:DURATION=0.02,URI=\"part{number}\"{independent}\n"));
            if number % 2 == 1 {
                text.push_str(&format!("#EXTINF:0.04,\nsegment{}\n", number / 2));
            }
        }
        let hint = if count == 2 { "never".to_owned() } else { format!("part{count}") };
        text.push_str(&format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\"\n"));
        text
    }

    #[tokio::test]
    async fn a_viewer_gets_every_part_once_even_when_a_hint_is_withdrawn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/live/index.m3u8", listener.local_addr().unwrap())).unwrap();
        let counters = Arc::<Counters>::default();
        let (stop, stopped) = watch::channel(false);
        let (shared, scratch) = (Shared::begin(&counters), crate::shared::scratch());
        let options = HlsOptions { url, hints: true, gzip: true, delta: true };
        let local = tokio::task::LocalSet::new();
        let viewer = async {
            let stopper = async {
                while counters.packets.read() < 12 {
                    sleep(Duration::from_millis(1)).await;
                }
                stop.send_replace(true);
            };
            let (ended, ()) = tokio::join!(run(&options, &shared, &scratch, stopped), stopper);
            ended
        };
        let watched = local.run_until(async {
            tokio::select! {
                () = serve_live(listener) => Ok(()),
                ended = viewer => ended,
            }
        });
        watched.await.unwrap();
        let packets = counters.packets.read();
        assert!(packets >= 12 && counters.bytes.read() == 4 + packets * 10, "{packets} parts and the init");
        assert_eq!((counters.gaps.read(), counters.lost.read(), counters.refused.read()), (0, 0, 0));
        assert!(counters.first_picture_us.read() > 0);
    }

    #[tokio::test]
    async fn a_viewer_that_joins_at_the_end_of_a_long_gop_begins_at_its_first_part() {
        let url = Url::parse("http://127.0.0.1:1/cam/index.m3u8").unwrap();
        let options = HlsOptions { url: url.clone(), hints: true, gzip: true, delta: true };
        let counters = Arc::<Counters>::default();
        let (shared, scratch) = (Shared::begin(&counters), crate::shared::scratch());
        let rendition = Rendition::new(&options, &shared, &scratch, String::new()).unwrap();
        for part in 0..60 {
            let url = url.join(&format!("part{part}")).unwrap();
            rendition.want_once(Wanted { url, independent: part == 0, role: Role::Listed });
        }
        let queue = rendition.queue.borrow();
        assert!(queue.len() == 60 && queue[0].independent && counters.lost.read() == 0);
    }

    #[test]
    fn directives_join_a_query_that_is_there_already() {
        let plain = Url::parse("http://x/demo/main.m3u8").unwrap();
        assert_eq!(ask_for(&plain, (7, 2), true, false).as_str(), "http://x/demo/main.m3u8?_HLS_msn=7&_HLS_part=2");
        let with = Url::parse("http://x/a.m3u8?session=1").unwrap();
        let asked = ask_for(&with, (7, 0), true, true);
        assert_eq!(asked.as_str(), "http://x/a.m3u8?session=1&_HLS_msn=7&_HLS_part=0&_HLS_skip=YES");
        assert_eq!(ask_for(&with, (7, 0), false, true), with);
    }

    #[test]
    fn a_segment_whose_parts_were_fetched_is_not_new() {
        let item = |segment, part| Item { segment, part, uri: "", independent: false, gap: false };
        let table = [
            (item(5, None), (5, 3), false),
            (item(5, None), (5, 0), true),
            (item(6, None), (5, 3), true),
            (item(5, Some(3)), (5, 3), true),
            (item(5, Some(2)), (5, 3), false),
            (item(4, Some(9)), (5, 0), false),
        ];
        for (item, start, new) in table {
            assert_eq!(is_new(&item, start), new, "{item:?} from {start:?}");
        }
    }
}
