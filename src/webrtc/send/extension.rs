//! The header extension of a packet (RFC 8285 §4.2, one-byte form): when a picture was taken, how long it may wait, and
//! the packet's number on its way.

use crate::base::WallTime;

/// Least and most playout delay in units of 10 ms: as little as possible, and never more than a viewer may lag.
const PLAYOUT_DELAY: (u32, u32) = (0, 200);

/// A header extension (RFC 8285 §4.2), the same on all packets of a unit but for their transport-wide numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extension {
    bytes: [u8; 16],
    used: u8,
    /// Where the transport-wide number stands.
    pub(super) number_at: Option<u8>,
}

impl Extension {
    pub(super) const NONE: Self = Self { bytes: [0; 16], used: 0, number_at: None };

    /// One element more; all of them fit.
    fn with<const N: usize>(mut self, id: u8, value: [u8; N]) -> Self {
        let at = usize::from(self.used).max(4);
        self.bytes[at] = id << 4 | (N as u8 - 1);
        self.bytes[at + 1..at + 1 + N].copy_from_slice(&value);
        self.used = (at + 1 + N) as u8;
        self.bytes[..4].copy_from_slice(&[0xbe, 0xde, 0, self.used.div_ceil(4) - 1]);
        self
    }

    /// Capture time as a 64-bit NTP timestamp (abs-capture-time).
    pub(super) fn with_capture_time(self, id: u8, captured: WallTime) -> Self {
        self.with(id, captured.to_ntp().to_be_bytes())
    }

    /// Least and most playout delay in 12 bits each (playout-delay).
    pub(super) fn with_playout_delay(self, id: u8) -> Self {
        let [_, d0, d1, d2] = (PLAYOUT_DELAY.0 << 12 | PLAYOUT_DELAY.1).to_be_bytes();
        self.with(id, [d0, d1, d2])
    }

    /// A number of the transport (transport-wide-cc), each packet its own.
    pub(super) fn with_number(self, id: u8) -> Self {
        let numbered = self.with(id, [0; 2]);
        Self { number_at: Some(numbered.used - 2), ..numbered }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.used).next_multiple_of(4)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }
}

/// An extension's number that fits the one-byte form.
pub(super) fn short_id(id: Option<u8>) -> Option<u8> {
    id.filter(|id| (1..=14).contains(id))
}
