//! What one client counted. One writer (its thread), read by the meter at the edges of the window.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use crate::clock;

/// The counters of one client; times are microseconds after it began to connect, zero while unknown.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// RTP packets, or HLS answers with media.
    pub(crate) packets: Counter,
    /// Bytes of them, RTP headers included.
    pub(crate) bytes: Counter,
    /// HTTP requests answered, playlists included.
    pub(crate) requests: Counter,
    /// Jumps in the numbering.
    pub(crate) gaps: Counter,
    /// What the jumps skipped: RTP packets, or HLS parts.
    pub(crate) lost: Counter,
    /// Packets that came after a later one, duplicates included.
    pub(crate) late: Counter,
    /// HTTP answers that were no success, or requests that died.
    pub(crate) refused: Counter,
    /// Until the server agreed to play (RTSP: answer to PLAY; HLS: first media playlist).
    pub(crate) playing_us: Counter,
    /// Until the first media byte (RTSP: packet; HLS: part).
    pub(crate) first_media_us: Counter,
    /// Until the first packet of a random access point (HLS: until the independent part was asked for and began).
    pub(crate) first_key_us: Counter,
    /// Until a decoder had a whole picture to start with.
    pub(crate) first_picture_us: Counter,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may.
    pub(crate) fn add(&self, more: u64) {
        // A plain load and store: no locked instruction, because nobody else writes.
        self.0.store(self.0.load(Relaxed) + more, Relaxed);
    }

    /// Takes back what was counted too early.
    pub(crate) fn take_back(&self, less: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(less), Relaxed);
    }

    /// Notes the time since `start`, once.
    pub(crate) fn mark(&self, start: Instant) {
        if self.read() == 0 {
            self.0.store(clock::micros_since(start), Relaxed);
        }
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// In milliseconds, if it was ever marked.
    pub(crate) fn millis(&self) -> Option<f64> {
        Some(self.read()).filter(|us| *us > 0).map(|us| us as f64 / 1000.0)
    }
}
