//! How the peer of a session receives: what it reports, and what was made of that.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::base::Rendition;

/// How a peer receives, as it reports, and what was made of it. Empty where the protocol has no reports.
#[derive(Debug)]
pub struct Reception {
    /// Which rendition is sent now.
    sub: AtomicBool,
    moves: AtomicU64,
    repaired: AtomicU64,
    /// In microseconds, and one more; zero is not known.
    round_trip: AtomicU64,
    jitter: AtomicU64,
    /// In 256ths, and one more.
    loss: AtomicU64,
}

impl Reception {
    pub(super) const fn new(rendition: Rendition) -> Self {
        Self {
            sub: AtomicBool::new(matches!(rendition, Rendition::Sub)),
            moves: AtomicU64::new(0),
            repaired: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            jitter: AtomicU64::new(0),
            loss: AtomicU64::new(0),
        }
    }

    /// The peer is moved to another rendition.
    pub fn moved(&self, to: Rendition) {
        self.sub.store(to == Rendition::Sub, Ordering::Relaxed);
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// So many lost packets were sent again.
    pub fn repaired(&self, packets: u64) {
        self.repaired.fetch_add(packets, Ordering::Relaxed);
    }

    /// The way there and back takes so long.
    pub fn measured(&self, round_trip: Duration) {
        self.round_trip.store(round_trip.as_micros() as u64 + 1, Ordering::Relaxed);
    }

    /// The peer reports loss since its last report, in 256ths, and the jitter of arrivals.
    pub fn reported(&self, loss: u8, jitter: Duration) {
        self.loss.store(u64::from(loss) + 1, Ordering::Relaxed);
        self.jitter.store(jitter.as_micros() as u64 + 1, Ordering::Relaxed);
    }

    /// Which rendition is sent now.
    pub fn rendition(&self) -> Rendition {
        if self.sub.load(Ordering::Relaxed) { Rendition::Sub } else { Rendition::Main }
    }

    /// How often the peer was moved from one rendition to the other.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Packets sent again.
    pub fn packets_repaired(&self) -> u64 {
        self.repaired.load(Ordering::Relaxed)
    }

    /// The way there and back, where it is known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }

    /// The jitter of arrivals, where it is known.
    pub fn jitter(&self) -> Option<Duration> {
        self.jitter.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }

    /// The part of packets lost, as last reported.
    pub fn loss(&self) -> Option<f64> {
        self.loss.load(Ordering::Relaxed).checked_sub(1).map(|loss| loss as f64 / 256.0)
    }
}
