//! The watch over packet indices: one index of an SSRC is for one content under one key.
//!
//! Whoever numbers packets gives every index out once, and they are sealed in that order; so an index that is not above
//! those before it was used already. That is counted in every build. Debug builds remember contents, and end there.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
};

/// The lines of a viewer, each with its retransmissions; the first makes room.
const SSRCS: usize = 4;

static REUSED: AtomicU64 = AtomicU64::new(0);

/// Indices that were sealed again, by any viewer since the start of the process.
pub(super) fn reused() -> u64 {
    REUSED.load(Ordering::Relaxed)
}

/// What was sealed lately under one key.
#[derive(Default)]
pub(super) struct Watch {
    /// The index that is free, by SSRC.
    next: [(u32, u64); SSRCS],
    contents: Contents,
}

impl Watch {
    /// Notes a packet that is about to be sealed; whether its index is new.
    pub(super) fn sealing(&mut self, ssrc: u32, index: u64, packet: &[u8]) -> bool {
        if cfg!(debug_assertions) {
            self.contents.sealing(ssrc, index, packet);
        }
        let known = self.next.iter().position(|(known, _)| *known == ssrc);
        let place = known.unwrap_or_else(|| {
            self.next.rotate_left(1);
            self.next[SSRCS - 1] = (ssrc, 0);
            SSRCS - 1
        });
        let next = &mut self.next[place].1;
        let is_new = index >= *next;
        if is_new {
            *next = index + 1;
        } else {
            REUSED.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }
}

/// How many contents of an SSRC are remembered.
const REMEMBERED: usize = 4_096;

/// What the indices of each SSRC were used for, in debug builds.
#[derive(Default)]
struct Contents {
    sealed: HashMap<u32, BTreeMap<u64, u64>>,
}

impl Contents {
    fn sealing(&mut self, ssrc: u32, index: u64, packet: &[u8]) {
        let mut hasher = DefaultHasher::new();
        packet.hash(&mut hasher);
        let content = hasher.finish();
        let sealed = self.sealed.entry(ssrc).or_default();
        let before = *sealed.entry(index).or_insert(content);
        assert!(before == content, "packet index {index} of ssrc {ssrc:08x} is sealed over a second content");
        if sealed.len() > REMEMBERED {
            sealed.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_comes_again_is_counted_in_every_build() {
        let (mut watch, before) = (Watch::default(), reused());
        let first = [(1, 10), (2, 10), (1, 11), (3, 5), (1, 20), (4, 1)];
        assert!(first.iter().all(|(ssrc, index)| watch.sealing(*ssrc, *index, b"one")));
        // The same contents: a debug build minds others.
        assert!([(1, 20), (2, 10), (4, 1), (3, 4)].iter().all(|(ssrc, index)| !watch.sealing(*ssrc, *index, b"one")));
        assert!(watch.sealing(1, 21, b"one"));
        assert!(reused() >= before + 4);
    }
}
