//! What of a playlist outlives its muxer and the process: the numbers to go on with, and the longest GOP.
//!
//! A media sequence number never falls and is never used twice (rfc8216bis §6.2.2), not even after a crash. So numbers
//! are written down in blocks ahead of their use ([`book`]), a document of the store per path: a crash skips the rest of a
//! block. When the store was damaged and began anew, no page means nothing any more, and that is written down as well.
//! Earlier versions had a file per path; such a page is taken over once.

mod book;

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Mutex as Turn, OnceCell, Semaphore},
    time::timeout,
};
use tracing::{info_span, warn};

use self::book::{Book, Found, Page};
use super::target::target_duration;
use crate::{
    base::{Clock, Error, Kind, PathName, Result, Tasks, complaints::Complaints},
    cmaf::{Ledger, MuxerKey, Recalled},
    store::{DocumentChange, Documents},
};

/// Where the pages are.
const COLLECTION: &str = "hls_numbers";

/// The page that says that others were lost. No path has this name.
const LOST: &str = "*";

/// Books that are kept open, at most; a closed one is read again.
const BOOKS_MOST: usize = 4096;

/// Pages that are read or written at once: others want something of the store as well.
const AT_ONCE: usize = 8;

/// How long a playlist waits for the store before it begins without.
const PATIENCE: Duration = Duration::from_secs(5);

/// The numbers of all paths, in memory and in the store. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    documents: Documents,
    turns: Semaphore,
    /// Pages were lost: what has none may have had one.
    lost: OnceCell<bool>,
    /// Where earlier versions kept them.
    folder: PathBuf,
    least_target: Duration,
    clock: Clock,
    tasks: Tasks,
    /// Held for a look-up.
    books: Mutex<HashMap<PathName, Arc<Shelf>>>,
    complaints: Mutex<Complaints>,
}

/// One path's book and the right to write its page.
#[derive(Debug)]
struct Shelf {
    path: PathName,
    /// Held for a few additions. `None` until the page was read.
    book: Mutex<Option<Book>>,
    /// How many muxers run.
    users: Mutex<usize>,
    /// Held while the page is read or written, so that an older one never replaces a newer one.
    page: Turn<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbers {
    /// Numbers kept in the store; those of earlier versions are in files below `folder`.
    pub(super) fn new(
        documents: Documents,
        folder: PathBuf,
        least_target: Duration,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let shared = Shared {
            documents,
            turns: Semaphore::new(AT_ONCE),
            lost: OnceCell::new(),
            folder,
            least_target,
            clock,
            tasks: tasks.clone(),
            books: Mutex::default(),
            complaints: Mutex::new(Complaints::new(Duration::from_secs(60))),
        };
        Self { shared: Arc::new(shared) }
    }

    fn shelf(&self, path: &PathName) -> Arc<Shelf> {
        let mut books = lock(&self.shared.books);
        if books.len() >= BOOKS_MOST && !books.contains_key(path) {
            books.retain(|_, shelf| Arc::strong_count(shelf) > 1 || *lock(&shelf.users) > 0);
        }
        let shelf =
            || Shelf { path: path.clone(), book: Mutex::default(), users: Mutex::default(), page: Turn::default() };
        books.entry(path.clone()).or_insert_with(|| Arc::new(shelf())).clone()
    }

    fn complain(&self, path: &PathName, what: &str, error: &str) {
        if let Some(times) = lock(&self.shared.complaints).note(self.shared.clock.now()) {
            warn!(times, "path {path}: the numbers of its playlists cannot be {what}: {error}");
        }
    }

    /// Does something with the store, with few others and within a time.
    async fn in_turn<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = async {
            // The semaphore is never closed.
            let _turn = self.shared.turns.acquire().await;
            work.await
        };
        let late = |_| Err(Error::new(Kind::DeadlineExceeded, "the store does not answer"));
        timeout(PATIENCE, done).await.unwrap_or_else(late)
    }

    async fn put(&self, key: String, body: String) -> Result<()> {
        let change = DocumentChange { collection: COLLECTION, key, body: Some(body) };
        self.in_turn(self.shared.documents.apply(vec![change])).await
    }

    /// Whether pages were lost with a store that was damaged, now or before.
    async fn is_lost(&self) -> Result<bool> {
        let found = self.shared.lost.get_or_try_init(|| async {
            if self.shared.documents.began_anew() {
                self.put(LOST.to_owned(), "{}".to_owned()).await?;
                return Ok(true);
            }
            let mark = self.in_turn(self.shared.documents.one(COLLECTION, LOST.to_owned())).await?;
            Ok::<_, Error>(mark.is_some())
        });
        found.await.copied()
    }

