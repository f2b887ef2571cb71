//! Gives back the pages of the program that only starting it needed. Linux counts what was ever touched of a program as
//! resident, in steps of sixteen pages, until memory is short; reading the configuration, building schemas and meeting
//! the first camera touches two thirds of it, once. What is still in use is mapped again, from the page cache, as it
//! runs: some hundred faults without a disk.
//!
//! And large blocks of memory are given back when they are freed. The C library's allocator keeps them once it has seen
//! some, for each of the threads that had one: a flood of logins, each hashed in 19 MiB, left 600 MB behind.

use std::time::Duration;

use tracing::{Span, debug};

use crate::base::Tasks;

/// Starting is over, cameras have been met.
const AFTER_START: Duration = Duration::from_secs(5);

/// What a day's work touches and then leaves is given back as well.
const EVERY: Duration = Duration::from_secs(3600);

/// What is at least as large has a mapping of its own; a picture is smaller.
const LARGE: i32 = 4 << 20;

/// Keeps the program small while it runs.
pub(super) fn keep_small(tasks: &Tasks) {
    map_large_blocks();
    let stopping = tasks.stopping().clone();
    tasks.spawn("program pages", Span::none(), async move {
        let mut wait = AFTER_START;
        while tokio::time::timeout(wait, stopping.cancelled()).await.is_err() {
            if let Some(length) = release() {
                debug!("of the program, {} KiB are mapped again as they are needed", length >> 10);
            }
            wait = EVERY;
        }
    });
}

/// A part of the program's file that is mapped and was never written.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    start: usize,
    length: usize,
}

/// From `/proc/self/smaps`, the instructions and constants of the file that the instruction at `address` is of. What has a
/// page of its own (relocated data, a debugger's breakpoints) is left out, since that could not be read again.
fn pieces(smaps: &str, address: usize) -> Vec<Piece> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = Mapping::parse(line) {
            mappings.push(mapping);
        } else if let (Some(last), Some(own)) = (mappings.last_mut(), line.strip_prefix("Anonymous:")) {
            last.is_the_files = own.split_whitespace().next() == Some("0");
        }
    }
    let program = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address)).map(|own| own.file);
    let of_program = mappings.iter().filter(|mapping| Some(mapping.file) == program && !mapping.file.is_empty());
    of_program
        .filter(|mapping| matches!(mapping.rights, "r-xp" | "r--p") && mapping.is_the_files)
        .map(|mapping| Piece { start: mapping.start, length: mapping.end - mapping.start })
        .collect()
}

struct Mapping<'a> {
    start: usize,
    end: usize,
    rights: &'a str,
    file: &'a str,
    is_the_files: bool,
}

impl<'a> Mapping<'a> {
    /// `start-end rights offset device inode file`, proc_pid_maps(5).
    fn parse(line: &'a str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let mut fields = rest.splitn(5, ' ');
        let (rights, file) = (fields.next()?, fields.nth(3)?.trim_start());
        Some(Self { start: number(start)?, end: number(end)?, rights, file, is_the_files: false })
    }
}

/// Unmaps the program's instructions and constants until they are needed; says of how many bytes. None where the system
/// cannot.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe interface drops pages of a mapping; measured in docs/performance.md")]
fn release() -> Option<usize> {
    use std::ptr::{NonNull, with_exposed_provenance_mut};

    use nix::sys::mman::{MmapAdvise, madvise};

    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut released = None;
    for piece in pieces(&smaps, release as *const () as usize) {
        let Some(start) = NonNull::new(with_exposed_provenance_mut(piece.start)) else { continue };
        // SAFETY: a private mapping of a file that nobody can write and nobody wrote, as `pieces` saw: each page dropped
        // is read from the file again, the same, when it is next touched (madvise(2), MADV_DONTNEED).
        if unsafe { madvise(start, piece.length, MmapAdvise::MADV_DONTNEED) }.is_ok() {
            released = Some(released.unwrap_or(0) + piece.length);
        }
    }
    released
}

#[cfg(not(target_os = "linux"))]
fn release() -> Option<usize> {
    None
}

/// Fixes from which size on a block is mapped by itself, and how much free room stays above the others: left alone, both
/// grow with what is freed, up to 32 and 64 MiB (mallopt(3), M_MMAP_THRESHOLD).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other interface; measured in tests/it/alone/logins.rs")]
fn map_large_blocks() -> bool {
    use nix::libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};

    // SAFETY: two numbers that the allocator keeps, under its own lock; what it handed out stays as it is.
    unsafe { mallopt(M_MMAP_THRESHOLD, LARGE) == 1 && mallopt(M_TRIM_THRESHOLD, 2 * LARGE) == 1 }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn map_large_blocks() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn the_allocator_takes_the_bounds() {
        assert!(map_large_blocks());
    }

    const SMAPS: &str = "\
55d000-55e000 r--p 00000000 fd:00 123                        /usr/bin/campanile
Rss:                   4 kB
Anonymous:             0 kB
55e000-57e000 r-xp 00001000 fd:00 123                        /usr/bin/campanile
Rss:                 128 kB
Anonymous:             0 kB
57e000-58e000 r--p 00021000 fd:00 123                        /usr/bin/campanile
Anonymous:            64 kB
58e000-590000 rw-p 00031000 fd:00 123                        /usr/bin/campanile
Anonymous:             0 kB
7f0000-7f4000 r-xp 00000000 fd:00 77                         /usr/lib/libc.so.6
Anonymous:             0 kB
800000-804000 r-xp 00000000 00:00 0
Anonymous:             0 kB
";

    #[test]
    fn what_the_file_holds_unchanged_is_given_back_and_nothing_else() {
        let (head, text) = (Piece { start: 0x55_d000, length: 0x1000 }, Piece { start: 0x55_e000, length: 0x2_0000 });
        assert_eq!(pieces(SMAPS, 0x56_0000), [head, text], "neither relocated, writable nor foreign");
        let written = SMAPS.replacen("128 kB\nAnonymous:             0", "128 kB\nAnonymous:             4", 1);
        assert_eq!(pieces(&written, 0x56_0000), [Piece { start: 0x55_d000, length: 0x1000 }], "a written page is kept");
        assert_eq!(pieces(SMAPS, 0x60_0000), [], "not mapped");
        assert_eq!(pieces(SMAPS, 0x80_1000), [], "of no file");
        assert_eq!(pieces("55e000-57e000 r-xp 00001000 fd:00 123 /usr/bin/campanile", 0x56_0000), [], "unsaid");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_program_goes_on_after_its_pages_were_given_back() {
        assert!(release().unwrap() > 1 << 20);
        let words: Vec<_> = "a b c".split(' ').map(str::to_uppercase).collect();
        assert_eq!(words, ["A", "B", "C"]);
        assert!(release().is_some(), "again");
    }
}
