//! What of a playlist outlives its muxer and the process: the numbers to go on with, and the longest GOP.
//!
//! A media sequence number never falls and is never used twice (rfc8216bis §6.2.2), not even after a crash. So numbers
//! are written down in blocks ahead of their use, in one small file per path: a crash skips the rest of a block. A file
//! that does not read is taken for the worst: numbers go on from the wall clock, above anything used before.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tracing::{info_span, warn};

use super::target::target_duration;
use crate::{
    base::{Clock, PathName, Tasks, WallTime, complaints::Complaints},
    cmaf::{Ledger, MuxerKey, Recalled},
};

/// Segments that are written down ahead: a quarter of an hour of them.
const SEQUENCES: u64 = 512;

/// The number of the first segment of a path. hls.js (1.7, `detectEvictedFragments`) takes 0 for none, and loads a part of
/// such a segment over and over.
const FIRST: u64 = 1;

/// Discontinuities that are written down ahead.
const DISCONTINUITIES: u64 = 32;

/// The file of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// Of this format.
    version: u32,
    /// No discontinuity sequence number at or above this has been used.
    discontinuity_sequence: u64,
    /// The longest GOP seen.
    longest_gop_ms: u64,
    /// By playlist: no media sequence number at or above this has been used.
    next_sequence: BTreeMap<String, u64>,
}

const VERSION: u32 = 1;

/// What was found where a page should be.
#[derive(Debug)]
enum Found {
    Nothing,
    Page(Page),
    Unreadable(io::Error),
}

/// Books that are kept open, at most; a closed one is read again.
const BOOKS_MOST: usize = 4096;

/// The numbers of one path: those in use, and those that are written down.
#[derive(Debug, Default)]
struct Book {
    written: Page,
    /// The path was known before this process.
    known: bool,
    /// Where the numbers stand that no file knows.
    floor: u64,
    in_use: BTreeMap<&'static str, u64>,
    discontinuity_sequence: u64,
}

impl Book {
    /// Opens what was found at `now`.
    fn new(found: Found, now: WallTime) -> Self {
        match found {
            Found::Nothing => Self::default(),
            Found::Page(page) => {
                let discontinuity_sequence = page.discontinuity_sequence;
                Self { written: page, known: true, discontinuity_sequence, ..Self::default() }
            }
            Found::Unreadable(_) => {
                // A segment a second and a discontinuity a minute since 2026 is more than any path has made.
                const YEAR_2026: i64 = 1_767_225_600;
                let seconds = (now.unix_millis() / 1000 - YEAR_2026).max(0).unsigned_abs();
                Self { known: true, floor: seconds, discontinuity_sequence: seconds / 60, ..Self::default() }
            }
        }
    }

    /// The number a playlist goes on with.
    fn open(&mut self, stem: &'static str) -> u64 {
        let recalled = self.written.next_sequence.get(stem).copied().unwrap_or_else(|| self.floor.max(FIRST));
        *self.in_use.entry(stem).or_insert(recalled)
    }

    /// Numbers have been used up to here. Whether the page has to be written.
    fn note(&mut self, stem: &'static str, next: u64, discontinuity_sequence: u64, gop: Duration) -> bool {
        self.in_use.insert(stem, next);
        self.discontinuity_sequence = self.discontinuity_sequence.max(discontinuity_sequence);
        let gop_ms = u64::try_from(gop.as_millis()).unwrap_or(u64::MAX);
        // A few milliseconds more are jitter, not another GOP.
        let longer = gop_ms > self.written.longest_gop_ms + self.written.longest_gop_ms / 50;
        if longer {
            self.written.longest_gop_ms = gop_ms;
        }
        let written = self.written.next_sequence.get(stem).copied().unwrap_or(0);
        longer
            || next + SEQUENCES / 2 > written
            || self.discontinuity_sequence + DISCONTINUITIES / 2 > self.written.discontinuity_sequence
    }

    /// Writes down what may be used from now on; the bytes for the file.
    fn reserve(&mut self) -> Vec<u8> {
        self.written.version = VERSION;
        for (stem, next) in &self.in_use {
            self.written.next_sequence.insert((*stem).to_owned(), next + SEQUENCES);
        }
        self.written.discontinuity_sequence = self.discontinuity_sequence + DISCONTINUITIES;
        self.page()
    }

    /// Writes down exactly what has been used: nothing runs any more.
    fn settle(&mut self) -> Vec<u8> {
        self.written.version = VERSION;
        for (stem, next) in &self.in_use {
            self.written.next_sequence.insert((*stem).to_owned(), *next);
        }
        self.written.discontinuity_sequence = self.discontinuity_sequence;
        self.page()
    }

    fn page(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.written).expect("a page of numbers should be JSON")
    }
}

/// The numbers of all paths, in memory and on disk. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    least_target: Duration,
    clock: Clock,
    tasks: Tasks,
    /// Held for a look-up.
    books: Mutex<HashMap<PathName, Arc<Shelf>>>,
    complaints: Mutex<Complaints>,
}

