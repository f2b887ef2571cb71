//! The watch over packet indices, in debug builds only: one index of an SSRC is for one content under one key.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// How many indices of an SSRC are remembered.
const REMEMBERED: usize = 4_096;

/// The contents that were sealed lately, by SSRC and index.
#[derive(Default)]
pub(super) struct Watch {
    sealed: HashMap<u32, BTreeMap<u64, u64>>,
}

impl Watch {
    /// Notes a packet that is about to be sealed.
    pub(super) fn sealing(&mut self, ssrc: u32, index: u64, packet: &[u8]) {
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
