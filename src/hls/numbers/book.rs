//! The numbers of one path: those in use, and those that are written down ahead of their use. Sans-IO; rfc8216bis §6.2.2.
//!
//! A page that does not read is taken for the worst: numbers go on from the wall clock, above anything used before.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::base::WallTime;

/// Segments that are written down ahead: a quarter of an hour of them.
const SEQUENCES: u64 = 512;

/// The number of the first segment of a path. hls.js (1.7, `detectEvictedFragments`) takes 0 for none, and loads a part of
/// such a segment over and over.
pub(super) const FIRST: u64 = 1;

/// Discontinuities that are written down ahead.
const DISCONTINUITIES: u64 = 32;

/// What is kept of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
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

impl Page {
    /// A page as it was kept.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice::<Self>(text) {
            Ok(page) if page.version == VERSION => Ok(page),
            Ok(page) => Err(format!("it is of version {}, this server writes {VERSION}", page.version)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What was found where a page should be.
#[derive(Debug)]
pub(super) enum Found {
    /// The path is new.
    Nothing,
    /// It was played before.
    Page(Page),
    /// It may have been played before, and nobody knows how far.
    Lost,
}

/// The numbers of one path: those in use, and those that are written down.
#[derive(Debug, Default)]
pub(super) struct Book {
    written: Page,
    /// The path was known before this process.
    pub(super) known: bool,
    /// Where the numbers stand that no page knows.
    floor: u64,
    in_use: BTreeMap<&'static str, u64>,
    pub(super) discontinuity_sequence: u64,
}

impl Book {
    /// Opens what was found at `now`.
    pub(super) fn new(found: Found, now: WallTime) -> Self {
        match found {
            Found::Nothing => Self::default(),
            Found::Page(page) => {
                let discontinuity_sequence = page.discontinuity_sequence;
                Self { written: page, known: true, discontinuity_sequence, ..Self::default() }
            }
            Found::Lost => {
                // A segment a second and a discontinuity a minute since 2026 is more than any path has made.
                const YEAR_2026: i64 = 1_767_225_600;
                let seconds = (now.unix_millis() / 1000 - YEAR_2026).max(0).unsigned_abs();
                Self { known: true, floor: seconds, discontinuity_sequence: seconds / 60, ..Self::default() }
            }
        }
    }

    /// The number a playlist goes on with.
    pub(super) fn open(&mut self, stem: &'static str) -> u64 {
        let recalled = self.written.next_sequence.get(stem).copied().unwrap_or_else(|| self.floor.max(FIRST));
        *self.in_use.entry(stem).or_insert(recalled)
    }

    /// Numbers have been used up to here. Whether the page has to be written.
    pub(super) fn note(&mut self, stem: &'static str, next: u64, discontinuity_sequence: u64, gop: Duration) -> bool {
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

    /// Writes down what may be used from now on; the text to keep.
    pub(super) fn reserve(&mut self) -> String {
        self.written.version = VERSION;
        for (stem, next) in &self.in_use {
            self.written.next_sequence.insert((*stem).to_owned(), next + SEQUENCES);
        }
        self.written.discontinuity_sequence = self.discontinuity_sequence + DISCONTINUITIES;
        self.page()
    }

    /// Writes down exactly what has been used: nothing runs any more.
    pub(super) fn settle(&mut self) -> String {
        self.written.version = VERSION;
        for (stem, next) in &self.in_use {
            self.written.next_sequence.insert((*stem).to_owned(), *next);
        }
        self.written.discontinuity_sequence = self.discontinuity_sequence;
        self.page()
    }

    /// The longest GOP that was seen.
    pub(super) fn longest_gop(&self) -> Duration {
        Duration::from_millis(self.written.longest_gop_ms)
    }

    fn page(&self) -> String {
        serde_json::to_string(&self.written).expect("a page of numbers should be JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_nanos(1_795_168_800_000_000_000);

    fn page(text: &str) -> Page {
        Page::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_never_go_back_whenever_the_process_ends() {
        let (mut kept, mut used, mut era) = (None::<Page>, 0, 0);
        for round in 1..60_u64 {
            let mut book = Book::new(kept.clone().map_or(Found::Nothing, Found::Page), NOW);
            let mut next = book.open("main");
            assert!(next > used, "round {round}: {next} was used");
            assert!(book.discontinuity_sequence >= era);
            let mut written = page(&book.reserve());
            for _ in 0..round * 37 {
                used = next;
                next += 1;
                era = book.discontinuity_sequence.max(era + u64::from(next.is_multiple_of(50)));
                if book.note("main", next, era, Duration::from_secs(2)) {
                    written = page(&book.reserve());
                }
            }
            // Every third time it ends as it should, else it is killed.
            kept = Some(if round % 3 == 0 { page(&book.settle()) } else { written });
        }
    }

    #[test]
    fn what_is_lost_goes_on_above_anything_that_was_used() {
        let mut book = Book::new(Found::Lost, NOW);
        assert!(book.known && book.open("main") > 25_000_000 && book.discontinuity_sequence > 400_000);
        let mut new = Book::new(Found::Nothing, NOW);
        assert_eq!((new.known, new.open("main"), new.discontinuity_sequence), (false, FIRST, 0));
        for text in ["", "{}", r#"{"version":2,"discontinuity_sequence":0,"longest_gop_ms":0,"next_sequence":{}}"#] {
            assert!(Page::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