/// One path's book and the right to write its file.
#[derive(Debug)]
struct Shelf {
    file: PathBuf,
    /// Held for a few additions. `None` until the file was read.
    book: Mutex<Option<Book>>,
    /// How many muxers run.
    users: Mutex<usize>,
    /// Held while the file is read or written, so that an older page never replaces a newer one.
    disk: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbers {
    /// Numbers kept in files below `folder`, which is made when it is first needed.
    pub(super) fn new(folder: PathBuf, least_target: Duration, clock: Clock, tasks: &Tasks) -> Self {
        let complaints = Mutex::new(Complaints::new(Duration::from_secs(60)));
        let shared = Shared { folder, least_target, clock, tasks: tasks.clone(), books: Mutex::default(), complaints };
        Self { shared: Arc::new(shared) }
    }

    fn shelf(&self, path: &PathName) -> Arc<Shelf> {
        let file = || self.shared.folder.join(file_name(path));
        let mut books = lock(&self.shared.books);
        if books.len() >= BOOKS_MOST && !books.contains_key(path) {
            books.retain(|_, shelf| Arc::strong_count(shelf) > 1 || *lock(&shelf.users) > 0);
        }
        let shelf = || Shelf { file: file(), book: Mutex::default(), users: Mutex::default(), disk: Mutex::default() };
        books.entry(path.clone()).or_insert_with(|| Arc::new(shelf())).clone()
    }

    fn complain(&self, what: &str, file: &Path, error: &io::Error) {
        if let Some(times) = lock(&self.shared.complaints).note(self.shared.clock.now()) {
            warn!(
                times,
                "{}: {what}: {error}; sequence numbers may start anew after a restart of the server",
                file.display()
            );
        }
    }

    /// Reads the file if nobody has, and writes down the numbers of one more playlist.
    fn open_blocking(&self, shelf: &Shelf, stem: &'static str, gop: Duration) -> Recalled {
        let _disk = lock(&shelf.disk);
        if lock(&shelf.book).is_none() {
            let found = read(&shelf.file);
            if let Found::Unreadable(error) = &found {
                self.complain("the numbers of a playlist do not read", &shelf.file, error);
            }
            *lock(&shelf.book) = Some(Book::new(found, self.shared.clock.wall()));
        }
        let (recalled, page) = {
            let mut book = lock(&shelf.book);
            let book = book.get_or_insert_default();
            let next_sequence = book.open(stem);
            let discontinuity_sequence = book.discontinuity_sequence;
            book.note(stem, next_sequence, discontinuity_sequence, gop);
            let longest = Duration::from_millis(book.written.longest_gop_ms);
            let target_duration = target_duration(self.shared.least_target, longest);
            let recalled = Recalled { next_sequence, discontinuity_sequence, known: book.known, target_duration };
            (recalled, book.reserve())
        };
        self.write(&shelf.file, &page);
        recalled
    }

    fn write(&self, file: &Path, page: &[u8]) {
        if let Err(error) = write(file, page) {
            self.complain("the numbers of a playlist cannot be written", file, &error);
        }
    }

    /// Writes the page as it is when its turn comes, without keeping anybody waiting.
    fn write_later(&self, shelf: Arc<Shelf>) {
        let numbers = self.clone();
        let name = format!("hls/numbers/{}", shelf.file.display());
        self.shared.tasks.spawn(name, info_span!("numbers"), async move {
            let writing = tokio::task::spawn_blocking(move || {
                let _disk = lock(&shelf.disk);
                let idle = *lock(&shelf.users) == 0;
                let page = lock(&shelf.book).as_mut().map(if idle { Book::settle } else { Book::reserve });
                if let Some(page) = page {
                    numbers.write(&shelf.file, &page);
                }
            });
            // A panic in there was logged where it happened.
            let _ = writing.await;
        });
    }
}

impl Ledger for Numbers {
    fn open<'a>(&'a self, key: &'a MuxerKey, longest_gop: Duration) -> BoxFuture<'a, Recalled> {
        Box::pin(async move {
            let (numbers, shelf, stem) = (self.clone(), self.shelf(&key.path), key.stem());
            *lock(&shelf.users) += 1;
            let opening = tokio::task::spawn_blocking(move || numbers.open_blocking(&shelf, stem, longest_gop));
            let least = self.shared.least_target;
            // Only a panic or the end of the runtime gets in the way.
            opening.await.unwrap_or_else(|_| Recalled {
                next_sequence: FIRST,
                discontinuity_sequence: 0,
                known: true,
                target_duration: target_duration(least, longest_gop),
            })
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

/// A file name for a path: its own name, with the one character that it must not have put in another way.
fn file_name(path: &PathName) -> String {
    format!("{}.json", path.as_str().replace('/', "~"))
}

fn read(file: &Path) -> Found {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Unreadable(error),
        Ok(bytes) => match serde_json::from_slice::<Page>(&bytes) {
            Ok(page) if page.version == VERSION => Found::Page(page),
            Ok(page) => Found::Unreadable(io::Error::other(format!(
                "it is of version {}, this server writes {VERSION}",
                page.version
            ))),
            Err(error) => Found::Unreadable(error.into()),
        },
    }
}

/// Puts a page in place at once: whoever reads the file reads the old page or the new one, whole.
fn write(file: &Path, page: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("json.new");
    let mut new = fs::File::create(&beside)?;
    new.write_all(page)?;
    new.sync_data()?;
    drop(new);
    fs::rename(&beside, file)
}