    /// The page of a path, wherever it is.
    async fn find(&self, path: &PathName) -> Result<Found, String> {
        let chain = |error: Error| error.chain();
        let kept = self.in_turn(self.shared.documents.one(COLLECTION, path.to_string())).await.map_err(chain)?;
        if let Some(text) = kept {
            return Page::parse(text.as_bytes()).map(Found::Page);
        }
        if self.is_lost().await.map_err(chain)? {
            return Ok(Found::Lost);
        }
        let file = self.file(path);
        let read = tokio::task::spawn_blocking(move || fs::read(file)).await.map_err(|error| error.to_string())?;
        match read {
            Ok(text) => Page::parse(&text).map(Found::Page),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Where an earlier version kept the page of a path: a file of its name, with the one character that it must not
    /// have put in another way.
    fn file(&self, path: &PathName) -> PathBuf {
        self.shared.folder.join(format!("{}.json", path.as_str().replace('/', "~")))
    }

    /// Reads the page if nobody has, and writes down the numbers of one more playlist.
    async fn begin(&self, shelf: &Shelf, stem: &'static str, gop: Duration) -> Recalled {
        let _page = shelf.page.lock().await;
        let new = lock(&shelf.book).is_none();
        if new {
            let found = self.find(&shelf.path).await.unwrap_or_else(|error| {
                self.complain(&shelf.path, "read, and go on from the clock", &error);
                Found::Lost
            });
            *lock(&shelf.book) = Some(Book::new(found, self.shared.clock.wall()));
        }
        let (recalled, page) = {
            let mut book = lock(&shelf.book);
            let book = book.get_or_insert_default();
            let next_sequence = book.open(stem);
            let discontinuity_sequence = book.discontinuity_sequence;
            book.note(stem, next_sequence, discontinuity_sequence, gop);
            let target_duration = target_duration(self.shared.least_target, book.longest_gop());
            let recalled = Recalled { next_sequence, discontinuity_sequence, known: book.known, target_duration };
            (recalled, book.reserve())
        };
        if self.write(shelf, page).await && new {
            let file = self.file(&shelf.path);
            // Mostly there is none; one that stays is older than the page, which comes first.
            let _ = tokio::task::spawn_blocking(move || fs::remove_file(file)).await;
        }
        recalled
    }

    /// Whether it is written.
    async fn write(&self, shelf: &Shelf, page: String) -> bool {
        let written = self.put(shelf.path.to_string(), page).await;
        if let Err(error) = &written {
            let what = "kept, and may start anew after a restart of the server";
            self.complain(&shelf.path, what, &error.chain());
        }
        written.is_ok()
    }

    /// Writes the page as it is when its turn comes, without keeping anybody waiting.
    fn write_later(&self, shelf: Arc<Shelf>) {
        let numbers = self.clone();
        let name = format!("hls/numbers/{}", shelf.path);
        self.shared.tasks.spawn(name, info_span!("numbers"), async move {
            let _page = shelf.page.lock().await;
            let idle = *lock(&shelf.users) == 0;
            let page = lock(&shelf.book).as_mut().map(if idle { Book::settle } else { Book::reserve });
            if let Some(page) = page {
                numbers.write(&shelf, page).await;
            }
        });
    }
}

impl Ledger for Numbers {
    fn open<'a>(&'a self, key: &'a MuxerKey, longest_gop: Duration) -> BoxFuture<'a, Recalled> {
        Box::pin(async move {
            let (numbers, shelf, stem) = (self.clone(), self.shelf(&key.path), key.stem());
            *lock(&shelf.users) += 1;
            numbers.begin(&shelf, stem, longest_gop).await
        })
    }

    fn note(&self, key: &MuxerKey, next_sequence: u64, discontinuity_sequence: u64, longest_gop: Duration) {
        let shelf = self.shelf(&key.path);
        let due = lock(&shelf.book)
            .as_mut()
            .is_some_and(|book| book.note(key.stem(), next_sequence, discontinuity_sequence, longest_gop));
        if due {
            self.write_later(shelf);
        }
    }

    fn close(&self, key: &MuxerKey, next_sequence: u64, discontinuity_sequence: u64) {
        let shelf = self.shelf(&key.path);
        if let Some(book) = lock(&shelf.book).as_mut() {
            book.note(key.stem(), next_sequence, discontinuity_sequence, Duration::ZERO);
            book.known = true;
        }
        {
            let mut users = lock(&shelf.users);
            *users = users.saturating_sub(1);
        }
        self.write_later(shelf);
    }
}

#[cfg(test)]
mod tests;
